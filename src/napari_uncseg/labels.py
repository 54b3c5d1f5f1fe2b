"""Modalities, labels and regions of a brain tumour study, their codings and colours.

The BraTS 2023 coding (1 NCR, 2 ED, 3 ET) is the one used inside the package and in every file it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

MODALITIES: tuple[str, ...] = ("t1c", "t1n", "t2f", "t2w")
"""The order of the channels of a study, everywhere."""

MODALITY_TITLES: Mapping[str, str] = MappingProxyType({"t1c": "T1c", "t1n": "T1n", "t2f": "FLAIR (T2f)", "t2w": "T2w"})


class Label(IntEnum):
    """Tissue classes of the BraTS 2023 coding."""

    NCR = 1
    ED = 2
    ET = 3


class Region(StrEnum):
    """Nested evaluation regions of BraTS, in the order of the channels of ``probabilities``."""

    WT = "WT"
    TC = "TC"
    ET = "ET"


REGIONS: tuple[Region, ...] = tuple(Region)

LABEL_TITLES: Mapping[Label, str] = MappingProxyType(
    {Label.NCR: "necrotic / non-enhancing core", Label.ED: "oedema", Label.ET: "enhancing tumour"}
)

REGION_TITLES: Mapping[Region, str] = MappingProxyType(
    {Region.WT: "whole tumour", Region.TC: "tumour core", Region.ET: "enhancing tumour"}
)

REGION_LABELS: Mapping[Region, tuple[Label, ...]] = MappingProxyType(
    {
        Region.WT: (Label.NCR, Label.ED, Label.ET),
        Region.TC: (Label.NCR, Label.ET),
        Region.ET: (Label.ET,),
    }
)

BEST_SEEN_ON: Mapping[Region, str] = MappingProxyType({Region.WT: "t2f", Region.TC: "t1c", Region.ET: "t1c"})
"""Modality that shows the edge of a region best."""

REGIONS_CLASS_ORDER: tuple[Label, ...] = (Label.ED, Label.NCR, Label.ET)
"""The label that each region, in the order WT, TC, ET, writes over the ones before it (as nnU-Net does)."""

LABEL_COLOURS: Mapping[Label, tuple[float, float, float, float]] = MappingProxyType(
    {
        Label.NCR: (0.89, 0.25, 0.20, 1.0),
        Label.ED: (0.30, 0.78, 0.35, 1.0),
        Label.ET: (0.98, 0.83, 0.20, 1.0),
    }
)
"""RGBA in 0..1 as BraTS papers print them: necrosis red, oedema green, enhancing tumour yellow."""

REGION_COLOURS: Mapping[Region, tuple[float, float, float, float]] = MappingProxyType(
    {
        Region.WT: (0.10, 0.80, 0.58, 1.0),
        Region.TC: (0.96, 0.47, 0.10, 1.0),
        Region.ET: (0.99, 0.90, 0.20, 1.0),
    }
)
"""RGBA of the outlines of regions: near the colours of the tissue at their rim, and told apart from each other and from
every map by the colour-blind too."""


REFERENCE_COLOUR = (1.0, 1.0, 1.0, 1.0)
"""RGBA of the outlines of the reference, which are dashed."""


class Coding(StrEnum):
    """How a reference file numbers its labels; see :data:`CODINGS`."""

    BRATS2021 = "brats2021"
    BRATS2023 = "brats2023"
    BRATS2024 = "brats2024"
    DECATHLON = "decathlon"


CODINGS: Mapping[Coding, Mapping[int, int]] = MappingProxyType(
    {
        Coding.BRATS2021: MappingProxyType({1: Label.NCR, 2: Label.ED, 4: Label.ET}),
        Coding.BRATS2023: MappingProxyType({1: Label.NCR, 2: Label.ED, 3: Label.ET}),
        # 4 is the resection cavity, which belongs to none of WT, TC and ET.
        Coding.BRATS2024: MappingProxyType({1: Label.NCR, 2: Label.ED, 3: Label.ET, 4: 0}),
        # The Decathlon's brain tumour task and nnU-Net's BraTS conversions number oedema first.
        Coding.DECATHLON: MappingProxyType({1: Label.ED, 2: Label.NCR, 3: Label.ET}),
    }
)
"""Value in the file -> value of :class:`Label` (0 for what belongs to no region)."""


def region_masks(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Nested region masks of a label map.

    Parameters
    ----------
    labels : ndarray of int, shape (x, y, z)
        Values of :class:`Label`, 0 elsewhere.

    Returns
    -------
    ndarray of bool, shape (3, x, y, z)
        WT, TC, ET.
    """
    ncr, ed, et = (labels == label for label in Label)
    core = ncr | et
    return np.stack([core | ed, core, et])


def labels_from_regions(probabilities: npt.NDArray[np.floating], threshold: float = 0.5) -> npt.NDArray[np.uint8]:
    """Label map of region probabilities, written sequentially by ``regions_class_order`` as nnU-Net does.

    Parameters
    ----------
    probabilities : ndarray of float, shape (3, x, y, z)
        WT, TC, ET in 0..1.
    threshold : float
        A region holds the voxels strictly above it.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        Values of :class:`Label`, 0 elsewhere.
    """
    labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    for probability, label in zip(probabilities, REGIONS_CLASS_ORDER, strict=True):
        labels[probability > threshold] = label
    return labels
