"""Panels follow the size of letters of napari's theme, tables and fields included, and cut none of them."""

from functools import partial

import pytest
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QTableView,
    QToolButton,
    QWidget,
)

from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.widgets.agreement.panel import AgreementWidget
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.common import Note, column, heading, label
from napari_uncseg.widgets.evaluate.panel import EvaluateWidget
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.review.panel import ReviewWidget
from napari_uncseg.widgets.segment.panel import SegmentWidget
from napari_uncseg.widgets.verdict.panel import VerdictWidget

PATIENCE = 20000
WORDS = (QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QTableView)

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.mark.parametrize(
    "panel", [CaseBrowserWidget, EvaluateWidget, AgreementWidget, SegmentWidget, FindingsWidget, VerdictWidget]
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


@pytest.fixture
def large():
    """Letters of 16 points from the start."""
    appearance = get_settings().appearance
    before, appearance.font_size = appearance.font_size, 16
    yield appearance
    appearance.font_size = before


def cut(content: QWidget) -> list[str]:
    """What has less room than its letters need, or reaches beyond the content."""
    found = []
    for each in [each for kind in (*WORDS, QToolButton) for each in content.findChildren(kind)]:
        if each.isVisible() and not each.objectName().startswith("qt_"):
            wraps = isinstance(each, QLabel) and each.wordWrap()
            need = each.heightForWidth(each.width()) if wraps else each.minimumSizeHint().height()
            right = each.mapTo(content, each.rect().bottomRight()).x()
            if each.height() < need or right >= content.parentWidget().width():
                found.append(f"{type(each).__name__} {each.accessibleName() or getattr(each, 'text', str)()}")
    return found


@pytest.mark.parametrize("panel", [VerdictWidget, FindingsWidget, ReviewWidget])
def test_nothing_is_cut_whatever_the_size_of_letters(
    qtbot, make_napari_viewer_proxy, tiny_study, tiny_prediction, large, panel
):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1280, 720)
    widget = panel(viewer)
    viewer.window.add_dock_widget(widget, name="Panel")
    for fold in widget.findChildren(Fold):
        fold.unfold()
    content = widget.findChild(QScrollArea).widget()
    qtbot.waitUntil(lambda: not cut(content), timeout=PATIENCE)
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    verdict = getattr(widget, "verdict", widget)
    if isinstance(verdict, VerdictWidget):
        verdict.correction.told.tell("Changed\nand\nchanged again")
    fitting = content.layout()

    def fits(points):
        assert all(abs(size - points) < 1.5 for size in sizes_of_labels(content))
        assert not cut(content)
        needed = fitting.totalHeightForWidth(content.width())
        assert needed < 0 or content.minimumHeight() <= needed, "room is kept for larger letters"

    for points in (16, 20, 10, 16):
        large.font_size = points
        qtbot.waitUntil(partial(fits, points), timeout=PATIENCE)


def sizes_of_labels(content: QWidget) -> list[float]:
    """In points, of those that are seen."""
    return [each.fontInfo().pointSizeF() for each in content.findChildren(QLabel) if each.isVisible()]


@pytest.mark.parametrize("make", [heading, label, Note])
def test_a_name_is_shown_as_it_is_written_and_takes_no_room_from_the_picture(qtbot, make):
    """The name of a study, or a comment: one that looks like HTML, one that has nowhere to be broken."""
    page, made = QWidget(), make("a&b <b>bold " + "x" * 200)
    page.setLayout(column(made))
    qtbot.addWidget(page)
    assert made.textFormat() == Qt.TextFormat.PlainText
    assert page.minimumSizeHint().width() < 100
