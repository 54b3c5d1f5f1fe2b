"""Layers of studies and predictions in a viewer model, without a window."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_uncseg.io.study import Source
from napari_uncseg.labels import MODALITIES, Label
from napari_uncseg.viewer.layers import (
    add_prediction,
    add_study,
    arrange_opened,
    prediction_layers,
    show_best_slice,
    study_layers,
    window_level,
)
from napari_uncseg.viewer.orientation import display_grid, study_notes
from napari_uncseg.viewer.tags import KEY, open_predictions, open_studies, tag_of, tagged


@pytest.fixture
def viewer(tiny_study, tiny_prediction):
    model = ViewerModel()
    add_study(model, tiny_study)
    add_prediction(model, tiny_prediction)
    return model


def names(viewer):
    return [layer.name for layer in viewer.layers]


NAMES = [
    *("T2w", "T1n", "FLAIR (T2f)", "T1c", "Reference", "unc_output, unmasked"),
    *("variance (WT)", "entropy (WT)", "error (WT)", "unc_output", "Segmentation"),
]


def test_names_and_order(viewer):
    assert names(viewer) == NAMES


def test_first_view_shows_image_map_and_outline(viewer):
    assert [layer.name for layer in viewer.layers if layer.visible] == ["FLAIR (T2f)", "unc_output", "Segmentation"]
    assert viewer.layers["Segmentation"].contour == 1
    assert viewer.layers["unc_output"].colorbar.visible
    assert viewer.layers["unc_output"].contrast_limits == [0, 1]
    assert viewer.layers["entropy (WT)"].contrast_limits == pytest.approx([0, np.log(2)])
    assert "research use only" in viewer.canvas.overlays.text.text


def test_every_layer_is_in_millimetres_along_named_axes(viewer):
    assert {tuple(str(unit) for unit in layer.units) for layer in viewer.layers} == {("millimeter",) * 3}
    assert {tuple(layer.axis_labels) for layer in viewer.layers} == {("I", "P", "L")}
    assert {tuple(layer.scale) for layer in viewer.layers} == {(2.5, 2.0, 2.0)}


def test_layers_share_the_memory_of_study_and_prediction(viewer, tiny_study, tiny_prediction):
    assert np.shares_memory(viewer.layers["T1c"].data, tiny_study.images)
    assert np.shares_memory(viewer.layers["entropy (WT)"].data, tiny_prediction.maps["entropy"])
    assert np.shares_memory(viewer.layers["Segmentation"].data, tiny_prediction.segmentation)
    assert not viewer.layers["Segmentation"].editable


def test_goes_to_the_slice_with_most_tumour(viewer, tiny_prediction):
    grid = display_grid(tiny_prediction.segmentation.shape, tiny_prediction.affine)
    counts = (tiny_prediction.segmentation > 0).sum(axis=(0, 1))
    # Voxels run upwards in the file, downwards in the display.
    slice_ = tiny_prediction.segmentation.shape[2] - 1 - (viewer.dims.point[0] - grid.translate[0]) / grid.scale[0]
    assert counts[round(slice_)] == counts.max()


def test_without_a_tumour_it_goes_to_the_most_uncertain_slice(tiny_study, tiny_prediction):
    unsure = np.zeros(tiny_study.shape, np.float32)
    unsure[3, 4, 5] = 0.7
    empty = dataclasses.replace(
        tiny_prediction, segmentation=np.zeros(tiny_study.shape, np.uint8), maps={"unc_output": unsure}
    )
    model = ViewerModel()
    add_study(model, tiny_study)
    show_best_slice(model, empty)
    ras = tiny_study.affine @ (3, 4, 5, 1)
    assert model.dims.point == pytest.approx((-ras[2], -ras[1], -ras[0]))


def test_a_second_run_replaces_the_first_in_place(viewer, tiny_prediction):
    viewer.layers["unc_output"].visible = False
    viewer.layers["entropy (WT)"].opacity = 0.3
    viewer.add_points(np.zeros((1, 3)), name="mine")
    again = dataclasses.replace(tiny_prediction)
    add_prediction(viewer, again)
    assert names(viewer) == [*NAMES, "mine"]
    assert open_predictions(viewer) == {again.study_id: again}
    assert not viewer.layers["unc_output"].visible
    assert viewer.layers["entropy (WT)"].opacity == 0.3


def test_images_that_come_after_their_result_lie_below_it(tiny_study, tiny_prediction):
    model = ViewerModel()
    add_prediction(model, tiny_prediction)
    add_study(model, tiny_study)
    assert names(model) == NAMES


def open_as_napari_does(viewer, layers, source):
    """Add the layers of a reader, then let the plugin arrange them."""
    for layer in layers:
        viewer.add_layer(layer)
    arrange_opened(viewer, source)


def test_what_a_reader_opened_is_shown_as_what_a_run_made(tiny_study, tiny_prediction):
    model = ViewerModel()
    open_as_napari_does(model, study_layers(tiny_study), tiny_study)
    assert model.canvas.overlays.scale_bar.visible
    assert "research use only" in model.canvas.overlays.text.text
    open_as_napari_does(model, prediction_layers(tiny_prediction), tiny_prediction)
    assert names(model) == NAMES
    expected = ViewerModel()
    add_prediction(expected, tiny_prediction)
    assert model.dims.point == expected.dims.point


def test_opening_twice_replaces(viewer, tiny_study, tiny_prediction):
    viewer.layers["unc_output"].visible = False
    viewer.add_points(np.zeros((1, 3)), name="mine")
    again = dataclasses.replace(tiny_prediction)
    open_as_napari_does(viewer, prediction_layers(again), again)
    assert names(viewer) == [*NAMES, "mine"]
    assert open_predictions(viewer) == {again.study_id: again}
    assert not viewer.layers["unc_output"].visible
    same = dataclasses.replace(tiny_study)
    open_as_napari_does(viewer, study_layers(same), same)
    assert names(viewer) == [*NAMES, "mine"]
    assert open_studies(viewer) == {same.id: same}


def test_a_study_that_lies_elsewhere_comes_into_view(viewer, tiny_study, tiny_prediction):
    affine = tiny_study.affine.copy()
    affine[:3, 3] += (300, -400, 500)
    far = dataclasses.replace(tiny_study, id="far", affine=affine)
    add_study(viewer, far)
    # World axes point to I, P and L: the opposite of R, A, S.
    middle = -(affine @ (*(np.array(far.shape) - 1) / 2, 1))[2::-1]
    assert viewer.dims.point == pytest.approx(tuple(middle), abs=2)
    assert viewer.scene.camera.center[1:] == pytest.approx(tuple(middle[1:]), abs=2)
    viewer.scene.camera.center = (0, 1, 2)
    add_prediction(viewer, dataclasses.replace(tiny_prediction, study_id="far", affine=affine))
    assert viewer.scene.camera.center[1:] == (1, 2)  # the study is in the viewer: where the user looks stays


def test_layers_that_napari_did_not_add_change_nothing(viewer, tiny_study):
    arrange_opened(viewer, dataclasses.replace(tiny_study))
    assert names(viewer) == NAMES


def test_a_map_that_is_gone_leaves_no_old_layer(viewer, tiny_prediction):
    without = {name: array for name, array in tiny_prediction.maps.items() if name != "error"}
    add_prediction(viewer, dataclasses.replace(tiny_prediction, maps=without))
    assert names(viewer) == [name for name in NAMES if name != "error (WT)"]


def test_results_stay_with_their_study(viewer, tiny_study, tiny_prediction):
    other = dataclasses.replace(tiny_study, id="other")
    add_study(viewer, other)
    viewer.layers.selection.active = viewer.layers[-1]
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    assert len(list(tagged(viewer, tiny_study.id))) == len(NAMES)
    assert {tag.role for _, tag in tagged(viewer, "other")} == {"image", "reference"}
    assert list(open_studies(viewer)) == [tiny_study.id, "other"]


def as_read(study, mark):
    """The study as if it had been read from files with these hashes."""
    sources = [Source(role, Path(f"{role}.nii.gz"), mark * 64) for role in MODALITIES]
    return dataclasses.replace(study, sources=tuple(sources))


def test_the_result_of_another_patient_of_this_name_goes(tiny_study, tiny_prediction):
    mine, other = as_read(tiny_study, "1"), as_read(tiny_study, "2")
    prediction = dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, "inputs": mine.inputs})
    viewer = ViewerModel()
    add_study(viewer, mine)
    add_prediction(viewer, prediction)
    assert open_predictions(viewer)
    add_study(viewer, other)
    assert open_studies(viewer) == {other.id: other}
    assert open_predictions(viewer) == {}
    add_prediction(viewer, prediction)
    assert open_studies(viewer) == {}, "nor do images of another patient stay below a result"


def test_a_duplicate_belongs_to_the_user(viewer, tiny_prediction):
    layer = viewer.layers["Segmentation"]
    data, attributes, _ = layer.as_layer_data_tuple()
    copy = viewer.add_labels(data.copy(), **{**attributes, "name": "my correction"})
    assert copy.metadata[KEY] is layer.metadata[KEY]
    assert tag_of(copy) is None
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    assert "my correction" in names(viewer)


def test_hovering_tells_tissue_and_volume(viewer, tiny_prediction):
    layer = viewer.layers["Segmentation"]
    voxel = np.argwhere(tiny_prediction.segmentation == Label.ED)[0]
    ras = tiny_prediction.affine @ (*voxel, 1)
    status = layer.get_status((-ras[2], -ras[1], -ras[0]), world=True)
    volume = (tiny_prediction.segmentation == Label.ED).sum() * 0.01
    assert "oedema" in status["value"]
    assert f"{volume:.1f} mL" in status["value"]


def test_window_comes_from_the_brain(tiny_study):
    t1c = tiny_study.images[0]
    low, high = window_level(t1c, tiny_study.brain)
    assert 0 < low < 300 < high <= t1c.max()
    assert window_level(np.full((3, 3, 3), 5.0), np.zeros((3, 3, 3), bool)) == (5.0, 6.0)


def test_a_study_without_reference_has_four_layers(tiny_study):
    assert len(study_layers(dataclasses.replace(tiny_study, reference=None))) == 4


def test_a_tilted_study_says_how_it_is_shown(tiny_study):
    assert study_notes(tiny_study) == tiny_study.warnings
    tilt = np.radians(8)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    tilted = dataclasses.replace(tiny_study, affine=rotation @ tiny_study.affine)
    assert "tilted by 8°" in study_notes(tilted)[-1]


def test_error_risk_leads_where_there_is_one(tiny_prediction):
    maps = {"unc_output": tiny_prediction.maps["unc_output"], "error_risk-tc": tiny_prediction.maps["unc_output"]}
    risky = dataclasses.replace(tiny_prediction, maps={"error_risk": tiny_prediction.maps["unc_output"], **maps})
    shown = [layer.name for layer in prediction_layers(risky) if layer.visible]
    assert shown == ["error risk", "Segmentation"]
