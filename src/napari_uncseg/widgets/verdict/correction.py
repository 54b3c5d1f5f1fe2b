"""Correcting a segmentation: a copy to paint on, its drafts, what changed, and saving it beside the original."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakMethod, WeakSet

import napari
import numpy as np
from napari.layers import Labels, Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.review.corrections import (
    Correction,
    compare,
    corrections_in,
    load_correction,
    save_correction,
    words_on,
)
from napari_uncseg.review.drafts import CorrectionDraft, delete_draft, drafts_of
from napari_uncseg.review.findings import Finding
from napari_uncseg.review.session import Session
from napari_uncseg.viewer.corrections import (
    FILLED_OPACITY,
    LINE_OPACITY,
    corrected_labels,
    correction_layer,
    is_unsaved,
    keep_draft,
    start_correction,
    tag_of_correction,
    tell_volumes,
)
from napari_uncseg.viewer.edits import ClickTool, change_finding, fill_between, grow_from, is_painting
from napari_uncseg.viewer.picture import model_of, show_unsaved, shown_image
from napari_uncseg.viewer.tags import hide_layers, show_layers, tagged
from napari_uncseg.widgets.base import EDIT_DELAY_MS, Connections, Watch
from napari_uncseg.widgets.common import Note, button, column, row, weakly
from napari_uncseg.widgets.drop import qt_viewer_of
from napari_uncseg.widgets.reviewer import ask_reviewer
from napari_uncseg.widgets.verdict.tools import DraftOffer, EditTools


class CorrectionBox(QWidget):
    """Buttons to correct the result under review and to save that, and words on what has changed so far.

    What is painted is kept as a draft beside the result within half a second; a draft that was never saved is offered
    when its study is opened again. While the mouse paints, maps are hidden.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the copy is opened.
    session : Session
        Tells reviewer, folder and findings.

    Attributes
    ----------
    measured : Signal
        A :class:`Correction` whenever something changed; None when no correction is open.
    wanted : Signal
        There is something to be seen here: a draft on offer.
    """

    measured = Signal(object)
    wanted = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._prediction: Prediction | None = None
        self._measured_with: tuple[object, ...] = ()
        self._hidden: WeakSet[Layer] = WeakSet()
        self._click: ClickTool | None = None
        self._followed: WeakSet[Labels] = WeakSet()
        self.changes: Correction | None = None
        """What has been changed as far as it was measured; None without a correction."""
        copy = "Open a copy of the segmentation to paint on; the original is kept"
        self.correct_button = button("Correct the segmentation", copy, self.correct)
        self.save_button = button("Save correction", "Write the copy as a new file beside the result", self.save)
        self.tools = EditTools()
        self.offer = DraftOffer()
        self.told, self.message = Note(), Note()
        buttons = row(self.correct_button, self.save_button)
        self.setLayout(column(self.offer, self.tools, buttons, self.told, self.message))
        self.tools.add_button.clicked.connect(weakly(self.change_finding, True))
        self.tools.remove_button.clicked.connect(weakly(self.change_finding, False))
        self.tools.tissues.idClicked.connect(self._on_tissue)
        self.tools.brush_button.toggled.connect(self._apply_tools)
        self.tools.outline_button.toggled.connect(self._apply_tools)
        self.tools.grow_button.toggled.connect(self._on_grow)
        self.tools.fill_button.clicked.connect(self.fill_between)
        self.offer.take_button.clicked.connect(self._go_on)
        self.offer.discard_button.clicked.connect(self._discard)
        self._edits = Watch(self, self._measure, EDIT_DELAY_MS)
        self._connections, self._layer_connections = Connections(self), Connections(self)
        self._connections.connect(session.current_changed, self._on_finding)
        picture = qt_viewer_of(viewer)
        if picture is not None:
            picture.installEventFilter(self)
        self._measure()

    @property
    def unsaved(self) -> bool:
        """Whether a correction is open that no file holds."""
        layer, prediction = self._layer(), self._prediction
        return layer is not None and prediction is not None and is_unsaved(layer, prediction)

    def present(self, prediction: Prediction | None) -> None:
        """Follow the correction of another result, or another layer of it."""
        if prediction is not self._prediction:
            self.message.hide()
        self._prediction = prediction
        self._follow(self._layer())
        self._offer_draft()
        self._measure()

    def release(self) -> None:
        """Keep what is there, and follow no layer."""
        self._measure()
        self._follow(None)
        self._connections.disconnect_all()

    def eventFilter(self, picture: QObject | None, event: QEvent | None) -> bool:
        """Keep what was painted in the last moment before the window closes, wherever this box is folded away."""
        if event is not None and event.type() == QEvent.Type.Hide:
            self._measure()
        return super().eventFilter(picture, event)

    # What is asked for

    def correct(self) -> None:
        """Open the segmentation to be painted on, from the last correction if there is one."""
        layer = self._start()
        if layer is not None:
            self._viewer.layers.selection.active = layer
            layer.mode = "paint"

    def change_finding(self, add: bool) -> None:
        """Add the current finding to the region that is chosen, or remove it."""
        finding, findings, prediction = self._session.current, self._session.findings, self._prediction
        if finding is None or findings is None or prediction is None:
            self.message.fail("No finding is chosen; press N to go to one.", aloud=True)
            return
        layer = self._layer() or self._start(mode="pan_zoom")
        if layer is None:
            return
        region = self.tools.region
        count = change_finding(layer, prediction, findings, finding, region, add=add)
        done = f"{'added to' if add else 'removed from'} {region}"
        self._tell_edit(count, f"Finding {finding.rank} {done}", f"Finding {finding.rank} was {done} already")

    def fill_between(self) -> None:
        """Interpolate between painted slices of the plane on show."""
        layer = self._layer()
        if layer is None:
            self.message.fail("Nothing is painted yet; paint a shape in two slices first.", aloud=True)
            return
        with self.message.failing():
            count = fill_between(layer, self._viewer.dims.order[0])
            self._tell_edit(count, "Filled between slices", "No slices to fill: paint shapes above each other in two")

    def save(self) -> bool:
        """Write the correction beside the result; returns whether it is on disk."""
        prediction, layer, folder = self._prediction, self._layer(), self._folder()
        if prediction is None or layer is None:
            return False
        saved = False
        with self.message.failing(aloud=True):
            if folder is None:
                raise SaveError("No folder of results is chosen; choose it above.")
            ask_reviewer(self._session, self)
            labels = np.array(corrected_labels(layer, prediction))
            told = {"reviewer": self._session.reviewer, "comment": self._session.draft.comment}
            path = save_correction(prediction, labels, folder, findings=self._session.findings, **told)
            tag_of_correction(layer).saved = labels
            self._keep()
            self.message.tell(f"Saved as {path}")
            saved = True
        return saved

    # Drafts

    def _offer_draft(self) -> None:
        """Offer the latest draft of the result, unless it is open."""
        prediction, folder = self._prediction, self._folder()
        before, drafts = self.offer.draft, []
        if prediction is not None and folder is not None and self._layer() is None:
            drafts = drafts_of(folder, prediction)
        self.offer.present(drafts)
        if self.offer.draft is not None and (before is None or before.path != self.offer.draft.path):
            self.wanted.emit()
            show_info(f"{self._session.study}: {self.offer.note.text()}")

    def _go_on(self) -> None:
        self._start(draft=self.offer.draft)

    def _discard(self) -> None:
        if self.offer.draft is not None:
            with self.message.failing():
                delete_draft(self.offer.draft.path)
        self._offer_draft()

    def _keep(self) -> None:
        """Keep a draft of what is not saved, and say over the picture that it is not."""
        prediction, layer, folder = self._prediction, self._layer(), self._folder()
        words = ""
        if prediction is not None and layer is not None:
            unsaved = is_unsaved(layer, prediction)
            words = "Correction not saved" if unsaved else ""
            if folder is not None:
                with self.message.failing():
                    keep_draft(layer, prediction, folder, self._session.reviewer)
                    words += " · a draft is kept" if unsaved else ""
        show_unsaved(self._viewer, words)

    # The layer

    def _layer(self) -> Labels | None:
        return correction_layer(self._viewer, self._prediction) if self._prediction is not None else None

    def _folder(self) -> Path | None:
        results, prediction = self._session.results, self._prediction
        return results / prediction.study_id if results is not None and prediction is not None else None

    def _start(self, mode: str = "paint", draft: CorrectionDraft | None = None) -> Labels | None:
        """The layer that is corrected, opened when there is none; None when it cannot be."""
        prediction, folder = self._prediction, self._folder()
        if prediction is None:
            return None
        if self._layer() is None:
            earlier = corrections_in(folder, prediction.study_id) if folder is not None else []
            with self.message.failing():
                saved = load_correction(earlier[-1], prediction) if earlier else None
                start_correction(self._viewer, prediction, saved, draft).mode = mode
                origin = f" It starts from {earlier[-1].name}." if earlier else ""
                self.message.tell(f"Paint with napari's tools; Ctrl+Z undoes. The original is kept.{origin}")
                self.present(prediction)
        return self._layer()

    def _follow(self, layer: Labels | None) -> None:
        """Follow one layer and no other: its edits, the mode of its mouse, its keys of undo."""
        if layer is not None and layer in self._followed:
            return
        own = [layer] if layer is not None else []
        self._followed = WeakSet(own)
        self._edits.follow_edits(own)
        self._layer_connections.disconnect_all()
        if layer is not None:
            self._layer_connections.connect(layer.events.mode, self._on_mode)
            self._layer_connections.connect(layer.events.selected_label, self._on_mode)
            # napari's own keys of undo need the layer to be the active one.
            keys = {"Ctrl+Z": (layer.undo,), "Ctrl+Shift+Z": (layer.redo,)}
            self._layer_connections.bind_keys(self._viewer, None, keys)
            self._apply_tools()
        else:
            self.tools.grow_button.setChecked(False)
        self._on_mode()

    def _apply_tools(self, _on: bool = False) -> None:
        """Give the layer the brush and the look that are chosen."""
        layer = self._layer()
        if layer is not None:
            layer.n_edit_dimensions = 3 if self.tools.brush_button.isChecked() else 2
            contour = int(self.tools.outline_button.isChecked())
            if contour != layer.contour:  # thin lines are as faint as the layer, a filled one hides the image
                layer.contour, layer.opacity = contour, (FILLED_OPACITY, LINE_OPACITY)[contour]

    def _on_mode(self, _event: object = None) -> None:
        """Hide the maps while the mouse paints, and show them again."""
        layer = self._layer()
        if is_painting(layer):
            self.tools.grow_button.setChecked(False)
        edits = layer is not None and (is_painting(layer) or self.tools.grow_button.isChecked())
        self.tools.follow_tissue(layer.selected_label if layer is not None and edits else -1)
        if edits and self._prediction is not None:
            self._hidden |= hide_layers(each for each, _ in tagged(self._viewer, self._prediction.study_id, "map"))
        else:
            show_layers(self._hidden)
            self._hidden.clear()

    def _on_finding(self, finding: Finding | None) -> None:
        if finding is not None:
            self.tools.follow_region(finding.region)

    def _on_tissue(self, label: int) -> None:
        layer = self._start()
        if layer is not None:
            self._viewer.layers.selection.active = layer
            layer.selected_label = label
            if not self.tools.grow_button.isChecked():
                layer.mode = "paint"

    def _on_grow(self, on: bool) -> None:
        layer = self._start("pan_zoom") if on else self._layer()
        if self._click is not None:
            self._click.put_away()
            self._click = None
        if on and layer is not None:
            layer.mode = "pan_zoom"
            self._click = ClickTool(model_of(self._viewer), WeakMethod(self._grow))
        self._on_mode()

    def _grow(self, place: tuple[float, ...]) -> None:
        layer, image = self._layer(), shown_image(self._viewer)
        if layer is None:
            return
        with self.message.failing(aloud=True):
            if image is None:
                raise StudyError("No image is shown; show one to grow in.")
            share, reach = self.tools.tolerance.value() / 100, float(self.tools.reach.value())
            count = grow_from(layer, image, place, share, reach)
            self._tell_edit(count, f"Grown in {image.name}", "All of it has that label already")

    def _tell_edit(self, count: int, done: str, nothing: str) -> None:
        if self._prediction is not None and count:
            done = f"{done}: {count * self._prediction.voxel_ml:.2f} mL. Ctrl+Z undoes."
        self.message.tell(done if count else f"{nothing}.")
        if self.message.visibleRegion().isEmpty():  # it may still be read when the next study is open
            show_info(f"{self._session.study}: {self.message.text()}")

    def _measure(self) -> None:
        """Tell what has been changed so far, and keep it."""
        prediction, layer = self._prediction, self._layer()
        self.save_button.setEnabled(layer is not None)
        if prediction is None or layer is None:
            self.changes, self._measured_with = None, ()
            self.told.tell("")
            show_unsaved(self._viewer, "")
            self.measured.emit(None)
            return
        labels = corrected_labels(layer, prediction)
        seen = (prediction, layer, self._session.findings)
        if self.changes is not None and seen == self._measured_with and np.array_equal(labels, self.changes.labels):
            return
        self.changes, self._measured_with = None, seen
        with self.told.failing():
            self.changes = compare(prediction, labels, self._session.findings)
            self.told.tell(words_on(self.changes))
            tell_volumes(layer, self.changes)
        self._keep()
        self.measured.emit(self.changes)
