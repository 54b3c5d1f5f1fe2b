"""Cuts through a study at a finding, as radiologists hang them, and a page's figure of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import LABEL_COLOURS, MODALITIES, MODALITY_TITLES, Label, Region, region_masks
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

CUT_MM = 90.0
"""Width and height of a cut."""

COLUMNS = 4
"""Findings that are drawn at most; the cuts of fewer are no larger."""

FINDING_COLOUR = "#40f0ff"
REFERENCE_COLOUR = "#ffffff"
_BASES: dict[Region, str] = {Region.WT: "t2f", Region.TC: "t1c", Region.ET: "t1c"}
"""Modality that shows the edge of a region best."""


@dataclass(frozen=True, eq=False)
class Cut:
    """An axial slice round a finding, the patient's right on its left and front on its top.

    Parameters
    ----------
    title : str
        Modality of the image.
    image : ndarray of float, shape (rows, columns)
        Black 0 and white 1.
    labels : ndarray of uint8, shape (rows, columns)
        The segmentation.
    map : ndarray of float32, shape (rows, columns)
        The map the finding was cut out of.
    inside : ndarray of bool, shape (rows, columns)
        The finding.
    reference : ndarray of bool, shape (rows, columns), optional
        The region in the reference.
    aspect : float
        Height of a voxel over its width.
    """

    title: str
    image: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    map: npt.NDArray[np.float32]
    inside: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_] | None
    aspect: float


def cut_at(study: Study, prediction: Prediction, findings: Findings, finding: Finding) -> Cut:
    """Cut a study through the voxel of a finding.

    Parameters
    ----------
    study : Study
    prediction : Prediction
        On the grid of the study.
    findings : Findings
        That the finding is one of.
    finding : Finding

    Returns
    -------
    Cut
    """
    turn = _Turn(study)
    centre, height, width = turn.frame(finding.voxel)
    inside = np.zeros(study.shape, dtype=bool)
    box, voxels = findings.mask(finding)
    inside[box] = voxels
    modality = _BASES[finding.region]
    reference = None
    if study.reference is not None:
        true = region_masks(study.reference)[list(Region).index(finding.region)]
        reference = turn.cut(true, centre, height, width)
    return Cut(
        title=MODALITY_TITLES[modality],
        image=turn.cut(_windowed(study, modality), centre, height, width),
        labels=turn.cut(prediction.segmentation, centre, height, width),
        map=turn.cut(map_values(prediction, finding.map), centre, height, width),
        inside=turn.cut(inside, centre, height, width),
        reference=reference,
        aspect=turn.aspect,
    )


def draw_findings(
    figure: Figure | SubFigure,
    study: Study,
    prediction: Prediction,
    findings: Findings,
    chosen: Sequence[Finding],
) -> None:
    """Draw a column of two cuts for each finding: a modality with contours, and the map.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or SubFigure
        Empty.
    study : Study
    prediction : Prediction
    findings : Findings
    chosen : sequence of Finding
        One to :data:`COLUMNS`.
    """
    axes = figure.subplots(2, COLUMNS, squeeze=False)
    for axis in axes[:, len(chosen) :].flat:
        axis.set_axis_off()
    shown: Any = None
    for column, finding in zip(axes.T[: len(chosen)], chosen, strict=True):
        cut = cut_at(study, prediction, findings, finding)
        _draw_image(column[0], cut, cut.title)
        _draw_labels(column[0], cut)
        _draw_image(column[1], cut, prediction.title(finding.map))
        upper = map_upper(prediction, finding.map)
        above = np.ma.masked_less(cut.map, findings.threshold)
        shown = column[1].imshow(above, cmap="inferno", vmin=0, vmax=upper, interpolation="nearest", aspect=cut.aspect)
        _outline(column[1], cut.inside, FINDING_COLOUR, 1.2)
        column[0].set_title(
            f"{finding.rank} · {finding.place}\n{finding.volume_ml:.2f} mL · slice {finding.slice}",
            fontsize=7.5,
        )
    bar = figure.colorbar(shown, ax=axes, fraction=0.02, pad=0.012, shrink=0.44, anchor=(0.0, 0.04), aspect=16)
    bar.ax.tick_params(labelsize=6.5)
    bar.ax.axhline(findings.threshold, color="white", lw=1)


class _Turn:
    """From a study's voxel order to axial pictures."""

    def __init__(self, study: Study) -> None:
        self._turned = ornt_transform(io_orientation(study.affine), axcodes2ornt(("I", "P", "L")))
        self._shape = study.shape
        sizes = [0.0, 0.0, 0.0]
        for size, (axis, _) in zip(study.spacing, self._turned, strict=True):
            sizes[int(axis)] = size
        self._sizes = sizes
        box = bounding_box(study.brain) or tuple(slice(0, size) for size in study.shape)
        self._brain = [slice(0, 0)] * 3
        for part, whole, (axis, flip) in zip(box, study.shape, self._turned, strict=True):
            ends = (part.start, part.stop) if flip > 0 else (whole - part.stop, whole - part.start)
            self._brain[int(axis)] = slice(*ends)

    @property
    def aspect(self) -> float:
        """Height of a displayed voxel over its width."""
        return self._sizes[1] / self._sizes[2]

    def frame(self, voxel: tuple[int, int, int]) -> tuple[tuple[int, int, int], slice, slice]:
        """Displayed indices of a voxel; rows and columns of a cut round it, with as much brain as it can hold."""
        at, size = [0, 0, 0], [0, 0, 0]
        for index, whole, (axis, flip) in zip(voxel, self._shape, self._turned, strict=True):
            at[int(axis)] = index if flip > 0 else whole - 1 - index
            size[int(axis)] = whole
        parts = []
        for axis in (1, 2):
            extent = min(round(CUT_MM / self._sizes[axis]), size[axis])
            brain = self._brain[axis]
            start = at[axis] - extent // 2
            if brain.stop - brain.start >= extent:
                start = min(max(start, brain.start), brain.stop - extent)
            start = min(max(start, 0), size[axis] - extent)
            parts.append(slice(start, start + extent))
        return (at[0], at[1], at[2]), parts[0], parts[1]

    def cut(
        self, array: npt.NDArray[Any], centre: tuple[int, int, int], rows: slice, columns: slice
    ) -> npt.NDArray[Any]:
        """Rows and columns of the slice through a place."""
        return np.asarray(apply_orientation(array, self._turned)[centre[0], rows, columns])


