"""Where the study of a run comes from: four open layers or a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image, Layer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.errors import StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.naming import read_name
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.viewer.tags import tag_of
from napari_uncseg.viewer.volumes import study_from_layers
from napari_uncseg.widgets.common import LayerWatch, narrow, note_label, row_label

LAYERS, FOLDER = 0, 1
NO_LAYERS = (
    "No image is open. Drop a study folder onto the window, open the sample (File > Open Sample), or choose Folder."
)


class FolderRow(QWidget):
    """Line for a folder's path with a button that browses for it.

    Parameters
    ----------
    title : str
        What the folder is, such as ``Folder of results``: title of the dialog, and what the tips say.
    path : str
        What stands in the line first.
    placeholder : str
        What an empty line says.
    """

    def __init__(self, title: str, path: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._title = title
        self.line = QLineEdit(path)
        self.line.setPlaceholderText(placeholder)
        self.browse = QPushButton("Browse…")
        self.line.setToolTip(f"{title}: its path")
        self.browse.setToolTip(f"{title}: choose it")
        self.browse.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)

    @property
    def path(self) -> Path | None:
        """The folder, or None while the line is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self._title, self.line.text())
        if folder:
            self.line.setText(folder)


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
        self.source = QComboBox()
        self.source.addItems(["Open layers", "Folder"])
        self.source.setToolTip("Whether the four images are open in the window or lie in a folder")
        self.folder = FolderRow("Folder of a study", placeholder="folder with four NIfTI files")
        self.boxes: dict[str, QComboBox] = {}
        self.hint = note_label(NO_LAYERS)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._layer_page())
        self._pages.addWidget(self._folder_page())
        self.source.currentIndexChanged.connect(self._on_source)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_label("From"), self.source)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self._pages)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer the open image layers; keep what was chosen, else take the layer whose name fits best."""
        images = {layer.name: layer for layer in self._viewer.layers if _is_volume(layer)}
        for modality, box in self.boxes.items():
            chosen = box.currentText()
            box.blockSignals(True)
            box.clear()
            box.addItems(list(images))
            best = chosen if chosen in images else _best_name(modality, images)
            box.setCurrentIndex(box.findText(best) if best else -1)
            box.blockSignals(False)
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

    def _layer_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        self._form = QWidget()
        form = QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        for modality in MODALITIES:
            self.boxes[modality] = narrow(QComboBox())
            self.boxes[modality].setToolTip(f"Layer that holds the {MODALITY_TITLES[modality]} image")
            form.addRow(row_label(MODALITY_TITLES[modality]), self.boxes[modality])
        layout.addWidget(self._form)
        layout.addWidget(self.hint)
        layout.addStretch(1)
        return page

    def _folder_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.folder)
        layout.addStretch(1)
        return page

    def _on_source(self, index: int) -> None:
        self._pages.setCurrentIndex(index)


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
