"""A prediction on disk and back, and what must never be lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_uncseg.errors import AnotherResult, ForeignFile, SaveError, StudyError
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.files import check_writable
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import differences, fingerprint
from napari_uncseg.io.results import (
    check_made_from,
    doubt_about,
    find_result_of,
    find_results,
    is_own_segmentation,
    load_prediction,
    made_from,
    other_inputs,
)
from napari_uncseg.io.saving import State, check_target, save_prediction
from napari_uncseg.labels import MODALITIES
from napari_uncseg.maps import MapName

NAMES = ("seg", "probabilities", "unc_output", "unc_output_unmasked", "entropy", "variance", "error")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def state(prediction, out):
    return check_target(out, prediction.study_id, prediction.provenance, prediction.maps).state


def test_files_are_named_and_lie_on_the_studys_grid(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    study_id = tiny_prediction.study_id
    assert not saved.skipped
    assert saved.folder == tmp_path / study_id
    expected = [*(f"{study_id}_{name}.nii.gz" for name in NAMES), f"{study_id}_uncseg.json"]
    assert [path.name for path in saved.files] == expected
    assert sorted(contents(saved.folder)) == sorted(expected)
    for path in saved.files[:-1]:
        image = nib.load(path)
        assert image.shape[:3] == tiny_prediction.segmentation.shape
        assert np.array_equal(image.affine, tiny_prediction.affine)
        assert image.header.get_xyzt_units() == tiny_prediction.header.get_xyzt_units()
    segmentation = nib.load(saved.files[0])
    assert segmentation.get_data_dtype() == np.uint8
    assert set(np.unique(segmentation.dataobj)) == {0, 1, 2, 3}
    assert nib.load(saved.files[1]).shape == (*tiny_prediction.segmentation.shape, 3)


def test_round_trip(tiny_prediction, tmp_path):
    back = load_prediction(save_prediction(tiny_prediction, tmp_path).folder)
    assert back.study_id == tiny_prediction.study_id
    assert np.array_equal(back.affine, tiny_prediction.affine)
    assert np.array_equal(back.segmentation, tiny_prediction.segmentation)
    assert back.probabilities.dtype == np.float32
    assert np.abs(back.probabilities - tiny_prediction.probabilities).max() <= 1 / 65534 + 1e-7
    assert list(back.maps) == list(tiny_prediction.maps)
    for name, values in tiny_prediction.maps.items():
        assert np.abs(back.maps[name] - values).max() <= MapName.parse(name).upper / 65534 + 1e-7
    assert np.array_equal(back.maps["error"], tiny_prediction.maps["error"])
    assert back.provenance == tiny_prediction.provenance


def test_what_was_loaded_saves_to_the_same_bytes(tiny_prediction, tmp_path):
    first = save_prediction(tiny_prediction, tmp_path / "a")
    second = save_prediction(load_prediction(first.folder), tmp_path / "b")
    assert contents(first.folder) == contents(second.folder)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    permutation=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    angle=st.floats(-0.7, 0.7),
    spacing=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    seed=st.integers(0, 999),
)
def test_any_grid_survives(tmp_path_factory, permutation, flips, angle, spacing, seed):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, permutation] * np.array(flips) * np.array(spacing)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = (turn @ affine).astype(np.float32).astype(np.float64)
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(3, 7, 3))
    prediction = Prediction(
        study_id="any",
        probabilities=generator.random((3, *shape), dtype=np.float32),
        segmentation=generator.integers(0, 4, shape).astype(np.uint8),
        maps={"entropy": (generator.random(shape) * np.log(2)).astype(np.float32)},
        affine=affine,
    )
    back = load_prediction(save_prediction(prediction, tmp_path_factory.mktemp("any")).folder)
    assert np.array_equal(back.affine, affine)
    assert np.array_equal(back.segmentation, prediction.segmentation)
    assert np.abs(back.probabilities - prediction.probabilities).max() <= 1 / 65534 + 1e-7
    assert np.abs(back.maps["entropy"] - prediction.maps["entropy"]).max() <= np.log(2) / 65534 + 1e-7


def test_maps_of_other_regions_and_unknown_maps(tiny_prediction, tmp_path):
    generator = np.random.default_rng(0)
    shape = tiny_prediction.segmentation.shape
    maps = {"entropy-et": generator.random(shape, dtype=np.float32) * 0.6, "novel": generator.normal(5, 1, shape)}
    prediction = dataclasses.replace(tiny_prediction, maps=maps)
    saved = save_prediction(prediction, tmp_path)
    assert nib.load(saved.files[2]).get_data_dtype() == np.int16
    assert nib.load(saved.files[3]).get_data_dtype() == np.float32
    assert np.allclose(load_prediction(saved.folder).maps["entropy-et"], maps["entropy-et"], atol=1e-4)


def test_the_same_result_is_skipped(tiny_prediction, tmp_path):
    first = save_prediction(tiny_prediction, tmp_path)
    times = [path.stat().st_mtime_ns for path in first.files]
    assert state(tiny_prediction, tmp_path) is State.SAME
    again = save_prediction(tiny_prediction, tmp_path)
    assert again.skipped
    assert [path.stat().st_mtime_ns for path in first.files] == times
    first.files[2].unlink()
    assert state(tiny_prediction, tmp_path) is State.OTHER


def test_fingerprint_follows_model_settings_and_inputs_only(tiny_prediction):
    provenance = dict(tiny_prediction.provenance)
    mark = fingerprint(provenance)
    assert fingerprint(provenance | {"command": "another", "versions": {"numpy": "9"}}) == mark
    assert fingerprint(provenance | {"model": {"name": "x", "sha256": "f" * 64}}) != mark
    assert fingerprint(provenance | {"settings": {"device": "cuda"}}) != mark
    assert fingerprint(provenance | {"inputs": {"t1c": {"sha256": "2" * 64}}}) != mark
    assert fingerprint(provenance | {"inputs": {}}) == "", "images without files equal no others"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"command": "another", "versions": {"numpy": "9"}}, []),
        ({"model": {"name": "b", "sha256": "f" * 64}}, ["the model (a there, b here)"]),
        ({"model": {"name": "a", "sha256": "f" * 64}}, ["the model (a, with other weights)"]),
        ({"settings": {"device": "cuda", "precision": "float16"}}, ["device (cpu there, cuda here)"]),
        ({"settings": {"members": 8, "method": "tta:8"}}, ["method (single there, tta:8 here)"]),
        ({"settings": {"maps": ["entropy"]}}, ["maps (None there, ['entropy'] here)"]),
        ({"settings": {"resampled": True}}, ["resampled (False there, True here)"]),
        ({"settings": {"coding": "brats2021"}}, ["coding (None there, brats2021 here)"]),
        ({"settings": {"calibration": "1" * 64}}, ["calibration"]),
        ({"settings": {"tile_step": [0.5, 0.6667]}}, []),  # older results tell the first step of a cascade alone
        ({"inputs": {"t1c": {"sha256": "2"}, "reference": {"sha256": "3"}}}, ["the input files (T1c, reference)"]),
        (
            {"inputs": {"reference": {"sha256": "3"}}, "settings": {"coding": "brats2021"}},
            ["the input files (reference)"],
        ),
        ({"model": {"name": "b", "sha256": "f"}, "settings": {"tile": [8, 8, 8]}}, ["the model (a there, b here)"]),
        (
            {"settings": {"tile": [8, 8, 8], "mask_dilation_mm": 3.0}},
            ["tile ([4, 4, 4] there, [8, 8, 8] here)", "mask_dilation_mm (5.0 there, 3.0 here)"],
        ),
    ],
)
def test_what_differs_is_named(change, says):
    there = {
        "model": {"name": "a", "sha256": "0" * 64},
        "settings": {
            **{"device": "cpu", "precision": "float32", "members": 1, "tile": [4, 4, 4], "mask_dilation_mm": 5.0},
            **{"tile_step": 0.5, "resampled": False, "coding": None},
        },
        "inputs": {"t1c": {"sha256": "1"}},
    }
    here = {name: {**value, **change.get(name, {})} for name, value in there.items()}
    assert differences(there, here) == says
    assert differences({"model": 1, "settings": []}, here), "a foreign JSON is no error"


def test_files_that_no_json_tells_of_are_kept(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    saved.files[-1].unlink()
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(ForeignFile, match=re.escape(str(saved.folder))):
            save_prediction(tiny_prediction, tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_changed_file_of_the_same_result_is_kept(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    saved.files[1].write_bytes(b"changed")
    with pytest.raises(AnotherResult):
        save_prediction(tiny_prediction, tmp_path)
    assert saved.files[1].read_bytes() == b"changed"


def test_a_result_whose_json_is_unreadable_names_that_json(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    _edit_json(saved.files[-1], schema=99)
    with pytest.raises(ForeignFile, match=re.escape(str(saved.files[-1]))):
        save_prediction(tiny_prediction, tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["settings", "model", "inputs", "members", "needs_review", "warnings"])
def test_null_in_a_json_says_as_much_as_nothing(name, tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    _edit_json(saved.files[-1], **{name: None})
    prediction = load_prediction(saved.folder)
    assert (prediction.member_count, prediction.method, prediction.recalibrated) == (1, "single", False)
    assert prediction.provenance.get(name, {}) == {}


def test_a_file_name_that_is_no_text_does_not_spoil_a_result(tiny_prediction, tmp_path):
    command = "uncseg predict /data/\udcff -o out"
    provenance = dict(tiny_prediction.provenance) | {"command": command}
    saved = save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path)
    assert load_prediction(saved.folder).provenance["command"] == command


@pytest.mark.parametrize("study_id", ["", " ", ".", "..", "a/b", "a\\b"])
def test_an_id_that_names_no_folder_is_refused(study_id, tiny_prediction, tmp_path):
    with pytest.raises(SaveError, match="id"):
        save_prediction(dataclasses.replace(tiny_prediction, study_id=study_id), tmp_path)
    assert list(tmp_path.iterdir()) == []


def _other(prediction):
    return dataclasses.replace(prediction, provenance=dict(prediction.provenance) | {"settings": {"members": 2}})


def test_another_result_is_kept_unless_overwritten(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    before = contents(tmp_path)
    other = dataclasses.replace(
        _other(tiny_prediction), maps={name: m for name, m in tiny_prediction.maps.items() if name != "error"}
    )
    with pytest.raises(AnotherResult, match=re.escape(str(saved.folder))):
        save_prediction(other, tmp_path)
    assert contents(tmp_path) == before
    replaced = save_prediction(other, tmp_path, overwrite=True)
    assert sorted(path.name for path in replaced.files) == sorted(contents(saved.folder))
    assert load_prediction(replaced.folder).member_count == 2


def test_an_input_is_never_overwritten(tiny_prediction, study_folder):
    """The expert's segmentation of BraTS 2021 has the very name of ours."""
    expert = study_folder / f"{study_folder.name}_seg.nii.gz"
    (study_folder / f"{study_folder.name}-seg.nii.gz").rename(expert)
    from napari_uncseg.io.nifti import read_volume

    inputs = {"reference": {"file": expert.name, "sha256": read_volume(expert).sha256}}
    prediction = dataclasses.replace(tiny_prediction, provenance=dict(tiny_prediction.provenance) | {"inputs": inputs})
    before = contents(study_folder)
    with pytest.raises(SaveError):
        save_prediction(prediction, study_folder.parent, overwrite=True)
    assert contents(study_folder) == before


