"""*Six views* of one study: a chooser of image and overlay above every pane, and ready sets of six."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEvent, QObject, QRectF, QSizeF, Qt, Signal
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QFileDialog, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

from napari_uncseg.compare.data import Array, ComparisonData, Point, comparison_data
from napari_uncseg.compare.layout import ComparisonState, Cut, Pane, PaneView
from napari_uncseg.compare.presets import OVERVIEW, PRESETS, panes_of
from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.results import find_result_of, load_result_of
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.viewer.bindings import COMPARE_KEYS
from napari_uncseg.widgets.common import choice, offer, row
from napari_uncseg.widgets.compare.window import ComparisonWindow

PANES = 6
CUSTOM, ABSENT = "Custom", "not available"
PRESET_TIP = f"A ready set of six panes ({COMPARE_KEYS['preset']} for the next one)"


_SCROLL_BAR = 24
"""Width in pixels that a long list needs beside its entries."""


class ElidedBox(QComboBox):
    """Box as wide as there is room for, also where there is little; a text that is too long ends with dots."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def showPopup(self) -> None:
        """Open the list, wide enough for all it holds."""
        entries = self.view()
        if entries is not None:
            entries.setMinimumWidth(entries.sizeHintForColumn(0) + _SCROLL_BAR)
        super().showPopup()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the box, with as much of its text as there is room for."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        style = self.style()
        assert style is not None
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self)
        words = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room.width() - 2)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()


