"""Studies and windows that come and go leave no complaint on the console; memory is benchmarks/viewer.py's."""

import dataclasses

import pytest
from tests.conftest import write_study

from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.compare.panel import SixViewsWidget
from napari_uncseg.widgets.findings.panel import FindingsWidget

PATIENCE = 300000
CYCLES = 5
NAMES = ("one", "two")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_memory")]


@pytest.fixture
def folders(tmp_path, tiny_study, save_result):
    """Results and images of two studies."""
    for name in NAMES:
        write_study(dataclasses.replace(tiny_study, id=name), tmp_path / "studies")
        save_result(name, inputs={})
    return tmp_path / "results", tmp_path / "studies"


def test_studies_and_windows_come_and_go_in_silence(qtbot, make_napari_viewer_proxy, folders, capfd, qtlog):
    viewer = make_napari_viewer_proxy(show=True)
    browser, threshold, six = CaseBrowserWidget(viewer), FindingsWidget(viewer), SixViewsWidget(viewer)
    for title, panel in (("Case browser", browser), ("Threshold", threshold), ("Six views", six)):
        viewer.window.add_dock_widget(panel, name=title, tabify=True)
    browser.show_folders(*folders)
    capfd.readouterr()
    for cycle in range(CYCLES):
        name = NAMES[cycle % 2]
        browser.open(browser.listed.case(name))
        qtbot.waitUntil(lambda name=name: browser.shown == name, timeout=PATIENCE)
        qtbot.waitUntil(lambda: not threshold.searching and session_of(viewer).findings is not None, timeout=PATIENCE)
        assert list(open_predictions(viewer)) == list(open_studies(viewer)) == [name]
        six.open_window()
        six.window_shown.canvas.grab()
        viewer.screenshot(flash=False)
        six.close_window()
        qtbot.wait(1)  # what is to be deleted later is deleted now
    assert capfd.readouterr().err == ""
    assert [record.message for record in qtlog.records] == []
