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
    comparison_data,
)
from napari_uncseg.errors import StudyError
from napari_uncseg.viewer.orientation import to_display


@pytest.fixture
def data(tiny_study, tiny_prediction):
    return comparison_data(tiny_study, tiny_prediction)


def test_arrays_are_shared(data, tiny_study, tiny_prediction):
    assert all(np.shares_memory(array, tiny_study.images) for array in data.images.values())
    assert np.shares_memory(data.overlays["entropy"].array, tiny_prediction.maps["entropy"])
    assert np.shares_memory(data.overlays["p(TC)"].array, tiny_prediction.probabilities)
    assert np.shares_memory(data.overlays[SEGMENTATION].array, tiny_prediction.segmentation)


def test_there_is_all_that_study_and_result_hold(data, tiny_prediction):
    assert list(data.images) == ["t1c", "t1n", "t2f", "t2w"]
    regions = {"p(WT)", "p(TC)", "p(ET)"}
    assert set(data.overlays) == {SEGMENTATION, REFERENCE, *tiny_prediction.maps, *regions}
    assert data.overlays["variance"].title == "variance (WT)"
    assert data.overlays["variance"].upper == 0.25


def test_a_map_of_another_region_keeps_its_bound_and_says_so(tiny_study, tiny_prediction):
    maps = {**tiny_prediction.maps, "entropy-et": tiny_prediction.maps["entropy"]}
    overlay = comparison_data(tiny_study, dataclasses.replace(tiny_prediction, maps=maps)).overlays["entropy-et"]
    assert overlay.upper == pytest.approx(np.log(2))
    assert "ET" in overlay.title
    assert overlay.colours == "entropy"


def test_best_point_lies_where_most_tumour_is(data, tiny_prediction):
    segmentation = to_display(tiny_prediction.segmentation, tiny_prediction.affine) > 0
    for axis, place in enumerate(data.best_point):
        profile = segmentation.sum(axis=tuple(other for other in range(3) if other != axis))
        assert profile[data.index(axis, place)] == profile.max()


def test_without_a_tumour_the_best_point_is_the_middle(tiny_study, tiny_prediction):
    nothing = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    data = comparison_data(tiny_study, nothing)
    assert data.best_point == data.middle


def test_slices_and_places_belong_together(data):
    for axis in range(3):
        for index in (0, 7, data.shape[axis] - 1):
            assert data.index(axis, data.world(axis, index)) == index
        assert data.index(axis, 1e6) == data.shape[axis] - 1
        assert data.index(axis, -1e6) == 0


def test_a_correction_is_shown_beside_what_it_changed(tiny_study, tiny_prediction):
    corrected = tiny_prediction.segmentation.copy()
    tumour = np.argwhere(corrected > 0)
    removed, relabelled = tuple(tumour[0]), tuple(tumour[len(tumour) // 2])
    corrected[removed] = 0
    corrected[relabelled] = corrected[relabelled] % 3 + 1
    corrected[1, 1, 1] = 2
    data = comparison_data(tiny_study, tiny_prediction, corrected=corrected)
    assert np.shares_memory(data.overlays[CORRECTED].array, corrected)
    change = data.overlays[CHANGE].cut(lambda array: array)
    expected = np.zeros_like(corrected)
    expected[removed], expected[relabelled], expected[1, 1, 1] = REMOVED, RELABELLED, ADDED
    assert np.array_equal(change, to_display(expected, tiny_study.affine))


def test_another_result_brings_its_maps_under_its_own_name(tiny_study, tiny_prediction):
    method = {"method": "mc_dropout:20,p=0.2", "members": 20}
    other = dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, "settings": method})
    data = comparison_data(tiny_study, tiny_prediction, others=(other, other))
    assert data.methods == {
        "": "single",
        "mc_dropout:20,p=0.2": "mc_dropout:20,p=0.2",
        "mc_dropout:20,p=0.2 (2)": "mc_dropout:20,p=0.2",
    }
    assert data.overlays["mc_dropout:20,p=0.2/entropy"].title == "entropy (WT) · mc_dropout:20,p=0.2"
    assert np.shares_memory(data.overlays["mc_dropout:20,p=0.2/entropy"].array, other.maps["entropy"])


def test_results_of_other_studies_and_grids_are_refused(tiny_study, tiny_prediction):
    with pytest.raises(StudyError, match="belongs to study other"):
        comparison_data(tiny_study, dataclasses.replace(tiny_prediction, study_id="other"))
    moved = tiny_prediction.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(StudyError, match="another grid"):
        comparison_data(tiny_study, dataclasses.replace(tiny_prediction, affine=moved))
