"""What the campaigns share: a child with limits, what became of it, and a tally that is printed."""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import hashlib
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.errors import UncsegError
from tests import conftest

atexit.register(shutil.rmtree, conftest._HOME, ignore_errors=True)

READ, REFUSED, CRASH, HANG, MEMORY, CODE, LOST = "read", "refused", "crash", "hang", "memory", "code run", "lost"
ALLOWED = (READ, REFUSED)

SLACK_MB = 48.0
"""What allocators, caches and modules loaded late may take beyond a file's honest need."""

_GUARD = 2**30
_WAITING = 6
"""How many times the seconds of the processor a child may wait."""

_AUDITED = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "socket.connect", "os.remove"}


class CodeRun(BaseException):
    """Something in a file made the child do what reading never does."""


@dataclass(frozen=True)
class Outcome:
    """What became of a child: a word, what it said, seconds, and megabytes it took beyond those it began with."""

    kind: str
    text: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0

    @property
    def fine(self) -> bool:
        return self.kind in ALLOWED


def in_child(
    action: Callable[[], object],
    *,
    seconds: float = 10.0,
    megabytes: float | None = None,
    refusals: tuple[type[BaseException], ...] = (UncsegError,),
    audit: bool = False,
) -> Outcome:
    """Run an action in a forked child.

    ``refusals`` are the errors that end in one sentence for a user; ``megabytes`` is what it may take; with ``audit``
    it may neither start a program nor connect nor remove a file.
    """
    reading, writing = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
        _be_child(action, writing, refusals, audit)
    os.close(writing)
    said, late = _read_all(reading, started + _WAITING * seconds)  # on a busy machine the clock runs, not the child
    if late:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    took = time.monotonic() - started
    if late:
        return Outcome(HANG, f"not done after {_WAITING * seconds:g} s", took)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Outcome(HANG, f"not done after {seconds:g} s of the processor", took)
    if os.WIFSIGNALED(status):
        return Outcome(CRASH, f"signal {signal.Signals(os.WTERMSIG(status)).name}", took)
    kind, grown, text = said.decode(errors="replace").split("\0", 2) if said.count(b"\0") >= 2 else (CRASH, "0", "gone")
    if kind in ALLOWED and megabytes is not None and float(grown) > megabytes + SLACK_MB:
        return Outcome(MEMORY, f"{float(grown):.0f} MB where {megabytes:.0f} are allowed", took, float(grown))
    return Outcome(kind, text, took, float(grown))


def _be_child(
    action: Callable[[], object], writing: int, refusals: tuple[type[BaseException], ...], audit: bool
) -> None:
    """The child's life; it never comes back."""
    kind, text, before = CRASH, "", 0.0
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        faulthandler.disable()  # pytest's, which tells of a crash that is meant
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark of memory begins here
        virtual = int(_memory("VmSize") * 2**20) + _GUARD
        resource.setrlimit(resource.RLIMIT_AS, (virtual, virtual))
        if audit:
            sys.addaudithook(_forbid)
        action()
        kind = READ
    except refusals as error:
        kind, text = REFUSED, " ".join(str(error).split())
        if not text or "Traceback" in text:
            kind = CRASH
    except CodeRun as error:
        kind, text = CODE, str(error)
    except BaseException as error:
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        kind = MEMORY if isinstance(error, MemoryError) else CRASH
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {' '.join(places[-4:])}"
    finally:
        grown = _memory("VmHWM") - before
        with suppress(OSError):
            os.write(writing, f"{kind}\0{grown:.1f}\0{text}".encode(errors="replace")[:60000])
        os._exit(0)


def _forbid(event: str, arguments: tuple[object, ...]) -> None:
    if event in _AUDITED and not (event == "os.remove" and _is_own(*arguments)):
        raise CodeRun(f"{event} {arguments}"[:200])


def _is_own(path: object, folder: object) -> bool:
    """Whether a file lies in a temporary folder that a reader made, who may tidy up."""
    place = Path(os.readlink(f"/proc/self/fd/{folder}")) if folder != -1 else Path(str(path)).parent
    return place.name.startswith("uncseg-") and "campaign" not in place.name


def _memory(field: str) -> float:
    """A field of the process's own status, in megabytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _read_all(reading: int, deadline: float) -> tuple[bytes, bool]:
    """What the child said, and whether its time was over before it was done."""
    parts: list[bytes] = []
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return b"".join(parts), True
            part = os.read(reading, 65536)
            if not part:
                return b"".join(parts), False
            parts.append(part)
    finally:
        os.close(reading)


@dataclass
class Tally:
    """Outcomes by what was tried; everything that is not allowed is kept in words."""

    counts: Counter[tuple[str, str]]
    faults: list[str]

    @classmethod
    def empty(cls) -> Tally:
        return cls(Counter(), [])

    def add(self, what: str, outcome: Outcome, how: str) -> None:
        self.counts[what, outcome.kind] += 1
        if not outcome.fine:
            self.faults.append(f"{what}, {how}: {outcome.kind}: {outcome.text}")

    def show(self) -> None:
        """Print a table, then faults, those of one kind together."""
        kinds = list(dict.fromkeys((READ, REFUSED, *(kind for _, kind in self.counts))))
        rows = list(dict.fromkeys(what for what, _ in self.counts))
        width = max([len(what) for what in rows] + [8])
        print(" " * width, *(f"{kind:>9}" for kind in ("all", *kinds)))
        for what in [*rows, "together"]:
            of = [
                sum(n for (w, k), n in self.counts.items() if k == kind and what in (w, "together")) for kind in kinds
            ]
            print(what.ljust(width), *(f"{count:>9}" for count in (sum(of), *of)))
        alike: dict[str, list[str]] = {}
        for fault in self.faults:
            alike.setdefault(re.sub(r"\d+|'[^']*'|/\S+", "#", fault.partition(": ")[2]), []).append(fault)
        for faults in sorted(alike.values(), key=len, reverse=True):
            print(f"{len(faults)} × {faults[0]}")
        print(f"{len(self.faults)} faults")


def hashes(folder: Path) -> Mapping[str, str]:
    """Every file below a folder by its name in it, but for temporary ones, with its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".tmp", ".part")
    }


def leave(tally: Tally) -> None:
    """Print the tally and leave with 1 when there are faults."""
    tally.show()
    raise SystemExit(1 if tally.faults else 0)


def main(run: Callable[[int, int, Path, str], Tally], told: str | None, count: int, what: str) -> None:
    """Read the command line of a campaign of so many tries, run it and leave.

    ``told`` describes it; ``what`` is what is counted.
    """
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--count", type=int, default=count, help=f"{what} in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="of what has this in its name")
    words = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="uncseg-campaign-") as folder:
        tally = run(words.count, words.seed, Path(folder), words.only)
    print(f"{sum(tally.counts.values())} {what}, seed {words.seed}, {time.monotonic() - started:.0f} s")
    leave(tally)
