"""What a comparison can show: views of arrays, never copies, and only of results that belong to the study."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.compare.data import (
    ADDED,
    CHANGE,
    CORRECTED,
    REFERENCE,
    RELABELLED,
    REMOVED,
    SEGMENTATION,
    study_material,
)
from napari_uncseg.errors import StudyError
from napari_uncseg.viewer.orientation import to_display


@pytest.fixture
def material(tiny_study, tiny_prediction):
    return study_material(tiny_study, tiny_prediction)


def test_arrays_are_shared(material, tiny_study, tiny_prediction):
    assert all(np.shares_memory(array, tiny_study.images) for array in material.images.values())
    assert np.shares_memory(material.overlays["entropy"].array, tiny_prediction.maps["entropy"])
    assert np.shares_memory(material.overlays["p(TC)"].array, tiny_prediction.probabilities)
    assert np.shares_memory(material.overlays[SEGMENTATION].array, tiny_prediction.segmentation)


def test_there_is_all_that_study_and_result_hold(material, tiny_prediction):
    assert list(material.images) == ["t1c", "t1n", "t2f", "t2w"]
    regions = {"p(WT)", "p(TC)", "p(ET)"}
    assert set(material.overlays) == {SEGMENTATION, REFERENCE, *tiny_prediction.maps, *regions}
    assert material.overlays["variance"].title == "variance (WT, p(1−p), one pass)"
    assert material.overlays["variance"].upper == 0.25


def test_a_map_of_another_region_keeps_its_bound_and_says_so(tiny_study, tiny_prediction):
    maps = {**tiny_prediction.maps, "entropy-et": tiny_prediction.maps["entropy"]}
    overlay = study_material(tiny_study, dataclasses.replace(tiny_prediction, maps=maps)).overlays["entropy-et"]
    assert overlay.upper == pytest.approx(np.log(2))
    assert "ET" in overlay.title
    assert overlay.colours == "entropy"


def test_best_point_lies_where_most_tumour_is(material, tiny_prediction):
    segmentation = to_display(tiny_prediction.segmentation, tiny_prediction.affine) > 0
    for axis, place in enumerate(material.best_point):
        profile = segmentation.sum(axis=tuple(other for other in range(3) if other != axis))
        assert profile[material.index(axis, place)] == profile.max()


def test_without_a_tumour_the_best_point_is_the_middle(tiny_study, tiny_prediction):
    nothing = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    material = study_material(tiny_study, nothing)
    assert material.best_point == material.middle


def test_slices_and_places_belong_together(material):
    for axis in range(3):
        for index in (0, 7, material.shape[axis] - 1):
            assert material.index(axis, material.world(axis, index)) == index
        assert material.index(axis, 1e6) == material.shape[axis] - 1
        assert material.index(axis, -1e6) == 0


def test_a_correction_is_shown_beside_what_it_changed(tiny_study, tiny_prediction):
    corrected = tiny_prediction.segmentation.copy()
    tumour = np.argwhere(corrected > 0)
    removed, relabelled = tuple(tumour[0]), tuple(tumour[len(tumour) // 2])
    corrected[removed] = 0
    corrected[relabelled] = corrected[relabelled] % 3 + 1
    corrected[1, 1, 1] = 2
    material = study_material(tiny_study, tiny_prediction, corrected=corrected)
    assert np.shares_memory(material.overlays[CORRECTED].array, corrected)
    change = material.overlays[CHANGE].cut(lambda array: array)
    expected = np.zeros_like(corrected)
    expected[removed], expected[relabelled], expected[1, 1, 1] = REMOVED, RELABELLED, ADDED
    assert np.array_equal(change, to_display(expected, tiny_study.affine))


def test_another_result_brings_its_maps_under_its_own_name(tiny_study, tiny_prediction):
    method = {"method": "mc_dropout:20,p=0.2", "members": 20}
    other = dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, "settings": method})
    material = study_material(tiny_study, tiny_prediction, others=(other, other))
    assert material.members == {
        "": "single",
        "mc_dropout:20,p=0.2": "mc_dropout:20,p=0.2",
        "mc_dropout:20,p=0.2 (2)": "mc_dropout:20,p=0.2",
    }
    assert material.overlays["mc_dropout:20,p=0.2/entropy"].title == "entropy (WT) · mc_dropout:20,p=0.2"
    assert np.shares_memory(material.overlays["mc_dropout:20,p=0.2/entropy"].array, other.maps["entropy"])


def test_results_of_other_studies_and_grids_are_refused(tiny_study, tiny_prediction):
    with pytest.raises(StudyError, match="belongs to study other"):
        study_material(tiny_study, dataclasses.replace(tiny_prediction, study_id="other"))
    moved = tiny_prediction.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(StudyError, match="another grid"):
        study_material(tiny_study, dataclasses.replace(tiny_prediction, affine=moved))
