"""Keeps a six-view window and the main viewer at the same place, and the window's maps at the viewer's thresholds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject
from superqt.utils import QSignalThrottler

from napari_uncseg.compare.data import Array
from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.colormaps import EDGE_WIDTH
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import tagged
from napari_uncseg.widgets.compare.six_views import SixViewsWindow
from napari_uncseg.widgets.connections import Connections
from napari_uncseg.widgets.verdict.correction import EditWatch

DELAY_MS = 40
"""How long after a move of the crosshair the main viewer follows: drawing it takes longer than drawing the panes."""


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
        self._moving = False
        self._saved: tuple[Path, Prediction, Array] | None = None
        self._connections, self._maps = Connections(window), Connections(window)
        self._edits = EditWatch(window, self._take_correction)
        self._soon = QSignalThrottler(parent=self)
        self._soon.setTimeout(DELAY_MS)
        self._soon.triggered.connect(self._lead)
        self._connections.connect(viewer.dims.events.point, self._on_point)
        window.canvas.changed.connect(self._on_canvas)
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
        self._edits.follow_layers([painted] if painted is not None else [])
        self._take_correction()

    def release(self) -> None:
        """Stop following."""
        self._soon.cancel()
        self._connections.disconnect_all()
        self._maps.disconnect_all()
        self._edits.follow(())

    def _on_point(self) -> None:
        point = tuple(float(place) for place in self._viewer.dims.point)
        if not self._moving and len(point) == 3:
            self._moving = True
            self._window.canvas.go((point[0], point[1], point[2]))
            self._moving = False

    def _on_canvas(self) -> None:
        if not self._moving:
            self._soon.throttle()

    def _lead(self) -> None:
        """Bring the main viewer to the crosshair."""
        point = self._window.canvas.state.cut.point
        if self._viewer.dims.ndim == 3 and not np.allclose(point, self._viewer.dims.point):
            self._moving = True
            self._viewer.dims.point = point
            self._moving = False

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
        if painted is None:
            window.show_correction(self._saved_correction())
        else:
            window.show_correction(corrected_labels(painted, window.prediction))

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
                window.show_message(str(error))
                return None
        return self._saved[2]

    def _step(self, by: int, _checked: bool = False) -> None:
        if self._is_reviewed():
            findings = self._session.findings
            if findings is None or not findings.items:
                shown = self._window.study.id
                self._window.show_message(f"There are no findings of {shown}; the panel Findings looks for them.")
            self._session.step(by)

    def _judge(self, judgement: Judgement, _checked: bool = False) -> None:
        if not self._is_reviewed():
            return
        finding = self._session.current
        words = "No finding is chosen; go to one first."
        if finding is not None:
            words = f"{self._window.study.id}, finding {finding.rank}: {judgement}"
            try:
                self._session.judge(finding, judgement)
            except UncsegError as error:
                words = str(error)
        self._window.show_message(words)

    def _is_reviewed(self) -> bool:
        """Whether the result that the window shows is the one under review; it says so when it is not."""
        shown, reviewed = self._window.study.id, self._session.study
        same = self._session.result in (None, fingerprint(self._window.prediction.provenance))
        if shown == reviewed and same:
            return True
        if shown == reviewed:
            words = f"Another result of {shown} is under review than this window shows; nothing was done."
        elif reviewed:
            words = f"{reviewed} is under review, and this window shows {shown}; nothing was done."
        else:
            words = f"No study is under review; choose {shown} in the panel Findings."
        self._window.show_message(words)
        return False


def drawn_from(layer: Any) -> float:
    """Lowest value that an image layer draws: where its colours stop being transparent."""
    low, high = layer.contrast_limits
    controls, alpha = np.asarray(layer.colormap.controls), np.asarray(layer.colormap.colors)[:, 3]
    first = int(np.argmax(alpha > 0))
    edge = max(float(controls[first]) - EDGE_WIDTH, 0.0) if first else 0.0
    return round(float(low + edge * (high - low)), 6)
