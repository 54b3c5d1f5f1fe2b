"""What a comparison window shows, as a figure for print: PNG or PDF, with a caption of all settings."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QMarginsF, QRectF, QSizeF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPageLayout, QPageSize, QPaintDevice, QPainter, QPdfWriter

from napari_uncseg.compare.caption import caption
from napari_uncseg.compare.layout import ComparisonState
from napari_uncseg.compare.render import Renderer
from napari_uncseg.errors import SaveError
from napari_uncseg.io.files import write_files
from napari_uncseg.widgets.compare.painter import Style, paint

DPI = 300
"""Dots per inch of a PNG, and of the images' places in a PDF."""

WIDTH_MM = 180.0
"""Width of a figure over two columns of a journal."""

_TEXT_POINTS = 6.5
_POINT_MM = 25.4 / 72
_SUFFIXES = (".png", ".pdf")


def export_figure(
    state: ComparisonState, path: Path, *, aspect: float = 1.5, width_mm: float = WIDTH_MM, dpi: int = DPI
) -> None:
    """Save what is on show.

    Parameters
    ----------
    state : ComparisonState
        What is on show.
    path : Path
        A ``.png`` or ``.pdf`` file; it is replaced.
    aspect : float
        Width of the panes together, over their height: as on the screen.
    width_mm : float
        Width in print, mm.
    dpi : int
        Resolution of a PNG.

    Raises
    ------
    SaveError
        When the name ends otherwise, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise SaveError(f"{path.name} ends neither in .png nor in .pdf: choose one of these.")
    figure = _Figure(state, caption(state), width_mm / _POINT_MM, aspect, dpi)
    write_files({path: figure.png() if suffix == ".png" else figure.pdf()})


def completed(path: Path, suffix: str) -> Path:
    """A name with the suffix of the chosen kind, unless it ends in one of a kind there is.

    Parameters
    ----------
    path : Path
        As typed; ``fig.v2`` has no suffix of a figure.
    suffix : str
        ``.png`` or ``.pdf``.

    Returns
    -------
    Path
    """
    return path if path.suffix.lower() in _SUFFIXES else path.with_name(path.name + suffix)


class _Figure:
    """Panes with their caption; sizes are points of print, and everything is drawn in dots.

    So letters keep their sizes: painters round them to whole units.
    """

    def __init__(self, state: ComparisonState, words: str, width: float, aspect: float, dpi: int) -> None:
        self._state, self._words, self._dpi = state, words, dpi
        self._dots = dpi / 72
        self._style = Style(text=_TEXT_POINTS * self._dots, hair=0.5 * self._dots)
        self._panes = QRectF(0, 0, width * self._dots, width / aspect * self._dots)
        metrics = QFontMetricsF(self._style.font())
        most = QRectF(0, 0, self._panes.width(), 1e6)
        text = metrics.boundingRect(most, int(Qt.TextFlag.TextWordWrap), words)
        self._height = self._panes.height() + text.height() + self._style.text * 1.6

    def png(self) -> bytes:
        """As a picture."""
        image = QImage(round(self._panes.width()), round(self._height), QImage.Format.Format_RGB32)
        image.setDotsPerMeterX(round(self._dpi / 0.0254))
        image.setDotsPerMeterY(round(self._dpi / 0.0254))
        image.setText("Description", self._words)
        self._draw(image)
        data = QByteArray()
        buffer = QBuffer(data)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        if not image.save(buffer, "PNG"):
            raise SaveError("The figure is too large to be saved as PNG; choose a smaller window or PDF.")
        return bytes(data.data())

    def pdf(self) -> bytes:
        """As a page of its own size."""
        data = QByteArray()
        buffer = QBuffer(data)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        writer = QPdfWriter(buffer)
        writer.setResolution(self._dpi)
        size = QSizeF(self._panes.width(), self._height) / self._dots
        page = QPageSize(size, QPageSize.Unit.Point, "figure", QPageSize.SizeMatchPolicy.ExactMatch)
        writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF(0, 0, 0, 0)))
        ids = dict.fromkeys(view.data.study_id for view in self._state.views if view.data is not None)
        writer.setTitle("Comparison of " + ", ".join(ids))
        writer.setCreator("napari-uncseg")
        self._draw(writer)
        return bytes(data.data())

    def _draw(self, device: QPaintDevice) -> None:
        painter = QPainter(device)
        # A PDF has no paper of its own, and a dark one would swallow the caption.
        painter.fillRect(QRectF(0, 0, self._panes.width() + 1, self._height + 1), Qt.GlobalColor.white)
        paint(painter, self._state, self._panes, self._style, Renderer())
        painter.setPen(QColor(0, 0, 0))
        painter.setFont(self._style.font())
        below = self._panes.translated(0, self._panes.height() + self._style.text * 0.8)
        below.setHeight(self._height - self._panes.height())
        painter.drawText(below, int(Qt.TextFlag.TextWordWrap), self._words)
        painter.end()
