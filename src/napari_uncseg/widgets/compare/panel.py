"""*Six views*: the panel that opens the six-view window of a study and keeps it up to date."""

from __future__ import annotations

import napari
from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QVBoxLayout, QWidget

from napari_uncseg.compare.presets import PRESETS
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.common import PANEL_WIDTH, LayerWatch, narrow, note_label, row_label
from napari_uncseg.widgets.compare.base import PLANE_TIP
from napari_uncseg.widgets.compare.link import MainLink
from napari_uncseg.widgets.compare.window import PRESET_TIP, SixViewsWindow

EMPTY = (
    "Open a study and its result first: run Segment with uncertainty, or open a study folder and the folder that "
    "uncseg predict wrote for it."
)


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
        self.preset_choice = QComboBox()
        self.preset_choice.addItems(list(PRESETS))
        self.preset_choice.activated.connect(self._on_preset)
        self.plane_choice = QComboBox()
        self.plane_choice.addItems([plane.capitalize() for plane in PLANES])
        self.plane_choice.currentTextChanged.connect(self._turn)
        self.open_button = QPushButton("Open six views")
        self.open_button.clicked.connect(self.open_window)
        self.hint = note_label(EMPTY)
        for control, tip in (
            (self.study_choice, "Study to show; it needs images and a result that are open"),
            (self.preset_choice, PRESET_TIP),
            (self.plane_choice, PLANE_TIP),
            (self.open_button, "Show the study in six panes, in a window of its own, where the viewer stands"),
        ):
            control.setToolTip(tip)
        layout = QVBoxLayout(self)
        form = QFormLayout()
        form.addRow(row_label("Study"), self.study_choice)
        form.addRow(row_label("Show"), self.preset_choice)
        form.addRow(row_label("Plane"), self.plane_choice)
        layout.addLayout(form)
        layout.addWidget(self.open_button)
        layout.addWidget(self.hint)
        layout.addStretch(1)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self.destroyed.connect(self._shown.close)
        self.refresh()

    def minimumSizeHint(self) -> QSize:
        """No narrower than the other panels, wider where letters are large."""
        least = super().minimumSizeHint()
        least.setWidth(max(PANEL_WIDTH, least.width()))
        return least

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
        shown, link = self._shown.window, self._shown.link
        if shown is None or link is None:
            return
        study_id = self._study_to_show(shown.study.id, ready)
        if not study_id:
            # A window that stayed would show one patient while the review goes on with another.
            self.close_window()
            return
        shown.replace(studies[study_id], predictions[study_id], self._point())
        link.refresh()
        self.study_choice.setCurrentText(study_id)

    def _study_to_show(self, shown: str, ready: list[str]) -> str:
        """Study of an open window: its own while that is there, else the one under review, else the last opened."""
        reviewed = session_of(self._viewer).study
        return next((study_id for study_id in (shown, reviewed) if study_id in ready), ready[-1] if ready else "")

    def _point(self) -> tuple[float, ...] | None:
        """Where the main viewer stands."""
        return tuple(self._viewer.dims.point) if self._viewer.dims.ndim == 3 else None

    def open_window(self) -> None:
        """Open the window on the chosen study where the main viewer stands; an open one is closed first."""
        study_id = self.study_choice.currentText()
        study, prediction = open_studies(self._viewer).get(study_id), open_predictions(self._viewer).get(study_id)
        if study is None or prediction is None:
            return
        self.close_window()
        window = SixViewsWindow(study, prediction, self.plane_choice.currentText().lower(), self._point())
        window.choose_preset(self.preset_choice.currentText())
        self._shown.hold(window, MainLink(self._viewer, window))
        # Two choosers of one thing: each follows the other.
        window.plane_choice.currentTextChanged.connect(self.plane_choice.setCurrentText)
        window.preset_choice.currentTextChanged.connect(self.preset_choice.setCurrentText)
        window.show()

    def close_window(self) -> None:
        """Close the window if it is open."""
        self._shown.close()

    def _turn(self, plane: str) -> None:
        if self._shown.window is not None:
            self._shown.window.choose_plane(plane.lower())

    def _on_preset(self, _index: int) -> None:
        if self._shown.window is not None:
            self._shown.window.choose_preset(self.preset_choice.currentText())

    def event(self, event: QEvent | None) -> bool:
        """Close the window when napari takes the panel out of its dock, which it does without deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._shown.close()
        return super().event(event)


class _Shown:
    """The open window, kept apart from the panel: it has its own place on the screen, but never outlives the panel."""

    def __init__(self) -> None:
        self.window: SixViewsWindow | None = None
        self.link: MainLink | None = None

    def hold(self, window: SixViewsWindow, link: MainLink) -> None:
        self.window, self.link = window, link
        window.closed.connect(self._let_go)

    def close(self, _object: object = None) -> None:
        if self.window is not None:
            self.window.close()

    def _let_go(self) -> None:
        self.window = self.link = None
