"""A small share of each campaign; the whole ones are scripts, see ``docs/reliability.md``."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from napari_uncseg.evaluation import summary
from napari_uncseg.reporting import evaluation_report
from tests.campaigns import disks, kills, mutated_files, surroundings, two_at_once
from tests.campaigns.harness import CODE, CRASH, HANG, READ, REFUSED, Tally, in_child

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the savers make quicker is as it was after each test."""
    monkeypatch.setattr(evaluation_report, "illustrate", evaluation_report.illustrate)
    monkeypatch.setattr(summary, "RESAMPLES", summary.RESAMPLES)


def _crash() -> None:
    os.kill(os.getpid(), 11)


def _spin() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (lambda: None, READ),
        (lambda: int("x"), CRASH),
        (_crash, CRASH),
        (_spin, HANG),
        (lambda: os.system("true"), CODE),
    ],
)
def test_the_harness_sees_what_happens(action, kind) -> None:
    assert in_child(action, seconds=1, audit=True).kind == kind


def test_a_refusal_is_told_in_its_words() -> None:
    outcome = in_child(lambda: int("x"), refusals=(ValueError,))
    assert outcome.kind == REFUSED
    assert "invalid literal" in outcome.text


def test_memory_beyond_the_honest_need_is_seen() -> None:
    assert in_child(lambda: bytearray(300 * 2**20), megabytes=10).kind == "memory"


def test_a_poisoned_pickle_is_seen(tmp_path: Path) -> None:
    from tests.campaigns.mutations import _Program

    canary = tmp_path / "canary"
    data = pickle.dumps(_Program(canary))
    in_child(lambda: pickle.loads(data))
    assert canary.exists()


def _without_faults(tally: Tally) -> None:
    assert sum(tally.counts.values()) > 0
    assert not tally.faults, "\n".join(tally.faults)


def test_damaged_files(tmp_path: Path) -> None:
    _without_faults(mutated_files.run(100, 1, tmp_path))


@pytest.mark.parametrize("only", ["predict", "correction", "verdict", "drafts"])
def test_kills(only: str, tmp_path: Path) -> None:
    _without_faults(kills.run(6, 2, tmp_path, only))


@pytest.mark.parametrize(("only", "step"), [("correction", 5), ("verdict", 3), ("training", 9)])
def test_full_and_read_only_disks(only: str, step: int, tmp_path: Path) -> None:
    _without_faults(disks.run(step, tmp_path, only, mounts=False))


def test_two_at_once(tmp_path: Path) -> None:
    _without_faults(two_at_once.run(2, tmp_path, "drafts"))


def test_little_memory_and_no_network(tmp_path: Path) -> None:
    tally = surroundings.memory([2.0], tmp_path, Tally.empty())
    if surroundings.attempt(["--version"], before=surroundings.NO_NETWORK).kind == READ:
        surroundings.network(tmp_path / "other", tally, "series")
    _without_faults(tally)
