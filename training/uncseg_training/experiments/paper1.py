"""*Uncertainty-Aware nnU-Net*, on patients or on phantoms: ``python -m uncseg_training.experiments.paper1 -o OUT``.

``--config patients --cases CASES`` trains first stages of the release network, fold by fold, by its recipe and for as
many steps; the other sizes do the same on a cohort of phantoms. Each fold is trained with the uncertainty channel
(``head``) and without it (``plain``); the first two without it from another seed (``again``: what chance changes); and
the first one with a channel that learns otherwise: as public code of the paper's function names has it
(``published``), and by three variants of ours, of which ``--variant`` trains one on the other folds. What is finished
when the command ends is written to

    table1.csv/.md     Dice with and without the channel, fold by fold, and what another seed changes
    table2.csv/.md     the paper's six numbers of uncertainty, fold by fold
    readings.csv/.md   all readings of the variances against the error map, and all maps against the final failure
    variants.csv/.md   what each way of learning the channel does to segmentation and channel
    published.csv/.md  the paper's numbers beside those of the published pattern
    gate.csv/.md       Dice without the channel beside the release network's first stages (``--first-stage``)
    figure1.png, figure3.png, diagnosis.png   curves of the first fold, the published pattern, what the channel pulls at
    figure2.png        error map, channel and both variances in six held-out cases; of patients in ``private``
    paper1.json        every number, and the configurations

Runs go on where they were cut; two commands started side by side share the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_uncseg.inference.device import resolve_device
from uncseg_training.data.cases import Cases, write_phantom_cases
from uncseg_training.experiments import harness, paper1_figures, paper1_tables
from uncseg_training.experiments.paper1_judging import Records, dice_of, judge, panels_of, sound, through_slots
from uncseg_training.paper1 import sweep_log
from uncseg_training.train.config import Channel, Config, read_config
from uncseg_training.train.curves import read_log
from uncseg_training.train.state import Training

COHORT_SEED, OTHER_SEED = 41, 1000
VARIANTS = ("warm_up", Channel.DETACHED, Channel.CROSSENTROPY)
"""Ways of ours that the channel learns in, tried on the first fold."""

PRIVATE = "private"
"""Folder for pictures that show patients; none of them is ever published."""


@dataclass(frozen=True)
class Plan:
    """One size of the experiment.

    Parameters
    ----------
    config : Config
        Of every network; names, folds and what the channel learns are set by the experiment.
    phantoms : int
        To write as the cohort; 0 where there are patients.
    teach : int
        Whole volumes the channel is taught on out of fold.
    """

    config: Config
    phantoms: int
    teach: int


def plan_of(size: harness.Size, cases: Path | None = None) -> Plan:
    """The sizes; ``patients`` is a fold of the release, ``gpu`` that of the paper, as far as phantoms go."""
    common = {**harness.settled(size, cases), "snapshots": 1, "validation": 1000}
    small = {**harness.SMALL, "steps": 500, "whole_from": 0.7, "sweeps": 10, "decay": 0.6, "folds": 3, "workers": 0}
    large = {"steps": 20_000, "whole_from": 0.5, "sweeps": 20, "batch": 2, "decay": 0.6, "folds": 5, "workers": 0}
    own, phantoms, teach = {
        harness.Size.SMOKE: ({"sweeps": 3, "folds": 2}, 4, 4),
        harness.Size.CPU: (small, 60, 240),
        harness.Size.GPU: (large, 400, 800),
        harness.Size.PATIENTS: ({"sweeps": 40}, 0, 480),
    }[size]
    # Folds need cases, and the cohort of phantoms is not written yet.
    config = read_config(harness.BASE[size], **common | own | {"cases": str(cases or "cases")})
    config = replace(config, validate_every=max(1, config.steps // 40))
    return Plan(config, 0 if cases else phantoms, teach)


def of_arm(config: Config, arm: str, fold: int) -> Config:
    """Configuration of a run: ``head``, ``plain``, ``again``, ``published`` or one of :data:`VARIANTS`."""
    part = replace(config, name=f"{arm}-{fold}", fold=fold)
    if arm == "plain":
        return replace(part, uncertainty="none")
    if arm == "again":
        return replace(part, uncertainty="none", seed=config.seed + OTHER_SEED)
    if arm == "warm_up":
        return replace(part, uncertainty="error_map", late_from=(1 + config.late_from) / 2)
    return replace(part, uncertainty="error_map", channel="paper" if arm == "head" else str(arm))


def runs_of(plan: Plan, variant: str | None = None) -> list[tuple[str, int]]:
    """Arm and fold of every training, in their order: each one done is a result."""
    folds = range(plan.config.folds)
    first = [(arm, fold) for fold in folds for arm in ("head", "plain")]
    first += [("again", fold) for fold in folds[:2]]
    first += [(str(arm), 0) for arm in (Channel.PUBLISHED, *VARIANTS)]
    return first + [(variant, fold) for fold in folds[1:] if variant]


def measure(plan: Plan, out: Path, cases: Cases, runs: Sequence[tuple[str, int]], first: Sequence[Path]) -> Records:
    """What is kept of every finished run; measured once, then read."""
    device = resolve_device("auto")
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for arm, fold in runs:
        run = out / "runs" / f"{arm}-{fold}"
        if harness.is_finished(run):
            records[arm, fold] = harness.kept(_record(out, arm, fold), partial(judge, run, cases, device))
    heads = [out / "runs" / f"head-{fold}" for fold in range(plan.config.folds)]
    if all(("head", fold) in records for fold in range(plan.config.folds)):
        for fold in range(plan.config.folds):
            taught = partial(sound, heads, fold, cases, out, plan.teach, device)
            told = harness.kept(_record(out, "sound", fold), taught)
            records["head", fold]["compared"] += told
    for run in first:
        training = Training.of_run(run)
        fold = training.config.fold
        dice = harness.kept(_record(out, "first-stage", fold), partial(dice_of, training, cases, device))
        records["first stage", fold] = {"dice": dice, "steps": training.step}
    if (Channel.PUBLISHED, 0) in records:
        slots = partial(through_slots, out / "runs" / "published-0", cases, device)
        records[Channel.PUBLISHED, 0]["slots"] = harness.kept(_record(out, "slots", 0), slots)
    return records


def _record(out: Path, arm: str, fold: int) -> Path:
    return out / "records" / f"{arm}-{fold}.json"


def write(plan: Plan, out: Path, cases: Cases, records: Records) -> dict[str, Any]:
    """Every table and figure that the finished runs allow, and all numbers."""
    tables = paper1_tables.write_tables(records, plan.config, out)
    heads = {arm: out / "runs" / f"{arm}-0" for arm, fold in records if fold == 0}
    swept = {arm: sweep_log.read(run) for arm, run in heads.items() if (run / sweep_log.SWEEPS).is_file()}
    held_out = cases.split(plan.config.folds, 0, plan.config.splits)[1]
    if "head" in swept:
        curves: dict[str, Sequence[Mapping[str, Any]]] = {
            arm: read_log(heads[arm]) for arm in ("head", "plain") if arm in heads
        }
        paper1_figures.draw_progress(swept["head"], held_out, curves, out / "figure1.png")
        paper1_figures.draw_diagnosis(swept, held_out, out / "diagnosis.png")
    if tables["published"]:
        paper1_figures.draw_published(tables["published"], out / "figure3.png")
    done = [fold for arm, fold in records if arm == "head"]
    if done:
        runs = {fold: out / "runs" / f"head-{fold}" for fold in done}
        panels = panels_of(runs, cases, resolve_device("auto"))
        private = not plan.phantoms
        paper1_figures.draw_cases(panels, (out / PRIVATE if private else out) / "figure2.png", images=not private)
    settings = asdict(plan)
    settings["config"].pop("cases")
    return {"plan": settings, "runs": sorted(f"{arm}-{fold}" for arm, fold in records), **tables}


def shown(out: Path, names: Sequence[str]) -> Iterator[str]:
    """The tables that were written."""
    for name in names:
        if (out / f"{name}.md").is_file():
            yield "\n" + (out / f"{name}.md").read_text()


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    cases: harness.CasesOption = None,
    anatomies: harness.AnatomiesOption = None,
    variant: Annotated[
        str | None, typer.Option(help=f"The one of {', '.join(VARIANTS)} to train on the other folds, too.")
    ] = None,
    first_stage: Annotated[
        list[Path] | None, typer.Option(help="Run or model folder of a first stage of the release; repeat for folds.")
    ] = None,
    minutes: harness.Minutes = None,
) -> None:
    """Train what is missing, write tables and figures of what is finished."""
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"There is no variant {variant}; take one of {', '.join(VARIANTS)}.")
    plan, clock = plan_of(config, cases), harness.Clock(minutes)
    anatomies = harness.anatomies_or_template(anatomies, out)
    place = cases or out / "cases"
    if plan.phantoms:
        write_phantom_cases(anatomies, place, plan.config, plan.phantoms, COHORT_SEED)
    base, runs = replace(plan.config, cases=str(place)), runs_of(plan, variant)
    configs = (of_arm(base, *run) for run in runs)
    done = harness.until_cut(partial(harness.train_all, configs, out / "runs", anatomies, clock))
    opened = Cases.open(place, base)
    if records := measure(plan, out, opened, runs, first_stage or ()):
        harness.write_json(write(plan, out, opened, records), out / "paper1.json")
        typer.echo("".join(shown(out, ("table1", "table2", "variants", "gate"))))
    if not done:
        raise harness.TimeOver


if __name__ == "__main__":
    typer.run(main)
