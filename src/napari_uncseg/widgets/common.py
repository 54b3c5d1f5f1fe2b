"""Small pieces that several panels use: notes, boxes, rows of a form, and the frame of a panel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QDockWidget,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_uncseg.io.provenance import RESEARCH_USE_ONLY

PANEL_WIDTH = 340
"""What a panel asks for, in pixels, unless letters are large: the canvas needs the rest."""

FAILURE_COLOURS = ("#b3261e", "#f0655a")
"""Red that reads on a light theme, and on a dark one."""

_PANEL = "uncseg-panel"

_ROW_LABEL = "Second log "
"""The longest of the words in front of rows."""


def is_dark(widget: QWidget) -> bool:
    """Whether a widget's theme writes light letters on a dark ground."""
    return widget.palette().color(QPalette.ColorRole.WindowText).lightness() > 127


class Note(QLabel):
    """One or more sentences that wrap and can be selected and copied; hidden while there are none."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        if not text:
            self.hide()

    def tell(self, text: str) -> None:
        """Show sentences."""
        self.setStyleSheet("")
        self.setText(text)
        self.setVisible(bool(text))

    def warn(self, sentences: Iterable[str], first: str = "") -> None:
        """Show warnings, a line each, below a first line."""
        self.tell("\n".join([*([first] if first else []), *(f"⚠ {sentence}" for sentence in sentences)]))

    def fail(self, sentence: str) -> None:
        """Show why something failed."""
        self.setStyleSheet(f"color: {FAILURE_COLOURS[is_dark(self.parentWidget() or self)]};")
        self.setText(sentence)
        self.show()


def heading(text: str) -> QLabel:
    """Title of a part of a panel."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    label.setWordWrap(True)
    label.setContentsMargins(0, 6, 0, 0)
    return label


def button(text: str, tip: str, clicked: Callable[[], object] | None = None, *, checkable: bool = False) -> QPushButton:
    """Button that does not take the focus when clicked: keys of the review belong to the canvas.

    Parameters
    ----------
    text, tip : str
    clicked : callable, optional
        Bound method without arguments.
    checkable : bool
    """
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setCheckable(checkable)
    if clicked is not None:
        made.clicked.connect(clicked)
    return made


def choice(tip: str, entries: Iterable[str] | Mapping[Any, str] = (), least: int = 12) -> QComboBox:
    """Box that may be narrower than its longest entry, so that long layer names do not widen the panel.

    Parameters
    ----------
    tip : str
    entries : iterable of str, or mapping of data to str
    least : int
        Characters there is always room for.
    """
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(least)
    box.setToolTip(tip)
    entries = entries if isinstance(entries, Mapping) else {entry: entry for entry in entries}
    offer(box, entries, next(iter(entries), None))
    return box


def offer(box: QComboBox, entries: Mapping[Any, str] | Iterable[str], chosen: Any, *, or_first: bool = False) -> None:
    """Offer other entries, without a signal.

    Parameters
    ----------
    box : QComboBox
    entries : mapping of data to str, or iterable of str
    chosen : object
        Data of the one to stand at; when it is not offered, at none.
    or_first : bool
        Stand at the first one then.
    """
    entries = entries if isinstance(entries, Mapping) else {entry: entry for entry in entries}
    with signals_blocked(box):
        box.clear()
        for data, title in entries.items():
            box.addItem(title, data)
        place = list(entries).index(chosen) if chosen in entries else -1  # Qt itself finds no tuples
        box.setCurrentIndex(max(place, 0) if or_first else place)


def row(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def column(*items: QWidget | QLayout, margins: tuple[int, int, int, int] = (0, 0, 0, 0)) -> QVBoxLayout:
    """Widgets and layouts one below the other."""
    layout = QVBoxLayout()
    layout.setContentsMargins(*margins)
    for item in items:
        if isinstance(item, QWidget):
            layout.addWidget(item)
        else:
            layout.addLayout(item)
    return layout


def form(**rows: QWidget) -> QFormLayout:
    """Rows of a form by the words in front of them; an underscore stands for a blank. The words have one width."""
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    for name, widget in rows.items():
        layout.addRow(row_label(name.replace("_", " ")), widget)
    return layout


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

    minimumSizeHint = sizeHint  # words are not cut


class PathRow(QWidget):
    """Line for a path, with a button that browses for it.

    Parameters
    ----------
    title : str
        What the path is, such as ``Folder of results``: title of the dialog, and what the tips say.
    path : str
        What stands in the line first.
    placeholder : str
        What an empty line says.
    files : str
        Filter of the dialog for a file, such as ``Logs (*.jsonl)``; empty for a folder.

    Attributes
    ----------
    changed : Signal
        Another path was typed to its end, or browsed for.
    """

    changed = Signal()

    def __init__(self, title: str, path: str = "", placeholder: str = "", files: str = "") -> None:
        super().__init__()
        self._title, self._files = title, files
        self.line = QLineEdit(path)
        self.line.setPlaceholderText(placeholder)
        self.line.setToolTip(f"{title}: its path")
        self.line.editingFinished.connect(self.changed)
        self.browse = QPushButton("Browse…")
        self.browse.setToolTip(f"{title}: choose it")
        self.browse.clicked.connect(self._browse)
        layout = row(self.line, self.browse)
        layout.setStretch(0, 1)
        self.setLayout(layout)

    @property
    def path(self) -> Path | None:
        """The path, or None while the line is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def _browse(self) -> None:
        if self._files:
            chosen, _ = QFileDialog.getOpenFileName(self, self._title, self.line.text(), self._files)
        else:
            chosen = QFileDialog.getExistingDirectory(self, self._title, self.line.text())
        if chosen:
            self.line.setText(chosen)
            self.changed.emit()


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
    footer = Note(RESEARCH_USE_ONLY)
    footer.setContentsMargins(8, 2, 8, 6)
    panel.setLayout(column(area, footer))
    panel.setProperty(_PANEL, True)
    frame = _Frame(panel)
    footer.installEventFilter(frame)
    panel.installEventFilter(frame)


class _Frame(QObject):
    """Lays the dock of a panel onto that of another one when it is first shown, and gives it the letters of its labels.

    Stacked, four docks would be taller than a screen; where they go afterwards is the user's choice. napari's theme
    tells the size of letters to labels, buttons and boxes; tables and fields take theirs from the panel.

    Parameters
    ----------
    panel : QWidget
        Owner, known as Qt's parent alone: a reference of Python's would leave the panel to the garbage collector.
    """

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait for the panel to be shown, and follow one of its labels."""
        panel = self.parent()
        if isinstance(panel, QWidget) and event is not None:
            if watched is panel and event.type() == QEvent.Type.Show:
                panel.removeEventFilter(self)
                QTimer.singleShot(0, self._settle)
            elif isinstance(watched, QLabel) and event.type() == QEvent.Type.FontChange:
                letters = panel.font()
                letters.setPixelSize(watched.fontInfo().pixelSize())
                panel.setFont(letters)
        return super().eventFilter(watched, event)

    def _settle(self) -> None:
        panel = self.parent()
        dock = panel.parentWidget() if isinstance(panel, QWidget) else None
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
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
