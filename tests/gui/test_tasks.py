"""Work in threads leaves nothing behind, although napari remembers every worker."""

import dataclasses
import gc
import weakref

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.viewer.close_case import leave_case
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.widgets.base import Task, worker_for
from napari_uncseg.widgets.threshold.panel import ThresholdWidget

PATIENCE = 60000


class Work:
    """Something to do."""

    def __call__(self) -> int:
        return 42

    def __str__(self) -> str:
        return "counting"


def test_work_is_named_done_and_forgotten(qtbot, make_napari_viewer_proxy):
    make_napari_viewer_proxy()
    work, answers = Work(), []
    assert str(Task(work)) == "counting"
    gone = weakref.ref(work)
    worker = worker_for(work)
    del work
    worker.returned.connect(answers.append)
    with qtbot.waitSignal(worker.finished, timeout=PATIENCE):
        worker.start()
    qtbot.waitUntil(lambda: answers == [42], timeout=PATIENCE)
    qtbot.waitUntil(lambda: gone() is None, timeout=PATIENCE)


def test_a_study_that_was_searched_is_freed_when_it_is_left(
    qtbot, make_napari_viewer_proxy, no_memory, tiny_study, tiny_prediction
):
    viewer = make_napari_viewer_proxy()
    panel = ThresholdWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Threshold")
    before = set(map(id, predictions()))
    add_study(viewer, tiny_study)
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    panel.refresh()
    qtbot.waitUntil(lambda: not panel.searching, timeout=PATIENCE)
    assert panel.findings.isVisibleTo(panel)
    leave_case(viewer, tiny_study.id)
    qtbot.waitUntil(lambda: not panel.searching and set(map(id, predictions())) == before, timeout=PATIENCE)


def predictions() -> list[Prediction]:
    """All that are in memory; other things may not like to be asked what they are."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is Prediction]
