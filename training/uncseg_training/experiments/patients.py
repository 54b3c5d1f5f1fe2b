"""The release network on patients it never saw: ``python -m uncseg_training.experiments.patients`` (``--help``).

``EVALUATION RESULTS -o OUT``: results are predictions out of fold (``uncseg-train predict-folds``, then
``calibrate-folds``), the evaluation is what ``uncseg evaluate`` made of them. The tables, with 95 % intervals over
patients:

- *dice*: WT, TC and ET, over regions of at least 1 mL and over those of any size, all folds and those by which nothing
  was chosen; the gain over another network on the same patients, when its evaluation is given; by thirds of
  tumour size and by enhancement. *lesions*: lesion-wise Dice and HD95 of the same.
- *expected-dice*: whether it orders patients better than mean entropy and than volume, how far it is off, whether its
  intervals hold as often as they say, and whom the bound on it sends to review.
- *error-risk*: how well it finds errors near the tumour, beside entropy and the uncertainty channel; its calibration;
  the volume of errors it claims; what it marks far from any tumour.
- *findings*: of the blocks of error of 1 mL and more, how much lies in the first ten findings of the map that leads, at
  the threshold where a review begins, and what these findings hold beside the errors there are.
- *low*: patients whose WT Dice is below one half, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy import ndimage

from napari_uncseg.evaluation.expected_dice import POOR_WT, Review, forecasts, review
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import find_results, load_prediction, read_result
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.morphology import dilate_mm, open_ball
from napari_uncseg.metrics.statistics import bootstrap_bca, paired_difference
from napari_uncseg.review.findings import find
from napari_uncseg.review.threshold_sweep import leading_map, start_threshold, sweep_thresholds
from napari_uncseg.review.watershed import PARTIAL_VOLUME_VOXELS, build_watershed
from napari_uncseg.uncertainty.measures import compute_prediction_failure
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.splits import SPLITS, read_splits
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row

CHOSEN_ON = 0
"""Fold by which choices were made."""

FAR_MM, MARKED = 5.0, 0.2
"""What is far from tumour, and marked by error risk."""

BLOCK_ML, FIRST = 1.0, 10
"""Least volume of a block of error, and how many findings are looked at."""

RESAMPLES = 2000


def read_evaluation(folder: Path) -> pd.DataFrame:
    """Numbers of every patient of an evaluation.

    Raises
    ------
    ValueError
        When the folder holds none.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no metrics.csv; make it with uncseg evaluate RESULTS --reference ... -o {folder}"
        )
    try:
        table = pd.read_csv(path)
        table["value"] = table["value"].astype(float)
        return table.loc[table["aggregation"] == "case"].dropna(subset=["case", "metric", "region"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no table of uncseg evaluate ({error}); evaluate the patients again.") from error


def column(table: pd.DataFrame, metric: str, region: Region, **which: str) -> pd.Series:
    """One number of every patient, by id."""
    chosen = (table["metric"] == metric) & (table["region"] == str(region))
    for key, value in which.items():
        chosen &= table[key] == value
    return table[chosen].set_index("case")["value"].sort_index()


def read_results(folder: Path) -> pd.DataFrame:
    """What results say of themselves: a row per patient, columns ``(what, region)``.

    Raises
    ------
    ValueError
        When one has no expected Dice.
    """
    rows = {}
    for path in find_results(folder):
        told = read_result(path).provenance
        if "expected_dice" not in told:
            raise ValueError(f"{path} has no expected Dice; run uncseg-train calibrate-folds on its folder.")
        row: dict[tuple[str, str], Any] = {("reasons", "WT"): [reason["code"] for reason in told["needs_review"]]}
        for region in map(str, REGIONS):
            row["value", region] = told["expected_dice"][region]["value"]
            row["dice", region], row["volume", region] = told["dice"][region], told["volumes_ml"][region]
        rows[told["study"]] = row
    return pd.DataFrame.from_dict(rows, orient="index").sort_index()


def dice_rows(table: pd.DataFrame, folds: dict[str, int], other: pd.DataFrame | None) -> list[Row]:
    """Dice, HD95 and lesion-wise Dice of groups of patients, and the gain over another network."""
    volume = column(table, "volume_reference", Region.WT, voxel_set="all")
    enhancing = column(table, "volume_reference", Region.ET, voxel_set="all")
    there = sorted({folds[name] for name in volume.index})
    third = pd.qcut(volume, 3, labels=["small", "medium", "large"])
    groups: dict[str, Callable[[str], bool]] = {
        "all folds": lambda _: True,
        "folds by which nothing was chosen": lambda name: folds[name] != CHOSEN_ON,
        **{f"fold {fold}": lambda name, fold=fold: folds[name] == fold for fold in there},  # type: ignore[misc]
        **{f"{each} tumours": lambda name, each=each: third[name] == each for each in third.cat.categories},  # type: ignore[misc]
        "ET of 1 mL or more": lambda name: enhancing[name] >= 1,
        "less ET": lambda name: enhancing[name] < 1,
    }
    rows = []
    for group, belongs in groups.items():
        names = [name for name in volume.index if belongs(name)]
        row: Row = {"patients": group, "n": len(names)}
        for region in REGIONS:
            row[str(region)] = harness.interval(column(table, "dice", region).reindex(names))
        for region in REGIONS:
            row[f"{region} of any size"] = harness.interval(column(table, "dice_any_size", region).reindex(names))
        for region in REGIONS:
            row[f"lesion-wise {region}"] = harness.interval(
                column(table, "lesionwise_2023_dice", region).reindex(names)
            )
            row[f"HD95 {region}, mm"] = harness.interval(column(table, "hd95", region).reindex(names))
        for region in REGIONS if other is not None else ():
            ours, theirs = (column(each, "dice", region).reindex(names) for each in (table, other))
            row[f"gain {region}"] = harness.told(paired_difference(ours, theirs).mean)
        rows.append(row)
    return rows


def expected_dice_rows(table: pd.DataFrame) -> list[Row]:
    """How well expected Dice orders patients, how far it is off, and how often its intervals hold."""
    return [
        {
            "region": str(each.region),
            "n": each.count,
            "Spearman": harness.told(each.spearman),
            "over entropy": harness.told(each.over_entropy),
            "over volume": harness.told(each.over_volume),
            "mean absolute error": harness.told(each.error),
            "of the mean": harness.told(each.error_of_mean),
            "held": harness.told(each.held),
            "width": round(each.width, 3),
            "constant width": round(each.constant_width, 3),
        }
        for each in forecasts(table, RESAMPLES)
    ]


def review_row(found: Review) -> Row:
    """Whom *needs review* marks: how many, and which of the poor ones it lets through."""
    return {
        "marked": f"{found.studies['marked'].sum()} of {len(found.studies)}",
        f"of those below {POOR_WT}": harness.told(found.sensitivity),
        "let through": ", ".join(found.slipped_through.index),
    }


def error_risk_rows(table: pd.DataFrame, volumes: pd.DataFrame) -> list[Row]:
    """How well error risk finds errors near the tumour, beside the maps it is made of."""
    rows = []
    for region in REGIONS:
        near = {"voxel_set": "tumour"}
        row: Row = {"region": str(region)}
        ours = {name: column(table, name, region, map="error_risk", **near) for name in ("auroc", "auprc", "error_ece")}
        row |= {"AUROC": harness.interval(ours["auroc"]), "AUPRC": harness.interval(ours["auprc"])}
        for other in ("entropy", "unc_output_unmasked"):
            for name in ("auroc", "auprc"):
                theirs = column(table, name, region, map=other, **near)
                found = paired_difference(ours[name].reindex(theirs.index), theirs).mean if len(theirs) else None
                row[f"{name.upper()} over {other}"] = None if found is None else harness.told(found)
        entropy = column(table, "auprc", region, map="entropy", **near)
        row["AUPRC, times entropy's"] = round(float(ours["auprc"].mean() / entropy.mean()), 3)
        row["ECE"] = harness.interval(ours["error_ece"])
        claimed, true = volumes["claimed", str(region)].sum(), volumes["true", str(region)].sum()
        row["claimed error, mL"], row["true error, mL"] = round(float(claimed), 1), round(float(true), 1)
        far = volumes["far", str(region)]
        row[f"above {MARKED} beyond {FAR_MM:g} mm, median mL"] = round(float(far.median()), 2)
        rows.append(row)
    return rows


def error_volumes(prediction: Prediction, study: Study) -> dict[tuple[str, str], float]:
    """Errors in mL: what error risk claims in the brain, what there are, and what it marks far from any tumour."""
    assert study.reference is not None  # it would not be among these otherwise
    wrong = compute_prediction_failure(prediction.segmentation, study.reference, "per_region")
    tumour = region_masks(prediction.segmentation)[0] | region_masks(study.reference)[0]
    far = study.brain & ~dilate_mm(tumour, study.spacing, FAR_MM)
    row = {}
    for index, region in enumerate(REGIONS):
        name = "error_risk" if region is Region.WT else f"error_risk-{region.lower()}"
        risk = prediction.maps[name]
        row["claimed", str(region)] = float(risk[study.brain].sum(dtype=np.float64)) * study.voxel_ml
        row["true", str(region)] = int((wrong[index] & study.brain).sum()) * study.voxel_ml
        row["far", str(region)] = int((risk[far] > MARKED).sum()) * study.voxel_ml
    return row


def findings_of(prediction: Prediction, study: Study) -> dict[str, float]:
    """How much of the errors of WT the first places to check hold, in mL.

    A block is a connected part of at least :data:`BLOCK_ML` of what an opening by a ball of a radius of two voxels
    leaves of the errors: thin rims are no places.
    """
    key = MapName.parse(leading_map(prediction))
    watershed = build_watershed(prediction, key, study.brain)
    found = find(watershed, start_threshold(prediction, sweep_thresholds(prediction, key)))
    first = np.zeros(prediction.shape, dtype=bool)
    first[found.box] = (found.labels > 0) & (found.labels <= FIRST)
    assert study.reference is not None
    wrong = compute_prediction_failure(prediction.segmentation, study.reference, "per_region")[0].astype(bool)
    parts, _ = ndimage.label(open_ball(wrong, PARTIAL_VOLUME_VOXELS), np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel()) * study.voxel_ml
    blocks = ((sizes >= BLOCK_ML) & (np.arange(sizes.size) > 0))[parts]
    volumes = {"errors": wrong, "blocks": blocks, "blocks found": blocks & first, "findings": first}
    return {name: int(np.count_nonzero(mask)) * study.voxel_ml for name, mask in volumes.items()}


def findings_row(volumes: pd.DataFrame) -> Row:
    """Share of the blocks of error in the first findings, over patients that have a block."""
    some = volumes[volumes["blocks"] > 0]
    shares, times = some["blocks found"] / some["blocks"], some["findings"] / some["errors"]
    return {
        "patients with a block": f"{len(some)} of {len(volumes)}",
        "blocks, mL": round(float(some["blocks"].sum()), 1),
        f"in the first {FIRST} findings, median share": harness.told(bootstrap_bca(shares, np.median)),
        "findings over errors, median": harness.told(bootstrap_bca(times, np.median)),
        "findings over errors, all volumes": round(float(volumes["findings"].sum() / volumes["errors"].sum()), 2),
    }


def low_rows(told: pd.DataFrame, folds: dict[str, int]) -> list[Row]:
    """Patients below a WT Dice of one half."""
    low = told[told["dice", "WT"] < 0.5]
    return [
        {
            "patient": name,
            "fold": folds[name],
            **{f"Dice {region}": round(float(row["dice", str(region)]), 3) for region in REGIONS},
            "WT predicted, mL": round(float(row["volume", "WT"]), 1),
            "expected WT": round(float(row["value", "WT"]), 2),
            "needs review": "yes" if row["reasons", "WT"] else "no",
        }
        for name, row in low.iterrows()
    ]


def _measured(results: Path, studies: dict[str, Callable[[], Study]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Volumes of errors, and of findings beside them: a row per patient."""
    errors, findings = {}, {}
    for path in find_results(results):
        prediction = load_prediction(path)
        study = studies[prediction.study_id]()
        errors[study.id] = error_volumes(prediction, study)
        findings[study.id] = findings_of(prediction, study)
    return tuple(pd.DataFrame.from_dict(rows, orient="index").sort_index() for rows in (errors, findings))


@harness.experiment
def main(
    evaluation: Annotated[Path, typer.Argument(help="What uncseg evaluate made of the results.")],
    results: Annotated[Path, typer.Argument(help="Results out of fold, after uncseg-train calibrate-folds.")],
    out: harness.Out,
    studies: Annotated[list[Path], typer.Option(help="Folder of studies with references; repeat for several.")],
    other: Annotated[Path | None, typer.Option(help="Evaluation of another network on the same patients.")] = None,
    splits: Annotated[Path, typer.Option(help="File of the folds.")] = SPLITS,
) -> None:
    """Write the tables of the release network on patients it never saw."""
    table, told = read_evaluation(evaluation), read_results(results)
    folds = {name: number for number, fold in enumerate(read_splits(splits)) for name in fold["val"]}
    if missing := sorted(set(told.index) - set(folds)):
        raise ValueError(f"{missing[0]} is in no fold of {splits}; name the file of its folds.")
    known = labelled_studies(studies)
    errors, findings = _measured(results, known)
    dice = dice_rows(table, folds, None if other is None else read_evaluation(other))
    apart = {key for key in dice[0] if key.startswith(("lesion-wise", "HD95"))}
    content = {
        "dice": [{key: value for key, value in row.items() if key not in apart} for row in dice],
        "lesions": [{key: row[key] for key in ("patients", "n", *sorted(apart))} for row in dice],
        "expected-dice": expected_dice_rows(table),
        "review": [review_row(found)] if (found := review(table, told["reasons", "WT"])) is not None else [],
        "error-risk": error_risk_rows(table, errors),
        "findings": [findings_row(findings)],
        "low": low_rows(told, folds),
    }
    for name, rows in content.items():
        if rows:
            harness.write_table(
                rows, out / name, f"{name.replace('-', ' ').capitalize()}, {len(told)} patients out of fold"
            )
            typer.echo((out / name).with_suffix(".md").read_text())
    harness.write_json({"patients": len(told), "tables": content}, out / "patients.json")


if __name__ == "__main__":
    typer.run(main)
