"""Several patients side by side: of each only the volumes that are on show are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_uncseg.compare.data import SEGMENTATION, Material, Overlay, Window, label_overlay, map_overlay
from napari_uncseg.compare.layout import Pane, PaneView
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.labels import MODALITY_TITLES, Region
from napari_uncseg.maps import MapName
from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.viewer.layers import WINDOW_PERCENTILES
from napari_uncseg.viewer.orientation import display_grid, to_display


def patient_material(case: ListedCase, modality: str, map_name: str) -> Material:
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
    Material

    Raises
    ------
    StudyError
        When a file is damaged.
    """
    labels = read_volume(case.maps["segmentation"])
    grid = display_grid(labels.shape, labels.affine)
    values = labels.values().astype(np.uint8)
    overlays: dict[str, Overlay] = {SEGMENTATION: label_overlay("Segmentation", to_display(values, labels.affine))}
    if map_name in case.maps and map_name != SEGMENTATION:
        volume = read_volume(case.maps[map_name])
        overlays[map_name] = map_overlay(
            map_name, MapName.parse(map_name).title, to_display(volume.values(), volume.affine)
        )
    images, windows = {}, {}
    entry = case.files.modalities.get(modality) if case.files is not None else None
    if entry is not None:
        path, channel = entry if isinstance(entry, tuple) else (entry, 0)
        volume = read_volume(Path(path))
        image = volume.values(channel)
        # An image on another grid than the result's cannot be cut at the same place.
        if display_grid(volume.shape, volume.affine) == grid and volume.shape == labels.shape:
            images[modality] = to_display(image, volume.affine)
            windows[modality] = _window(image)
    return Material(case.id, grid, images, windows, overlays, notes=(case.made,) if case.made else ())


def patient_view(
    case: ListedCase, modality: str, map_name: str, material: Material | None, failure: str = ""
) -> PaneView:
    """Pane of a case, cut where it has most predicted tumour.

    Parameters
    ----------
    case : ListedCase
    modality, map_name : str
        What it shows.
    material : Material, optional
        What was read; None when that failed.
    failure : str
        Why.

    Returns
    -------
    PaneView
    """
    if material is None:
        return PaneView(Pane("", missing=failure), None, heading=patient_heading(case))
    missing = ""
    if map_name and map_name not in material.overlays:
        missing = f"The result of {case.id} has no {map_name}."
    there = modality in material.images
    note = "" if there else _no_image(case, modality)
    pane = Pane(modality if there else "", "" if missing else map_name, missing, note)
    return PaneView(pane, material, material.best_point, patient_heading(case))


def patient_heading(case: ListedCase) -> str:
    """Who it is: id, volume of the whole tumour, triage score."""
    parts = [case.id]
    if Region.WT in case.volumes_ml:
        parts.append(f"WT {case.volumes_ml[Region.WT]:.1f} mL")
    if case.triage_score is not None:
        parts.append(f"score {case.triage_score:.3f}")
    return " · ".join(parts)


def _no_image(case: ListedCase, modality: str) -> str:
    """Why a case has no such image."""
    title = MODALITY_TITLES[modality]
    if case.files is None:
        return "Images not found. Choose their folder under Images in the Case browser."
    if modality not in case.files.modalities:
        return f"{title} not found."
    return f"{title} lies on another grid than the result."


def _window(image: npt.NDArray[np.floating]) -> Window:
    """Window of an image whose brain nobody has looked for: what differs from the corner is taken for it."""
    inside = image[image != image.flat[0]]
    low, high = np.percentile(inside, WINDOW_PERCENTILES) if inside.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1.0)
