"""Small pieces that several panels use: notes, boxes and rows of a form."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_uncseg.errors import UncsegError, is_out_of_memory
from napari_uncseg.viewer.bindings import PICTURE_KEYS

logger = logging.getLogger(__name__)

FAILURE_COLOURS, DOUBT_COLOURS = ("#b3261e", "#f0655a"), ("#8a5200", "#e0962a")
"""Red and amber: those that read on a light theme, and on a dark one."""

_ROW_LABEL = "Second log "
"""The longest of the words in front of rows."""


def is_dark(widget: QWidget) -> bool:
    """Whether a widget's theme writes light letters on a dark ground."""
    return widget.palette().color(QPalette.ColorRole.WindowText).lightness() > 127


class Note(QLabel):
    """One or more sentences that wrap and can be selected and copied; hidden while there are none."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.code = ""
        """Of the error on show; empty when it is none of the package's."""
        self._colours: tuple[str, str] | None = None
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setMinimumWidth(1)  # a long name would take the room of the picture
        if not text:
            self.hide()

    def tell(self, text: str, *, aloud: bool = False) -> None:
        """Show sentences; over the picture as well when told `aloud`."""
        self.code = ""
        self._paint(None)
        self.setText(text)
        self.setVisible(bool(text))
        if aloud:
            show_info(text)

    def warn(self, sentences: Iterable[str], first: str = "", *, doubt: bool = False) -> None:
        """Show warnings, a line each, below a first line; in amber where they are doubts about a result."""
        self.tell("\n".join([*([first] if first else []), *(f"⚠ {sentence}" for sentence in sentences)]))
        self._paint(DOUBT_COLOURS if doubt else None)

    def fail(self, failure: str | BaseException, *, aloud: bool = False) -> None:
        """Show why something failed; over the picture as well where nobody would see it here, or when told `aloud`."""
        self.code = getattr(failure, "code", "")
        self._paint(FAILURE_COLOURS)
        self.setText(failure if isinstance(failure, str) else failure_sentence(failure))
        self.show()
        if aloud or self.visibleRegion().isEmpty():
            show_warning(self.text())

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme, which is none before a panel stands in its window."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._paint(self._colours)

    def _paint(self, colours: tuple[str, str] | None) -> None:
        self._colours = colours
        style = f"color: {colours[is_dark(self.parentWidget() or self)]};" if colours is not None else ""
        if style != self.styleSheet():
            self.setStyleSheet(style)

    @contextmanager
    def failing(self, *, aloud: bool = False) -> Iterator[None]:
        """Show the error of the package's that is raised within, which ends there."""
        try:
            yield
        except UncsegError as error:
            self.fail(error, aloud=aloud)


def failure_sentence(error: BaseException) -> str:
    """One sentence for the user; what is no error of theirs goes to the log with its traceback."""
    if isinstance(error, UncsegError):
        return str(error)
    if is_out_of_memory(error):
        return "The memory of this computer does not suffice for this study; close other programs and run again."
    logger.error("A job failed unexpectedly.", exc_info=error)
    return f"The run failed unexpectedly ({type(error).__name__}: {error}); the log holds the details."


