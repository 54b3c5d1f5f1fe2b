"""What is drawn beside and over slices: letters, scale bar, crosshair, colour bar, legend."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QLineF, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPen

from napari_uncseg.compare.data import Colour, LabelOverlay, MapOverlay, Material
from napari_uncseg.compare.layout import PaneView, Sheet
from napari_uncseg.compare.pixels import colour_table, edge_of, scale_bar_mm
from napari_uncseg.widgets.compare.frames import Frame, Style
from napari_uncseg.widgets.compare.pictures import colour_image

INK = QColor(232, 232, 232)
DIM = QColor(165, 165, 165)
PAPER = QColor(0, 0, 0)
FRAME = QColor(58, 58, 58)
CROSSHAIR = QColor(120, 200, 255, 190)

LETTERS = {"axial": ("A", "P", "R", "L"), "coronal": ("S", "I", "R", "L"), "sagittal": ("S", "I", "A", "P")}
"""Where the top, the bottom, the left and the right of a picture lie in the patient."""

_POSITION_SIZE = 0.9
"""Height of the slice's number, as a share of that of other letters."""


def paint_crosshair(
    painter: QPainter, sheet: Sheet, view: PaneView, material: Material, frame: Frame, style: Style
) -> None:
    """Where all panes are cut."""
    _, down, right = sheet.cut.axes
    place = view.place(sheet.cut)
    at, gap = frame.to_pixel(material, sheet, place[down], place[right]), style.text
    picture = frame.picture
    painter.setPen(pen_of(CROSSHAIR, style.hair))
    # The place itself stays open to be seen.
    painter.drawLines(
        QLineF(picture.left(), at.y(), at.x() - gap, at.y()),
        QLineF(at.x() + gap, at.y(), picture.right(), at.y()),
        QLineF(at.x(), picture.top(), at.x(), at.y() - gap),
        QLineF(at.x(), at.y() + gap, at.x(), picture.bottom()),
    )


def paint_letters(painter: QPainter, sheet: Sheet, frame: Frame, style: Style) -> None:
    """Where the borders of a picture lie in the patient."""
    top, bottom, left, right = LETTERS[sheet.cut.plane]
    inner = frame.picture.adjusted(style.text * 0.4, style.text * 0.1, -style.text * 0.4, -style.text * 0.1)
    where = Qt.AlignmentFlag
    for letter, flag in (
        (top, where.AlignTop | where.AlignHCenter),
        (bottom, where.AlignBottom | where.AlignHCenter),
        (left, where.AlignLeft | where.AlignVCenter),
        (right, where.AlignRight | where.AlignVCenter),
    ):
        paint_text(painter, inner, letter, style, flag)


def paint_scale_bar(painter: QPainter, frame: Frame, style: Style) -> None:
    """A length in millimetres."""
    length = scale_bar_mm(frame.picture.width() / frame.scale)
    left, bottom = frame.picture.left() + style.text * 0.8, frame.picture.bottom() - style.text * 0.9
    line = QLineF(left, bottom, left + length * frame.scale, bottom)
    for colour, width in ((PAPER, 4), (INK, 2)):
        painter.setPen(pen_of(colour, style.hair * width))
        painter.drawLine(line)
    words = QRectF(left, bottom - style.text * 1.7, style.text * 8, style.text * 1.5)
    paint_text(painter, words, f"{length:g} mm", style, size=0.9)


def paint_position(
    painter: QPainter, sheet: Sheet, view: PaneView, material: Material, frame: Frame, style: Style
) -> None:
    """Which slice it is."""
    here, count = view.slice_index(sheet.cut) + 1, material.shape[sheet.cut.axes[0]]
    inner = frame.picture.adjusted(0, 0, -style.text * 0.5, -style.text * 0.4)
    # Between the letter in the middle and the right border.
    room = inner.right() - frame.picture.center().x() - style.text
    metrics = QFontMetricsF(style.font(_POSITION_SIZE))
    written = (f"{here} / {count}", f"{here}/{count}", f"{here}")
    words = next((words for words in written if metrics.horizontalAdvance(words) <= room), written[-1])
    flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
    paint_text(painter, inner, words, style, flags, DIM, size=_POSITION_SIZE)


def paint_missing(painter: QPainter, view: PaneView, frame: Frame, style: Style) -> None:
    """Why there is no picture."""
    words = view.pane.missing or "No patient here."
    inner = frame.picture.adjusted(style.text * 2, 0, style.side - style.text * 2, 0)
    painter.setPen(DIM)
    painter.setFont(style.font())
    painter.drawText(inner, int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap), words)


