"""A word on what is happening, between the command and the first picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_MARGIN, _LETTERS = 24, 14


@contextmanager
def splash(text: str) -> Iterator[None]:
    """Show a line in the middle of the screen until the window that is opened within has its picture.

    Parameters
    ----------
    text : str
        What is being opened.
    """
    from napari.qt import get_qapp
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QPixmap
    from qtpy.QtWidgets import QSplashScreen

    application = get_qapp()
    screen = QSplashScreen()
    font = screen.font()
    font.setPointSize(_LETTERS)
    screen.setFont(font)
    line = screen.fontMetrics().boundingRect(text)
    paper = QPixmap(line.width() + 2 * _MARGIN, line.height() + 2 * _MARGIN)
    paper.fill(Qt.GlobalColor.black)
    screen.setPixmap(paper)
    screen.showMessage(text, Qt.AlignmentFlag.AlignCenter, Qt.GlobalColor.white)
    screen.show()
    application.processEvents()
    try:
        yield
    finally:
        screen.close()
