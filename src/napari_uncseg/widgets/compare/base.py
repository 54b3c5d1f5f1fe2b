"""What every comparison window has: the canvas, its options and keys, a read-out, and the export.

The window is one painted widget without a GL context. It may float, be moved to another screen or be opened fifty
times; napari's own canvas, as a grid of eighteen layers, takes seconds to build and cannot cut patients apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSettings, Qt, Signal
from qtpy.QtGui import QAction, QCloseEvent, QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QSizePolicy,
    QToolBar,
    QWidget,
)

from napari_uncseg.compare.data import Point
from napari_uncseg.compare.layout import PaneView, values_at
from napari_uncseg.errors import UncsegError
from napari_uncseg.viewer.layers import NOTE
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.widgets.compare.canvas import SixCanvas
from napari_uncseg.widgets.compare.export import completed, export_sheet
from napari_uncseg.widgets.compare.style import MainStyle, show_more_button, take_letters

Slot = Callable[..., Any]

PLANE_KEYS = {"axial": "8", "coronal": "9", "sagittal": "0"}
"""napari binds 1 to 7."""

OPTION_KEYS = {"overlay": "H", "outline": "Q", "crosshair": "K", "common_scale": "J"}
"""Options of a sheet that are on or off; H does the same in the main window."""

PLANE_TIP = f"Plane in which all panes are cut: axial, coronal or sagittal ({', '.join(PLANE_KEYS.values())})"

FIT_KEY, EXPORT_KEY, HELP_KEY = "Home", "Ctrl+Shift+E", "F1"

KINDS = {"PNG (*.png)": ".png", "PDF (*.pdf)": ".pdf"}
"""Filters of the dialog that asks where to, and the suffix of each."""

_TITLES = {
    "overlay": ("Overlays", "Show or hide segmentations and maps"),
    "outline": ("Contours", "Draw the contour of the predicted segmentation on images and maps"),
    "crosshair": ("Crosshair", "Show where all panes are cut"),
    "common_scale": ("One scale", "All maps share one range of colours; otherwise each has its own"),
}
_MOUSE = (
    ("Wheel", "slices"),
    ("Ctrl + wheel", "zoom where the mouse stands"),
    ("Left button", "crosshair"),
    ("Middle button", "move the pictures"),
    ("Right button", "window (sideways) and level (up and down) of the image under the mouse"),
)


class ComparisonWindow(QMainWindow):
    """Window with linked panes.

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
        self.canvas = SixCanvas(headings=headings, separate=separate)
        self.canvas.hovered.connect(self._tell)
        self.canvas.changed.connect(self._follow)
        self.setCentralWidget(self.canvas)
        self.readout = QLabel()
        self.readout.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.readout.setMinimumWidth(1)
        self._keys: list[tuple[str, str]] = [(keys, what) for keys, what in _MOUSE]
        if separate:
            self._keys.insert(1, ("Shift + wheel", "slices of the pane under the mouse alone"))
        self.bar = QToolBar("Comparison")
        self.bar.setMovable(False)
        self.bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.addToolBar(self.bar)
        self.plane_choice = QComboBox()
        self.plane_choice.addItems([plane.capitalize() for plane in PLANES])
        self.plane_choice.setToolTip(PLANE_TIP)
        self.plane_choice.currentTextChanged.connect(self._turn)
        self.options: dict[str, QAction] = {}
        status = self.statusBar()
        assert status is not None
        status.addWidget(self.readout, 1)
        status.addPermanentWidget(QLabel(f"{NOTE} "))
        self._style = MainStyle(self)
        self._style.changed.connect(self._dress)
        self._style.wear()
        self.resize(1380, 900)

    def choose_plane(self, plane: str) -> None:
        """Cut axially, coronally or sagittally."""
        self.plane_choice.setCurrentText(plane.capitalize())

    def export(self, path: Path) -> None:
        """Save what is on show as a figure; see :func:`export_sheet`."""
        size = self.canvas.size()
        export_sheet(self.canvas.sheet, path, aspect=size.width() / max(size.height(), 1))

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Keep the reader's options for the next time."""
        self._store()
        self._style.let_go()
        self.closed.emit()
        super().closeEvent(event)

    def finish_bar(self) -> None:
        """Add what all windows have to the toolbar, after what one has of its own."""
        self.bar.addWidget(QLabel(" Plane "))
        self.bar.addWidget(self.plane_choice)
        for plane, key in PLANE_KEYS.items():
            self.add_key(key, f"{plane} plane", self._plane_of_key).setData(plane)
        self.add_key("PgDown", "next slice", self._next_slice)
        self.add_key("PgUp", "previous slice", self._previous_slice)
        self.bar.addSeparator()
        for name, key in OPTION_KEYS.items():
            title, tip = _TITLES[name]
            action = self.add_key(key, tip[:1].lower() + tip[1:], title=title, tip=tip)
            action.setCheckable(True)
            action.setChecked(bool(getattr(self.canvas.sheet, name)))
            action.setData(name)
            action.toggled.connect(self._option_toggled)
            self.options[name] = action
            box = QCheckBox(title)
            box.setToolTip(action.toolTip())
            box.setChecked(action.isChecked())
            box.toggled.connect(action.setChecked)
            action.toggled.connect(box.setChecked)
            self.bar.addWidget(box)
        self.bar.addSeparator()
        fit = self.add_key(FIT_KEY, "whole volumes in their own windows", self.canvas.fit, "Fit", "Show whole volumes")
        export = self.add_key(
            EXPORT_KEY, "save the picture", self._ask_export, "Export…", "Save as PNG or PDF for print"
        )
        keys = self.add_key(HELP_KEY, "this list", self.show_keys, "Keys", "Keys and mouse of this window")
        self.bar.addActions([fit, export])
        spacer = QWidget()
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.bar.addWidget(spacer)
        self.bar.addAction(keys)
        self._restore()

    def add_key(
        self, key: str, what: str, slot: Callable[..., Any] | None = None, title: str = "", tip: str = ""
    ) -> QAction:
        """Action of this window with a key, listed in its help."""
        action = QAction(title or what, self)
        action.setIconText(title or what)  # Qt would drop the dots
        action.setShortcut(QKeySequence(key))
        action.setToolTip(f"{tip or what} ({key})")
        if slot is not None:
            action.triggered.connect(slot)
        self.addAction(action)
        self._keys.append((key, what))
        return action

    def show_keys(self) -> None:
        """Show what keys and mouse do, beside the window."""
        rows = "".join(f"<tr><td><b>{keys}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>" for keys, what in self._keys)
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Keys and mouse", f"<table>{rows}</table>", parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setModal(False)
        box.show()

    def shortcuts(self) -> list[str]:
        """Keys of this window."""
        return [action.shortcut().toString() for action in self.actions() if not action.shortcut().isEmpty()]

    def show_message(self, words: str) -> None:
        """Tell a sentence in the status bar until the mouse is moved over a pane."""
        self.readout.setText(words)
        self.readout.setToolTip(words)

    # Slots are bound methods: a window that held itself through a lambda would be left to the garbage collector.

    def _option_toggled(self, on: bool) -> None:
        changed: dict[str, Any] = {self._sent(): on}
        self.canvas.show_sheet(replace(self.canvas.sheet, **changed))

    def _plane_of_key(self) -> None:
        self.choose_plane(self._sent())

    def _turn(self, plane: str) -> None:
        self.canvas.turn(plane.lower())

    def _next_slice(self) -> None:
        self.canvas.scroll_by(1)

    def _previous_slice(self) -> None:
        self.canvas.scroll_by(-1)

    def _sent(self) -> str:
        """What the action that was triggered carries."""
        action = self.sender()
        assert isinstance(action, QAction)
        return str(action.data())

    def _follow(self) -> None:
        """Keep the chooser of the plane with what is on show."""
        self.choose_plane(self.canvas.sheet.cut.plane)

    def _tell(self, view: PaneView | None, place: Point | None) -> None:
        if view is None or place is None or view.material is None:
            return
        values = values_at(view.material, place)
        i, p, l = place  # noqa: E741 - the axes' names
        where = f"R {-l:.0f}  A {-p:.0f}  S {-i:.0f} mm"
        words = "   ".join(f"{title} {value}" for title, value in values.items())
        self.show_message(f"{view.material.study_id}   {where}   {words}")

    def _ask_export(self) -> None:
        name, kind = QFileDialog.getSaveFileName(self, "Save the picture", "comparison", ";;".join(KINDS))
        if not name:
            return
        path = completed(Path(name), KINDS.get(kind, ".png"))
        # The dialog has asked about the name as it was typed.
        if path != Path(name) and path.exists() and not self._may_replace(path):
            return
        try:
            self.export(path)
        except UncsegError as error:
            self.show_message(str(error))
        else:
            self.show_message(f"Saved {path}")

    def _may_replace(self, path: Path) -> bool:
        words = f"{path.name} is there already. Replace it?"
        return QMessageBox.question(self, "Save the picture", words) == QMessageBox.StandardButton.Yes

    def _dress(self) -> None:
        """Let what the style does not reach follow it."""
        take_letters(self.canvas, self.readout)
        show_more_button(self.bar)

    def _settings(self) -> QSettings:
        settings = QSettings("napari-uncseg", "napari-uncseg")
        settings.beginGroup(type(self).__name__)
        return settings

    def _store(self) -> None:
        settings = self._settings()
        settings.setValue("geometry", self.saveGeometry())
        settings.setValue("plane", self.canvas.sheet.cut.plane)
        for name, action in self.options.items():
            settings.setValue(name, action.isChecked())

    def _restore(self) -> None:
        """Options of the last time; what a file of settings does not hold stays as it is."""
        settings = self._settings()
        geometry = settings.value("geometry")
        if geometry is not None:
            self.restoreGeometry(geometry)
        plane = settings.value("plane", "axial")
        if plane in PLANES:
            self.choose_plane(str(plane))
        for name, action in self.options.items():
            action.setChecked(settings.value(name, action.isChecked(), type=bool))
