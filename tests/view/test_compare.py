"""The six cells, without a window."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.view.compare import comparison_model, show_outline, show_plane


@pytest.fixture
def model(tiny_study, tiny_prediction):
    model = comparison_model(tiny_study, tiny_prediction)
    model.canvas.grid.enabled = True
    return model


def titles(viewer):
    """Name of the titled layer of every cell, row by row."""
    grid = viewer.canvas.grid
    cells = [[viewer.layers[i] for i in indices] for _, indices in grid.iter_viewboxes(viewer.layers)]
    return [[layer.name for layer in cell if layer.name_overlay.visible] for cell in cells]


def test_six_cells_in_reading_order(model):
    assert model.canvas.grid.actual_shape(model.layers) == (2, 3)
    assert titles(model) == [
        *(["T1c"], ["FLAIR (T2f)"], ["Segmentation"]),
        *(["unc_output"], ["variance (WT, p(1−p), one pass)"], ["error (WT)"]),
    ]


def test_entropy_stands_in_without_a_reference(tiny_study, tiny_prediction):
    maps = {name: array for name, array in tiny_prediction.maps.items() if name != "error"}
    viewer = comparison_model(tiny_study, dataclasses.replace(tiny_prediction, maps=maps))
    viewer.canvas.grid.enabled = True
    assert titles(viewer)[-1] == ["entropy (WT)"]


def test_arrays_are_shared(model, tiny_study, tiny_prediction):
    images = [layer for layer in model.layers if layer.name.startswith("T1c")]
    assert len(images) == 5
    assert all(np.shares_memory(layer.data, tiny_study.images) for layer in images)
    assert np.shares_memory(model.layers["error (WT)"].data, tiny_prediction.maps["error"])


def test_every_layer_has_units_so_that_scale_bars_are_in_millimetres(model):
    assert {tuple(str(unit) for unit in layer.units) for layer in model.layers} == {("millimeter",) * 3}


def test_outlines_come_and_go_without_changing_the_grid(model):
    outlines = [layer for layer in model.layers if layer.name.startswith("outline")]
    assert len(outlines) == 2
    show_outline(model, False)
    assert {layer.opacity for layer in outlines} == {0}
    assert model.canvas.grid.actual_shape(model.layers) == (2, 3)
    show_outline(model, True)
    assert all(layer.opacity > 0.5 for layer in outlines)


def test_planes(model):
    for plane, scrolled in (("coronal", 1), ("sagittal", 2), ("axial", 0)):
        show_plane(model, plane)
        assert model.dims.order[0] == scrolled
