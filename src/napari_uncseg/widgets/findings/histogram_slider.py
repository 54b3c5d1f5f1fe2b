"""What is drawn of a map: its histogram with the threshold's handle, and what thresholds are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF, QWheelEvent
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy, QSlider, QWidget
from superqt.utils import signals_blocked

from napari_uncseg.review.threshold_sweep import ThresholdSweep
from napari_uncseg.review.watershed import STEPS
from napari_uncseg.widgets.common import row

Colours = Callable[[float], tuple[float, float, float]]
"""Red, green and blue, 0 to 1, of a place in the range of a map, from 0 to 1."""

_HEIGHT, _FOOT, _INSET = 66, 9, 6


class HistogramStrip(QSlider):
    """The histogram with its handle, in steps of the range; drag or click to move it, or use the arrow keys."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._counts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._colours: Colours | None = None
        self.setRange(0, STEPS)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Threshold")
        self.setToolTip(
            "Histogram of the map (roots of the counts); drag, or step with the arrow keys. What reaches the threshold "
            "is drawn in the map's colours and flagged"
        )

    def sizeHint(self) -> QSize:
        """As high as a few lines of text."""
        return QSize(200, max(_HEIGHT, 4 * self.fontMetrics().height()))

    def present(self, counts: npt.NDArray[np.int64], colours: Colours | None) -> None:
        """Draw another histogram."""
        self._counts, self._colours = counts, colours
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw bars (the root of their counts, so that small ones are seen), the base line and the handle."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(text)
        faint.setAlphaF(0.35)
        base, room, here = self.height() - _FOOT, self.width() - 2 * _INSET, self.value() / STEPS
        heights = np.sqrt(self._counts / max(int(self._counts.max(initial=0)), 1))
        width = 1 / len(heights)
        painter.setPen(Qt.PenStyle.NoPen)
        for left, height in zip(np.arange(len(heights)) * width, heights, strict=True):
            if height > 0:
                above = self._colours if left + width > here else None
                painter.setBrush(QColor.fromRgbF(*above(left + width / 2)) if above is not None else faint)
                tall = max(height * (base - 4), 1.0)
                painter.drawRect(QRectF(_INSET + left * room, base - tall, width * room + 0.3, tall))
        painter.setPen(QPen(faint, 1))
        painter.drawLine(QPointF(_INSET, base), QPointF(_INSET + room, base))
        at, foot = _INSET + here * room, self.height() - 1
        painter.setPen(QPen(text, 1.6))
        painter.drawLine(QPointF(at, 1), QPointF(at, base))
        painter.setBrush(text if self.isEnabled() else faint)
        painter.drawPolygon(QPolygonF([QPointF(at, base - 1), QPointF(at - 5, foot), QPointF(at + 5, foot)]))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 1))
            painter.drawRoundedRect(QRectF(0.5, 0.5, self.width() - 1, self.height() - 1), 3, 3)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Move the handle where the mouse is."""
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Drag the handle."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.setValue(round(STEPS * (event.position().x() - _INSET) / max(self.width() - 2 * _INSET, 1)))

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Step with the wheel, only while the strip has the focus: else the panel is scrolled."""
        if event is not None and self.hasFocus():
            self.setValue(self.value() + (1 if event.angleDelta().y() > 0 else -1))
        elif event is not None:
            event.ignore()


class HistogramSlider(QWidget):
    """A threshold, one of the steps that a map can be cut at: the strip, and a field for the number beside it.

    Attributes
    ----------
    valueChanged : Signal
        The new value.
    """

    valueChanged = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.strip = HistogramStrip()
        self.field = QDoubleSpinBox()
        self.field.setDecimals(3)
        self.field.setAccessibleName("Threshold, number")
        self.field.setToolTip("Threshold in the map's unit; type a number")
        self.field.setKeyboardTracking(False)
        self.setLayout(row(self.strip, self.field, stretch=(1, 0)))
        self._upper = 1.0
        self.strip.valueChanged.connect(self._on_strip)
        self.field.valueChanged.connect(self.setValue)
        self._fit_field()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme's letters."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit_field()

    def value(self) -> float:
        """The threshold."""
        return self.strip.value() / STEPS * self._upper

    def setValue(self, value: float) -> None:
        """Move the handle to the nearest step; says so when it moved."""
        self.strip.setValue(round(value / self._upper * STEPS))
        self._show_value()

    def present(self, counts: npt.NDArray[np.int64], upper: float, colours: Colours | None) -> None:
        """Show the histogram of another map, whose range goes to `upper`."""
        self._upper = upper
        with signals_blocked(self.field):
            self.field.setRange(0.0, upper)
            self.field.setSingleStep(upper / STEPS)
        self.strip.present(counts, colours)

    def _fit_field(self) -> None:
        """Room for all digits between the buttons, and no more: the strip has the rest."""
        self.field.setFixedWidth(self.field.fontMetrics().horizontalAdvance("0.0000") + 56)

    def _show_value(self) -> None:
        with signals_blocked(self.field):
            self.field.setValue(self.value())

    def _on_strip(self, _step: int) -> None:
        self._show_value()
        self.valueChanged.emit(self.value())


