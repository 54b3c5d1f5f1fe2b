"""The shipped networks taught on a site's own patients, cross-validated by patient.

Both stages go on from the shipped weights with the site's studies and phantoms, once for each fold and once for all
studies together. What the folds predict of the studies they held out tells how good the last one is, and is what its
calibration, error risk and expected Dice are fitted on. Everything lies in one folder, so that a call that was cut goes
on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.inference.prediction_plan import smallest_of
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.io.files import write_files
from napari_uncseg.io.results import find_results, read_result
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.statistics import bootstrap_bca
from napari_uncseg.models.identity import CALIBRATION, PREVIOUS_STAGE, Identity, bundled_model_folder
from napari_uncseg.models.model import Model, load_model
from uncseg_training.data.splits import split_by_group, write_splits
from uncseg_training.train.chain import SPLITS, Chain, Tell, patients_of
from uncseg_training.train.config import Config, config_from
from uncseg_training.train.cross_validation import collect

CARD = "MODEL_CARD.md"

FRESH: Mapping[str, Any] = {"warmup": 50, "decay": 0.8, "late_from": 0.0, "snapshots": 1, "validation": 0}
"""How both stages are gone on with."""

CARD_TEXT = """# {name}

Made by `uncseg-train adapt` from {start} ({start_sha}) on {studies} studies of one site. **Research use only.**
sha256 {sha}.

Mean Dice of the {studies} studies with the members {members}. *Before*: by the network it began from, which saw none
of them. *After*: out of fold, each study by networks that were adapted without its patient. The model in this folder
was adapted on all of them in the same way, {steps} steps a stage, and is not judged by itself.

| region | before | after | gain, 95 % interval over studies |
|---|---|---|---|
{rows}

`calibration.json`, with error risk and expected Dice, is fitted on the predictions out of fold, for these members.
It holds for patients and scanners like these.
"""


@dataclass(frozen=True)
class Settings:
    """How networks are adapted.

    Parameters
    ----------
    folds : int
        Into how many parts the studies are split, at the most as many as there are patients.
    steps : int
        Optimiser steps of each stage.
    learning_rate : float
        Falls to 0 over the steps.
    phantoms : int
        Phantoms that keep the second stage from forgetting; the first stage draws endless ones.
    members : str
        Ensembling method that the result is judged and calibrated for.
    """

    folds: int = 5
    steps: int = 1500
    learning_rate: float = 4e-4
    phantoms: int = 40
    members: str = "tta:2"


def adapt(
    sources: Sequence[Path],
    out: Path,
    anatomies: Path,
    *,
    model: Path | None = None,
    work: Path | None = None,
    settings: Settings | None = None,
    tell: Tell = lambda _: None,
) -> Model:
    """Teach a model on studies, and write another one that says how good it has become.

    Parameters
    ----------
    sources : sequence of Path
        Folders of studies with references, or of results whose segmentation was corrected.
    out : Path
        Model folder to write.
    anatomies : Path
        File of ``uncseg-train anatomies``, for the phantoms.
    model : Path, optional
        Cascade to go on from; the bundled one when left out.
    work : Path, optional
        Folder for cases, runs and predictions; ``<out>-training`` when left out.
    settings : Settings, optional
    tell : callable
        Told a sentence at each step.

    Raises
    ------
    ValueError
        When there are too few studies (:func:`~uncseg_training.train.chain.patients_of`), or the model is none of
        ``uncseg-train`` or was trained on one of the studies.
    UncsegError
        When a study, a result or the model cannot be read.
    """
    settings, work = settings or Settings(), work or out.with_name(f"{out.name}-training")
    start = model or bundled_model_folder()
    studies, groups = patients_of(sources, "Adapting")
    folds = split_by_group(groups, min(settings.folds, len(set(groups.values()))))
    before = load_model(start)
    export = {
        "stage_weights": InputPlan.from_plans(before.plans).stage_weights,
        "smallest_ml": smallest_of(before.plans),
        "keep_snapshots": False,
        "members": settings.members,
    }
    chain = Chain(sources, anatomies, work, _configs(before, start, studies, work, settings), export, tell)
    write_splits(folds, work / SPLITS)
    chain.write_cases(settings.phantoms)
    models = chain.train_folds(folds)
    predicted = chain.predict({0: start}, [{"val": list(studies)}], "before")
    left_out = chain.predict(models, folds, "out-of-fold")
    adapted = load_model(chain.train("all", out))
    fitted = collect(left_out, studies).fit(Identity(adapted.name, adapted.sha256, ensemble=settings.members))
    fitted.calibration.save(out / CALIBRATION)
    write_files({out / CARD: _card(adapted, before, predicted, left_out, settings).encode()})
    return adapted


def _configs(
    model: Model, start: Path, studies: Mapping[str, Any], work: Path, settings: Settings
) -> dict[str, Config]:
    """Configuration of each stage, the first one first: that of the model, going on from its weights."""
    stages = (
        {"fullres": (model, start)}
        if model.previous_stage is None
        else {
            "lowres": (model.previous_stage, start / PREVIOUS_STAGE),
            "fullres": (model, start),
        }
    )
    configs = {}
    for name, (stage, folder) in stages.items():
        provenance = stage.provenance
        if "config" not in provenance or "trained_on" not in provenance:
            raise ValueError(f"{folder} was not trained by uncseg-train; only such networks can be adapted.")
        if seen := sorted(set(provenance["trained_on"]) & set(studies)):
            raise ValueError(f"{folder} was trained on {seen[0]} already; take that study out.")
        second = stage.previous_stage is not None
        configs[name] = replace(
            config_from(provenance["config"]),
            **FRESH,
            name=f"{stage.name}-adapted",
            start=str(folder),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            cases=str(work / "cases" / name),
            phantoms=str(work / "phantom-cases" / name) if second else "",
            previous_stage=str(work / "previous-stage") if second else "",
            splits="",
            folds=0,
        )
    return configs


def _card(model: Model, start: Model, before: Path, after: Path, settings: Settings) -> str:
    """What the adapted model is and how good it has become, in Markdown."""
    dice = {
        what: np.array(
            [[read_result(path).provenance["dice"][region] for region in REGIONS] for path in find_results(place)]
        )
        for what, place in (("before", before), ("after", after))
    }
    rows = []
    for index, region in enumerate(REGIONS):
        old, new = dice["before"][:, index], dice["after"][:, index]
        gain = bootstrap_bca(new - old)
        rows.append(f"| {region} | {old.mean():.3f} | {new.mean():.3f} | {gain.low:+.3f} to {gain.high:+.3f} |")
    return CARD_TEXT.format(
        name=model.name,
        sha=model.sha256,
        start=start.name,
        start_sha=start.sha256[:12],
        studies=len(dice["after"]),
        rows="\n".join(rows),
        steps=settings.steps,
        members=settings.members,
    )
