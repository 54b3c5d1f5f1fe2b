"""Study, members and calibration of a run: what each choice costs, and at once whether it fits the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_uncseg.errors import CalibrationError, ModelError, StudyError, UncsegError
from napari_uncseg.inference.ensemble_spec import SINGLE, EnsembleSpec, Kind, parse_ensemble
from napari_uncseg.inference.progress import spell
from napari_uncseg.io.files import entries
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.naming import read_name
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.models import identity
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.viewer.picture import layer_events
from napari_uncseg.viewer.tags import tag_of
from napari_uncseg.viewer.volumes import study_from_layers
from napari_uncseg.widgets.base import Watch
from napari_uncseg.widgets.common import Note, PathRow, choice, column, form, offer

LAYERS, FOLDER = 0, 1
NO_LAYERS = (
    "No image is open. Drop a study folder onto the window, open the sample (File > Open Sample), or choose Folder."
)


class StudyChoice(QWidget):
    """Form for the study: four layer boxes, filled from the layers' names, or a folder.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its image layers are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._known: frozenset[int] = frozenset()
        tip = "Whether the four images are open in the window or lie in a folder"
        self.source = choice(tip, ["Open layers", "Folder"], self.refresh)
        self.folder = PathRow("Folder of a study", placeholder="folder with four NIfTI files")
        self.boxes = {
            modality: choice(f"Layer that holds the {MODALITY_TITLES[modality]} image") for modality in MODALITIES
        }
        self.hint = Note(NO_LAYERS)
        self._form = QWidget()
        self._form.setLayout(form(**{MODALITY_TITLES[modality]: box for modality, box in self.boxes.items()}))
        self.setLayout(column(form(From=self.source), self._form, self.hint, self.folder))
        self._watch = Watch(self, self.refresh)
        self._watch.follow(layer_events(viewer))
        self.refresh()

    def refresh(self, _index: int = 0) -> None:
        """Offer the open image layers; choose what was just opened, else keep the choice, else go by the names."""
        images = {layer.name: layer for layer in self._viewer.layers if _is_volume(layer)}
        opened = {name: layer for name, layer in images.items() if id(layer) not in self._known}
        self._known = frozenset(map(id, images.values()))
        for modality, box in self.boxes.items():
            chosen = box.currentText()
            usual = chosen if chosen in images else _best_name(modality, images)
            offer(box, images.keys(), _best_name(modality, opened) or usual)
        from_layers = self.source.currentIndex() == LAYERS
        self.hint.setVisible(from_layers and not images)
        self._form.setVisible(from_layers and bool(images))
        self.folder.setVisible(not from_layers)

    def layers(self) -> dict[str, Layer]:
        """Chosen layer of each modality; a modality without one is left out."""
        # Iterating gives the layers themselves, which can be compared; indexing gives proxies in a plugin.
        by_name = {layer.name: layer for layer in self._viewer.layers}
        chosen = {modality: by_name.get(box.currentText()) for modality, box in self.boxes.items()}
        return {modality: layer for modality, layer in chosen.items() if layer is not None}

    def loader(self) -> Callable[[], Study]:
        """What reads or builds the study, later and in another thread.

        Raises
        ------
        StudyError
            When nothing is chosen.
        """
        if self.source.currentIndex() == LAYERS:
            return partial(study_from_layers, self.layers())
        folder = self.folder.path
        if folder is None:
            raise StudyError("No folder is chosen; choose the folder with the study's four NIfTI files.")
        return partial(load_study, folder)


def _is_volume(layer: Layer) -> bool:
    tag = tag_of(layer)
    return isinstance(layer, Image) and layer.ndim == 3 and (tag is None or tag.role == "image")


def _best_name(modality: str, images: dict[str, Image]) -> str | None:
    """Newest layer that was opened as this modality, or whose name says so."""
    for name, layer in reversed(images.items()):
        tag = tag_of(layer)
        if tag is not None:
            if tag.name == modality:
                return name
        elif (named := read_name(Path(name))) is not None and named.role == modality:
            return name
    return None


PRESETS: tuple[tuple[str, str], ...] = (
    ("Recommended", "auto"),
    ("Single pass", "single"),
    ("Flips (8)", "tta:8"),
    ("Snapshots", "snapshots"),
    ("Dropout injection (10)", "dropout_injection:10"),
)
CUSTOM = len(PRESETS)
FLIPS, SNAPSHOTS = ([words for _, words in PRESETS].index(each) for each in ("tta:8", "snapshots"))


