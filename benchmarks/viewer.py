"""The review's windows against bare napari: a step of a slice in six panes, opening, memory, findings, first picture.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer.py
    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer.py --study FOLDER --results FOLDER

Without folders the study is a made-up one of 240x240x155 voxels. The peer, in the same process and a window of the same
size, is napari's own grid of six cells that show the same: an image and what lies on it in each, with titles, colour
bars and a scale bar. Both are drawn to their end. Processor time tells a slow program from a busy machine, so the
ratios are of processor time. From the slider of the panel Findings to the painted table of findings, from one case to
the next and from the start to the first picture the time on the wall counts, because a person waits for it; the
machine's load is printed beside it, and a busy one misses the aim.
Nothing that Qt or OpenGL complains about while windows open and close is accepted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from napari.qt import get_qapp
from qtpy.QtCore import QEventLoop, QTimer, qInstallMessageHandler
from qtpy.QtWidgets import QApplication

from first_picture import compare_starts
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.nifti import write_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, labels_from_regions
from napari_uncseg.review.opened_case import open_case
from napari_uncseg.review.worklist import CaseList, ListedCase, list_cases
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy
from napari_uncseg.viewer.colormaps import segmentation_colormap
from napari_uncseg.viewer.layers import add_prediction, add_study, map_layer, study_layers
from napari_uncseg.viewer.orientation import display_grid, to_display
from napari_uncseg.viewer.tags import tagged
from napari_uncseg.widgets.case_browser.panel import READ_AHEAD_MS, CaseBrowserWidget
from napari_uncseg.widgets.compare.six_views import SixViewsWindow
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.review.panel import ReviewWidget

SHAPE = (240, 240, 155)
STEPS = 15
SIZE = (1380, 900)
MOST_RATIO = 1.3
MOST_OPEN_S = 5.0
CYCLES = 50
SETTLE_MS = 20
MOST_GROWTH = 0.05
MOVES = 10
MOST_FINDINGS_MS = 250
CASES, MOST_NEXT_S, MOST_OTHER_S = 20, 1.5, 3.0
KEPT_OF_STUDY = 0.25
"""A window that copied a study's arrays would take at least this share of them."""

Time = tuple[float, float]
"""Seconds on the wall and of the processor."""


def made_up() -> tuple[Study, Prediction]:
    """A round brain with a round tumour, of BraTS's size."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    z, y, x = np.ogrid[:240, :240, :155]
    brain = ((z - 120) / 70) ** 2 + ((y - 120) / 85) ** 2 + ((x - 77) / 65) ** 2 < 1
    generator = np.random.default_rng(7)
    images = (generator.normal(300, 40, (4, *SHAPE)) * brain).astype(np.float32)
    distance = np.sqrt((z - 150.0) ** 2 + (y - 110.0) ** 2 + (x - 80.0) ** 2)
    probabilities = np.stack([1 / (1 + np.exp((distance - radius) / 2)) for radius in (30, 20, 15)]).astype(np.float32)
    p = probabilities[0]
    maps = {"unc_output": 2 * bernoulli_variance(p), "variance": bernoulli_variance(p), "entropy": entropy(p)}
    maps |= {"error": (np.abs(distance - 30) < 1).astype(np.float32)}
    study = Study("made-up", images, affine, brain)
    return study, Prediction("made-up", probabilities, labels_from_regions(probabilities), maps, affine)


def save_cases(study: Study, prediction: Prediction, results: Path, images: Path) -> None:
    """Save a study and its result, and both twice more under other names."""
    for name in (study.id, "other-0", "other-1"):
        save_prediction(dataclasses.replace(prediction, study_id=name, provenance={}), results)
        (images / name).mkdir(parents=True)
        for role, image in zip(MODALITIES, study.images, strict=True):
            path, first = images / name / f"{name}-{role}.nii.gz", images / study.id / f"{study.id}-{role}.nii.gz"
            if path == first:
                write_volume(path, image, study.affine)
            else:
                shutil.copyfile(first, path)


def settle() -> None:
    """Let Qt do all that is waiting, in an event loop: outside of one it deletes nothing of what is to be deleted."""
    loop = QEventLoop()
    QTimer.singleShot(SETTLE_MS, loop.quit)
    loop.exec()


def measure(action: Callable[[], object]) -> Time:
    """Seconds an action takes."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def median(times: list[Time]) -> Time:
    return statistics.median(each[0] for each in times), statistics.median(each[1] for each in times)


