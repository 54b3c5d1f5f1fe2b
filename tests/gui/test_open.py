"""Opening through napari itself: files dropped or chosen, and the sample."""

import pytest
from npe2 import PluginManager

from napari_uncseg.io.saving import save_prediction
from napari_uncseg.viewer.tags import open_predictions, open_studies

PATIENCE = 60000
PLUGIN = "napari-uncseg"


@pytest.fixture
def viewer(make_napari_viewer_proxy, manifest_registered):
    return make_napari_viewer_proxy()


@pytest.fixture
def manifest_registered():
    """The plugin as napari finds it, in whatever plugin manager the test has."""
    manager = PluginManager.instance()
    if PLUGIN not in manager:
        manager.discover()
    assert PLUGIN in manager, "install the package (editable) before running the tests"


def arranged(viewer):
    return viewer.canvas.overlays.scale_bar.visible


def test_study_and_result_opened_from_files(qtbot, viewer, study_folder, tiny_prediction, tmp_path):
    saved = save_prediction(tiny_prediction, tmp_path / "out")
    viewer.open(str(saved.folder), plugin=PLUGIN)
    qtbot.waitUntil(lambda: arranged(viewer), timeout=PATIENCE)
    assert "research use only" in viewer.canvas.overlays.text.text
    names = [layer.name for layer in viewer.layers]
    viewer.open(str(study_folder), plugin=PLUGIN)
    qtbot.waitUntil(lambda: viewer.layers[0].name == "T2w", timeout=PATIENCE)
    # The images lie below the result, although they came later.
    assert [layer.name for layer in viewer.layers[5:]] == names
    for _ in range(2):
        viewer.open(str(saved.folder), plugin=PLUGIN)
        qtbot.waitUntil(lambda: len(viewer.layers) == len(names) + 5, timeout=PATIENCE)
    assert [layer.name for layer in viewer.layers[5:]] == names
    assert list(open_studies(viewer)) == list(open_predictions(viewer)) == [tiny_prediction.study_id]


@pytest.mark.slow
def test_the_sample_opens_through_the_file_menu(qtbot, viewer):
    viewer.open_sample(PLUGIN, "phantom")
    qtbot.waitUntil(lambda: arranged(viewer), timeout=PATIENCE)
    assert [layer.name for layer in viewer.layers] == ["T2w", "T1n", "FLAIR (T2f)", "T1c", "Reference"]
    (study,) = open_studies(viewer).values()
    assert study.reference is not None
    assert {tuple(str(unit) for unit in layer.units) for layer in viewer.layers} == {("millimeter",) * 3}
