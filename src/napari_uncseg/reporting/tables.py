"""Tables of the evaluation's report, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pandas as pd

from napari_uncseg.errors import UncsegError
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR
from napari_uncseg.evaluation.summary import Summary
from napari_uncseg.evaluation.table import by_case, select
from napari_uncseg.labels import REGION_TITLES, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.reporting.page import Cell, Grid
from napari_uncseg.reporting.plot_style import REGION_COLOURS, look

DASH = "–"

_ERROR_COLUMNS = {
    "AUROC": "auroc",
    "AUPRC": "auprc",
    "prevalence": "prevalence",
    "AUPRC / prevalence, median": "auprc_over_prevalence",
    "errors in first 5 %": "errors_caught_5",
    "errors in first 10 %": "errors_caught_10",
    "Pearson with error": "pearson",
    "ECE as error probability": "error_ece",
}


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


def error_maps(summary: Summary) -> Grid:
    """Per map and region: how well it finds errors around the tumour."""
    rows = []
    for region in summary.regions:
        for name in select(summary.estimates, metric="auroc", region=region)["map"].unique():
            row = [Cell(str(region), colour=REGION_COLOURS[region]), Cell(name, colour=look(name)[0])]
            for metric in _ERROR_COLUMNS.values():
                found = summary.estimate(metric, region, map=name, voxel_set=VoxelSet.TUMOUR)
                if metric == "auprc_over_prevalence" and found is not None:
                    row.append(Cell(_number(found.median, 1), f"n = {found.count}"))
                else:
                    row.append(_estimated(found))
            rows.append(row)
    return Grid.of(("region", "map", *_ERROR_COLUMNS), rows, (0, 1))


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
    for number, (study, of) in enumerate(wide.iterrows(), start=1):
        row = [str(number), str(study), *([_score(of["score", ""])] if summary.triage_map else [])]
        for metric, digits in (("dice_any_size", 3), ("hd95_any_size", 1)):
            for region in regions:
                empty = of["volume_reference", region] == 0 == of["volume_prediction", region]
                row.append("empty" if empty else _number(of[metric, region], digits))
        rows.append(row + [_number(of["volume_reference", region], 1) for region in regions])
    return Grid.of(head, rows, (1,))


def failure_grid(summary: Summary) -> Grid:
    """Studies that could not be evaluated, and why."""
    rows = []
    for failure in summary.cohort.failures:
        known = isinstance(failure.error, UncsegError)
        rows.append([failure.study, str(failure.error) if known else f"unexpected {failure.error!r}"])
    return Grid.of(("study", "why"), rows, (0, 1))


def ranking_grid(summary: Summary, maps: Collection[str]) -> Grid:
    """Scores that rank studies, of some maps."""
    triage = (TRIAGE_AGGREGATOR, summary.triage_map, Region.WT)
    rows: list[list[str | Cell]] = [
        [
            Cell(str(each.region), colour=REGION_COLOURS[each.region]),
            each.map,
            each.aggregator.replace("_", " ")
            + " (triage score)" * ((each.aggregator, each.map, each.region) == triage),
            Cell(str(len(each.studies)), f"{each.left_out} left out" if each.left_out else ""),
            *(_number(area, 4) for area in (each.aurc, each.e_aurc, each.augrc)),
            *(_signed(value) for value in (each.spearman_dice, each.partial, each.spearman_volume)),
            *(
                Cell(_number(one.auroc, 3), f"{one.positives} of {one.count} below {one.threshold:g}")
                for one in each.triage
            ),
        ]
        for each in summary.rankings
        if each.map in maps
    ]
    head = ["region", "map", "score", "n", "AURC", "E-AURC", "AUGRC", "Spearman with Dice", "… given volume"]
    return Grid.of([*head, "Spearman with volume", "triage AUROC", "triage AUROC"], rows, (0, 1, 2))


def strata_grid(summary: Summary) -> Grid:
    """Certain studies against uncertain ones."""
    rows: list[list[str | Cell]] = []
    for each in summary.strata:
        (certain, uncertain), shift = each.test.medians, each.test.hodges_lehmann
        rows.append(
            [
                Cell(str(each.region), colour=REGION_COLOURS[each.region]),
                each.map,
                _number(each.threshold, 4),
                Cell(_number(certain, 3), f"n = {each.test.counts[0]}"),
                Cell(_number(uncertain, 3), f"n = {each.test.counts[1]}"),
                Cell(_number(shift.estimate, 3), _range(shift.low, shift.high, 3)),
                _signed(each.test.cliffs_delta),
                f"{each.p_holm:.2g}" if not math.isnan(each.p_holm) else DASH,
            ]
        )
    head = ("region", "map", "threshold", "median Dice, certain", "median Dice, uncertain", "shift", "Cliff's δ")
    return Grid.of((*head, "p (Holm)"), rows, (0, 1))


def estimate_grids(summary: Summary) -> list[tuple[str, Grid]]:
    """Every estimate, one table per region."""
    head = ("metric", "map", "voxels", "bins", "mean", "95 % interval", "median", "n", "pooled", "undefined")
    found = []
    for region in summary.regions:
        rows = [
            [
                each.metric,
                each.map,
                each.voxel_set,
                "" if pd.isna(each.bins) else str(each.bins),
                f"{_number(each.mean)} {each.unit}".rstrip(),
                _range(each.low, each.high),
                _number(each.median),
                str(each.count),
                _number(each.pooled),
                each.undefined,
            ]
            for each in select(summary.estimates, region=region).itertuples(index=False, name="Estimate")
        ]
        found.append((f"All numbers of {region} ({REGION_TITLES[region]})", Grid.of(head, rows, (0, 1, 2, 9))))
    return found


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
    span = _range(estimate.low, estimate.high, digits)
    return Cell(_number(estimate.mean, digits), ("" if span == DASH else f"{span}\n") + f"n = {estimate.count}")


def _number(value: float, digits: int | None = None) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"


def _signed(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:+.2f}"


def _range(low: float, high: float, digits: int | None = None) -> str:
    return DASH if math.isnan(low) else f"{_number(low, digits)} to {_number(high, digits)}"


def _score(score: float) -> str:
    return "nothing predicted" if math.isinf(score) else _number(score, 4)
