"""Corrections: what changed, and where it is written."""

import dataclasses
import hashlib
import json
import threading
from functools import partial

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError, SaveError, StudyError
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Label, Region, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.review import corrections
from napari_uncseg.review.corrections import compare, corrections_in, load_correction, save_correction
from napari_uncseg.review.findings import find
from napari_uncseg.review.watershed import build_watershed


@pytest.fixture
def findings(shell_prediction):
    return find(build_watershed(shell_prediction, MapName("unc_output")), 0.3)


@pytest.fixture
def corrected(shell_prediction):
    labels = shell_prediction.segmentation.copy()
    labels[54:58, 6:10, 6:10] = Label.ET  # in the far finding
    labels[28, 30, 28] = 0  # in none
    return labels


def test_changes_are_measured(shell_prediction, corrected, findings):
    changes = compare(shell_prediction, corrected, findings)
    assert changes.voxels == 65
    assert changes.changed_ml == pytest.approx(0.065)
    assert changes.touched == (2,)
    assert changes.outside_ml == pytest.approx(0.001)
    wt = changes.regions[Region.WT]
    assert (wt.added_ml, wt.removed_ml) == (pytest.approx(0.064), pytest.approx(0.001))
    assert wt.after_ml - wt.before_ml == pytest.approx(0.063)
    assert changes.regions[Region.ET].added_ml == pytest.approx(0.064)


def test_volumes_are_those_of_the_masks(shell_prediction):
    labels = np.random.default_rng(1).integers(0, 4, shell_prediction.segmentation.shape).astype(np.uint8)
    changes = compare(shell_prediction, labels)
    for region, old, new in zip(Region, region_masks(shell_prediction.segmentation), region_masks(labels), strict=True):
        change = changes.regions[region]
        assert change.before_ml == pytest.approx(old.sum() / 1000)
        assert change.after_ml == pytest.approx(new.sum() / 1000)
        assert change.added_ml == pytest.approx((new & ~old).sum() / 1000)
        assert change.removed_ml == pytest.approx((old & ~new).sum() / 1000)


def test_nothing_changed_is_nothing(shell_prediction, findings):
    changes = compare(shell_prediction, shell_prediction.segmentation, findings)
    assert changes.voxels == 0
    assert changes.touched == ()
    assert compare(shell_prediction, shell_prediction.segmentation).outside_ml == 0


def test_it_is_saved_beside_the_original_and_never_over_anything(
    tmp_path, tiny_study, tiny_prediction, shell_prediction
):
    saved = save_prediction(tiny_prediction, tmp_path)
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in saved.files}
    labels = tiny_prediction.segmentation.copy()
    labels[:3, :3, :3] = Label.ED
    path = save_correction(tiny_prediction, labels, saved.folder, reviewer="R1", comment="corner")
    assert path.name == f"{tiny_study.id}_segmentation-corrected.nii.gz"
    # The same labels again write nothing; others get a number.
    assert save_correction(tiny_prediction, labels, saved.folder, reviewer="R1") == path
    labels[0, 0, 0] = Label.ET
    second = save_correction(tiny_prediction, labels, saved.folder, reviewer="R1")
    assert second.name.endswith("-corrected-2.nii.gz")
    assert corrections_in(saved.folder, tiny_study.id) == [path, second]
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in saved.files} == before
    assert (load_prediction(saved.folder).segmentation == tiny_prediction.segmentation).all()
    assert (load_correction(second, tiny_prediction) == labels).all()


def test_grid_and_origin_are_those_of_the_original(tmp_path, tiny_prediction):
    import nibabel as nib

    path = save_correction(tiny_prediction, tiny_prediction.segmentation, tmp_path, reviewer="R1")
    image = nib.load(path)
    assert image.shape == tiny_prediction.segmentation.shape
    assert image.affine == pytest.approx(tiny_prediction.affine)
    assert image.header.get_xyzt_units() == tiny_prediction.header.get_xyzt_units()


