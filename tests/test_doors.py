"""Who may import whom: the contracts of pyproject.toml, and what is really loaded when a room is entered."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import napari_uncseg

REPOSITORY = Path(__file__).resolve().parents[1]


def test_import_contracts_are_kept(capsys):
    exit_code = lint_imports(config_filename=str(REPOSITORY / "pyproject.toml"), no_cache=True)
    assert exit_code == 0, capsys.readouterr().out


@pytest.mark.parametrize("room", ["io", "uncertainty", "evaluation", "review", "viewer", "compare"])
def test_room_is_entered_without_torch(room):
    folder = Path(napari_uncseg.__path__[0], room)
    modules = [f"napari_uncseg.{room}"] + [
        module.name for module in pkgutil.walk_packages([str(folder)], prefix=f"napari_uncseg.{room}.")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
