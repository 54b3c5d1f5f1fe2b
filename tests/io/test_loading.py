"""From files to a validated study."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import find_studies, study_files
from napari_uncseg.io.loading import load_study, study_from_arrays
from napari_uncseg.io.study import z_scores
from napari_uncseg.labels import MODALITIES, Coding


@pytest.fixture
def rewrite(study_folder, tiny_study):
    """Replaces one file of the study folder."""

    def replace(token, array, affine=None):
        path = study_folder / f"{study_folder.name}-{token}.nii.gz"
        nib.Nifti1Image(array, tiny_study.affine if affine is None else affine).to_filename(path)
        return path

    return replace


def test_study_is_what_the_files_hold(study_folder, tiny_study):
    study = load_study(study_folder)
    assert study.id == study_folder.name
    assert study.images.dtype == np.float32
    assert study.images.flags.c_contiguous
    assert np.array_equal(study.images, tiny_study.images)
    assert np.array_equal(study.affine, tiny_study.affine)
    assert np.array_equal(study.brain, tiny_study.brain)
    assert np.array_equal(study.reference, tiny_study.reference)
    assert [source.role for source in study.sources] == [*MODALITIES, "reference"]
    assert all(len(source.sha256) == 64 for source in study.sources)
    assert study.warnings == ()
    assert not study.resampled


@pytest.mark.parametrize("permutation", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("degrees", [0, 25])
def test_voxels_are_never_reordered(permutation, degrees, tiny_study, tmp_path):
    """Any axis order, any obliquity: arrays come as they lie in the file."""
    turn = np.eye(4)
    angle = np.radians(degrees)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ tiny_study.affine[:, [*permutation, 3]]
    images = [image.transpose(permutation) for image in tiny_study.images]
    for modality, image in zip(MODALITIES, images, strict=True):
        nib.Nifti1Image(image, affine).to_filename(tmp_path / f"{modality}.nii")
    study = load_study(tmp_path)
    assert np.array_equal(study.images, images)
    assert np.array_equal(study.affine, nib.load(tmp_path / "t1c.nii").affine)
    assert any("tilted by 25°" in warning for warning in study.warnings) == (degrees > 0)


@pytest.mark.parametrize(("token", "title"), [("t2w", "t2w"), ("seg", "seg")])
def test_different_grids_are_described(token, title, rewrite, study_folder, tiny_study):
    array = tiny_study.reference if token == "seg" else tiny_study.images[3]
    rewrite(token, array[:-2], tiny_study.affine)
    with pytest.raises(StudyError) as caught:
        load_study(study_folder)
    for part in (f"-{title}.nii.gz", "-t1c.nii.gz", "40×44×36", "38×44×36", "affine [-2 0 0 40;", "--resample"):
        assert part in str(caught.value)


def test_round_off_in_an_affine_is_tolerated(rewrite, study_folder, tiny_study):
    rewrite("t2w", tiny_study.images[3], tiny_study.affine + np.eye(4) * 1e-4 * [1, 1, 1, 0])
    assert not load_study(study_folder).resampled


def test_resampling_onto_t1c(rewrite, study_folder, tiny_study):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = tiny_study.shape[0] - 1
    rewrite("t2f", tiny_study.images[2][::-1], tiny_study.affine @ flip)
    rewrite("seg", tiny_study.reference[::-1], tiny_study.affine @ flip)
    study = load_study(study_folder, resample=True)
    assert study.resampled
    assert study.warnings == ("Resampled onto the grid of T1c: FLAIR (T2f), reference.",)
    assert np.allclose(study.images, tiny_study.images, atol=1e-3)
    assert np.array_equal(study.reference, tiny_study.reference)


def test_resampling_what_does_not_overlap(rewrite, study_folder, tiny_study):
    away = tiny_study.affine.copy()
    away[:3, 3] += 1000
    rewrite("t2f", tiny_study.images[2], away)
    with pytest.raises(StudyError):
        load_study(study_folder, resample=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_count_as_zero(value, rewrite, study_folder, tiny_study):
    image = tiny_study.images[1].copy()
    image[~tiny_study.brain] = value
    rewrite("t1n", image)
    study = load_study(study_folder)
    assert np.array_equal(study.images, tiny_study.images)
    assert "T1n held" in study.warnings[0]


@pytest.mark.parametrize("reasons", [5, [1], [{"code": 3}]])
def test_a_damaged_record_of_a_preparation_is_refused(reasons, study_folder):
    sha256 = load_study(study_folder).inputs["t1c"]["sha256"]
    record = {"schema": 1, "files": {"t1c": {"sha256": sha256}}, "needs_review": reasons}
    path = study_folder / f"{study_folder.name}_preparation.json"
    path.write_text(json.dumps(record))
    with pytest.raises(StudyError, match=path.name):
        load_study(study_folder)


@pytest.mark.parametrize("scale", [1e-40, 1e-12, 1e30])
def test_values_beyond_what_is_computed_with_are_scaled(scale, rewrite, study_folder, tiny_study):
    rewrite("t2w", tiny_study.images[3].astype(np.float64) * scale)
    study = load_study(study_folder)
    assert any("scaled" in warning for warning in study.warnings)
    assert 0.5 <= study.images[3].max() <= 1
    scores, expected = (z_scores(each.images[3], tiny_study.brain) for each in (study, tiny_study))
    assert np.abs(scores - expected).max() < 1e-3


def test_ambiguous_labels_ask_for_the_coding(rewrite, study_folder, tiny_study):
    rewrite("seg", np.array([0, 1, 2, 4], dtype=np.uint8)[tiny_study.reference])
    with pytest.raises(StudyError, match="--coding"):
        load_study(study_folder)
    study = load_study(study_folder, coding=Coding.BRATS2021)
    assert np.array_equal(study.reference, tiny_study.reference)
    assert study.coding is Coding.BRATS2021


def test_one_file_under_two_names_is_told(study_folder):
    t1n, t2w = (study_folder / f"{study_folder.name}-{token}.nii.gz" for token in ("t1n", "t2w"))
    t2w.write_bytes(t1n.read_bytes())
    (warning,) = load_study(study_folder).warnings
    assert warning == f"{t1n.name} and {t2w.name} are the same file twice; check which is which."


def test_labels_with_a_slope(rewrite, study_folder, tiny_study):
    image = nib.Nifti1Image(tiny_study.reference.astype(np.int16) * 2, tiny_study.affine)
    image.header.set_slope_inter(0.5, 0)
    image.to_filename(study_folder / f"{study_folder.name}-seg.nii.gz")
    assert np.array_equal(load_study(study_folder).reference, tiny_study.reference)


def test_files_one_by_one(study_folder, tiny_study):
    paths = {m: study_folder / f"{study_folder.name}-{m}.nii.gz" for m in MODALITIES}
    study = load_study(study_files(**paths, id="mine"))
    assert study.id == "mine"
    assert study.reference is None
    assert np.array_equal(study.images, tiny_study.images)


def test_thick_slices_are_told(tiny_study):
    affine = tiny_study.affine @ np.diag([1, 1, 2, 1])
    study = study_from_arrays(tiny_study.images, affine, id="thick")
    assert "5.0 mm thick" in study.warnings[0]


def test_skull_is_told(tiny_study):
    study = study_from_arrays(tiny_study.images, tiny_study.affine @ np.diag([2.4, 2.4, 2.4, 1]), id="head")
    assert any("skull" in warning for warning in study.warnings)


def test_arrays_of_the_caller_stay_as_they_are(tiny_study):
    images = tiny_study.images.copy()
    images[0, 3, 4, 5] = np.nan
    study = study_from_arrays(images, tiny_study.affine, id="x")
    assert np.isnan(images[0, 3, 4, 5])
    assert study.images[0, 3, 4, 5] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((3, 4, 5, 6))},
        {"affine": np.zeros((4, 4))},
        {"reference": np.full((40, 44, 36), 4)},
        {"reference": np.zeros((2, 2, 2), dtype=int)},
        {"images": np.ones((4, 5, 5, 5), dtype=complex)},
    ],
    ids=["three images", "affine", "label 4", "reference of another shape", "complex"],
)
def test_arrays_that_make_no_study(change, tiny_study):
    arguments = {"images": tiny_study.images, "affine": tiny_study.affine, "reference": None} | change
    with pytest.raises(StudyError):
        study_from_arrays(**arguments, id="x")


@pytest.mark.slow
def test_real_studies_are_read(real_data):
    studies = find_studies(real_data / "brats2021")
    assert {study.coding for study in studies} == {Coding.BRATS2021}
    study = load_study(studies[0])
    counts = np.bincount(study.reference.ravel(), minlength=4)
    assert (counts > 0).all()
    assert study.warnings == ()


@pytest.mark.slow
def test_real_studies_of_another_disease_have_no_reference(real_data):
    for files in find_studies(real_data / "ood_ms"):
        assert files.reference is None
        assert files.modalities["t1c"].name == "T1POST.nii.gz"
        assert load_study(files).warnings == ()


def test_a_reference_that_lies_elsewhere_is_refused(study_folder) -> None:
    path = next(study_folder.glob("*seg*"))
    image = nib.load(path)
    away = image.affine.copy()
    away[0, 3] += 900
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), away), path)
    with pytest.raises(StudyError, match=path.name):
        load_study(study_folder, resample=True)


def test_a_study_of_two_slices_is_refused(study_folder):
    for path in study_folder.glob("*.nii.gz"):
        image = nib.load(path)
        nib.save(image.slicer[:, :, :2], path)
    with pytest.raises(StudyError, match="t1c"):
        load_study(study_folder)
