"""What a run tells of itself: steps that only grow, and how long it will take."""

import pytest

from napari_uncseg.errors import Cancelled
from napari_uncseg.inference import progress as progress_module
from napari_uncseg.inference.progress import Reporter, spell


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (3.2, "4 s"), (11, "15 s"), (88, "90 s"), (91, "2 min"), (600, "10 min"), (7200, "2.0 h")],
)
def test_durations_are_spelled_as_well_as_they_are_known(seconds, words):
    assert spell(seconds) == f"about {words}"


def run(clock, passes, tiles, seconds):
    calls = []
    report = Reporter(lambda *call: calls.append(call), None, tiles, passes)
    report(0, "Preparing")
    for number in range(passes):
        report.begin_pass(f"pass {number + 1}")
        report.tiles(0, tiles)
        for tile in range(1, tiles + 1):
            clock.now += seconds[min(number, len(seconds) - 1)]
            report.tiles(tile, tiles)
    report(report.total - 1, "Putting together")
    report(report.total, "Ready")
    return calls


def test_steps_grow_to_a_total_that_stays(clock):
    done, totals, _ = zip(*run(clock, 3, 4, [1.0]), strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {14}
    assert done[-1] == 14


@pytest.mark.parametrize("second", [1, 3])
def test_steps_grow_through_both_stages_of_a_cascade(second):
    calls = []
    report = Reporter(lambda *call: calls.append(call), None, 2, 2, stages=2)
    report(0, "Preparing")
    for number in range(2):
        report.begin_pass(f"pass {number + 1}")
        for tiles in (2, second):
            for tile in range(tiles + 1):
                report.tiles(tile, tiles)
    report(report.total, "Ready")
    done, totals, _ = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1] == 2 + 2 * (2 + second)
    assert all(step <= total for step, total in zip(done, totals, strict=True))


def test_members_and_the_time_left_are_told(clock):
    messages = [message for *_, message in run(clock, 3, 2, [30.0, 10.0])]
    assert messages[1] == "Running member 1 of 3 (pass 1), tile 1 of 2"  # nothing is measured yet
    assert messages[2] == "Running member 1 of 3 (pass 1), tile 2 of 2; about 3 min left"
    # From the second member on only those are measured that had nothing to warm up.
    assert messages[4] == "Running member 2 of 3 (pass 2), tile 1 of 2"
    assert messages[5] == "Running member 2 of 3 (pass 2), tile 2 of 2; about 30 s left"


def test_a_wish_to_stop_is_heard_until_the_result_is_worth_keeping():
    report = Reporter(None, lambda: True, 1)
    with pytest.raises(Cancelled):
        report(0, "Preparing")
    report.finish_without_stopping()
    report(1, "Putting together")