def memory_mb() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def bare_grid(study: Study, prediction: Prediction) -> napari.Viewer:
    """Napari's own grid of six cells, an image and an overlay in each."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    viewer.canvas.grid.shape, viewer.canvas.grid.stride = (2, 3), 2
    overlays = [
        name for name in ("error", "unc_output", "variance", "entropy", "unc_output") if name in prediction.maps
    ]
    images = {layer.name: layer for layer in study_layers(study)}
    for number in range(6):
        base = images["FLAIR (T2f)" if number == 5 else "T1c"]
        viewer.add_layer(type(base)(base.data, name=f"image {number}", colormap="gray", **placed(study)))
        if number == 0:
            labels = to_display(prediction.segmentation, prediction.affine)
            viewer.add_layer(Labels(labels, colormap=segmentation_colormap(), **placed(study)))
        else:
            viewer.add_layer(map_layer(prediction, overlays[(number - 1) % len(overlays)]))
    viewer.canvas.overlays.scale_bar.gridded = viewer.canvas.overlays.scale_bar.visible = True
    viewer.canvas.grid.enabled = True
    viewer.show()
    settle()
    viewer.reset_view()
    viewer.screenshot(flash=False)
    return viewer


def placed(study: Study) -> dict[str, object]:
    return display_grid(study.shape, study.affine).as_kwargs()


def six_views(study: Study, prediction: Prediction) -> SixViewsWindow:
    """Our window, drawn to its end."""
    window = SixViewsWindow(study, prediction, "axial")
    window.resize(*SIZE)
    window.choose_preset("Overview")
    window.show()
    settle()
    window.canvas.grab()
    return window


def line(name: str, ours: Time, peer: Time | None = None) -> float:
    """Print a row; return the ratio of processor times."""
    words = f"{name:<26}{ours[0] * 1e3:9.0f} ms {ours[1] * 1e3:9.0f} ms"
    if peer is None:
        print(words)
        return 0.0
    ratio = ours[1] / max(peer[1], 1e-9)
    print(f"{words}{peer[0] * 1e3:12.0f} ms {peer[1] * 1e3:9.0f} ms {ratio:8.2f}")
    return ratio


def compare_windows(study: Study, prediction: Prediction) -> list[bool]:
    """Open both windows, step through slices in both."""
    array_mb = (study.images.nbytes + prediction.probabilities.nbytes + prediction.segmentation.nbytes) / 1e6
    array_mb += sum(array.nbytes for array in prediction.maps.values()) / 1e6
    six_views(study, prediction).close()  # what Qt and the colours load once
    settle()
    before = memory_mb()
    windows: list[SixViewsWindow] = []
    ours = measure(lambda: windows.append(six_views(study, prediction)))
    grown = memory_mb() - before
    start = windows[0].canvas.state.views[0].slice_index(windows[0].canvas.state.cut)
    our_steps = median([measure(lambda: our_step(windows[0])) for _ in range(STEPS)])
    windows.pop().close()
    settle()
    viewers: list[napari.Viewer] = []
    theirs = measure(lambda: viewers.append(bare_grid(study, prediction)))
    viewers[0].dims.set_current_step(0, start)
    their_steps = median([measure(lambda: their_step(viewers[0])) for _ in range(STEPS)])
    viewers.pop().close()
    print(f"{'':<26}{'ours: wall':>12}{'processor':>12}{'napari: wall':>15}{'processor':>12}{'ratio':>9}")
    line("opening six panes", ours, theirs)
    ratio = line("a slice further in six", our_steps, their_steps)
    print(f"{'memory of the window':<26}{grown:9.0f} MB of {array_mb:.0f} MB of arrays")
    return [ratio <= MOST_RATIO, grown <= KEPT_OF_STUDY * array_mb]


def our_step(window: SixViewsWindow) -> None:
    """One slice further in our window."""
    window.canvas.scroll_by(1)
    window.canvas.grab()


def their_step(viewer: napari.Viewer) -> None:
    """One slice further in napari's grid."""
    viewer.dims.set_current_step(0, viewer.dims.current_step[0] + 1)
    viewer.screenshot(flash=False)


