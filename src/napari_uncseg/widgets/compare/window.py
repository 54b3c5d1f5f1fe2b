"""What every comparison window has: the canvas, its options and keys, a read-out, and the export.

The window is one painted widget without a GL context. It may float, be moved to another screen or be opened fifty
times; napari's own canvas, as a grid of eighteen layers, takes seconds to build and cannot cut patients apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.qt import get_stylesheet
from napari.settings import get_settings
from qtpy.QtCore import QSettings, Qt, Signal
from qtpy.QtGui import QAction, QCloseEvent, QFont, QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractSlider,
    QCheckBox,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QToolButton,
    QWidget,
)
from superqt import QFlowLayout

from napari_uncseg.compare.data import Point
from napari_uncseg.compare.layout import PaneView
from napari_uncseg.errors import SaveError, UncsegError
from napari_uncseg.io.files import exists
from napari_uncseg.viewer.bindings import (
    COMPARE_KEYS,
    COMPARE_MOUSE,
    OPACITY_STEP,
    PICTURE_KEYS,
    declared_key,
)
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.picture import NOTE
from napari_uncseg.widgets.base import Connections
from napari_uncseg.widgets.common import choice, column, failure_sentence, label, opacity_slider
from napari_uncseg.widgets.compare.canvas import ComparisonCanvas
from napari_uncseg.widgets.compare.export import completed, export_figure
from napari_uncseg.widgets.keys import keys_table

PLANE_TIP = (
    "Plane in which all panes are cut: axial, coronal or sagittal "
    f"({', '.join(COMPARE_KEYS[plane] for plane in PLANES)})"
)
OPTIONS = {
    "overlays": "Overlays",
    "outline": "Contours",
    "reference": "Reference",
    "crosshair": "Crosshair",
    "common_scale": "Same colours",
}
"""What of a comparison is on or off, and what it is called."""

STYLE = """
    QToolButton {{ font-size: {size}; padding: 3px 6px; }}
    ElidedBox {{ padding: 2px 0px 2px 5px; }}
    ElidedBox::drop-down {{ width: 16px; }}
    ElidedBox::down-arrow {{ width: 10px; height: 10px; }}
"""
"""What the window adds to napari's style."""

KINDS = {"PNG (*.png)": ".png", "PDF (*.pdf)": ".pdf"}
"""Filters of the dialog that asks where to, and the suffix of each."""


