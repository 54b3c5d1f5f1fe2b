"""Who may import whom: the contracts of pyproject.toml, what is really loaded with a package, and its public face."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import napari_uncseg
from napari_uncseg.errors import UncsegError

REPOSITORY = Path(__file__).resolve().parents[1]


def test_import_contracts_are_kept(capsys):
    exit_code = lint_imports(config_filename=str(REPOSITORY / "pyproject.toml"), no_cache=True)
    assert exit_code == 0, capsys.readouterr().out


@pytest.mark.parametrize("package", ["io", "uncertainty", "evaluation", "review", "viewer", "compare"])
def test_package_is_imported_without_torch(package):
    folder = Path(napari_uncseg.__path__[0], package)
    modules = [f"napari_uncseg.{package}"] + [
        module.name for module in pkgutil.walk_packages([str(folder)], prefix=f"napari_uncseg.{package}.")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


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
