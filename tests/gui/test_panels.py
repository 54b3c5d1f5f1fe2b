"""What all panels have in common: they share a place in the window, and every control tells what it does."""

import gc
import weakref

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QScrollBar,
    QTableView,
)

from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.widgets.agreement.panel import AgreementWidget
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.compare.panel import SixViewsWidget
from napari_uncseg.widgets.compare.patients import PatientsWindow
from napari_uncseg.widgets.compare.six_views import SixViewsWindow
from napari_uncseg.widgets.evaluate.panel import EvaluateWidget
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.review.panel import ReviewWidget
from napari_uncseg.widgets.segment.panel import SegmentWidget
from napari_uncseg.widgets.verdict.panel import VerdictWidget

PATIENCE = 20000
CONTROLS = (QComboBox, QLineEdit, QPlainTextEdit, QAbstractButton, QAbstractSlider, QAbstractSpinBox)

pytestmark = pytest.mark.usefixtures("no_memory")


def test_panels_lie_on_one_another_unless_the_user_parts_them(qtbot, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    window = viewer.__wrapped__.window._qt_window
    docks = [
        viewer.window.add_dock_widget(panel(viewer), name=panel.__name__, area="right").__wrapped__
        for panel in (CaseBrowserWidget, FindingsWidget, VerdictWidget)
    ]
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(docks[0])) == 2, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not docks[2].visibleRegion().isEmpty(), timeout=PATIENCE)
    assert docks[0].visibleRegion().isEmpty(), "the newest lies on top"
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks[1])
    assert window.tabifiedDockWidgets(docks[1]) == []
    docks[1].hide()
    docks[1].show()
    qtbot.wait(50)
    assert window.tabifiedDockWidgets(docks[1]) == []


def test_a_dock_of_somebody_else_is_left_alone(qtbot, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    other = viewer.window.add_dock_widget(QPushButton("other"), name="Other", area="right").__wrapped__
    dock = viewer.window.add_dock_widget(VerdictWidget(viewer), name="Verdict", area="right").__wrapped__
    qtbot.wait(50)
    assert isinstance(other, QDockWidget)
    assert dock not in viewer.__wrapped__.window._qt_window.tabifiedDockWidgets(other)


@pytest.mark.parametrize(
    "kind", [CaseBrowserWidget, VerdictWidget, FindingsWidget, SixViewsWidget, SixViewsWindow, PatientsWindow]
)
def test_every_control_tells_what_it_does(qtbot, viewer, tiny_study, tiny_prediction, kind):
    shown = {SixViewsWindow: (tiny_study, tiny_prediction), PatientsWindow: ((ListedCase("a"),),)}
    widget = kind(*shown.get(kind, (viewer,)))
    qtbot.addWidget(widget)
    controls = [each for control in CONTROLS for each in widget.findChildren(control)]
    assert controls
    inner = (QComboBox, QAbstractSpinBox, QLineEdit, QTableView)  # what Qt puts inside of these
    within = [each for each in controls if not isinstance(each, QScrollBar) and not isinstance(each.parent(), inner)]
    assert [each for each in within if not each.toolTip()] == []


@pytest.mark.parametrize(
    "kind",
    [
        CaseBrowserWidget,
        EvaluateWidget,
        ReviewWidget,
        AgreementWidget,
        SegmentWidget,
        SixViewsWidget,
        FindingsWidget,
        VerdictWidget,
    ],
)
def test_a_panel_goes_without_the_garbage_collector(qtbot, viewer, kind):
    """PyQt does not survive a panel whose connections are collected as garbage."""
    gc.disable()
    try:
        panel = kind(viewer)
        gone = weakref.ref(panel)
        del panel
        assert gone() is None
    finally:
        gc.enable()