class ComparisonWindow(QMainWindow):
    """Window with linked panes.

    Slots are bound methods: a window that held itself through a lambda would be left to the garbage collector.

    Parameters
    ----------
    headings : bool
        Whether titles are painted above the panes.
    separate : bool
        Whether a pane may be scrolled alone.
    """

    closed = Signal()

    def __init__(self, *, headings: bool, separate: bool) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._mouse = {"Shift + wheel": "slices of the pane under the mouse alone"} if separate else {}
        self.canvas = ComparisonCanvas(headings=headings, separate=separate)
        self.canvas.hovered.connect(self._tell)
        self.canvas.changed.connect(self._follow)
        self.bar = QWidget()
        self.bar.setLayout(QFlowLayout(self.bar))
        self.readout, content = label(), QWidget()
        self.readout.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.readout.setWordWrap(True)
        self.readout.setContentsMargins(6, 2, 6, 4)
        layout = column(self.bar, self.canvas, self.readout)
        layout.setStretchFactor(self.canvas, 1)
        content.setLayout(layout)
        self.setCentralWidget(content)
        self.plane_choice = choice(PLANE_TIP, [plane.capitalize() for plane in PLANES], least=8)
        self.plane_choice.currentTextChanged.connect(self._turn)
        self.options: dict[str, QCheckBox] = {}
        self._viewer = napari.current_viewer()
        self._connections = Connections(self)
        self._connections.connect(get_settings().appearance.events.font_size, self._wear)
        if self._viewer is not None:
            self._connections.connect(self._viewer.events.theme, self._wear)
        self._wear()
        self.resize(1380, 900)

    def choose_plane(self, plane: str) -> None:
        """Cut axially, coronally or sagittally."""
        self.plane_choice.setCurrentText(plane.capitalize())

    def export(self, path: Path) -> None:
        """Save what is on show as a figure; see :func:`export_figure`."""
        size = self.canvas.size()
        export_figure(self.canvas.state, path, aspect=size.width() / max(size.height(), 1))

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Keep the reader's options for the next time."""
        self._store()
        self._connections.disconnect_all()
        self._viewer = None
        self.closed.emit()
        super().closeEvent(event)

    def add(self, *widgets: QWidget | str) -> None:
        """Add controls, and words in front of them, at the top."""
        layout = self.bar.layout()
        assert layout is not None
        for widget in widgets:
            layout.addWidget(QLabel(f" {widget} ") if isinstance(widget, str) else widget)

    def finish_bar(self) -> None:
        """Add what all windows have at the top, after what one has of its own."""
        self.add("Plane", self.plane_choice)
        for plane in PLANES:
            self.add_key(plane, partial(self.plane_choice.setCurrentText, plane.capitalize()))
        self.add_key("next_slice", partial(self.canvas.scroll_by, 1))
        self.add_key("previous_slice", partial(self.canvas.scroll_by, -1))
        for name, title in OPTIONS.items():
            box = QCheckBox(title)
            box.setChecked(bool(getattr(self.canvas.state, name)))
            action = self.add_key(name, box.toggle)
            box.setToolTip(action.toolTip())
            box.toggled.connect(self._on_options)
            self.options[name] = box
            self.add(box)
        self.opacity = opacity_slider(self._on_opacity)
        self.opacity.setValue(round(100 * self.canvas.state.opacity))
        self.add(self.opacity)
        self.opacity.setSingleStep(round(100 * OPACITY_STEP))
        step = QAbstractSlider.SliderAction
        self.add_key("fainter", partial(self.opacity.triggerAction, step.SliderSingleStepSub))
        self.add_key("stronger", partial(self.opacity.triggerAction, step.SliderSingleStepAdd))
        self.add_key("fit", self.canvas.fit, "Fit")
        self.add_key("export", self._ask_export, "Export…")
        self.add_key("keys", self.show_keys, "Keys")
        self.add(NOTE)
        self._restore()

    def add_key(self, what: str, slot: Callable[..., Any], title: str = "") -> QAction:
        """Something that a key does, listed in the window's help; with a title, a button at the top does it too."""
        key, words = declared_key(what, "six_patients", "six_views", "findings")
        action = QAction(title or words, self)
        action.setIconText(title)  # Qt would drop the dots
        action.setShortcut(QKeySequence(key))
        action.setToolTip(f"{words.capitalize()} ({key})")
        action.setWhatsThis(words)
        action.triggered.connect(slot)
        self.addAction(action)
        if title:
            button = QToolButton()
            button.setDefaultAction(action)
            self.add(button)
        return action

    def show_keys(self) -> None:
        """Show what keys and mouse do, beside the window."""
        keys = {key: action.whatsThis() for action in self.actions() if (key := action.shortcut().toString())}
        sheet = keys_table({"Keys": keys, "Mouse": {**COMPARE_MOUSE, **self._mouse}})
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Keys and mouse", sheet, parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setModal(False)
        box.show()

    def show_message(self, told: str | Exception) -> None:
        """Tell a sentence, or why something failed, below the panes until the mouse is moved over one."""
        self.readout.setText(told if isinstance(told, str) else failure_sentence(told))
        if self.readout.isVisible():  # it keeps the height it once needed: the panes stand still
            height = self.readout.heightForWidth(self.readout.width())
            self.readout.setMinimumHeight(max(self.readout.minimumHeight(), height))

    def _on_options(self, _on: bool) -> None:
        chosen: dict[str, Any] = {name: box.isChecked() for name, box in self.options.items()}
        self.canvas.show_state(replace(self.canvas.state, **chosen))

    def _on_opacity(self, percent: int) -> None:
        self.canvas.show_state(replace(self.canvas.state, opacity=percent / 100))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Bare the images as long as its key is held."""
        self._bare(event, bare=True)
        super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:
        """Show again what lies on them."""
        self._bare(event, bare=False)
        super().keyReleaseEvent(event)

    def _bare(self, event: QKeyEvent | None, *, bare: bool) -> None:
        if event is not None and QKeySequence(event.key()) == QKeySequence(PICTURE_KEYS["bare"]):
            shown = not bare and self.options["overlays"].isChecked()
            self.canvas.show_state(replace(self.canvas.state, overlays=shown))

    def _turn(self, plane: str) -> None:
        self.canvas.turn(plane.lower())

    def _follow(self) -> None:
        """Keep the chooser of the plane with what is on show."""
        self.choose_plane(self.canvas.state.cut.plane)

    def _tell(self, view: PaneView, place: Point) -> None:
        assert view.data is not None
        where = " ".join(
            f"{names[world < 0]} {abs(world):.0f}" for names, world in zip(("IS", "PA", "LR"), place, strict=True)
        )
        words = "   ".join(f"{title}\N{NO-BREAK SPACE}{value}" for title, value in view.data.values_at(place).items())
        self.show_message(f"{view.data.study_id}   {where} mm   {words}")

    def _ask_export(self) -> None:
        name, kind = QFileDialog.getSaveFileName(self, "Save the picture", "comparison", ";;".join(KINDS))
        if not name:
            return
        path = completed(Path(name), KINDS.get(kind, ".png"))
        try:
            # The dialog has asked about the name as it was typed.
            if path != Path(name) and exists(path, SaveError):
                words = f"{path.name} is there already. Replace it?"
                answer = QMessageBox.question(self, "Save the picture", words)
                if answer != QMessageBox.StandardButton.Yes:
                    return
            self.export(path)
            self.show_message(f"Saved {path}")
        except UncsegError as error:
            self.show_message(error)

    def _wear(self, _event: object = None) -> None:
        """Give the window the colours and the size of letters that the main window has now; the canvas a label's."""
        appearance = get_settings().appearance
        theme, size = self._viewer.theme if self._viewer is not None else appearance.theme, f"{appearance.font_size}pt"
        self.setStyleSheet(get_stylesheet(theme, extra_variables={"font_size": size}) + STYLE.format(size=size))
        self.readout.ensurePolished()
        letters = QFont(self.canvas.font())
        letters.setPixelSize(self.readout.fontInfo().pixelSize())
        self.canvas.setFont(letters)

    def _settings(self) -> QSettings:
        settings = QSettings("napari-uncseg", "napari-uncseg")
        settings.beginGroup(type(self).__name__)
        return settings

    def _store(self) -> None:
        settings = self._settings()
        settings.setValue("geometry", self.saveGeometry())
        settings.setValue("plane", self.canvas.state.cut.plane)
        for name, box in self.options.items():
            settings.setValue(name, box.isChecked())

    def _restore(self) -> None:
        """Options of the last time; what a file of settings does not hold stays as it is."""
        settings = self._settings()
        if settings.value("geometry") is not None:
            self.restoreGeometry(settings.value("geometry"))
        self.choose_plane(str(settings.value("plane", "axial")))
        for name, box in self.options.items():
            box.setChecked(settings.value(name, box.isChecked(), type=bool))
