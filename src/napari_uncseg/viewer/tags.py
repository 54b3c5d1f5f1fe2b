"""What a layer of this plugin shows, and finding such layers in a viewer.

Every layer carries a :class:`Tag` in its metadata. It says what the layer shows and which study it belongs to, so that
a second run replaces the first one's layers, and it keeps the study or the prediction itself for the panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakSet

import nibabel as nib
import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Layer

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Source, Study
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.viewer.orientation import display_grid

KEY = "uncseg"
"""Key of the :class:`Tag` in a layer's metadata."""

OUTLINE_KEY = "uncseg-outline"
"""Key of what the outline of the current finding is of, in the metadata of its layer."""

CORRECTION_KEY = "uncseg-correction"
"""Key of what a layer corrects, in its metadata."""

Role = Literal["image", "reference", "map", "segmentation"]


@dataclass(frozen=True, eq=False)
class Tag:
    """What a layer shows and where it comes from.

    Parameters
    ----------
    role : {"image", "reference", "map", "segmentation"}
        Kind of layer.
    name : str
        Modality or map; equal to `role` for segmentation and reference.
    study_id : str
        The study the layer belongs to, whatever the user names or selects.
    source : Study or Prediction
        The object the layer's data is a view of.
    array : ndarray, shape (i, p, l)
        The data as displayed.
    """

    role: Role
    name: str
    study_id: str
    source: Study | Prediction
    array: npt.NDArray[Any]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS+ millimetres, in the source's own voxel order."""
        return self.source.affine

    @property
    def title(self) -> str:
        """Name of a new layer."""
        if self.role == "map" and isinstance(self.source, Prediction):
            return self.source.title(self.name)
        return MODALITY_TITLES.get(self.name, self.role.capitalize())

    def as_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of a napari layer: its name, its place and this tag."""
        grid = display_grid(self.source.shape, self.affine)
        return {"name": self.title, "metadata": {KEY: self}, **grid.as_kwargs()}


@dataclass(frozen=True, eq=False)
class Plain:
    """What a layer of a single file keeps: enough to save it and to segment it.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    header : nibabel.Nifti1Header, optional
        Header of the file: units and codes.
    source : Source, optional
        The file; None when a layer holds one volume of several.
    """

    affine: npt.NDArray[np.float64]
    header: nib.Nifti1Header | None = None
    source: Source | None = None


def tag_of(layer: Layer) -> Tag | None:
    """Tag of a layer made by this plugin, or None.

    A duplicate that the user made carries the same metadata but data of its own: it is the user's, and has no tag.
    """
    tag = layer.metadata.get(KEY)
    if not isinstance(tag, Tag):
        return None
    return tag if np.may_share_memory(np.asarray(layer.data), tag.array) else None


def tagged(viewer: ViewerModel, study_id: str | None = None, *roles: Role) -> Iterator[tuple[Layer, Tag]]:
    """Layers of this plugin with their tags, from the bottom up, of one study and of some roles if given."""
    for layer in list(viewer.layers):
        tag = tag_of(layer)
        if tag and (study_id is None or tag.study_id == study_id) and (not roles or tag.role in roles):
            yield layer, tag


def open_studies(viewer: ViewerModel) -> dict[str, Study]:
    """Studies that have a layer in the viewer, by id, in the order they were opened."""
    return {tag.study_id: tag.source for _, tag in tagged(viewer) if isinstance(tag.source, Study)}


def open_predictions(viewer: ViewerModel) -> dict[str, Prediction]:
    """Predictions that have a layer in the viewer, by study id."""
    return {tag.study_id: tag.source for _, tag in tagged(viewer) if isinstance(tag.source, Prediction)}


def set_visible(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; where nothing changes, nothing is laid out anew, as napari would."""
    if layer.visible != visible:
        layer.visible = visible


def hide_layers(layers: Iterable[Layer]) -> WeakSet[Layer]:
    """Hide layers; returns those that were seen, for :func:`show_layers`."""
    seen = WeakSet(layer for layer in layers if layer.visible)
    for layer in seen:
        layer.visible = False
    return seen


def show_layers(layers: Iterable[Layer]) -> None:
    """Show layers again."""
    for layer in layers:
        layer.visible = True
