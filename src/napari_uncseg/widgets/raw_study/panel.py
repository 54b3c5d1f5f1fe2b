"""*Open DICOM or raw study*: what lies in a folder, its preparation, a look at it, and on to the segmentation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari
from qtpy.QtWidgets import QCheckBox, QLineEdit, QWidget

from napari_uncseg.errors import MissingSeries, NoBrainMask, SaveError, StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.preparation.brain import Method
from napari_uncseg.preparation.prepare import Options
from napari_uncseg.viewer.layers import add_study, close_others
from napari_uncseg.widgets.common import Note, PathRow, button, choice, column, form, heading, row
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.job import JobPanel
from napari_uncseg.widgets.preferences import read_preferences
from napari_uncseg.widgets.raw_study.check import CheckBox
from napari_uncseg.widgets.raw_study.series_table import SeriesTable
from napari_uncseg.widgets.raw_study.work import Checked, Found, Request, look, prepare, prepare_with_mask

TITLE, SEGMENT = "Open DICOM or raw study", "Segment with uncertainty"

NETWORK, MASK_FILE, HD_BET = range(3)


class RawStudyWidget(JobPanel):
    """Panel of a raw study: choose it, check the roles of its series, prepare, look, and go on to the segmentation.

    Name, number and date of a patient are read from DICOM and shown here; they are saved nowhere.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the preparation is looked at, and the study is opened.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        tip = "Register the images to T1c, take the skull off, and save them as NIfTI"
        super().__init__(viewer, "a preparation", "Prepare", tip)
        self._found: Found | None = None
        self._checked: Checked | None = None
        self.path = PathRow("Raw study", placeholder="folder, DICOMDIR or zip", changed=self.look)
        self.patient = Note()
        self.patient.setToolTip("Read from the files and shown here; it is saved nowhere")
        self.series = SeriesTable()
        self.study_id = QLineEdit()
        self.study_id.setToolTip("What files and folders are called; by default a keyed hash that names no patient")
        out = read_preferences().results or Path.home() / "uncseg-studies"
        self.folder = PathRow("Folder for prepared studies", str(out))
        tip, ways = "How the brain is found in images that show the skull", ["Bundled network", "Mask file"]
        self.brain = choice(tip, [*ways, "HD-BET, installed by you"], self._on_brain)
        self.mask_file = PathRow("Mask of the brain on T1c", placeholder="NIfTI file", files="NIfTI (*.nii *.nii.gz)")
        self.overwrite = QCheckBox("Overwrite an earlier preparation")
        self.overwrite.setToolTip("Replace what was prepared of other series, or with another mask, under this name")
        self.check = CheckBox(viewer)
        self.use_mask = button("Use this mask", "Prepare again with the mask as it is painted", self.prepare_painted)
        self.segment_button = button("Segment", "Open the prepared study and segment it", self.segment)
        self._form, self._check_form = QWidget(), QWidget()
        fields = form(Study_id=self.study_id, Save_in=self.folder, Brain=self.brain)
        self._form.setLayout(column(self.series, fields, self.mask_file, self.overwrite))
        buttons = row(self.use_mask, self.segment_button, stretch=(1, 1))
        self._check_form.setLayout(column(heading("Check"), self.check, buttons))
        tip = "Which series is which modality, and how they are prepared"
        self._choices = Fold("Series and settings", tip, self._form)
        self.fill(heading("Raw study"), self.path, self.patient, self._choices, self.bar, self._check_form)
        self._on_brain()
        self._on_running()

    def open_path(self, path: Path) -> None:
        """Look at what lies at a path, as if it were typed."""
        self.path.line.setText(str(path))
        self.look()

    def look(self) -> None:
        """Read what lies at the path."""
        path = self.path.path
        if path is None or self.running or (self._found is not None and self._found.path == path):
            return
        self._forget()
        self.bar.start(partial(look, path))

    def run(self) -> None:
        """Prepare what is chosen."""
        if self.running:
            return
        with self.bar.failure.failing():
            request = self._request()
            self.bar.start(partial(prepare, request))

    def prepare_painted(self) -> None:
        """Prepare again with the mask as it is painted now."""
        if self.running or self._checked is None:
            return
        mask = self.check.painted()
        if mask is None:
            self.bar.status.tell("The mask is still that of the preparation; paint first.")
            return
        self.bar.start(partial(prepare_with_mask, self._checked, mask))

    def segment(self) -> None:
        """Open the prepared study, and run the network on it."""
        if self._checked is None or self.running:
            return
        with self.bar.failure.failing():
            if self.check.painted() is not None:
                raise NoBrainMask("The painted mask is not in use yet; click Use this mask, or prepare again.")
            study = load_study(self._checked.prepared.files)
            self.check.end()
            add_study(self._viewer, study)
            close_others(self._viewer, study.id)
            _, panel = self._viewer.window.add_plugin_dock_widget("napari-uncseg", SEGMENT)
            panel.results.folder.line.setText(str(self._checked.request.out / "results"))
            panel.run()

    def release(self) -> None:
        """End the check too."""
        super().release()
        self.check.end()

    def _request(self) -> Request:
        found = self._found
        if found is None:
            raise StudyError("No raw study is open; choose its folder, its DICOMDIR or a zip of it.")
        roles = self.series.roles()
        missing = [MODALITY_TITLES[role] for role in MODALITIES if role not in roles]
        if found.examination is not None and missing:
            raise MissingSeries(f"No series is {missing[0]}; give the role to one in the table.")
        if self.folder.path is None:
            raise SaveError("No folder is chosen for the prepared study; choose one.")
        chosen = self.brain.currentIndex()
        if chosen == MASK_FILE and self.mask_file.path is None:
            raise NoBrainMask("No mask is chosen; choose its file, or let the network find the brain.")
        method = Method.HD_BET if chosen == HD_BET else Method.AUTO
        options = Options(
            self.mask_file.path if chosen == MASK_FILE else None, method, overwrite=self.overwrite.isChecked()
        )
        name = self.study_id.text().strip() or None
        return Request(found.path, roles, name, self.folder.path, options)

    def _on_returned(self, result: Found | Checked) -> None:
        if isinstance(result, Found):
            self._found = result
            self._choices.unfold(True)
            examination = result.examination
            self.patient.tell(
                "Four NIfTI files." if examination is None else examination.patient or "No name in the files"
            )
            self.series.show_series(result.verdicts, result.pictures or {})
            self.series.setVisible(examination is not None)
            self.study_id.setPlaceholderText(result.study_id or "a keyed hash of the voxels")
        else:
            self._checked = result
            self._choices.unfold(False)  # the check needs the room
            self.check.begin(result)
            there = " It stood there already." if result.prepared.already_there else ""
            self.bar.status.tell(f"Prepared in {result.prepared.files.folder}.{there} Look at it, then segment.")

    def _on_running(self) -> None:
        running = self.running
        for widget in (self.path, self._form, self._check_form):
            widget.setEnabled(not running)
        self.bar.run_button.setEnabled(not running and self._found is not None)
        self.patient.setVisible(self._found is not None)
        self._choices.setVisible(self._found is not None)
        self._check_form.setVisible(self._checked is not None)

    def _on_brain(self, _index: int = 0) -> None:
        self.mask_file.setVisible(self.brain.currentIndex() == MASK_FILE)

    def _forget(self) -> None:
        """Nothing of an earlier study is left."""
        self.check.end()
        self._found, self._checked = None, None
        self.study_id.clear()
        self._on_running()


def open_raw_study(viewer: napari.viewer.Viewer, path: Path) -> None:
    """Open the panel in a viewer, and look at a path."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-uncseg", TITLE)
    panel.open_path(path)
