"""The networks that ``methods`` and ``case_study`` compare: trained on the same cases, each differing in one thing.

    unet-1, unet-2, unet-3   U-Net with an uncertainty channel, three seeds
    snapshots                the first of them, gone on with in short cycles, each of which leaves a network
    dropout                  the same with dropout
    gaussian                 the same with a mean and a variance of each logit, without the channel
    auxiliary                the same with a branch that learns the error of each region, in place of the channel
    segresnet                MONAI's SegResNet with dropout, the stronger network of the case study
    unet_res                 MONAI's residual U-Net with dropout, half the steps: the weaker one

On patients every network is trained once for each fold and judged on what the fold holds out; on phantoms once, and
judged on phantoms of another stream. Both experiments may share a folder: what one has trained, the other does not
train again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uncseg_training.data.cases import Cases, write_phantom_cases
from uncseg_training.experiments import harness
from uncseg_training.experiments.judging import Measured
from uncseg_training.experiments.records import Record, Source
from uncseg_training.train.architectures import DROPOUT
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.export import export_run
from uncseg_training.train.schedule import cycles
from uncseg_training.train.state import CHECKPOINT, SNAPSHOTS, Training, save_state

TRAINING, CALIBRATION, UNSEEN = "training", "calibration", "unseen"
SEEDS: Mapping[str, int] = {TRAINING: 51, CALIBRATION: 67, UNSEEN: 77}
"""Streams of phantoms: to learn from, to fit calibrations on, to judge on."""

ENSEMBLE = ("unet-1", "unet-2", "unet-3")
CYCLES, CYCLE = 4, 0.07
"""Cycles that the snapshots go on for, and the length of each in parts of the training before them."""


@dataclass(frozen=True)
class Plan:
    """One size of both experiments.

    Parameters
    ----------
    config : Config
        Of every network, but for what makes it the one it is.
    cohorts : mapping of str to int
        Phantoms of each stream that is used.
    passes : int
        Of every method that may choose.
    patients : Path, optional
        Folder of cases in folds, in the place of phantoms.
    """

    config: Config
    cohorts: Mapping[str, int]
    passes: int
    patients: Path | None = None


@dataclass(frozen=True)
class Part:
    """Cases that no network with this suffix was trained on.

    Parameters
    ----------
    name : str
        Cohort of phantoms, or fold.
    suffix : str
        Behind the names of the networks that predict it.
    source : Source
        The cases.
    judged : bool
        Tables are made of it; else it is there to fit on.
    """

    name: str
    suffix: str
    source: Source
    judged: bool = True


def plan_of(size: harness.Size, patients: Path | None = None) -> Plan:
    """The sizes."""
    common = {**harness.settled(size, patients), "dropout": 0.0, "snapshots": 1}
    phantoms = {"decay": 0.4, "whole_from": 0.7, "workers": 0}
    own, cohorts, passes = {
        harness.Size.SMOKE: ({"workers": 0}, (3, 2, 3), 2),
        harness.Size.CPU: ({**phantoms, **harness.SMALL, "steps": 700}, (240, 20, 40), 10),
        harness.Size.GPU: ({**phantoms, "steps": 8000, "batch": 2}, (1000, 50, 100), 20),
        harness.Size.PATIENTS: ({}, (0, 20, 0), 20),
    }[size]
    if patients is None:
        return Plan(read_config(harness.BASE[size], **common | own), dict(zip(SEEDS, cohorts, strict=True)), passes)
    folds = {"folds": 2} if size is not harness.Size.PATIENTS else {}
    config = read_config(harness.BASE[size], **common | own | folds | {"cases": str(patients)})
    return Plan(config, {CALIBRATION: cohorts[1]}, passes, patients)


def parts_of(plan: Plan, out: Path) -> list[Part]:
    """What there is to predict, in the order in which it is done."""
    if plan.patients is None:
        return [
            Part(cohort, "", source_of(plan, out, cohort), judged=cohort == UNSEEN) for cohort in (CALIBRATION, UNSEEN)
        ]
    config = plan.config
    cases = Cases.open(plan.patients, config)
    held_out = [cases.split(config.folds, fold, config.splits)[1] for fold in range(config.folds)]
    return [Part(f"fold-{k}", f"-{k}", Source(plan.patients, config, names)) for k, names in enumerate(held_out)]


def order_of(plan: Plan, names: Sequence[str], later: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Network and suffix of every training: fold by fold, those of ``later`` on the first fold alone until the end."""
    if plan.patients is None:
        return [(name, "") for name in names]
    suffixes = [f"-{fold}" for fold in range(plan.config.folds)]
    first = [(name, suffix) for suffix in suffixes for name in names if suffix == "-0" or name not in later]
    return first + [(name, suffix) for suffix in suffixes[1:] for name in names if name in later]


