"""Small pieces that several panels use."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QDockWidget,
    QLabel,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.io.provenance import RESEARCH_USE_ONLY

PANEL_WIDTH = 340
"""What a panel asks for, in pixels, unless letters are large: the canvas needs the rest."""

FAILURE_COLOURS = ("#b3261e", "#f0655a")
"""Red that reads on a light theme, and on a dark one."""

_PANEL = "uncseg-panel"
_ROW_MARGIN = 8

_ROW_LABEL = "Second log "
"""The longest of the words in front of rows."""


class LayerWatch(QObject):
    """Calls back, once per turn of the event loop, after layers came, went or were renamed.

    napari's emitters hold only weak references and know nothing of Qt's deletions; the watch lets go of them when its
    panel is destroyed, so that no callback reaches a deleted widget.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers are watched.
    panel : QWidget
        Owner.
    changed : callable
        Bound method of the panel.
    """

    def __init__(self, viewer: napari.viewer.Viewer, panel: QWidget, changed: Callable[[], None]) -> None:
        super().__init__(panel)
        self._changed = weakref.WeakMethod(changed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._fire)
        events = viewer.layers.events
        self._emitters: tuple[Any, ...] = (events.inserted, events.removed, events.renamed)
        for emitter in self._emitters:
            emitter.connect(self._on_change)
        panel.destroyed.connect(partial(_let_go, weakref.ref(self)))

    def let_go(self) -> None:
        """Stop watching."""
        for emitter in self._emitters:
            emitter.disconnect(self._on_change)
        self._emitters = ()

    def _on_change(self, event: object = None) -> None:
        self._timer.start()

    def _fire(self) -> None:
        changed = self._changed()
        if changed is not None:
            changed()


def note_label(text: str = "") -> QLabel:
    """Label of one or more sentences that wraps and can be selected and copied."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label


def _let_go(watch: weakref.ref[LayerWatch], _object: object = None) -> None:
    alive = watch()
    if alive is not None:
        alive.let_go()


def heading(text: str) -> QLabel:
    """Title of a part of a panel."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    label.setWordWrap(True)
    label.setContentsMargins(0, 6, 0, 0)
    return label


def fill_panel(panel: QWidget, content: QWidget, height: int) -> None:
    """Lay out a panel: its content, scrolled where it is longer, and below it what it may be used for.

    Parameters
    ----------
    panel, content : QWidget
        The panel, which has no layout yet, and what it holds.
    height : int
        Least height of what is seen of the content, in pixels.
    """
    area = _Column()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setWidget(content)
    area.setMinimumHeight(height)
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
    footer = note_label(RESEARCH_USE_ONLY)
    footer.setContentsMargins(8, 2, 8, 6)
    outer.addWidget(footer)
    footer.installEventFilter(_Letters(panel))
    panel.installEventFilter(_Tab(panel))


class _Tab(QObject):
    """Lays the dock of a panel onto that of another one when it is first shown: stacked, four would be taller than a
    screen. Where the docks go afterwards is the user's choice.

    Parameters
    ----------
    panel : QWidget
        Owner.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        panel.setProperty(_PANEL, True)

    def eventFilter(self, panel: QObject | None, event: QEvent | None) -> bool:
        """Wait for the panel to be shown."""
        if isinstance(panel, QWidget) and event is not None and event.type() == QEvent.Type.Show:
            panel.removeEventFilter(self)
            QTimer.singleShot(0, self._settle)
        return False

    def _settle(self) -> None:
        panel = self.parent()
        dock = _dock_of(panel) if isinstance(panel, QWidget) else None
        window = dock.parentWidget() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow) or window.tabifiedDockWidgets(dock):
            return
        for other in window.findChildren(QDockWidget):
            ours = any(widget.property(_PANEL) for widget in other.findChildren(QWidget))
            beside = window.dockWidgetArea(other) == window.dockWidgetArea(dock)
            if other is not dock and ours and beside and other.isVisible() and not other.isFloating():
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


class _Letters(QObject):
    """Gives a panel the size of its labels' letters.

    napari's theme tells the size of letters to labels, buttons and boxes; tables and fields take theirs from the panel.

    Parameters
    ----------
    panel : QWidget
        Owner, known as Qt's parent alone: a reference of Python's would leave the panel to the garbage collector.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)

    def eventFilter(self, label: QObject | None, event: QEvent | None) -> bool:
        """Follow a label of the panel."""
        panel = self.parent()
        if (
            isinstance(panel, QWidget)
            and isinstance(label, QLabel)
            and event is not None
            and event.type() == QEvent.Type.FontChange
        ):
            letters = panel.font()
            letters.setPixelSize(label.fontInfo().pixelSize())
            panel.setFont(letters)
        return super().eventFilter(label, event)


class _Column(QScrollArea):
    """Scrolls up and down alone: it asks for the width of its content, which grows with the letters of the theme."""

    def minimumSizeHint(self) -> QSize:
        """Wide enough for the content."""
        content, bar = self.widget(), self.verticalScrollBar()
        least = super().minimumSizeHint()
        if content is not None and bar is not None:
            width = content.minimumSizeHint().width() + bar.sizeHint().width()
            least.setWidth(max(PANEL_WIDTH, width))
        return least

    def event(self, event: QEvent | None) -> bool:
        """Ask anew when the content has changed."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().event(event)


def is_dark(widget: QWidget) -> bool:
    """Whether a widget's theme writes light letters on a dark ground."""
    return widget.palette().color(QPalette.ColorRole.WindowText).lightness() > 127


def narrow(box: QComboBox) -> QComboBox:
    """Let a box be narrower than its longest entry, so that long layer names do not widen the panel."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    return box


def fit_rows(table: QTableView) -> int:
    """Make rows as high as the letters of a table ask for, and tell how high that is, in pixels."""
    rows, height = table.verticalHeader(), table.fontMetrics().height() + _ROW_MARGIN
    assert rows is not None
    rows.setDefaultSectionSize(height)
    return height


def show_note(label: QLabel, text: str) -> None:
    """Show a sentence in a label of :func:`note_label`."""
    label.setStyleSheet("")
    label.setText(text)
    label.setVisible(bool(text))


def show_failure(label: QLabel, sentence: str) -> None:
    """Show why something failed; the sentence can be selected and copied."""
    label.setStyleSheet(f"color: {FAILURE_COLOURS[is_dark(label.parentWidget() or label)]};")
    label.setText(sentence)
    label.show()


def row_label(text: str) -> QLabel:
    """Label in front of a row of a form; all have one width, so that the rows of a panel line up."""
    return _RowLabel(text)


class _RowLabel(QLabel):
    """As wide as the longest of its kind, in the letters of the theme."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)

    def sizeHint(self) -> QSize:
        """All of one width."""
        return QSize(self.fontMetrics().horizontalAdvance(_ROW_LABEL) + 6, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """As the size hint: words are not cut."""
        return self.sizeHint()
