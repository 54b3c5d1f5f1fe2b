"""*Evaluate this study*: the result of a study against its reference, region by region."""

from __future__ import annotations

from functools import partial

import napari

from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.base import EDIT_DELAY_MS, Watch
from napari_uncseg.widgets.common import Note, choice, form, offer
from napari_uncseg.widgets.evaluate.measure import (
    Evaluated,
    Inputs,
    evaluate,
    inputs_of,
    missing_sentence,
    references_of,
)
from napari_uncseg.widgets.evaluate.results import EvaluationResults
from napari_uncseg.widgets.job import JobPanel

_TIP = "Compare the result with the reference, region by region"


class EvaluateWidget(JobPanel):
    """Panel of an evaluation, which is bound to the study it was started on and to copies of its labels.

    Results are kept by study; one that no longer fits what is open is marked as such.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its studies, results and references are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "an evaluation", "Evaluate this study", _TIP)
        self._done: dict[str, Evaluated] = {}
        self.study_choice = choice("Study whose result is evaluated", changed=self._on_study)
        tip = "Expert segmentation that the result is compared with"
        self.reference_choice = choice(tip, changed=self._on_reference)
        self.hint = Note()
        self.results = EvaluationResults(viewer)
        boxes = form(Study=self.study_choice, Reference=self.reference_choice)
        self.fill(boxes, self.hint, self.bar, self.results, stretched=self.results)
        self._edits = Watch(self, self._compare, EDIT_DELAY_MS)
        self.watch_layers()
        self.refresh()

    def refresh(self) -> None:
        """Offer the studies that are open, and drop results of those that are not."""
        ids = list(dict.fromkeys([*open_studies(self._viewer), *open_predictions(self._viewer)]))
        chosen = self.study_choice.currentText()
        ready = [study_id for study_id in ids if references_of(self._viewer, study_id)]
        self._done = {study_id: done for study_id, done in self._done.items() if study_id in ids}
        offer(self.study_choice, ids, chosen if chosen in ids else next(iter(ready), None), or_first=True)
        self._on_study()

    def run(self) -> None:
        """Evaluate the chosen study against the chosen reference."""
        inputs = self._inputs()
        if not self.running and inputs is not None:
            self.bar.start(partial(evaluate, inputs.snapshot(), inputs.stamp))

    def _inputs(self) -> Inputs | None:
        """What would be evaluated now."""
        reference = self.reference_choice.currentData()
        return inputs_of(self._viewer, self.study_choice.currentText(), reference) if reference is not None else None

    def _on_study(self, _index: int = 0) -> None:
        """Offer the references of the chosen study and show what is known of it."""
        study_id, before = self.study_choice.currentText(), self.reference_choice.currentData()
        found = references_of(self._viewer, study_id)
        same = (each for each in found if before is not None and each.layer is before.layer)
        chosen = next(same, next((each for each in found if each.certain), None))
        offer(self.reference_choice, {each: each.layer.name for each in found}, chosen)
        labels = [layer for layer, _ in tagged(self._viewer, study_id, "segmentation")]
        self._edits.follow_edits([*labels, *(each.layer for each in found)])
        done = self._done.get(study_id)
        if done is None:
            self.results.clear()
        elif self.results.evaluated is not done:
            self.results.present(done)
        self._on_reference()

    def _on_reference(self, _index: int = 0) -> None:
        sentence = missing_sentence(self._viewer, self.study_choice.currentText())
        if not sentence and self.reference_choice.currentIndex() < 0:
            sentence = f"Choose the label file that is the reference of {self.study_choice.currentText()}."
        self.hint.tell(sentence)
        self.reference_choice.setPlaceholderText("choose …" if self.reference_choice.count() else "none is open")
        self._on_running()
        self._compare()

    def _compare(self) -> None:
        """Say whether the result on show is still that of what is open."""
        done, inputs = self.results.evaluated, self._inputs()
        if done is not None:
            self.results.stale.setVisible(inputs is None or done.stamp != inputs.stamp)

    def _on_returned(self, evaluated: Evaluated) -> None:
        self._done[evaluated.study_id] = evaluated
        self.refresh()

    def _on_running(self) -> None:
        running, ready = self.running, self.reference_choice.currentIndex() >= 0
        self.bar.cancel_button.setVisible(running)
        self.bar.run_button.setEnabled(not running and ready)
        self.bar.run_button.setToolTip(self.hint.text() or _TIP)
        self.study_choice.setEnabled(not running and self.study_choice.count() > 0)
        self.reference_choice.setEnabled(not running and self.reference_choice.count() > 0)
