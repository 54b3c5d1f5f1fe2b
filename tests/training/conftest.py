"""What tests of the training share: a made-up head, its file, and a runner of the experiments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from uncseg_training.data.cases import write_phantom_cases
from uncseg_training.phantom.anatomy import Anatomy, Tissue, save_anatomies
from uncseg_training.train.config import read_config


def head(radius: int = 60) -> Anatomy:
    """Concentric balls of ventricle, white matter, cortex and CSF."""
    axis = np.arange(-radius, radius + 1)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    tissues = np.zeros(distance.shape, np.uint8)
    for limit, tissue in ((60, Tissue.CSF), (56, Tissue.CORTEX), (50, Tissue.WHITE), (12, Tissue.VENTRICLE)):
        tissues[distance <= limit] = tissue
    return Anatomy("balls", tissues)


@pytest.fixture(scope="session")
def anatomies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anatomies") / "balls.npz"
    save_anatomies([head()], path)
    return path


@pytest.fixture(scope="module")
def cohort(anatomies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of four phantoms."""
    folder = tmp_path_factory.mktemp("cohort")
    write_phantom_cases(anatomies, folder, read_config("smoke"), 4, seed=8)
    return folder


def run(main: object, *words: object) -> str:
    app = typer.Typer()
    app.command()(main)  # type: ignore[arg-type]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output
