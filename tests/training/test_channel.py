"""The ways in which an uncertainty channel learns, beside patients, phantoms and strong augmentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_uncseg.models.unet import output_layer
from tests.training.conftest import assert_same_bits, fit_in_pieces
from uncseg_training.data.cases import Cases
from uncseg_training.data.patches import Patches, Place, Sample, stack
from uncseg_training.paper1 import sweep_log
from uncseg_training.paper1.published import visit
from uncseg_training.train.config import Channel, Config, read_config
from uncseg_training.train.state import Training
from uncseg_training.train.targets import Detached, Targets
from uncseg_training.train.trainer import fit

CPU = torch.device("cpu")


@pytest.fixture
def settings(cohort: Path) -> Callable[..., Config]:
    def made(**changes: object) -> Config:
        plain = {"cases": str(cohort), "folds": 2, "uncertainty": "error_map", "snapshots": 1, "sweeps": 3}
        plain |= {"late_from": 0.0, "share": 0.6, "augmentation": "strong", "whole_from": 0.0}
        return read_config("smoke", **(plain | changes))

    return made


def test_an_error_map_is_bent_as_its_case_was(anatomies, cohort, settings, tmp_path):
    """A map that is the whole tumour itself stays the whole tumour, wherever augmentation takes it."""
    config = settings(share=1.0)
    cases = Cases.open(cohort, config)
    targets = Targets.of_run(tmp_path, config, cases, begins=True)
    for name in cases.names:
        targets.errors.update(name, cases.labels(name) > 0, 0)
    samples = Patches(anatomies, config, 3, cases=cases, names=cases.names)
    moved = 0
    for index in range(12):
        sample = stack([samples[index]])
        error, visited = targets.of_patches(sample, samples.bent)
        assert torch.equal(error > 0.5, sample.regions[:, :1])
        moved += not bool(visited.all())
    assert moved, "nothing was turned, and so nothing tested"


def test_phantoms_in_a_batch_have_no_error_map(anatomies, cohort, settings, tmp_path):
    config = settings(batch=2, augmentation="light")
    cases = Cases.open(cohort, config)
    targets = Targets.of_run(tmp_path, config, cases, begins=True)
    for name in cases.names:
        targets.errors.update(name, cases.labels(name) >= 0, 0)
    samples = Patches(anatomies, config, 3, cases=cases, names=cases.names)
    mixed = [samples[index] for index in range(12)]
    phantom = next(sample for sample in mixed if not sample.patches)
    case = next(sample for sample in mixed if sample.patches)
    batch = stack([phantom, case])
    assert batch.patches[0] is None
    error, visited = targets.of_patches(batch, samples.bent)
    assert visited.flatten(1).any(1).tolist() == [False, True]
    assert error.flatten(1).amax(1).tolist() == [0, 1]


@pytest.mark.parametrize("channel", list(Channel))
def test_every_way_is_trained_and_an_interrupted_training_ends_with_the_same_bits(
    anatomies: Path, settings: Callable[..., Config], tmp_path: Path, channel: Channel
) -> None:
    config = settings(channel=str(channel), steps=4)
    whole = fit(anatomies, tmp_path / "whole", config)
    fit_in_pieces(anatomies, tmp_path / "cut", config)
    cut = Training.of_run(tmp_path / "cut")
    assert_same_bits(whole.network.state_dict(), cut.network.state_dict())
    assert bool(cut.slots) is (channel is Channel.PUBLISHED)
    assert_same_bits(whole.slots, cut.slots)
    rows = sweep_log.read(tmp_path / "whole")
    assert len(rows) == 4 * len(set(rows["step"]))
    assert {"pearson unc_output", "rmsd variance_stable", "ratio var1shot", "copies the tumour"} <= set(rows)


def test_a_detached_channel_leaves_the_features_alone() -> None:
    torch.manual_seed(0)
    network = Training.fresh(read_config("smoke", dropout=0.0)).network
    detached, images = Detached(network, output_layer(network)), torch.randn(1, 4, 16, 16, 16)
    assert torch.allclose(detached(images), network(images))
    detached(images)[:, 3].sum().backward()
    with_gradient = {
        name for name, each in network.named_parameters() if each.grad is not None and bool(each.grad.any())
    }
    assert with_gradient
    assert all("seg_layers" in name for name in with_gradient)


def test_a_network_without_or_with_another_channel_starts_from_one_that_has_it(anatomies, settings, tmp_path):
    first = read_config("smoke", name="first", steps=2, validation=0, snapshots=1, dropout=0.0)
    trained = output_layer(fit(anatomies, tmp_path / "first", first).averaged).weight
    start = {"start": str(tmp_path / "first"), "dropout": 0.0}
    for changes in (
        {"uncertainty": "none"},
        {},
        {"uncertainty": "none", "head": "regions_gaussian"},
        {"uncertainty": "failure", "head": "regions_auxiliary"},
    ):
        begun = Training.fresh(settings(**start, **changes)).network
        assert torch.equal(output_layer(begun).weight[:3], trained[:3])
    learnt = Training.fresh(settings(**start)).network
    assert not torch.equal(output_layer(learnt).weight[3], trained[3]), "it learns something else, from the start"
    same = Training.fresh(replace(first, start=start["start"], name="second")).network
    assert torch.equal(output_layer(same).weight, trained)


def test_the_published_pattern_mixes_cases_and_squeezes_maps() -> None:
    """By hand: a first visit counts fully, later ones a thirtieth, and false alarms not at all."""
    regions = torch.zeros(1, 3, 8, 8, 8)
    regions[:, :, :4] = 1
    missed, right = torch.full_like(regions, -9.0), 18 * regions - 9
    state: dict[str, torch.Tensor] = {}
    visit(state, "slot 0", missed, regions, "gt")
    assert float(state["slot 0"][0, 0, 1, 4, 4]) == 1
    maps = visit(state, "slot 0", right, regions, "gt")
    assert float(state["slot 0"][0, 0, 1, 4, 4]) == pytest.approx(29 / 30)
    inside = maps.error[maps.mask > 0]
    assert float(inside.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(maps.numbers(torch.zeros_like(maps.error))["rmsd unc_output"]) < 0.1
    false_alarm: dict[str, torch.Tensor] = {}
    visit(false_alarm, "slot 0", torch.full_like(regions, 9.0), regions, "gt")
    assert float(false_alarm["slot 0"][0, 0].max()) == 0


def test_pull_of_two_losses_by_hand() -> None:
    torch.manual_seed(0)
    network = Training.fresh(read_config("smoke", dropout=0.0)).network.eval()
    images, regions = torch.randn(1, 4, 16, 16, 16), torch.zeros(1, 3, 16, 16, 16)
    regions[:, :, 4:9, 4:9, 4:9] = 1
    error, visited = torch.rand(1, 1, 16, 16, 16), torch.ones(1, 1, 16, 16, 16, dtype=torch.bool)
    found = sweep_log.pull(network, images, regions, error, visited)
    assert -1 <= found["cosine"] <= 1
    assert found["strength"] > 0
    assert sweep_log.pull(network, images, regions, error, ~visited) == {}


def test_rows_of_a_sweep_are_read_without_the_half_line_of_a_killed_process(tmp_path: Path) -> None:
    for value in (0.1, 0.2):
        sweep_log.append(tmp_path, {"step": 4, "case": "a", "ratio": value, "cosine": float("nan")})
    with (tmp_path / sweep_log.SWEEPS).open("a") as log:
        log.write(json.dumps({"step": 5, "case": "b"})[:-4])
    rows = sweep_log.read(tmp_path)
    assert rows["ratio"].tolist() == [0.2]
    assert "cosine" not in rows


def test_samples_say_where_they_come_from() -> None:
    one = Sample(torch.zeros(4, 2, 2, 2), torch.zeros(3, 2, 2, 2), (Place("a", [(0, 2)] * 3, 7),))
    other = Sample(torch.zeros(4, 2, 2, 2), torch.zeros(3, 2, 2, 2))
    assert stack([other, one]).patches == (None, one.patches[0])
    told = sweep_log.alignment(np.array([0.0, 1.0]), np.array([0.0, 0.5]))
    assert (told["pearson"], told["ratio"]) == (pytest.approx(1), 2)
