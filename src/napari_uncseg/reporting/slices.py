"""Cuts through a study at a finding, as radiologists hang them, and a page's figure of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

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
    turn = _Turn(study, finding.voxel)
    inside = np.zeros(study.shape, dtype=bool)
    box, voxels = findings.mask(finding)
    inside[box] = voxels
    modality = _BASES[finding.region]
    reference = None
    if study.reference is not None:
        true = region_masks(study.reference)[list(Region).index(finding.region)]
        reference = turn.cut(true)
    return Cut(
        title=MODALITY_TITLES[modality],
        image=turn.cut(_windowed(study, modality)),
        labels=turn.cut(prediction.segmentation),
        map=turn.cut(map_values(prediction, finding.map)),
        inside=turn.cut(inside),
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
    """From a study's voxel order to axial pictures round a voxel, with as much brain as they can hold."""

    def __init__(self, study: Study, voxel: tuple[int, int, int]) -> None:
        self._turned = ornt_transform(io_orientation(study.affine), axcodes2ornt(("I", "P", "L")))
        order = np.argsort(self._turned[:, 0])
        _, height, width = (study.spacing[axis] for axis in order)
        self.aspect = height / width
        """Height of a displayed voxel over its width."""
        back = inv_ornt_aff(self._turned, study.shape)
        centre = np.rint(apply_affine(np.linalg.inv(back), voxel)).astype(int)
        brain = apply_orientation(study.brain, self._turned)
        box = bounding_box(brain) or tuple(slice(0, size) for size in brain.shape)
        self._place: list[Any] = [centre[0]]
        for axis, size in ((1, height), (2, width)):
            extent = min(round(CUT_MM / size), brain.shape[axis])
            start = centre[axis] - extent // 2
            if box[axis].stop - box[axis].start >= extent:
                start = np.clip(start, box[axis].start, box[axis].stop - extent)
            start = int(np.clip(start, 0, brain.shape[axis] - extent))
            self._place.append(slice(start, start + extent))

    def cut(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Rows and columns of the slice through the voxel."""
        return np.asarray(apply_orientation(array, self._turned)[tuple(self._place)])


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
