"""What the experiment ``paper1`` keeps of each finished run: Dice, and the channel beside errors, case by case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from napari_uncseg.arrays import AnyFloats
from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.labels import REGIONS, labels_from_regions
from napari_uncseg.models.heads import split
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy
from uncseg_training.data.cases import Cases
from uncseg_training.data.normalise import Normalisation, normalise
from uncseg_training.data.patches import whole_case
from uncseg_training.experiments import harness
from uncseg_training.experiments.paper1_figures import Panel, drawn_cases
from uncseg_training.experiments.paper1_tables import ERROR_MAP, FAILURE, compare
from uncseg_training.experiments.studies import region_dice
from uncseg_training.paper1 import sweep_log
from uncseg_training.paper1.published import visit
from uncseg_training.paper1.variance import readings
from uncseg_training.train.crossfit import examples_of_cases, out_of_fold_errors, teach_uncertainty
from uncseg_training.train.curves import read_log
from uncseg_training.train.precision import autocast
from uncseg_training.train.state import Training
from uncseg_training.train.targets import Targets, predict_case

Records = Mapping[tuple[str, int], Mapping[str, Any]]
"""Arm and fold -> what :func:`judge` keeps."""

LATE = 0.06
"""Share of the steps, the last ones, that numbers are averaged over beside those of the final network."""

ROUNDS = 60
"""How often held-out cases pass through a place of the batch."""


def held_out(training: Training, cases: Cases) -> tuple[str, ...]:
    """Cases that a training has not seen."""
    config = training.config
    return cases.split(config.folds, config.fold, config.splits)[1]


def judge(run: Path, cases: Cases, device: torch.device) -> dict[str, Any]:
    """Everything of one finished run.

    Returns
    -------
    dict
        ``dice`` and ``late_dice``, case -> region -> Dice; where the run has a channel ``compared``, rows of
        :func:`~uncseg_training.experiments.paper1_tables.compare`, ``late``, case -> numbers of the last sweeps, and
        ``pull``, those of all sweeps of cases it was trained on; of the published pattern ``steps``, the six numbers of
        its last training steps.
    """
    training = Training.of_run(run)
    config, names = training.config, held_out(training, cases)
    log = [line for line in read_log(run) if line["step"] > (1 - LATE) * config.steps]
    each = [np.array(line["each"], float) for line in log if "each" in line]
    late = np.mean(each, axis=0) if each else np.full((len(names), 3), np.nan)
    found: dict[str, Any] = {
        "dice": dice_of(training, cases, device),
        "late_dice": {
            name: dict(zip(map(str, REGIONS), row, strict=True)) for name, row in zip(names, late.tolist(), strict=True)
        },
    }
    if config.uncertainty == "none":
        return found
    targets, compared = Targets.of_run(run, config, cases, begins=False), []
    for name in names:
        case = see(training.averaged.to(device), cases, name, config.spacing, kept_maps(targets, name)).case
        compared += against_the_error_map(case, targets, name)
        compared += [compare(case, key, FAILURE) for key in case.maps if key != "error map"]
    swept = sweep_log.read(run)
    seen, late = swept["case"].isin(names), swept["step"] > (1 - LATE) * config.steps
    pulled = swept[~seen].dropna(subset=["cosine"]) if "cosine" in swept else swept[:0]
    found |= {"compared": compared, "late": swept[seen & late].groupby("case").mean().to_dict("index")}
    found["pull"] = pulled.groupby("case").mean().to_dict("index")
    if config.channel == "published":
        lines = pd.DataFrame([line for line in log if "rmsd unc_output" in line])
        found["steps"] = {name: float(lines[name].mean()) for name in lines if " " in name}
    return found


def dice_of(training: Training, cases: Cases, device: torch.device) -> dict[str, dict[str, float]]:
    """Dice of the averaged network on every case it has not seen, NaN for regions below 1 mL."""
    network, found = training.averaged.to(device), {}
    for name in held_out(training, cases):
        labels = labels_from_regions(predict_case(network, cases, name, device)[:3].numpy())
        dice = region_dice(labels, cases.labels(name), training.config.spacing**3 / 1000)
        found[name] = {str(region): value for region, value in dice.items()}
    return found


def see(network: torch.nn.Module, cases: Cases, name: str, spacing: float, maps: Mapping[str, AnyFloats]) -> Panel:
    """Predict a case where the network lies; its maps are those given, the channel, var1shot and the entropy."""
    stored = cases.load(name)
    answer = predict_case(network, cases, name, next(network.parameters()).device).numpy()
    own = {"unc_output": answer[3], "unc_output_unmasked": answer[4]} if len(answer) > 3 else {}
    own |= {"var1shot_x4": 4 * bernoulli_variance(answer[0]), "entropy_in_bits": entropy(answer[0]) / np.log(2)}
    case = case_from_arrays(
        labels_from_regions(answer[:3]),
        stored.labels,
        probabilities=answer[:3],
        maps={key: np.clip(value, 0, 1) for key, value in {**maps, **own}.items()},
        brain=stored.images.any(0),
        spacing=(spacing,) * 3,
        id=name,
    )
    return Panel(name, case, stored.images[0].astype(np.float32))


def kept_maps(targets: Targets, name: str) -> dict[str, AnyFloats]:
    """Error map and moving variance of a case, as the training kept them; 4 v, so that an even coin is 1."""
    history = targets.variances.read(name)
    return {
        "error map": np.nan_to_num(targets.errors.read(name).error[0]),
        "variance_stable_x4": 4 * np.clip(history.variance, 0, 0.25),
        "bernoulli_ema_x4": 4 * np.clip(history.bernoulli, 0, 0.25),
    }


def against_the_error_map(case: Case, targets: Targets, name: str) -> list[harness.Row]:
    """The paper's comparison: the channel and every reading of the variances with the error map, each normalised."""
    assert case.probabilities is not None  # made with them
    error = targets.errors.read(name).error[0]
    known = case.tumour & np.isfinite(error)

    def against(key: str, values: AnyFloats, scale: str) -> harness.Row:
        mask, aim = known & np.isfinite(values), error
        if scale != "none":
            values = normalise(np.nan_to_num(values), scale, known, error)
        if scale == Normalisation.SQUEEZE:
            aim = normalise(error, scale, known, error)
        return compare(case, key, ERROR_MAP, target=aim, mask=mask, values=values, scale=scale)

    found = [against("unc_output", case.maps["unc_output"], scale) for scale in ("none", Normalisation.SQUEEZE)]
    variances = readings(case.probabilities, targets.variances.read(name)).items()
    return found + [against(str(key), values, scale) for key, values in variances for scale in Normalisation]