def config_of(plan: Plan, cases: Path, name: str, suffix: str = "") -> Config:
    """Configuration of a training, on the cases in ``cases``."""
    base = replace(plan.config, cases=str(cases), name=f"{name}{suffix}")
    base = replace(base, fold=int(suffix[1:])) if suffix else replace(base, share=1.0)
    if name in ENSEMBLE:
        return replace(base, seed=base.seed + 1000 * ENSEMBLE.index(name))
    if name == "snapshots":
        cycle = max(1, round(CYCLE * base.steps))
        steps = base.steps + CYCLES * cycle
        decay = base.decay * base.steps / steps
        return replace(base, steps=steps, snapshots=1 + CYCLES, cycle=cycle / steps, decay=decay)
    if name == "dropout":
        return replace(base, dropout=DROPOUT)
    if name == "gaussian":
        return replace(base, head="regions_gaussian", uncertainty="none")
    if name == "auxiliary":
        return replace(base, head="regions_auxiliary")
    steps = base.steps // 2 if name == "unet_res" else base.steps
    plain = replace(base, dropout=DROPOUT, uncertainty="none", steps=steps)
    return replace(plain.with_arch(name), name=base.name)


def make_networks(
    plan: Plan,
    out: Path,
    order: Sequence[tuple[str, str]],
    anatomies: Path,
    clock: harness.Clock,
    release: Sequence[Path] = (),
) -> None:
    """Write the cohorts, train the networks and export them to ``out/models/<name>``.

    Parameters
    ----------
    plan, out
        Size and folder.
    order : sequence of (str, str)
        See :func:`order_of`.
    anatomies : Path
        For phantoms.
    clock : Clock
        When it is over, the training under way stops at a checkpoint.
    release : sequence of Path
        Finished first stages of the release network, one for a fold: they are ``unet-1``.

    Raises
    ------
    TimeOver
        When the time is over before all is done.
    """
    for cohort, count in plan.cohorts.items():
        write_phantom_cases(anatomies, out / "cases" / cohort, plan.config, count, SEEDS[cohort])
    cases = plan.patients or out / "cases" / TRAINING
    for run in release:
        training = Training.of_run(run)
        config = config_of(plan, cases, ENSEMBLE[0], f"-{training.config.fold}")
        adopt(training, out / "runs" / config.name, config)

    def configs() -> Iterator[Config]:
        for name, suffix in order:
            config, first = config_of(plan, cases, name, suffix), out / "runs" / f"{ENSEMBLE[0]}{suffix}"
            if name == "snapshots":
                if not harness.is_finished(first):  # another command trains it
                    continue
                adopt(Training.of_run(first), out / "runs" / config.name, config)
            yield config

    try:
        harness.train_all(configs(), out / "runs", anatomies, clock)
    finally:
        for name, suffix in order:
            run, model = out / "runs" / f"{name}{suffix}", model_folder(out, name, suffix)
            if harness.is_finished(run) and not model.is_dir():
                export_run(run, model)


def adopt(training: Training, run: Path, config: Config) -> None:
    """Let a finished training stand in a run folder under a configuration; what is there already stays.

    Raises
    ------
    ValueError
        When it stands elsewhere than at the first snapshot of the configuration.
    """
    if (run / CHECKPOINT).is_file():
        return
    if training.step != cycles(config)[0]:
        raise ValueError(f"{training.config.name} stands at step {training.step}; {config.name} begins at another.")
    (run / SNAPSHOTS).mkdir(parents=True, exist_ok=True)
    training.patients()
    training.config = config
    save_state(training.averaged.state_dict(), run / SNAPSHOTS / "1.pt")
    training.save(run)


def measured_of(parts: Sequence[Part], records: Mapping[str, Record]) -> Measured | None:
    """A method on the parts that have a record; None where no judged one has."""
    judged = [part.name for part in parts if part.judged and part.name in records]
    return Measured(records, judged) if judged else None


def model_folder(out: Path, name: str, suffix: str = "") -> Path:
    """Where :func:`make_networks` has exported a network."""
    return out / "models" / f"{name}{suffix}"


def source_of(plan: Plan, out: Path, cohort: str) -> Source:
    """Phantoms of a cohort as studies on the grid of the networks."""
    return Source(out / "cases" / cohort, replace(plan.config, folds=0, splits=""))
