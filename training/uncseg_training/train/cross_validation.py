"""Predictions out of fold: every study once, by the model of the fold that held it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_uncseg.evaluation.calibration_studies import Collected, FitSettings
from napari_uncseg.evaluation.case import case_from_prediction
from napari_uncseg.evaluation.error_models import (
    OUT_OF_FOLD,
    ErrorModels,
    Sample,
    evidence_of,
    fit_error_models,
    in_folds,
)
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.results import find_results, load_prediction, read_result
from napari_uncseg.io.saving import State, check_target, save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.models.model import Model, load_model
from napari_uncseg.uncertainty.needs_review import RESULT_CODES, Reason, told_by
from uncseg_training.data.labelled_studies import labelled_studies


def predict_out_of_fold(
    models: Mapping[int, Path],
    splits: Sequence[Mapping[str, Sequence[str]]],
    sources: Sequence[Path],
    out: Path,
    *,
    members: str = "single",
    maps: Sequence[str] | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Predict what each fold held out, into one folder of results that ``uncseg evaluate`` reads.

    A result that stands there already and was made from the same images, model and members is kept, so that a run that
    was cut goes on.

    Parameters
    ----------
    models : mapping of int to Path
        Model folder of each fold; folds without one are left out.
    splits : sequence of mapping
        Folds, see :func:`uncseg_training.data.splits.read_splits`.
    sources : sequence of Path
        Folders of studies with references, or of results with corrections.
    out : Path
        Takes a folder per study.
    members, maps, overwrite
        As for ``uncseg predict``.
    tell : callable
        Told the name of each study that is done.

    Returns
    -------
    dict of str to int
        Fold by study.

    Raises
    ------
    ValueError
        When a study is absent, or a model was trained on a study that it is to predict.
    UncsegError
        When a study or a model cannot be read, or a result not saved.
    """
    studies = labelled_studies(sources)
    folds: dict[str, int] = {}
    for fold, folder in models.items():
        held_out = splits[fold]["val"]
        if absent := [name for name in held_out if name not in studies]:
            raise ValueError(f"Study {absent[0]} of fold {fold} is in none of the folders; name its folder, too.")
        model = load_model(folder)
        _require_unseen(model, fold, held_out)
        predictor = Predictor(model, own_calibration=False)  # it may have been fitted on these patients
        for name in held_out:
            study, folds[name] = studies[name](), fold
            promised = predictor.provenance(study, ensemble=members, maps=maps)
            told = {**promised, "settings": {**promised["settings"], **OUT_OF_FOLD}}
            standing = (check_target(out, name, each, maps or tuple(Measure)).state for each in (promised, told))
            if State.SAME in standing:
                tell(f"fold {fold}: {name} is there")
                continue
            save_prediction(predictor.predict(study, ensemble=members, maps=maps), out, overwrite=overwrite)
            tell(f"fold {fold}: {name}")
    return folds


def collect(
    results: Path, studies: Mapping[str, Callable[[], Study]], settings: FitSettings | None = None
) -> Collected:
    """Results of folds beside their references, to fit a calibration on.

    Parameters
    ----------
    results : Path
        Folder that :func:`predict_out_of_fold` wrote.
    studies : mapping of str to callable
        As :func:`uncseg_training.data.cases.labelled_studies` gives them.
    settings : FitSettings, optional
        Method, voxel set and alpha.

    Raises
    ------
    UncsegError
        When a result or its study cannot be read.
    """
    collected = Collected(settings or FitSettings())
    for path in find_results(results):
        saved = read_result(path)
        study, prediction = studies[saved.study_id](), load_prediction(path)
        assert study.reference is not None  # it would not be among these otherwise
        case = case_from_prediction(prediction, study.reference, brain=study.brain, images=study.images)
        collected.add(case, saved.provenance, {source.role: source.sha256 for source in study.sources})
    return collected


def members_of(results: Path) -> str:
    """Members that all results are the mean of.

    Raises
    ------
    ValueError
        When there are no results, or of several kinds.
    """
    found = {str(read_result(path).provenance["settings"].get("method", "single")) for path in find_results(results)}
    if len(found) != 1:
        what = f"were predicted with {' and '.join(sorted(found))}" if found else "are not there"
        raise ValueError(f"The results in {results} {what}; predict them all with one kind of members.")
    return found.pop()


def write_left_out(
    results: Path,
    studies: Mapping[str, Callable[[], Study]],
    samples: Sequence[Sample],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Add to each result the error risk and the expected Dice that were fitted without its fold, to be judged by.

    Parameters
    ----------
    results : Path
        Folder that :func:`predict_out_of_fold` wrote.
    studies : mapping of str to callable
        As :func:`uncseg_training.data.cases.labelled_studies` gives them.
    samples : sequence of Sample
        Of all results, see :func:`collect`.
    tell : callable
        Told the name of each study that is done.

    Raises
    ------
    UncsegError
        When a result or its study cannot be read, or a result not saved.
    """
    left_out = fit_left_out(samples)
    for sample in in_folds(samples):
        study, prediction = studies[sample.id](), load_prediction(results / sample.id)
        assert study.reference is not None  # it would not be among these otherwise
        case = case_from_prediction(prediction, study.reference, brain=study.brain, images=study.images)
        found, provenance, maps = left_out[sample.fold], dict(prediction.provenance), {}
        provenance["settings"] = {**provenance["settings"], **OUT_OF_FOLD}
        if found.error_risk is not None:
            evidence, box = evidence_of(case)
            for region, risk in zip(REGIONS, found.error_risk.apply(evidence, case.brain[box]), strict=True):
                maps[str(MapName(Measure.ERROR_RISK, region))] = whole = np.zeros(case.shape, np.float32)
                whole[box] = risk
        if found.expected_dice is not None:
            volumes = {region: provenance["volumes_ml"][region] for region in REGIONS}
            kept = [Reason(**each) for each in provenance["needs_review"] if each["code"] not in RESULT_CODES]
            provenance |= told_by(found.expected_dice, sample.quality, volumes, kept)
        # Those of an earlier call are replaced; the map that leads comes first.
        maps |= {name: each for name, each in prediction.maps.items() if name not in maps}
        save_prediction(replace(prediction, maps=maps, provenance=provenance), results, overwrite=True, anew=True)
        tell(f"fold {sample.fold}: {sample.id}")


def _require_unseen(model: Model, fold: int, held_out: Sequence[str]) -> None:
    """Refuse a model, or a stage of one, that says it was trained on what it is to predict."""
    stage: Model | None = model
    while stage is not None:
        seen = sorted(set(stage.provenance.get("trained_on", ())) & set(held_out))
        if seen or "trained_on" not in stage.provenance:
            what = f"was trained on {seen[0]}" if seen else "does not say what it was trained on"
            raise ValueError(f"Model {stage.name} {what}, so it cannot predict fold {fold} out of fold.")
        stage = stage.previous_stage


def fit_left_out(samples: Sequence[Sample]) -> dict[int, ErrorModels]:
    """For each fold what is fitted on the others, to judge by."""
    samples = in_folds(samples)
    folds = sorted({sample.fold for sample in samples})
    return {fold: fit_error_models([sample for sample in samples if sample.fold != fold]) for fold in folds}
