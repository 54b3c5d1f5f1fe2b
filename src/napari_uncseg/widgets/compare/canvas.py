"""The picture of a comparison window: paints a comparison and turns mouse and wheel into other states of it.

Wheel: slices (with Shift: of one pane, where panes show several patients; with Ctrl: zoom). Left button: crosshair
(with Shift: ruler). Middle button: move. Right button: window and level of the image under the mouse.
"""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_uncseg.compare.data import Point
from napari_uncseg.compare.layout import ComparisonState, PaneView
from napari_uncseg.compare.render import Renderer
from napari_uncseg.widgets.compare.painter import Frame, Style, frames, paint

MOST_ZOOM, LEAST_ZOOM = 30.0, 0.5
LETTERS_FIT = 36
"""So many lines of letters go into the lesser side of a picture that has words on it."""

_NOTCH = 120
"""What Qt counts for one notch of a wheel."""


class ComparisonCanvas(QWidget):
    """Widget that shows a comparison.

    Parameters
    ----------
    headings : bool
        Whether titles are painted above the panes.
    separate : bool
        Whether a pane may be scrolled alone.
    enlarges : bool
        Whether a double click shows one pane alone, and another one all again.
    inside : bool
        Whether titles and the colour bar stand on the pictures.

    Attributes
    ----------
    changed : Signal
        The state is another one, by hand or by program.
    hovered : Signal
        The mouse stands over a pane of a study: its PaneView, and the place in the study's world.
    """

    changed = Signal()
    hovered = Signal(object, object)

    def __init__(self, *, headings: bool, separate: bool, enlarges: bool = False, inside: bool = False) -> None:
        super().__init__()
        self.state = ComparisonState()
        """What is on show; changed by :meth:`show_state` alone."""
        self._renderer = Renderer()
        self._headings, self._inside = headings, inside
        self._separate, self._enlarges = separate, enlarges
        self._all: tuple[tuple[PaneView, ...], int] | None = None
        self._pressed: tuple[Qt.MouseButton, int, QPointF, ComparisonState] | None = None
        self._turned = 0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(480, 320)
        self.setAccessibleName("Comparison")

    def show_state(self, state: ComparisonState) -> None:
        """Show something else."""
        if state is not self.state:
            self.state = state
            self.update()
            self.changed.emit()

    def show_views(self, state: ComparisonState, views: tuple[PaneView, ...]) -> None:
        """Show other panes in a state; of one that is enlarged, the one of its place."""
        if self._all is not None:
            enlarged = self._all[0].index(self.state.views[0]) if self.state.views[0] in self._all[0] else 0
            self._all = (views, self._all[1])
            views = (views[enlarged],)
        self.show_state(replace(state, views=views))

    def forget(self) -> None:
        """Compute all slices anew: an array was changed in its place, or another study comes."""
        self._renderer.clear()
        self.update()

    @property
    def style_now(self) -> Style:
        """Sizes that follow the widget's font."""
        text = max(float(self.fontInfo().pixelSize()), 8.0)
        if self._inside:
            text = min(text, max(min(self.width(), self.height()) / LETTERS_FIT, 10.0))
        return Style(text=text, headings=self._headings, inside=self._inside)

    @property
    def frames(self) -> list[Frame]:
        """Places of the panes."""
        return frames(self.state, QRectF(self.rect()), self.style_now)

    def scroll_by(self, steps: int) -> None:
        """Go some slices further in all panes."""
        self.show_state(self.state.scrolled(steps))

    def turn(self, plane: str) -> None:
        """Cut axially, coronally or sagittally; the crosshair stays where it is in the patient."""
        if plane != self.state.cut.plane:
            self.show_state(self.state.at(plane=plane).centred())

    def go(self, point: Point) -> None:
        """Put the crosshair at a place, mm from each pane's origin."""
        if point != self.state.cut.point:
            state = self.state.at(point=point)
            self.show_state(state if self._is_seen(state) else state.centred())

    def fit(self) -> None:
        """Show whole volumes in their own windows again, without a ruler."""
        self.show_state(replace(self.state.at(shift=(0.0, 0.0, 0.0), zoom=1.0), windows={}, ruler=None))

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom all panes; what lies under `at` stays there."""
        cut = self.state.cut
        zoom = min(max(cut.zoom * factor, LEAST_ZOOM), MOST_ZOOM)
        shift = cut.shift
        number = self._pane_at(at) if at is not None else None
        if at is not None and number is not None:
            frame = self.frames[number]
            shift = _moved(shift, frame, (at - frame.picture.center()) * (1 - cut.zoom / zoom))
        self.show_state(self.state.at(zoom=zoom, shift=shift))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw what is on show."""
        painter = QPainter(self)
        paint(painter, self.state, QRectF(self.rect()), self.style_now, self._renderer)
        painter.end()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll or zoom."""
        assert event is not None
        # Shift turns a wheel sideways on some systems.
        self._turned += event.angleDelta().y() or event.angleDelta().x()
        notches = int(self._turned / _NOTCH)
        self._turned -= notches * _NOTCH
        event.accept()
        keys = event.modifiers()
        if notches == 0:
            return
        if keys & Qt.KeyboardModifier.ControlModifier:
            self.zoom(1.2**notches, event.position())
        elif keys & Qt.KeyboardModifier.ShiftModifier and self._separate:
            number = self._pane_at(event.position())
            if number is not None:
                self.show_state(self.state.scrolled(-notches, number))
        else:
            self.show_state(self.state.scrolled(-notches, within=self._pane_at(event.position())))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Start a drag, or put the crosshair."""
        assert event is not None
        number = self._pane_at(event.position())
        if number is not None:
            self._pressed = (event.button(), number, event.position(), self.state)
            self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go on with a drag, or tell what lies under the mouse."""
        assert event is not None
        self._tell(event.position())
        if self._pressed is None:
            return
        button, number, start, state = self._pressed
        moved, frame, view = event.position() - start, self.frames[number], state.views[number]
        if button == Qt.MouseButton.LeftButton and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            ruler = (self._from_origin(number, start), self._from_origin(number, event.position()))
            self.show_state(replace(self.state, ruler=ruler))
        elif button == Qt.MouseButton.LeftButton and view.data is not None:
            self.show_state(self.state.pointed(view, frame.to_world(event.position())))
        elif button == Qt.MouseButton.MiddleButton:
            self.show_state(self.state.at(shift=_moved(state.cut.shift, frame, -moved)))
        elif button == Qt.MouseButton.RightButton and view.pane.image:
            size = frame.picture
            changed = state.windowed(view.pane.image, -moved.y() / size.height(), 2 * moved.x() / size.width())
            self.show_state(replace(self.state, windows=changed.windows))

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Enlarge the pane under the mouse, or show all again, where that is wanted."""
        assert event is not None
        number = self._pane_at(event.position())
        self._pressed = None
        if self._all is not None:
            views, columns = self._all
            self._all = None
            self.show_state(replace(self.state, views=views, columns=columns))
        elif self._enlarges and number is not None:
            self._all = (self.state.views, self.state.columns)
            self.show_state(replace(self.state, views=(self.state.views[number],), columns=1))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """End a drag."""
        self._pressed = None

    def _is_seen(self, state: ComparisonState) -> bool:
        """Whether the crosshair of a state lies in the pictures."""
        for view, frame in zip(state.views, self.frames, strict=True):
            if view.data is not None:
                return frame.picture.contains(frame.to_pixel(view.place(state.cut)))
        return True

    def _pane_at(self, position: QPointF) -> int | None:
        found = (number for number, frame in enumerate(self.frames) if frame.picture.contains(position))
        return next((number for number in found if self.state.views[number].data is not None), None)

    def _tell(self, position: QPointF) -> None:
        number = self._pane_at(position)
        if number is None:
            return
        self.hovered.emit(self.state.views[number], self._place(number, position))

    def _from_origin(self, number: int, position: QPointF) -> Point:
        """As :meth:`_place`, counted from the pane's origin."""
        ends = zip(self._place(number, position), self.state.views[number].origin, strict=True)
        return tuple(place - start for place, start in ends)

    def _place(self, number: int, position: QPointF) -> Point:
        """Place in the world of a pane's study that is drawn at a pixel, mm."""
        view, frame = self.state.views[number], self.frames[number]
        assert view.data is not None
        across, *_ = frame.axes
        place = list(frame.to_world(position))
        place[across] = view.data.world(across, view.slice_index(self.state.cut))
        return tuple(place)


def _moved(shift: Point, frame: Frame, way: QPointF) -> Point:
    """A shift after a way in a pane, in pixels."""
    _, down, right = frame.axes
    moved = list(shift)
    moved[down] += way.y() / frame.scale
    moved[right] += way.x() / frame.scale
    return tuple(moved)