def label(text: str = "") -> QLabel:
    """Words as they were written, in whatever room there is: names and comments may be long, or look like HTML."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setMinimumWidth(1)
    return made


def heading(text: str) -> QLabel:
    """Title of a part of a panel."""
    made = label(text)
    font = made.font()
    font.setBold(True)
    made.setFont(font)
    made.setWordWrap(True)
    made.setContentsMargins(0, 6, 0, 0)
    return made


def weakly(method: Callable[..., object], *arguments: object) -> Callable[..., None]:
    """What calls a bound method with arguments as long as its object lives, and does not keep it alive.

    A function, for unlike a partial it has the name that napari asks of a command.
    """
    weak = weakref.WeakMethod(method)

    def call(_sent: object = None) -> None:
        alive = weak()
        if alive is not None:
            alive(*arguments)

    return call


def button(text: str, tip: str, clicked: Callable[[], object] | None = None, *, checkable: bool = False) -> QPushButton:
    """Button that does not take the focus when clicked: keys of the review belong to the canvas.

    Parameters
    ----------
    text, tip : str
    clicked : callable, optional
        Bound method without arguments, or :func:`weakly` one with some.
    checkable : bool
    """
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setCheckable(checkable)
    made.setStyleSheet("QPushButton { padding: 3px 5px; }")  # several in a row fit into a panel
    if clicked is not None:
        made.clicked.connect(clicked)
    return made


def key_button(title: str, key: str, tip: str, clicked: Callable[[], object] | None = None) -> QPushButton:
    """Button of something that a key does as well, which it names.

    Parameters
    ----------
    title : str
    key : str
        As Qt writes it.
    tip : str
    clicked : callable, optional
        As of :func:`button`.
    """
    return button(f"{title} {key.replace('Shift+', '⇧')}", f"{tip} (key {key})", clicked)


def opacity_slider(changed: Callable[[int], object]) -> QSlider:
    """Slider for the opacity of maps, in percent.

    Parameters
    ----------
    changed : callable
        Bound method, given the percentage.
    """
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(10, 100)
    made.setMaximumWidth(140)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setToolTip(f"Opacity of the map ({PICTURE_KEYS['fainter']} fainter, {PICTURE_KEYS['stronger']} stronger)")
    made.valueChanged.connect(changed)
    return made


def choice(
    tip: str,
    entries: Iterable[str] | Mapping[Any, str] = (),
    changed: Any = None,
    *,
    least: int = 12,
) -> QComboBox:
    """Box that may be narrower than its longest entry, so that long layer names do not widen the panel.

    Parameters
    ----------
    tip : str
    entries : iterable of str, or mapping of data to str
    changed : callable or Signal, optional
        Bound method that hears of another choice.
    least : int
        Characters there is always room for.
    """
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(least)
    box.setToolTip(tip)
    offer(box, entries, None, or_first=True)
    if changed is not None:
        box.currentIndexChanged.connect(changed)
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


def row(*widgets: QWidget, stretch: Sequence[int] = ()) -> QHBoxLayout:
    """Widgets side by side, which share what width is left as told."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for place, widget in enumerate(widgets):
        layout.addWidget(widget, stretch[place] if stretch else 0)
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
        layout.addRow(RowLabel(name.replace("_", " ")), widget)
    return layout


class RowLabel(QLabel):
    """Words in front of a row of a form: all as wide as the longest, so that the rows of a panel line up."""

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
    changed : callable, optional
        Bound method that hears of another path, which was typed to its end or browsed for.
    """

    _changed = Signal()

    def __init__(
        self,
        title: str,
        path: str = "",
        placeholder: str = "",
        files: str = "",
        changed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._files = title, files
        if changed is not None:
            self._changed.connect(changed)
        self.line = QLineEdit(path)
        self.line.setPlaceholderText(placeholder)
        self.line.setToolTip(f"{title}: its path")
        self.line.editingFinished.connect(self._changed)
        self.browse = QPushButton("Browse…")
        self.browse.setToolTip(f"{title}: choose it")
        self.browse.clicked.connect(self._browse)
        self.setLayout(row(self.line, self.browse, stretch=(1, 0)))

    @property
    def path(self) -> Path | None:
        """The path, or None while the line is empty."""
        return path_of(self.line.text())

    def _browse(self) -> None:
        if self._files:
            chosen, _ = QFileDialog.getOpenFileName(self, self._title, self.line.text(), self._files)
        else:
            chosen = QFileDialog.getExistingDirectory(self, self._title, self.line.text())
        if chosen:
            self.line.setText(chosen)
            self._changed.emit()


def path_of(text: str) -> Path | None:
    """The path that was typed, or None when nothing was; a home that is not there stays as it was typed."""
    typed = text.strip()
    return Path(os.path.expanduser(typed)) if typed else None
