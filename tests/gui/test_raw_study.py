"""*Open DICOM or raw study* in a real window: from a folder of the scanner to the segmentation, without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager
from qtpy.QtCore import Qt
from scipy import ndimage
from tests.dicom_writer import grid, write_examination
from tests.preparation.test_prepare import check_nameless

from napari_uncseg.io.nifti import read_volume, write_volume
from napari_uncseg.preparation import prepare
from napari_uncseg.preparation.registration import Registration
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.raw_study.check import Compare
from napari_uncseg.widgets.raw_study.panel import MASK_FILE, RawStudyWidget

PATIENCE = 120000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_examination(tmp_path_factory.mktemp("raw") / "Plantedname_Anna")


@pytest.fixture
def mask(tmp_path):
    affine, shape = grid("t1c")
    x, y, z = (affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]).reshape(3, *shape)
    write_volume(tmp_path / "mask.nii.gz", ((x / 60) ** 2 + (y / 80) ** 2 + (z / 68) ** 2 < 1).astype(np.uint8), affine)
    return tmp_path / "mask.nii.gz"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The heads fit already: what finds that has tests of its own, and takes seconds."""
    still = Registration(np.eye(4), 0.2, 0.1, 0.97, 3)
    monkeypatch.setattr(prepare, "register", lambda *_, **__: still)


def panel_of(viewer) -> RawStudyWidget | None:
    docks = getattr(viewer, "__wrapped__", viewer).window._qt_window.findChildren(RawStudyWidget)
    return docks[0] if docks else None


def click(qtbot, button) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def done(panel):
    return lambda: not panel.running


def prepared(qtbot, panel, out, mask):
    panel.folder.line.setText(str(out))
    panel.brain.setCurrentIndex(MASK_FILE)
    panel.mask_file.line.setText(str(mask))
    click(qtbot, panel.bar.run_button)
    qtbot.waitUntil(done(panel), timeout=PATIENCE)
    assert not panel.bar.failure.code, panel.bar.failure.text()


@pytest.mark.usefixtures("windowed")
def test_dropped_examination_is_prepared_checked_and_segmented(qtbot, viewer, folder, mask, tmp_path, network):
    manager = PluginManager.instance()
    if "napari-uncseg" not in manager:
        manager.discover()
    viewer.open(str(folder), plugin="napari-uncseg")
    qtbot.waitUntil(lambda: panel_of(viewer) is not None, timeout=PATIENCE)
    panel = panel_of(viewer)
    qtbot.waitUntil(lambda: panel.series.rowCount() == 4 and not panel.running, timeout=PATIENCE)
    assert "Plantedname Anna" in panel.patient.text()
    assert "2019-08-17" in panel.patient.text()
    assert panel.series.roles() == {"t1n": "2", "t2w": "3", "t2f": "4", "t1c": "5"}
    assert all(not panel.series.cell(row, 0).icon().isNull() for row in range(4))

    out = tmp_path / "out"
    prepared(qtbot, panel, out, mask)
    study_id = panel.study_id.placeholderText()
    names = [layer.name for layer in viewer.layers]
    assert names == ["T1c, with the skull", "T1n, checkerboard", "Brain"]
    below, above, _ = viewer.layers
    from_t1c = np.mean(above.data == below.data)
    assert 0.3 < from_t1c < 0.9  # every other square
    panel.check.how.setCurrentText(Compare.FLICKER)
    seen = set()
    qtbot.waitUntil(lambda: seen.add(above.visible) or len(seen) == 2, timeout=PATIENCE)
    panel.check.how.setCurrentText(Compare.ALONE)
    assert above.visible

    layer = panel.check.mask_layer
    click(qtbot, panel.check.paint)
    assert viewer.layers.selection.active.name == "Brain"
    before = read_volume(out / study_id / f"{study_id}_brain.nii.gz").values() > 0
    layer.data = ndimage.binary_dilation(layer.data).astype(np.uint8)
    click(qtbot, panel.segment_button)
    assert panel.bar.failure.code == "preparation.no-brain-mask"  # painted work is not passed over
    click(qtbot, panel.use_mask)
    qtbot.waitUntil(done(panel), timeout=PATIENCE)
    after = read_volume(out / study_id / f"{study_id}_brain.nii.gz").values() > 0
    assert after.sum() > before.sum()
    assert after[before].all()

    network.may_answer.set()
    click(qtbot, panel.segment_button)
    qtbot.waitUntil(lambda: bool(open_predictions(viewer)), timeout=PATIENCE)
    (study,) = network.studies
    assert study.id == study_id
    np.testing.assert_array_equal(study.brain, ndimage.binary_fill_holes(after))
    assert "Brain" not in [layer.name for layer in viewer.layers]
    check_nameless(out)
    check_nameless(Path.home())  # what the window remembers


def test_role_that_is_given_twice_or_missing(qtbot, viewer, dock, folder):
    panel = dock(RawStudyWidget(viewer))
    panel.open_path(folder)
    qtbot.waitUntil(lambda: panel.series.rowCount() == 4 and not panel.running, timeout=PATIENCE)
    roles = panel.series.roles()
    box = panel.series.cellWidget(0, 1)
    taken = next(role for role in roles if role != box.currentData())
    gone = box.currentData()
    box.setCurrentIndex(box.findData(taken))
    assert set(panel.series.roles()) == set(roles) - {gone}
    panel.show()
    click(qtbot, panel.bar.run_button)
    assert panel.bar.failure.code == "dicom.missing-series"
    assert not panel.running


def test_folder_without_a_study_is_refused_in_the_panel(qtbot, viewer, dock, tmp_path):
    panel = dock(RawStudyWidget(viewer))
    panel.open_path(tmp_path)
    qtbot.waitUntil(done(panel), timeout=PATIENCE)
    assert panel.bar.failure.text()
    assert not panel.bar.run_button.isEnabled()
