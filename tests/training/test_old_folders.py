"""Cases and run folders of the first version, whose phantoms were drawn otherwise, still load, export and go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from napari_uncseg.models.model import load_model, load_snapshot
from tests.training.conftest import head
from uncseg_training.data.cases import Cases
from uncseg_training.phantom.cohort import Phantoms
from uncseg_training.train.curves import read_log
from uncseg_training.train.export import export_run
from uncseg_training.train.state import Training
from uncseg_training.train.targets import Targets
from uncseg_training.train.trainer import fit

SAVED = Path(__file__).parent / "data" / "version-0.1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which names its cases by a relative path."""
    shutil.copytree(SAVED, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return Path("run")


def test_a_run_exports_with_its_snapshots(run: Path, tmp_path: Path) -> None:
    model = export_run(run, tmp_path / "model")
    assert (model.name, model.snapshots) == ("old", 2)
    assert load_snapshot(load_model(tmp_path / "model"), 1).has_uncertainty
    assert export_run(run, tmp_path / "mean", average=True).provenance["weights"] == "mean of 2 snapshots"


def test_its_cases_and_maps_open_and_the_training_goes_on(run: Path, anatomies: Path) -> None:
    training = Training.of_run(run)
    assert (training.step, training.config.appearance_prior, training.config.false_negative_weight) == (
        4,
        "plaques",
        0.5,
    )
    cases = Cases.open(Path("cases"), training.config)
    assert cases.load(cases.names[0]).images.shape == (4, 16, 16, 16)
    targets = Targets.of_run(run, training.config, cases, begins=False)
    assert all(targets.errors.read(name).visits.min() == 2 for name in cases.names)
    longer = fit(anatomies, run, replace(training.config, steps=6))
    assert longer.step == 6
    assert read_log(run)[-1]["step"] == 6


def test_its_prior_is_drawn_no_more() -> None:
    with pytest.raises(ValueError, match="no appearance prior plaques"):
        Phantoms([head()], prior="plaques")
