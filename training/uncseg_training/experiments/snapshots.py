"""One network against the snapshots of its run: ``python -m uncseg_training.experiments.snapshots STUDIES [...]``.

For each folder of studies: mean Dice (regions of at least 1 mL in the reference) of every snapshot alone and of the
mean of their probabilities, and how well the variance between the snapshots, the entropy of one network and the entropy
of the mean find the errors of that mean: AUROC over the predicted whole tumour and 5 mm around it. *The network* is the
last snapshot, or what was exported in its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import labels_from_regions
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.models.masked import CancerMask
from napari_uncseg.models.model import load_model, load_snapshot
from napari_uncseg.uncertainty.measures import entropy
from uncseg_training.experiments.real_studies import Overlap, auroc, means, overlaps
from uncseg_training.experiments.studies import usable
from uncseg_training.train.sentences import run_plainly


@dataclass(frozen=True)
class Finding:
    """AUROC of a study's error maps; ``nan`` where nothing or everything is wrong."""

    study: str
    between_snapshots: float
    entropy_of_one: float
    entropy_of_mean: float


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of studies with references.")],
    model: Annotated[Path | None, typer.Option(help="Model folder; the bundled one by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
) -> None:
    """Print the tables."""
    last = load_model(model)
    count = last.snapshots
    predictors = [Predictor(load_snapshot(last, number)) for number in range(1, count + 1)]
    names = [*(f"snapshot {number}" for number in range(1, count)), "the network", f"mean of {count}"]
    results: dict[str, object] = {"model": last.sha256}
    for folder in folders:
        rows: dict[str, list[Overlap]] = {name: [] for name in names}
        findings = []
        for study in usable(folder):
            predictions = [predictor.predict(study) for predictor in predictors]
            stack = np.stack([prediction.probabilities for prediction in predictions])
            mean = stack.mean(0)
            joined = replace(predictions[-1], probabilities=mean, segmentation=labels_from_regions(mean))
            for name, prediction in zip(names, [*predictions, joined], strict=True):
                rows[name] += overlaps(study, prediction.segmentation)
            if study.reference is None or not joined.segmentation.any():
                continue
            mask = dilate_mm(joined.segmentation > 0, study.spacing, CancerMask().dilation_mm)
            wrong = ((joined.segmentation > 0) ^ (study.reference > 0))[mask]
            maps = stack[:, 0].var(0), predictions[-1].maps["entropy"], entropy(mean[0])
            findings.append(Finding(study.id, *(auroc(wrong, values[mask]) for values in maps)))
        typer.echo(f"\n{folder.name}: mean Dice over regions of at least 1 mL")
        for name in names:
            told = "  ".join(f"{region} {mean:.3f} ({n})" for region, (mean, n) in means(rows[name]).items())
            typer.echo(f"{name:14}{told}")
        columns = ("between_snapshots", "entropy_of_one", "entropy_of_mean")
        told = "  ".join(f"{name} {_mean(findings, name):.3f}" for name in columns)
        typer.echo(f"AUROC of WT errors, mean over {len(findings)} studies: {told}")
        dice = {name: means(found) for name, found in rows.items()}
        results[folder.name] = {"dice": dice, "auroc": [asdict(finding) for finding in findings]}
    if out is not None:
        out.write_text(json.dumps(results, indent=2) + "\n")


def _mean(findings: Sequence[Finding], name: str) -> float:
    values = [getattr(finding, name) for finding in findings]
    return float(np.nanmean(values)) if values else float("nan")


if __name__ == "__main__":
    run_plainly(main)
