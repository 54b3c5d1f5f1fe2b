"""The tumour in 3-D: what is shown, in which colours, and that the slices come back as they were."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_uncseg.labels import LABEL_COLOURS, Label, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.review.findings import find
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.viewer.cases import show_case
from napari_uncseg.viewer.corrections import correction_layer, start_correction
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import world_of
from napari_uncseg.viewer.surfaces import SURFACE_KEY, hide_surfaces, in_3d, show_surfaces, toggle_surfaces


@pytest.fixture
def viewer(tiny_study, tiny_prediction, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_uncseg.viewer.navigation.state_folder", lambda: tmp_path / "state")
    viewer = ViewerModel()
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def findings(tiny_prediction):
    return find(build_watershed(tiny_prediction, MapName("unc_output")), 0.05)


def named(layers):
    return {layer.name.split(" · ")[0]: layer for layer in layers}


def test_the_surfaces_lie_where_the_regions_do(viewer, tiny_prediction, findings):
    layers = named(show_surfaces(viewer, tiny_prediction, findings))
    assert list(layers) == ["ET", "TC", "Findings", "WT", "Brain"]
    assert viewer.dims.ndisplay == 3
    assert {layer.name for layer in viewer.layers if layer.visible} == {each.name for each in layers.values()}
    for name, mask in zip(("WT", "TC", "ET"), region_masks(tiny_prediction.segmentation), strict=True):
        corners = [world_of(tuple(at), tiny_prediction.shape, tiny_prediction.affine) for at in np.argwhere(mask)]
        low, high = np.asarray(layers[name].extent.world)
        assert low == pytest.approx(np.min(corners, axis=0), abs=2.5)
        assert high == pytest.approx(np.max(corners, axis=0), abs=2.5)
    assert layers["WT"].opacity < 0.5
    assert layers["TC"].opacity == layers["ET"].opacity == 1
    assert np.allclose(layers["ET"].vertex_colors, LABEL_COLOURS[Label.ET])
    first = world_of(findings.items[0].voxel, tiny_prediction.shape, tiny_prediction.affine)
    assert layers["Findings"].data[0] == pytest.approx(first)


def test_the_slices_come_back_as_they_were(viewer, tiny_prediction, findings):
    viewer.layers["T1n"].visible = True
    viewer.dims.point = world_of((14, 25, 18), tiny_prediction.shape, tiny_prediction.affine)
    seen, point = {layer.name for layer in viewer.layers if layer.visible}, viewer.dims.point
    camera = (tuple(viewer.scene.camera.center), viewer.scene.camera.zoom)
    toggle_surfaces(viewer)
    assert in_3d(viewer)
    toggle_surfaces(viewer)
    assert not in_3d(viewer)
    assert {layer.name for layer in viewer.layers if layer.visible} == seen
    assert not any(SURFACE_KEY in layer.metadata for layer in viewer.layers)
    assert (viewer.dims.ndisplay, viewer.dims.point) == (2, pytest.approx(point))
    assert (tuple(viewer.scene.camera.center), viewer.scene.camera.zoom) == camera


def test_the_camera_looks_from_the_front_and_the_head_stands_upright(viewer, tiny_prediction):
    show_surfaces(viewer, tiny_prediction)
    camera = viewer.scene.camera
    assert np.argmax(np.abs(camera.view_direction)) == 1
    assert camera.view_direction[1] > 0, "towards posterior"
    assert camera.up_direction[0] < -0.8, "superior is up"
    assert camera.handedness == "right", "not mirrored: I, P and L are a right-handed frame"


def test_a_correction_is_what_is_shown_and_its_undo_survives(viewer, tiny_prediction):
    layer = start_correction(viewer, tiny_prediction)
    layer.data_setitem(np.nonzero(layer.data == Label.ET), 0)
    toggle_surfaces(viewer)
    assert "ET" not in named(each for each in viewer.layers if SURFACE_KEY in each.metadata)
    toggle_surfaces(viewer)
    layer.undo()
    assert (np.asarray(correction_layer(viewer, tiny_prediction).data) == Label.ET).any()


def test_the_next_case_is_shown_in_slices(viewer, tiny_study, tiny_prediction):
    session_of(viewer)
    toggle_surfaces(viewer)
    show_case(viewer, tiny_study.id, tiny_study, tiny_prediction)
    assert viewer.dims.ndisplay == 2
    assert not any(SURFACE_KEY in layer.metadata for layer in viewer.layers)
    hide_surfaces(viewer)


def test_without_a_result_it_is_said(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_uncseg.viewer.surfaces.show_warning", told.append)
    toggle_surfaces(ViewerModel())
    assert len(told) == 1
