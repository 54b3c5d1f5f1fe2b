"""The networks that ``methods`` and ``case_study`` compare: one cohort of phantoms, each differing in one thing.

    unet-1, unet-2, unet-3   U-Net with an uncertainty channel, three seeds; five snapshots each
    dropout                  the same with dropout
    gaussian                 the same with a mean and a variance of each logit, without the channel
    auxiliary                the same with a branch that learns the error of each region, in place of the channel
    segresnet                MONAI's SegResNet with dropout, the stronger network of the case study
    unet_res                 MONAI's residual U-Net with dropout, half the steps: the weaker one

Both experiments may share a folder: what one has trained, the other does not train again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uncseg_training.data.cases import write_phantom_cases
from uncseg_training.experiments import harness
from uncseg_training.experiments.judging import Source
from uncseg_training.train.architectures import DROPOUT
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.state import export_run

TRAINING, CALIBRATION, UNSEEN = "training", "calibration", "unseen"
SEEDS: Mapping[str, int] = {TRAINING: 51, CALIBRATION: 67, UNSEEN: 77}
"""Streams of phantoms: to learn from, to fit calibrations on, to judge on."""

ENSEMBLE = ("unet-1", "unet-2", "unet-3")


@dataclass(frozen=True)
class Plan:
    """One size of both experiments.

    Parameters
    ----------
    config : Config
        Of every network, but for what makes it the one it is.
    cohorts : mapping of str to int
        Phantoms of each stream.
    passes : int
        Of every method that may choose.
    """

    config: Config
    cohorts: Mapping[str, int]
    passes: int


def plan_of(size: harness.Size) -> Plan:
    """The sizes."""
    common = {**harness.PINNED, "seed": 3, "workers": 0, "dropout": 0.0}
    late = {"snapshots": 5, "cycle": 0.07, "decay": 0.4, "whole_from": 0.7}
    own, cohorts, passes = {
        harness.Size.SMOKE: ({"snapshots": 2}, (3, 2, 3), 2),
        harness.Size.CPU: ({**late, **harness.SMALL, "steps": 700}, (240, 20, 40), 10),
        harness.Size.GPU: ({**late, "steps": 8000, "batch": 2}, (1000, 50, 100), 20),
    }[size]
    config = read_config(harness.BASE[size], **common | own)
    return Plan(config, dict(zip(SEEDS, cohorts, strict=True)), passes)


def configs_of(plan: Plan, cases: Path, names: Sequence[str]) -> list[Config]:
    """Trainings by name, on the cohort in ``cases``."""
    base = replace(plan.config, cases=str(cases), share=1.0)
    made: dict[str, Config] = {
        name: replace(base, name=name, seed=base.seed + 1000 * number) for number, name in enumerate(ENSEMBLE)
    }
    made["dropout"] = replace(base, name="dropout", dropout=DROPOUT)
    made["gaussian"] = replace(base, name="gaussian", head="regions_gaussian", uncertainty="none")
    made["auxiliary"] = replace(base, name="auxiliary", head="regions_auxiliary")
    for arch, steps in (("segresnet", base.steps), ("unet_res", base.steps // 2)):
        plain = replace(base, dropout=DROPOUT, uncertainty="none", snapshots=1, steps=steps)
        made[arch] = replace(plain.with_arch(arch), name=arch)
    return [made[name] for name in names]


def make_networks(plan: Plan, out: Path, names: Sequence[str], anatomies: Path, clock: harness.Clock) -> None:
    """Write the cohorts, train the networks and export them to ``out/models/<name>``.

    Raises
    ------
    TimeOver
        When the time is over before all is done.
    """
    for cohort, count in plan.cohorts.items():
        write_phantom_cases(anatomies, out / "cases" / cohort, plan.config, count, SEEDS[cohort])
    harness.train_all(configs_of(plan, out / "cases" / TRAINING, names), out / "runs", anatomies, clock)
    for name in names:
        if not model_folder(out, name).is_dir():
            export_run(out / "runs" / name, model_folder(out, name))


def model_folder(out: Path, name: str) -> Path:
    """Where :func:`make_networks` has exported a network."""
    return out / "models" / name


def source_of(plan: Plan, out: Path, cohort: str) -> Source:
    """Phantoms of a cohort as studies on the grid of the networks."""
    return Source(out / "cases" / cohort, plan.config)