def sound(
    heads: Sequence[Path], fold: int, cases: Cases, out: Path, steps: int, device: torch.device
) -> list[harness.Row]:
    """The channel of a fold's network taught on errors of networks that never saw the case, on what it held out."""
    training = Training.of_run(heads[fold])
    config, network = training.config, training.averaged.to(device)
    errors = out_of_fold_errors(cases, heads, out / "out_of_fold", device)
    trained = cases.split(config.folds, fold, config.splits)[0]
    teach_uncertainty(network, examples_of_cases(cases, trained, errors, steps, config.seed), device)
    rows = []
    for name in held_out(training, cases):
        case = see(network, cases, name, config.spacing, {}).case
        rows += [compare(case, key, FAILURE, name=f"{key}, sound") for key in ("unc_output", "unc_output_unmasked")]
    return rows


def through_slots(run: Path, cases: Cases, device: torch.device) -> dict[str, float]:
    """The six numbers of the published pattern where held-out cases take turns in one place of the batch.

    The network stands still; the numbers are means over the second half of :data:`ROUNDS` rounds, each in an order of
    its own.
    """
    training = Training.of_run(run)
    network, answers = training.averaged.to(device).eval(), []
    for name in held_out(training, cases):
        sample = whole_case(cases, name)
        with torch.no_grad(), autocast(device):
            output = network(sample.images[None].to(device)).float().cpu()
        logits, doubt = split(output, "regions")
        assert doubt is not None  # the run has the channel
        answers.append((logits, doubt, sample.regions[None].float()))
    state: dict[str, torch.Tensor] = {}
    rows = []
    for turn in range(ROUNDS):
        for place in np.random.default_rng((7, turn)).permutation(len(answers)):
            logits, doubt, regions = answers[int(place)]
            maps = visit(state, "validation", logits, regions, training.config.mask)
            if turn >= ROUNDS // 2:
                rows.append(maps.numbers(doubt))
    return {name: float(value) for name, value in pd.DataFrame(rows).mean().items() if math.isfinite(value)}


def panels_of(runs: Mapping[int, Path], cases: Cases, device: torch.device) -> list[Panel]:
    """Six held-out cases of finished runs, from the smallest tumour to the largest."""
    trainings = {fold: Training.of_run(run) for fold, run in runs.items()}
    judges = {name: fold for fold, training in trainings.items() for name in held_out(training, cases)}
    panels = []
    for name in drawn_cases({name: int((cases.labels(name) > 0).sum()) for name in judges}):
        training = trainings[judges[name]]
        targets = Targets.of_run(runs[judges[name]], training.config, cases, begins=False)
        network = training.averaged.to(device)
        panels.append(see(network, cases, name, training.config.spacing, kept_maps(targets, name)))
    return panels
