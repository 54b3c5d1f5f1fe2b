#!/usr/bin/env python
"""Makes the pictures of the user guide, from phantoms alone.

    xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshots.py
    xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshots.py --work FOLDER

Five phantoms are made and segmented by the bundled network; then the real window is opened and used as a reviewer
would, and what it shows is saved into `docs/images`. With `--work` the phantoms and their results are kept there and
used again. No setting of the user is read or changed.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SIZE = (1440, 940)
"""Width and height of the main window in pixels."""

SPACING_MM, SHAPE, SEED, COUNT = 1.25, (128, 152, 128), 26, 5
MOST_BYTES = 300_000
EXACT, GREYS = 96, 64
"""Colours of a picture's palette of 256 that are its most frequent ones other than greys, and that are greys."""
COLOURED = 12
"""Difference between red, green and blue from which a pixel counts as coloured."""
PATIENCE_S = 300.0
REVIEWER, OTHER_REVIEWER = "R1", "R2"
BRUSH = 12
"""Diameter in voxels of what is painted, so that it is seen."""


def main() -> None:
    """Make the studies if need be, then the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images", help="folder of the pictures")
    parser.add_argument("--work", type=Path, help="folder that keeps the phantoms and their results")
    parser.add_argument("--finding", action="store_true", help="only the picture of a finding in the bundled phantom")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uncseg-screenshots-") as temporary:
        use_home(Path(temporary, "home"))
        work = chosen.work or Path(temporary)
        take_finding(work / "finding", chosen.out.resolve())
        if chosen.finding:
            return
        studies, results = work / "studies", work / "results"
        make_phantoms(studies)
        subprocess.run(
            [sys.executable, "-m", "napari_uncseg.cli.app", "predict", str(studies), "-o", str(results)], check=True
        )
        # What a reviewer writes goes into a copy, so that the pictures are the same each time.
        reviewed = Path(temporary, "review")
        shutil.copytree(results, reviewed / "results")
        (reviewed / "studies").symlink_to(studies.resolve())
        out = chosen.out.resolve()
        out.mkdir(parents=True, exist_ok=True)
        os.chdir(reviewed)  # the folders in the pictures are then called by their names alone
        take_pictures(Path("results"), Path("studies"), out)


def use_home(home: Path) -> None:
    """Give napari, Qt and the plugin a home of their own; they read its place when they are imported."""
    home.mkdir(parents=True)
    os.environ["HOME"] = str(home)
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())
    os.environ["NAPARI_CONFIG"] = str(home / "config" / "napari" / "settings.yaml")
    os.environ["MPLCONFIGDIR"] = str(home / "config" / "matplotlib")


def make_phantoms(folder: Path) -> None:
    """Write the phantoms that are not there yet."""
    names = [f"phantom-{number + 1}" for number in range(COUNT)]
    if all((folder / name).is_dir() for name in names):
        return
    from uncseg_training.phantom.anatomy import build_anatomies
    from uncseg_training.phantom.cohort import Phantoms, write_phantom

    stream = Phantoms(build_anatomies(), SHAPE, SPACING_MM, SEED, wide=0.0)
    for number, name in enumerate(names):
        write_phantom(stream[number], folder, name, SPACING_MM)
        print(f"made {name}")


def take_finding(results: Path, out: Path) -> None:
    """Save the picture that the README opens with: the finding of the bundled phantom that holds most errors, large.

    Parameters
    ----------
    results : Path
        Folder that takes the phantom's result.
    out : Path
        Folder of the picture.
    """
    import napari
    import numpy as np
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QCursor

    from napari_uncseg import load_prediction, load_study
    from napari_uncseg._plugin.sample_data import phantom_folder
    from napari_uncseg.viewer.layers import add_prediction, add_study
    from napari_uncseg.viewer.navigation import session_of
    from napari_uncseg.widgets.findings.panel import FindingsWidget

    command = [sys.executable, "-m", "napari_uncseg.cli.app", "predict", str(phantom_folder()), "-o", str(results)]
    subprocess.run(command, check=True)
    study = load_study(phantom_folder())
    QCursor.setPos(0, 0)
    viewer = napari.Viewer(title="napari-uncseg")
    viewer.window.resize(*SIZE)
    prediction = load_prediction(results / study.id)
    add_study(viewer, study)
    add_prediction(viewer, prediction)
    session = session_of(viewer)
    session.reviewer = REVIEWER
    threshold = FindingsWidget(viewer)
    dock = viewer.window.add_dock_widget(threshold, name="Findings", area="right")
    window = viewer.window._qt_window
    for beside in (viewer.window._qt_viewer.dockLayerList, viewer.window._qt_viewer.dockLayerControls):
        beside.hide()
    window.resizeDocks([dock], [430], Qt.Orientation.Horizontal)
    until(lambda: not threshold.searching and session.findings is not None)
    settle()
    viewer.reset_view()
    assert session.findings is not None
    ranks = session.findings.labels[prediction.maps["error"][session.findings.box] > 0]
    errors = np.bincount(ranks, minlength=len(session.findings.items) + 1)[1:]
    session.go_to(session.findings.items[int(errors.argmax())])
    settle()
    save(grab_window(viewer), out / "finding.png")
    viewer.close()


def take_pictures(results: Path, studies: Path, out: Path) -> None:
    """Review the first study of the list, and save what is seen on the way.

    Parameters
    ----------
    results, studies : Path
        Folders of results and of images.
    out : Path
        Folder of the pictures.
    """
    import napari
    from qtpy.QtGui import QCursor
    from qtpy.QtWidgets import QDockWidget

    from napari_uncseg.cli.review import CONTROLS
    from napari_uncseg.review.verdicts import Decision, Judgement
    from napari_uncseg.viewer.navigation import go_to, session_of
    from napari_uncseg.viewer.orientation import world_of
    from napari_uncseg.viewer.picture import fit_to_brain
    from napari_uncseg.viewer.tags import open_predictions
    from napari_uncseg.widgets.agreement.panel import AgreementWidget
    from napari_uncseg.widgets.compare.panel import SixViewsWidget
    from napari_uncseg.widgets.compare.planes import toggle_planes
    from napari_uncseg.widgets.review.panel import ReviewWidget
    from napari_uncseg.widgets.verdict.panel import VerdictWidget

    QCursor.setPos(0, 0)  # a mouse over the picture would fill the status bar
    viewer = napari.Viewer(title="napari-uncseg")
    viewer.window.resize(*SIZE)
    session = session_of(viewer)
    session.reviewer = REVIEWER

    review = ReviewWidget(viewer)
    viewer.window.add_dock_widget(review, name="Review", area="right")
    for dock in viewer.window._qt_window.findChildren(QDockWidget, CONTROLS):
        dock.hide()  # as `uncseg review` does in a window of this width
    review.cases.show_folders(results, studies)
    review.cases.step(0)
    until(lambda: not review.cases.reading and session.findings is not None)
    settle()
    fit_to_brain(viewer)
    save(grab_window(viewer), out / "guide-review.png")

    session.step(1)
    settle()
    save(grab_window(viewer), out / "guide-findings.png")
    assert session.current is not None  # the first finding was stepped to
    session.judge(session.current, Judgement.REAL_ERROR)

    assert toggle_planes(viewer) is not None
    settle()
    save(grab_window(viewer), out / "guide-planes.png")
    toggle_planes(viewer)

    six = SixViewsWidget(viewer)
    viewer.window.add_dock_widget(six, name="Six views", area="right")
    six.open_window()
    window = six.window_shown
    assert window is not None
    window.resize(*SIZE)
    window.choose_preset("Overview")
    settle()
    save(window.grab(), out / "guide-six-views.png")
    six.close_window()
    viewer.window.remove_dock_widget(six)
    viewer.window.remove_dock_widget(review)

    verdict = VerdictWidget(viewer)
    viewer.window.add_dock_widget(verdict, name="Verdict", area="right")
    prediction = next(iter(open_predictions(viewer).values()))
    verdict.correction.correct()
    assert session.findings is not None
    finding = session.findings.items[0]
    layer = viewer.layers.selection.active
    voxel = layer.world_to_data(world_of(finding.voxel, prediction.segmentation.shape, prediction.affine))
    go_to(viewer, world_of(finding.voxel, prediction.segmentation.shape, prediction.affine))
    layer.brush_size = BRUSH
    layer.paint(tuple(round(float(index)) for index in voxel), layer.selected_label)
    verdict.decision_buttons[Decision.NEEDS_CORRECTION].click()
    verdict.difficulty.setCurrentIndex(3)
    verdict.comment.setPlainText("Oedema at the edge left out.")
    until(lambda: verdict.correction.changes is not None and verdict.correction.changes.voxels > 0)
    settle()
    save(grab_window(viewer), out / "guide-verdict.png")
    viewer.window.remove_dock_widget(verdict)

    write_verdicts(results)
    reviewers = AgreementWidget(viewer)
    viewer.window.add_dock_widget(reviewers, name="Inter-rater agreement", area="right")
    reviewers.show_logs(results)
    settle()
    save(grab_window(viewer), out / "guide-two-reviewers.png")
    viewer.close()


def write_verdicts(results: Path) -> None:
    """Let two reviewers decide on all studies; they differ on some."""
    from napari_uncseg.review.verdicts import Decision, StudyVerdict, append, log_path, now

    accept, correct, reject = Decision
    answers = {
        REVIEWER: ((accept, 1), (accept, 2), (correct, 3), (correct, 4), (reject, 5)),
        OTHER_REVIEWER: ((accept, 1), (correct, 3), (correct, 3), (accept, 2), (reject, 5)),
    }
    studies = sorted(path.name for path in results.iterdir() if path.is_dir())
    for reviewer, said in answers.items():
        for study, (decision, difficulty) in zip(studies, said, strict=True):
            append(log_path(results), StudyVerdict(study, reviewer, now(), decision, difficulty))


def until(condition: Callable[[], bool]) -> None:
    """Let the window work until something is so; end with an error when it takes too long."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE_S
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("the window did not get there; run again when the machine is less busy")


