"""Little memory and no network: the command line in fresh processes, which give a result or one sentence.

``python -m tests.campaigns.surroundings memory --from 2 --to 8 --by 0.25``
``python -m tests.campaigns.surroundings network``
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from napari_uncseg.io.saving import save_prediction
from tests import conftest
from tests.campaigns.harness import CRASH, HANG, READ, REFUSED, Outcome, Tally, leave

UNCSEG = (sys.executable, "-m", "napari_uncseg.cli.app")
NO_NETWORK = ("unshare", "--net", "--map-root-user", "--user")
SECONDS = 900.0


def commands(folder: Path) -> dict[str, list[object]]:
    """The whole command line, on a small study and a small model."""
    study = conftest.make_study()
    images = conftest.write_study(study, folder / "studies")
    model = conftest.write_model(folder / "model")
    save_prediction(conftest.make_prediction(study), folder / "results")
    return {
        "predict": ["predict", images, "-o", folder / "out", "--model", model, "--device", "cpu"],
        "predict, tta": [
            *("predict", images, "-o", folder / "members", "--model", model, "--device", "cpu", "--members", "tta:4")
        ],
        "evaluate": [
            *("evaluate", folder / "results", "--reference", folder / "studies", "-o", folder / "evaluation"),
            *("--workers", "1"),
        ],
        "calibrate": [
            *("calibrate", folder / "out", "--reference", folder / "studies", "-o", folder / "calibration.json"),
        ],
        "series": ["series", images],
        "prepare": ["prepare", images, "-o", folder / "prepared"],
        "export": ["export", folder / "results" / study.id, "--dicom", folder / "dicom", "--source", images],
        "model": ["model", "import", folder / "nothing", "-o", folder / "imported"],
        "view": ["view", images, "--screenshot", folder / "view.png"],
        "review": ["review", folder / "results", "--screenshot", folder / "review.png"],
        "info": ["info"],
        "info --check": ["info", "--check"],
        "demo": ["demo", "-o", folder / "demo", "--model", model, "--screenshot", folder / "demo.png"],
    }


def attempt(words: Sequence[object], before: Sequence[str] = (), limit: Callable[[], None] | None = None) -> Outcome:
    """Run a command in a fresh process; it ends well, or with one sentence and an exit code."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            [*before, *UNCSEG, *map(str, words)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            preexec_fn=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(HANG, f"not done after {SECONDS:g} s", time.monotonic() - started)
    took = time.monotonic() - started
    told = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "Error: "))]
    if done.returncode == 0:
        return Outcome(READ, "", took)
    whole = "Traceback" not in done.stderr and "unexpected " not in done.stderr and done.returncode > 0
    what = f"exit code {done.returncode}: {' '.join((told or done.stderr.splitlines() or [''])[-1].split())[:300]}"
    return Outcome(REFUSED if told and whole else CRASH, what, took)


def memory(gigabytes: Iterable[float], folder: Path, tally: Tally) -> Tally:
    """``predict`` with so much address space and no more."""
    words = commands(folder)["predict"]
    for number, size in enumerate(gigabytes):
        own = [folder / f"out-{number}" if word == folder / "out" else word for word in words]
        most = int(size * 2**30)
        outcome = attempt(own, limit=lambda most=most: resource.setrlimit(resource.RLIMIT_AS, (most, most)))  # type: ignore[misc]
        print(f"{size:.2f} GB: {outcome.kind} {outcome.text} ({outcome.seconds:.0f} s)", flush=True)
        tally.add("predict", outcome, f"{size:.2f} GB")
    return tally


def network(folder: Path, tally: Tally, only: str = "") -> Tally:
    """Every command in a name space of its own, with no network in it."""
    for name, words in commands(folder).items():
        if only in name:
            outcome = attempt(words, before=NO_NETWORK)
            print(f"{name}: {outcome.kind} {outcome.text} ({outcome.seconds:.0f} s)", flush=True)
            tally.add(name, outcome, "no network")
    return tally


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("memory", "network"))
    parser.add_argument("--from", dest="least", type=float, default=2.0, help="gigabytes")
    parser.add_argument("--to", dest="most", type=float, default=8.0)
    parser.add_argument("--by", type=float, default=0.25)
    parser.add_argument("--only", default="", help="commands whose name holds this")
    words = parser.parse_args()
    tally = Tally.empty()
    with tempfile.TemporaryDirectory(prefix="uncseg-campaign-") as folder:
        if words.what == "memory":
            memory(np.arange(words.least, words.most + words.by / 2, words.by), Path(folder), tally)
        else:
            network(Path(folder), tally, words.only)
    leave(tally)


if __name__ == "__main__":
    main()