DICE_COLOUR, CAUGHT_COLOUR = "#4aa3df", "#e69f00"
_NAMES = ("Dice without flagged", "errors caught")


class ThresholdCurve(QWidget):
    """Two curves over the threshold, from 0 to 1, with a line where the slider stands."""

    def __init__(self) -> None:
        super().__init__()
        self.curves: tuple[Sequence[float], ...] = ()
        """Dice without the flagged voxels and share of errors caught, by threshold; nan where undefined."""
        self._thresholds: Sequence[float] = ()
        self._step = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Dice without the flagged voxels, and errors caught, over the threshold")
        self.setToolTip(
            "Blue: Dice of the voxels that are not flagged (QU-BraTS). A good map raises it as the threshold falls.\n"
            "Orange: share of the errors that are flagged."
        )

    def sizeHint(self) -> QSize:
        """Eight lines of text."""
        return QSize(220, 8 * self.fontMetrics().height())

    def present(self, sweep: ThresholdSweep) -> None:
        """Draw the curves of a map; hidden without a reference."""
        known = sweep.errors is not None
        self._thresholds = sweep.thresholds.tolist()
        caught = [sweep.errors_caught(step) for step in range(len(self._thresholds))] if known else []
        self.curves = (sweep.filtered_dice().tolist(), caught) if known else ()
        self.setVisible(known)
        self.update()

    def place(self, step: int) -> None:
        """Mark a threshold, by its number."""
        self._step = step
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw axes, curves, the mark and the legend."""
        if not self.curves:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, text = self.fontMetrics(), self.palette().color(QPalette.ColorRole.WindowText)
        line = metrics.height()
        left, foot = metrics.horizontalAdvance("0.5") + 8, line + 6
        area = QRectF(left, line + 4, self.width() - left - 8, self.height() - foot - line - 6)

        def at(share: float, value: float) -> QPointF:
            return QPointF(area.left() + share * area.width(), area.bottom() - value * area.height())

        faint, where = QColor(text), Qt.AlignmentFlag
        faint.setAlphaF(0.22)
        for tick, align in ((0.0, where.AlignLeft), (0.5, where.AlignHCenter), (1.0, where.AlignRight)):
            painter.setPen(QPen(faint, 1))
            painter.drawLine(at(0, tick), at(1, tick))
            painter.setPen(text)
            beside = QRectF(0, at(0, tick).y() - line / 2, left - 6, line)
            painter.drawText(beside, where.AlignRight | where.AlignVCenter, f"{tick:g}")
            below = QRectF(area.left(), area.bottom() + 3, area.width(), line)
            painter.drawText(below, align, f"{tick * self._thresholds[-1]:.2g}")
        here = self._step / (len(self._thresholds) - 1)
        painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
        painter.drawLine(at(here, 0), at(here, 1))
        x = area.left()
        for curve, colour, name in zip(self.curves, (DICE_COLOUR, CAUGHT_COLOUR), _NAMES, strict=True):
            steps = max(len(curve) - 1, 1)
            points = [at(number / steps, value) for number, value in enumerate(curve) if not math.isnan(value)]
            painter.setPen(QPen(QColor(colour), 2))
            painter.drawPolyline(QPolygonF(points))
            painter.drawLine(QPointF(x, line / 2 + 1), QPointF(x + 14, line / 2 + 1))
            if not math.isnan(curve[self._step]):
                painter.setBrush(QColor(colour))
                painter.drawEllipse(at(here, curve[self._step]), 3, 3)
                painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(text)
            painter.drawText(QRectF(x + 18, 0, area.width(), line + 2), where.AlignVCenter, name)
            x += metrics.horizontalAdvance(name) + 34
        painter.end()
