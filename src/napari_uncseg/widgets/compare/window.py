"""*Six views* of one study: a chooser of image and overlay above every pane, and ready sets of six."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QWidget

from napari_uncseg.compare.data import Array, Material, Point, study_material
from napari_uncseg.compare.layout import Cut, Pane, PaneView, Sheet
from napari_uncseg.compare.presets import PRESETS
from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.widgets.compare.base import ComparisonWindow
from napari_uncseg.widgets.compare.style import ElidedBox

PANES = 6
OWN = "Own choice"
RESULT_KEY, PRESET_KEY = "Ctrl+Shift+R", "F6"
PRESET_TIP = f"A ready set of six panes ({PRESET_KEY} for the next one)"


class PaneChooser(QWidget):
    """Two boxes above a pane: the image, and what lies on it."""

    chosen = Signal(int, object)
    """Number of the pane, from 1, and another :class:`Pane`."""

    def __init__(self, number: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._number = number
        self.image, self.overlay = ElidedBox(), ElidedBox()
        self.image.setAccessibleName(f"Image of pane {number}")
        self.overlay.setAccessibleName(f"Overlay of pane {number}")
        self.overlay.setPlaceholderText("not there")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 1, 2, 1)
        layout.setSpacing(4)
        layout.addWidget(self.image, 2)
        layout.addWidget(self.overlay, 3)
        for box in (self.image, self.overlay):
            box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            box.activated.connect(self._choose)

    def offer(self, material: Material, pane: Pane) -> None:
        """Offer all that a study has, and show what the pane shows."""
        _fill(self.image, {"": "No image", **{name: MODALITY_TITLES[name] for name in material.images}}, pane.image)
        overlays = {"": "No overlay", **{key: overlay.title for key, overlay in material.overlays.items()}}
        _fill(self.overlay, overlays, None if pane.missing else pane.overlay)
        self.image.setToolTip(f"Image of this pane: {self.image.currentText()}")
        self.overlay.setToolTip(f"What lies on the image: {self.overlay.currentText() or 'not there'}")

    def _choose(self, _index: int) -> None:
        self.chosen.emit(self._number, Pane(self.image.currentData() or "", self.overlay.currentData() or ""))


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
        self, study: Study, prediction: Prediction, plane: str | None = None, point: tuple[float, ...] | None = None
    ) -> None:
        super().__init__(headings=False, separate=False)
        self._study, self._prediction = study, prediction
        self._others: tuple[Prediction, ...] = ()
        self._corrected: Array | None = None
        self._material = study_material(study, prediction)
        self.preset_choice = QComboBox()
        self.preset_choice.addItems([*PRESETS, OWN])
        self.preset_choice.setToolTip(PRESET_TIP)
        self.preset_choice.activated.connect(self._preset_chosen)
        self.bar.addWidget(QLabel(" Show "))
        self.bar.addWidget(self.preset_choice)
        add = self.add_key(
            RESULT_KEY, "add a result of another method", self._ask_result, "Add result…", "Folder of another result"
        )
        self.bar.addAction(add)
        self.bar.addSeparator()
        self.choosers = [PaneChooser(number + 1, self.canvas) for number in range(PANES)]
        for chooser in self.choosers:
            chooser.chosen.connect(self._pane_chosen)
        start = Cut(point=self._start(point))
        self.canvas.show_sheet(Sheet(self._views(PRESETS["Paper"](self._material)), start))
        self.finish_bar()
        self.add_key(PRESET_KEY, "next set of panes", self._next_preset)
        stored = str(self._settings().value("preset", "Paper"))
        self.choose_preset(stored if stored in PRESETS else "Paper")
        if plane is not None:
            self.choose_plane(plane)
        self.canvas.installEventFilter(self)
        self.canvas.changed.connect(self._offer)
        self._retitle()

    @property
    def study(self) -> Study:
        """The study on show."""
        return self._study

    @property
    def prediction(self) -> Prediction:
        """The prediction on show."""
        return self._prediction

    @property
    def material(self) -> Material:
        """All that can be shown."""
        return self._material

    @property
    def panes(self) -> tuple[Pane, ...]:
        """What the panes show, row by row."""
        return tuple(view.pane for view in self.canvas.sheet.views)

    def replace(self, study: Study, prediction: Prediction, point: tuple[float, ...] | None = None) -> None:
        """Show another result at the same place, or another study.

        Parameters
        ----------
        study, prediction
            What to show.
        point : tuple of float, optional
            Where to cut another study first, as when a window is made.
        """
        if study is self._study and prediction is self._prediction:
            return
        other = study.id != self._study.id
        if study is not self._study:
            self._others, self._corrected = (), None
        self._others = tuple(result for result in self._others if not _same_result(result, prediction))
        self._study, self._prediction = study, prediction
        self._renew()
        if other:
            cut = Cut(plane=self.canvas.sheet.cut.plane, point=self._start(point))
            self.canvas.show_sheet(replace(self.canvas.sheet, cut=cut))
            self.show_message(f"{study.id} is shown now.")

    def _start(self, point: tuple[float, ...] | None) -> Point:
        """Where to cut a study first."""
        if point is None or len(point) != 3:
            return self._material.best_point
        return point[0], point[1], point[2]

    def add_result(self, prediction: Prediction) -> None:
        """Offer the maps of another result of this study too; StudyError when it is none, or on show already."""
        study_material(self._study, self._prediction, others=(prediction,))
        if any(_same_result(prediction, shown) for shown in (self._prediction, *self._others)):
            raise StudyError(
                f"This result of {self._study.id} ({prediction.method}) is on show already; choose the folder of "
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
        if corrected is None and old is None:
            return
        if old is not None and corrected is not None and _same_memory(old, corrected):
            self.canvas.forget()
        else:
            self._renew()

    def choose_preset(self, name: str) -> None:
        """Show a ready set of panes."""
        self.preset_choice.setCurrentText(name)
        if name in PRESETS:
            self._show(PRESETS[name](self._material))

    def choose(self, number: int, pane: Pane) -> None:
        """Show something else in one pane."""
        self.preset_choice.setCurrentText(OWN)
        self._show(tuple(pane if place == number else old for place, old in enumerate(self.panes)))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the choosers above their panes."""
        if event is not None and event.type() in (QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.FontChange):
            self._place_choosers()
        return super().eventFilter(watched, event)

    def _store(self) -> None:
        super()._store()
        self._settings().setValue("preset", self.preset_choice.currentText())

    def _renew(self) -> None:
        """Look again at what there is; panes keep what they show as far as it is still there."""
        self._material = study_material(self._study, self._prediction, corrected=self._corrected, others=self._others)
        self.canvas.forget()
        preset = PRESETS.get(self.preset_choice.currentText())
        self._show(preset(self._material) if preset is not None else tuple(map(self._kept, self.panes)))
        self._retitle()

    def _kept(self, pane: Pane) -> Pane:
        if not pane.overlay or pane.overlay in self._material.overlays:
            return pane
        return Pane(pane.image, missing=f"{self._study.id} has no {pane.overlay} any more.")

    def _show(self, panes: tuple[Pane, ...]) -> None:
        self.canvas.show_sheet(replace(self.canvas.sheet, views=self._views(panes)))
        self._offer()

    def _views(self, panes: tuple[Pane, ...]) -> tuple[PaneView, ...]:
        return tuple(PaneView(pane, self._material) for pane in panes)

    def _offer(self) -> None:
        for chooser, pane in zip(self.choosers, self.panes, strict=True):
            if (chooser.property("material"), chooser.property("pane")) != (id(self._material), pane):
                chooser.offer(self._material, pane)
                chooser.setProperty("material", id(self._material))
                chooser.setProperty("pane", pane)

    def _place_choosers(self) -> None:
        for chooser, frame in zip(self.choosers, self.canvas.frames, strict=True):
            whole = frame.whole
            chooser.setGeometry(
                round(whole.x()), round(whole.y()), round(whole.width()), round(self.canvas.style_now.head)
            )

    def _preset_chosen(self, _index: int) -> None:
        self.choose_preset(self.preset_choice.currentText())

    def _pane_chosen(self, number: int, pane: Pane) -> None:
        self.choose(number - 1, pane)

    def _next_preset(self) -> None:
        names = list(PRESETS)
        current = self.preset_choice.currentText()
        self.choose_preset(names[(names.index(current) + 1) % len(names)] if current in names else names[0])

    def _ask_result(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, f"Folder of another result of {self._study.id}")
        if folder:
            self.open_result(Path(folder))

    def open_result(self, folder: Path) -> None:
        """Add the result in a folder, ``OUT`` or ``OUT/<id>``; a failure is told in the status bar."""
        inside = folder / self._study.id
        try:
            self.add_result(load_prediction(inside if inside.is_dir() else folder))
        except UncsegError as error:
            self.show_message(str(error))
        else:
            self.show_message(f"Added {self._material.notes[-1]}")

    def _retitle(self) -> None:
        self.setWindowTitle(f"Six views · {self._study.id} · research use only")


def _fill(box: QComboBox, entries: dict[str, str], chosen: str | None) -> None:
    box.blockSignals(True)
    box.clear()
    for key, title in entries.items():
        box.addItem(title, key)
    box.setCurrentIndex(-1 if chosen is None else box.findData(chosen))
    box.blockSignals(False)


def _same_result(one: Prediction, other: Prediction) -> bool:
    """Whether two results come from the same model, settings, images and members."""
    same = fingerprint(one.provenance)
    return bool(same) and same == fingerprint(other.provenance) and one.partial == other.partial


def _same_memory(one: Array, other: Array) -> bool:
    return one.__array_interface__["data"][0] == other.__array_interface__["data"][0] and one.shape == other.shape
