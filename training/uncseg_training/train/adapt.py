"""The shipped networks taught on a site's own patients, cross-validated by patient.

Both stages go on from the shipped weights with the site's studies and phantoms, once for each fold and once for all
studies together. What the folds predict of the studies they held out tells how good the last one is, and is what its
calibration, error risk and expected Dice are fitted on. Everything lies in one folder, so that a call that was cut goes
on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.evaluation.calibration_studies import Origin
from napari_uncseg.inference.device import resolve_device
from napari_uncseg.inference.postprocessing import smallest_of
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.io.files import write_files
from napari_uncseg.io.results import find_results, read_result
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.statistics import bootstrap_bca
from napari_uncseg.models.identity import CALIBRATION, PREVIOUS_STAGE, bundled_model_folder
from napari_uncseg.models.model import Model, load_model
from uncseg_training.data.cases import write_study_cases
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.previous_stage import write_previous_stage
from uncseg_training.data.splits import patient, split_by_group, write_splits
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms, write_phantom
from uncseg_training.train.config import Config, config_from
from uncseg_training.train.cross_validation import collect, predict_out_of_fold
from uncseg_training.train.state import Training, export_run
from uncseg_training.train.trainer import fit

SPLITS, CARD, SEED = "splits.json", "MODEL_CARD.md", 4101

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

LEAST_STUDIES = 5
"""Fewer studies than that neither teach a network nor tell how good it has become."""

Tell = Callable[[str], None]


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
        When there are fewer than :data:`LEAST_STUDIES` studies, or the model is none of ``uncseg-train`` or was trained
        on one of the studies.
    UncsegError
        When a study, a result or the model cannot be read.
    """
    settings, work = settings or Settings(), work or out.with_name(f"{out.name}-training")
    start = model or bundled_model_folder()
    studies = labelled_studies(sources)
    groups = {study: patient(study) for study in studies}
    patients = len(set(groups.values()))
    if len(studies) < LEAST_STUDIES or patients < 2:
        raise ValueError(
            f"Adapting needs at least {LEAST_STUDIES} studies with references, of two patients or more; here are "
            f"{len(studies)} of {patients}."
        )
    folds = split_by_group(groups, min(settings.folds, patients))
    model_before = load_model(start)
    configs = _configs(model_before, start, studies, work, settings)
    weights, smallest = InputPlan.from_plans(model_before.plans).stage_weights, smallest_of(model_before.plans)
    write_splits(folds, work / SPLITS)
    _write_cases(sources, configs, anatomies, work, settings, tell)

    def trained(name: str, folder: Path, **changes: Any) -> Path:
        runs = []
        for stage, config in configs.items():
            runs.append(work / name / stage)
            tell(f"{runs[-1]}: training")
            fit(anatomies, runs[-1], replace(config, **changes))
        first = runs[0] if len(runs) > 1 else None
        told: dict[str, Any] = {"stage_weights": weights, "smallest_ml": smallest, "keep_snapshots": False}
        told["members"] = settings.members
        export_run(runs[-1], folder, previous_stage=first, **told)
        return folder

    def predicted(models: Mapping[int, Path], held_out: Sequence[Mapping[str, Sequence[str]]], name: str) -> Path:
        predict_out_of_fold(models, held_out, sources, work / name, members=settings.members, overwrite=True, tell=tell)
        return work / name

    models = {
        k: trained(f"fold-{k}", work / "models" / f"{k}", folds=len(folds), fold=k, splits=str(work / SPLITS))
        for k in range(len(folds))
    }
    before = predicted({0: start}, [{"val": list(studies)}], "before")
    after = predicted(models, folds, "out-of-fold")
    adapted = load_model(trained("all", out))
    fitted = collect(after, studies).fit(Origin(adapted.name, adapted.sha256, settings.members))
    fitted.calibration.save(out / CALIBRATION)
    write_files({out / CARD: _card(adapted, model_before, before, after, settings).encode()})
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


def _write_cases(
    sources: Sequence[Path], configs: Mapping[str, Config], anatomies: Path, work: Path, settings: Settings, tell: Tell
) -> None:
    """Studies as cases of both stages; phantoms too for the second one, with what the first one says of both."""
    plain = {name: replace(config, cases="", phantoms="", previous_stage="") for name, config in configs.items()}
    cases = write_study_cases(sources, {work / "cases" / name: each for name, each in plain.items()}, tell)
    if len(configs) == 1:
        return
    _write_phantoms(anatomies, configs["fullres"], work / "phantoms", settings.phantoms, tell)
    phantoms = write_study_cases(
        work / "phantoms", {work / "phantom-cases" / name: each for name, each in plain.items()}, tell
    )
    first = Training.of_run(Path(configs["lowres"].start))
    device = resolve_device("auto")
    first.to(device)
    for coarse, fine in (cases, phantoms):
        write_previous_stage(first.averaged, coarse, fine, work / "previous-stage", device, tell)


def _write_phantoms(anatomies: Path, config: Config, folder: Path, count: int, tell: Tell) -> None:
    made = Phantoms(load_anatomies(anatomies), config.volume, config.spacing, SEED, prior="matched")
    for index in range(count):
        name = f"UNCSEG-phantom-{index:05d}"
        if not (folder / name).is_dir():
            write_phantom(made[index], folder, name, config.spacing)
        tell(f"{folder / name}: written")


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
