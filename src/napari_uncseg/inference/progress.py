"""How far a run has come, how long it will still take, and whether it is to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from napari_uncseg.errors import Cancelled

Progress = Callable[[int, int, str], None]
"""Called with what is done, the total (0 when it is not known yet) and what is going on."""


def silent(_done: int, _total: int, _message: str) -> None:
    """Progress that nobody asked for."""


WORTH_TELLING_S = 2.0
"""Less than this is not told: it would be over before it is read."""


def spell(seconds: float) -> str:
    """A duration for a reader, rounded up to what can be known of it: ``about 40 s``, ``about 3 min``."""
    if seconds < 90:
        step = 1 if seconds < 10 else 5
        return f"about {max(1, -(-seconds // step) * step):.0f} s"
    if seconds < 90 * 60:
        return f"about {-(-seconds // 60):.0f} min"
    return f"about {seconds / 3600:.1f} h"


class Reporter:
    """Tells how far a run has come and how long it will take, and stops it when the user wants.

    Parameters
    ----------
    progress : callable, optional
        Called as ``progress(done, total, message)``.
    cancelled : callable, optional
        Whether to stop.
    tiles, passes, stages : int
        Tiles of a pass, number of passes and networks that a pass runs one after the other, as far as is known.
    """

    def __init__(
        self,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
        tiles: int,
        passes: int = 1,
        stages: int = 1,
    ) -> None:
        self._progress = progress
        self.cancelled = cancelled
        self._passes, self._stages = passes, stages
        self._tiles = tiles + stages - 1  # of later stages one each, until they say how many
        self._before = self._since = 0
        self._earlier, self._stage, self._stage_done = 0, 1, False
        self._number = 0
        self._title = ""
        self._start = time.monotonic()

    @property
    def total(self) -> int:
        """Steps of the run: the tiles still to come are counted as those of the pass that runs."""
        left = self._passes - max(self._number - 1, 0)
        return 2 + self._before + left * self._tiles

    def __call__(self, done: int, message: str) -> None:
        """Report a step; raises Cancelled when the user wants to stop."""
        self.check()
        if self._progress is not None:
            self._progress(done, self.total, message)

    def begin_pass(self, name: str) -> None:
        """Go on to the next pass, called so."""
        if self._number:
            self._before += self._tiles
        if self._number == 1:  # the first pass warmed up what the others use: the pace is taken anew
            self._start, self._since = time.monotonic(), self._before
        self._number += 1
        self._earlier, self._stage, self._stage_done = 0, 1, False
        self._title = f" {self._number} of {self._passes} ({name})" if self._passes > 1 else ""

    def tiles(self, done: int, count: int) -> None:
        """Report tiles of a stage of the pass; with smaller tiles than planned their number grows."""
        if done == 0 and self._stage_done:
            self._earlier, self._stage = self._tiles - (self._stages - self._stage), self._stage + 1
        self._stage_done = done == count
        self._tiles = self._earlier + count + max(self._stages - self._stage, 0)
        finished = self._before + self._earlier + done
        message = f"Running member{self._title}" if self._title else "Running the network"
        message += f", tile {min(done + 1, count)} of {count}" if count > 1 else ""
        if timed := finished - self._since:
            left = (time.monotonic() - self._start) / timed * (self.total - 2 - finished)
            message += f"; {spell(left)} left" if left > WORTH_TELLING_S else ""
        self(1 + finished, message)

    def finish_without_stopping(self) -> None:
        """From here on the run goes to its end, for what it has is worth keeping."""
        self.cancelled = None

    def check(self) -> None:
        """Stop here when the run was cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The run was cancelled; nothing was written.")
