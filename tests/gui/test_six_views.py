"""The window *Six views*: what its panes show, that they move together, and that nothing is left when it closes."""

import dataclasses

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import QImage, QKeySequence, QPainter
from qtpy.QtWidgets import QAbstractButton, QComboBox, QMessageBox, QStyleOptionComboBox
from superqt.utils import qimage_to_array
from tests.gui.conftest import turn_wheel

from napari_uncseg.compare.layout import Pane
from napari_uncseg.compare.presets import panes_of
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.viewer.colormaps import ERROR_COLOURS, MISSED
from napari_uncseg.widgets.compare import six_views
from napari_uncseg.widgets.compare.painter import Frame, PanePainter, Style
from napari_uncseg.widgets.compare.six_views import CUSTOM, SixViewsWindow

PATIENCE = 60000


pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def window(qtbot, tiny_study, tiny_prediction):
    window = SixViewsWindow(tiny_study, tiny_prediction)
    window.resize(1000, 700)
    window.show()
    qtbot.waitExposed(window)
    yield window
    window.close()


def pixels(window):
    """What the canvas paints, without the choosers, as floats of shape (height, width, 3)."""
    for chooser in getattr(window, "choosers", ()):
        chooser.hide()
    return qimage_to_array(window.canvas.grab().toImage())[..., :3].astype(float)


def cells(window, picture):
    """Pixels of the pictures, pane by pane, without what lies at their borders."""
    found = []
    for frame in window.canvas.frames:
        # Corners are rounded, sizes are not: all pictures have one.
        inner = frame.picture.adjusted(30, 30, -30, -30)
        top, left, height, width = (int(size) for size in (inner.top(), inner.left(), inner.height(), inner.width()))
        found.append(picture[top : top + height, left : left + width])
    return found


def colourful(cell):
    return (np.ptp(cell, axis=2) > 40).mean()


def press(window, key):
    """Do what a key of the window does; a display without window manager makes no window active."""
    (action,) = (action for action in window.actions() if action.shortcut() == QKeySequence(key))
    action.trigger()


def middle(window, number):
    return window.canvas.frames[number].picture.center().toPoint()


def test_six_panes_show_six_things(window):
    window.options["crosshair"].setChecked(False)
    window.options["outline"].setChecked(False)
    shown = cells(window, pixels(window))
    colour = [colourful(cell) for cell in shown]
    # Segmentation and maps bring colour; FLAIR alone is grey.
    assert min(colour[:5]) > 0.002
    assert colour[5] == 0
    assert min(cell.mean() for cell in shown) > 5
    # T1c under the maps and FLAIR are two images.
    assert np.abs(shown[5] - shown[2]).mean() > 2


def test_overlays_go_and_come_with_one_key(window):
    window.options["crosshair"].setChecked(False)
    press(window, "H")
    assert max(colourful(cell) for cell in cells(window, pixels(window))) == 0
    press(window, "H")
    assert colourful(cells(window, pixels(window))[0]) > 0.002


def test_panes_scroll_together(window):
    before = cells(window, pixels(window))
    start = window.canvas.state.views[0].slice_index(window.canvas.state.cut)
    turn_wheel(window.canvas, middle(window, 4), -3)
    sheet = window.canvas.state
    assert {view.slice_index(sheet.cut) for view in sheet.views} == {start + 3}
    after = cells(window, pixels(window))
    assert all(np.abs(one - two).mean() > 0.5 for one, two in zip(before, after, strict=True))


def test_a_click_puts_the_crosshair_in_all_panes(qtbot, window):
    frame, data = window.canvas.frames[1], window.data
    spot = frame.to_pixel((0, data.world(1, 12), data.world(2, 20))).toPoint()
    qtbot.mouseClick(window.canvas, Qt.MouseButton.LeftButton, pos=spot)
    point = window.canvas.state.cut.point
    assert (data.index(1, point[1]), data.index(2, point[2])) == (12, 20)


def test_the_wheel_zooms_where_the_mouse_stands(window):
    frame = window.canvas.frames[0]
    spot = frame.picture.center().toPoint() + QPoint(40, 25)
    before = frame.to_world(QPointF(spot))
    turn_wheel(window.canvas, spot, 2, Qt.KeyboardModifier.ControlModifier)
    after = window.canvas.frames[0].to_world(QPointF(spot))
    assert window.canvas.state.cut.zoom == pytest.approx(1.44)
    assert after == pytest.approx(before, abs=1e-6)


def test_a_drag_with_the_right_button_changes_one_modality_everywhere(qtbot, window):
    before = cells(window, pixels(window))
    start = middle(window, 0)
    qtbot.mousePress(window.canvas, Qt.MouseButton.RightButton, pos=start)
    qtbot.mouseMove(window.canvas, start + QPoint(60, 50))
    qtbot.mouseRelease(window.canvas, Qt.MouseButton.RightButton, pos=start + QPoint(60, 50))
    assert set(window.canvas.state.windows) == {"t1c"}
    after = cells(window, pixels(window))
    assert [np.abs(one - two).mean() > 1 for one, two in zip(before, after, strict=True)] == [True] * 5 + [False]
    window.canvas.fit()
    assert all(np.array_equal(one, two) for one, two in zip(before, cells(window, pixels(window)), strict=True))


