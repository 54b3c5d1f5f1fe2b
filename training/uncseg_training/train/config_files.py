"""Configurations as YAML files: found by name, read, and made of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

ConfigT = TypeVar("ConfigT")

CONFIGS = Path(__file__).parents[1] / "configs"


def find_yaml(source: str | Path, folder: Path, what: str) -> Path:
    """A file by the name it has in a folder (``smoke``), or a YAML file.

    Raises
    ------
    ValueError
        When it is absent.
    """
    path = Path(source) if Path(source).suffix in {".yaml", ".yml"} else folder / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in folder.glob("*.yaml")))
        raise ValueError(f"There is no {what} {source}; known are {known}, or give a YAML file.")
    return path


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file; none of an empty one.

    Raises
    ------
    ValueError
        When it is not YAML, or holds something else.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise ValueError(f"{path} is not YAML{where}; write one 'key: value' per line.") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys; write one 'key: value' per line, such as 'steps: 100'.")
    return content


def config_of(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """A configuration, which is a dataclass, from plain JSON or YAML values, where tuples have become lists.

    Raises
    ------
    ValueError
        When a key is unknown or a value of the wrong kind.
    """
    known: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise ValueError(f"There is an unknown key {unknown[0]}; known are {', '.join(known)}.")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
