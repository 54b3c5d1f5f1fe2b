"""Tables of the evaluation's report, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from napari_uncseg.evaluation.expected_dice import POOR_WT
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.summary import Summary
from napari_uncseg.evaluation.table import by_case
from napari_uncseg.labels import REGION_TITLES, Region
from napari_uncseg.metrics.statistics import Interval
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.reporting.page import DASH, Cell, Grid, number, signed, span
from napari_uncseg.reporting.plot_style import REGION_COLOURS
from napari_uncseg.uncertainty.expected_dice import COVERAGE, Estimate


def answer(summary: Summary) -> Grid:
    """Per region: overlap, discrimination in brain and tumour, calibration."""
    name, sets = summary.leading_map, (VoxelSet.BRAIN, VoxelSet.TUMOUR)
    head = ["region", "Dice", "HD95 (mm)", "lesion-wise Dice", "lesion-wise HD95 (mm)"]
    head += [f"AUROC of {name}, {voxels}" for voxels in sets if name]
    calibrated = (summary.estimates["metric"] == "ece_classwise").any()
    head += [f"ECE, {voxels}" for voxels in sets if calibrated]
    rows = []
    for region in summary.regions:
        row = [
            Cell(str(region), REGION_TITLES[region], REGION_COLOURS[region]),
            _estimated(summary.estimate("dice", region)),
            _distance(summary, region),
            _estimated(summary.estimate("lesionwise_2023_dice", region)),
            _estimated(summary.estimate("lesionwise_2023_hd95", region), 1),
        ]
        row += [_discriminated(summary, region, name, voxels) for voxels in sets if name]
        row += [
            _estimated(summary.estimate("ece_classwise", region, voxel_set=voxels)) for voxels in sets if calibrated
        ]
        rows.append(row)
    return Grid.of(head, rows)


def forecast_grid(summary: Summary) -> Grid:
    """How good expected Dice is: per region the order of the studies, its error, and its intervals."""
    head = ["region", "n", "Spearman with Dice", "… over mean entropy", "… over volume", "mean absolute error"]
    head += [
        "… of always the mean",
        f"interval holds ({COVERAGE:.0%} wanted)",
        "its mean width",
        "width of one for all",
    ]
    rows = []
    for each in summary.forecasts:
        row = [Cell(str(each.region), REGION_TITLES[each.region], REGION_COLOURS[each.region]), Cell(str(each.count))]
        row += [_with_interval(part, signed) for part in (each.spearman, each.over_entropy, each.over_volume)]
        row += [_with_interval(part) for part in (each.error, each.error_of_mean, each.held)]
        rows.append([*row, Cell(number(each.width, 3)), Cell(number(each.constant_width, 3))])
    return Grid.of(head, rows)


def review_lines(summary: Summary) -> list[str]:
    """Whom *needs review* marks, how many of the poor studies, and each one that slips through, a sentence each."""
    found = summary.review
    if found is None:
        return ["No result tells its expected Dice, so nothing is said of it."]
    rule = "as the results say"
    if found.bound is not None:
        rule = f"an expected Dice of the whole tumour below {found.bound:.2f}, or nothing predicted"
    marked, poor = found.studies["marked"], found.studies["dice"] < POOR_WT
    lines = [f"Needs review ({rule}): {marked.sum()} of {len(marked)} studies{_percent(found.share)}."]
    caught = f"of {poor.sum()} with a Dice of the whole tumour below {POOR_WT} it marks {(marked & poor).sum()}"
    if poor.any():
        lines.append(f"Sensitivity: {caught}{_percent(found.sensitivity)}.")
    else:
        lines.append(f"No study has a Dice of the whole tumour below {POOR_WT}, so its sensitivity is not known.")
    for study, row in found.slipped_through.iterrows():
        told = Estimate(row["value"], row["low"], row["high"])
        lines.append(f"Slips through: {study}, Dice {row['dice']:.2f}, expected {told}.")
    if not found.groups.undefined:
        (other, of), shift = found.groups.medians, found.groups.hodges_lehmann
        ends = span((shift.low, shift.high), 3)
        lines.append(
            f"Median Dice {of:.3f} of those marked and {other:.3f} of the others; shift {shift.estimate:.3f} ({ends})."
        )
    return lines


def study_grid(summary: Summary) -> Grid:
    """All studies, the studies to review first at the top: lowest expected Dice, else lowest Dice."""
    regions, table, told = summary.regions, summary.cohort.table, summary.review
    names = ("dice_any_size", "hd95_any_size", "volume_reference", "volume_prediction")
    cases = {(name, region): by_case(table, metric=name, region=region) for name in names for region in regions}
    wide = pd.DataFrame(cases, index=[record.study for record in summary.cohort.records])
    wide["expected", ""] = summary.order
    lowest = [("expected", ""), *([("dice_any_size", regions[0])] if regions else [])]
    wide = wide.sort_index().sort_values(lowest, kind="stable")
    head = ["", "study", *(["expected Dice WT", "needs review"] if told is not None else [])]
    head += [f"Dice {region}" for region in regions] + [f"HD95 {region} (mm)" for region in regions]
    head += [f"{region} mL, reference" for region in regions]
    rows = []
    for place, (study, of) in enumerate(wide.iterrows(), start=1):
        row = [str(place), str(study)]
        if told is not None and study in told.studies.index:
            each = told.studies.loc[study]
            row.append(str(Estimate(each["value"], each["low"], each["high"])))
            row.append(", ".join(each["reasons"]).replace("_", " ") or "yes" if each["marked"] else "no")
        elif told is not None:
            row += [DASH, DASH]
        for metric, digits in (("dice_any_size", 3), ("hd95_any_size", 1)):
            for region in regions:
                empty = of["volume_reference", region] == 0 == of["volume_prediction", region]
                row.append("empty" if empty else number(of[metric, region], digits))
        rows.append(row + [number(of["volume_reference", region], 1) for region in regions])
    return Grid.of(head, rows, (1, 3) if told is not None else (1,))


def _with_interval(found: Interval, say: Callable[[float], str] = lambda value: number(value, 3)) -> Cell:
    """An estimate over the ends of its interval."""
    return Cell(say(found.estimate), "" if math.isnan(found.low) else f"{say(found.low)} to {say(found.high)}")


def _percent(found: Interval) -> str:
    if math.isnan(found.low):
        return ""
    return f" ({found.estimate:.0%}, 95 % interval {found.low:.0%} to {found.high:.0%})"


def _discriminated(summary: Summary, region: Region, name: str, voxels: VoxelSet) -> Cell:
    cell = _estimated(summary.estimate("auroc", region, map=name, voxel_set=voxels))
    share = summary.estimate("prevalence", region, map=name, voxel_set=voxels)
    if share is None or math.isnan(share.mean):
        return cell
    return replace(cell, small=f"{cell.small}\nprevalence {100 * share.mean:.2g} %")


def _distance(summary: Summary, region: Region) -> Cell:
    """The mean hd95, and how many studies count the penalty of an empty mask in it."""
    cell = _estimated(summary.estimate("hd95", region), 1)
    penalties = [metric.empty_hd95 for metric in summary.cohort.metrics if isinstance(metric, Overlap)]
    values = by_case(summary.cohort.table, metric="hd95", region=region)
    missed = values[values.isin(penalties)]
    return replace(cell, small=f"{cell.small}\n{len(missed)} at {missed.iloc[0]:g} mm") if len(missed) else cell


def _estimated(estimate: Any, digits: int = 3) -> Cell:
    """Mean, interval and count of a row of the estimates."""
    if estimate is None:
        return Cell(DASH)
    interval = span((estimate.low, estimate.high), digits)
    return Cell(number(estimate.mean, digits), ("" if interval == DASH else f"{interval}\n") + f"n = {estimate.count}")
