"""The sentences of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from napari_uncseg import __version__
from napari_uncseg.evaluation.sanity_checks import studies_in_words
from napari_uncseg.evaluation.summary import RESAMPLES, SEED, Summary


def subtitle(summary: Summary) -> str:
    """Version, models and where thresholds come from."""
    models = {
        str(model.get("name"))
        for record in summary.cohort.records
        if isinstance(model := record.checks.get("model"), Mapping) and model.get("name")
    }
    parts = [f"napari-uncseg {__version__}"]
    parts += [f"model {', '.join(sorted(models))}"] if models else []
    if summary.calibration is not None:
        parts.append(f"thresholds from {studies_in_words(len(summary.calibration.records))} for calibration")
    return " · ".join(parts)


def lead(summary: Summary) -> list[str]:
    """What stands before everything else."""
    cohort = summary.cohort
    sentences = list(_dice_sentences(summary))
    if cohort.failures:
        sentences.append(
            f"{studies_in_words(len(cohort.failures))} could not be evaluated: left out of every number below."
        )
    return sentences


def _dice_sentences(summary: Summary) -> Iterable[str]:
    parts = []
    for region in ("WT", "TC", "ET"):
        found = [each for each in summary.estimates if each.mean.metric == "dice" and each.mean.region == region]
        if found and not math.isnan(found[0].mean.value):
            parts.append(f"{found[0].mean.value:.3f} for {region} (n = {found[0].mean.count})")
    if parts:
        yield f"Mean Dice {', '.join(parts)}; regions below 1 mL in the reference stand apart."


def grave(errors: int, warnings: int) -> str:
    """How many remarks of the lint a reader must see first; empty without any."""
    parts = [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    parts += [f"{warnings} warning{'s' * (warnings != 1)}"] if warnings else []
    return f"{' and '.join(parts)} of the lint" if parts else ""


def first_sentence(summary: Summary, shown: int, total: int) -> str:
    """By what the studies are ordered."""
    if summary.triage_map is None:
        return (
            "These segmentations carry no uncertainty, so nothing but the reference can rank them: lowest Dice first."
        )
    return (
        f"Highest triage score first{f' (the first {shown} of {total})' if shown < total else ''}. The score is the "
        f"mean {summary.triage_map} of the whole tumour in the predicted tumour and 5 mm around it; a study in which "
        "nothing was predicted comes before all others. The score needs no reference; the Dice beside it says whether "
        "it was right."
    )


def how(summary: Summary) -> list[str]:
    """Means, intervals, voxel sets and the brain."""
    without = sum(record.brain != "images" for record in summary.cohort.records)
    brain = "Brain: from the images of each study."
    if without:
        brain = f"Brain: from the images; {studies_in_words(without)} had none: nothing is measured over their brain."
    return [
        f"Means are over studies, with 95 % BCa bootstrap intervals ({RESAMPLES} resamples of patients, seed {SEED}); "
        "n is the number of studies where the number is defined, and what is undefined is counted, never taken as 0. "
        "Pooled numbers are of the voxels of all studies together.",
        "Voxel sets: brain; tumour, that is the whole tumour in prediction or reference and 5 mm around it; union, the "
        "region in prediction or reference. AUROC and AUPRC ask whether a map finds the voxels where prediction and "
        "reference of the region differ (4096 bins, ties count half); prevalence is the share of such voxels, the "
        "AUPRC of a map that knows nothing. ECE: class-wise, 15 bins. HD95: 374 mm where one of both is empty. "
        "Lesion-wise scores: rules of BraTS 2023.",
        brain,
    ]
