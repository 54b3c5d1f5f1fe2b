"""What a comparison window shows, as a figure for print: PNG or PDF, with a caption of all settings."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QMarginsF, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPageLayout, QPageSize, QPainter, QPdfWriter

from napari_uncseg.compare.layout import ComparisonState, caption
from napari_uncseg.compare.render import Renderer
from napari_uncseg.errors import SaveError
from napari_uncseg.io.files import write_files
from napari_uncseg.widgets.compare.painter import Style, paint

DPI = 300
"""Dots per inch of a PNG, and of the images' places in a PDF."""

WIDTH_MM = 180.0
"""Width of a figure over two columns of a journal."""

_TEXT_POINTS = 6.5
_SUFFIXES = (".png", ".pdf")
_WRAP = int(Qt.TextFlag.TextWordWrap)


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
    if path.suffix.lower() not in _SUFFIXES:
        raise SaveError(f"{path.name} ends neither in .png nor in .pdf: choose one of these.")
    # Everything is drawn in dots: painters round letters to whole units.
    words, style = caption(state), Style(text=_TEXT_POINTS * dpi / 72, hair=0.5 * dpi / 72)
    panes = QRectF(0, 0, width_mm / 25.4 * dpi, width_mm / 25.4 * dpi / aspect)
    text = QFontMetricsF(style.font()).boundingRect(QRectF(0, 0, panes.width(), 1e6), _WRAP, words)
    whole = panes.adjusted(0, 0, 0, text.height() + style.text * 1.6)
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    device = _page(buffer, whole, dpi, state) if path.suffix.lower() == ".pdf" else _image(whole, dpi, words)
    painter = QPainter(device)
    # A PDF has no paper of its own, and a dark one would swallow the caption.
    painter.fillRect(whole.adjusted(0, 0, 1, 1), Qt.GlobalColor.white)
    paint(painter, state, panes, style, Renderer())
    painter.setPen(QColor(0, 0, 0))
    painter.setFont(style.font())
    painter.drawText(whole.adjusted(0, panes.height() + style.text * 0.8, 0, 0), _WRAP, words)
    painter.end()
    if isinstance(device, QImage) and not device.save(buffer, "PNG"):
        raise SaveError("The figure is too large to be saved as PNG; choose a smaller window or PDF.")
    write_files({path: bytes(data.data())})


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


def _image(whole: QRectF, dpi: int, words: str) -> QImage:
    """A picture that tells its resolution and its caption."""
    image = QImage(round(whole.width()), round(whole.height()), QImage.Format.Format_RGB32)
    image.setDotsPerMeterX(round(dpi / 0.0254))
    image.setDotsPerMeterY(round(dpi / 0.0254))
    image.setText("Description", words)
    return image


def _page(buffer: QBuffer, whole: QRectF, dpi: int, state: ComparisonState) -> QPdfWriter:
    """A page of the figure's own size."""
    writer = QPdfWriter(buffer)
    writer.setResolution(dpi)
    page = QPageSize(whole.size() * 72 / dpi, QPageSize.Unit.Point, "figure", QPageSize.SizeMatchPolicy.ExactMatch)
    writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF(0, 0, 0, 0)))
    ids = dict.fromkeys(view.data.study_id for view in state.views if view.data is not None)
    writer.setTitle("Comparison of " + ", ".join(ids))
    writer.setCreator("napari-uncseg")
    return writer
