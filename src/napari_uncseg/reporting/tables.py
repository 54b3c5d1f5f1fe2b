"""Tables of the report, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_uncseg.errors import UncsegError
from napari_uncseg.evaluation.evaluation import select
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR
from napari_uncseg.evaluation.summary import Estimate, Summary, present
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGION_TITLES, Region
from napari_uncseg.reporting.grid import Cell, Grid
from napari_uncseg.reporting.plot_style import REGION_COLOURS, map_colour

DASH = "–"


def answer(summary: Summary) -> Grid:
    """Per region: overlap, discrimination in brain and tumour, calibration."""
    name = summary.triage_map
    head = ["region", "Dice", "HD95 (mm)", "lesion-wise Dice", "lesion-wise HD95 (mm)"]
    head += [f"AUROC of {name}, brain", f"AUROC of {name}, tumour"] if name else []
    calibrated = any(each.mean.metric == "ece_classwise" for each in summary.estimates)
    head += ["ECE, brain", "ECE, tumour"] if calibrated else []
    rows = []
    for region in present(summary.cohort):
        row = [Cell(str(region), REGION_TITLES[region], REGION_COLOURS[region])]
        row += [
            _estimated(summary.estimate("dice", region), 3),
            _distance(summary, region),
            _estimated(summary.estimate("lesionwise_2023_dice", region), 3),
            _estimated(summary.estimate("lesionwise_2023_hd95", region), 1),
        ]
        sets = (VoxelSet.BRAIN, VoxelSet.TUMOUR)
        if name:
            row += [_discriminated(summary, region, name, voxels) for voxels in sets]
        if calibrated:
            row += [_estimated(summary.estimate("ece_classwise", region, voxel_set=voxels), 3) for voxels in sets]
        rows.append(row)
    return Grid.of(
        head,
        rows,
        caption="Means over studies with 95 % intervals, from four studies on. n: studies where the number is "
        "defined. Dice and HD95: regions of at least 1 mL in the reference; lesion-wise scores: all studies. A region "
        "that was missed counts 374 mm, so that a few of them decide a mean HD95; lesion-wise, so does every missed or "
        "false lesion. AUROC: does the map find the wrong voxels? Prevalence: share of wrong voxels in the set.",
    )


def error_maps(summary: Summary) -> Grid:
    """Per map and region: how well it finds errors around the tumour."""
    voxels = VoxelSet.TUMOUR
    rows = []
    for region in present(summary.cohort):
        names = [
            value.map for value in select(summary.cohort.values, metric="auroc", region=region, aggregation="mean")
        ]
        for name in dict.fromkeys(name for name in names if name is not None):

            def cell(metric: str, digits: int = 3, *, region: Region = region, name: str = name) -> Cell:
                return _estimated(summary.estimate(metric, region, map=name, voxel_set=voxels), digits)

            calibrated = summary.estimate("error_ece", region, map=name, voxel_set=voxels)
            rows.append(
                [
                    Cell(str(region), colour=REGION_COLOURS[region]),
                    Cell(name, colour=map_colour(name)),
                    cell("auroc"),
                    cell("auprc"),
                    cell("prevalence"),
                    _median(summary.estimate("auprc_over_prevalence", region, map=name, voxel_set=voxels), 1),
                    cell("errors_caught_5"),
                    cell("errors_caught_10"),
                    cell("pearson"),
                    _estimated(calibrated, 3),
                ]
            )
    head = (
        "region",
        "map",
        "AUROC",
        "AUPRC",
        "prevalence",
        "AUPRC / prevalence, median",
        "errors in first 5 %",
        "errors in first 10 %",
        "Pearson with error",
        "ECE as error probability",
    )
    return Grid.of(
        head,
        rows,
        (0, 1),
        "Voxels of the tumour and 5 mm around it; means over studies with 95 % intervals, but for the ratio, which is "
        "boundless where errors are few.",
    )


def study_grid(summary: Summary) -> Grid:
    """All studies, first those that need eyes first."""
    values = [value for value in summary.cohort.values if value.aggregation == "case"]
    by: dict[tuple[str, Region | None, str | None], float] = {
        (value.metric, value.region, value.case): value.value
        for value in values
        if value.metric in ("dice_any_size", "hd95_any_size", "volume_reference", "volume_prediction")
    }
    regions = present(summary.cohort)
    scores = dict(summary.order)
    order = [study for study, _ in summary.order]
    others = sorted(
        (record.study for record in summary.cohort.records if record.study not in scores),
        key=lambda study: (_low_first(by, regions, study), study),
    )
    head = ["", "study"] + (["triage score"] if summary.triage_map else [])
    head += [f"Dice {region}" for region in regions]
    head += [f"HD95 {region} (mm)" for region in regions]
    head += [f"{region} mL, reference" for region in regions]
    rows = []
    for number, study in enumerate([*order, *others], start=1):
        row: list[str | Cell] = [str(number), study]
        row += [_score(scores.get(study))] if summary.triage_map else []
        empty = {
            region: by.get(("volume_reference", region, study)) == 0 == by.get(("volume_prediction", region, study))
            for region in regions
        }
        for metric, digits in (("dice_any_size", 3), ("hd95_any_size", 1)):
            row += [
                "empty" if empty[region] else _number(by.get((metric, region, study)), digits) for region in regions
            ]
        row += [_number(by.get(("volume_reference", region, study)), 1) for region in regions]
        rows.append(row)
    return Grid.of(head, rows, (1,), "Regions of any size. Empty: neither prediction nor reference has any.")


def failure_grid(summary: Summary) -> Grid:
    """Studies that could not be evaluated, and why."""
    rows = []
    for failure in summary.cohort.failures:
        known = isinstance(failure.error, UncsegError)
        rows.append([failure.study, str(failure.error) if known else f"unexpected {failure.error!r}"])
    return Grid.of(("study", "why"), rows, (0, 1))


def ranking_grid(summary: Summary, maps: Sequence[str]) -> Grid:
    """Scores that rank studies, of some maps."""
    rows: list[list[str | Cell]] = []
    for each in summary.rankings:
        if each.map not in maps:
            continue
        found = [
            Cell(_number(one.auroc, 3), f"{one.positives} of {one.count} below {one.threshold:g}")
            for one in each.triage
        ]
        triage = (TRIAGE_AGGREGATOR, summary.triage_map, Region.WT)
        is_triage = (each.aggregator, each.map, each.region) == triage
        name = each.aggregator.replace("_", " ") + (" (triage score)" if is_triage else "")
        rows.append(
            [
                Cell(str(each.region), colour=REGION_COLOURS[each.region]),
                each.map,
                name,
                Cell(str(len(each.studies)), f"{each.left_out} left out" if each.left_out else ""),
                _number(each.aurc, 4),
                _number(each.e_aurc, 4),
                _number(each.augrc, 4),
                _signed(each.spearman_dice),
                _signed(each.partial),
                _signed(each.spearman_volume),
                *found,
            ]
        )
    head = (
        "region",
        "map",
        "score",
        "n",
        "AURC",
        "E-AURC",
        "AUGRC",
        "Spearman with Dice",
        "… given volume",
        "Spearman with volume",
        "triage AUROC",
        "triage AUROC",
    )
    return Grid.of(head, rows, (0, 1, 2))


def strata_grid(summary: Summary) -> Grid:
    """Sure studies against unsure ones."""
    rows: list[list[str | Cell]] = []
    for each in summary.strata:
        sure, unsure = each.test.medians
        shift = each.test.hodges_lehmann
        rows.append(
            [
                Cell(str(each.region), colour=REGION_COLOURS[each.region]),
                each.map,
                _number(each.threshold, 4),
                Cell(_number(sure, 3), f"n = {each.test.counts[0]}"),
                Cell(_number(unsure, 3), f"n = {each.test.counts[1]}"),
                Cell(_number(shift.estimate, 3), _range(shift.low, shift.high, 3)),
                _signed(each.test.cliffs_delta),
                f"{each.p_holm:.2g}" if not math.isnan(each.p_holm) else DASH,
            ]
        )
    head = ("region", "map", "threshold", "median Dice, sure", "median Dice, unsure", "shift", "Cliff's δ", "p (Holm)")
    return Grid.of(head, rows, (0, 1))


def estimate_grids(summary: Summary) -> list[tuple[str, Grid]]:
    """Every estimate, one table per region."""
    head = ("metric", "map", "voxels", "bins", "mean", "95 % interval", "median", "n", "pooled", "undefined")
    found = []
    for region in present(summary.cohort):
        rows = []
        for each in summary.estimates:
            value = each.mean
            if value.region is not region:
                continue
            unit = f" {value.unit}" if value.unit else ""
            rows.append(
                [
                    value.metric,
                    value.map or "",
                    str(value.voxel_set or ""),
                    "" if value.bins is None else str(value.bins),
                    _number(value.value) + unit,
                    _range(each.interval.low, each.interval.high),
                    _number(each.median.value),
                    str(value.count),
                    DASH if each.pooled is None else _number(each.pooled.value),
                    value.undefined,
                ]
            )
        found.append((f"All numbers of {region} ({REGION_TITLES[region]})", Grid.of(head, rows, (0, 1, 2, 9))))
    return found


def _discriminated(summary: Summary, region: Region, name: str, voxels: VoxelSet) -> Cell:
    cell = _estimated(summary.estimate("auroc", region, map=name, voxel_set=voxels), 3)
    share = summary.estimate("prevalence", region, map=name, voxel_set=voxels)
    if share is None or math.isnan(share.mean.value):
        return cell
    return replace(cell, small=f"{cell.small}\nprevalence {100 * share.mean.value:.2g} %")


def _estimated(estimate: Estimate | None, digits: int) -> Cell:
    if estimate is None:
        return Cell(DASH)
    value = estimate.mean
    span = _range(estimate.interval.low, estimate.interval.high, digits)
    span = "" if span == DASH else f"{span}\n"
    return Cell(_number(value.value, digits), f"{span}n = {value.count}")


def _distance(summary: Summary, region: Region) -> Cell:
    """The mean hd95, and how many studies count the penalty of an empty mask in it."""
    cell = _estimated(summary.estimate("hd95", region), 1)
    penalties = {metric.empty_hd95 for metric in summary.cohort.metrics if isinstance(metric, Overlap)}
    values = select(summary.cohort.values, metric="hd95", region=region, aggregation="case")
    missed = [value.value for value in values if value.value in penalties]
    return replace(cell, small=f"{cell.small}\n{len(missed)} at {missed[0]:g} mm") if missed else cell


def _median(estimate: Estimate | None, digits: int) -> Cell:
    if estimate is None:
        return Cell(DASH)
    return Cell(_number(estimate.median.value, digits), f"n = {estimate.median.count}")


def _number(value: float | None, digits: int | None = None) -> str:
    if value is None or math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"


def _signed(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:+.2f}"


def _range(low: float, high: float, digits: int | None = None) -> str:
    return DASH if math.isnan(low) else f"{_number(low, digits)} to {_number(high, digits)}"


def _score(score: float | None) -> str:
    if score is None:
        return DASH
    return "nothing predicted" if math.isinf(score) else f"{score:.4f}"


def _low_first(by: dict[Any, float], regions: Sequence[Region], study: str) -> float:
    found = [by[key] for region in regions if (key := ("dice_any_size", region, study)) in by]
    return found[0] if found else math.inf
