"""Several patients side by side: of each only the volumes that are on show are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_uncseg.compare.data import SEGMENTATION, Array, ComparisonData, LabelOverlay, Overlay, Window, map_overlay
from napari_uncseg.compare.layout import Pane, PaneView
from napari_uncseg.errors import UncsegError
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.labels import MODALITY_TITLES, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.viewer.colormaps import window_level
from napari_uncseg.viewer.orientation import display_grid, to_display


def patient_data(case: ListedCase, modality: str, map_name: str) -> ComparisonData:
    """One image, the segmentation and one map of a case.

    Parameters
    ----------
    case : ListedCase
        With a result.
    modality : str
        Image to read; left out where the images were not found.
    map_name : str
        Map to read, "" for none; left out where the result has none of this name.

    Returns
    -------
    ComparisonData

    Raises
    ------
    StudyError
        When a file is damaged.
    """
    labels = read_volume(case.maps[SEGMENTATION])
    grid = display_grid(labels.shape, labels.affine)
    values = labels.values().astype(np.uint8)
    overlays: dict[str, Overlay] = {SEGMENTATION: LabelOverlay("Segmentation", to_display(values, labels.affine))}
    if map_name in case.maps and map_name != SEGMENTATION:
        volume = read_volume(case.maps[map_name])
        array = to_display(volume.values(), volume.affine)
        overlays[map_name] = map_overlay(map_name, MapName.parse(map_name).title, array)
    images: dict[str, Array] = {}
    box = None
    windows: dict[str, Window] = {}
    entry = case.files.modalities.get(modality) if case.files is not None else None
    if entry is not None:
        path, channel = entry if isinstance(entry, tuple) else (entry, 0)
        volume = read_volume(Path(path))
        # An image on another grid than the result's cannot be cut at the same place.
        if display_grid(volume.shape, volume.affine) == grid and volume.shape == labels.shape:
            image = volume.values(channel)
            images[modality] = to_display(image, volume.affine)
            # Nobody has looked for its brain: what differs from the corner is taken for it.
            brain = image != image.flat[0]
            windows[modality] = window_level(image, brain)
            box = bounding_box(to_display(brain, volume.affine))
    return ComparisonData(case.id, grid, images, windows, overlays, notes=(case.made,) if case.made else (), box=box)


def patient_view(case: ListedCase, modality: str, map_name: str) -> PaneView:
    """Read a case for a pane, cut where it has most predicted tumour; what cannot be read is told in it.

    Parameters
    ----------
    case : ListedCase
    modality, map_name : str
        What it shows.

    Returns
    -------
    PaneView
    """
    heading = patient_heading(case)
    if case.result is None or case.problem:
        return PaneView(Pane("", missing=case.problem or f"{case.id} has no result yet."), None, heading=heading)
    try:
        data = patient_data(case, modality, map_name)
    except UncsegError as error:
        return PaneView(Pane("", missing=str(error)), None, heading=heading)
    lacking = bool(map_name) and map_name not in data.overlays
    missing = f"The result of {case.id} has no {map_name}." if lacking else ""
    there = modality in data.images
    note = "" if there else _no_image(case, modality)
    pane = Pane(modality if there else "", "" if missing else map_name, missing, note)
    return PaneView(pane, data, data.best_point, heading)


def patient_heading(case: ListedCase) -> str:
    """Who it is: id, volume of the whole tumour, doubt."""
    parts = [case.id]
    if Region.WT in case.volumes_ml:
        parts.append(f"WT {case.volumes_ml[Region.WT]:.1f} mL")
    if case.triage_score is not None:
        parts.append(f"doubt {case.triage_score:.3f}")
    return " · ".join(parts)


def _no_image(case: ListedCase, modality: str) -> str:
    """Why a case has no such image."""
    title = MODALITY_TITLES[modality]
    if case.files is None:
        return "Images not found. Choose their folder under Images in the Case browser."
    if modality not in case.files.modalities:
        return f"{title} not found."
    return f"{title} lies on another grid than the result."
