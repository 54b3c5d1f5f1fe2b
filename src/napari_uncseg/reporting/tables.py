"""Tables of the evaluation's report, as text in cells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.summary import Summary
from napari_uncseg.evaluation.table import by_case
from napari_uncseg.labels import REGION_TITLES, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.reporting.page import DASH, Cell, Grid, number, span
from napari_uncseg.reporting.plot_style import REGION_COLOURS


def answer(summary: Summary) -> Grid:
    """Per region: overlap, discrimination in brain and tumour, calibration."""
    name, sets = summary.triage_map, (VoxelSet.BRAIN, VoxelSet.TUMOUR)
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


def study_grid(summary: Summary) -> Grid:
    """All studies, the studies to review first at the top."""
    regions = summary.regions
    names = ("dice_any_size", "hd95_any_size", "volume_reference", "volume_prediction")
    cases = {
        (name, region): by_case(summary.cohort.table, metric=name, region=region)
        for name in names
        for region in regions
    }
    wide = pd.DataFrame(cases, index=[record.study for record in summary.cohort.records])
    wide["score", ""] = summary.order
    lowest = [("score", ""), *([("dice_any_size", regions[0])] if regions else [])]
    wide = wide.sort_index().sort_values(lowest, ascending=[False, True][: len(lowest)], kind="stable")
    head = ["", "study", *(["triage score"] if summary.triage_map else [])]
    head += [f"Dice {region}" for region in regions] + [f"HD95 {region} (mm)" for region in regions]
    head += [f"{region} mL, reference" for region in regions]
    rows = []
    for place, (study, of) in enumerate(wide.iterrows(), start=1):
        score = "nothing predicted" if math.isinf(of["score", ""]) else number(of["score", ""], 4)
        row = [str(place), str(study), *([score] if summary.triage_map else [])]
        for metric, digits in (("dice_any_size", 3), ("hd95_any_size", 1)):
            for region in regions:
                empty = of["volume_reference", region] == 0 == of["volume_prediction", region]
                row.append("empty" if empty else number(of[metric, region], digits))
        rows.append(row + [number(of["volume_reference", region], 1) for region in regions])
    return Grid.of(head, rows, (1,))


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