class EnsembleChoice(QWidget):
    """Form for the members of a run.

    The time is told once a run of this panel has shown how long a pass takes here; before, the number of passes is.

    Attributes
    ----------
    changed : Signal
        Other members may be chosen.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[int, float] | None = None
        self._snapshots, self._own = 1, "single"
        self.preset = choice(
            "How often the study is segmented, and what differs between the passes: their disagreement is the "
            "uncertainty. Recommended are those that the network was judged with; one pass is the quickest",
            [*(title for title, _ in PRESETS), "Custom…"],
            self._on_change,
        )
        self.words = QLineEdit()
        self.words.setPlaceholderText("as in mc_dropout:20,p=0.2")
        self.words.setToolTip("What uncseg predict takes after --members")
        self.cost = Note()
        self.setLayout(column(form(Repeats=self.preset), self.words, self.cost))
        self.words.textChanged.connect(self._on_change)
        self.look_into(None)

    def members(self) -> EnsembleSpec:
        """What is chosen.

        Raises
        ------
        UncsegError
            When the words say nothing that is known.
        """
        index = self.preset.currentIndex()
        return parse_ensemble(self.words.text().strip() if index == CUSTOM else PRESETS[index][1])

    def members_for(self, model_folder: Path | None) -> EnsembleSpec:
        """What is chosen, for a model folder (None: the bundled model).

        Raises
        ------
        UncsegError
            Also when an ensemble is chosen beside a model folder that it does not name.
        """
        members = self.members()
        if members.kind is Kind.ENSEMBLE and model_folder is not None:
            raise ModelError("An ensemble names all its model folders itself; choose the bundled model as network.")
        return members

    def look_into(self, model_folder: Path | None) -> None:
        """See what members a model folder (None: the bundled model) is judged with, and count its snapshots."""
        try:
            found = entries(model_folder or identity.bundled_model_folder(), ModelError)
        except ModelError:  # no folder, or not yet typed to its end
            found = []
        kept = sum(item.name.startswith("snapshot-") for item in found)
        self._snapshots, self._own = 1 + kept, "single"
        with suppress(ModelError):
            self._own = identity.identify(model_folder).ensemble
        title, _ = PRESETS[SNAPSHOTS]
        self.preset.setItemText(SNAPSHOTS, f"{title} ({self._snapshots})" if kept else f"{title} (none)")
        self._on_change()

    def learn(self, members: EnsembleSpec, seconds: float) -> None:
        """Take note of how long a run took."""
        self._last = members.resolved(self._snapshots, self._own).passes or 1, seconds
        self._on_change()

    def _on_change(self, _change: object = None) -> None:
        own = self.preset.currentIndex() == CUSTOM
        self.words.setVisible(own)
        try:
            members = self.members().resolved(self._snapshots, self._own)
        except UncsegError as error:
            self.cost.fail(error)
            self.cost.setVisible(bool(self.words.text().strip()))  # nothing typed yet is no failure
        else:
            self.cost.tell(cost_sentence(members, self._last))
        self.changed.emit()


def cost_sentence(members: EnsembleSpec, last: tuple[int, float] | None) -> str:
    """What members cost, for a reader; nothing for one pass of unknown length.

    Parameters
    ----------
    members : EnsembleSpec
        With their count.
    last : (int, float), optional
        Passes of the last run, and the seconds it took.
    """
    passes = members.passes or 1
    if members.kind is Kind.SNAPSHOTS and passes == 1:
        return "This model holds one network and no snapshots; choose other members."
    if last is not None:
        # What passes share is counted with each of them, so more passes than the last time take less than told.
        bound, pace = "up to " if passes > last[0] else "", last[1] / last[0]
        return f"Expected: {bound}{spell(passes * pace)}, as the last run went."
    if members == SINGLE:
        return ""
    if members.kind is Kind.LOGIT_SAMPLING:
        return f"1 pass; drawing {members.count} samples of what it says may take longer than the pass."
    if passes == 1:
        return "1 pass: little more than the time of one."
    return f"{passes} passes: up to {passes} times the time of one."


NONE, SHIPPED, OWN_FILE = 0, 1, 2


class CalibrationChoice(QWidget):
    """Form for the calibration of a run: none, the one that comes with the package, or a file."""

    def __init__(self) -> None:
        super().__init__()
        self._run: tuple[Path | None, EnsembleSpec] | None = None
        tip = "Recalibration of the probabilities; the segmentation stays as it is"
        self.box = choice(tip, ["None", "Bundled", "File"], self._on_change)
        self.file = PathRow("Calibration", placeholder="file of uncseg calibrate", files="Calibrations (*.json)")
        self.note = Note()
        self.setLayout(column(form(Calibration=self.box), self.file, self.note))
        self._offer_bundled()
        self.file.line.textChanged.connect(self._on_change)
        self._on_change()

    def chosen_for(self, model_folder: Path | None, members: EnsembleSpec) -> Path | None:
        """Name of what is chosen (a file, or ``bundled``), for a model folder (None: the bundled model) and members.

        Raises
        ------
        UncsegError
            When no file is chosen, or the calibration cannot be read or was fitted for others.
        """
        if self.box.currentIndex() == NONE:
            return None
        name = Path(identity.BUNDLED) if self.box.currentIndex() == SHIPPED else self.file.path
        if name is None:
            raise CalibrationError("No calibration file is chosen; choose one, or go without a calibration.")
        check_fit(identity.find_calibration(name), model_folder, members)
        return name

    def look_at(self, model_folder: Path | None, members: EnsembleSpec | None) -> None:
        """Say whether what is chosen fits a model folder and members; None for members that are not said yet."""
        self._run = None if members is None else (model_folder, members)
        self._on_change()

    def _offer_bundled(self) -> None:
        try:
            why = identity.NO_BUNDLED if identity.bundled_calibration() is None else ""
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
        with self.note.failing():
            chosen = self.chosen_for(*self._run)
            self.note.tell("" if chosen is None else fit_sentence(identity.find_calibration(chosen)))


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
        calibration.check(
            identity.joint_sha256(identity.identify(folder).sha256 for folder in members.folders), members.method
        )
    else:
        model = identity.identify(model_folder)
        calibration.check(model.sha256, members.resolved(model.snapshots, model.ensemble).method)


def fit_sentence(calibration: Calibration) -> str:
    """That a calibration fits, what it was fitted on, and the thresholds that keep what they miss."""
    studies = len(calibration.provenance.get("studies") or ())
    on = f", fitted on {studies} {'study' if studies == 1 else 'studies'}" if studies else ""
    fits = f"Fits this model with the members {calibration.ensemble}{on}; the segmentation stays as it is."
    kept = {region: each for region, each in calibration.controls.items() if each.threshold is not None}
    if not kept:
        return fits
    alpha = next(iter(kept.values())).alpha
    thresholds = ", ".join(f"{region} {each.threshold:.2g}" for region, each in kept.items())
    return f"{fits} Thresholds above which at most {alpha:.0%} of a region is missed on average: {thresholds}."
