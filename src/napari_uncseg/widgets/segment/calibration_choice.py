"""Which calibration a run takes, and at once whether it fits the model and the members."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QWidget

from napari_uncseg.errors import CalibrationError, UncsegError
from napari_uncseg.inference.ensemble_spec import EnsembleSpec, Kind
from napari_uncseg.models.identity import (
    BUNDLED,
    NO_BUNDLED,
    bundled_calibration,
    find_calibration,
    identify,
    joint_sha256,
)
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.widgets.common import Note, PathRow, choice, column, form
from napari_uncseg.widgets.segment.run import NamedCalibration

NONE, SHIPPED, OWN_FILE = 0, 1, 2


class CalibrationChoice(QWidget):
    """Form for the calibration of a run: none, the one that comes with the package, or a file."""

    def __init__(self) -> None:
        super().__init__()
        self._run: tuple[Path | None, EnsembleSpec] | None = None
        self.box = choice(
            "Recalibration of the probabilities; the segmentation stays as it is", ["None", "Bundled", "File"]
        )
        self.file = PathRow("Calibration", placeholder="file of uncseg calibrate", files="Calibrations (*.json)")
        self.note = Note()
        self.setLayout(column(form(Calibration=self.box), self.file, self.note))
        self._offer_bundled()
        self.box.currentIndexChanged.connect(self._on_change)
        self.file.line.textChanged.connect(self._on_change)
        self._on_change()

    def chosen_for(self, model_folder: Path | None, members: EnsembleSpec) -> NamedCalibration | None:
        """What is chosen, for a model folder (None: the bundled model) and members.

        Raises
        ------
        UncsegError
            When no file is chosen, or the calibration cannot be read or was fitted for others.
        """
        if self.box.currentIndex() == NONE:
            return None
        name = Path(BUNDLED) if self.box.currentIndex() == SHIPPED else self.file.path
        if name is None:
            raise CalibrationError("No calibration file is chosen; choose one, or go without a calibration.")
        calibration = find_calibration(name)
        check_fit(calibration, model_folder, members)
        return NamedCalibration(name, calibration)

    def look_at(self, model_folder: Path | None, members: EnsembleSpec | None) -> None:
        """Say whether what is chosen fits a model folder and members; None for members that are not said yet."""
        self._run = None if members is None else (model_folder, members)
        self._on_change()

    def _offer_bundled(self) -> None:
        try:
            why = NO_BUNDLED if bundled_calibration() is None else ""
        except CalibrationError as error:
            why = str(error)
        if why:
            items = self.box.model()
            assert isinstance(items, QStandardItemModel)  # what a box makes for itself
            item = items.item(SHIPPED)
            assert item is not None
            item.setEnabled(False)
            self.box.setItemData(SHIPPED, why, Qt.ItemDataRole.ToolTipRole)

    def _on_change(self, _change: object = None) -> None:
        own = self.box.currentIndex() == OWN_FILE
        self.file.setVisible(own)
        if self._run is None or (own and self.file.path is None):  # nothing typed yet is no failure
            self.note.tell("")
            return
        try:
            chosen = self.chosen_for(*self._run)
        except UncsegError as error:
            self.note.fail(str(error))
        else:
            self.note.tell("" if chosen is None else fit_sentence(chosen.calibration))


def check_fit(calibration: Calibration, model_folder: Path | None, members: EnsembleSpec) -> None:
    """Make sure, without loading a network, that a calibration was fitted for a model and members.

    Parameters
    ----------
    calibration : Calibration
    model_folder : Path or None
        Folder of a model; None for the bundled one. An ensemble is made of the folders it names instead.
    members : EnsembleSpec

    Raises
    ------
    UncsegError
        When it was fitted for others, or a folder is no model.
    """
    if members.kind is Kind.ENSEMBLE:
        calibration.check(joint_sha256(identify(folder).sha256 for folder in members.folders), members.method)
    else:
        model = identify(model_folder)
        calibration.check(model.sha256, members.resolved(model.snapshots).method)


def fit_sentence(calibration: Calibration) -> str:
    """That a calibration fits, and what it was fitted on."""
    studies = len(calibration.provenance.get("studies") or ())
    on = f", fitted on {studies} {'study' if studies == 1 else 'studies'}" if studies else ""
    return f"Fits this model with the members {calibration.members}{on}; the segmentation stays as it is."
