"""The series of an examination with a picture and a role each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QHeaderView
from superqt.utils import signals_blocked

from napari_uncseg.dicom.roles import Verdict
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.widgets.common import choice
from napari_uncseg.widgets.raw_study.work import THUMBNAIL
from napari_uncseg.widgets.table import Row, Table

_SERIES, _ROLE = range(2)
NO_ROLE = "none"


class SeriesTable(Table):
    """One row per series: what it shows, how it is called and sampled, and which modality it is taken for.

    Attributes
    ----------
    changed : Signal
        A series has another role.
    """

    changed = Signal()

    def __init__(self) -> None:
        columns = {
            "Series": "Number, name and grid of the series; rest the mouse on it to read why it has its role",
            "Role": "The modality that the series is taken for",
        }
        super().__init__(columns, "Series of the examination")
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.header.setSectionResizeMode(_SERIES, QHeaderView.ResizeMode.Stretch)
        self.header.setSectionResizeMode(_ROLE, QHeaderView.ResizeMode.ResizeToContents)
        self.setWordWrap(True)
        self.setMinimumHeight(4 * THUMBNAIL)

    def show_series(self, verdicts: tuple[Verdict, ...], pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Show the series of an examination, those with a role first."""
        ordered = sorted(verdicts, key=lambda each: each.role is None)
        rows = [Row(each, (_text(each), ""), f"Series {each.series.label}: {each.why}") for each in ordered]
        self.write(rows, left=(_SERIES,))
        for place, verdict in enumerate(ordered):
            picture = pictures.get(verdict.series.label)
            if picture is not None:
                self.cell(place, _SERIES).setIcon(_icon(picture))
            roles = {NO_ROLE: "–", **{role: MODALITY_TITLES[role] for role in MODALITIES}}
            box = choice("The modality that this series is taken for", roles, self._on_role, least=9)
            with signals_blocked(box):
                box.setCurrentIndex(box.findData(verdict.role or NO_ROLE))
            box.setEnabled(verdict.series.problem is None)
            self.setCellWidget(place, _ROLE, box)

    def roles(self) -> dict[str, str]:
        """Modality -> label of the series that is taken for it."""
        return {
            box.currentData(): self.at(place).series.label
            for place, box in enumerate(self._boxes())
            if box.currentData() != NO_ROLE
        }

    def fit(self) -> None:
        """Rows as high as a picture, or as their words."""
        self.rows.setDefaultSectionSize(max(THUMBNAIL + 4, 3 * self.fontMetrics().height()))

    def _boxes(self) -> list[QComboBox]:
        found = [self.cellWidget(place, _ROLE) for place in range(self.rowCount())]
        return [box for box in found if isinstance(box, QComboBox)]

    def _on_role(self, _index: int) -> None:
        """A modality has one series: another that had the role loses it."""
        changed = self.sender()
        assert isinstance(changed, QComboBox)
        for box in self._boxes():
            if box is not changed and box.currentData() == changed.currentData():
                with signals_blocked(box):
                    box.setCurrentIndex(box.findData(NO_ROLE))
        self.changed.emit()


def _text(verdict: Verdict) -> str:
    series = verdict.series
    spacing = " × ".join(f"{side:.3g}" for side in series.spacing)
    grid = f"{' × '.join(map(str, series.shape))}, {spacing} mm" if series.problem is None else str(series.problem)
    return f"{series.label} · {series.description}\n{grid}"


def _icon(picture: npt.NDArray[np.uint8]) -> QIcon:
    height, width = picture.shape
    image = QImage(np.ascontiguousarray(picture).tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return QIcon(QPixmap.fromImage(image.copy()))  # a copy, for Qt does not keep the bytes
