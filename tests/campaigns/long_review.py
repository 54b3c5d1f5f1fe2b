"""A review that goes on for hours in a real window: cases are opened, judged and left, and memory must stay flat.

``xvfb-run -a -s "-screen 0 1600x1000x24" python -m tests.campaigns.long_review --minutes 120``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.io.loading import load_study
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.review.verdicts import Decision, Judgement
from tests import conftest
from tests.campaigns.harness import _memory

WARM_UP = 10
"""Cases after which every module, shader and cache is there; memory is measured from then on."""

MEGABYTES_PER_CASE = 0.5
"""What a slope below this is: noise of the allocator."""


def prepare(folder: Path, count: int) -> None:
    """Studies that are copies of one under other names, with their results."""
    study = conftest.make_study()
    prediction = conftest.make_prediction(study)
    for number in range(count):
        name = f"patient-{number}"
        images = conftest.write_study(replace(study, id=name), folder / "studies")
        inputs = {
            source.role: {"file": source.path.name, "sha256": source.sha256} for source in load_study(images).sources
        }
        provenance = {**prediction.provenance, "study": name, "inputs": inputs}
        save_prediction(replace(prediction, study_id=name, provenance=provenance), folder / "results")


def review(folder: Path, goes_on: Callable[[int], bool], tell: Callable[[str], None] = print) -> list[float]:
    """Review cases one after the other as long as ``goes_on(number)``; megabytes in use after each."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_uncseg.viewer.navigation import session_of
    from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
    from napari_uncseg.widgets.findings.panel import FindingsWidget
    from napari_uncseg.widgets.verdict.panel import VerdictWidget

    viewer = napari.Viewer()
    session: Any = session_of(viewer)
    browser, threshold, verdict = CaseBrowserWidget(viewer), FindingsWidget(viewer), VerdictWidget(viewer)
    for name, panel in {"Case browser": browser, "Threshold": threshold, "Verdict": verdict}.items():
        viewer.window.add_dock_widget(panel, name=name, tabify=True)

    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not condition():
            QApplication.processEvents()
            time.sleep(0.005)
            if time.monotonic() > end:
                raise TimeoutError("the window does not get on")

    browser.show_folders(folder / "results", folder / "studies")
    until(lambda: browser.listed is not None and bool(browser.listed.cases))
    session.reviewer = "R1"
    cases, used = browser.listed.cases, list[float]()
    while goes_on(len(used)):
        case = cases[len(used) % len(cases)]
        browser.open(case)
        until(lambda case=case: browser.shown == case.id and session.study == case.id)  # type: ignore[misc]
        until(lambda: not threshold.searching and session.findings is not None)
        for value in (0.05, 0.3):
            threshold.slider.setValue(value)
            until(lambda: not threshold.searching)
        if session.findings.items:
            session.step(1)
            session.judge(session.findings.items[0], Judgement.FINE)
        session.decide(Decision.ACCEPT, 2, "seen")
        viewer.screenshot(flash=False)
        QApplication.processEvents()
        used.append(_memory("VmRSS"))
        if len(used) % 10 == 0:
            tell(f"{len(used)} cases: {used[-1]:.0f} MB")
    viewer.close()
    return used


def slope(used: list[float]) -> float:
    """Megabytes per case from the end of the warm-up on."""
    kept = used[min(WARM_UP, len(used) // 2) :]
    return float(np.polyfit(np.arange(len(kept)), kept, 1)[0]) if len(kept) > 1 else 0.0


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--cases", type=int, default=20, help="different cases")
    words = parser.parse_args()
    end = time.monotonic() + 60 * words.minutes
    with tempfile.TemporaryDirectory(prefix="uncseg-campaign-") as folder:
        prepare(Path(folder), words.cases)
        used = review(Path(folder), lambda number: number <= WARM_UP or time.monotonic() < end)
    print(
        f"{len(used)} cases, {used[0]:.0f} MB after the first, {used[-1]:.0f} after the last, {slope(used):+.3f} a case"
    )
    raise SystemExit(0 if slope(used) < MEGABYTES_PER_CASE else 1)


if __name__ == "__main__":
    main()
