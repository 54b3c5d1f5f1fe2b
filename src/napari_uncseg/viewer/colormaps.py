"""Colours of images, labels and maps.

A map shows nothing at its low end, so that the brain stays visible, and its colours rise in lightness, so that they
keep their order in grey print and for colour-blind readers. Errors have two colours, one for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import Colormap, DirectLabelColormap

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import LABEL_COLOURS, REGIONS, Label, region_masks
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.uncertainty.prediction_maps import map_values

WINDOW_PERCENTILES: tuple[float, float] = (1.0, 99.5)
"""Percentiles of the brain's intensities that become black and white."""

UNEXPECTED_LABEL = "magenta"
"""Colour of a label value that no coding knows."""

TRANSPARENT_BELOW = 0.08
"""Fraction of a map's range that is fully transparent as long as no threshold is set."""

EDGE_WIDTH = 1e-3
"""Fraction of a map's range over which its lower edge becomes visible."""

MISSED, EXTRA = 1, 2

ERROR_NAMES: Mapping[int, str] = {MISSED: "missed", EXTRA: "extra"}

ERROR_COLOURS: Mapping[int, tuple[float, float, float, float]] = {
    MISSED: (0.90, 0.13, 0.30, 1.0),
    EXTRA: (0.25, 0.55, 1.0, 1.0),
}
"""Crimson and blue: told apart in every kind of colour vision."""

ERROR_VALUES: Mapping[int, float] = {MISSED: 1.0, EXTRA: 0.5}
"""Values of a layer that shows errors, which its colours tell apart."""

Colours = tuple[str, tuple[tuple[float, float, float], ...]]

_RAMPS: Mapping[str, Colours] = {
    "unc_output": (
        "uncseg unc_output",
        ((0.50, 0.10, 0.50), (0.74, 0.16, 0.62), (0.93, 0.36, 0.74), (0.98, 0.62, 0.85), (1.00, 0.88, 0.96)),
    ),
    "entropy": (
        "uncseg entropy",
        ((0.16, 0.24, 0.66), (0.22, 0.38, 0.86), (0.38, 0.56, 0.97), (0.62, 0.75, 1.00), (0.88, 0.92, 1.00)),
    ),
    "variance": (
        "uncseg variance",
        ((0.34, 0.20, 0.62), (0.48, 0.32, 0.82), (0.64, 0.50, 0.95), (0.79, 0.70, 1.00), (0.93, 0.90, 1.00)),
    ),
}
"""Pink, blue and violet: outlines are green, orange and yellow, which the colour-blind tell from these too."""

_RAMP_OF: Mapping[str, str] = {
    "unc_output_unmasked": "unc_output",
    "expected_entropy": "entropy",
    "mutual_information": "entropy",
    "one_minus_max": "entropy",
    "disagreement": "variance",
    "var1shot": "variance",
}


def error_kinds(prediction: Prediction, name: MapName) -> npt.NDArray[np.uint8]:
    """Kind of each error of a map of errors.

    Parameters
    ----------
    prediction : Prediction
    name : MapName
        An error map of the prediction.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        :data:`MISSED` where the region was not predicted, :data:`EXTRA` where it was; 0 without an error.
    """
    predicted = region_masks(prediction.segmentation)[REGIONS.index(name.region)]
    return np.where(map_values(prediction, name) > 0, np.where(predicted, EXTRA, MISSED), 0).astype(np.uint8)


def map_colormap(name: str, transparent_below: float = TRANSPARENT_BELOW) -> Colormap:
    """Colormap of a named map: nothing below a fraction of the range, the same colour for the same value above it.

    Parameters
    ----------
    name : str
        Name of a map, of any region; unknown names look like ``unc_output``.
    transparent_below : float
        Fraction of the contrast range, 0 to 1, that is not drawn.

    Returns
    -------
    napari.utils.Colormap
    """
    base = MapName.parse(name).measure
    if base == Measure.ERROR:
        return _error_colormap()
    title, ramp = _RAMPS[_RAMP_OF.get(base, base if base in _RAMPS else "unc_output")]
    stops = np.linspace(0.0, 1.0, len(ramp))
    edge = min(max(transparent_below, 0.0), 1.0 - 2 * EDGE_WIDTH)
    # Alpha jumps within EDGE_WIDTH: a half-visible value would be read as a lower one.
    controls = np.array([0.0, edge, edge + EDGE_WIDTH, *stops[stops > edge + EDGE_WIDTH]])
    rgb = np.stack([np.interp(controls, stops, channel) for channel in np.array(ramp).T], axis=1)
    alpha = np.where(controls > edge, 1.0, 0.0)
    if edge == 0.0:
        controls, rgb, alpha = controls[1:], rgb[1:], alpha[1:]
    return Colormap(np.column_stack([rgb, alpha]), controls=controls, name=f"{title} {edge:.3f}", display_name=title)


@cache
def _error_colormap() -> Colormap:
    """Colours of :data:`ERROR_VALUES`; an error is one at every threshold."""
    missed, extra = ERROR_COLOURS[MISSED], ERROR_COLOURS[EXTRA]
    between = (ERROR_VALUES[MISSED] + ERROR_VALUES[EXTRA]) / 2
    edges = [0.0, ERROR_VALUES[EXTRA] / 2, between, 1.0]
    colours = [(*extra[:3], 0.0), extra, missed]
    return Colormap(colours, controls=edges, interpolation="zero", name="uncseg error", display_name="uncseg error")


@cache
def segmentation_colormap(enhancing: int = Label.ET) -> DirectLabelColormap:
    """BraTS colours of the labels; one object shared by every layer, because building it is slow.

    Parameters
    ----------
    enhancing : int
        Value of the enhancing tumour.
    """
    colours: dict[int | None, object] = {0: "transparent", None: UNEXPECTED_LABEL}
    colours |= {enhancing if label is Label.ET else int(label): colour for label, colour in LABEL_COLOURS.items()}
    return DirectLabelColormap(color_dict=colours)


def labels_colormap(values: npt.NDArray[np.integer]) -> DirectLabelColormap:
    """Colours for the labels of a file whose coding nobody told.

    Parameters
    ----------
    values : ndarray of int
        Labels as stored.

    Returns
    -------
    napari.utils.DirectLabelColormap
        4 without 3 is the enhancing tumour of BraTS up to 2021; 4 beside 3 shows as unexpected.
    """
    old = (values == 4).any() and not (values == Label.ET).any()
    return segmentation_colormap(4 if old else Label.ET)


def window_level(image: npt.NDArray[np.floating], brain: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Intensities of the brain that become black and white (:data:`WINDOW_PERCENTILES`); of the volume if no brain."""
    low, high = np.percentile(image[brain] if brain.any() else image, WINDOW_PERCENTILES)
    return float(low), float(high if high > low else low + 1.0)


def drawn_from(layer: Any) -> float:
    """Lowest value that an image layer draws: where its colours stop being transparent."""
    low, high = layer.contrast_limits
    controls, alpha = np.asarray(layer.colormap.controls), np.asarray(layer.colormap.colors)[:, 3]
    first = int(np.argmax(alpha > 0))
    edge = max(float(controls[first]) - EDGE_WIDTH, 0.0) if first else 0.0
    return round(float(low + edge * (high - low)), 6)
