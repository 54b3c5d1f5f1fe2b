"""Drawing a comparison with Qt's painter: the same code for the screen, for PNG and for PDF."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from qtpy.QtCore import QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QPolygonF

from napari_uncseg.compare.data import Colour, ComparisonData, LabelOverlay, MapOverlay, Point
from napari_uncseg.compare.layout import ComparisonState, PaneView
from napari_uncseg.compare.render import Pixels, Renderer, colour_table, scale_bar_mm
from napari_uncseg.viewer.orientation import LETTERS, slice_number

INK, DIM, PAPER, FRAME = QColor(232, 232, 232), QColor(165, 165, 165), QColor(0, 0, 0), QColor(58, 58, 58)
CROSSHAIR = QColor(120, 200, 255, 190)

_At = Qt.AlignmentFlag
_BORDERS = (
    *(_At.AlignTop | _At.AlignHCenter, _At.AlignBottom | _At.AlignHCenter),
    *(_At.AlignLeft | _At.AlignVCenter, _At.AlignRight | _At.AlignVCenter),
)
_WRAP = int(Qt.TextFlag.TextWordWrap)
_BAR = 5.2
"""Width of a colour bar with its numbers, in heights of letters."""


@dataclass(frozen=True)
class Style:
    """Sizes that all others follow from.

    Parameters
    ----------
    text : float
        Height of letters, in the painter's units.
    hair : float
        Width of thin lines.
    headings : bool
        Whether titles are painted; on the screen, choosers stand in their place.
    inside : bool
        Whether titles, and the colour bar of the first pane for all, stand on the pictures, which then have all room.
    """

    text: float
    hair: float = 1.0
    headings: bool = True
    inside: bool = False

    @property
    def head(self) -> float:
        """Height of the strip above a picture."""
        return 0.0 if self.inside else self.text * 2.2

    @property
    def side(self) -> float:
        """Width of the strip beside a picture, which holds the colour bar."""
        return 0.0 if self.inside else self.text * _BAR

    def font(self, factor: float = 1.0, *, bold: bool = False) -> QFont:
        """Font of this size."""
        font = QFont()
        font.setPixelSize(max(round(self.text * factor), 1))
        font.setBold(bold)
        return font


@dataclass(frozen=True)
class Frame:
    """Where a pane lies.

    Parameters
    ----------
    whole : QRectF
        All of it.
    picture : QRectF
        Where its slice is drawn.
    scale : float
        Painter's units per millimetre.
    axes : tuple of int
        Axis that is cut, axis that runs down, axis that runs to the right.
    middle : tuple of float
        What lies in the middle of the picture, world millimetres (I, P, L), but for the slice.
    """

    whole: QRectF
    picture: QRectF
    scale: float
    axes: tuple[int, int, int]
    middle: Point

    def to_pixel(self, place: Point) -> QPointF:
        """Where a place of the world is drawn, whichever slice it lies in."""
        down, right = (self.scale * (place[axis] - self.middle[axis]) for axis in self.axes[1:])
        return self.picture.center() + QPointF(right, down)

    def to_world(self, pixel: QPointF) -> Point:
        """Place that is drawn at a pixel, but for the slice."""
        away, place = (pixel - self.picture.center()) / self.scale, list(self.middle)
        for axis, moved in zip(self.axes[1:], (away.y(), away.x()), strict=True):
            place[axis] += moved
        return tuple(place)


def frames(state: ComparisonState, area: QRectF, style: Style) -> list[Frame]:
    """Places of all panes in an area; all pictures have one size and one scale."""
    gap = style.text * 0.35
    width = (area.width() - gap * (state.columns - 1)) / state.columns
    height = (area.height() - gap * (state.rows - 1)) / state.rows
    tall, wide = state.extent()
    found = []
    for number, view in enumerate(state.views):
        row, column = divmod(number, state.columns)
        whole = QRectF(area.x() + column * (width + gap), area.y() + row * (height + gap), width, height)
        picture = whole.adjusted(0, style.head, -style.side, 0)
        fit = min(max(picture.height(), 1.0) / tall, max(picture.width(), 1.0) / wide)
        middle = view.data.middle if view.data is not None else (0.0, 0.0, 0.0)
        seen = tuple(start + shift for start, shift in zip(middle, state.cut.shift, strict=True))
        found.append(Frame(whole, picture, fit * state.cut.zoom, view.axes(state.cut), seen))
    return found


def paint(painter: QPainter, state: ComparisonState, area: QRectF, style: Style, renderer: Renderer) -> None:
    """Draw all panes."""
    painter.fillRect(area, FRAME)
    for view, frame in zip(state.views, frames(state, area, style), strict=True):
        painter.save()
        painter.setClipRect(frame.whole)
        painter.fillRect(frame.whole, PAPER)
        PanePainter(painter, state, view, frame, style).paint(renderer)
        painter.restore()


@dataclass(frozen=True)
class PanePainter:
    """Draws one pane of a comparison."""

    painter: QPainter
    state: ComparisonState
    view: PaneView
    frame: Frame
    style: Style

    def paint(self, renderer: Renderer) -> None:
        """Draw it, with all that stands beside and over its slice."""
        view, text, picture = self.view, self.style.text, self.frame.picture
        if self.style.headings and not self.style.inside:
            self.paint_title(self.frame.whole.width() - text * 0.5, self.style.head)
        if view.data is None or view.pane.missing:
            inner = picture.adjusted(text * 2, 0, self.style.side - text * 2, 0)
            self.write(inner, view.pane.missing or "No patient here.", _At.AlignCenter, DIM)
            return
        self.painter.save()
        self.painter.setClipRect(picture)
        self.paint_slice(view.data, renderer)
        if self.state.crosshair:
            self.paint_crosshair()
        self.paint_ruler(view.data)
        self.painter.restore()
        self.paint_letters()
        if self.style.inside:  # as far as the letter in the middle
            self.paint_title(picture.width() / 2 - text * 1.5, text * 1.4)
        if view.pane.note:  # below the letter at the top
            place = picture.adjusted(text, text * 1.8, -text, 0)
            self.write(place, view.pane.note, _At.AlignTop | _At.AlignHCenter)
        self.paint_scale_bar()
        self.paint_position(view.data)
        if isinstance(view.overlay, LabelOverlay):
            colours, names = view.overlay.colours, view.overlay.names
            self.paint_names([(colour, names.get(label, str(label))) for label, colour in colours.items()])
        elif view.overlay is not None and (not self.style.inside or view is self.state.views[0]):
            self.paint_colour_bar(view.overlay)

    def paint_title(self, width: float, height: float) -> None:
        """What the pane shows, in its upper left corner."""
        strip = QRectF(self.frame.whole.x() + self.style.text * 0.5, self.frame.whole.y(), width, height)
        metrics = QFontMetricsF(self.style.font(bold=True))
        self.write(strip, metrics.elidedText(self.view.title, Qt.TextElideMode.ElideRight, width), bold=True)

    def paint_slice(self, data: ComparisonData, renderer: Renderer) -> None:
        """The image, what lies on it, and contours."""
        _, down, right = self.frame.axes
        first, last = (tuple(data.world(axis, end * data.shape[axis] - 0.5) for axis in range(3)) for end in (0, 1))
        target = QRectF(self.frame.to_pixel(first), self.frame.to_pixel(last))
        opacity = self.state.opacity if isinstance(self.view.overlay, MapOverlay) else 1.0
        image, overlay = renderer.image(self.state, self.view), renderer.overlay(self.state, self.view)
        for pixels, smooth, alpha in ((image, True, 1.0), (overlay, False, opacity)):
            if pixels is not None:
                self.painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
                self.painter.setOpacity(alpha)
                drawn = qimage(pixels)
                self.painter.drawImage(target, drawn, QRectF(drawn.rect()))
        self.painter.setOpacity(1.0)
        voxel = (target.width() / data.shape[right], target.height() / data.shape[down])
        named: dict[str, Colour] = {}
        self.painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for each in renderer.outlines(self.state, self.view):
            named["reference" if each.of_reference else str(each.region)] = each.colour
            self._pen(QColor.fromRgbF(*each.colour), 1.3, dashed=each.of_reference)
            for line in each.lines:
                points = (line * voxel + (target.x(), target.y())).tolist()
                self.painter.drawPolyline(QPolygonF([QPointF(*at) for at in points]))
        self.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self.paint_legend(named)

    def paint_legend(self, named: Mapping[str, Colour]) -> None:
        """Names of the lines in their colours, below each other in the upper left corner."""
        text, corner = self.style.text, self.frame.picture.topLeft()
        top = 1.6 if self.style.inside else 0.2  # below the title
        for number, (name, colour) in enumerate(named.items()):
            place = QRectF(corner.x() + text * 0.4, corner.y() + text * (top + 1.2 * number), text * 8, text * 1.2)
            self.write(place, name, colour=QColor.fromRgbF(*colour), size=0.85)

    def paint_crosshair(self) -> None:
        """Where all panes are cut; the place itself stays open to be seen."""
        picture, gap = self.frame.picture, self.style.text
        at = self.frame.to_pixel(self.view.place(self.state.cut))
        self._pen(CROSSHAIR)
        self.painter.drawLines(
            QLineF(picture.left(), at.y(), at.x() - gap, at.y()),
            QLineF(at.x() + gap, at.y(), picture.right(), at.y()),
            QLineF(at.x(), picture.top(), at.x(), at.y() - gap),
            QLineF(at.x(), at.y() + gap, at.x(), picture.bottom()),
        )

    def paint_ruler(self, data: ComparisonData) -> None:
        """What was measured in this very slice, in millimetres."""
        across, _, _ = self.frame.axes
        ends = [self.view.place(replace(self.state.cut, point=end)) for end in self.state.ruler or ()]
        if not ends or {data.index(across, end[across]) for end in ends} != {self.view.slice_index(self.state.cut)}:
            return
        first, last = map(self.frame.to_pixel, ends)
        self._pen(INK, 1.5)
        self.painter.drawLine(QLineF(first, last))
        text = self.style.text
        words = f"{math.dist(*ends):.1f} mm"
        self.write(QRectF(last.x() + text * 0.5, last.y() - text * 1.6, text * 8, text * 1.5), words, size=0.9)

    def paint_letters(self) -> None:
        """Where the borders of a picture lie in the patient."""
        side, end = self.style.text * 0.4, self.style.text * 0.1
        for letter, where in zip(LETTERS[self.view.plane(self.state.cut)], _BORDERS, strict=True):
            self.write(self.frame.picture.adjusted(side, end, -side, -end), letter, where)

    def paint_scale_bar(self) -> None:
        """A length in millimetres."""
        picture, text = self.frame.picture, self.style.text
        length = scale_bar_mm(picture.width() / self.frame.scale)
        left, bottom = picture.left() + text * 0.8, picture.bottom() - text * 0.9
        for colour, width in ((PAPER, 4), (INK, 2)):
            self._pen(colour, width)
            self.painter.drawLine(QLineF(left, bottom, left + length * self.frame.scale, bottom))
        self.write(QRectF(left, bottom - text * 1.7, text * 8, text * 1.5), f"{length:g} mm", size=0.9)

    def paint_position(self, data: ComparisonData) -> None:
        """Which slice it is, as far as there is room between the letter in the middle and the right border."""
        axis = self.frame.axes[0]
        count = data.shape[axis]
        here = slice_number(axis, self.view.slice_index(self.state.cut), count)
        inner = self.frame.picture.adjusted(0, 0, -self.style.text * 0.5, -self.style.text * 0.4)
        room = inner.right() - self.frame.picture.center().x() - self.style.text
        metrics = QFontMetricsF(self.style.font(0.9))
        written = (f"{here} / {count}", f"{here}/{count}", f"{here}")
        words = next((words for words in written if metrics.horizontalAdvance(words) <= room), written[-1])
        self.write(inner, words, _At.AlignRight | _At.AlignBottom, DIM, size=0.9)

    def paint_colour_bar(self, overlay: MapOverlay) -> None:
        """What the colours of a map stand for."""
        text, picture, painter = self.style.text, self.frame.picture, self.painter
        upper, edge = self.state.range_of(overlay), self.state.edge_of(self.view, overlay)
        height = min(picture.height() * 0.6, text * 16)
        bar = QRectF(picture.right() + text * 0.5, picture.center().y() - height / 2, text, height)
        if self.style.inside:  # in the corner, where there is no brain
            height = min(picture.height() * 0.3, text * 6)
            bar = QRectF(picture.right() - text * (_BAR - 1), picture.y() + text, text, height)
        image = qimage(colour_table(self.state.colours_of(overlay), edge)[::-8].reshape(-1, 1, 4))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(bar, image, QRectF(image.rect()))
        self._pen(DIM)
        painter.drawRect(bar)
        words = QRectF(bar.right() + text * 0.3, 0, text * (_BAR - 1.9), text * 1.2)
        room = words.height() / bar.height()
        for mark in (1.0, 0.0, *([edge] if room < edge < 1 - room else [])):
            words.moveTop(bar.bottom() - mark * bar.height() - words.height() / 2)
            self.write(words, f"{mark * upper:.2f}", size=0.85)

    def paint_names(self, entries: Iterable[tuple[Colour, str]]) -> None:
        """Squares of colours beside a picture, and the name of each."""
        entries, text = list(entries), self.style.text
        row, left = text * 1.6, self.frame.picture.right() + text * 0.5
        top = self.frame.picture.center().y() - row * len(entries) / 2
        size = 0.85 if max(len(name) for _, name in entries) <= 5 else 0.7
        for number, (colour, name) in enumerate(entries):
            line = QRectF(left, top + number * row, self.style.side - text * 0.6, row)
            square = QRectF(left, line.center().y() - text * 0.4, text * 0.8, text * 0.8)
            self.painter.fillRect(square, QColor.fromRgbF(*colour))
            self.write(line.adjusted(text * 1.1, 0, 0, 0), name, size=size)

    def write(
        self,
        place: QRectF,
        words: str,
        where: Qt.AlignmentFlag = _At.AlignLeft | _At.AlignVCenter,
        colour: QColor = INK,
        *,
        size: float = 1.0,
        bold: bool = False,
    ) -> None:
        """Write words with a dark rim, so that they read on any image."""
        self.painter.setFont(self.style.font(size, bold=bold))
        how = int(where) | _WRAP
        self.painter.setPen(PAPER)
        step = max(self.style.hair, self.style.text / 14)
        for right, down in ((-step, 0), (step, 0), (0, -step), (0, step)):
            self.painter.drawText(place.translated(right, down), how, words)
        self.painter.setPen(colour)
        self.painter.drawText(place, how, words)

    def _pen(self, colour: QColor, width: float = 1.0, *, dashed: bool = False) -> None:
        pen = QPen(colour)
        if dashed:
            pen.setDashPattern([4.0, 3.0])
        pen.setWidthF(self.style.hair * width)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap if dashed else Qt.PenCapStyle.SquareCap)
        self.painter.setPen(pen)


def qimage(pixels: Pixels) -> QImage:
    """Pixels, grey of shape (height, width) or RGBA of shape (height, width, 4), as an image of its own."""
    height, width = pixels.shape[:2]
    grey = pixels.ndim == 2
    data = np.ascontiguousarray(pixels).tobytes()
    kind = QImage.Format.Format_Grayscale8 if grey else QImage.Format.Format_RGBA8888
    best = QImage.Format.Format_RGB32 if grey else QImage.Format.Format_ARGB32_Premultiplied
    # The conversion copies: the bytes need not outlive this call. Painting is quickest from this format.
    return QImage(data, width, height, len(data) // height, kind).convertToFormat(best)
