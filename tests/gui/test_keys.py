"""The panel *Keys*: it lists each key that is bound, and no other."""

import pytest
from napari._app_model import get_app_model
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes, Surface, Tracks, Vectors
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtGui import QKeySequence, QShortcut

from napari_uncseg.viewer.bindings import (
    COMPARE_KEYS,
    CORRECTION_KEYS,
    FINDING_KEYS,
    PICTURE_KEYS,
    VERDICT_KEYS,
    WORKLIST_KEYS,
    bind_viewer,
    key_sections,
)
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.compare.panel import MainLink
from napari_uncseg.widgets.compare.six_views import SixViewsWindow
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.keys import KeysWidget
from napari_uncseg.widgets.verdict.panel import VerdictWidget

pytestmark = pytest.mark.usefixtures("no_memory")


def listed(title):
    """Keys of a section as Qt knows them; gestures of the mouse are none."""
    (keys,) = (keys for name, keys in key_sections().items() if name.startswith(title))
    gestures = ("wheel", "button", "held")
    return {QKeySequence(key).toString() for key in keys if not key.endswith(gestures)}


def as_qt(key):
    return QKeySequence(str(coerce_keybinding(key)).replace("-", "+")).toString()


def bound(viewer):
    return {as_qt(key) for key in viewer.keymap}


def test_a_key_says_what_it_does_where_it_works():
    """Places have keys of one name (to fit the picture, to show the reference) that do other things."""
    told = key_sections()
    assert "brain" in told["Picture"]["Ctrl+Home"]
    assert "volumes" in told["Six views"]["Home"]
    assert told["Picture"]["Shift+E"] != told["Six views"]["Shift+E"]


def test_keys_of_the_case_browser(qtbot, viewer):
    panel = CaseBrowserWidget(viewer)
    qtbot.addWidget(panel)
    assert {shortcut.key().toString() for shortcut in panel.findChildren(QShortcut)} == listed("Case browser")


def test_keys_of_findings_verdict_and_picture(qtbot, viewer):
    before = bound(viewer)
    bind_viewer(viewer)
    picture = bound(viewer) - before
    assert picture == listed("Picture")
    panel = FindingsWidget(viewer)
    qtbot.addWidget(panel)
    findings = bound(viewer) - before - picture
    assert findings == listed("Findings")
    verdict = VerdictWidget(viewer)
    qtbot.addWidget(verdict)
    assert bound(viewer) - before - picture - findings == listed("Verdict")


def test_keys_of_the_six_views(qtbot, viewer, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    window = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(window)
    MainLink(viewer, window)
    # The window hears the keys of the findings as well.
    assert {action.shortcut().toString() for action in window.actions()} - listed("Findings") | {"H"} == listed(
        "Six views"
    )


@pytest.mark.parametrize(
    "keys", [COMPARE_KEYS, CORRECTION_KEYS, FINDING_KEYS, PICTURE_KEYS, VERDICT_KEYS, WORKLIST_KEYS]
)
def test_no_key_is_naparis_own(keys):
    taken = {binding for bindings in default_shortcuts.values() for binding in bindings}
    for kind in (ViewerModel, Layer, Image, Labels, Points, Shapes, Surface, Tracks, Vectors):
        taken |= set(kind.class_keymap)
    taken |= {rule.keybinding for rule in get_app_model().keybindings}
    ours = {QKeySequence(key).toString() for key in keys.values()}
    assert len(ours) == len(keys)
    assert not ours & {as_qt(key) for key in taken}


def test_the_list_and_the_findings_share_no_key():
    assert not set(WORKLIST_KEYS.values()) & set(FINDING_KEYS.values())
    assert set(COMPARE_KEYS.values()) & set(FINDING_KEYS.values()) == {"H"}, "it hides what lies on the images"


def test_the_panel_shows_them_all(qtbot, viewer):
    panel = KeysWidget(viewer)
    qtbot.addWidget(panel)
    for title, keys in key_sections().items():
        assert title in panel.sheet.text()
        for key, what in keys.items():
            assert f">{key}<" in panel.sheet.text()
            assert what in panel.sheet.text()
