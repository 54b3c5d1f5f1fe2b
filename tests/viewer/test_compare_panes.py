"""Moving through a sheet: slices, crosshair, windows, and patients that are cut apart."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.compare.caption import caption
from napari_uncseg.compare.data import study_material
from napari_uncseg.compare.layout import Cut, Pane, PaneView, Sheet, centred, pointed, scrolled, values_at, windowed
from napari_uncseg.viewer.orientation import PLANES


@pytest.fixture
def material(tiny_study, tiny_prediction):
    return study_material(tiny_study, tiny_prediction)


@pytest.fixture
def sheet(material):
    keys = ("segmentation", "error", "unc_output", "variance", "entropy", "")
    return Sheet(tuple(PaneView(Pane("t1c", key), material) for key in keys), Cut(point=material.best_point))


def slices(sheet):
    return [view.slice_index(sheet.cut) for view in sheet.views]


@pytest.mark.parametrize("plane", list(PLANES))
def test_all_panes_scroll_together_and_stop_at_the_ends(sheet, material, plane):
    sheet = dataclasses.replace(sheet, cut=dataclasses.replace(sheet.cut, plane=plane))
    start = slices(sheet)
    assert len(set(start)) == 1
    assert slices(scrolled(sheet, 2)) == [start[0] + 2] * 6
    last = material.shape[PLANES[plane][0]] - 1
    assert slices(scrolled(sheet, 10_000)) == [last] * 6
    assert slices(scrolled(sheet, -10_000)) == [0] * 6


def test_one_patient_scrolls_alone(material):
    views = tuple(PaneView(Pane("t1c"), material, origin=material.best_point) for _ in range(3))
    sheet = Sheet(views, Cut())
    here = slices(sheet)[0]
    assert slices(scrolled(sheet, 3, alone=1)) == [here, here + 3, here]
    assert slices(scrolled(scrolled(sheet, 3, alone=1), -1)) == [here - 1, here + 2, here - 1]


def test_the_crosshair_goes_where_it_is_pointed_and_stays_in_the_volume(sheet, material):
    _, down, right = sheet.cut.axes
    moved = pointed(sheet, sheet.views[0], material.world(down, 5.2), material.world(right, 9.9))
    assert material.index(down, moved.cut.point[down]) == 5
    assert material.index(right, moved.cut.point[right]) == 10
    assert slices(moved) == slices(sheet)
    outside = pointed(sheet, sheet.views[0], 1e5, -1e5)
    assert material.index(down, outside.cut.point[down]) == material.shape[down] - 1
    assert outside.cut.point[right] == pytest.approx(material.world(right, 0))


def test_a_window_belongs_to_a_modality_in_all_panes(sheet, material):
    low, high = material.windows["t1c"]
    wider = windowed(sheet, "t1c", 0.0, 1.0)
    assert wider.window_of(sheet.views[0]) == pytest.approx((low - (high - low) / 2, high + (high - low) / 2))
    assert wider.window_of(sheet.views[5]) == wider.window_of(sheet.views[0])
    flair = PaneView(Pane("t2f"), material)
    assert wider.window_of(flair) == material.windows["t2f"]
    narrowest = windowed(sheet, "t1c", 0.0, -100.0).window_of(sheet.views[0])
    assert narrowest[1] > narrowest[0]


def test_a_common_scale_is_the_largest_range_on_show(sheet, material):
    entropy, variance, error = (material.overlays[name] for name in ("entropy", "variance", "error"))
    assert sheet.range_of(variance) == 0.25
    common = dataclasses.replace(sheet, common_scale=True)
    assert common.range_of(variance) == common.range_of(entropy) == 1.0
    assert common.colours_of(variance) == common.colours_of(entropy) == "unc_output"
    assert (common.range_of(error), common.colours_of(error)) == (1.0, "error")
    two = dataclasses.replace(common, views=tuple(view for view in sheet.views if view.pane.overlay != "unc_output"))
    assert two.range_of(variance) == pytest.approx(np.log(2))


def test_zoomed_pictures_are_brought_to_the_crosshair(sheet, material):
    assert centred(sheet).cut.shift == (0.0, 0.0)
    zoomed = dataclasses.replace(sheet, cut=dataclasses.replace(sheet.cut, zoom=3.0))
    _, down, right = sheet.cut.axes
    expected = (sheet.cut.point[down] - material.middle[down], sheet.cut.point[right] - material.middle[right])
    assert centred(zoomed).cut.shift == pytest.approx(expected)


def test_values_under_the_cursor(material, tiny_study, tiny_prediction):
    voxel = (17, 25, 20)
    right, anterior, superior, _ = tiny_study.affine @ (*voxel, 1)
    values = values_at(material, (-superior, -anterior, -right))
    assert values["T1c"] == f"{tiny_study.images[(0, *voxel)]:.0f}"
    assert values["entropy (WT)"] == f"{tiny_prediction.maps['entropy'][voxel]:.3f}"
    assert values["Segmentation"] == "NCR"
    assert values_at(material, (1e4, 0.0, 0.0)) == {}


def test_the_caption_says_how_to_make_the_picture_again(sheet, material, tiny_study):
    words = caption(dataclasses.replace(sheet, thresholds={"unc_output": 0.4}))
    index = sheet.views[0].slice_index(sheet.cut)
    assert f"Axial plane: {tiny_study.id}, slice {index + 1} of {material.shape[0]}." in words
    assert "unc_output 0.4 to 1 (predicted probability of error)" in words
    assert "variance (WT, p(1−p), one pass) 0.02 to 0.25" in words
    low, high = material.windows["t1c"]
    assert f"T1c {low:.4g} to {high:.4g}" in words
    assert "made for tests (00000000)" in words
    assert "Research use only" in words
    assert "error (WT) where prediction ≠ reference" in words
    assert "one common scale" in caption(dataclasses.replace(sheet, common_scale=True))
