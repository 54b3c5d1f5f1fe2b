"""The next case in the layers of the one before, in a viewer model without a window."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._layer_actions import _convert, _duplicate_layer

from napari_uncseg.errors import SaveError
from napari_uncseg.viewer.cases import show_case
from napari_uncseg.viewer.corrections import correction_layer, correction_layers, leave_correction, start_correction
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.outlines import OUTLINES
from napari_uncseg.viewer.picture import TITLE, fit_to_brain
from napari_uncseg.viewer.tags import open_predictions, open_studies, tag_of


@pytest.fixture
def first(tiny_study, tiny_prediction):
    return tiny_study, tiny_prediction


@pytest.fixture
def second(tiny_study, tiny_prediction):
    """Another patient: brighter, with another tumour, and without an expert's reference."""
    study = dataclasses.replace(tiny_study, id="second", images=2 * tiny_study.images, reference=None)
    maps = {name: values / 2 for name, values in tiny_prediction.maps.items() if name != "error"}
    labels = np.roll(tiny_prediction.segmentation, 3, axis=0)
    result = dataclasses.replace(tiny_prediction, study_id="second", segmentation=labels, maps=maps)
    return study, result


@pytest.fixture
def viewer(first):
    model = ViewerModel()
    show_case(model, "", *first)
    return model


def test_layers_stay_and_show_the_other_patient(viewer, first, second):
    before = {layer.name: layer for layer in viewer.layers}
    show_case(viewer, first[0].id, *second)
    now = {layer.name: layer for layer in viewer.layers}
    assert set(before) - set(now) == {"Reference", "error (WT)"}
    assert all(before[name] is layer for name, layer in now.items())
    assert list(open_studies(viewer)) == list(open_predictions(viewer)) == ["second"]
    for layer in now.values():
        tag = tag_of(layer)
        assert tag is not None, "the data is the other case's own"
        assert tag.study_id == "second"
    assert now["T1c"].contrast_limits == pytest.approx([2 * limit for limit in _windows(first)["T1c"]])
    assert viewer.canvas.overlays[TITLE].text.startswith("second")
    assert viewer.title.startswith("second")


def _windows(case):
    model = ViewerModel()
    show_case(model, "", *case)
    return {layer.name: tuple(layer.contrast_limits) for layer in model.layers if hasattr(layer, "contrast_limits")}


def test_lines_are_those_of_the_other_patient(viewer, first, second):
    show_case(viewer, first[0].id, *second)
    (drawn,) = viewer.scene.overlays[OUTLINES].lines
    other = ViewerModel()
    show_case(other, "", *second)
    other.dims.point = viewer.dims.point
    (expected,) = other.scene.overlays[OUTLINES].lines
    assert np.array_equal(drawn.points, expected.points)


def test_there_and_back_is_the_first_case_again(viewer, first, second):
    names = [layer.name for layer in viewer.layers]
    show_case(viewer, first[0].id, *second)
    show_case(viewer, "second", *first)
    assert [layer.name for layer in viewer.layers] == names
    assert np.array_equal(viewer.layers["Segmentation"].data, _shown(first, "Segmentation"))


def _shown(case, name):
    return _layers(case)[name].data


def _layers(case):
    model = ViewerModel()
    show_case(model, "", *case)
    return model.layers


def test_what_was_hidden_dimmed_or_added_stays(viewer, first, second):
    viewer.layers["unc_output"].visible = False
    viewer.layers["entropy (WT)"].opacity = 0.3
    own = viewer.add_points(np.zeros((1, 3)), name="mine")
    show_case(viewer, first[0].id, *second)
    assert not viewer.layers["unc_output"].visible
    assert viewer.layers["entropy (WT)"].opacity == 0.3
    assert own in viewer.layers


def test_a_correction_is_not_of_another_patient_of_the_same_name(viewer, first, second):
    """Opened by other ways than the list, one after the other: all BraTS studies lie on one grid."""
    study, result = first
    painted = start_correction(viewer, dataclasses.replace(result, provenance={"inputs": study.inputs}))
    painted.data[:3] = 1
    study = dataclasses.replace(second[0], id=study.id)
    result = dataclasses.replace(second[1], study_id=study.id, provenance={"inputs": study.inputs})
    add_study(viewer, study)
    assert not painted.visible
    add_prediction(viewer, result)
    assert correction_layer(viewer, result) is None
    with pytest.raises(SaveError):  # it could be kept beside the other's result alone
        leave_correction(viewer, study.id, Path("nowhere"))


