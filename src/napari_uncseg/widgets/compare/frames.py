"""Where panes lie, and how places of the patient and of the screen belong together."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF
from qtpy.QtGui import QFont

from napari_uncseg.compare.data import Material
from napari_uncseg.compare.layout import Sheet


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
    """

    text: float
    hair: float = 1.0
    headings: bool = True

    @property
    def head(self) -> float:
        """Height of the strip above a picture."""
        return self.text * 2.2

    @property
    def side(self) -> float:
        """Width of the strip beside a picture, which holds the colour bar."""
        return self.text * 5.2

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
    """

    whole: QRectF
    picture: QRectF
    scale: float

    def to_pixel(self, material: Material, sheet: Sheet, down_mm: float, right_mm: float) -> QPointF:
        """Where a place of the cut plane, in world millimetres, is drawn."""
        _, down, right = sheet.cut.axes
        middle, centre = material.middle, self.picture.center()
        return QPointF(
            centre.x() + (right_mm - middle[right] - sheet.cut.shift[1]) * self.scale,
            centre.y() + (down_mm - middle[down] - sheet.cut.shift[0]) * self.scale,
        )

    def to_world(self, material: Material, sheet: Sheet, pixel: QPointF) -> tuple[float, float]:
        """Place of the cut plane that is drawn at a pixel, world millimetres down and to the right."""
        _, down, right = sheet.cut.axes
        middle, centre = material.middle, self.picture.center()
        return (
            (pixel.y() - centre.y()) / self.scale + middle[down] + sheet.cut.shift[0],
            (pixel.x() - centre.x()) / self.scale + middle[right] + sheet.cut.shift[1],
        )


def frames(sheet: Sheet, area: QRectF, style: Style) -> list[Frame]:
    """Places of all panes in an area; all pictures have one size and one scale."""
    gap = style.text * 0.35
    width = (area.width() - gap * (sheet.columns - 1)) / sheet.columns
    height = (area.height() - gap * (sheet.rows - 1)) / sheet.rows
    tall, wide = sheet.extent()
    found = []
    for number in range(len(sheet.views)):
        row, column = divmod(number, sheet.columns)
        whole = QRectF(area.x() + column * (width + gap), area.y() + row * (height + gap), width, height)
        picture = whole.adjusted(0, style.head, -style.side, 0)
        fit = min(max(picture.height(), 1.0) / tall, max(picture.width(), 1.0) / wide)
        found.append(Frame(whole, picture, fit * sheet.cut.zoom))
    return found
