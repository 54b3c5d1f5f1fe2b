"""Training on a fixed cohort: cases on disk, error maps that are kept up while training, the channel taught alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_uncseg.labels import labels_from_regions
from napari_uncseg.models.model import load_model
from napari_uncseg.models.unet import output_layer
from tests.training.conftest import assert_same_bits, fit_in_pieces, head, refused, uncseg_train
from uncseg_training.data.cases import Cases, fit_into, write_phantom_cases, write_study_cases
from uncseg_training.data.patches import Patches, whole_case
from uncseg_training.phantom.cohort import Phantoms, write_phantom
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.crossfit import (
    Example,
    examples_of_cases,
    networks_of,
    out_of_fold_errors,
    teach_uncertainty,
)
from uncseg_training.train.curves import read_log
from uncseg_training.train.refresh import ERRORS
from uncseg_training.train.schedule import cycles
from uncseg_training.train.state import CHECKPOINT, Training
from uncseg_training.train.targets import Targets, predict_case
from uncseg_training.train.trainer import fit

CPU = torch.device("cpu")


@pytest.fixture
def settings(cohort: Path) -> Callable[..., Config]:
    def made(**changes: object) -> Config:
        plain = {"cases": str(cohort), "folds": 2, "uncertainty": "error_map", "snapshots": 1}
        plain |= {"sweeps": 3, "late_from": 0.0}
        return read_config("smoke", **(plain | changes))

    return made


def test_a_cohort_is_written_once_and_read_as_the_phantoms_it_is(anatomies: Path, cohort: Path, tmp_path: Path) -> None:
    config = read_config("smoke")
    told: list[str] = []
    first = write_phantom_cases(anatomies, tmp_path, config, 2, seed=8, tell=told.append)
    assert first.names == ("phantom-8-00000", "phantom-8-00001") == tuple(told)
    before = (tmp_path / "phantom-8-00000.npz").stat().st_mtime_ns
    more = write_phantom_cases(anatomies, tmp_path, config, 3, seed=8)
    assert len(more.names) == 3
    assert (tmp_path / "phantom-8-00000.npz").stat().st_mtime_ns == before
    phantom = Phantoms([head()], config.volume, config.spacing, 8, config.wide)[1]
    case = more.load("phantom-8-00001")
    np.testing.assert_array_equal(case.labels, phantom.labels.numpy())
    np.testing.assert_allclose(case.images, phantom.normalised().numpy(), atol=5e-3)
    with pytest.raises(ValueError, match="made for the grid"):
        Cases.open(tmp_path, replace(config, spacing=3.0))
    with pytest.raises(ValueError, match="another phantom-8-00000"):
        write_phantom_cases(anatomies, tmp_path, replace(config, appearance_prior="matched"), 1, seed=8)
    (tmp_path / "phantom-8-00002.npz").unlink()
    with pytest.raises(ValueError, match=r"lacks phantom-8-00002\.npz"):
        Cases.open(tmp_path, config)
    with pytest.raises(ValueError, match="uncseg-train cases"):
        Cases.open(tmp_path / "absent", config)


def test_a_cut_cohort_goes_on_and_ends_with_the_same_bytes(anatomies: Path, tmp_path: Path) -> None:
    config, told = read_config("smoke"), list[str]()

    def cut(name: str) -> None:
        if name.endswith("1"):
            raise KeyboardInterrupt

    whole = write_phantom_cases(anatomies, tmp_path / "whole", config, 3, seed=8)
    with pytest.raises(KeyboardInterrupt):
        write_phantom_cases(anatomies, tmp_path / "cut", config, 3, seed=8, tell=cut)
    with pytest.raises(ValueError, match="holds no cases"):
        Cases.open(tmp_path / "cut", config)  # nobody trains on a part of it
    with pytest.raises(ValueError, match="another phantom-8-00000"):
        write_phantom_cases(anatomies, tmp_path / "cut", replace(config, appearance_prior="matched"), 3, seed=8)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.npz")}
    assert sorted(before) == ["phantom-8-00000.npz", "phantom-8-00001.npz"]
    assert write_phantom_cases(anatomies, tmp_path / "cut", config, 3, seed=8, tell=told.append).names == tuple(told)
    assert all((tmp_path / "cut" / name).stat().st_mtime_ns == stamp for name, stamp in before.items())
    contents = [{path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("whole", "cut")]
    assert contents[0] == contents[1]
    assert Cases.open(tmp_path / "cut", config).preprocessing == whole.preprocessing


def test_a_case_that_was_lost_is_written_again(anatomies: Path, cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort, tmp_path / "cohort")
    (tmp_path / "cohort" / "phantom-8-00002.npz").unlink()
    write_phantom_cases(anatomies, tmp_path / "cohort", read_config("smoke"), 4, seed=8)
    names = ("phantom-8-00002.npz", "cases.json")
    assert all((tmp_path / "cohort" / name).read_bytes() == (cohort / name).read_bytes() for name in names)


def test_studies_become_cases_on_the_grid_of_the_training(tmp_path: Path) -> None:
    config = read_config("smoke", spacing=5.0, volume=[32, 40, 32])
    phantom = Phantoms([head()], (40, 48, 40), 4.0, 3)[0]
    write_phantom(phantom, tmp_path / "studies", "BraTS-GLI-00001-000", 4.0)
    (cases,) = write_study_cases(tmp_path / "studies", {tmp_path / "cases": config})
    case = cases.load("BraTS-GLI-00001-000")
    assert case.images.shape == (4, 32, 40, 32)
    assert int((case.labels > 0).sum()) * 5.0**3 == pytest.approx(int((phantom.labels > 0).sum()) * 4.0**3, rel=0.15)
    brain = case.images[0] != 0
    assert float(case.images[0][brain].astype(np.float32).mean()) == pytest.approx(0, abs=0.15)
    labels = np.asarray(nib.load(tmp_path / "studies/BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz").dataobj)
    assert set(np.unique(case.labels)) <= set(np.unique(labels))
    (tmp_path / "studies/BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz").unlink()
    with pytest.raises(ValueError, match="no reference"):
        write_study_cases(tmp_path / "studies", {tmp_path / "more": config})


def test_the_middle_is_kept() -> None:
    line = np.arange(5)[None, None]
    np.testing.assert_array_equal(fit_into(line, (1, 1, 3))[0, 0], [1, 2, 3])
    np.testing.assert_array_equal(fit_into(line + 1, (1, 1, 8))[0, 0], [0, 1, 2, 3, 4, 5, 0, 0])


def test_patients_are_split_together(cohort: Path) -> None:
    cases = Cases(cohort, ["A-1-000", "A-1-001", "B-1-000", "C-1-000"], "")
    for fold in range(3):
        train, held_out = cases.split(3, fold)
        assert not set(train) & set(held_out)
        assert ("A-1-000" in held_out) == ("A-1-001" in held_out)
    assert cases.split(0, 0) == (("A-1-000", "A-1-001", "B-1-000", "C-1-000"), ())


def test_patches_of_a_cohort_know_their_place(anatomies: Path, cohort: Path, settings: Callable[..., Config]) -> None:
    config = settings(augment=False)
    cases = Cases.open(cohort, config)
    patches = Patches(anatomies, config, 3, cases=cases, names=cases.names)
    taken = [patches[index] for index in range(4)]
    assert sorted(place.case for sample in taken for place in sample.patches if place) == list(cases.names)
    for sample in taken:
        (place,) = sample.patches
        assert place is not None
        name, box, bent = place
        assert bent is None
        window = tuple(slice(start, stop) for start, stop in box)
        assert torch.equal(sample.images, whole_case(cases, name).images[(slice(None), *window)])
    mixed = Patches(anatomies, replace(config, uncertainty="failure", share=0.5), 3, cases=cases, names=cases.names)
    origins = {bool(mixed[index].patches) for index in range(12)}
    assert origins == {True, False}


def test_error_maps_are_learnt_and_an_interrupted_training_ends_with_the_same_bits(
    anatomies: Path, cohort: Path, settings: Callable[..., Config], tmp_path: Path
) -> None:
    config = settings()
    whole = fit(anatomies, tmp_path / "whole", config)
    cut = fit_in_pieces(anatomies, tmp_path / "cut", config)
    assert_same_bits(whole.network.state_dict(), cut.network.state_dict())
    cases = Cases.open(cohort, config)
    maps = [Targets.of_run(tmp_path / name, config, cases, begins=False) for name in ("whole", "cut")]
    for name in cases.names:
        first, second = (each.errors.read(name) for each in maps)
        assert int(first.visits.min()) == int(first.visits.max()) == 3
        np.testing.assert_array_equal(first.error, second.error)
        assert int(maps[0].variances.read(name).visits.max()) == 3
    log = read_log(tmp_path / "whole")
    assert [line["step"] for line in log if "swept" in line] == [2, 4, 6]
    terms = next(line for line in log if "segmentation" in line)
    assert {"uncertainty", "rmsd", "correlation"} <= set(terms)


def test_a_training_killed_within_a_sweep_visits_nobody_twice(anatomies, cohort, settings, tmp_path, monkeypatch):
    config = settings()
    whole = fit(anatomies, tmp_path / "whole", config)
    predict, calls = predict_case, []

    def dies(*arguments: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return predict(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("uncseg_training.train.targets.predict_case", dies)
    with pytest.raises(KeyboardInterrupt):
        fit(anatomies, tmp_path / "cut", config)
    cut = fit(anatomies, tmp_path / "cut", config)
    assert_same_bits(whole.network.state_dict(), cut.network.state_dict())
    cases = Cases.open(cohort, config)
    visits = {
        case: entry.visits
        for case, entry in Targets.of_run(tmp_path / "cut", config, cases, begins=False).errors.store.cases.items()
    }
    assert set(visits.values()) == {3}


def test_maps_go_on_with_a_longer_training_and_begin_anew_with_a_new_one(anatomies, cohort, settings, tmp_path):
    config = settings(steps=3, validation=0)
    cases = Cases.open(cohort, config)
    first = fit(anatomies, tmp_path, config)

    def visits() -> set[int]:
        maps = Targets.of_run(tmp_path, config, cases, begins=False)
        stores = (maps.errors.store, maps.variances.store)
        return {entry.visits for store in stores for entry in store.cases.values()}

    assert visits() == {3}
    fit(anatomies, tmp_path, replace(config, steps=6))  # a sweep every other step now: at 4 and 6
    assert visits() == {5}
    (tmp_path / CHECKPOINT).unlink()
    again = fit(anatomies, tmp_path, config)
    assert visits() == {3}
    assert_same_bits(first.network.state_dict(), again.network.state_dict())


def test_maps_of_another_cohort_are_refused(anatomies, cohort, settings, tmp_path):
    fit(anatomies, tmp_path / "run", settings(), budget=0.0)
    shutil.rmtree(tmp_path / "run" / ERRORS)
    with pytest.raises(ValueError, match="no maps"):
        fit(anatomies, tmp_path / "run", settings())


def test_a_network_without_the_channel_is_trained_for_the_segmentation_alone(anatomies, settings, tmp_path):
    training = fit(anatomies, tmp_path, settings(uncertainty="none"))
    assert output_layer(training.network).out_channels == 3
    assert not training.model().has_uncertainty


def test_a_patch_may_be_of_any_size_where_none_is_cut() -> None:
    assert Config(patch=(64, 72, 64), whole_from=0.0).patch == (64, 72, 64)
    assert cycles(Config(steps=5, snapshots=5)) == [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def folds(anatomies: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("folds")
    config = read_config("smoke", cases=str(cohort), folds=2, steps=4, validation=0)
    for fold in range(2):
        fit(anatomies, place / str(fold), replace(config, fold=fold))
    return [place / "0", place / "1"]


def test_errors_are_those_of_the_network_that_held_the_case_out(cohort, folds, tmp_path):
    config = Training.of_run(folds[0]).config
    cases = Cases.open(cohort, config)
    told: list[str] = []
    maps = out_of_fold_errors(cases, folds, tmp_path / "maps", CPU, told.append)
    assert sorted(told) == sorted([*cases.names, *cases.names])  # two snapshots each
    name = cases.split(2, 1)[1][0]
    failures = []
    for network in networks_of(folds[1], Training.of_run(folds[1])):
        network.eval()
        labels = labels_from_regions(predict_case(network, cases, name, CPU)[:3].numpy())
        failures.append((labels > 0) != (cases.load(name).labels > 0))
    weight = 0.1 / (1 - 0.9**2)
    expected = failures[0] + weight * (failures[1].astype(float) - failures[0])
    np.testing.assert_allclose(maps.read(name).error[0], expected, atol=1e-3)
    out_of_fold_errors(cases, folds, tmp_path / "maps", CPU, told.append)
    assert len(told) == 8
    with pytest.raises(ValueError, match="every fold"):
        out_of_fold_errors(cases, [folds[0], folds[0]], tmp_path / "other", CPU)


def test_errors_of_a_fold_that_was_trained_anew_are_found_anew(anatomies, cohort, folds, tmp_path):
    config = Training.of_run(folds[0]).config
    cases = Cases.open(cohort, config)
    out_of_fold_errors(cases, folds, tmp_path / "maps", CPU)
    fit(anatomies, tmp_path / "again", replace(config, seed=config.seed + 1))
    told: list[str] = []
    out_of_fold_errors(cases, [tmp_path / "again", folds[1]], tmp_path / "maps", CPU, told.append)
    assert set(told) == set(cases.names)
    assert len(told) == 2 * len(cases.names)


def test_teaching_the_channel_leaves_the_segmentation_to_the_bit(cohort, folds, tmp_path):
    training = Training.of_run(folds[0])
    cases = Cases.open(cohort, training.config)
    network, name = training.averaged, cases.names[0]
    maps = out_of_fold_errors(cases, folds, tmp_path / "maps", CPU)
    before, states = predict_case(network, cases, name, CPU), {k: v.clone() for k, v in network.state_dict().items()}
    losses: list[float] = []
    examples = list(examples_of_cases(cases, cases.names, maps, 40, 1))
    assert {float(example.error.max()) > 0 for example in examples if example.error is not None} == {True}
    teach_uncertainty(network, examples, CPU, report=lambda _, loss: losses.append(loss))
    after = predict_case(network, cases, name, CPU)
    assert torch.equal(before[:3], after[:3])
    assert not torch.equal(before[4], after[4])
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, states[key])]
    # nnU-Net's decoder is named twice in a state dict's own order: only output layers may differ.
    assert changed
    assert all("seg_layers" in key for key in changed)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_channel_learns_what_its_features_tell() -> None:
    torch.manual_seed(0)
    config = read_config("smoke", dropout=0.0)
    network = Training.fresh(config).averaged
    images = torch.randn(1, 4, 16, 16, 16)
    regions = torch.zeros(1, 3, 16, 16, 16)
    error = torch.full((1, 1, 16, 16, 16), 0.3)
    teach_uncertainty(network, [Example(images, regions, error)] * 200, CPU, learning_rate=0.05)
    network.eval()
    with torch.no_grad():
        learnt = torch.sigmoid(network(images)[:, 3:])
    # The minimum of the cross-entropy is the error rate itself.
    assert float(learnt.mean()) == pytest.approx(0.3, abs=0.03)
    plain = Training.fresh(replace(config, uncertainty="none")).averaged
    with pytest.raises(ValueError, match="no uncertainty channel"):
        teach_uncertainty(plain, [], CPU)


def test_command_line_writes_cases_and_teaches_the_channel(anatomies, cohort, folds, tmp_path):
    words = ("cases", "-o", tmp_path / "cases", "--config", "smoke", "--anatomies", anatomies)
    assert "say how many" in refused(*words)
    assert "2 cases" in uncseg_train(*words, "-n", 2, "--seed", 5)
    options = ("--steps", 2, "--anatomies", anatomies)
    uncseg_train("head", folds[0], tmp_path / "model", *options, "--fold", folds[0], "--fold", folds[1])
    taught = load_model(tmp_path / "model")
    assert taught.provenance["uncertainty_taught"] == {"steps": 2, "on": ["0", "1"]}
    uncseg_train("head", folds[0], tmp_path / "fresh", *options)
    fresh = load_model(tmp_path / "fresh")
    assert fresh.provenance["uncertainty_taught"]["on"] == "fresh phantoms"
    for key, value in fresh.network.state_dict().items():
        if "seg_layers" not in key:
            assert torch.equal(value, taught.network.state_dict()[key]), key
