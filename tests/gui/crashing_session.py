"""A window that is killed while somebody corrects; :mod:`test_correct_session` runs it in a process of its own.

python crashing_session.py RESULTS STUDIES STUDY
"""

import os
import signal
import sys
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import open_studies
from napari_uncseg.widgets.review.panel import ReviewWidget

PATIENCE_S = 120


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            sys.exit("it never came")
        QApplication.processEvents()
        time.sleep(0.01)


def main(results: Path, studies: Path, study_id: str) -> None:
    viewer = napari.Viewer()
    panel, session = ReviewWidget(viewer), session_of(viewer)
    viewer.window.add_dock_widget(panel, name="Review", area="right")
    panel.cases.show_folders(results, studies)
    panel.cases.open(panel.cases.listed.case(study_id))
    until(lambda: session.findings is not None and study_id in open_studies(viewer))
    session.step(1)
    panel.verdict.correction.tools.remove_button.click()
    until(lambda: list((results / study_id).glob("*_correction-draft-*.json")))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
