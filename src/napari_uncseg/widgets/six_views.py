"""*Six views*: images, segmentation and maps of one study side by side, in a window of their own.

The window is never docked: floating a dock that holds a canvas aborts the process (PyQt6, shared GL contexts off).
"""

from __future__ import annotations

import weakref
from functools import partial

import napari
from napari.components import ViewerModel
from napari.qt import QtViewer, get_current_stylesheet
from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QSizePolicy,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.study.prediction import Prediction
from napari_uncseg.study.study import Study
from napari_uncseg.view.compare import comparison_model, show_outline, show_plane
from napari_uncseg.view.layers import NOTE, show_best_slice
from napari_uncseg.view.orientation import PLANES
from napari_uncseg.view.tags import open_predictions, open_studies
from napari_uncseg.widgets.parts import PANEL_WIDTH, LayerWatch, narrow, note_label, row_label

EMPTY = (
    "Open a study and its result first: run Segment with uncertainty, or open a study folder and the folder that "
    "uncseg predict wrote for it."
)


class SixViewsWindow(QMainWindow):
    """One canvas with six linked cells; owns its viewer model and takes it down when closed.

    Parameters
    ----------
    study, prediction
        What to show.
    plane : str
        A key of :data:`napari_uncseg.view.orientation.PLANES`.
    point : tuple of float, optional
        Where to cut first, in world millimetres (I, P, L); where there is most tumour if not given.
    """

    closed = Signal()

    def __init__(
        self, study: Study, prediction: Prediction, plane: str = "axial", point: tuple[float, ...] | None = None
    ) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.model: ViewerModel | None = None
        self._qt_viewer: QtViewer | None = None
        self._plane = plane
        self._point = point
        self._study = study
        self._prediction = prediction
        self.addToolBar(self._toolbar())
        self.setStyleSheet(get_current_stylesheet())
        self.resize(1500, 940)
        self._build()

    @property
    def study(self) -> Study:
        """The study on show."""
        return self._study

    @property
    def prediction(self) -> Prediction:
        """The prediction on show."""
        return self._prediction

    def present(self) -> None:
        """Show the window, then lay out its cells, which takes the size of the canvas."""
        self.show()
        QTimer.singleShot(0, partial(_lay_out, weakref.ref(self)))

    def replace(self, study: Study, prediction: Prediction) -> None:
        """Show another result at the same place."""
        if self.model is not None and self._prediction is not prediction:
            self._study, self._prediction = study, prediction
            self._point = tuple(self.model.dims.point)
            self._take_down()
            self._build()
            QTimer.singleShot(0, partial(_lay_out, weakref.ref(self)))

    def lay_out(self) -> None:
        """Lay out the cells of the canvas, now that it has its size, and cut them."""
        if self.model is None:  # closed before its first turn
            return
        self.model.canvas.grid.enabled = True
        if self._point is not None and len(self._point) == self.model.dims.ndim:
            self.model.dims.point = self._point
        else:
            show_best_slice(self.model, self._prediction)
        QTimer.singleShot(0, partial(_fit, weakref.ref(self)))

    def fit(self) -> None:
        """Fit the cells once they have their sizes."""
        if self.model is not None:
            show_plane(self.model, self._plane)

    def screenshot(self, path: str | None = None):
        """Picture of the canvas as an RGBA array, saved to `path` if given."""
        assert self._qt_viewer is not None
        return self._qt_viewer.screenshot(path, flash=False)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the layers, then of the canvas: nothing outlives the window."""
        if self.model is not None:
            self._take_down()
            self.closed.emit()
        super().closeEvent(event)

    def _build(self) -> None:
        """Make a canvas of filled cells: napari would lay out all of them again with every layer added to a canvas."""
        self.setWindowTitle(f"Six views · {self._study.id} · research use only")
        self.model = comparison_model(self._study, self._prediction, outline=self.outline_choice.isChecked())
        self._qt_viewer = QtViewer(self.model)
        self.setCentralWidget(self._qt_viewer)

    def _take_down(self) -> None:
        if self._qt_viewer is None or self.model is None:
            return
        self.model.layers.clear()
        self._qt_viewer.close()
        self._qt_viewer.deleteLater()
        self._qt_viewer = self.model = None

    def _toolbar(self) -> QToolBar:
        bar = QToolBar("Six views")
        bar.setMovable(False)
        bar.addWidget(QLabel(" Plane "))
        self.plane_choice = QComboBox()
        self.plane_choice.addItems([plane.capitalize() for plane in PLANES])
        self.plane_choice.setCurrentText(self._plane.capitalize())
        self.plane_choice.currentTextChanged.connect(self._on_plane)
        bar.addWidget(self.plane_choice)
        self.outline_choice = QCheckBox("Outline the segmentation on the maps")
        self.outline_choice.setChecked(True)
        self.outline_choice.toggled.connect(self._on_outline)
        bar.addWidget(self.outline_choice)
        spacer = QWidget()
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        bar.addWidget(spacer)
        bar.addWidget(QLabel(f"{NOTE}  "))
        return bar

    def _on_plane(self, text: str) -> None:
        self._plane = text.lower()
        if self.model is not None:
            show_plane(self.model, self._plane)

    def _on_outline(self, visible: bool) -> None:
        if self.model is not None:
            show_outline(self.model, visible)


class SixViewsWidget(QWidget):
    """Small panel that opens the six-view window of a study.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer; its studies and predictions are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._shown = _Shown()
        self.study_choice = narrow(QComboBox())
        self.plane_choice = QComboBox()
        self.plane_choice.addItems([plane.capitalize() for plane in PLANES])
        self.plane_choice.currentTextChanged.connect(self._turn)
        self.open_button = QPushButton("Open six views")
        self.open_button.clicked.connect(self.open_window)
        self.hint = note_label(EMPTY)
        layout = QVBoxLayout(self)
        form = QFormLayout()
        form.addRow(row_label("Study"), self.study_choice)
        form.addRow(row_label("Plane"), self.plane_choice)
        layout.addLayout(form)
        layout.addWidget(self.open_button)
        layout.addWidget(self.hint)
        layout.addStretch(1)
        self.setMinimumWidth(PANEL_WIDTH)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self.destroyed.connect(self._shown.close)
        self.refresh()

    @property
    def window_shown(self) -> SixViewsWindow | None:
        """The window, while it is open."""
        return self._shown.window

    def refresh(self) -> None:
        """Offer the studies that have both images and a result; keep an open window up to date."""
        studies, predictions = open_studies(self._viewer), open_predictions(self._viewer)
        ready = [study_id for study_id in studies if study_id in predictions]
        chosen = self.study_choice.currentText()
        self.study_choice.clear()
        self.study_choice.addItems(ready)
        if chosen in ready:
            self.study_choice.setCurrentText(chosen)
        self.open_button.setEnabled(bool(ready))
        self.hint.setVisible(not ready)
        shown = self.window_shown
        if shown is not None and shown.study.id in ready:
            shown.replace(studies[shown.study.id], predictions[shown.study.id])

    def open_window(self) -> None:
        """Open the window on the chosen study where the main viewer stands; an open one is closed first."""
        study_id = self.study_choice.currentText()
        study, prediction = open_studies(self._viewer).get(study_id), open_predictions(self._viewer).get(study_id)
        if study is None or prediction is None:
            return
        self.close_window()
        point = tuple(self._viewer.dims.point) if self._viewer.dims.ndim == 3 else None
        window = SixViewsWindow(study, prediction, self.plane_choice.currentText().lower(), point)
        self._shown.hold(window)
        # Two choosers of one thing: each follows the other.
        window.plane_choice.currentTextChanged.connect(self.plane_choice.setCurrentText)
        window.present()

    def close_window(self) -> None:
        """Close the window if it is open."""
        self._shown.close()

    def _turn(self, plane: str) -> None:
        shown = self.window_shown
        if shown is not None:
            shown.plane_choice.setCurrentText(plane)

    def event(self, event: QEvent | None) -> bool:
        """Close the window when napari takes the panel out of its dock, which it does without deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._shown.close()
        return super().event(event)


class _Shown:
    """The open window, kept apart from the panel: it has its own place on the screen, but never outlives the panel."""

    def __init__(self) -> None:
        self.window: SixViewsWindow | None = None

    def hold(self, window: SixViewsWindow) -> None:
        self.window = window
        window.closed.connect(self._let_go)

    def close(self, _object: object = None) -> None:
        if self.window is not None:
            self.window.close()

    def _let_go(self) -> None:
        self.window = None


def _lay_out(window: weakref.ref[SixViewsWindow]) -> None:
    alive = window()
    if alive is not None:
        alive.lay_out()


def _fit(window: weakref.ref[SixViewsWindow]) -> None:
    alive = window()
    if alive is not None:
        alive.fit()
