"""The page of a preparation: checkerboards of each image with T1c in three planes, and the outline of the brain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats32, Floats64, Mask
from napari_uncseg.io.geometry import three
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.preparation.registration import Registration
from napari_uncseg.reporting.page import Grid, fill_template, number
from napari_uncseg.reporting.plot_style import encode_figure, new_figure, style
from napari_uncseg.viewer.orientation import display_grid, to_display

PLANES = ("axial", "coronal", "sagittal")

BRAIN_COLOUR = "#ffd23f"
"""Colour of the brain's outline, here and in the window."""

SQUARE_MM = 25.0
"""Side of a square of the checkerboard."""


def draw_page(
    study_id: str,
    images: Floats32,
    brain: Mask,
    affine: Floats64,
    found: Mapping[str, Registration],
    record: Mapping[str, Any],
) -> str:
    """One HTML page to check a preparation by; it loads nothing.

    Parameters
    ----------
    study_id : str
    images : ndarray of float32, shape (4, x, y, z)
        On T1c's grid, with the skull.
    brain : ndarray of bool, shape (x, y, z)
    affine : ndarray, shape (4, 4)
    found : mapping of str to Registration
    record : mapping
        What the JSON says.
    """
    rows = [
        (
            MODALITY_TITLES[role],
            "left as it lies" if each.fits_already else "moved",
            number(each.moved_mm, 1),
            number(each.returned_mm, 1),
            f"{each.overlap:.0%}",
            "yes" if each.works else "NO",
        )
        for role, each in found.items()
    ]
    head = ("image", "registration", "moved, mm", "searches apart, mm", "heads overlap", "checks passed")
    return fill_template(
        "preparation.html.j2",
        study=study_id,
        registrations=Grid.of(head, rows, words=(0, 1, 5)),
        reasons=[reason["text"] for reason in record["needs_review"]],
        brain=record["brain"],
        picture=checkerboards(images, brain, affine),
    )


def checkerboards(images: Floats32, brain: Mask, affine: Floats64) -> bytes:
    """A PNG: a row per image in three planes through the brain's middle; T1c alone, the others in squares with it.

    Parameters
    ----------
    images : ndarray of float32, shape (4, x, y, z)
    brain : ndarray of bool, shape (x, y, z)
    affine : ndarray, shape (4, 4)
    """
    shown = [to_display(image, affine) for image in images]
    mask = to_display(brain, affine)
    spacing = np.array(display_grid(three(brain.shape), affine).scale)
    where = np.argwhere(mask)
    middle = where.mean(axis=0).astype(int) if len(where) else np.array(mask.shape) // 2
    grey = [grey_levels(image) for image in shown]
    with style():
        figure = new_figure(9.0, 12.0)
        axes = figure.subplots(len(MODALITIES), len(PLANES))
        for row, (role, image) in enumerate(zip(MODALITIES, grey, strict=True)):
            for column, axis in enumerate(axes[row]):
                cut = [np.take(volume, middle[column], axis=column) for volume in (image, grey[0], mask)]
                rest = np.delete(spacing, column)
                squares = every_other_square(cut[0].shape, rest.tolist()) if row else np.zeros(cut[0].shape, dtype=bool)
                axis.imshow(np.where(squares, cut[1], cut[0]), cmap="gray", vmin=0, vmax=1, aspect=rest[0] / rest[1])
                if cut[2].any():
                    axis.contour(cut[2], levels=[0.5], colors=[BRAIN_COLOUR], linewidths=0.8)
                axis.set_axis_off()
                what = MODALITY_TITLES[role] if not row else f"{MODALITY_TITLES[role]} | T1c"
                axis.set_title(f"{what}, {PLANES[column]}", fontsize=8)
        return encode_figure(figure, "png")


def grey_levels(image: Floats32) -> Floats32:
    """An image from black (0) to white (1), so that two of them can be compared."""
    low, high = np.percentile(image[::2, ::2, ::2], (1, 99.5))
    grey: Floats32 = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    return grey


def every_other_square(shape: tuple[int, ...], spacing: Sequence[float]) -> Mask:
    """Every other square, or cube, of a checkerboard."""
    steps = [np.arange(count) * side // SQUARE_MM for count, side in zip(shape, spacing, strict=True)]
    return np.asarray(sum(np.ix_(*steps)) % 2 == 1)