def paint_note(painter: QPainter, view: PaneView, frame: Frame, style: Style) -> None:
    """What is not there, below the letter at the top."""
    if view.pane.note:
        place = frame.picture.adjusted(style.text, style.text * 1.8, -style.text, 0)
        flags = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter
        paint_text(painter, place, view.pane.note, style, flags, wrap=True)


def _bar(frame: Frame, style: Style) -> QRectF:
    """Place of a pane's colour bar."""
    height = min(frame.picture.height() * 0.6, style.text * 16)
    return QRectF(frame.picture.right() + style.text * 0.5, frame.picture.center().y() - height / 2, style.text, height)


def paint_colour_bar(
    painter: QPainter, sheet: Sheet, view: PaneView, overlay: MapOverlay, frame: Frame, style: Style
) -> None:
    """What the colours of a map stand for."""
    if overlay.two_valued:
        red, green, blue, _ = colour_table(overlay.colours, 0.0)[-1].tolist()
        _paint_names(painter, [((red / 255, green / 255, blue / 255, 1.0), overlay.colours)], frame, style)
        return
    bar, upper = _bar(frame, style), sheet.range_of(overlay)
    edge = edge_of(overlay, upper, sheet.thresholds.get(view.pane.overlay))
    table = np.ascontiguousarray(colour_table(sheet.colours_of(overlay), edge)[::-8].reshape(-1, 1, 4))
    image = colour_image(table)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    painter.drawImage(bar, image, QRectF(image.rect()))
    painter.setPen(pen_of(DIM, style.hair))
    painter.drawRect(bar)
    words = QRectF(bar.right() + style.text * 0.3, 0, style.side - style.text * 1.9, style.text * 1.2)
    room = words.height() / bar.height()
    marks = [1.0, 0.0, *([edge] if room < edge < 1 - room else [])]
    for mark in marks:
        words.moveTop(bar.bottom() - mark * bar.height() - words.height() / 2)
        paint_text(painter, words, f"{mark * upper:.2f}", style, size=0.85)


def paint_legend(painter: QPainter, overlay: LabelOverlay, frame: Frame, style: Style) -> None:
    """What the colours of labels stand for."""
    entries = [(colour, overlay.names.get(label, str(label))) for label, colour in overlay.colours.items()]
    _paint_names(painter, entries, frame, style)


def _paint_names(painter: QPainter, entries: list[tuple[Colour, str]], frame: Frame, style: Style) -> None:
    """Squares of colours beside a picture, and the name of each."""
    bar = _bar(frame, style)
    row = style.text * 1.6
    top = frame.picture.center().y() - row * len(entries) / 2
    size = 0.85 if max(len(name) for _, name in entries) <= 5 else 0.7
    for number, (colour, name) in enumerate(entries):
        line = QRectF(bar.left(), top + number * row, style.side - style.text * 0.6, row)
        square = QRectF(line.left(), line.center().y() - style.text * 0.4, style.text * 0.8, style.text * 0.8)
        painter.fillRect(square, qcolour(colour))
        words = line.adjusted(style.text * 1.1, 0, 0, 0)
        painter.setPen(INK)
        painter.setFont(style.font(size))
        flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft) | int(Qt.TextFlag.TextWordWrap)
        painter.drawText(words, flags, name)


def paint_text(
    painter: QPainter,
    place: QRectF,
    words: str,
    style: Style,
    flags: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
    colour: QColor = INK,
    *,
    size: float = 1.0,
    bold: bool = False,
    elide: bool = False,
    wrap: bool = False,
) -> None:
    """Words with a dark rim, so that they read on any image."""
    font = style.font(size, bold=bold)
    painter.setFont(font)
    if elide:
        words = QFontMetricsF(font).elidedText(words, Qt.TextElideMode.ElideRight, place.width())
    how = int(flags) | int(Qt.TextFlag.TextWordWrap) if wrap else int(flags)
    painter.setPen(PAPER)
    step = max(style.hair, style.text / 14)
    for right, down in ((-step, 0), (step, 0), (0, -step), (0, step)):
        painter.drawText(place.translated(right, down), how, words)
    painter.setPen(colour)
    painter.drawText(place, how, words)


def pen_of(colour: QColor, width: float) -> QPen:
    """A pen of a colour and a width."""
    pen = QPen(colour)
    pen.setWidthF(width)
    pen.setCapStyle(Qt.PenCapStyle.SquareCap)
    return pen


def qcolour(colour: tuple[float, float, float, float]) -> QColor:
    """A colour of 0 to 1 as Qt has it."""
    return QColor.fromRgbF(*colour)