def test_planes_by_key_keep_the_place(window):
    point = window.canvas.state.cut.point
    for key, plane in (("9", "coronal"), ("0", "sagittal"), ("8", "axial")):
        press(window, key)
        assert window.canvas.state.cut.plane == plane
        assert window.plane_choice.currentText().lower() == plane
        assert window.canvas.state.cut.point == point


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_pictures_are_hung_radiologically(qtbot, tiny_study, tiny_prediction, plane):
    """A block at the patient's right, front and top lies top left in every plane (front left in sagittal)."""
    images = np.zeros_like(tiny_study.images)
    images[:, 2:10, 2:10, -10:-2] = 1000  # voxels run from right to left, from front to back and upwards
    study = dataclasses.replace(tiny_study, images=images)
    ras = study.affine @ (6, 6, study.shape[2] - 6, 1)
    window = SixViewsWindow(study, tiny_prediction, plane, (-ras[2], -ras[1], -ras[0]))
    qtbot.addWidget(window)
    window.resize(1000, 700)
    window.choose_preset("Modalities")
    for name in ("crosshair", "outline"):
        window.options[name].setChecked(False)
    window.show()
    cell = cells(window, pixels(window))[0].mean(axis=2)
    rows, columns = np.nonzero(cell > 128)
    assert rows.mean() < cell.shape[0] / 2
    assert columns.mean() < cell.shape[1] / 2


def test_each_pane_has_choosers_of_image_and_overlay(qtbot, window):
    chooser = window.choosers[2]
    chooser.image.setCurrentIndex(chooser.image.findData("t2w"))
    chooser.overlay.setCurrentIndex(chooser.overlay.findData("p(ET)"))
    chooser.overlay.activated.emit(chooser.overlay.currentIndex())
    assert window.panes[2] == Pane("t2w", "p(ET)")
    assert window.preset_choice.currentText() == CUSTOM
    assert window.panes[1] == panes_of("Overview", window.data)[1]


def test_presets_say_what_is_missing(window):
    before = cells(window, pixels(window))[3]
    window.choose_preset("Methods")
    assert window.panes[3].missing
    assert window.choosers[3].overlay.currentText() == ""
    words = cells(window, pixels(window))[3]
    assert words.max() > 100
    assert words.mean() < before.mean() / 2


def test_results_of_other_methods_are_added(window, tmp_path, tiny_prediction):
    settings = {**tiny_prediction.provenance["settings"], "method": "tta:8", "members": 8}
    provenance = {**tiny_prediction.provenance, "settings": settings}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path)
    window.choose_preset("Methods")
    window.open_result(tmp_path)
    assert window.panes[3].overlay == "tta:8/variance"
    assert not window.panes[3].missing
    window.open_result(tmp_path / "nothing")
    assert "nothing" in window.readout.text()


def test_a_result_that_is_on_show_is_not_added_again(window, tmp_path, tiny_prediction):
    save_prediction(tiny_prediction, tmp_path / "same")
    window.open_result(tmp_path / "same")
    assert "is on show already" in window.readout.text()
    settings = {**tiny_prediction.provenance["settings"], "method": "tta:8", "members": 8}
    provenance = {**tiny_prediction.provenance, "settings": settings}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path / "tta")
    for words in ("Added", "(tta:8) is on show already"):
        window.open_result(tmp_path / "tta")
        assert words in window.readout.text()
    assert list(window.data.methods) == ["", "tta:8"]
    # What was added and is then opened in the viewer is not told twice.
    window.replace(window.study, dataclasses.replace(tiny_prediction, provenance=provenance))
    assert list(window.data.methods) == [""]


def test_a_correction_that_is_painted_on_is_followed(window, tiny_prediction):
    corrected = tiny_prediction.segmentation.copy()
    window.show_correction(corrected)
    window.choose_preset("Before and after")
    for name in ("crosshair", "outline"):
        window.options[name].setChecked(False)
    assert colourful(cells(window, pixels(window))[2]) == 0
    corrected[2:12, 2:12, :] = 2
    window.show_correction(corrected)
    assert colourful(cells(window, pixels(window))[2]) > 0.01
    window.show_correction(None)
    assert window.panes[2].missing


def test_one_scale_for_all_maps(window):
    entropy = window.data.overlays["entropy"]
    before = cells(window, pixels(window))[4]
    window.options["common_scale"].setChecked(True)
    assert window.canvas.state.range_of(entropy) == 1.0
    assert np.abs(cells(window, pixels(window))[4] - before).max() > 50


