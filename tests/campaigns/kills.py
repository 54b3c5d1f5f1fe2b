"""SIGKILL: savers are killed at moments drawn over their run; what existed is whole after it, and the next run goes on.

``python -m tests.campaigns.kills --count 500 --seed 1``

Half of the kills come at the n-th write, rename or sync (n drawn over all of a run), half at a moment drawn over its
seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np

from tests.campaigns.harness import LOST, READ, Outcome, Tally, in_child, main
from tests.campaigns.savers import Saver, all_savers
from tests.campaigns.writes import counted, on_write

KILLED = f"signal {signal.SIGKILL.name}"


def run(count: int, seed: int, folder: Path, only: str = "", tally: Tally | None = None) -> Tally:
    """Kill savers ``count`` times in all, those whose name holds ``only``."""
    tally = tally or Tally.empty()
    savers = [saver for saver in all_savers(folder) if only in saver.name]
    for saver in savers:
        _kill(saver, -(-count // len(savers)), seed, folder / "out", tally)
    return tally


def _kill(saver: Saver, count: int, seed: int, out: Path, tally: Tally) -> None:
    _fresh(saver, out)
    writes, whole = counted(lambda: saver.save(out))
    if whole.kind != READ:
        tally.add(saver.name, whole, "not killed")
        return
    for number in range(count):
        rng = np.random.default_rng([seed, number, *saver.name.encode()])
        _fresh(saver, out)
        before = saver.standing(out)
        if number % 2 and writes:
            nth = int(rng.integers(1, writes + 1))
            how = f"at write {nth} of {writes}"
            outcome = in_child(lambda nth=nth: _killed_at(nth, lambda: saver.save(out)), seconds=60)  # type: ignore[misc]
        else:
            moment = float(rng.uniform(0, 1.05) * whole.seconds)
            how = f"after {moment:.3f} s of {whole.seconds:.3f}"
            outcome = in_child(lambda moment=moment: _killed_after(moment, lambda: saver.save(out)), seconds=60)  # type: ignore[misc]
        if outcome.text != KILLED and outcome.kind != READ:
            tally.add(saver.name, outcome, f"number {number}, {how}")
            continue
        tally.add(saver.name, _afterwards(saver, out, before), f"number {number}, {how}")


def _afterwards(saver: Saver, out: Path, before: object) -> Outcome:
    """Whether all that stood there stands there still, and the next run ends well."""
    lost = in_child(lambda: saver.check(out, before), seconds=60, refusals=())
    if lost.kind != READ:
        return Outcome(LOST, lost.text)
    again = in_child(lambda: (saver.save(out), saver.finished(out)), seconds=60)
    return again if again.kind == READ else Outcome(LOST, f"the next run: {again.kind}: {again.text}")


def _fresh(saver: Saver, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if saver.prepare is not None:
        ready = in_child(lambda: saver.prepare(out), seconds=60, refusals=())  # type: ignore[misc]
        assert ready.kind == READ, ready.text


def _killed_at(nth: int, save: object) -> None:
    def strike(number: int, _what: str) -> None:
        if number == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    with on_write(strike):
        save()  # type: ignore[operator]


def _killed_after(seconds: float, save: object) -> None:
    def strike() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=strike, daemon=True).start()
    save()  # type: ignore[operator]


if __name__ == "__main__":
    main(run, __doc__, 500, "kills")
