"""What a threshold is worth where the reference is known: Dice without the flagged voxels, and errors caught."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_uncseg.review.threshold_sweep import ThresholdSweep

DICE_COLOUR, CAUGHT_COLOUR = "#4aa3df", "#e69f00"
_TICKS = (0.0, 0.5, 1.0)


class ThresholdCurve(QWidget):
    """Two curves over the threshold, from 0 to 1, with a line where the slider stands."""

    def __init__(self) -> None:
        super().__init__()
        self._curves: tuple[Sequence[float], Sequence[float]] = ((), ())
        self._thresholds: Sequence[float] = ()
        self._step = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Dice without the flagged voxels, and errors caught, over the threshold")
        self.setToolTip(
            "Blue: Dice of the voxels that are not flagged (QU-BraTS). A good map raises it as the threshold falls.\n"
            "Orange: share of the errors that are flagged."
        )

    @property
    def curves(self) -> tuple[Sequence[float], Sequence[float]]:
        """Dice without the flagged voxels and share of errors caught, by threshold; nan where undefined."""
        return self._curves

    def sizeHint(self) -> QSize:
        """Nine lines of text."""
        return QSize(220, 8 * self.fontMetrics().height())

    def present(self, sweep: ThresholdSweep | None) -> None:
        """Draw the curves of a map; None for nothing."""
        if sweep is None or sweep.confusion is None:
            self._curves, self._thresholds = ((), ()), ()
        else:
            caught = [sweep.errors_caught(step) for step in range(len(sweep.thresholds))]
            self._curves = (sweep.filtered_dice().tolist(), caught)
            self._thresholds = sweep.thresholds.tolist()
        self.update()

    def place(self, step: int) -> None:
        """Mark a threshold, by its number."""
        self._step = step
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw axes, curves, the mark and the legend."""
        if not self._thresholds:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = self.fontMetrics()
        line = metrics.height()
        left, bottom = metrics.horizontalAdvance("0.5") + 8, line + 6
        area = QRectF(left, line + 4, self.width() - left - 8, self.height() - bottom - line - 6)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(text)
        faint.setAlphaF(0.22)
        upper = self._thresholds[-1]
        for tick in _TICKS:
            y = area.bottom() - tick * area.height()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(text)
            painter.drawText(
                QRectF(0, y - line / 2, left - 6, line),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                f"{tick:g}",
            )
            x = area.left() + tick * area.width()
            align = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
            width = 60.0
            start = {0.0: x, 0.5: x - width / 2, 1.0: x - width}[tick]
            painter.drawText(
                QRectF(start, area.bottom() + 3, width, line), align[_TICKS.index(tick)], f"{tick * upper:.2g}"
            )
        at = area.left() + self._step / (len(self._thresholds) - 1) * area.width()
        painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
        x0 = area.left()
        for curve, colour, name in zip(
            self._curves, (DICE_COLOUR, CAUGHT_COLOUR), ("Dice without flagged", "errors caught"), strict=True
        ):
            painter.setPen(QPen(QColor(colour), 2))
            points = [
                QPointF(area.left() + number / (len(curve) - 1) * area.width(), area.bottom() - value * area.height())
                for number, value in enumerate(curve)
                if not math.isnan(value)
            ]
            painter.drawPolyline(QPolygonF(points))
            painter.drawLine(QPointF(x0, line / 2 + 1), QPointF(x0 + 14, line / 2 + 1))
            if points and self._step < len(points):
                painter.setBrush(QColor(colour))
                painter.drawEllipse(points[self._step], 3, 3)
                painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(text)
            width = metrics.horizontalAdvance(name) + 8
            painter.drawText(QRectF(x0 + 18, 0, width, line + 2), Qt.AlignmentFlag.AlignVCenter, name)
            x0 += width + 26
        painter.end()