def test_values_under_the_mouse_are_seen_to_the_last_in_a_narrow_window(qtbot, window):
    window.resize(800, 700)
    qtbot.wait(100)
    qtbot.mouseMove(window.canvas, middle(window, 0))
    readout = window.readout
    qtbot.waitUntil(lambda: readout.height() > 2 * readout.fontMetrics().height(), timeout=PATIENCE)
    assert all(words in readout.text() for words in (window.study.id, "entropy (WT)", "T2w"))
    qtbot.waitUntil(lambda: readout.height() >= readout.heightForWidth(readout.width()), timeout=PATIENCE)
    tall = readout.height()
    window.show_message("short")
    qtbot.wait(100)
    # Not equal: a pointer that happens to lie over the window may read a longer place meanwhile.
    assert readout.height() >= tall, "the panes stand still"


def test_another_result_keeps_the_place_and_the_choice(window, tiny_study, tiny_prediction):
    window.choose(0, Pane("t2w", "entropy"))
    window.canvas.scroll_by(2)
    cut = window.canvas.state.cut
    maps = {name: array for name, array in tiny_prediction.maps.items() if name != "variance"}
    again = dataclasses.replace(tiny_prediction, maps=maps)
    window.replace(tiny_study, again)
    assert window.prediction is again
    assert window.canvas.state.cut == cut
    assert window.panes[0] == Pane("t2w", "entropy")
    assert "variance" in window.panes[3].missing


def test_options_are_kept_for_the_next_time(qtbot, tiny_study, tiny_prediction):
    first = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(first)
    first.options["crosshair"].setChecked(False)
    first.choose_plane("sagittal")
    first.choose_preset("Methods")
    first.close()
    second = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(second)
    assert not second.canvas.state.crosshair
    assert second.canvas.state.cut.plane == "sagittal"
    assert second.preset_choice.currentText() == "Methods"


def test_a_narrow_window_keeps_all_its_controls(qtbot, window):
    wide = window.bar.height()
    window.resize(500, 600)
    qtbot.waitUntil(lambda: window.bar.height() > wide, timeout=PATIENCE)
    controls = [each for kind in (QComboBox, QAbstractButton) for each in window.bar.findChildren(kind)]
    controls = [each for each in controls if each.isVisibleTo(window)]
    assert len(controls) >= 9
    assert all(window.bar.rect().contains(each.geometry()) for each in controls if each.parent() is window.bar)


def test_boxes_above_narrow_panes_end_with_dots(qtbot, window):
    box = window.choosers[3].overlay
    shown = []

    class Option(QStyleOptionComboBox):
        """Keeps what is drawn."""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "currentText":
                shown.append(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(six_views, "QStyleOptionComboBox", Option)
        window.resize(500, 400)
        qtbot.waitUntil(lambda: box.width() < 110, timeout=PATIENCE)
        shown.clear()
        box.grab()
    assert shown[-1].endswith("…")
    assert shown[-1].startswith("variance")


@pytest.mark.parametrize("width", [80, 103, 130, 200, 400])
def test_the_slice_number_and_the_letter_below_do_not_touch(window, width):
    style = Style(text=12.0)
    frame = Frame(QRectF(0, 0, width + 60, 150), QRectF(0, 0, width, 150), 1.0, (0, 1, 2), (0, 0, 0))
    columns = []
    for paint in (PanePainter.paint_letters, lambda pane: pane.paint_position(window.data)):
        image = QImage(width + 60, 150, QImage.Format.Format_RGB32)
        image.fill(0)
        painter = QPainter(image)
        paint(PanePainter(painter, window.canvas.state, window.canvas.state.views[0], frame, style))
        painter.end()
        strip = qimage_to_array(image)[130:, :, 0]
        columns.append(np.nonzero(strip.max(axis=0) > 60)[0])
    letter, number = columns
    assert letter.size
    assert number.size
    assert letter.max() + 2 < number.min()


def test_an_error_has_a_name_and_no_scale(window, monkeypatch):
    words = []
    monkeypatch.setattr(PanePainter, "write", lambda _pane, _place, text, *_args, **_options: words.append(text))
    pixels(window)
    # Both ends of the scales of three maps, and none of the error's.
    assert sorted(text for text in words if "." in text) == ["0.00", "0.00", "0.00", "0.25", "0.69", "1.00"]
    assert {"missed", "extra"} <= set(words)
    frame, red = window.canvas.frames[1], 255 * np.array(ERROR_COLOURS[MISSED][:3])
    beside = frame.whole.adjusted(frame.picture.width(), 0, 0, 0).toRect()
    strip = pixels(window)[beside.top() : beside.bottom(), beside.left() : beside.right()]
    assert 20 < (np.abs(strip - red).max(axis=2) < 6).sum() < 200


def test_keys_are_listed(qtbot, window):
    window.show_keys()
    (box,) = window.findChildren(QMessageBox)
    text = box.text()
    assert not box.isModal()
    for action in window.actions():
        assert f">{action.shortcut().toString()}<" in text
