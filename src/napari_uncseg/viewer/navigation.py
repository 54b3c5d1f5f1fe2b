"""Going to a voxel in a viewer, the keys of a review, and the session that belongs to a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from platformdirs import user_config_path

from napari_uncseg.review.session import Session
from napari_uncseg.viewer.bindings import make_comfortable
from napari_uncseg.viewer.orientation import AXES, display_grid

NEXT, PREVIOUS, REAL_ERROR, FINE, UNSURE, OVERLAY = ("next", "previous", "real error", "fine", "unsure", "overlay")

KEYS: Mapping[str, str] = MappingProxyType(
    {NEXT: "N", PREVIOUS: "Shift-N", REAL_ERROR: "W", FINE: "G", UNSURE: "U", OVERLAY: "H"}
)
"""Keys of a review in a viewer, by what they do: next, wrong, good, unsure, hide. None of them is napari's own."""

KEEP_CLEAR = 0.15
"""Share of the canvas at each border in which a voxel counts as out of sight."""

_sessions: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Session of a viewer, made when it is first asked for; every panel of a viewer has the same."""
    model = getattr(viewer, "__wrapped__", viewer)  # plugins are handed a proxy, a new one each time
    if model not in _sessions:
        _sessions[model] = Session(state_folder())
        make_comfortable(model)
    return _sessions[model]


def state_folder() -> Path:
    """Folder for what the plugin remembers of a user's reviews."""
    return user_config_path("napari-uncseg", appauthor=False)


def world_of(
    voxel: tuple[int, int, int], shape: tuple[int, int, int], affine: npt.NDArray[np.floating]
) -> tuple[float, float, float]:
    """Place of a voxel in napari's world, as its layer is displayed.

    Parameters
    ----------
    voxel : tuple of int
        Indices in the volume's own order.
    shape : tuple of int
        Voxels of the volume along x, y and z.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.

    Returns
    -------
    tuple of float
        Millimetres along I, P and L; without the rotation that the display drops.
    """
    grid = display_grid(shape, affine)
    turned = ornt_transform(io_orientation(affine), axcodes2ornt(AXES))
    world = [0.0, 0.0, 0.0]
    for index, size, (axis, flip) in zip(voxel, shape, turned, strict=True):
        place = int(axis)
        world[place] = grid.translate[place] + grid.scale[place] * (index if flip > 0 else size - 1 - index)
    return world[0], world[1], world[2]


def go_to(viewer: ViewerModel, point: tuple[float, float, float]) -> None:
    """Show a place in a viewer: its slice, and the camera over it where it would be out of sight.

    Parameters
    ----------
    viewer : ViewerModel
        Of three dimensions; others are left alone.
    point : tuple of float
        Millimetres along I, P and L (:func:`world_of`).
    """
    if viewer.dims.ndim != 3:
        return
    viewer.dims.point = point
    if viewer.dims.ndisplay != 2:
        return
    camera: Any = viewer.scene.camera
    rows, columns = (float(pixels) / camera.zoom for pixels in viewer.canvas.size)
    row, column = (point[axis] for axis in viewer.dims.displayed)
    off_rows, off_columns = abs(row - camera.center[-2]), abs(column - camera.center[-1])
    if off_rows > rows * (0.5 - KEEP_CLEAR) or off_columns > columns * (0.5 - KEEP_CLEAR):
        camera.center = (0.0, row, column)