def test_a_correction_goes_with_its_case(viewer, first, second):
    start_correction(viewer, first[1])
    assert not viewer.layers["Segmentation"].visible
    show_case(viewer, first[0].id, *second)
    assert correction_layers(viewer, first[0].id) == []
    assert viewer.layers["Segmentation"].visible


def test_a_doubtful_case_begins_with_flair(viewer, first, second):
    viewer.layers["FLAIR (T2f)"].visible = False
    viewer.layers["T1c"].visible = True
    show_case(viewer, first[0].id, *second)
    assert viewer.layers["T1c"].visible, "the reviewer's choice stays"
    empty = dataclasses.replace(first[1], segmentation=np.zeros_like(first[1].segmentation))
    show_case(viewer, "second", first[0], empty)
    assert [name for name in ("T1c", "FLAIR (T2f)") if viewer.layers[name].visible] == ["FLAIR (T2f)"]


def test_a_case_without_images_or_without_a_result(viewer, first, second):
    show_case(viewer, first[0].id, None, second[1])
    assert open_studies(viewer) == {}
    assert list(open_predictions(viewer)) == ["second"]
    show_case(viewer, "second", first[0], None)
    assert list(open_studies(viewer)) == [first[0].id]
    assert open_predictions(viewer) == {}


def test_layers_that_the_user_converted_are_replaced(viewer, first, second):
    """By napari's own menu: an image in the place of the segmentation, which shows the same array."""
    viewer.layers.selection = {viewer.layers["Segmentation"]}
    _convert(viewer.layers, "image")
    assert viewer.layers["Segmentation"]._type_string == "image"
    show_case(viewer, first[0].id, *second)
    assert viewer.layers["Segmentation"]._type_string == "labels"
    assert np.array_equal(viewer.layers["Segmentation"].data, _shown(second, "Segmentation"))
    assert {layer.name for layer in viewer.layers} == {layer.name for layer in _layers(second)}


def test_a_layer_that_was_moved_by_hand_lies_straight_for_the_next_patient(viewer, first, second):
    moved, where = viewer.layers["FLAIR (T2f)"], viewer.layers["T1c"].extent.world
    moved.affine, moved.rotate, moved.shear = np.diag([2, 2, 2, 1.0]), 30, [0.1, 0, 0]
    show_case(viewer, first[0].id, *second)
    assert np.allclose(moved.extent.world, where)


def test_copies_of_another_patients_layers_are_not_seen(viewer, first, second):
    for name in ("T1c", "Segmentation"):
        viewer.layers.selection = {viewer.layers[name]}
        _duplicate_layer(viewer.layers)
    viewer.layers.selection = {viewer.layers["unc_output"]}
    _convert(viewer.layers, "labels")
    viewer.layers.selection = {start_correction(viewer, first[1])}
    _convert(viewer.layers, "image")
    copies = [layer for layer in viewer.layers if tag_of(layer) is None]
    assert len(copies) == 4
    show_case(viewer, first[0].id, *second)
    assert not any(layer.visible for layer in copies)
    assert all(layer in viewer.layers for layer in copies), "they are the user's"


def test_a_painted_copy_of_a_correction_is_named_before_the_case_is_left(viewer, first, tmp_path):
    painted = start_correction(viewer, first[1])
    viewer.layers.selection = {painted}
    _duplicate_layer(viewer.layers)
    copy = next(layer for layer in correction_layers(viewer, first[0].id) if layer is not painted)
    assert leave_correction(viewer, first[0].id, tmp_path) == "", "nothing is painted"
    copy.data[:2] = 1
    with pytest.raises(SaveError, match=copy.name):
        leave_correction(viewer, first[0].id, tmp_path)


def test_in_the_grid_the_brain_fills_one_of_the_pictures(viewer):
    viewer.canvas.size = (600, 800)
    fit_to_brain(viewer)
    alone = viewer.scene.camera.zoom
    viewer.canvas.grid.enabled = True
    fit_to_brain(viewer)
    rows, columns = viewer.canvas.grid.actual_shape(viewer.layers)
    assert alone / max(rows, columns) * 0.7 < viewer.scene.camera.zoom < alone / min(rows, columns) * 1.01