def _windowed(study: Study, modality: str) -> npt.NDArray[np.float64]:
    """Image of a modality with the brain's intensities from 0 to 1."""
    image = study.images[MODALITIES.index(modality)]
    low, high = np.percentile(image[study.brain] if study.brain.any() else image, (1.0, 99.5))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1), dtype=np.float64)


def _draw_image(axis: Axes, cut: Cut, title: str) -> None:
    axis.imshow(cut.image, cmap="gray", vmin=0, vmax=1, interpolation="bilinear", aspect=cut.aspect)
    axis.set_axis_off()
    axis.text(
        *(0.03, 0.03, title),
        transform=axis.transAxes,
        color="white",
        fontsize=6.5,
        bbox={"facecolor": "black", "alpha": 0.5, "lw": 0, "pad": 1.5},
    )


def _draw_labels(axis: Axes, cut: Cut) -> None:
    for label in (Label.ED, Label.NCR, Label.ET):
        _outline(axis, cut.labels == label, LABEL_COLOURS[label], 0.8)
    if cut.reference is not None:
        _outline(axis, cut.reference, REFERENCE_COLOUR, 0.8, dashed=True)
    _outline(axis, cut.inside, FINDING_COLOUR, 1.2)


def _outline(axis: Axes, mask: npt.NDArray[np.bool_], colour: Any, width: float, *, dashed: bool = False) -> None:
    if mask.any() and not mask.all():
        axis.contour(
            mask.astype(float),
            levels=[0.5],
            colors=[colour],
            linewidths=width,
            linestyles="dashed" if dashed else "solid",
        )
