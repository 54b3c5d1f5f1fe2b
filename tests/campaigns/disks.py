"""Full and read-only disks: every saver ends in one sentence, loses nothing that existed, and goes on once it can.

``python -m tests.campaigns.disks --step 1`` (every write) or ``--step 5`` (every fifth)

An error of a full or of a read-only disk is injected from the n-th write on, n over all writes of a run; and, as root,
the run is done on a file system in memory that has little room left, or is mounted read-only.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import subprocess
import tempfile
import time
from pathlib import Path

from napari_uncseg.errors import UncsegError
from tests.campaigns.harness import READ, Tally, in_child, leave
from tests.campaigns.kills import _afterwards, _fresh
from tests.campaigns.savers import Saver, all_savers
from tests.campaigns.writes import counted, on_write

KILOBYTES = (0, 4, 16, 64, 128, 256, 512, 1024, 4096)
"""Room that is left."""

_CLONE_NEWNS = 0x20000


def run(step: int, folder: Path, only: str = "", tally: Tally | None = None, *, mounts: bool = True) -> Tally:
    """Fail every ``step``-th write of every saver whose name holds ``only``."""
    tally = tally or Tally.empty()
    for saver in all_savers(folder):
        if only in saver.name:
            _inject(saver, step, folder / "out", tally)
            if mounts and os.geteuid() == 0:
                _mount(saver, folder / "mount", tally)
    return tally


def _inject(saver: Saver, step: int, out: Path, tally: Tally) -> None:
    _fresh(saver, out)
    writes, whole = counted(lambda: saver.save(out))
    if whole.kind != READ:
        tally.add(saver.name, whole, "no error injected")
        return
    for number in (errno.ENOSPC, errno.EROFS):
        for nth in range(1, writes + 1, step):
            _fresh(saver, out)
            before = saver.standing(out)
            outcome = in_child(lambda nth=nth, number=number: _failing(saver, out, nth, number), seconds=60)  # type: ignore[misc]
            if outcome.fine:
                after = _afterwards(saver, out, before)
                outcome = outcome if after.kind == READ else after
            tally.add(f"{saver.name}, injected", outcome, f"{errno.errorcode[number]} from write {nth} of {writes} on")


def _failing(saver: Saver, out: Path, nth: int, number: int) -> None:
    def strike(count: int, what: str) -> None:
        frees = what in ("unlink", "remove", "rmdir")
        if count >= nth and not (frees and number == errno.ENOSPC):
            raise OSError(number, os.strerror(number), str(out))

    with on_write(strike):
        saver.save(out)


def _mount(saver: Saver, out: Path, tally: Tally) -> None:
    out.mkdir(exist_ok=True)
    for kilobytes in (*KILOBYTES, None):
        outcome = in_child(lambda kilobytes=kilobytes: _mounted(saver, out, kilobytes), seconds=60)  # type: ignore[misc]
        how = "mounted read-only" if kilobytes is None else f"{kilobytes} kB left"
        tally.add(f"{saver.name}, mounted", outcome, how)


def _mounted(saver: Saver, out: Path, kilobytes: int | None) -> None:
    """In a child: the run on a small or read-only file system of its own; then room is made, and it is run again."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    _call("mount", "--make-rprivate", "/")
    _call("mount", "-t", "tmpfs", "-o", "size=1g", "none", out)
    if saver.prepare is not None:
        saver.prepare(out)
    before, told = saver.standing(out), None
    used = os.statvfs(out)
    taken = (used.f_blocks - used.f_bfree) * used.f_frsize // 1024
    limited = "ro" if kilobytes is None else f"size={taken + kilobytes}k"
    _call("mount", "-o", f"remount,{limited}", out)
    try:
        saver.save(out)
    except UncsegError as error:
        told = error
    saver.check(out, before)
    _call("mount", "-o", "remount,rw,size=1g", out)
    saver.save(out)
    saver.finished(out)
    if told is not None:
        raise told


def _call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="fail every so many writes")
    parser.add_argument("--only", default="", help="savers whose name holds this")
    words = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="uncseg-campaign-") as folder:
        tally = run(words.step, Path(folder), words.only)
    print(f"{sum(tally.counts.values())} failing disks, {time.monotonic() - started:.0f} s")
    leave(tally)


if __name__ == "__main__":
    main()
