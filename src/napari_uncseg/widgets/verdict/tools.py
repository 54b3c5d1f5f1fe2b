"""Buttons to edit a correction: by finding, tissue, brush, growth and between slices; what is asked for goes out."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QPushButton, QSpinBox, QWidget

from napari_uncseg.labels import LABEL_COLOURS, LABEL_TITLES, REGION_TITLES, REGIONS, Label, Region
from napari_uncseg.viewer.bindings import CORRECTION_KEYS
from napari_uncseg.widgets.common import button, choice, column, key_button, row

TOLERANCE_PERCENT, REACH_MM = 12, 15
"""What growing begins with: difference in intensity as a share of the window, and the radius that it keeps within."""


class EditTools(QWidget):
    """Buttons of a correction.

    Attributes
    ----------
    finding_asked : Signal
        Whether the current finding is to be added to :attr:`region`, or removed from it.
    tissue_asked : Signal
        A label to paint; 0 to erase.
    brush_asked, outline_asked, grow_asked : Signal
        Whether the brush is a ball, the correction an outline, a click grows.
    fill_asked : Signal
        Slices between painted ones are to be filled.
    """

    finding_asked = Signal(bool)
    tissue_asked = Signal(int)
    brush_asked = Signal(bool)
    outline_asked = Signal(bool)
    grow_asked = Signal(bool)
    fill_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        tip = "The voxels of the current finding, in one step that Ctrl+Z undoes"
        self.add_button = key_button("Add to", CORRECTION_KEYS["add"], tip, self._ask_to_add)
        self.remove_button = key_button("Remove from", CORRECTION_KEYS["remove"], tip, self._ask_to_remove)
        titles = {region: str(region) for region in REGIONS}
        self.region_choice = choice("The region that the finding joins or leaves", titles, self._on_region, least=2)
        self.tissue_buttons = {int(label): _tissue_button(label) for label in Label}
        self.tissue_buttons[0] = button("Erase", "Paint away", checkable=True)
        self._tissues = QButtonGroup(self)
        for label, each in self.tissue_buttons.items():
            self._tissues.addButton(each, label)
        self._tissues.idClicked.connect(self.tissue_asked)
        self.brush_button = button("3-D brush", "The brush is a ball, and paints the slices beside too", checkable=True)
        self.grow_button = button(
            "Grow",
            "A click into the picture grows the tissue over what looks like it, in the image on show",
            checkable=True,
        )
        self.fill_button = button("Interpolate", "Paint a shape in two slices, and fill those between them")
        self.outline_button = button("Outline", "Show the correction as an outline", checkable=True)
        self.tolerance = _number(TOLERANCE_PERCENT, 1, 60, " %", "How much the intensity may differ, of the window")
        self.reach = _number(REACH_MM, 3, 60, " mm", "How far from the click growing may go")
        self._growth = QWidget()
        self._growth.setLayout(row(self.tolerance, self.reach))
        self._growth.hide()
        self.brush_button.toggled.connect(self.brush_asked)
        self.outline_button.toggled.connect(self.outline_asked)
        self.grow_button.toggled.connect(self._on_grow)
        self.fill_button.clicked.connect(self.fill_asked)
        by_finding = row(self.add_button, self.remove_button, self.region_choice, stretch=(2, 2, 1))
        tools = row(self.brush_button, self.grow_button, self.fill_button, self.outline_button)
        self.setLayout(column(by_finding, row(*self.tissue_buttons.values()), tools, self._growth))

    @property
    def region(self) -> Region:
        """The region that a finding joins or leaves."""
        return Region(self.region_choice.currentData())

    def follow_region(self, region: Region) -> None:
        """Stand at the region that a finding speaks of."""
        self.region_choice.setCurrentIndex(REGIONS.index(region))

    def follow_tissue(self, label: int) -> None:
        """Show which label is painted, whoever chose it."""
        self._tissues.setExclusive(False)  # an exclusive group lets nobody uncheck its last button
        for each, own in self.tissue_buttons.items():
            own.setChecked(each == label)
        self._tissues.setExclusive(True)

    def _ask_to_add(self) -> None:
        self.finding_asked.emit(True)

    def _ask_to_remove(self) -> None:
        self.finding_asked.emit(False)

    def _on_region(self, _index: int) -> None:
        self.region_choice.setToolTip(f"The region that the finding joins or leaves: {REGION_TITLES[self.region]}")

    def _on_grow(self, on: bool) -> None:
        self._growth.setVisible(on)
        self.grow_asked.emit(on)


def _tissue_button(label: Label) -> QPushButton:
    made = button(label.name, f"Paint {LABEL_TITLES[label]}", checkable=True)
    red, green, blue, _ = (round(255 * part) for part in LABEL_COLOURS[label])
    made.setStyleSheet(
        f"QPushButton {{ padding: 3px 5px; color: black; background: rgb({red}, {green}, {blue}); border: 3px solid "
        "transparent; } QPushButton:checked { border-color: palette(window-text); }"
    )
    return made


def _number(value: int, least: int, most: int, unit: str, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(least, most)
    box.setValue(value)
    box.setSuffix(unit)
    box.setToolTip(tip)
    return box
