"""Where the study of a run comes from: four open layers or a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image, Layer
from qtpy.QtWidgets import QStackedWidget, QWidget

from napari_uncseg.errors import StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.naming import read_name
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.viewer.tags import tag_of
from napari_uncseg.viewer.volumes import study_from_layers
from napari_uncseg.widgets.common import Note, PathRow, choice, column, form, offer
from napari_uncseg.widgets.connections import Watch

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
        self.source = choice(
            "Whether the four images are open in the window or lie in a folder", ["Open layers", "Folder"]
        )
        self.folder = PathRow("Folder of a study", placeholder="folder with four NIfTI files")
        self.boxes = {
            modality: choice(f"Layer that holds the {MODALITY_TITLES[modality]} image") for modality in MODALITIES
        }
        self.hint = Note(NO_LAYERS)
        self._form = QWidget()
        self._form.setLayout(form(**{MODALITY_TITLES[modality]: box for modality, box in self.boxes.items()}))
        pages = QStackedWidget()
        for items in ((self._form, self.hint), (self.folder,)):
            page = QWidget()
            layout = column(*items)
            layout.addStretch(1)
            page.setLayout(layout)
            pages.addWidget(page)
        self.source.currentIndexChanged.connect(pages.setCurrentIndex)
        self.setLayout(column(form(From=self.source), pages))
        events = viewer.layers.events
        self._watch = Watch(self, self.refresh)
        self._watch.follow((events.inserted, events.removed, events.renamed))
        self.refresh()

    def refresh(self) -> None:
        """Offer the open image layers; keep what was chosen, else take the layer whose name fits best."""
        images = {layer.name: layer for layer in self._viewer.layers if _is_volume(layer)}
        for modality, box in self.boxes.items():
            chosen = box.currentText()
            offer(box, images.keys(), chosen if chosen in images else _best_name(modality, images))
        self.hint.setVisible(not images)
        self._form.setVisible(bool(images))

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
