"""*Confidence is Not Reliability* repeated: ``python -m uncseg_training.experiments.case_study -o OUT``.

The case study of arXiv 2606.19300, two networks with MC dropout on BraTS 2021: with ``--config patients --cases CASES``
on patients, fold by fold, by networks that never saw them; else on phantoms of another stream. Networks are those of
``methods`` and may be shared with it in one folder. Of what is finished when the command ends, ``OUT/case_study`` holds

    dice.csv/.md          Dice without and with dropout at inference, and the paired difference
    ranking.csv/.md       AUROC and AUPRC of entropy for failures, on three sets of voxels
    entropy.csv/.md       mean entropy by the voxels it is taken over
    calibration.csv/.md   calibration errors before and after temperature scaling, and what the Dice allows
    triage.csv/.md        Dice of certain and uncertain studies, by entropy and by expected Dice, and the volume
    expected.csv/.md      expected Dice beside the true one
    published.csv/.md     the paper's figures beside these
    reliability-*.png     reliability of the networks with MC dropout, as predicted and scaled
    triage.png            Dice against entropy, with the split
    case_study.json       every number, and the configurations

Temperatures, thresholds and expected Dice are fitted on the other folds, or on phantoms of a third stream. Runs go on
where they were cut; two commands started side by side share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import typer

from napari_uncseg.inference.dropout import dropout_layers
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.metrics.calibration import ece_bound
from napari_uncseg.models.model import load_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.case_study_figures import draw_reliability, draw_triage
from uncseg_training.experiments.case_study_published import PUBLISHED_DICE, published_rows
from uncseg_training.experiments.case_study_tables import (
    Judged,
    Pair,
    calibration_rows,
    dice_rows,
    entropy_rows,
    ranking_rows,
    write_tables,
)
from uncseg_training.experiments.case_study_triage import expected_rows, triage_rows
from uncseg_training.experiments.networks import (
    Plan,
    make_networks,
    measured_of,
    model_folder,
    order_of,
    parts_of,
    plan_of,
)
from uncseg_training.experiments.records import Task, record_of

NETWORKS: Mapping[str, str] = {"segresnet": "SegResNet", "unet_res": "UNet-Res"}
"""Trained networks and what tables call them."""

MAPS = ("entropy", "entropy-tc", "entropy-et")
FOLDER = "case_study"
LATER = "unet_res"
"""Trained on the first fold alone until the other network is trained on all."""


def members_of(plan: Plan) -> dict[str, str]:
    """Kinds of members that are compared, and what tables call them."""
    return {"single": "deterministic", f"mc_dropout:{plan.passes}": f"MC dropout, {plan.passes} passes"}


def pairs_of(plan: Plan, out: Path) -> dict[str, Pair]:
    """The networks on the cases they have not met, without and with dropout, as far as they are trained."""
    parts, found = parts_of(plan, out), {}
    for network, title in NETWORKS.items():
        judged = []
        for members, told in members_of(plan).items():
            records = {}
            for part in parts:
                model = model_folder(out, network, part.suffix)
                if model.is_dir():
                    folder = out / "records" / FOLDER / f"{network}-{members.split(':')[0]}-{part.name}"
                    records[part.name] = record_of(Task(model, members, MAPS, part.source), folder)
            measured = measured_of(parts, records)
            if measured is not None:
                judged.append(Judged(measured.parts, measured.judged, network=title, members=told))
        if judged:
            found[network] = Pair(*judged)
    return found


def dropout_of(out: Path, network: str, suffix: str, passes: int) -> dict[str, Any]:
    """What is dropped in a pass, without which a number of MC dropout cannot be compared with another's."""
    model = load_model(model_folder(out, network, suffix))
    layers = dropout_layers(model.network, parse_ensemble(f"mc_dropout:{passes}"), model.name)
    return {
        "sha256": model.sha256,
        "parameters": sum(each.numel() for each in model.network.parameters()),
        "dropout_layers": Counter(f"{type(layer).__name__}, p = {p:g}" for layer, p in layers),
    }


def tabulate(plan: Plan, out: Path, pairs: Mapping[str, Pair]) -> dict[str, Any]:
    """Every table and figure, and all numbers."""
    each, folder = list(pairs.values()), out / FOLDER
    compared = {
        "dice": dice_rows,
        "ranking": ranking_rows,
        "entropy": entropy_rows,
        "calibration": calibration_rows,
        "triage": triage_rows,
        "expected": expected_rows,
        "published": published_rows,
    }
    tables = {name: rows_of(each) for name, rows_of in compared.items()}
    write_tables(tables, folder)
    for network, pair in pairs.items():
        draw_reliability(pair.mc, folder / f"reliability-{network}.png", scaled=False)
        if pair.mc.temperatures:
            draw_reliability(pair.mc, folder / f"reliability-{network}-scaled.png", scaled=True)
    draw_triage([pair.mc for pair in each], folder / "triage.png")
    first = parts_of(plan, out)[0].suffix
    settings = asdict(plan)
    del settings["patients"], settings["config"]["cases"]
    return {
        "plan": settings,
        "networks": {network: dropout_of(out, network, first, plan.passes) for network in pairs},
        "studies": {network: len(pair.mc.record.studies()) for network, pair in pairs.items()},
        "largest_ece_for_the_published_dice": round(ece_bound(PUBLISHED_DICE), 4),
        "tables": tables,
    }


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    cases: harness.CasesOption = None,
    anatomies: harness.AnatomiesOption = None,
    minutes: harness.Minutes = None,
) -> None:
    """Train and measure what is missing, write tables and figures of what is finished."""
    plan, clock = plan_of(config, cases), harness.Clock(minutes)
    order = order_of(plan, list(NETWORKS), [LATER])
    anatomies = harness.anatomies_or_template(anatomies, out)
    done = harness.until_cut(partial(make_networks, plan, out, order, anatomies, clock))
    if pairs := pairs_of(plan, out):
        harness.write_json(tabulate(plan, out, pairs), out / FOLDER / "case_study.json")
        for name in ("dice", "triage", "published"):
            if (out / FOLDER / f"{name}.md").is_file():
                typer.echo("\n" + (out / FOLDER / f"{name}.md").read_text())
    if not done:
        raise harness.TimeOver


if __name__ == "__main__":
    typer.run(main)
