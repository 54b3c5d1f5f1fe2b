"""Predictions matched with references, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.matching import match
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Coding


def label_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.uint8), np.eye(4)).to_filename(path)
    return path


@pytest.mark.parametrize(
    "name", ["a-seg.nii.gz", "a_seg.nii.gz", "a.nii.gz", "a.nii", "a/a-seg.nii.gz", "a/a_seg.nii", "a/a.nii.gz"]
)
def test_a_reference_alone_is_found_by_its_name(tmp_path, name):
    label_file(tmp_path / "pred" / "a.nii.gz")
    reference = label_file(tmp_path / "ref" / name)
    (pair,) = match(tmp_path / "pred", tmp_path / "ref").pairs
    assert (pair.id, pair.problem, pair.images, pair.foreign) == ("a", None, None, True)
    assert pair.reference is not None
    assert pair.reference.path == reference


def test_letters_with_accents_may_be_spelt_in_two_ways(tmp_path):
    label_file(tmp_path / "pred" / "M\u00fcller.nii.gz")
    label_file(tmp_path / "ref" / "Mu\u0308ller" / "Mu\u0308ller-seg.nii.gz")
    (pair,) = match(tmp_path / "pred", tmp_path / "ref").pairs
    assert (pair.id, pair.problem) == ("M\u00fcller", None)


def test_results_of_ours_are_matched_with_studies(tmp_path, study_folder, tiny_prediction: Prediction):
    save_prediction(tiny_prediction, tmp_path / "out")
    (pair,) = match(tmp_path / "out", study_folder.parent).pairs
    assert not pair.foreign
    assert pair.prediction.path.name == f"{tiny_prediction.study_id}_uncseg.json"
    assert pair.images is not None
    assert pair.reference is not None
    assert pair.reference.coding is Coding.BRATS2023


def test_a_study_without_its_images_still_has_its_reference(tmp_path, study_folder, tiny_prediction: Prediction):
    save_prediction(tiny_prediction, tmp_path / "out")
    for modality in ("t1c", "t1n", "t2f", "t2w"):
        (study_folder / f"{study_folder.name}-{modality}.nii.gz").unlink()
        (pair,) = match(tmp_path / "out", study_folder.parent).pairs
        assert pair.problem is None
        assert pair.images is None
        assert pair.reference is not None


def test_our_own_segmentation_is_no_reference(tmp_path, tiny_prediction: Prediction):
    save_prediction(tiny_prediction, tmp_path / "out")
    (pair,) = match(tmp_path / "out", tmp_path / "out").pairs
    assert pair.reference is None
    assert pair.problem is not None
    assert "would be compared with itself" in pair.problem


def test_one_folder_for_both_is_told_as_such(study_folder):
    parent = study_folder.parent
    (pair,) = match(parent, parent).pairs
    reference = study_folder / f"{study_folder.name}-seg.nii.gz"
    assert pair.reference is None
    assert pair.problem is not None
    assert f"would be compared with itself, for {reference}" in pair.problem


def test_predictions_without_reference_and_references_without_prediction_are_told(tmp_path):
    for name in ("a", "b"):
        label_file(tmp_path / "pred" / f"{name}.nii.gz")
    for name in ("b", "c"):
        label_file(tmp_path / "ref" / f"{name}.nii.gz")
    matched = match(tmp_path / "pred", tmp_path / "ref")
    assert [(pair.id, pair.problem is None) for pair in matched.pairs] == [("a", False), ("b", True)]
    assert matched.unpredicted == ("c",)


def test_images_may_lie_elsewhere(tmp_path, study_folder, tiny_prediction: Prediction):
    save_prediction(tiny_prediction, tmp_path / "out")
    label_file(tmp_path / "ref" / f"{tiny_prediction.study_id}.nii.gz")
    (pair,) = match(tmp_path / "out", tmp_path / "ref", images=study_folder.parent).pairs
    assert pair.images is not None


@pytest.mark.parametrize("channels", ['{"0": "T1c", "1": "T1", "2": "FLAIR", "3": "T2"}', '{"0": "FLAIR"}'])
def test_the_dataset_beside_them_says_how_labels_are_numbered(tmp_path, channels):
    decathlon = f'{{"channel_names": {channels}, "labels": {{"background": 0, '
    decathlon += '"edema": 1, "non-enhancing tumor": 2, "enhancing tumour": 3}}'
    label_file(tmp_path / "pred" / "a.nii.gz")
    label_file(tmp_path / "ref" / "labelsTr" / "a.nii.gz")
    for folder in ("pred", "ref"):
        (tmp_path / folder / "dataset.json").write_text(decathlon)
    (pair,) = match(tmp_path / "pred", tmp_path / "ref").pairs
    assert pair.reference is not None
    assert (pair.prediction.coding, pair.reference.coding) == (Coding.DECATHLON, Coding.DECATHLON)


def test_two_predictions_of_one_study_are_a_problem_of_that_study(tmp_path):
    for name in ("a.nii.gz", "a/a.nii.gz", "b.nii.gz"):
        label_file(tmp_path / "pred" / name)
    for name in ("a", "b"):
        label_file(tmp_path / "ref" / f"{name}.nii.gz")
    first, second = match(tmp_path / "pred", tmp_path / "ref").pairs
    assert "twice" in str(first.problem)
    assert second.problem is None


def test_a_damaged_result_is_a_problem_of_its_own(tmp_path):
    folder = tmp_path / "pred" / "a"
    folder.mkdir(parents=True)
    (folder / "a_uncseg.json").write_text("{")
    label_file(tmp_path / "ref" / "a.nii.gz")
    (pair,) = match(tmp_path / "pred", tmp_path / "ref").pairs
    assert "cannot be read as JSON" in str(pair.problem)


@pytest.mark.parametrize(("predictions", "words"), [("missing", "does not exist"), (".", "holds no prediction")])
def test_folders_that_hold_nothing_are_refused(tmp_path, predictions, words):
    (tmp_path / "ref").mkdir()
    with pytest.raises(EvaluationError, match=words):
        match(tmp_path / predictions, tmp_path / "ref")
