"""The experiments run, go on where they were cut, and print what they claim to measure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from napari_uncseg.network.model import Model, load_model, save_model
from tests.training.test_trainer import head
from uncseg_training.config import Config, read_config
from uncseg_training.experiments import ablation, phantom_statistics, snapshots
from uncseg_training.phantom.anatomy import Anatomy, save_anatomies
from uncseg_training.phantom.cohort import Phantoms


def run(main: object, *words: object) -> str:
    app = typer.Typer()
    app.command()(main)  # type: ignore[arg-type]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_statistics_of_a_ball_by_hand() -> None:
    axis = np.arange(-20, 21)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    labels = np.where(distance <= 8, 2, 0).astype(np.uint8)
    images = np.where(labels > 0, 2.0, 0.5)[None].repeat(4, axis=0).astype(np.float32)
    numbers = phantom_statistics.describe(images, labels, distance <= 19)
    assert numbers["t2f ED median"] == 2.0
    assert numbers["t1n normal median"] == 0.5
    assert numbers["t2w outline step"] == pytest.approx(1.5)
    assert numbers["ED mL"] == pytest.approx((labels > 0).sum() * 8 / 1000)
    assert numbers["WT sphericity"] == pytest.approx(1.0, abs=0.06)
    assert "t1c ET median" not in numbers


def test_statistics_compare_phantoms_with_studies(study_folder: Path, tmp_path: Path) -> None:
    save_anatomies([head()], tmp_path / "balls.npz")
    phantoms = Phantoms([head()], seed=99)
    assert phantoms.spacing == phantom_statistics.SPACING
    words = study_folder, "-o", tmp_path / "out", "--anatomies", tmp_path / "balls.npz", "-n", 10
    output = run(phantom_statistics.main, *words)
    assert "t2f ED median" in output
    assert "between the 5th and 95th percentile of 10 phantoms" in output
    content = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert content["phantoms"] == 10
    assert (tmp_path / "out" / "statistics.png").stat().st_size > 10000


def test_ablation_varies_one_factor_at_a_time() -> None:
    rows = ablation.variants(Config())
    assert len({row.name for row in rows}) == len(rows)
    assert {row.factor for row in rows} == {"base", "anatomy", "contrast", "resolution", "network"}
    assert all(len(row.changes) <= 3 for row in rows)
    fine = next(row for row in rows if row.level == "1 mm")
    assert fine.changes["volume"] == (160, 192, 160)
    assert fine.changes["patch"] == (128, 160, 128)


def test_ablation_goes_on_where_it_was_cut(study_folder: Path, tmp_path: Path) -> None:
    template = Anatomy(ablation.ICBM, head(40).tissues)
    save_anatomies([template, head()], tmp_path / "both.npz")
    words = [study_folder.parent, "-o", tmp_path / "out", "--anatomies", tmp_path / "both.npz", "--size", "smoke"]
    assert "cut at step" in run(ablation.main, *words, "--only", "anatomy", "--minutes", 0.0001)
    output = run(ablation.main, *words, "--only", "anatomy")
    assert "label maps only" in output
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text())["rows"]
    assert [row["level"] for row in rows] == ["base", "icbm only", "label maps only"]
    assert all(row["parameters"] == rows[0]["parameters"] for row in rows)
    before = (tmp_path / "out" / "base-base.json").stat().st_mtime_ns
    run(ablation.main, *words, "--only", "anatomy")
    assert (tmp_path / "out" / "base-base.json").stat().st_mtime_ns == before


def test_coarse_to_fine_starts_from_the_coarse_weights(tmp_path: Path) -> None:
    save_anatomies([head()], tmp_path / "balls.npz")
    base = replace(read_config("smoke"), steps=4, validation=0, snapshots=1)
    variant = next(row for row in ablation.variants(base) if row.starts_at is not None)
    training = ablation.train_variant(variant, base, tmp_path / "balls.npz", tmp_path, None)
    assert training.step == training.config.steps == 2
    coarse = torch.load(tmp_path / "runs" / variant.name / "coarse" / "checkpoint.pt", weights_only=True)
    assert coarse["config"]["spacing"] == 6.0
    assert training.config.spacing == 4.0


def test_snapshots_are_compared_with_their_mean(study_folder: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model_folder)
    weights = model.network.state_dict()
    earlier = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in weights.items()}
    fresh = Model(model.network, model.plans, model.dataset, {}, model.name)
    save_model(fresh, tmp_path / "model", snapshots=[earlier])
    out = tmp_path / "snapshots.json"
    output = run(snapshots.main, study_folder.parent, "--model", tmp_path / "model", "--out", out)
    assert "snapshot 2" in output
    assert "mean of 2" in output
    assert set(json.loads(out.read_text())[study_folder.parent.name]["dice"]) == {
        "snapshot 1",
        "snapshot 2",
        "mean of 2",
    }
