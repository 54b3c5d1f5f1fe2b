"""Six patients side by side: what is not there is said, and controls say what they do."""

import dataclasses
import gc
import weakref
from functools import partial

import pytest
from superqt.utils import qimage_to_array

from napari_uncseg.compare.patients import patient_view
from napari_uncseg.io.discovery import StudyFiles
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import MODALITIES
from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.widgets.compare.patients import PatientsWindow

PATIENCE = 60000


pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def case(tmp_path, tiny_study, tiny_prediction, study_folder):
    """A result and its images."""
    saved = save_prediction(tiny_prediction, tmp_path / "results")
    maps = {"segmentation": saved.folder / f"{tiny_study.id}_seg.nii.gz"}
    maps |= {name: saved.folder / f"{tiny_study.id}_{name}.nii.gz" for name in ("unc_output", "entropy")}
    modalities = {name: study_folder / f"{tiny_study.id}-{name}.nii.gz" for name in MODALITIES}
    return ListedCase(tiny_study.id, StudyFiles(tiny_study.id, modalities), saved.files[-1], maps)


@pytest.fixture
def show(qtbot):
    """Opens a window on one case and waits until it is read."""
    kept = []  # Qt does not survive a window that Python takes away while it is painted

    def show(case):
        window = PatientsWindow((case,))
        qtbot.addWidget(window)
        kept.append(window)
        window.resize(1000, 700)
        window.show()
        qtbot.waitUntil(lambda: has_views(window), timeout=PATIENCE)
        return window

    return show


def has_views(window):
    return bool(window.canvas.state.views)


def top(window):
    """The upper part of the first picture, below its letter."""
    picture = window.canvas.frames[0].picture.toRect()
    pixels = qimage_to_array(window.canvas.grab().toImage())
    return pixels[picture.top() + 20 : picture.top() + 55, picture.left() + 15 : picture.right() - 15, :3]


def test_a_patient_without_images_says_so_on_its_picture(show, case):
    without = dataclasses.replace(case, files=None)
    shown = [show(each) for each in (case, without)]
    for window in shown:
        window.options["crosshair"].setChecked(False)
    notes = [window.canvas.state.views[0].pane.note for window in shown]
    assert notes[0] == ""
    assert notes[1].startswith("Images not found")
    dim = dataclasses.replace(
        shown[1].canvas.state.views[0], pane=dataclasses.replace(shown[1].canvas.state.views[0].pane, note="")
    )
    told = top(shown[1])
    shown[1].canvas.show_state(
        dataclasses.replace(shown[1].canvas.state, views=(dim, *shown[1].canvas.state.views[1:]))
    )
    assert (told > 200).all(axis=2).sum() > 100
    assert (top(shown[1]) > 200).all(axis=2).sum() == 0


def test_the_note_says_which_image_is_not_there_and_why(case):
    def note(changed, modality="t1n"):
        return patient_view(changed, modality, "entropy").pane.note

    modalities = {name: path for name, path in case.files.modalities.items() if name != "t1n"}
    without = dataclasses.replace(case, files=dataclasses.replace(case.files, modalities=modalities))
    assert note(case) == ""
    assert note(without) == "T1n not found."
    assert note(without, "t2w") == ""


def test_a_window_goes_without_the_garbage_collector(qtbot, case):
    gc.disable()
    try:
        window = PatientsWindow((case,))
        qtbot.waitUntil(partial(has_views, window), timeout=PATIENCE)
        gone = weakref.ref(window)
        del window
        qtbot.waitUntil(lambda: gone() is None, timeout=PATIENCE)
    finally:
        gc.enable()
