"""Two processes on one output: both end well or in one sentence, and what stands there afterwards is whole.

``python -m tests.campaigns.two_at_once --count 20``
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

from tests.campaigns.harness import Outcome, Tally, in_child, leave
from tests.campaigns.kills import _fresh
from tests.campaigns.savers import Saver, all_savers

ALONE = ("training",)
"""What is meant for one process: a second one would train the same steps once more."""


def run(count: int, folder: Path, only: str = "", tally: Tally | None = None) -> Tally:
    """Start every saver whose name holds ``only`` twice at once, ``count`` times."""
    tally = tally or Tally.empty()
    for saver in all_savers(folder):
        if only in saver.name and saver.name not in ALONE:
            for number in range(count):
                _fresh(saver, folder / "out")
                for outcome in _together(saver, folder / "out"):
                    tally.add(saver.name, outcome, f"pair {number}")
                whole = in_child(lambda saver=saver: saver.finished(folder / "out"), seconds=60, refusals=())  # type: ignore[misc]
                tally.add(f"{saver.name}, afterwards", whole, f"pair {number}")
    return tally


def _together(saver: Saver, out: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    gate = time.monotonic() + 0.3

    def start() -> None:
        def wait_and_save() -> None:
            time.sleep(max(0.0, gate - time.monotonic()))
            saver.save(out)

        outcomes.append(in_child(wait_and_save, seconds=60))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="pairs of each saver")
    parser.add_argument("--only", default="", help="savers whose name holds this")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uncseg-campaign-") as folder:
        tally = run(words.count, Path(folder), words.only)
    leave(tally)


if __name__ == "__main__":
    main()
