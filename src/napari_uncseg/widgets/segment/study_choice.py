"""Where the study of a run comes from: four open layers or a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image, Layer
from qtpy.QtWidgets import QWidget

from napari_uncseg.errors import StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.naming import read_name
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
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
        events = viewer.layers.events
        self._watch = Watch(self, self.refresh)
        self._watch.follow((events.inserted, events.removed, events.renamed))
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
