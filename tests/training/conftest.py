"""What tests of the training share: a made-up head, its file, and a runner of the experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from uncseg_training.cli import app
from uncseg_training.data.cases import write_phantom_cases
from uncseg_training.phantom.anatomy import Anatomy, Tissue, save_anatomies
from uncseg_training.phantom.cohort import Phantoms, write_phantom
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit


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


def write_phantoms(
    folder: Path, names: Iterable[str], seed: int, shape: tuple[int, int, int] = (64, 80, 64), spacing: float = 2.0
) -> Path:
    """Studies in BraTS 2023 form."""
    stream = Phantoms([head()], shape, spacing, seed=seed)
    for number, name in enumerate(names):
        write_phantom(stream[number], folder, name, spacing)
    return folder


def invoke(command: typer.Typer, *words: object, codes: tuple[int, ...] = (0,)) -> str:
    """What a command says; it ends with one of the codes, and never with an exception."""
    result = CliRunner().invoke(command, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in codes, result.output
    return result.output


def uncseg_train(*words: object) -> str:
    return invoke(app, *words)


def refused(*words: object) -> str:
    return invoke(app, *words, codes=(1, 2))


def run(main: object, *words: object) -> str:
    command = typer.Typer()
    command.command()(main)  # type: ignore[arg-type]
    return invoke(command, *words)


def assert_same_bits(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def fit_in_pieces(anatomies: Path, folder: Path, config: Config) -> Training:
    """A training that is stopped after each of its steps."""
    for _ in range(config.steps):
        training = fit(anatomies, folder, config, budget=0.0)
    assert training.step == config.steps
    return training
