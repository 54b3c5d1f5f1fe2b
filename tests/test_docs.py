"""What the pages tell a reader to type is there: commands are parsed by the real command line, quick ones are run."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(uncseg(?:-train)? [^`]+)`")
QUICK = ("uncseg --version", "uncseg info")


def blocks(languages: tuple[str, ...]) -> list[tuple[str, str]]:
    """Fenced blocks of some languages, each with the page that has it."""
    found = [(page, match) for page in PAGES for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    return [(page.name, match["text"]) for page, match in found if match["language"] in languages]


def lines() -> list[tuple[str, str]]:
    """Commands in blocks, without what follows ``#``, ``|`` or ``>``; lines that end in a backslash are one."""
    text = [(page, block.replace("\\\n", " ")) for page, block in blocks(("", "sh", "bash", "console"))]
    typed = [(page, line.removeprefix("$ ")) for page, block in text for line in block.splitlines()]
    return [(page, re.split(r"\s{2,}#|\s#\s|\s[|>&]+\s|\s{3,}(?=[A-Za-z])", line)[0].strip()) for page, line in typed]


def commands(program: str) -> list[tuple[str, str]]:
    """What is to be typed of one program, in blocks and in the text."""
    inline = [(page.name, match) for page in PAGES for match in INLINE.findall(page.read_text(encoding="utf-8"))]
    return sorted({(page, line) for page, line in [*lines(), *inline] if line.split(" ")[0] == program})


def parse(command: Any, line: str) -> None:
    """Let the command line parse some words as far as they go: an option or a command that is not there is an error."""
    words = [word for word in shlex.split(re.sub(r"[\[\]…]|\.\.\.", " ", line)) if word][1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert given <= known | {"--help"}, f"no option {sorted(given - known)}"


@pytest.mark.parametrize(("page", "line"), commands("uncseg"))
def test_commands_of_the_plugin_are_there(page: str, line: str) -> None:
    from napari_uncseg.cli.app import app

    parse(typer.main.get_command(app), line)


def test_there_are_commands_to_look_at() -> None:
    assert len(commands("uncseg")) > 30


@pytest.mark.parametrize("line", QUICK)
def test_quick_commands_run(line: str) -> None:
    from typer.testing import CliRunner

    from napari_uncseg.cli.app import app

    assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0


def test_experiments_and_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page, line in lines():
        if found := re.search(r"python -m (napari_uncseg[\w.]*|uncseg_training[\w.]*|tests\.[\w.]+)", line):
            path = found[1].replace(".", "/")
            places = (ROOT / "src" / path, ROOT / "training" / path, ROOT / path)
            assert any(place.with_suffix(".py").is_file() or place.is_dir() for place in places), (page, line)
        if line.startswith("make "):
            words = [word for word in line.split()[1:] if "=" not in word]
            assert set(words) <= targets, (page, line)


@pytest.mark.parametrize(("page", "code"), blocks(("python",)))
def test_names_in_python_examples_are_there(page: str, code: str) -> None:
    typed = "".join(example.source for example in doctest.DocTestParser().get_examples(code)) or code
    for node in ast.walk(ast.parse(typed)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("napari_uncseg"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), page


def test_public_names_are_those_of_the_page() -> None:
    import napari_uncseg

    page = (DOCS / "api.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table))) == set(napari_uncseg.__all__)
    for name in napari_uncseg.__all__:
        assert getattr(napari_uncseg, name)


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Tags of mkdocs are let be."""

    Loader.add_multi_constructor("!ENV", lambda loader, suffix, node: None)

    def pages(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        parts = entry.values() if isinstance(entry, dict) else entry
        return set().union(*map(pages, parts))

    content = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages(content["nav"]) == there, "write new pages into `nav` of mkdocs.yml"
