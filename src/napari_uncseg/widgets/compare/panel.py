"""*Six views*: the panel that opens the six-view window of a study and keeps it up to date."""

from __future__ import annotations

from functools import partial

import napari

from napari_uncseg.compare.data import Point
from napari_uncseg.compare.presets import PRESETS
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.common import Note, button, choice, form, offer
from napari_uncseg.widgets.compare.link import MainLink
from napari_uncseg.widgets.compare.six_views import PRESET_TIP, SixViewsWindow
from napari_uncseg.widgets.compare.window import PLANE_TIP

EMPTY = (
    "Open a study and its result first: run Segment with uncertainty, or open a study folder and the folder that "
    "uncseg predict wrote for it."
)


class SixViewsWidget(Panel):
    """Small panel that opens the six-view window of a study.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer; its studies and predictions are offered.
    """

    least_height = 160

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._windows: list[SixViewsWindow] = []
        self._link: MainLink | None = None
        # A window has its own place on the screen, but never outlives the panel.
        self.destroyed.connect(partial(_close_all, self._windows))
        self.study_choice = choice("Study to show; it needs images and a result that are open")
        self.preset_choice = choice(PRESET_TIP, PRESETS)
        self.plane_choice = choice(PLANE_TIP, [plane.capitalize() for plane in PLANES])
        tip = "Show the study in six panes, in a window of its own, where the viewer stands"
        self.open_button = button("Open six views", tip, self.open_window)
        self.hint = Note(EMPTY)
        boxes = form(Study=self.study_choice, Show=self.preset_choice, Plane=self.plane_choice)
        self.fill(boxes, self.open_button, self.hint)
        self.preset_choice.activated.connect(self._on_preset)
        self.plane_choice.currentTextChanged.connect(self._turn)
        self.watch_layers()
        self.refresh()

    @property
    def window_shown(self) -> SixViewsWindow | None:
        """The window, while it is open."""
        return self._windows[0] if self._windows else None

    def refresh(self) -> None:
        """Offer the studies that have both images and a result; keep an open window up to date."""
        studies, predictions = open_studies(self._viewer), open_predictions(self._viewer)
        ready = [study_id for study_id in studies if study_id in predictions]
        shown, link, chosen = self.window_shown, self._link, self.study_choice.currentText()
        if shown is not None and link is not None:
            # Its own study while that is there, else the one under review, else the last opened.
            wanted = (shown.study.id, session_of(self._viewer).study, *reversed(ready))
            chosen = next((study_id for study_id in wanted if study_id in ready), "")
            if chosen:
                shown.replace(studies[chosen], predictions[chosen], self._point())
                link.refresh()
            else:  # a window that stayed would show one patient while the review goes on with another
                self.close_window()
        offer(self.study_choice, ready, chosen, or_first=True)
        self.open_button.setEnabled(bool(ready))
        self.hint.setVisible(not ready)

    def _point(self) -> Point | None:
        """Where the main viewer stands."""
        if self._viewer.dims.ndim != 3:
            return None
        i, p, l = self._viewer.dims.point  # noqa: E741 - the axes' names
        return i, p, l

    def open_window(self) -> None:
        """Open the window on the chosen study where the main viewer stands; an open one is closed first."""
        study_id = self.study_choice.currentText()
        study, prediction = open_studies(self._viewer).get(study_id), open_predictions(self._viewer).get(study_id)
        if study is None or prediction is None:
            return
        self.close_window()
        window = SixViewsWindow(study, prediction, self.plane_choice.currentText().lower(), self._point())
        window.choose_preset(self.preset_choice.currentText())
        self._windows.append(window)
        self._link = MainLink(self._viewer, window)
        window.closed.connect(self._forget)
        # Two choosers of one thing: each follows the other.
        window.plane_choice.currentTextChanged.connect(self.plane_choice.setCurrentText)
        window.preset_choice.currentTextChanged.connect(self.preset_choice.setCurrentText)
        window.show()

    def close_window(self) -> None:
        """Close the window if it is open."""
        if self.window_shown is not None:
            self.window_shown.close()

    def release(self) -> None:
        """Close the window too."""
        super().release()
        self.close_window()

    def _forget(self) -> None:
        self._windows.clear()
        self._link = None

    def _turn(self, plane: str) -> None:
        if self.window_shown is not None:
            self.window_shown.choose_plane(plane.lower())

    def _on_preset(self, _index: int) -> None:
        if self.window_shown is not None:
            self.window_shown.choose_preset(self.preset_choice.currentText())


def _close_all(windows: list[SixViewsWindow], _object: object = None) -> None:
    for window in list(windows):
        window.close()
    windows.clear()
