"""*Uncertainty-Aware nnU-Net* on phantoms: ``python -m uncseg_training.experiments.paper1 --config cpu -o OUT``.

Trains, on a fixed cohort of phantoms split into folds, the same network with the uncertainty channel (``head``),
without it (``plain``), and without it from another seed (``again``: what chance alone changes). One more with the
channel is trained on all cases and judged on phantoms of another stream. Then it writes

    table1.csv/.md   Dice with and without the channel, their difference, and that of two seeds
    table2.csv/.md   channel, variances and entropy against the error map of the training, against the final failure of
                     the held-out cases, and, taught on its own errors or out of fold, on unseen phantoms
    figure1.png      correlation and RMSD of the channel with the error map while training
    figure2.png      error map, channel and both variances in six held-out cases
    paper1.json      every number, and the configurations

Runs go on where they were cut; what is trained is not trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.inference.device import resolve_device
from napari_uncseg.labels import Region, labels_from_regions
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy
from uncseg_training.data.cases import Cases, write_phantom_cases
from uncseg_training.data.normalise import Normalisation, normalise
from uncseg_training.experiments import harness
from uncseg_training.experiments.paper1_figures import Panel, draw_cases, draw_progress, drawn_cases
from uncseg_training.experiments.paper1_tables import Map, compare, write_table1, write_table2
from uncseg_training.paper1.variance import readings
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.crossfit import examples_of_cases, out_of_fold_errors, teach_uncertainty
from uncseg_training.train.curves import read_log
from uncseg_training.train.state import Training
from uncseg_training.train.targets import Targets, predict_case

COHORT_SEED, UNSEEN_SEED = 41, 77
FAILURE = "final failure, held out"


@dataclass(frozen=True)
class Plan:
    """One size of the experiment.

    Parameters
    ----------
    config : Config
        Of every network; names, folds and what the channel learns are set by the experiment.
    cases, unseen : int
        Phantoms to train and to be held out, and phantoms of another stream.
    folds : int
        Of the cohort; every one is trained.
    teach : int
        Whole volumes the channel is taught on out of fold.
    """

    config: Config
    cases: int
    unseen: int
    folds: int
    teach: int


def plan_of(size: harness.Size) -> Plan:
    """The sizes; ``gpu`` is that of the paper, as far as phantoms go."""
    common = {**harness.PINNED, "seed": 3, "snapshots": 1, "decay": 0.6}
    small = {**harness.SMALL, "steps": 500, "whole_from": 0.7, "sweeps": 10, "workers": 0}
    large = {"steps": 20_000, "whole_from": 0.5, "sweeps": 20, "batch": 2, "workers": 0}
    own, counts = {
        harness.Size.SMOKE: ({"sweeps": 3}, (4, 4, 2, 4)),
        harness.Size.CPU: (small, (60, 40, 3, 240)),
        harness.Size.GPU: (large, (400, 100, 5, 800)),
    }[size]
    return Plan(read_config(harness.BASE[size], **common | own), *counts)


def runs_of(plan: Plan, cases: Path) -> Iterator[Config]:
    """Every training: with the channel, without, and without it again, per fold; with it on all cases."""
    base = replace(plan.config, cases=str(cases), share=1.0)
    for fold in range(plan.folds):
        part = replace(base, folds=plan.folds, fold=fold)
        yield replace(part, name=f"head-{fold}", uncertainty="error_map")
        yield replace(part, name=f"plain-{fold}", uncertainty="none")
        yield replace(part, name=f"again-{fold}", uncertainty="none", seed=base.seed + 1000)
    yield replace(base, name="head-all", uncertainty="error_map")


def train(plan: Plan, out: Path, anatomies: Path, clock: harness.Clock) -> None:
    """Write the cohorts and train what is missing."""
    write_phantom_cases(anatomies, out / "cases", plan.config, plan.cases, COHORT_SEED)
    write_phantom_cases(anatomies, out / "unseen", plan.config, plan.unseen, UNSEEN_SEED)
    harness.train_all(runs_of(plan, out / "cases"), out / "runs", anatomies, clock)


def see(network: torch.nn.Module, cases: Cases, name: str, spacing: float, maps: Mapping[str, Map]) -> Panel:
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


def measure(plan: Plan, out: Path) -> dict[str, Any]:
    """Every number of the finished trainings, and the figures."""
    spacing, device = plan.config.spacing, resolve_device("auto")
    cases = Cases.open(out / "cases", plan.config)
    dice: dict[str, list[dict[Region, float]]] = {"head": [], "plain": [], "again": []}
    compared: list[harness.Row] = []
    failing: list[harness.Row] = []
    panels: list[Panel] = []
    drawn = drawn_cases({name: int((cases.labels(name) > 0).sum()) for name in cases.names})
    for fold, (kind, rows) in product(range(plan.folds), dice.items()):
        run = out / "runs" / f"{kind}-{fold}"
        network = Training.of_run(run).averaged.to(device)
        targets = Targets.of_run(run, cases, begins=False) if kind == "head" else None
        for name in cases.split(plan.folds, fold)[1]:
            seen = see(network, cases, name, spacing, {} if targets is None else kept_maps(targets, name))
            labels = labels_from_regions(np.asarray(seen.case.probabilities))
            rows.append(harness.region_dice(labels, cases.labels(name), spacing**3 / 1000))
            if targets is None:
                continue
            compared += against_the_error_map(seen.case, targets, name)
            failing += [compare(seen.case, key, FAILURE) for key in seen.case.maps if key != "error map"]
            if name in drawn:
                panels.append(seen)
    runs = {f"fold {fold}": read_log(out / "runs" / f"head-{fold}") for fold in range(plan.folds)}
    draw_progress(runs, out / "figure1.png")
    draw_cases(panels, out / "figure2.png")
    table1 = write_table1(dice, out)
    table2 = write_table2([*compared, *failing, *on_unseen(plan, out, cases)], out)
    return {"plan": asdict(plan), "table1": table1, "table2": table2}


def kept_maps(targets: Targets, name: str) -> dict[str, Map]:
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

    def against(key: str, values: Map, scale: str) -> harness.Row:
        mask, aim = known & np.isfinite(values), error
        if scale != "none":
            values = normalise(np.nan_to_num(values), scale, known, error)
        if scale == Normalisation.SQUEEZE:
            aim = normalise(error, scale, known, error)
        return compare(case, key, "error map, held out", target=aim, mask=mask, values=values, scale=scale)

    found = [against("unc_output", case.maps["unc_output"], scale) for scale in ("none", Normalisation.SQUEEZE)]
    variances = readings(case.probabilities, targets.variances.read(name)).items()
    return found + [against(str(key), values, scale) for key, values in variances for scale in Normalisation]


def on_unseen(plan: Plan, out: Path, cases: Cases) -> Iterator[harness.Row]:
    """Phantoms of another stream: the channel as the training left it, and taught on errors out of fold."""
    unseen = Cases.open(out / "unseen", plan.config)
    training = Training.of_run(out / "runs" / "head-all")
    device = resolve_device("auto")
    network = training.averaged.to(device)
    before = {name: predict_case(network, unseen, name, device)[3].numpy() for name in unseen.names}
    folds = [out / "runs" / f"head-{fold}" for fold in range(plan.folds)]
    errors = out_of_fold_errors(cases, folds, out / "out_of_fold", device)
    teach_uncertainty(network, examples_of_cases(cases, cases.names, errors, plan.teach, plan.config.seed), device)
    for name in unseen.names:
        seen = see(network, unseen, name, plan.config.spacing, {"unc_output, paper": before[name]})
        for key in seen.case.maps:
            yield compare(
                seen.case, key, "final failure, unseen", name="unc_output, sound" if key == "unc_output" else key
            )


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    anatomies: harness.AnatomiesOption = None,
    minutes: harness.Minutes = None,
) -> None:
    """Train what is missing, write tables and figures."""
    plan = plan_of(config)
    train(plan, out, harness.anatomies_or_template(anatomies, out), harness.Clock(minutes))
    harness.write_json(measure(plan, out), out / "paper1.json")
    for name in ("table1.md", "table2.md"):
        typer.echo("\n" + (out / name).read_text())


if __name__ == "__main__":
    typer.run(main)
