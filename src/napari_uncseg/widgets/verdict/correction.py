"""Correcting a segmentation: opening a copy to paint on, telling what changed, and saving it beside the original."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import napari
from napari.layers import Labels, Layer
from qtpy.QtWidgets import QWidget

from napari_uncseg.errors import SaveError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.review.corrections import Correction, compare, corrections_in, load_correction, save_correction
from napari_uncseg.review.session import Session
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer, start_correction
from napari_uncseg.widgets.base import Watch
from napari_uncseg.widgets.common import Note, button, column, row

EDIT_DELAY_MS = 400
"""How long after the last change of labels a panel hears of it."""


class EditWatch(Watch):
    """Calls a method some time after labels changed; scrolling counts, for napari tells of undo no better.

    Parameters
    ----------
    owner : QWidget
        Owner of the method.
    changed : callable
        Bound method.
    """

    def __init__(self, owner: QWidget, changed: Callable[[], None]) -> None:
        super().__init__(owner, changed, EDIT_DELAY_MS)

    def follow_layers(self, layers: Iterable[Layer]) -> None:
        """Watch these layers and no others."""
        self.follow(emitter for layer in layers for emitter in (layer.events.set_data, layer.events.paint))


class CorrectionBox(QWidget):
    """Buttons to correct the result under review and to save that, and words on what has changed so far.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the copy is opened.
    session : Session
        Tells reviewer, folder and findings.
    """

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session
        self._prediction: Prediction | None = None
        self.changes: Correction | None = None
        """What has been changed as far as it was measured; None without a correction."""
        copy = "Open a copy of the segmentation to paint on; the original is kept"
        self.correct_button = button("Correct the segmentation", copy, self.correct)
        self.save_button = button("Save correction", "Write the copy as a new file beside the result", self.save)
        self.told, self.message = Note(), Note()
        self.setLayout(column(row(self.correct_button, self.save_button), self.told, self.message))
        self._edits = EditWatch(self, self._measure)
        self._measure()

    def present(self, prediction: Prediction | None) -> None:
        """Follow the correction of another result, or another layer of it."""
        if prediction is not self._prediction:
            self.message.hide()
        self._prediction = prediction
        layer = self._layer()
        self._edits.follow_layers([layer] if layer is not None else [])
        self._measure()

    def release(self) -> None:
        """Follow no layer."""
        self._edits.follow(())

    def correct(self) -> None:
        """Open the segmentation to be painted on, from the last correction if there is one."""
        prediction = self._prediction
        if prediction is None:
            return
        folder = self._folder()
        earlier = corrections_in(folder, prediction.study_id) if folder is not None else []
        with self.message.failing():
            start_correction(self._viewer, prediction, load_correction(earlier[-1], prediction) if earlier else None)
            origin = f" It starts from {earlier[-1].name}." if earlier else ""
            self.message.tell(f"Paint with napari's tools; Ctrl+Z undoes. The original is kept.{origin}")
            self.present(prediction)

    def save(self) -> None:
        """Write the correction beside the result."""
        prediction, layer, folder = self._prediction, self._layer(), self._folder()
        if prediction is None or layer is None:
            return
        with self.message.failing():
            if folder is None:
                raise SaveError("No folder of results is chosen; choose it above.")
            if not self._session.reviewer:
                raise SaveError("No reviewer is named; write your name above.")
            path = save_correction(
                prediction,
                corrected_labels(layer, prediction),
                folder,
                reviewer=self._session.reviewer,
                findings=self._session.findings,
                comment=self._session.draft.comment,
            )
            self.message.tell(f"Saved as {path}")

    def _layer(self) -> Labels | None:
        return correction_layer(self._viewer, self._prediction) if self._prediction is not None else None

    def _folder(self) -> Path | None:
        results, prediction = self._session.results, self._prediction
        return results / prediction.study_id if results is not None and prediction is not None else None

    def _measure(self) -> None:
        """Tell what has been changed so far."""
        prediction, layer = self._prediction, self._layer()
        self.changes = None
        self.save_button.setEnabled(layer is not None)
        self.told.tell("")
        if prediction is not None and layer is not None:
            with self.told.failing():
                self.changes = compare(prediction, corrected_labels(layer, prediction), self._session.findings)
                self.told.tell(_tell_changes(self.changes))


def _tell_changes(changes: Correction) -> str:
    if not changes.voxels:
        return "Nothing is changed yet."
    regions = [
        f"{region} {each.before_ml:.2f} → {each.after_ml:.2f} mL (+{each.added_ml:.2f} −{each.removed_ml:.2f})"
        for region, each in changes.regions.items()
        if each.added_ml or each.removed_ml
    ]
    ranks = ", ".join(str(rank) for rank in changes.touched)
    what = "Finding" if len(changes.touched) == 1 else "Findings"
    touched = f" {what} touched: {ranks}." if ranks else " No finding touched."
    return f"Changed: {changes.changed_ml:.2f} mL ({changes.voxels} voxels). {'; '.join(regions)}.{touched}"
