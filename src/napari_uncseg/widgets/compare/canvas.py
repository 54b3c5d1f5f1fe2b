"""The picture of a comparison window: paints a sheet and turns mouse and wheel into other sheets.

Wheel: slices (with Shift: of one pane, where panes show several patients; with Ctrl: zoom). Left button: crosshair.
Middle button: move. Right button: window and level of the image under the mouse.
"""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_uncseg.compare.data import Point
from napari_uncseg.compare.layout import Cut, PaneView, Sheet, centred, pointed, scrolled, windowed
from napari_uncseg.widgets.compare.frames import Frame, Style, frames
from napari_uncseg.widgets.compare.paint import paint_sheet
from napari_uncseg.widgets.compare.pictures import Pictures

MOST_ZOOM, LEAST_ZOOM = 30.0, 0.5
_NOTCH = 120
"""What Qt counts for one notch of a wheel."""


class SixCanvas(QWidget):
    """Widget that shows a sheet.

    Parameters
    ----------
    headings : bool
        Whether titles are painted above the panes.
    separate : bool
        Whether a pane may be scrolled alone.
    """

    changed = Signal()
    """The sheet is another one, by hand or by program."""

    hovered = Signal(object, object)
    """The mouse stands over a pane: its PaneView, and the place in its study's world."""

    def __init__(self, *, headings: bool, separate: bool) -> None:
        super().__init__()
        self._sheet = Sheet((), Cut())
        self._pictures = Pictures()
        self._headings = headings
        self._separate = separate
        self._pressed: tuple[Qt.MouseButton, int, QPointF, Sheet] | None = None
        self._turned = 0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(480, 320)
        self.setAccessibleName("Six views")

    @property
    def sheet(self) -> Sheet:
        """What is on show."""
        return self._sheet

    def show_sheet(self, sheet: Sheet) -> None:
        """Show another sheet."""
        if sheet is not self._sheet:
            self._sheet = sheet
            self.update()
            self.changed.emit()

    def forget(self) -> None:
        """Compute all slices anew: an array was changed in its place, or another study comes."""
        self._pictures.clear()
        self.update()

    @property
    def style_now(self) -> Style:
        """Sizes that follow the widget's font."""
        return Style(text=max(float(self.fontInfo().pixelSize()), 8.0), headings=self._headings)

    @property
    def frames(self) -> list[Frame]:
        """Places of the panes."""
        return frames(self._sheet, QRectF(self.rect()), self.style_now)

    def scroll_by(self, steps: int) -> None:
        """Go some slices further in all panes."""
        self.show_sheet(scrolled(self._sheet, steps))

    def turn(self, plane: str) -> None:
        """Cut axially, coronally or sagittally; the crosshair stays where it is in the patient."""
        if plane != self._sheet.cut.plane:
            self.show_sheet(centred(replace(self._sheet, cut=replace(self._sheet.cut, plane=plane))))

    def go(self, point: Point) -> None:
        """Put the crosshair at a place, mm from each pane's origin."""
        if point == self._sheet.cut.point:
            return
        sheet = replace(self._sheet, cut=replace(self._sheet.cut, point=point))
        self.show_sheet(sheet if self._is_seen(sheet) else centred(sheet))

    def fit(self) -> None:
        """Show whole volumes in their own windows again."""
        self.show_sheet(replace(self._sheet, cut=replace(self._sheet.cut, shift=(0.0, 0.0), zoom=1.0), windows={}))

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom all panes; what lies under `at` stays there."""
        cut = self._sheet.cut
        zoom = min(max(cut.zoom * factor, LEAST_ZOOM), MOST_ZOOM)
        number = self._pane_at(at) if at is not None else None
        shift = cut.shift
        if at is not None and number is not None:
            frame = self.frames[number]
            offset, grown = at - frame.picture.center(), zoom / cut.zoom
            shift = (
                shift[0] + offset.y() / frame.scale * (1 - 1 / grown),
                shift[1] + offset.x() / frame.scale * (1 - 1 / grown),
            )
        self.show_sheet(replace(self._sheet, cut=replace(cut, zoom=zoom, shift=shift)))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the sheet."""
        painter = QPainter(self)
        paint_sheet(painter, self._sheet, QRectF(self.rect()), self.style_now, self._pictures)
        painter.end()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll or zoom."""
        assert event is not None
        # Shift turns a wheel sideways on some systems.
        self._turned += event.angleDelta().y() or event.angleDelta().x()
        notches, self._turned = int(self._turned / _NOTCH), self._turned - int(self._turned / _NOTCH) * _NOTCH
        event.accept()
        if notches == 0:
            return
        keys = event.modifiers()
        if keys & Qt.KeyboardModifier.ControlModifier:
            self.zoom(1.2**notches, event.position())
        elif keys & Qt.KeyboardModifier.ShiftModifier and self._separate:
            number = self._pane_at(event.position())
            if number is not None:
                self.show_sheet(scrolled(self._sheet, -notches, number))
        else:
            self.scroll_by(-notches)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Start a drag, or put the crosshair."""
        assert event is not None
        number = self._pane_at(event.position())
        if number is None:
            return
        self._pressed = (event.button(), number, event.position(), self._sheet)
        if event.button() == Qt.MouseButton.LeftButton:
            self._point_at(number, event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go on with a drag, or tell what lies under the mouse."""
        assert event is not None
        self._tell(event.position())
        if self._pressed is None:
            return
        button, number, start, sheet = self._pressed
        moved = event.position() - start
        view = sheet.views[number]
        if button == Qt.MouseButton.LeftButton:
            self._point_at(number, event.position())
        elif button == Qt.MouseButton.MiddleButton:
            scale, shift = self.frames[number].scale, sheet.cut.shift
            shift = (shift[0] - moved.y() / scale, shift[1] - moved.x() / scale)
            self.show_sheet(replace(self._sheet, cut=replace(self._sheet.cut, shift=shift)))
        elif button == Qt.MouseButton.RightButton and view.pane.image:
            size = self.frames[number].picture
            changed = windowed(sheet, view.pane.image, -moved.y() / size.height(), 2 * moved.x() / size.width())
            self.show_sheet(replace(self._sheet, windows=changed.windows))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """End a drag."""
        self._pressed = None

    def leaveEvent(self, event: QEvent | None) -> None:
        """Nothing lies under the mouse any more."""
        self.hovered.emit(None, None)

    def _is_seen(self, sheet: Sheet) -> bool:
        """Whether the crosshair of a sheet lies in the pictures."""
        _, down, right = sheet.cut.axes
        for view, frame in zip(sheet.views, self.frames, strict=True):
            if view.material is not None:
                place = view.place(sheet.cut)
                return frame.picture.contains(frame.to_pixel(view.material, sheet, place[down], place[right]))
        return True

    def _pane_at(self, position: QPointF) -> int | None:
        found = (number for number, frame in enumerate(self.frames) if frame.picture.contains(position))
        return next((number for number in found if self._sheet.views[number].material is not None), None)

    def _point_at(self, number: int, position: QPointF) -> None:
        view = self._sheet.views[number]
        if view.material is not None:
            down, right = self.frames[number].to_world(view.material, self._sheet, position)
            self.show_sheet(pointed(self._sheet, view, down, right))

    def _tell(self, position: QPointF) -> None:
        number = self._pane_at(position)
        if number is None:
            self.hovered.emit(None, None)
            return
        view = self._sheet.views[number]
        self.hovered.emit(view, self._place(view, number, position))

    def _place(self, view: PaneView, number: int, position: QPointF) -> Point:
        assert view.material is not None
        across, down, right = self._sheet.cut.axes
        place = list(view.place(self._sheet.cut))
        place[across] = view.material.world(across, view.slice_index(self._sheet.cut))
        place[down], place[right] = self.frames[number].to_world(view.material, self._sheet, position)
        return place[0], place[1], place[2]
