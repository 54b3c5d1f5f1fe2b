"""Drawing a sheet of panes with Qt's painter: the same code for the screen, for PNG and for PDF."""

from __future__ import annotations

from qtpy.QtCore import QLineF, QRectF
from qtpy.QtGui import QPainter

from napari_uncseg.compare.data import SEGMENTATION, LabelOverlay, MapOverlay, Material
from napari_uncseg.compare.layout import PaneView, Sheet
from napari_uncseg.compare.pixels import contours, cutter
from napari_uncseg.labels import REGIONS_CLASS_ORDER
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.widgets.compare.frames import Frame, Style, frames
from napari_uncseg.widgets.compare.marks import (
    FRAME,
    PAPER,
    paint_colour_bar,
    paint_crosshair,
    paint_legend,
    paint_letters,
    paint_missing,
    paint_note,
    paint_position,
    paint_scale_bar,
    paint_text,
    pen_of,
    qcolour,
)
from napari_uncseg.widgets.compare.pictures import Pictures

MAP_OPACITY = 0.85


def paint_sheet(painter: QPainter, sheet: Sheet, area: QRectF, style: Style, pictures: Pictures) -> None:
    """Draw all panes of a sheet."""
    painter.fillRect(area, FRAME)
    for view, frame in zip(sheet.views, frames(sheet, area, style), strict=True):
        painter.save()
        painter.setClipRect(frame.whole)
        painter.fillRect(frame.whole, PAPER)
        _paint_pane(painter, sheet, view, frame, style, pictures)
        painter.restore()


def _paint_pane(
    painter: QPainter, sheet: Sheet, view: PaneView, frame: Frame, style: Style, pictures: Pictures
) -> None:
    if style.headings:
        strip = QRectF(frame.whole.x(), frame.whole.y(), frame.whole.width(), style.head)
        paint_text(painter, strip.adjusted(style.text * 0.5, 0, 0, 0), view.title, style, bold=True, elide=True)
    if view.material is None or view.pane.missing:
        paint_missing(painter, view, frame, style)
        return
    painter.save()
    painter.setClipRect(frame.picture)
    _paint_slices(painter, sheet, view, view.material, frame, style, pictures)
    if sheet.crosshair:
        paint_crosshair(painter, sheet, view, view.material, frame, style)
    painter.restore()
    paint_letters(painter, sheet, frame, style)
    paint_note(painter, view, frame, style)
    paint_scale_bar(painter, frame, style)
    paint_position(painter, sheet, view, view.material, frame, style)
    overlay = sheet.overlay_of(view)
    if isinstance(overlay, MapOverlay):
        paint_colour_bar(painter, sheet, view, overlay, frame, style)
    elif isinstance(overlay, LabelOverlay):
        paint_legend(painter, overlay, frame, style)


def _paint_slices(
    painter: QPainter,
    sheet: Sheet,
    view: PaneView,
    material: Material,
    frame: Frame,
    style: Style,
    pictures: Pictures,
) -> None:
    _, down, right = sheet.cut.axes
    corner = frame.to_pixel(
        material,
        sheet,
        material.world(down, -0.5),
        material.world(right, -0.5),
    )
    size = (
        material.shape[right] * material.grid.scale[right] * frame.scale,
        material.shape[down] * material.grid.scale[down] * frame.scale,
    )
    target = QRectF(corner.x(), corner.y(), *size)
    image = pictures.image(sheet, view)
    if image is not None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
        painter.drawImage(target, image, QRectF(image.rect()))
    overlay = sheet.overlay_of(view)
    if overlay is not None and sheet.overlay:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.setOpacity(MAP_OPACITY if isinstance(overlay, MapOverlay) else 1.0)
        drawn = pictures.overlay(sheet, view, overlay)
        painter.drawImage(target, drawn, QRectF(drawn.rect()))
        painter.setOpacity(1.0)
    if sheet.outline and sheet.overlay and not isinstance(overlay, LabelOverlay):
        _paint_outline(painter, sheet, view, material, target, style)


def _paint_outline(
    painter: QPainter, sheet: Sheet, view: PaneView, material: Material, target: QRectF, style: Style
) -> None:
    segmentation = material.overlays.get(SEGMENTATION)
    # Errors lie at the contour itself, which would cover them.
    if not isinstance(segmentation, LabelOverlay) or MapName.parse(view.pane.overlay).measure == Measure.ERROR:
        return
    _, down, right = sheet.cut.axes
    labels = segmentation.cut(cutter(sheet.cut.axes, view.slice_index(sheet.cut)))
    left, top = target.x(), target.y()
    x_size, y_size = target.width() / material.shape[right], target.height() / material.shape[down]
    found = contours(labels, segmentation)
    # Regions are nested: where two meet, the inner one's colour is seen.
    for label in (label for label in REGIONS_CLASS_ORDER if label in found):
        painter.setPen(pen_of(qcolour(segmentation.colours[label]), style.hair * 1.2))
        painter.drawLines(
            *(
                QLineF(left + x0 * x_size, top + y0 * y_size, left + x1 * x_size, top + y1 * y_size)
                for x0, y0, x1, y1 in found[label].tolist()
            )
        )
