"""The six-view comparison: one viewer model, one grid, one camera, one set of sliders.

A cell of napari's grid holds as many consecutive layers as the grid's stride; every cell is padded to the same number.
All arrays are shared with the main viewer.
"""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points

from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.study.prediction import Prediction
from napari_uncseg.study.study import Study
from napari_uncseg.view.layers import map_layer, window_level
from napari_uncseg.view.orientation import AXES, PLANES, UNITS, display_grid, to_display
from napari_uncseg.view.palette import segmentation_colormap

GRID: tuple[int, int] = (2, 3)
"""Rows and columns."""

STRIDE = 3
"""Layers of a cell: the image, what lies on it, the outline of the segmentation."""

OUTLINE = "outline"
"""Prefix of the names of outline layers."""

OUTLINE_OPACITY = 0.9


def comparison_maps(prediction: Prediction) -> tuple[str, ...]:
    """Maps of the lower row: unc_output, variance, and the error, or the entropy where there is no reference."""
    last = "error" if "error" in prediction.maps else "entropy"
    return tuple(name for name in ("unc_output", "variance", last) if name in prediction.maps)


def comparison_cells(study: Study, prediction: Prediction) -> list[tuple[Layer, Layer, Layer]]:
    """Layers of the six cells, row by row: T1c, FLAIR, segmentation; unc_output, variance, error or entropy.

    Parameters
    ----------
    study : Study
        The images.
    prediction : Prediction
        Its result, on the same grid.

    Returns
    -------
    list of tuple of napari.layers.Layer
        Per cell the layers from the bottom up; empty point layers fill the gaps.
    """
    t1c, t2f = (_Base(study, modality) for modality in ("t1c", "t2f"))
    cells: list[tuple[Layer, Layer, Layer]] = [(_titled(base.layer(base.title)), _pad(), _pad()) for base in (t1c, t2f)]
    filled = _labels(prediction, "Segmentation")
    cells.append((t1c.layer("T1c under the segmentation"), _titled(filled), _pad()))
    for name in comparison_maps(prediction):
        overlay = map_layer(prediction, name)
        # Errors lie at the border of the tumour: an outline would cover them.
        top = _pad() if name == "error" else _outline(prediction, f"{OUTLINE} {name}")
        cells.append((t1c.layer(f"T1c under {name}"), _titled(overlay), top))
    return cells


def comparison_model(study: Study, prediction: Prediction, *, outline: bool = True) -> ViewerModel:
    """Model of the six cells, its grid set but still off.

    The grid is switched on once the canvas has its size: napari misplaces colour bars that were laid out before.

    Parameters
    ----------
    study, prediction
        See :func:`comparison_cells`.
    outline : bool
        Whether the segmentation's outline is drawn on the maps.

    Returns
    -------
    ViewerModel
    """
    model = ViewerModel(title="Six views")
    overlays = model.canvas.overlays
    overlays.scale_bar.gridded = True
    overlays.scale_bar.visible = True
    grid = model.canvas.grid
    grid.shape = GRID
    grid.stride = STRIDE
    grid.spacing = 4
    for cell in comparison_cells(study, prediction):
        model.layers.extend(cell)
    show_outline(model, outline)
    return model


def show_plane(model: ViewerModel, plane: str) -> None:
    """Cut all six views axially, coronally or sagittally (see :data:`PLANES`)."""
    model.dims.order = PLANES[plane]
    model.reset_view()


def show_outline(model: ViewerModel, visible: bool) -> None:
    """Draw or drop the segmentation's outline on the maps; by opacity, since hiding a layer lays the grid out again."""
    for layer in model.layers:
        if layer.name.startswith(OUTLINE):
            layer.opacity = OUTLINE_OPACITY if visible else 0.0


class _Base:
    """An image that several cells show; its window is measured once."""

    def __init__(self, study: Study, modality: str) -> None:
        image = study.images[MODALITIES.index(modality)]
        self.title = MODALITY_TITLES[modality]
        self._array = to_display(image, study.affine)
        self._window = window_level(image, study.brain)
        self._grid = display_grid(study.shape, study.affine)

    def layer(self, name: str) -> Image:
        return Image(
            self._array,
            name=name,
            colormap="gray",
            contrast_limits=self._window,
            interpolation2d="linear",
            **self._grid.as_kwargs(),
        )


def _labels(prediction: Prediction, name: str) -> Labels:
    labels = prediction.segmentation
    layer = Labels(
        to_display(labels, prediction.affine),
        name=name,
        colormap=segmentation_colormap(),
        opacity=0.7,
        **display_grid(labels.shape, prediction.affine).as_kwargs(),
    )
    layer.editable = False
    return layer


def _outline(prediction: Prediction, name: str) -> Labels:
    layer = _labels(prediction, name)
    layer.contour = 1
    return layer


def _pad() -> Points:
    return Points(ndim=3, name="(empty)", units=UNITS, axis_labels=AXES)


def _titled(layer: Any) -> Layer:
    layer.name_overlay.visible = True
    layer.name_overlay.position = "top_left"
    layer.name_overlay.font_size = 12
    result: Layer = layer
    return result
