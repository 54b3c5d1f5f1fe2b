"""Keeps a six-view window and the main viewer at the same place, and the window's maps at the viewer's thresholds."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer

from napari_uncseg.compare.data import Array
from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.colormaps import EDGE_WIDTH
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.navigation import FINE, KEYS, NEXT, PREVIOUS, REAL_ERROR, UNSURE, session_of
from napari_uncseg.viewer.tags import tag_of, tagged
from napari_uncseg.widgets.compare.window import SixViewsWindow
from napari_uncseg.widgets.verdict.edit_watch import EditWatch

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
        self._window = weakref.ref(window)
        self._maps: list[weakref.ref[Layer]] = []
        self._moving = False
        self._saved: tuple[Path, Prediction, Array] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._lead)
        self._edits = EditWatch(window, self._take_correction)
        viewer.dims.events.point.connect(self._on_point)
        window.canvas.changed.connect(self._on_canvas)
        window.closed.connect(self.let_go)
        self._session = session_of(viewer)
        for what, step in ((NEXT, 1), (PREVIOUS, -1)):
            window.add_key(_qt_key(KEYS[what]), f"{what} finding", partial(self._step, step))
        for what in (REAL_ERROR, FINE, UNSURE):
            window.add_key(_qt_key(KEYS[what]), f"this finding: {what}", partial(self._judge, Judgement(what)))
        self.refresh()

    def refresh(self) -> None:
        """Look for the study's maps and its correction among the viewer's layers."""
        window = self._window()
        if window is None:
            return
        self._forget_maps()
        for layer, tag in tagged(self._viewer, window.study.id, "map"):
            if isinstance(layer, Image) and tag.source is window.prediction:
                layer.events.colormap.connect(self._on_colours)
                layer.events.contrast_limits.connect(self._on_colours)
                self._maps.append(weakref.ref(layer))
        self._on_colours()
        painted = correction_layer(self._viewer, window.prediction)
        self._edits.follow([painted] if painted is not None else [])
        self._take_correction()

    def let_go(self) -> None:
        """Stop following."""
        self._timer.stop()
        self._viewer.dims.events.point.disconnect(self._on_point)
        self._forget_maps()
        self._edits.follow([])

    def _on_point(self, event: object = None) -> None:
        window, point = self._window(), tuple(float(place) for place in self._viewer.dims.point)
        if window is not None and not self._moving and len(point) == 3:
            self._moving = True
            window.canvas.go((point[0], point[1], point[2]))
            self._moving = False

    def _on_canvas(self) -> None:
        if not self._moving:
            self._timer.start()

    def _lead(self) -> None:
        """Bring the main viewer to the crosshair."""
        window = self._window()
        if window is None or self._viewer.dims.ndim != 3:
            return
        point = window.canvas.sheet.cut.point
        if not np.allclose(point, self._viewer.dims.point):
            self._moving = True
            self._viewer.dims.point = point
            self._moving = False

    def _on_colours(self, event: object = None) -> None:
        """Cut the window's maps where the viewer's layers are cut."""
        window = self._window()
        if window is None:
            return
        thresholds: dict[str, float] = {}
        for reference in self._maps:
            layer = reference()
            tag = tag_of(layer) if layer is not None else None
            if isinstance(layer, Image) and tag is not None:
                thresholds[tag.name] = drawn_from(layer)
        sheet = window.canvas.sheet
        if dict(sheet.thresholds) != thresholds:
            window.canvas.show_sheet(replace(sheet, thresholds=thresholds))

    def _take_correction(self) -> None:
        window = self._window()
        if window is None:
            return
        painted = correction_layer(self._viewer, window.prediction)
        if painted is None:
            window.show_correction(self._saved_correction(window))
        else:
            window.show_correction(corrected_labels(painted, window.prediction))

    def _saved_correction(self, window: SixViewsWindow) -> Array | None:
        """The last correction that was saved beside the result; None without one."""
        results = self._session.results
        paths = corrections_in(results / window.study.id, window.study.id) if results is not None else []
        if not paths:
            return None
        if self._saved is None or self._saved[:2] != (paths[-1], window.prediction):
            try:
                labels = load_correction(paths[-1], window.prediction)
            except UncsegError as error:
                window.show_message(str(error))
                return None
            self._saved = (paths[-1], window.prediction, labels)
        return self._saved[2]

    def _step(self, by: int, _checked: bool = False) -> None:
        """Go to another finding; the main viewer leads, the window follows."""
        window = self._window()
        if window is None or not self._is_reviewed(window):
            return
        findings = self._session.findings
        if findings is None or not findings.items:
            window.show_message(f"There are no findings of {window.study.id}; the panel Threshold looks for them.")
            return
        self._session.step(by)

    def _judge(self, judgement: Judgement, _checked: bool = False) -> None:
        window, finding = self._window(), self._session.current
        if window is None or not self._is_reviewed(window):
            return
        if finding is None:
            window.show_message("No finding is chosen; go to one first.")
            return
        try:
            self._session.judge(finding, judgement)
        except UncsegError as error:
            window.show_message(str(error))
        else:
            window.show_message(f"{window.study.id}, finding {finding.rank}: {judgement}")

    def _is_reviewed(self, window: SixViewsWindow) -> bool:
        """Whether the result that the window shows is the one under review; it says so when it is not."""
        shown, reviewed = window.study.id, self._session.study
        same = self._session.result in (None, fingerprint(window.prediction.provenance))
        if shown == reviewed and same:
            return True
        if shown == reviewed:
            words = f"Another result of {shown} is under review than this window shows; nothing was done."
        elif reviewed:
            words = f"{reviewed} is under review, and this window shows {shown}; nothing was done."
        else:
            words = f"No study is under review; choose {shown} in the panel Threshold."
        window.show_message(words)
        return False

    def _forget_maps(self) -> None:
        for reference in self._maps:
            layer = reference()
            if layer is not None:
                layer.events.colormap.disconnect(self._on_colours)
                layer.events.contrast_limits.disconnect(self._on_colours)
        self._maps = []


def _qt_key(key: str) -> str:
    """A key as Qt writes it: napari joins with a hyphen."""
    return key.replace("-", "+")


def drawn_from(layer: Any) -> float:
    """Lowest value that an image layer draws: where its colours stop being transparent."""
    low, high = layer.contrast_limits
    controls, alpha = np.asarray(layer.colormap.controls), np.asarray(layer.colormap.colors)[:, 3]
    first = int(np.argmax(alpha > 0))
    edge = max(float(controls[first]) - EDGE_WIDTH, 0.0) if first else 0.0
    return round(float(low + edge * (high - low)), 6)