def slider_to_findings(study: Study, prediction: Prediction) -> bool:
    """Move the slider in the main window, and wait each time until the table of findings is painted."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    add_study(viewer, study)
    add_prediction(viewer, prediction)
    panel = FindingsWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    viewer.show()
    until_found(panel)
    settle()
    assert panel.sweep is not None
    upper = float(panel.sweep.thresholds[-1])
    times = [measure(partial(move, panel, upper * (0.1 + 0.05 * number))) for number in range(MOVES)]
    wall, processor = median(times)
    worst = max(each[0] for each in times)
    viewer.close()
    settle()
    print(
        f"{'slider to findings':<26}{wall * 1e3:9.0f} ms {processor * 1e3:9.0f} ms   median of {MOVES} moves, worst "
        f"{worst * 1e3:.0f} ms, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    return wall * 1e3 <= MOST_FINDINGS_MS


def move(panel: FindingsWidget, value: float) -> None:
    """Move the slider, and wait for its findings on the screen."""
    panel.slider.setValue(value)
    until_found(panel)
    viewport = panel.findings.table.viewport()
    assert viewport is not None
    viewport.repaint()


def until_found(panel: FindingsWidget) -> None:
    """Let the window work until the findings of its threshold are listed."""
    while panel.searching:  # asleep in between, as in a window that is used: a busy loop would slow the search down
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What Qt, OpenGL and Python write on the console meanwhile; the list is filled at the end."""
    said: list[str] = []
    before = qInstallMessageHandler(lambda _kind, _context, message: said.append(str(message)))
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            qInstallMessageHandler(before)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def open_and_close(study: Study, prediction: Prediction) -> list[bool]:
    """Fifty times a study in the main window and a window of six views: memory after the tenth against the end."""
    levels = []
    viewer = napari.Viewer()
    with complaints() as said:
        for _ in range(CYCLES):
            add_study(viewer, study)
            add_prediction(viewer, prediction)
            viewer.screenshot(flash=False)
            six_views(study, prediction).close()
            for layer, _ in list(tagged(viewer, study.id)):
                viewer.layers.remove(layer)
            settle()
            levels.append(memory_mb())
    viewer.close()
    flat = is_flat("growth over 50 windows", levels)
    print(f"{'complaints of Qt, OpenGL':<26}{len(said):9}   {said[0] if said else ''}")
    return [flat, not said]


def next_case(listed: CaseList, images: Path | None) -> list[bool]:
    """Go through a list with the panel Review open: the next case, which was read ahead, and any other; memory."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    panel = ReviewWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Review")
    viewer.show()
    browser, cases = panel.cases, listed.cases
    assert listed.log is not None
    browser.show_folders(listed.log.parent, images)

    def show(place: int) -> None:
        browser.open(cases[place % len(cases)])
        while browser.reading:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        viewer.screenshot(flash=False)

    show(0)
    times: dict[bool, list[Time]] = {True: [], False: []}
    place, levels = 0, []
    for number in range(1, CYCLES + 1):
        ahead = number <= CASES or number % 2 == 0
        place += 1 if ahead else 2
        until_read(browser)
        times[ahead].append(measure(partial(show, place)))
        levels.append(memory_mb())
    viewer.close()
    settle()
    told = {True: median(times[True][:CASES]), False: median(times[False])}
    line(f"next case (median of {CASES})", told[True])
    line("any other case", told[False])
    return [told[True][0] <= MOST_NEXT_S, told[False][0] <= MOST_OTHER_S, is_flat("growth over 50 cases", levels)]


def is_flat(name: str, levels: list[float]) -> bool:
    """Print how much memory grew after the tenth of the levels; tell whether that is little."""
    growth = levels[-1] / levels[9] - 1
    print(f"{name:<26}{growth:9.1%}   ({levels[9]:.0f} MB after 10, {levels[-1]:.0f} MB after {len(levels)})")
    return growth <= MOST_GROWTH


def until_read(browser: CaseBrowserWidget) -> None:
    """Let the window search findings and read the next case, as while somebody looks."""
    loop = QEventLoop()
    QTimer.singleShot(2 * READ_AHEAD_MS, loop.quit)
    loop.exec()
    while browser.reading_ahead:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def open_results(case: ListedCase) -> bool:
    """Read a case with its result as the case browser does."""
    taken = measure(lambda: open_case(case))
    line("a case from its results", taken)
    return taken[1] <= MOST_OPEN_S


def main() -> None:
    """Measure, and say whether the aims are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--results", type=Path, help="folder given to uncseg predict -o")
    arguments = parser.parse_args()
    application = get_qapp()
    with tempfile.TemporaryDirectory() as temporary:
        results, images, volume = arguments.results, None, Path(temporary, "volume.npy")
        if arguments.study and results:
            study = load_study(arguments.study)
            prediction = load_prediction(results / study.id)
        else:
            study, prediction = made_up()
            results, images = Path(temporary, "results"), Path(temporary, "studies")
            save_cases(study, prediction, results, images)
        np.save(volume, study.images[0])
        listed = list_cases(results, images)
        case = listed.case(study.id)
        assert case is not None
        met = [open_results(case), *compare_windows(study, prediction), slider_to_findings(study, prediction)]
        met += next_case(listed, images)
        met += open_and_close(study, prediction)
        met.append(compare_starts(results, volume, images))
    application.closeAllWindows()
    print("all aims are met" if all(met) else "an aim is missed: " + ", ".join(str(ok) for ok in met))
    raise SystemExit(not all(met))


if __name__ == "__main__":
    main()
