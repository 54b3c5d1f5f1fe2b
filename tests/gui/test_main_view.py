"""What a reader sees in the main window, by the mean colours of known places."""

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_uncseg.labels import LABEL_COLOURS, Label
from napari_uncseg.viewer.bindings import show_modality
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.orientation import PLANES, display_grid, to_display

PATIENCE = 20000
CENTRE = (17, 25, 20)  # of the predicted tumour; see tests/conftest.py
BORDER = (25, 25, 20)  # its edge to the patient's left
FAR = (32, 12, 20)  # brain, far from it
CORNER = (37, 2, 20)  # outside the brain, where no words stand


@pytest.fixture
def viewer(make_napari_viewer_proxy, tiny_study, tiny_prediction):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(900, 700)
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    show_modality(viewer, "t1c")  # of the tiny study it has a bright brain
    QApplication.processEvents()  # the canvas has its size
    viewer.reset_view()  # the corners of the volume are looked at, too
    # The plane through the centre of the ball; overlays would lie over it in so small a window.
    ras = tiny_study.affine @ (*CENTRE, 1)
    viewer.dims.point = (-ras[2], -ras[1], -ras[0])
    viewer.canvas.overlays.text.visible = False
    viewer.canvas.overlays.scale_bar.visible = False
    viewer.layers["unc_output"].colorbar.visible = False
    viewer.layers["unc_output"].name_overlay.visible = False
    return viewer


def is_grey(colour):
    return np.ptp(colour) < 6


def test_uncertainty_lies_on_the_border_and_nowhere_else(qtbot, viewer, tiny_study, colour_at):
    viewer.layers["Segmentation"].visible = False

    def seen():
        picture = viewer.screenshot(canvas_only=True, flash=False)
        border, far, corner = (colour_at(viewer, picture, tiny_study.affine, voxel) for voxel in (BORDER, FAR, CORNER))
        assert border[0] > border[1] + 60, f"no pink on the border: {border}"
        assert is_grey(far)
        assert far.mean() > 30, "the brain is not seen"
        assert corner.mean() < 3

    qtbot.waitUntil(seen, timeout=PATIENCE)


def test_segmentation_shows_its_label_colours(qtbot, viewer, tiny_study, tiny_prediction, colour_at):
    viewer.layers["Segmentation"].contour = 0
    viewer.layers["Segmentation"].opacity = 1
    viewer.layers["unc_output"].visible = False
    assert tiny_prediction.segmentation[CENTRE] == Label.NCR
    expected = 255 * np.array(LABEL_COLOURS[Label.NCR][:3])

    def seen():
        picture = viewer.screenshot(canvas_only=True, flash=False)
        assert colour_at(viewer, picture, tiny_study.affine, CENTRE) == pytest.approx(expected, abs=12)
        assert is_grey(colour_at(viewer, picture, tiny_study.affine, FAR))

    qtbot.waitUntil(seen, timeout=PATIENCE)


@pytest.mark.parametrize("plane", list(PLANES))
def test_planes_are_hung_radiologically(qtbot, viewer, tiny_study, plane):
    """The marked block lies to the patient's right, front and top: top left in every plane (front left in sagittal)."""
    viewer.layers["unc_output"].visible = False
    viewer.layers["Segmentation"].visible = False
    study = np.zeros(tiny_study.shape, np.uint8)
    study[2:10, 2:10, -10:-2] = 3  # voxels run from right to left, from front to back and upwards
    block = viewer.add_image(
        to_display(study, tiny_study.affine),
        contrast_limits=(0, 3),
        **display_grid(study.shape, tiny_study.affine).as_kwargs(),
    )
    for layer in viewer.layers:
        layer.visible = layer.name == block.name
    ras = tiny_study.affine @ (6, 6, study.shape[2] - 6, 1)
    viewer.dims.point = (-ras[2], -ras[1], -ras[0])
    viewer.dims.order = PLANES[plane]
    viewer.reset_view()

    def seen():
        picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=2)
        rows, columns = np.nonzero(picture > 128)
        assert rows.mean() < picture.shape[0] / 2
        assert columns.mean() < picture.shape[1] / 2

    qtbot.waitUntil(seen, timeout=PATIENCE)


def test_colour_bar_and_note_are_drawn(qtbot, viewer):
    picture = viewer.screenshot(canvas_only=True, flash=False)
    viewer.layers["unc_output"].colorbar.visible = True
    viewer.canvas.overlays.text.visible = True

    def seen():
        with_overlays = viewer.screenshot(canvas_only=True, flash=False)
        changed = np.abs(with_overlays[..., :3].astype(int) - picture[..., :3]).sum(axis=2) > 60
        height, width = changed.shape
        assert changed[: height // 2, 2 * width // 3 :].sum() > 500
        assert changed[height // 2 :, : width // 2].sum() > 200

    qtbot.waitUntil(seen, timeout=PATIENCE)