def test_the_json_says_who_and_what(tmp_path, shell_prediction, corrected, findings):
    path = save_correction(shell_prediction, corrected, tmp_path, reviewer="R1", findings=findings, comment="ET")
    told = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert told["reviewer"] == "R1"
    assert told["changes"]["voxels"] == 65
    assert [each["rank"] for each in told["findings"]["touched"]] == [2]
    assert told["file"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(told["original"]["result"]) == 64
    assert "Research use only" in told["research_use_only"]


def test_foreign_labels_and_shapes_are_refused(tmp_path, shell_prediction):
    labels = shell_prediction.segmentation.astype(np.int16)
    labels[0, 0, 0] = 4
    with pytest.raises(EvaluationError):
        save_correction(shell_prediction, labels, tmp_path, reviewer="R1")
    with pytest.raises(EvaluationError):
        compare(shell_prediction, labels[1:])
    assert list(tmp_path.iterdir()) == []


def test_another_grid_is_refused(tmp_path, shell_prediction):
    path = save_correction(shell_prediction, shell_prediction.segmentation, tmp_path, reviewer="R1")
    other = dataclasses.replace(shell_prediction, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(StudyError):
        load_correction(path, other)


def test_a_correction_of_another_patient_is_refused(tmp_path, tiny_prediction):
    """As when the folders of two patients of one name are mixed up: all BraTS studies lie on one grid."""
    path = save_correction(tiny_prediction, tiny_prediction.segmentation, tmp_path, reviewer="R1")
    inputs = {name: {**each, "sha256": "2" * 64} for name, each in tiny_prediction.inputs.items()}
    other = dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, "inputs": inputs})
    with pytest.raises(StudyError, match=path.name):
        load_correction(path, other)
    theirs = save_prediction(other, tmp_path / "theirs").folder
    with pytest.raises(SaveError):
        save_correction(tiny_prediction, tiny_prediction.segmentation, theirs, reviewer="R1")
    model = {**tiny_prediction.provenance, "model": {"name": "another", "sha256": "3" * 64}}
    assert load_correction(path, dataclasses.replace(tiny_prediction, provenance=model)).any()


def test_a_folder_that_cannot_be_written_is_told(tmp_path, shell_prediction):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        save_correction(shell_prediction, shell_prediction.segmentation, tmp_path / "file", reviewer="R1")


def test_a_correction_beside_the_images_is_no_reference(study_folder, tiny_prediction):
    (study_folder / f"{study_folder.name}-seg.nii.gz").unlink()
    save_correction(tiny_prediction, tiny_prediction.segmentation, study_folder, reviewer="R1")
    assert find_studies(study_folder)[0].reference is None


def test_a_correction_whose_json_a_kill_prevented_is_completed(shell_prediction, corrected, tmp_path):
    path = save_correction(shell_prediction, corrected, tmp_path, reviewer="R1")
    told = path.with_name(path.name.replace(".nii.gz", ".json"))
    told.unlink()
    assert save_correction(shell_prediction, corrected, tmp_path, reviewer="R1") == path
    assert told.is_file()
    assert corrections_in(tmp_path, shell_prediction.study_id) == [path]


def test_two_who_save_in_the_same_moment_both_have_their_file(shell_prediction, tmp_path, monkeypatch):
    both_chose, free = threading.Barrier(2), corrections._free_path

    def choose(*told):
        path = free(*told)
        if not threading.current_thread().name.endswith("again"):
            threading.current_thread().name += "again"
            both_chose.wait(20)
        return path

    monkeypatch.setattr(corrections, "_free_path", choose)
    labels = [np.full_like(shell_prediction.segmentation, label) for label in (Label.ED, Label.ET)]
    save = partial(save_correction, shell_prediction, folder=tmp_path, reviewer="R1")
    threads = [threading.Thread(target=save, args=(each,)) for each in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = corrections_in(tmp_path, shell_prediction.study_id)
    assert len(found) == 2
    assert {int(load_correction(path, shell_prediction).max()) for path in found} == {Label.ED, Label.ET}
    for path in found:
        told = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert told["file"] == {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(list(tmp_path.iterdir())) == 4