def settle() -> None:
    """Let the window draw all that is waiting."""
    end = time.monotonic() + 1.0
    until(lambda: time.monotonic() > end)


def grab_window(viewer: Any) -> Any:
    """Whole main window as an array of shape (height, width, 4)."""
    viewer.status = "Ready"
    settle()
    return viewer.screenshot(canvas_only=False, flash=False)


def save(picture: Any, path: Path) -> None:
    """Save as a PNG of 256 colours, for a repository; fails when it is too large for one.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 4), or QPixmap
    path : Path
        It is replaced.
    """
    import numpy as np
    from PIL import Image
    from qtpy.QtGui import QImage, QPixmap

    from napari_uncseg.labels import REGION_COLOURS

    if isinstance(picture, QPixmap):
        grabbed = picture.toImage().convertToFormat(QImage.Format.Format_RGB888)
        data = np.array(grabbed.constBits().asarray(grabbed.sizeInBytes()), np.uint8)
        pixels = data.reshape(grabbed.height(), grabbed.bytesPerLine())[:, : 3 * grabbed.width()]
        pixels = pixels.reshape(grabbed.height(), grabbed.width(), 3)
    else:
        pixels = np.asarray(picture)[..., :3]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # Flat colours of the window stay as they are; colours are few among many greys, so they get a share of their own.
    unique, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    spread = np.ptp(unique.astype(int), axis=1)
    exact = unique[spread > 0][np.argsort(counts[spread > 0])[::-1][:EXACT]]
    coloured = unique[spread > COLOURED][None]
    # Thin lines and their legend hold few pixels of their own colours.
    shades = [share * np.array(colour[:3]) for share in (1, 0.6) for colour in REGION_COLOURS.values()]
    lines = np.rint(255 * np.array(shades)).astype(int).ravel().tolist()
    palette = lines + exact.ravel().tolist() + [round(grey) for grey in np.linspace(0, 255, GREYS) for _ in range(3)]
    rest = 256 - len(palette) // 3
    palette += (Image.fromarray(coloured).quantize(rest).getpalette() or [])[: 3 * rest]
    holder = Image.new("P", (1, 1))
    holder.putpalette(palette)
    small = image.quantize(palette=holder, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    if buffer.tell() > MOST_BYTES:
        raise ValueError(f"{path.name} takes {buffer.tell()} bytes, {MOST_BYTES} at most: make the window smaller")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(path)
    print(f"{path}: {buffer.tell() / 1000:.0f} kB")


if __name__ == "__main__":
    main()