def test_our_segmentation_beside_the_images_is_no_reference(tiny_prediction, study_folder):
    """Whoever saves into the study's own folder finds the same study there again."""
    before = find_studies(study_folder)
    save_prediction(tiny_prediction, study_folder.parent)
    assert (study_folder / f"{study_folder.name}_seg.nii.gz").is_file()
    assert find_studies(study_folder) == before


@pytest.mark.parametrize("beside", [False, True], ids=["without a result", "beside a result that does not list it"])
def test_a_file_that_no_result_lists_is_never_replaced(beside, tiny_prediction, tmp_path):
    """The expert's segmentation has the very name of ours."""
    folder = tmp_path / tiny_prediction.study_id
    folder.mkdir()
    expert = folder / f"{tiny_prediction.study_id}_error.nii.gz"
    if beside:
        without = {name: values for name, values in tiny_prediction.maps.items() if name != "error"}
        save_prediction(dataclasses.replace(tiny_prediction, maps=without), tmp_path)
    expert.write_bytes(b"the expert's")
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(ForeignFile, match=re.escape(str(expert))):
            save_prediction(_other(tiny_prediction), tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_the_state_of_a_place(tiny_prediction, tmp_path):
    assert state(tiny_prediction, tmp_path) is State.FREE
    saved = save_prediction(tiny_prediction, tmp_path)
    assert state(tiny_prediction, tmp_path) is State.SAME
    assert state(_other(tiny_prediction), tmp_path) is State.OTHER
    saved.files[-1].write_text("{")
    assert state(tiny_prediction, tmp_path) is State.FOREIGN


def test_an_id_that_is_too_long_is_refused_before_anything_runs(tiny_prediction, tmp_path):
    with pytest.raises(SaveError, match=r"q{20}"):
        check_target(tmp_path, "q" * 240, tiny_prediction.provenance)
    assert list(tmp_path.iterdir()) == []


def test_results_are_found_in_their_folder_and_above_it(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    json_path = saved.files[-1]
    for folder in (tmp_path, saved.folder):
        assert find_results(folder) == find_results(folder, tiny_prediction.study_id) == [json_path]
        assert find_results(folder, "another") == []
    assert find_results(tmp_path / "nowhere") == []
    assert is_own_segmentation(saved.files[0])
    assert not is_own_segmentation(saved.files[2])


def test_a_result_is_made_from_the_files_of_its_study_alone(tiny_study, tiny_prediction, study_folder, tmp_path):
    study = load_study(study_folder)
    assert made_from(tiny_prediction.provenance, study.inputs)
    swapped = dataclasses.replace(study, sources=tuple(dataclasses.replace(s, sha256="2" * 64) for s in study.sources))
    assert not made_from(tiny_prediction.provenance, swapped.inputs)
    assert other_inputs(tiny_prediction.provenance, swapped.inputs) == MODALITIES
    with pytest.raises(StudyError):
        check_made_from(tiny_prediction.provenance, swapped.inputs, study.id, tmp_path)
    assert not doubt_about(tiny_prediction.provenance, swapped.inputs, study.id)
    without_hashes = {name: {"file": each["file"]} for name, each in tiny_prediction.provenance["inputs"].items()}
    for told in ({}, {"inputs": without_hashes}, {"inputs": tiny_study.inputs}):
        assert made_from(told, study.inputs), "of which nothing is known"
        assert doubt_about(told, study.inputs, study.id)


def test_a_result_under_another_id_is_found_by_its_images(tiny_prediction, study_folder, tmp_path):
    named = save_prediction(dataclasses.replace(tiny_prediction, study_id="site_a_1"), tmp_path)
    study = load_study(study_folder)
    assert find_result_of(study, tmp_path) == named.files[-1]
    swapped = dataclasses.replace(study, sources=tuple(dataclasses.replace(s, sha256="2" * 64) for s in study.sources))
    assert find_result_of(swapped, tmp_path) is None


def test_arrays_in_memory_tell_studies_apart_too(tiny_study):
    other = dataclasses.replace(tiny_study, images=tiny_study.images + 1)
    provenance = {"inputs": tiny_study.inputs}
    assert made_from(provenance, dataclasses.replace(tiny_study).inputs)
    assert not made_from(provenance, other.inputs)


@pytest.mark.parametrize("out", ["file", "file/below", "link"])
def test_unwritable_output(out, tiny_prediction, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SaveError):
        check_writable(tmp_path / out)
    with pytest.raises(SaveError):
        save_prediction(tiny_prediction, tmp_path / out)
    assert contents(tmp_path) == {"file": b"kept"}


def test_checking_makes_no_folder(tmp_path):
    check_writable(tmp_path / "new" / "deeper")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("study_id", ["", "..", "a/b", "/etc"])
def test_id_that_leads_elsewhere(study_id, tiny_prediction, tmp_path):
    with pytest.raises(SaveError):
        save_prediction(dataclasses.replace(tiny_prediction, study_id=study_id), tmp_path)


def test_interrupted_renaming_is_noticed(tiny_prediction, tmp_path, monkeypatch):
    """Maps of one run beside the JSON of another are never taken for a result."""
    saved = save_prediction(tiny_prediction, tmp_path)
    other = dataclasses.replace(
        _other(tiny_prediction), maps={name: 0.5 * values for name, values in tiny_prediction.maps.items()}
    )
    from napari_uncseg.io import files as atomic

    replace = atomic.os.replace

    def fail_at_the_end(source, target):
        if str(target).endswith(".json"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", fail_at_the_end)
    with pytest.raises(SaveError, match="Input/output error"):
        save_prediction(other, tmp_path, overwrite=True)
    assert len([name for name in contents(tmp_path) if name.endswith(".tmp")]) == 1  # it vouches for the others
    assert state(tiny_prediction, tmp_path) is State.OTHER
    with pytest.raises(StudyError):
        load_prediction(saved.folder)
    monkeypatch.setattr(atomic.os, "replace", replace)
    assert not save_prediction(other, tmp_path, overwrite=True).skipped
    assert load_prediction(saved.folder).provenance["model"] == other.provenance["model"]


def test_a_segmentation_that_somebody_changed_is_never_replaced(tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    drawn = saved.folder / f"{tiny_prediction.study_id}_seg.nii.gz"
    drawn.write_bytes(b"an expert's")
    before = contents(tmp_path)
    for prediction in (tiny_prediction, _other(tiny_prediction)):
        with pytest.raises(ForeignFile, match="_seg"):
            save_prediction(prediction, tmp_path, overwrite=True)
    assert contents(tmp_path) == before
    drawn.unlink()
    assert not save_prediction(tiny_prediction, tmp_path, overwrite=True).skipped


@pytest.mark.parametrize("renames", [1, 3])
def test_a_run_killed_between_two_renames_is_no_obstacle_for_the_next(renames, tiny_prediction, tmp_path):
    """Its JSON, still under a temporary name, vouches for what was renamed before."""
    saved = save_prediction(tiny_prediction, tmp_path)
    before = contents(tmp_path)
    saved.files[-1].rename(saved.folder / f".{'0123456789abcdef'}.tmp")
    for path in saved.files[renames:-1]:
        path.unlink()
    assert state(tiny_prediction, tmp_path) is State.FREE
    assert not save_prediction(tiny_prediction, tmp_path).skipped
    assert before.items() <= contents(tmp_path).items()
    (leftover,) = saved.folder.glob(".*.tmp")
    os.utime(leftover, (0, 0))
    save_prediction(_other(tiny_prediction), tmp_path, overwrite=True)
    assert not leftover.exists()


def test_a_rename_that_fails_leaves_no_file_that_nobody_vouches_for(tiny_prediction, tmp_path, monkeypatch):
    from napari_uncseg.io import files as atomic

    replace = atomic.os.replace

    def fail_at_the_end(source, target):
        if str(target).endswith(".json"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(atomic.os, "replace", fail_at_the_end)
        with pytest.raises(SaveError):
            save_prediction(tiny_prediction, tmp_path)
    assert not contents(tmp_path)
    assert not save_prediction(tiny_prediction, tmp_path).skipped


NO_SPACE = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from napari_uncseg.errors import SaveError
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
prediction = load_prediction(Path(sys.argv[1]))
noise = np.random.default_rng(0).random(prediction.probabilities.shape, dtype=np.float32)
other = replace(prediction, probabilities=noise, provenance={})
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    save_prediction(other, Path(sys.argv[2]), overwrite=True)
except SaveError as error:
    print(error)
"""


@pytest.mark.parametrize("fresh", [False, True])
def test_no_space_left_loses_nothing(fresh, tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path / "out")
    out = tmp_path / "fresh" if fresh else tmp_path / "out"
    before = contents(tmp_path)
    command = [sys.executable, "-c", NO_SPACE, str(saved.folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot be written" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    assert contents(tmp_path) == before
    assert not (tmp_path / "fresh").exists()


def _edit_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


DAMAGE = {
    "cut": lambda files: files[-1].write_text("{"),
    "no object": lambda files: files[-1].write_text("[]"),
    "no text": lambda files: files[-1].write_bytes(b"\xff\xfe\x00"),
    "no JSON": lambda files: files[-1].unlink(),
    "another format": lambda files: files[-1].write_text("{}"),
    "a later version": lambda files: _edit_json(files[-1], schema=99),
    "no files": lambda files: _edit_json(files[-1], files={}),
    "warnings that are none": lambda files: _edit_json(files[-1], warnings=3),
    "a list of files": lambda files: _edit_json(files[-1], files=["x"]),
    "a file elsewhere": lambda files: _edit_json(files[-1], files={"entropy": {"file": "../x", "sha256": ""}}),
    "no probabilities": lambda files: _edit_json(files[-1], files={"entropy": {"file": "x", "sha256": ""}}),
    "a missing map": lambda files: files[0].unlink(),
    "a cut map": lambda files: files[4].write_bytes(files[4].read_bytes()[:-100]),
    "another map": lambda files: files[4].write_bytes(files[5].read_bytes()),
    "two results": lambda files: files[-1].with_name("b_uncseg.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_result_gives_one_sentence(damage, tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path)
    damage(saved.files)
    with pytest.raises(StudyError, match=re.escape(str(saved.folder))) as caught:
        load_prediction(saved.folder)
    assert "\n" not in str(caught.value)


def test_numbers_that_json_does_not_know(tiny_prediction, tmp_path):
    provenance = dict(tiny_prediction.provenance) | {"dice": {"WT": np.float32(0.5), "ET": float("nan")}}
    saved = save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path)
    assert json.loads(saved.files[-1].read_text())["dice"] == {"WT": 0.5, "ET": None}
