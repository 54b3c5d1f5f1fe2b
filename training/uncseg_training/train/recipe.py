"""The release network from the start, for whoever holds the patients: one call for all that is done by hand otherwise.

Phantom stage, cases of both stages, both stages of each fold, their export, every patient predicted by the networks
that never saw it, calibration, error risk and expected Dice out of fold, and the evaluation of it all. Everything lies
in one folder, and what is done is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_uncseg.evaluation.matching import Pair, match
from napari_uncseg.evaluation.runner import EvaluationSettings, evaluate_pairs, merge
from napari_uncseg.evaluation.summary import Summary, summarise
from napari_uncseg.io.files import versions
from napari_uncseg.io.study import Study
from napari_uncseg.models.identity import CALIBRATION, calibration_of, identify
from napari_uncseg.reporting.evaluation_report import Making, write_report
from uncseg_training.data.cases import Cases
from uncseg_training.data.cohort_splits import balanced_splits, traits_of
from uncseg_training.data.splits import SPLITS as RELEASE_SPLITS
from uncseg_training.data.splits import read_splits, split_by_group, write_splits
from uncseg_training.train.chain import SPLITS, Chain, Tell, patients_of
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.config_files import CONFIGS, find_yaml, read_yaml
from uncseg_training.train.cross_validation import collect, write_left_out
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit

RECIPES, EVALUATION = CONFIGS / "recipes", "evaluation"

EXPORT: Mapping[str, Any] = {
    "average": True,
    "keep_snapshots": False,
    "stage_weights": (0.5, 0.6, 0.8),
    "smallest_ml": 0.02,
    "members": "tta:2",
}
"""How networks of the release are exported; what was chosen by which figures stands in the results of the choices."""

Splits = list[dict[str, list[str]]]


@dataclass(frozen=True)
class Recipe:
    """Configurations of the stages.

    Parameters
    ----------
    phantoms : int
        Phantoms at the second stage's voxel size that it learns from beside patients.
    stages : mapping of str to mapping
        ``phantom``, ``lowres`` and ``fullres``: the configuration that each begins with, and changes of its keys.
    """

    phantoms: int
    stages: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, source: str) -> Recipe:
        """A recipe by its name, or from a YAML file.

        Raises
        ------
        ValueError
            When there is none, or it does not name the three stages.
        """
        path = find_yaml(source, RECIPES, "recipe")
        content = read_yaml(path)
        try:
            stages = {name: {"config": str(content[name]["config"]), **content[name]} for name in STAGES}
            return cls(int(content["phantoms"]), stages)
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(STAGES)
            raise ValueError(f"{path} is no recipe; it needs phantoms, and a config for each of {names}.") from error

    def config(self, stage: str, **changes: Any) -> Config:
        """Configuration of a stage, with changes on top."""
        own = {key: value for key, value in self.stages[stage].items() if key != "config"}
        alone = {"cases": "", "phantoms": "", "previous_stage": "", "splits": "", "folds": 0, "start": ""}
        return read_config(self.stages[stage]["config"], **(alone | own | changes))


STAGES = ("phantom", "lowres", "fullres")


def run_recipe(
    sources: Sequence[Path],
    out: Path,
    anatomies: Path,
    recipe: Recipe,
    *,
    start: Path | None = None,
    splits: Path | None = None,
    folds: int = 5,
    command: str = "",
    tell: Tell = lambda _: None,
) -> Summary:
    """Train, judge and write the networks of all folds.

    Parameters
    ----------
    sources : sequence of Path
        Folders of studies with references.
    out : Path
        Takes ``fold-K``, a model folder for each fold, ``evaluation`` and, in ``work``, all that stands between.
    anatomies : Path
        File of ``uncseg-train anatomies``, for the phantoms.
    recipe : Recipe
    start : Path, optional
        A finished phantom stage, or a model folder exported from one, in the place of a new one.
    splits : Path, optional
        File of the folds; without it those of the release network where the studies are its own, else new ones,
        balanced by source, size and enhancement, or by patient where one has several studies.
    folds : int
        Into how many parts the patients are split.
    command : str
        What makes the same again.
    tell : callable
        Told a sentence at each step.

    Returns
    -------
    Summary
        Of all studies, each predicted by networks that never saw its patient.

    Raises
    ------
    ValueError
        When there are too few studies, or the folds are not those of the studies.
    UncsegError
        When a study cannot be read, or a file not be written.
    """
    studies, groups = patients_of(sources, "The recipe")
    work, begin = out / "work", start or out / "work" / "phantom"
    alone = recipe.config("phantom")
    seen = {"cases": str(work / "cases" / "fullres"), "phantoms": str(work / "phantom-cases" / "fullres")}
    lowres = recipe.config("lowres", start=str(begin), cases=str(work / "cases" / "lowres"))
    fullres = recipe.config("fullres", **seen, previous_stage=str(work / "previous-stage"))
    chain = Chain(sources, anatomies, work, {"lowres": lowres, "fullres": fullres}, EXPORT, tell)
    given = None if splits is None else _checked(read_splits(splits), studies, splits)
    if start is not None:
        Training.of_run(start)  # refused before hours of work, if it is none
    else:
        tell(f"{begin}: training")
        fit(anatomies, begin, alone)
    chain.write_cases(recipe.phantoms)
    parts = given or _folds(groups, work / "cases" / "lowres", lowres, folds)
    write_splits(parts, work / SPLITS)
    models = chain.train_folds(parts)
    results = chain.predict(models, parts, "out-of-fold")
    _calibrate(results, models, studies, out, chain)
    tell(f"{out / EVALUATION}: evaluating")
    return _evaluate(results, sources, out / EVALUATION, command)


def _folds(groups: Mapping[str, str], cases: Path, config: Config, folds: int) -> Splits:
    """Those of the release network where the studies are its own; else balanced ones, or by patient."""
    released = read_splits(RELEASE_SPLITS)
    if {name for fold in released for name in fold["val"]} == set(groups):
        return released
    folds = min(folds, len(set(groups.values())))
    if len(set(groups.values())) < len(groups):
        return split_by_group(groups, folds)
    found = Cases.open(cases, replace(config, cases=""))
    return balanced_splits(traits_of(found, config.spacing), folds)


def _checked(splits: Splits, studies: Mapping[str, Any], path: Path) -> Splits:
    held_out = [name for fold in splits for name in fold["val"]]
    if sorted(held_out) != sorted(studies):
        odd = sorted(set(held_out) ^ set(studies)) or sorted(held_out)
        raise ValueError(
            f"{path} does not hold each study out once ({odd[0]}); split them anew, or leave --splits out."
        )
    return splits


def _calibrate(
    results: Path, models: Mapping[int, Path], studies: Mapping[str, Callable[[], Study]], out: Path, chain: Chain
) -> None:
    """Model folders with the calibration that all predictions out of fold give; each result is told what it is due."""
    folders = {fold: out / f"fold-{fold}" for fold in models}
    if all(_is_calibrated(folders[fold], model) for fold, model in models.items()):
        chain.tell(f"{out}: calibrated already")
        return
    chain.tell(f"{results}: calibrating")
    shutil.rmtree(out / EVALUATION, ignore_errors=True)  # of results that will tell something else now
    collected = collect(results, studies)
    write_left_out(results, studies, collected.samples, chain.tell)
    first = identify(models[0])
    fitted = collected.fit(replace(first, ensemble=chain.members))
    for fold, model in models.items():
        shutil.copytree(model, folders[fold], dirs_exist_ok=True)
        identity = identify(model)
        origin = {"name": identity.name, "sha256": identity.sha256}
        provenance = {**fitted.calibration.provenance, "model": origin}
        own = replace(fitted.calibration, model_sha256=identity.sha256, provenance=provenance)
        own.save(folders[fold] / CALIBRATION)
    for note in fitted.notes:
        chain.tell(f"note: {note}")


def _is_calibrated(folder: Path, model: Path) -> bool:
    calibration = calibration_of(folder)
    return calibration is not None and calibration.model_sha256 == identify(model).sha256


def _evaluate(results: Path, sources: Sequence[Path], out: Path, command: str) -> Summary:
    """What ``uncseg evaluate`` makes of results, with references of several folders."""
    pairs: dict[str, Pair] = {}
    for source in sources:
        pairs |= {pair.id: pair for pair in match(results, source).pairs if pair.problem is None}
    ordered = [pairs[name] for name in sorted(pairs)]
    measured, failures = evaluate_pairs(ordered, EvaluationSettings(out), workers=1)
    summary = summarise(merge(measured, failures))
    folders = {"predictions": str(results), "references": ", ".join(map(str, sources))}
    write_report(summary, Making(command, versions("numpy", "scipy", "nibabel"), folders=folders), out)
    return summary