class PaneChooser(QWidget):
    """Two boxes above a pane: the image, and what lies on it."""

    chosen = Signal(int, object)
    """Number of the pane, from 0, and another :class:`Pane`."""

    def __init__(self, number: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._number = number
        self._offered: tuple[ComparisonData, Pane] | None = None
        self.image, self.overlay = ElidedBox(), ElidedBox()
        self.image.setAccessibleName(f"Image of pane {number + 1}")
        self.overlay.setAccessibleName(f"Overlay of pane {number + 1}")
        self.overlay.setPlaceholderText(ABSENT)
        layout = row(self.image, self.overlay, stretch=(2, 3))
        layout.setContentsMargins(2, 1, 2, 1)
        layout.setSpacing(4)
        self.setLayout(layout)
        self.image.activated.connect(self._choose)
        self.overlay.activated.connect(self._choose)

    def offer(self, data: ComparisonData, pane: Pane) -> None:
        """Offer all that a study has, and show what the pane shows."""
        if self._offered == (data, pane):
            return
        self._offered = (data, pane)
        images = {"": "No image", **{name: MODALITY_TITLES[name] for name in data.images}}
        overlays = {"": "No overlay", **{key: overlay.title for key, overlay in data.overlays.items()}}
        offer(self.image, images, pane.image)
        offer(self.overlay, overlays, None if pane.missing else pane.overlay)
        self.image.setToolTip(f"Image of this pane: {self.image.currentText()}")
        self.overlay.setToolTip(f"What lies on the image: {self.overlay.currentText() or ABSENT}")

    def _choose(self, _index: int) -> None:
        plane = self._offered[1].plane if self._offered is not None else ""
        chosen = Pane(self.image.currentData() or "", self.overlay.currentData() or "", plane=plane)
        self.chosen.emit(self._number, chosen)


class SixViewsWindow(ComparisonWindow):
    """Six linked panes of one study.

    Parameters
    ----------
    study, prediction
        What to show.
    plane : str, optional
        A key of :data:`napari_uncseg.viewer.orientation.PLANES`; that of the last time if not given.
    point : tuple of float, optional
        Where to cut first, in world millimetres (I, P, L); where there is most tumour if not given.
    """

    def __init__(
        self, study: Study, prediction: Prediction, plane: str | None = None, point: Point | None = None
    ) -> None:
        super().__init__(headings=False, separate=False)
        self.study, self.prediction = study, prediction
        self._others: tuple[Prediction, ...] = ()
        self._corrected: Array | None = None
        self.data = comparison_data(study, prediction)
        """All that can be shown."""
        self.preset_choice = choice(PRESET_TIP, [*PRESETS, CUSTOM])
        self.preset_choice.textActivated.connect(self.choose_preset)
        self.add("Show", self.preset_choice)
        self.add_key("result", self._ask_result, "Add result…")
        self.choosers = [PaneChooser(number, self.canvas) for number in range(PANES)]
        for chooser in self.choosers:
            chooser.chosen.connect(self.choose)
        self.canvas.show_state(ComparisonState(cut=Cut(point=point or self.data.best_point)))
        self.finish_bar()
        self.add_key("preset", self._next_preset)
        stored = str(self._settings().value("preset", OVERVIEW))
        self.choose_preset(stored if stored in PRESETS else OVERVIEW)
        if plane is not None:
            self.choose_plane(plane)
        self.canvas.installEventFilter(self)
        self.canvas.changed.connect(self._offer)
        self._retitle()

    @property
    def panes(self) -> tuple[Pane, ...]:
        """What the panes show, row by row."""
        return tuple(view.pane for view in self.canvas.state.views)

    def replace(self, study: Study, prediction: Prediction, point: Point | None = None) -> None:
        """Show another result at the same place, or another study.

        Parameters
        ----------
        study, prediction
            What to show.
        point : tuple of float, optional
            Where to cut another study first, as when a window is made.
        """
        if study is self.study and prediction is self.prediction:
            return
        other = study.id != self.study.id
        if study is not self.study:
            self._others, self._corrected = (), None
        self._others = tuple(result for result in self._others if not _same_result(result, prediction))
        self.study, self.prediction = study, prediction
        self._renew()
        if other:
            cut = Cut(plane=self.canvas.state.cut.plane, point=point or self.data.best_point)
            self.canvas.show_state(replace(self.canvas.state, cut=cut))
            self.show_message(f"{study.id} is shown now.")

    def add_result(self, prediction: Prediction) -> None:
        """Offer the maps of another result of this study too; StudyError when it is none, or on show already."""
        comparison_data(self.study, self.prediction, others=(prediction,))
        if any(_same_result(prediction, shown) for shown in (self.prediction, *self._others)):
            raise StudyError(
                f"This result of {self.study.id} ({prediction.method}) is on show already; choose the folder of "
                "another one."
            )
        self._others = (*self._others, prediction)
        self._renew()

    def show_correction(self, corrected: Array | None) -> None:
        """Take over a corrected segmentation, in the study's voxel order, or drop it; painted on, show it anew.

        Parameters
        ----------
        corrected : ndarray of int, shape (x, y, z), or None
            It is shared, not copied.
        """
        old, self._corrected = self._corrected, corrected
        if old is not None and corrected is not None and np.may_share_memory(old, corrected):
            self.canvas.forget()
        elif old is not None or corrected is not None:
            self._renew()

    def choose_preset(self, name: str) -> None:
        """Show a ready set of panes."""
        self.preset_choice.setCurrentText(name)
        if name in PRESETS:
            self._show(panes_of(name, self.data))

    def choose(self, number: int, pane: Pane) -> None:
        """Show something else in one pane."""
        self.preset_choice.setCurrentText(CUSTOM)
        self._show(tuple(pane if place == number else old for place, old in enumerate(self.panes)))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the choosers above their panes."""
        if event is not None and event.type() in (QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.FontChange):
            for chooser, frame in zip(self.choosers, self.canvas.frames, strict=True):
                head = QRectF(frame.whole.topLeft(), QSizeF(frame.whole.width(), self.canvas.style_now.head))
                chooser.setGeometry(head.toRect())
        return super().eventFilter(watched, event)

    def _store(self) -> None:
        super()._store()
        self._settings().setValue("preset", self.preset_choice.currentText())

    def _renew(self) -> None:
        """Look again at what there is; panes keep what they show as far as it is still there."""
        self.data = comparison_data(self.study, self.prediction, corrected=self._corrected, others=self._others)
        self.canvas.forget()
        preset = self.preset_choice.currentText()
        self._show(panes_of(preset, self.data) if preset in PRESETS else tuple(map(self._kept, self.panes)))
        self._retitle()

    def _kept(self, pane: Pane) -> Pane:
        if not pane.overlay or pane.overlay in self.data.overlays:
            return pane
        return Pane(pane.image, missing=f"{self.study.id} has no {pane.overlay} any more.", plane=pane.plane)

    def _show(self, panes: tuple[Pane, ...]) -> None:
        views = tuple(PaneView(pane, self.data) for pane in panes)
        self.canvas.show_state(replace(self.canvas.state, views=views))
        self._offer()

    def _offer(self) -> None:
        for chooser, pane in zip(self.choosers, self.panes, strict=True):
            chooser.offer(self.data, pane)

    def _next_preset(self) -> None:
        names, current = list(PRESETS), self.preset_choice.currentText()
        self.choose_preset(names[(names.index(current) + 1) % len(names)] if current in names else names[0])

    def _ask_result(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, f"Folder of another result of {self.study.id}")
        if folder:
            self.open_result(Path(folder))

    def open_result(self, folder: Path) -> None:
        """Add the result in a folder, ``OUT`` or ``OUT/<id>``; a failure is told below the panes."""
        try:
            self.add_result(load_result_of(self.study, find_result_of(self.study, folder) or folder))
            self.show_message(f"Added {self.data.notes[-1]}")
        except UncsegError as error:
            self.show_message(error)

    def _retitle(self) -> None:
        self.setWindowTitle(f"Six views · {self.study.id} · research use only")


def _same_result(one: Prediction, other: Prediction) -> bool:
    """Whether two results come from the same model, settings, images and members."""
    same = fingerprint(one.provenance)
    return bool(same) and same == fingerprint(other.provenance) and one.partial == other.partial
