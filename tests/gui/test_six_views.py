"""The window *Six views*: what its panes show, that they move together, and that nothing is left when it closes."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, QPointF, QSettings, Qt
from qtpy.QtGui import QKeySequence, QWheelEvent
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_uncseg.study.save import save_prediction
from napari_uncseg.view.material import study_material
from napari_uncseg.view.navigate import KEYS
from napari_uncseg.view.panes import Pane
from napari_uncseg.view.presets import PRESETS
from napari_uncseg.widgets.six_views_window import OWN, SixViewsWindow

PATIENCE = 60000


@pytest.fixture(autouse=True)
def no_memory():
    """No options of an earlier test."""
    QSettings("napari-uncseg", "napari-uncseg").clear()


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
    image = window.canvas.grab().toImage()
    image = image.convertToFormat(image.Format.Format_RGB32)
    data = image.constBits().asarray(image.sizeInBytes())
    picture = np.frombuffer(bytes(data), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return picture[:, : image.width(), 2::-1].astype(float)


def cells(window, picture):
    """Pixels of the pictures, pane by pane, without what lies at their borders."""
    found = []
    for frame in window.canvas.frames:
        rect = frame.picture.adjusted(30, 30, -30, -30).toRect()
        found.append(picture[rect.top() : rect.bottom(), rect.left() : rect.right()])
    return found


def colourful(cell):
    return (np.ptp(cell, axis=2) > 40).mean()


def wheel(window, position, notches, keys=Qt.KeyboardModifier.NoModifier):
    event = QWheelEvent(
        QPointF(position),
        QPointF(window.canvas.mapToGlobal(position)),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        keys,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(window.canvas, event)


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
    start = window.canvas.sheet.views[0].slice_index(window.canvas.sheet.cut)
    wheel(window, middle(window, 4), -3)
    sheet = window.canvas.sheet
    assert {view.slice_index(sheet.cut) for view in sheet.views} == {start + 3}
    after = cells(window, pixels(window))
    assert all(np.abs(one - two).mean() > 0.5 for one, two in zip(before, after, strict=True))


def test_a_click_puts_the_crosshair_in_all_panes(qtbot, window):
    frame, material = window.canvas.frames[1], window.material
    spot = frame.to_pixel(material, window.canvas.sheet, material.world(1, 12), material.world(2, 20)).toPoint()
    qtbot.mouseClick(window.canvas, Qt.MouseButton.LeftButton, pos=spot)
    point = window.canvas.sheet.cut.point
    assert (material.index(1, point[1]), material.index(2, point[2])) == (12, 20)


def test_the_wheel_zooms_where_the_mouse_stands(window):
    frame = window.canvas.frames[0]
    spot = frame.picture.center().toPoint() + QPoint(40, 25)
    before = frame.to_world(window.material, window.canvas.sheet, QPointF(spot))
    wheel(window, spot, 2, Qt.KeyboardModifier.ControlModifier)
    after = window.canvas.frames[0].to_world(window.material, window.canvas.sheet, QPointF(spot))
    assert window.canvas.sheet.cut.zoom == pytest.approx(1.44)
    assert after == pytest.approx(before, abs=1e-6)


def test_a_drag_with_the_right_button_changes_one_modality_everywhere(qtbot, window):
    before = cells(window, pixels(window))
    start = middle(window, 0)
    qtbot.mousePress(window.canvas, Qt.MouseButton.RightButton, pos=start)
    qtbot.mouseMove(window.canvas, start + QPoint(60, 50))
    qtbot.mouseRelease(window.canvas, Qt.MouseButton.RightButton, pos=start + QPoint(60, 50))
    assert set(window.canvas.sheet.windows) == {"t1c"}
    after = cells(window, pixels(window))
    assert [np.abs(one - two).mean() > 1 for one, two in zip(before, after, strict=True)] == [True] * 5 + [False]
    window.canvas.fit()
    assert all(np.array_equal(one, two) for one, two in zip(before, cells(window, pixels(window)), strict=True))


def test_planes_by_key_keep_the_place(window):
    point = window.canvas.sheet.cut.point
    for key, plane in (("9", "coronal"), ("0", "sagittal"), ("8", "axial")):
        press(window, key)
        assert window.canvas.sheet.cut.plane == plane
        assert window.plane_choice.currentText().lower() == plane
        assert window.canvas.sheet.cut.point == point


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
    assert window.preset_choice.currentText() == OWN
    assert window.panes[1] == PRESETS["Paper"](window.material)[1]


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
    entropy = window.material.overlays["entropy"]
    before = cells(window, pixels(window))[4]
    window.options["common_scale"].setChecked(True)
    assert window.canvas.sheet.range_of(entropy) == 1.0
    assert np.abs(cells(window, pixels(window))[4] - before).max() > 50


def test_values_are_read_under_the_mouse(qtbot, window, tiny_study):
    qtbot.mouseMove(window.canvas, middle(window, 0))
    assert tiny_study.id in window.readout.text()
    assert "entropy (WT)" in window.readout.text()
    assert "T2w" in window.readout.text()


def test_another_result_keeps_the_place_and_the_choice(window, tiny_study, tiny_prediction):
    window.choose(0, Pane("t2w", "entropy"))
    window.canvas.scroll_by(2)
    cut = window.canvas.sheet.cut
    maps = {name: array for name, array in tiny_prediction.maps.items() if name != "variance"}
    again = dataclasses.replace(tiny_prediction, maps=maps)
    window.replace(tiny_study, again)
    assert window.prediction is again
    assert window.canvas.sheet.cut == cut
    assert window.panes[0] == Pane("t2w", "entropy")
    assert "variance" in window.panes[3].missing


def test_memory_is_that_of_the_study(window, tiny_study, tiny_prediction):
    for view in window.canvas.sheet.views:
        assert all(np.shares_memory(array, tiny_study.images) for array in view.material.images.values())
    assert study_material(tiny_study, tiny_prediction).images.keys() == window.material.images.keys()


def test_options_are_kept_for_the_next_time(qtbot, tiny_study, tiny_prediction):
    first = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(first)
    first.options["crosshair"].setChecked(False)
    first.choose_plane("sagittal")
    first.choose_preset("Methods")
    first.close()
    second = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(second)
    assert not second.canvas.sheet.crosshair
    assert second.canvas.sheet.cut.plane == "sagittal"
    assert second.preset_choice.currentText() == "Methods"


def napari_keys():
    """Every key that napari binds, as Qt writes it."""
    keys = {str(key) for bound in default_shortcuts.values() for key in bound}
    keys |= {str(binding.keybinding) for binding in get_app_model().keybindings}
    return {QKeySequence(key.replace("-", "+")).toString() for key in keys}


def test_no_key_is_naparis_and_none_means_something_else_in_the_review(window):
    keys = window.shortcuts()
    assert len(keys) == len(set(keys)) >= 14
    assert not set(keys) & napari_keys()
    review = {QKeySequence(key.replace("-", "+")).toString() for key in KEYS.values()}
    assert set(keys) & review == {"H"}


def test_keys_are_listed(qtbot, window):
    window.show_keys()
    (box,) = window.findChildren(QMessageBox)
    text = box.text()
    assert not box.isModal()
    for key in window.shortcuts():
        assert f"<b>{key}</b>" in text


def test_fifty_windows_leave_nothing(qtbot, tiny_study, tiny_prediction):
    gone = []
    for _ in range(50):
        window = SixViewsWindow(tiny_study, tiny_prediction)
        window.show()
        gone.append(weakref.ref(window))
        window.close()
        del window

    def nothing_is_left():
        gc.collect()
        assert [ref() for ref in gone] == [None] * 50

    qtbot.waitUntil(nothing_is_left, timeout=PATIENCE)
