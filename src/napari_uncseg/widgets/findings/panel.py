"""*Findings*: hide a map below a value, read what lies above it, and walk through the places it flags."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import napari
from superqt.utils import signals_blocked

from napari_uncseg.errors import UncsegError
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.review.threshold_sweep import (
    ThresholdSweep,
    reasons_of,
    start_threshold,
    sweep_thresholds,
    value_histogram,
)
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.review.watershed import STEPS
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values
from napari_uncseg.viewer.bindings import FINDING_KEYS
from napari_uncseg.viewer.colormaps import map_colormap
from napari_uncseg.viewer.layers import show_only_map
from napari_uncseg.viewer.navigation import FindingOutline, frame_finding, review, session_of
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.common import Note, heading
from napari_uncseg.widgets.findings.box import FindingsBox
from napari_uncseg.widgets.findings.histogram_slider import HistogramSlider, ThresholdCurve
from napari_uncseg.widgets.findings.map_choice import Chosen, Finder, MapChoice
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.reviewer import ask_reviewer

EMPTY = "No map is open. Run Segment with uncertainty, or open the folder that uncseg predict wrote."


class FindingsWidget(Panel):
    """Panel with a slider over one map: below it nothing is drawn, above it voxels are flagged and become findings.

    The slider changes the layer's colormap alone; what is flagged was counted when the map was chosen, and the
    findings follow from a thread.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its predictions are offered.
    host : Panel, optional
        As of :class:`Panel`; what is cut and counted is then folded away.
    """

    def __init__(self, viewer: napari.viewer.Viewer, host: Panel | None = None) -> None:
        super().__init__(viewer, host)
        self._session = session_of(viewer)
        self._chosen: Chosen | None = None
        self.sweep: ThresholdSweep | None = None
        """What each threshold of the chosen map flags."""
        self._outline = FindingOutline(viewer)
        self.choice = MapChoice(viewer, self._session)
        self.slider = HistogramSlider()
        self.volume = heading("")
        self.share, self.against, self.explanation, self.hint = Note(), Note(), Note(), Note(EMPTY)
        self.curve = ThresholdCurve()
        self.findings = FindingsBox()
        self._finder = Finder(self)
        cut = (self.choice, self.slider, self.volume, self.share, self.against, self.curve, self.explanation)
        tip = "Which map is cut, at which value and in which voxels; what that flags"
        self.details = Fold("Map and threshold", tip, *cut, unfolded=host is None)
        self.fill(self.hint, self.findings, self.details, stretched=self.findings)
        self.choice.changed.connect(self._on_choice)
        self.choice.asked.connect(self._show_chosen)
        self.slider.valueChanged.connect(self._on_slider)
        self._finder.found.connect(self._on_found)
        self._finder.failed.connect(self.findings.message.fail)
        self.findings.chosen.connect(self._session.go_to)
        self.findings.next_button.clicked.connect(partial(self._session.step, 1))
        self.findings.previous_button.clicked.connect(partial(self._session.step, -1))
        self.findings.judgement_requested.connect(self._judge)
        self._connections.connect(self._session.current_changed, self._on_current)
        self._connections.connect(self._session.study_changed, self._on_study)
        self._connections.connect(self._session.verdicts_changed, self._on_verdicts)
        actions: dict[str, tuple[Any, ...]] = {
            "next": (self._session.step, 1),
            "previous": (self._session.step, -1),
            "overlay": (self._toggle_overlay,),
            **{each.replace(" ", "_"): (self.findings.toggle, each) for each in Judgement},
        }
        keys = {FINDING_KEYS[what]: action for what, action in actions.items()}
        self._connections.bind_keys(viewer, host or self, keys)
        self.watch_layers()
        self.refresh()

    @property
    def threshold(self) -> float:
        """Where the slider stands, in the map's unit."""
        return self.slider.value()

    @property
    def searching(self) -> bool:
        """Whether the findings of the slider's threshold are still to come."""
        return self._finder.busy

    def refresh(self) -> None:
        """Offer the maps of the open predictions; stay at the chosen one, or at its successor after a new run."""
        offered = self.choice.refresh()
        for widget in (self.findings, self.details):
            widget.setVisible(offered)
        self.hint.setVisible(not open_predictions(self._viewer))
        self._on_choice()

    def release(self) -> None:
        """Search no more."""
        super().release()
        self._finder.drop()

    # What is chosen

    def _on_study(self, study_id: str) -> None:
        """Go to another study that is under review."""
        if study_id != self.choice.study:
            self.choice.refresh(study_id)
            self._on_choice()

    def _show_chosen(self) -> None:
        if self._chosen is not None:
            show_only_map(self._viewer, self._chosen.prediction, self._chosen.key)

    def _on_choice(self) -> None:
        """Count the chosen map in the chosen voxels, and put the slider where it stood for this map."""
        chosen = self.choice.choose()
        before, self._chosen = self._chosen, chosen
        if before is chosen and chosen is not None:
            return
        self.findings.present(None, {})
        self._outline.clear()
        if chosen is None:
            self.sweep = None
            self._finder.drop()
            self._outline.remove()
            self._session.present(None)  # no key may judge what is no longer on the screen
            self.against.hide()
            self.curve.hide()
            return
        prediction, key = chosen.prediction, chosen.key
        self.findings.study.setText(prediction.study_id)
        self.findings.tell_doubts(reasons_of(prediction))
        with self.findings.message.failing():
            review(self._viewer, prediction)
        same = before is not None and (before.prediction.study_id, before.key) == (prediction.study_id, key)
        if not same:
            self._show_chosen()
        upper = map_upper(prediction, key)
        # A new run of the same study keeps the threshold.
        self.sweep = sweep_thresholds(prediction, key, chosen.within, chosen.reference)
        known = self._session.state.thresholds.get(str(key))
        value = self.threshold if same else start_threshold(prediction, self.sweep) if known is None else known
        values = map_values(prediction, key)
        counts = value_histogram(values if chosen.within is None else values[chosen.within], upper)
        colours = map_colormap(key.measure, 0.0)
        with signals_blocked(self.slider):
            self.slider.present(counts, upper, lambda at: tuple(colours.map(at)[0][:3]))
            self.slider.setValue(value)
        self.curve.present(self.sweep)
        unit = f" ({key.unit})" if key.unit else ""
        self.explanation.tell(f"{prediction.title(key)}: 0 to {upper:.2f}{unit}. Below the threshold nothing is drawn.")
        self._session.change(map=str(key), voxel_set=chosen.voxel_set)
        self._session.present(None)
        self._on_threshold(value)

    # The slider

    def _on_slider(self, value: float) -> None:
        """Search while the picture is painted: afterwards would be as late as painting takes."""
        self._on_threshold(value)
        self._finder.start()

    def _on_threshold(self, value: float) -> None:
        """Follow the slider: colours and numbers at once, findings from their thread."""
        chosen, sweep = self._chosen, self.sweep
        if chosen is None or sweep is None:
            return
        # The numbers belong to the nearest step; the colours are cut at the same one.
        step = sweep.step(value)
        chosen.layer.colormap = map_colormap(chosen.key.measure, step / STEPS)
        threshold = float(sweep.thresholds[step])
        risk = chosen.key.is_probability_of_error
        self.volume.setText(
            f"{sweep.volume_ml(step):.1f} mL with "
            + (f"error risk of {threshold * 100:.3g} % or more" if risk else f"a value of {threshold:.3f} or more")
        )
        share = sweep.tumour_share(step)
        flagged = f"{share:.0%} of the predicted tumour is flagged."
        self.share.tell("No tumour was predicted." if math.isnan(share) else flagged)
        self.against.tell(_against(sweep, step))
        self.curve.place(step)
        self._finder.ask(chosen, threshold)

    # Findings

    def _on_found(self, chosen: Chosen, findings: Findings) -> None:
        if chosen is not self._chosen:
            return
        self._session.change(threshold=findings.threshold)
        self._session.present(findings)
        self.findings.present(findings, self._session.judgements())
        self._show_current(self._session.current, move=False)

    def _on_current(self, finding: Finding | None) -> None:
        self._show_current(finding, move=True)

    def _show_current(self, finding: Finding | None, *, move: bool) -> None:
        chosen, findings = self._chosen, self._session.findings
        self.findings.show_current(finding, self._session.judgement_of(finding) if finding is not None else None)
        if chosen is None or findings is None or finding is None:
            self._outline.clear()
            return
        self._outline.show(chosen.prediction, findings, finding)
        if move:
            frame_finding(self._viewer, chosen.prediction, findings, finding)

    def _judge(self, judgement: Judgement | None) -> None:
        finding = self._session.current
        if finding is None:
            return
        try:
            ask_reviewer(self._session, self)
            self._session.judge(finding, judgement)
        except UncsegError as error:
            self.findings.show_current(finding, self._session.judgement_of(finding))
            self.findings.message.fail(error, aloud=True)

    def _on_verdicts(self) -> None:
        if self._session.findings is not None:
            self.findings.mark(self._session.judgements())
            self._show_current(self._session.current, move=False)

    def _toggle_overlay(self) -> None:
        if self._chosen is not None:
            self._chosen.layer.visible = not self._chosen.layer.visible


def _against(sweep: ThresholdSweep, step: int) -> str:
    """What a threshold is worth against the reference; nothing without one."""
    if sweep.errors is None:
        return ""
    caught, precision = sweep.errors_caught(step), sweep.precision(step)
    parts = [
        "No errors to catch." if math.isnan(caught) else f"{caught:.0%} of the errors are flagged",
        "" if math.isnan(precision) else f"{precision:.0%} of what is flagged is an error",
        f"Dice {sweep.filtered_dice()[step]:.3f} without the flagged voxels, {sweep.dice:.3f} with them",
    ]
    return "; ".join(part for part in parts if part) + f" ({sweep.key.region})."
