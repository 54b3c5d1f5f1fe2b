"""What a comparison window shows, as a figure for print: PNG or PDF, with a caption of all settings."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QMarginsF, QRectF, QSizeF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPageLayout, QPageSize, QPainter, QPdfWriter

from napari_uncseg.compare.caption import caption
from napari_uncseg.compare.layout import Sheet
from napari_uncseg.errors import SaveError
from napari_uncseg.io.files import write_files
from napari_uncseg.widgets.compare.frames import Style
from napari_uncseg.widgets.compare.paint import paint_sheet
from napari_uncseg.widgets.compare.pictures import Pictures

DPI = 300
"""Dots per inch of a PNG, and of the images' places in a PDF."""

WIDTH_MM = 180.0
"""Width of a figure over two columns of a journal."""

_TEXT_POINTS = 6.5
_POINT_MM = 25.4 / 72
_SUFFIXES = (".png", ".pdf")


def export_sheet(sheet: Sheet, path: Path, *, aspect: float = 1.5, width_mm: float = WIDTH_MM, dpi: int = DPI) -> None:
    """Save what is on show.

    Parameters
    ----------
    sheet : Sheet
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
    words = caption(sheet)
    width = width_mm / _POINT_MM
    panes = QRectF(0, 0, width, width / aspect)
    style = Style(text=_TEXT_POINTS, hair=0.5)
    # Words are measured in pixels of a large font: point sizes are rounded to whole pixels.
    below = _words_height(words, width, dpi)
    if suffix == ".png":
        data = _png(sheet, panes, below, style, words, dpi)
    else:
        data = _pdf(sheet, panes, below, style, words, dpi)
    write_files({path: data})


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


def _png(sheet: Sheet, panes: QRectF, below: float, style: Style, words: str, dpi: int) -> bytes:
    scale = dpi / 72
    image = QImage(round(panes.width() * scale), round((panes.height() + below) * scale), QImage.Format.Format_RGB32)
    image.setDotsPerMeterX(round(dpi / 0.0254))
    image.setDotsPerMeterY(round(dpi / 0.0254))
    image.setText("Description", words)
    painter = QPainter(image)
    _draw(painter, sheet, panes, below, style, words, scale)
    painter.end()
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not image.save(buffer, "PNG"):
        raise SaveError("The figure is too large to be saved as PNG; choose a smaller window or PDF.")
    return bytes(data.data())


def _pdf(sheet: Sheet, panes: QRectF, below: float, style: Style, words: str, dpi: int) -> bytes:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    size = QSizeF(panes.width(), panes.height() + below)
    writer.setResolution(dpi)
    writer.setPageLayout(
        QPageLayout(
            QPageSize(size, QPageSize.Unit.Point, "figure", QPageSize.SizeMatchPolicy.ExactMatch),
            QPageLayout.Orientation.Portrait,
            QMarginsF(0, 0, 0, 0),
        )
    )
    writer.setTitle("Comparison of " + ", ".join(dict.fromkeys(_ids(sheet))))
    writer.setCreator("napari-uncseg")
    painter = QPainter(writer)
    _draw(painter, sheet, panes, below, style, words, dpi / 72)
    painter.end()
    return bytes(data.data())


def _draw(painter: QPainter, sheet: Sheet, panes: QRectF, below: float, style: Style, words: str, scale: float) -> None:
    # Everything is drawn in dots, so that letters keep their sizes: painters round them to whole units.
    in_dots = QRectF(0, 0, panes.width() * scale, panes.height() * scale)
    # A PDF has no paper of its own, and a dark one would swallow the caption.
    painter.fillRect(in_dots.adjusted(0, 0, scale, (below + 1) * scale), Qt.GlobalColor.white)
    paint_sheet(painter, sheet, in_dots, Style(text=style.text * scale, hair=style.hair * scale), Pictures())
    painter.setPen(QColor(0, 0, 0))
    painter.setFont(Style(text=style.text * scale).font())
    place = QRectF(0, in_dots.bottom() + style.text * scale * 0.8, in_dots.width(), below * scale)
    painter.drawText(place, int(Qt.TextFlag.TextWordWrap), words)


def _words_height(words: str, width: float, dpi: int) -> float:
    """Height of the caption in points, with the space above it."""
    scale = dpi / 72
    metrics = QFontMetricsF(Style(text=_TEXT_POINTS * scale).font())
    place = metrics.boundingRect(QRectF(0, 0, width * scale, 1e6), int(Qt.TextFlag.TextWordWrap), words)
    return place.height() / scale + _TEXT_POINTS * 1.6


def _ids(sheet: Sheet) -> list[str]:
    return [view.material.study_id for view in sheet.views if view.material is not None]
