"""The figures of the experiment ``case_study``: reliability before and after temperature scaling, and the triage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_uncseg.evaluation.recalibration import ECE_BINS, counts_of, fine_bins
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import Reliability, reliability
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.reporting.plot_style import GREY, legend_below, new_figure, style
from napari_uncseg.reporting.plots import reliability_figure
from napari_uncseg.uncertainty.recalibration.models import IDENTITY
from uncseg_training.experiments import harness
from uncseg_training.experiments.case_study_tables import NATS, Judged
from uncseg_training.experiments.case_study_triage import triage

VOXELS = VoxelSet.TUMOUR
CERTAIN, UNCERTAIN = "#0072B2", "#D55E00"


def curve_of(judged: Judged, region: Region, *, scaled: bool = False) -> tuple[Reliability, float, np.ndarray]:
    """Reliability of a region near the tumour, as predicted or recalibrated; its error, and that of each study."""
    changes = judged.changes(region) if scaled else {}
    counts = {name: counts_of(statistic) for name, statistic in judged.record.steps[region, VOXELS].cases.items()}
    bins = [fine_bins(changes.get(name, IDENTITY), each) for name, each in counts.items()]
    pooled = reliability({key: np.sum([each[key] for each in bins], axis=0) for key in bins[0]}, ECE_BINS)
    cases = np.array([reliability(each, ECE_BINS).observed for each in bins])
    _, error = judged.calibration_error(region, VOXELS, scaled=scaled)
    return pooled, error, cases


def draw_reliability(judged: Judged, path: Path, *, scaled: bool) -> None:
    """Reliability of the three regions.

    Parameters
    ----------
    judged : Judged
    path : Path
        Picture to write.
    scaled : bool
        After temperature scaling.
    """
    curves = {region: curve_of(judged, region, scaled=scaled) for region in REGIONS}
    found = {region: judged.temperature(region) for region in REGIONS} if scaled else {}
    after = f"scaled ({', '.join(f'{region} T = {value:.2f}' for region, value in found.items() if value)})"
    title = f"{judged.network}, {judged.members}, {after if scaled else 'as predicted'}: {VOXEL_SET_TITLES[VOXELS]}"
    pooled = {region: curve for region, (curve, _, _) in curves.items()}
    errors = {region: error for region, (_, error, _) in curves.items()}
    cases = {region: each for region, (_, _, each) in curves.items()}
    harness.write_figure(reliability_figure(pooled, title, errors, cases), path)


def draw_triage(each: Sequence[Judged], path: Path) -> None:
    """Dice of WT against the mean entropy, with the threshold and the medians of both sides; a panel per network."""
    with style():
        figure = new_figure(5.2 * len(each), 4.2)
        axes = figure.subplots(1, len(each), squeeze=False, sharey=True)[0]
        for axis, judged in zip(axes, each, strict=True):
            axis.set(
                ylim=(-0.02, 1.02), xlabel="mean WT entropy, predicted tumour and 5 mm (nats)", title=judged.network
            )
            found = triage(judged)
            if found is None:
                axis.text(0.5, 0.5, "nothing to show", transform=axis.transAxes, ha="center", va="center", color=GREY)
                continue
            drawn = np.isfinite(found.studies["score"])
            scores, dice = found.studies["score"][drawn] * NATS, found.studies["dice"][drawn]
            threshold = found.threshold * NATS
            certain = scores <= found.studies["threshold"][drawn] * NATS
            for side, colour, marker, word, median in (
                (certain, CERTAIN, "o", "certain", found.test.medians[0]),
                (~certain, UNCERTAIN, "^", "uncertain", found.test.medians[1]),
            ):
                if not side.any():
                    continue
                axis.scatter(scores[side], dice[side], s=26, color=colour, marker=marker, alpha=0.8, lw=0, label=word)
                axis.hlines(
                    median, scores[side].min(), scores[side].max(), color=colour, lw=1.6, label=f"median, {word}"
                )
            if np.isfinite(threshold):
                axis.axvline(threshold, color=GREY, lw=1.2, ls="--", label="median of the other parts")
            missing = int((~drawn).sum())
            if missing:
                axis.text(0.02, 0.02, f"nothing predicted: {missing}", transform=axis.transAxes, fontsize=8)
        axes[0].set_ylabel("Dice WT")
        legend_below(figure, axes)
        figure.suptitle("Triage by entropy with MC dropout")
        harness.write_figure(figure, path)
