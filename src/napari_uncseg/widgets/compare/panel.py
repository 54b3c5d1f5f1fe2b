"""*Six views*: the panel that opens the window of a study, and the link that keeps window and viewer together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image
from qtpy.QtCore import QObject

from napari_uncseg.compare.data import Array, Point
from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.bindings import declared_key
from napari_uncseg.viewer.colormaps import drawn_from
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.base import EDIT_DELAY_MS, Connections, Panel, Watch
from napari_uncseg.widgets.common import Note, button, choice, form, offer
from napari_uncseg.widgets.compare.planes import PointLink, toggle_planes
from napari_uncseg.widgets.compare.six_views import SixViewsWindow
from napari_uncseg.widgets.reviewer import ask_reviewer


class MainLink(QObject):
    """Link between a window and the main viewer; both may go away at any time.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer.
    window : SixViewsWindow
        Owner of the link.
    """

    def __init__(self, viewer: napari.viewer.Viewer, window: SixViewsWindow) -> None:
        super().__init__(window)
        self._viewer = viewer
        self._session = session_of(viewer)
        self._saved: tuple[Path, Prediction, Array] | None = None
        self._maps = Connections(window)
        self._edits = Watch(window, self._take_correction, EDIT_DELAY_MS)
        self._points = PointLink(viewer, window.canvas)
        window.closed.connect(self.release)
        for what, step in (("next", 1), ("previous", -1)):
            window.add_key(what, partial(self._step, step))
        for judgement in Judgement:
            window.add_key(judgement.replace(" ", "_"), partial(self._judge, judgement))
        self.refresh()

    @property
    def _window(self) -> SixViewsWindow:
        window = self.parent()
        assert isinstance(window, SixViewsWindow)
        return window

    def refresh(self) -> None:
        """Look for the study's maps and its correction among the viewer's layers."""
        window = self._window
        self._maps.disconnect_all()
        for layer, tag in tagged(self._viewer, window.study.id, "map"):
            if tag.source is window.prediction:
                self._maps.connect(layer.events.colormap, self._on_colours)
                self._maps.connect(layer.events.contrast_limits, self._on_colours)
        self._on_colours()
        painted = correction_layer(self._viewer, window.prediction)
        self._edits.follow_edits([painted] if painted is not None else [])
        self._take_correction()

    def release(self) -> None:
        """Stop following."""
        self._points.release()
        self._maps.disconnect_all()
        self._edits.follow(())

    def _on_colours(self) -> None:
        """Cut the window's maps where the viewer's layers are cut."""
        window = self._window
        thresholds = {
            tag.name: drawn_from(layer)
            for layer, tag in tagged(self._viewer, window.study.id, "map")
            if isinstance(layer, Image) and tag.source is window.prediction
        }
        if dict(window.canvas.state.thresholds) != thresholds:
            window.canvas.show_state(replace(window.canvas.state, thresholds=thresholds))

    def _take_correction(self) -> None:
        window = self._window
        painted = correction_layer(self._viewer, window.prediction)
        labels = corrected_labels(painted, window.prediction) if painted is not None else self._saved_correction()
        window.show_correction(labels)

    def _saved_correction(self) -> Array | None:
        """The last correction that was saved beside the result; None without one."""
        window, results = self._window, self._session.results
        paths = corrections_in(results / window.study.id, window.study.id) if results is not None else []
        if not paths:
            return None
        if self._saved is None or self._saved[:2] != (paths[-1], window.prediction):
            try:
                self._saved = (paths[-1], window.prediction, load_correction(paths[-1], window.prediction))
            except UncsegError as error:
                window.show_message(error)
                return None
        return self._saved[2]

    def _step(self, by: int, _checked: bool = False) -> None:
        if self._is_reviewed():
            if self._session.findings is None or not self._session.findings.items:
                shown = self._window.study.id
                self._window.show_message(f"There are no findings of {shown}; the panel Findings looks for them.")
            self._session.step(by)

    def _judge(self, judgement: Judgement, _checked: bool = False) -> None:
        finding = self._session.current
        if not self._is_reviewed():
            return
        if finding is None:
            self._window.show_message("No finding is chosen; go to one first.")
            return
        try:
            ask_reviewer(self._session, self._window)
            self._session.judge(finding, judgement)
            self._window.show_message(f"{self._window.study.id}, finding {finding.rank}: {judgement}")
        except UncsegError as error:
            self._window.show_message(error)

    def _is_reviewed(self) -> bool:
        """Whether the result that the window shows is the one under review; it says so when it is not."""
        shown, reviewed = self._window.study.id, self._session.study
        if shown == reviewed and self._session.result in (None, fingerprint(self._window.prediction.provenance)):
            return True
        if shown == reviewed:
            words = f"Another result of {shown} is under review than this window shows; nothing was done."
        elif reviewed:
            words = f"{reviewed} is under review, and this window shows {shown}; nothing was done."
        else:
            words = f"No study is under review; choose {shown} in the panel Findings."
        self._window.show_message(words)
        return False


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

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._windows: list[SixViewsWindow] = []
        self._link: MainLink | None = None
        # A window has its own place on the screen, but never outlives the panel.
        self.destroyed.connect(partial(_close_all, self._windows))
        self.study_choice = choice("Study to show; it needs images and a result that are open")
        tip = "Show the study in six panes, in a window of its own, where the viewer stands"
        self.open_button = button("Open six views", tip, self.open_window)
        key, words = declared_key("planes", "picture")
        tip = f"{words.capitalize()} ({key})"
        self.planes_button = button("Three planes", tip, self._toggle_planes)
        self.hint = Note(EMPTY)
        self.fill(form(Study=self.study_choice), self.open_button, self.planes_button, self.hint)
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
        return tuple(self._viewer.dims.point) if self._viewer.dims.ndim == 3 else None

    def open_window(self) -> None:
        """Open the window on the chosen study where the main viewer stands; an open one is closed first."""
        study_id = self.study_choice.currentText()
        study, prediction = open_studies(self._viewer).get(study_id), open_predictions(self._viewer).get(study_id)
        if study is None or prediction is None:
            return
        self.close_window()
        window = SixViewsWindow(study, prediction, point=self._point())
        self._windows.append(window)
        self._link = MainLink(self._viewer, window)
        window.closed.connect(self._forget)
        window.show()

    def _toggle_planes(self) -> None:
        toggle_planes(self._viewer)

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


def _close_all(windows: list[SixViewsWindow], _object: object = None) -> None:
    for window in list(windows):
        window.close()
    windows.clear()
