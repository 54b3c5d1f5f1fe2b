"""*Confidence is Not Reliability* repeated: ``python -m uncseg_training.experiments.case_study --config cpu -o OUT``.

The case study of arXiv 2606.19300, two networks with MC dropout on BraTS 2021, on phantoms that neither network has met
and, with ``--studies``, on patients. Networks and cohorts are those of ``methods`` and may be shared with it in one
folder. In ``OUT/case_study`` it writes

    dice.csv/.md          Dice without and with dropout at inference, and the paired difference
    ranking.csv/.md       AUROC and AUPRC of entropy for failures, on three sets of voxels
    entropy.csv/.md       mean entropy by the voxels it is taken over
    calibration.csv/.md   calibration errors before and after temperature scaling, and what the Dice allows
    triage.csv/.md        Dice of certain and uncertain studies, and the volume as a confounder
    published.csv/.md     the paper's figures beside these
    reliability-*.png     reliability of the networks with MC dropout, as predicted and scaled
    triage.png            Dice against entropy, with the split
    development-studies/  the first four tables of the patients
    case_study.json       every number, and the configurations

Runs go on where they were cut; what is trained or measured is not done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
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
    triage_rows,
    write_tables,
)
from uncseg_training.experiments.judging import RECORD, Record, Source, Task, record_of
from uncseg_training.experiments.networks import (
    CALIBRATION,
    UNSEEN,
    Plan,
    make_networks,
    model_folder,
    plan_of,
    source_of,
)

NETWORKS: Mapping[str, str] = {"segresnet": "SegResNet", "unet_res": "UNet-Res"}
"""Trained networks and what tables call them."""

MAPS = ("entropy", "entropy-tc", "entropy-et")
FOLDER = "case_study"
PATIENTS = "development-studies"


def members_of(plan: Plan) -> dict[str, str]:
    """Kinds of members that are compared, and what tables call them."""
    return {"single": "deterministic", f"mc_dropout:{plan.passes}": f"MC dropout, {plan.passes} passes"}


def records_of(
    plan: Plan, out: Path, cohorts: Mapping[str, Source], clock: harness.Clock
) -> dict[tuple[str, ...], Record]:
    """Record of each network, kind of members and cohort."""
    found: dict[tuple[str, ...], Record] = {}
    for (cohort, source), network, members in product(cohorts.items(), NETWORKS, members_of(plan)):
        folder = out / "records" / FOLDER / f"{network}-{members.split(':')[0]}-{cohort}"
        if not (folder / RECORD).is_file():
            clock.check()
        found[network, members, cohort] = record_of(Task(model_folder(out, network), members, MAPS, source), folder)
    return found


def pairs_of(plan: Plan, records: Mapping[tuple[str, ...], Record], cohort: str) -> list[Pair]:
    """The networks on a cohort, without and with dropout."""
    return [
        Pair(
            *(
                Judged(title, told, records[network, members, cohort], records[network, members, CALIBRATION])
                for members, told in members_of(plan).items()
            )
        )
        for network, title in NETWORKS.items()
    ]


def dropout_of(out: Path, network: str, passes: int) -> dict[str, Any]:
    """What is dropped in a pass, without which a number of MC dropout cannot be compared with another's."""
    model = load_model(model_folder(out, network))
    layers = dropout_layers(model.network, parse_ensemble(f"mc_dropout:{passes}"), model.name)
    return {
        "sha256": model.sha256,
        "parameters": sum(each.numel() for each in model.network.parameters()),
        "dropout_layers": Counter(f"{type(layer).__name__}, p = {p:g}" for layer, p in layers),
    }


def tabulate(plan: Plan, out: Path, records: Mapping[tuple[str, ...], Record], patients: bool) -> dict[str, Any]:
    """Every table and figure, and all numbers."""
    pairs = pairs_of(plan, records, UNSEEN)
    compared = {
        "dice": dice_rows,
        "ranking": ranking_rows,
        "entropy": entropy_rows,
        "calibration": calibration_rows,
    }
    tables = {name: rows_of(pairs) for name, rows_of in compared.items()}
    tables |= {"triage": triage_rows(pairs), "published": published_rows(pairs)}
    folder = out / FOLDER
    write_tables(tables, folder)
    for network, pair in zip(NETWORKS, pairs, strict=True):
        draw_reliability(pair.mc, folder / f"reliability-{network}.png", scaled=False)
        draw_reliability(pair.mc, folder / f"reliability-{network}-scaled.png", scaled=True)
    draw_triage([pair.mc for pair in pairs], folder / "triage.png")
    found: dict[str, Any] = {
        "plan": asdict(plan),
        "networks": {network: dropout_of(out, network, plan.passes) for network in NETWORKS},
        "studies": len(pairs[0].mc.record.studies()),
        "largest_ece_for_the_published_dice": round(ece_bound(PUBLISHED_DICE), 4),
        "tables": tables,
    }
    if patients:
        real = pairs_of(plan, records, PATIENTS)
        found[PATIENTS] = {name: rows_of(real) for name, rows_of in compared.items()}
        count = len(real[0].mc.record.studies())
        title = f"Development studies: {count} patients, looked at while this was made, so no test result. "
        write_tables(found[PATIENTS], folder / PATIENTS, title)
    return found


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    anatomies: harness.AnatomiesOption = None,
    studies: harness.StudiesOption = None,
    minutes: harness.Minutes = None,
) -> None:
    """Train and measure what is missing, write tables and figures."""
    harness.require_studies(studies)
    plan, clock = plan_of(config), harness.Clock(minutes)
    make_networks(plan, out, list(NETWORKS), harness.anatomies_or_template(anatomies, out), clock)
    cohorts = {cohort: source_of(plan, out, cohort) for cohort in (CALIBRATION, UNSEEN)}
    if studies is not None:
        cohorts[PATIENTS] = Source(studies)
    found = tabulate(plan, out, records_of(plan, out, cohorts, clock), studies is not None)
    harness.write_json(found, out / FOLDER / "case_study.json")
    for name in ("dice", "triage", "published"):
        typer.echo("\n" + (out / FOLDER / f"{name}.md").read_text())


if __name__ == "__main__":
    typer.run(main)
