"""Panels follow the size of letters of napari's theme, tables and fields included."""

import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QTableView

from napari_uncseg.widgets.agreement.panel import ReviewersWidget
from napari_uncseg.widgets.evaluate.panel import EvaluateWidget
from napari_uncseg.widgets.segment.panel import SegmentWidget
from napari_uncseg.widgets.threshold.panel import ThresholdWidget
from napari_uncseg.widgets.verdict.panel import VerdictWidget
from napari_uncseg.widgets.worklist.panel import CaseBrowserWidget

PATIENCE = 20000
WORDS = (QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QTableView)

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.mark.parametrize(
    "panel", [CaseBrowserWidget, EvaluateWidget, ReviewersWidget, SegmentWidget, ThresholdWidget, VerdictWidget]
)
def test_all_words_of_a_panel_grow_alike(qtbot, make_napari_viewer_proxy, panel):
    viewer = make_napari_viewer_proxy()
    widget = panel(viewer)
    viewer.window.add_dock_widget(widget, name="Panel")

    def sizes():
        # A box within a box, as a number between its buttons, is the theme's.
        words = (
            each for kind in WORDS for each in widget.findChildren(kind) if not each.objectName().startswith("qt_")
        )
        return {each.fontInfo().pixelSize() for each in words}

    qtbot.waitUntil(lambda: len(sizes()) == 1, timeout=PATIENCE)
    (small,) = sizes()
    appearance = get_settings().appearance
    before = appearance.font_size
    try:
        appearance.font_size = 2 * before
        qtbot.waitUntil(lambda: len(sizes()) == 1 and min(sizes()) > 1.7 * small, timeout=PATIENCE)
        for table in widget.findChildren(QTableView):
            row = table.rowHeight(0) or table.verticalHeader().defaultSectionSize()  # one that is empty has no row
            assert row >= table.fontMetrics().height()
    finally:
        appearance.font_size = before
