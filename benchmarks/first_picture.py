"""From the start of a program to its first painted picture: a saved result against bare napari with one volume.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/first_picture.py RESULTS VOLUME.npy

`uncseg review RESULTS` and `napari VOLUME.npy` are started by turns, each in a process of its own, as a user starts
them; both with settings of their own that nobody has changed. A picture is painted when the canvas has swapped a frame
with a volume in it. The time on the wall counts, because a person waits for it. `benchmarks/viewer.py` calls this, too.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

STARTS = 5
"""Counted starts of each; one before them fills the caches."""

MOST_LATER_S = 2.0
PAINTED = "painted"


def compare_starts(results: Path, volume: Path, images: Path | None = None) -> bool:
    """Start both by turns; print their medians, and tell whether the result stands soon enough.

    Parameters
    ----------
    results : Path
        Folder given to uncseg predict.
    volume : Path
        A ``.npy`` file.
    images : Path, optional
        Folder of the studies, where the results do not tell it.
    """
    review = ["review", str(results), *(["--images", str(images)] if images is not None else [])]
    times: dict[str, list[float]] = {"review": [], "napari": []}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(STARTS + 1):
            times["review"].append(seconds_to_picture(review, home))
            times["napari"].append(seconds_to_picture(["napari", str(volume)], home))
    ours, theirs = (statistics.median(each[1:]) for each in times.values())
    print(
        f"{'first picture':<26}{ours:9.1f} s    bare napari with one volume {theirs:.1f} s, {ours - theirs:+.1f} s "
        f"(medians of {STARTS} starts)"
    )
    return ours <= theirs + MOST_LATER_S


def seconds_to_picture(arguments: list[str], home: str) -> float:
    """Start one of the programs, and end it as soon as its picture is painted."""
    own = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), home)
    environment = {**os.environ, **own, "NAPARI_CONFIG": str(Path(home, "settings.yaml"))}
    command = [sys.executable, __file__, *arguments]
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        painted = next((time.perf_counter() for line in process.stdout if line.strip() == PAINTED), None)
    if painted is None:
        raise SystemExit(f"{' '.join(arguments)} ended without a picture.")
    return painted - started


def start(program: str, arguments: list[str]) -> None:
    """Be one of the programs until its picture is painted."""
    from napari import Viewer

    made: Callable[..., None] = Viewer.__init__

    def make(viewer: Any, *given: Any, **named: Any) -> None:
        made(viewer, *given, **named)
        viewer.window._qt_viewer.canvas.native.frameSwapped.connect(partial(end_when_painted, viewer))

    Viewer.__init__ = make
    sys.argv = [program, *arguments] if program == "napari" else ["uncseg", program, *arguments]
    importlib.import_module("napari.__main__" if program == "napari" else "napari_uncseg.cli.app").main()


def end_when_painted(viewer: Any) -> None:
    """Tell that a picture is painted, and end at once."""
    if any(layer.visible and layer.ndim == 3 for layer in viewer.layers):
        print(PAINTED, flush=True)
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] in (["review"], ["napari"]):
        start(sys.argv[1], sys.argv[2:])
    elif len(sys.argv) == 3:
        raise SystemExit(not compare_starts(Path(sys.argv[1]), Path(sys.argv[2])))
    else:
        raise SystemExit(__doc__)
