"""Correcting a segmentation: opening a copy to paint on, telling what changed, and saving it beside the original."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.layers import Labels
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS
from napari_uncseg.review.corrections import Correction, compare, corrections_in, load_correction, save_correction
from napari_uncseg.review.session import Session
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer, start_correction
from napari_uncseg.widgets.common import note_label, show_failure, show_note
from napari_uncseg.widgets.verdict.edit_watch import EditWatch


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
        self._changes: Correction | None = None
        self.correct_button = QPushButton("Correct the segmentation")
        self.save_button = QPushButton("Save correction")
        self.correct_button.setToolTip("Open a copy of the segmentation to paint on; the original is kept")
        self.save_button.setToolTip("Write the copy as a new file beside the result")
        self.told = note_label()
        self.message = note_label()
        buttons = QHBoxLayout()
        buttons.addWidget(self.correct_button)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.told)
        layout.addWidget(self.message)
        self.message.hide()
        self.correct_button.clicked.connect(self.correct)
        self.save_button.clicked.connect(self.save)
        self._edits = EditWatch(self, self._measure)
        self._measure()

    @property
    def changes(self) -> Correction | None:
        """What has been changed as far as it was measured; None without a correction."""
        return self._changes

    def present(self, prediction: Prediction | None) -> None:
        """Follow the correction of another result, or another layer of it."""
        if prediction is not self._prediction:
            self.message.hide()
        self._prediction = prediction
        layer = self._layer()
        self._edits.follow([layer] if layer is not None else [])
        self._measure()

    def let_go(self) -> None:
        """Follow no layer."""
        self._edits.follow(())

    def correct(self) -> None:
        """Open the segmentation to be painted on, from the last correction if there is one."""
        prediction = self._prediction
        if prediction is None:
            return
        folder = self._folder()
        earlier = corrections_in(folder, prediction.study_id) if folder is not None else []
        try:
            labels = load_correction(earlier[-1], prediction) if earlier else None
        except UncsegError as error:
            show_failure(self.message, str(error))
            return
        start_correction(self._viewer, prediction, labels)
        origin = f" It starts from {earlier[-1].name}." if earlier else ""
        show_note(self.message, f"Paint with napari's tools; Ctrl+Z undoes. The original is kept.{origin}")
        self.present(prediction)

    def save(self) -> None:
        """Write the correction beside the result."""
        prediction, layer, folder = self._prediction, self._layer(), self._folder()
        if prediction is None or layer is None:
            return
        if folder is None:
            show_failure(self.message, "No folder of results is chosen; choose it above.")
            return
        if not self._session.reviewer:
            show_failure(self.message, "No reviewer is named; write your name above.")
            return
        try:
            path = save_correction(
                prediction,
                corrected_labels(layer, prediction),
                folder,
                reviewer=self._session.reviewer,
                findings=self._session.findings,
                comment=self._session.draft.comment,
            )
        except UncsegError as error:
            show_failure(self.message, str(error))
            return
        show_note(self.message, f"Saved as {path}")

    def _layer(self) -> Labels | None:
        return correction_layer(self._viewer, self._prediction) if self._prediction is not None else None

    def _folder(self) -> Path | None:
        results, prediction = self._session.results, self._prediction
        return results / prediction.study_id if results is not None and prediction is not None else None

    def _measure(self) -> None:
        """Tell what has been changed so far."""
        prediction, layer = self._prediction, self._layer()
        self._changes = None
        self.save_button.setEnabled(layer is not None)
        self.told.setVisible(layer is not None)
        if prediction is None or layer is None:
            return
        try:
            self._changes = compare(prediction, corrected_labels(layer, prediction), self._session.findings)
        except UncsegError as error:
            show_failure(self.told, str(error))
            return
        show_note(self.told, _tell_changes(self._changes))


def _tell_changes(changes: Correction) -> str:
    if not changes.voxels:
        return "Nothing is changed yet."
    regions = []
    for region in REGIONS:
        change = changes.regions[region]
        if change.added_ml or change.removed_ml:
            regions.append(
                f"{region} {change.before_ml:.2f} → {change.after_ml:.2f} mL (+{change.added_ml:.2f} "
                f"−{change.removed_ml:.2f})"
            )
    ranks = ", ".join(str(rank) for rank in changes.touched)
    touched = f" Findings touched: {ranks}." if ranks else " No finding touched."
    return f"Changed: {changes.changed_ml:.2f} mL ({changes.voxels} voxels). {'; '.join(regions)}.{touched}"
