"""What a threshold is worth where the reference is known: Dice without the flagged voxels, and errors caught."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_uncseg.review.threshold_sweep import ThresholdSweep

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
        known = sweep.confusion is not None
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
