"""Who may import whom: the contracts of pyproject.toml, what is really loaded with a package, and its public face."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from importlinter.cli import lint_imports
from npe2 import PluginManifest

import napari_uncseg
from napari_uncseg.errors import UncsegError

REPOSITORY = Path(__file__).resolve().parents[1]


def test_import_contracts_are_kept(capsys):
    exit_code = lint_imports(config_filename=str(REPOSITORY / "pyproject.toml"), no_cache=True)
    assert exit_code == 0, capsys.readouterr().out


def modules_of(*packages: str) -> list[str]:
    """All modules of some packages."""
    folders = {f"napari_uncseg.{package}": [str(Path(napari_uncseg.__path__[0], package))] for package in packages}
    below = {name: pkgutil.walk_packages(folder, f"{name}.") for name, folder in folders.items()}
    return [name for package, found in below.items() for name in (package, *(module.name for module in found))]


def commands_of_the_manifest() -> list[str]:
    """Modules that napari imports for the commands of the plugin."""
    manifest = PluginManifest.from_file(Path(napari_uncseg.__path__[0], "napari.yaml"))
    return sorted({str(each.python_name).partition(":")[0] for each in manifest.contributions.commands or []})


def test_nothing_heavy_is_loaded_before_it_is_needed():
    """In one fresh interpreter, from the lightest to what a window takes: torch and matplotlib come with the work."""
    heavy = {"torch", "matplotlib"}
    steps = [
        (["napari_uncseg"], heavy | {"napari", "numpy", "qtpy", "scipy", "nibabel", "SimpleITK"}),
        (["napari_uncseg.cli.app"], heavy | {"napari"}),
        (
            ["napari_uncseg.evaluation", "napari_uncseg.reporting.evaluation_report"],
            heavy | {"napari", "jinja2", "distributed"},
        ),
        (modules_of("io", "uncertainty", "evaluation", "review"), heavy),
        (modules_of("viewer", "compare"), heavy),
        (commands_of_the_manifest(), heavy),
    ]
    assert all(modules for modules, _ in steps)
    code = (
        "import importlib, sys\n"
        f"for modules, unwanted in {steps!r}:\n"
        "    for name in modules:\n"
        "        importlib.import_module(name)\n"
        "        print(name, *sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if " " in line] == []


def test_the_first_picture_of_a_review_waits_for_no_tables():
    code = "import sys, napari_uncseg.widgets.review.panel\nprint('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_public_names_are_loaded_when_they_are_asked_for():
    code = (
        "import sys, napari_uncseg as n\n"
        "print(*sorted({'torch', 'numpy', 'pydantic', 'napari'} & set(sys.modules)))\n"
        "from napari_uncseg import load_prediction, load_study, save_prediction\n"
        "print('torch' in sys.modules)\n"
        "print(all(callable(getattr(n, name)) for name in n.__all__ if name != '__version__'), n.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == ["", "False"]
    assert done.stdout.splitlines()[2] == f"True {napari_uncseg.__version__}"
    assert not hasattr(napari_uncseg, "anything_else")


def test_every_error_has_a_code_of_its_own():
    for module in pkgutil.walk_packages(napari_uncseg.__path__, "napari_uncseg."):
        if module.name.partition(".")[2].split(".")[0] in ("errors", "io", "uncertainty", "evaluation", "review"):
            importlib.import_module(module.name)

    def below(error: type[UncsegError]) -> list[type[UncsegError]]:
        return [error, *(one for kind in error.__subclasses__() for one in below(kind))]

    codes = Counter(error.code for error in below(UncsegError))
    assert max(codes.values()) == 1, codes
