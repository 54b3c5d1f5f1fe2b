"""``uncseg review``: what it refuses, and what its window begins with."""

import dataclasses

import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_uncseg.cli import review as command
from napari_uncseg.cli import window
from napari_uncseg.io.saving import save_prediction

PATIENCE = 60000


@pytest.fixture
def results(tmp_path, tiny_prediction):
    for name, score in {"case-a": 0.1, "case-b": 0.5}.items():
        told = {**tiny_prediction.provenance, "study": name, "triage_score": score}
        save_prediction(dataclasses.replace(tiny_prediction, study_id=name, provenance=told), tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("there", [False, True])
def test_without_results_there_is_a_sentence(uncseg, tmp_path, there):
    folder = tmp_path / "results"
    if there:
        folder.mkdir()
    result = uncseg("review", folder, code=1)
    assert "results" in result.stderr


def test_without_a_display_it_says_so(uncseg, results, monkeypatch):
    monkeypatch.setattr(window, "has_display", lambda: False)
    result = uncseg("review", results, code=1)
    assert "display" in result.stderr


def test_without_a_display_a_picture_is_taken_elsewhere(uncseg, results, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(window, "has_display", lambda: False)
    monkeypatch.setattr(window, "picture_elsewhere", lambda *words: asked.append(words))
    result = uncseg("review", results, "--images", tmp_path, "--screenshot", tmp_path / "list.png")
    assert result.exit_code == 0
    assert asked == [(["review", str(results), "--images", str(tmp_path)], tmp_path / "list.png")]


@pytest.fixture
def opened(make_napari_viewer_proxy, monkeypatch, tmp_path):
    """What `build_review` opens, with the state of no earlier review."""
    for module in ("viewer.navigation", "widgets.case_browser.panel"):
        monkeypatch.setattr(f"napari_uncseg.{module}.state_folder", lambda: tmp_path / "state")
    monkeypatch.setattr(window, "make_viewer", lambda _title: make_napari_viewer_proxy(show=True).__wrapped__)
    return command.build_review


def test_the_window_begins_with_the_study_that_most_needs_eyes(qtbot, opened, results):
    viewer = opened(results, None)
    (dock,) = [dock for name, dock in viewer.window.dock_widgets.items() if name.startswith(command.PANEL)]
    assert dock.cases.shown == "case-b"
    assert [case.id for case in dock.cases.listed.cases] == ["case-b", "case-a"]
    assert viewer.title.startswith("case-b")
    qtbot.waitUntil(lambda: not dock.findings.searching and not dock.cases.reading_ahead, timeout=PATIENCE)


@pytest.mark.parametrize("own_layout", [False, True])
def test_a_narrow_picture_gets_the_room_of_the_list_of_layers(opened, results, monkeypatch, own_layout):
    monkeypatch.setattr(window, "WINDOW_SIZE", (900, 640))
    if own_layout:
        kept, state = get_settings().application, QMainWindow().saveState().toBase64().data().decode()
        kept.save_window_state, kept.window_state = True, f"!QBYTE_{state}"
    viewer = opened(results, None)
    main = viewer.window._qt_window
    (layers,) = main.findChildren(QDockWidget, command.LIST)
    assert bool(main.tabifiedDockWidgets(layers)) is not own_layout
    if not own_layout:
        assert main.centralWidget().width() > main.width() / 2
        assert not main.findChild(QDockWidget, command.CONTROLS).isVisible()
