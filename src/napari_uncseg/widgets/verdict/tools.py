"""Buttons to edit a correction, and the offer of a draft of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qtpy.QtWidgets import QButtonGroup, QPushButton, QSpinBox, QWidget

from napari_uncseg.labels import LABEL_COLOURS, LABEL_TITLES, REGION_TITLES, REGIONS, Label, Region
from napari_uncseg.review.drafts import CorrectionDraft
from napari_uncseg.viewer.bindings import CORRECTION_KEYS
from napari_uncseg.widgets.common import Note, button, choice, column, key_button, row

TOLERANCE_PERCENT, REACH_MM = 12, 15
"""What growing begins with: difference in intensity as a share of the window, and the radius that it keeps within."""


class EditTools(QWidget):
    """Buttons of a correction: by finding, tissue, brush, growth and between slices."""

    def __init__(self) -> None:
        super().__init__()
        tip = "The voxels of the current finding, in one step that Ctrl+Z undoes"
        self.add_button = key_button("Add to", CORRECTION_KEYS["add"], tip)
        self.remove_button = key_button("Remove from", CORRECTION_KEYS["remove"], tip)
        titles = {region: str(region) for region in REGIONS}
        self.region_choice = choice("The region that the finding joins or leaves", titles, self._on_region, least=2)
        self.tissue_buttons = {int(label): _tissue_button(label) for label in Label}
        self.tissue_buttons[0] = button("Erase", "Paint away", checkable=True)
        self.tissues = QButtonGroup(self)
        for label, each in self.tissue_buttons.items():
            self.tissues.addButton(each, label)
        self.brush_button = button("3-D brush", "The brush is a ball, and paints the slices beside too", checkable=True)
        tip = "A click into the picture grows the tissue over what looks like it, in the image on show"
        self.grow_button = button("Grow", tip, checkable=True)
        self.fill_button = button("Interpolate", "Paint a shape in two slices, and fill those between them")
        self.outline_button = button("Outline", "Show the correction as an outline", checkable=True)
        self.tolerance = _number(TOLERANCE_PERCENT, 1, 60, " %", "How much the intensity may differ, of the window")
        self.reach = _number(REACH_MM, 3, 60, " mm", "How far from the click growing may go")
        growth = QWidget()
        growth.setLayout(row(self.tolerance, self.reach))
        growth.hide()
        self.grow_button.toggled.connect(growth.setVisible)
        by_finding = row(self.add_button, self.remove_button, self.region_choice, stretch=(2, 2, 1))
        tools = row(self.brush_button, self.grow_button, self.fill_button, self.outline_button)
        self.setLayout(column(by_finding, row(*self.tissue_buttons.values()), tools, growth))

    @property
    def region(self) -> Region:
        """The region that a finding joins or leaves."""
        return Region(self.region_choice.currentData())

    def follow_region(self, region: Region) -> None:
        """Stand at the region that a finding speaks of."""
        self.region_choice.setCurrentIndex(REGIONS.index(region))

    def follow_tissue(self, label: int) -> None:
        """Show which label is painted, whoever chose it."""
        self.tissues.setExclusive(False)  # an exclusive group lets nobody uncheck its last button
        for each, own in self.tissue_buttons.items():
            own.setChecked(each == label)
        self.tissues.setExclusive(True)

    def _on_region(self, _index: int) -> None:
        self.region_choice.setToolTip(f"The region that the finding joins or leaves: {REGION_TITLES[self.region]}")


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


class DraftOffer(QWidget):
    """Words on a draft that was never saved, and buttons to go on with it or to discard it; hidden without one."""

    def __init__(self) -> None:
        super().__init__()
        self.draft: CorrectionDraft | None = None
        """The one on offer."""
        self.note = Note()
        self.take_button = button("Go on with it", "Open the draft to paint on")
        self.discard_button = button("Discard", "Delete the draft; what was painted is lost")
        self.setLayout(column(self.note, row(self.take_button, self.discard_button)))
        self.hide()

    def present(self, drafts: Sequence[CorrectionDraft]) -> None:
        """Offer the first of some drafts, the latest."""
        self.draft = drafts[0] if drafts else None
        self.setVisible(self.draft is not None)
        if self.draft is not None:
            self.note.warn((_words(self.draft, len(drafts)),), doubt=True)


def _words(draft: CorrectionDraft, count: int) -> str:
    try:
        when = f"{datetime.fromisoformat(draft.time).astimezone():%d %B %Y, %H:%M}"
    except ValueError:
        when = draft.time
    whose = f" by {draft.reviewer}" if draft.reviewer else ""
    more = f" {count - 1} older {'one' if count == 2 else 'ones'} will be offered after it." if count > 1 else ""
    return f"A correction of {when}{whose} was not saved ({draft.voxels} voxels changed).{more}"
