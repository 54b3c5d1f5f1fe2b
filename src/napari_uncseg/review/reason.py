"""Why a finding is worth a look, in words."""

from __future__ import annotations

from dataclasses import dataclass

from napari_uncseg.labels import LABEL_TITLES, Label, Region

_CROSSING = 0.1
"""Share of a finding that has to lie on either side of the contour for it to lie on the edge."""

_JUST_MM = 2.0
"""What comes so close to the contour lies just outside."""


@dataclass(frozen=True)
class Circumstances:
    """Where a finding lies and how it looks.

    Parameters
    ----------
    region : Region
        What its map speaks of.
    measure : str
        What the map measures.
    predicted : bool
        Whether the region was predicted anywhere.
    inside : float
        Share of its voxels in the predicted region, 0..1.
    distance_mm : float
        Between the predicted contour and the voxel closest to it.
    far : bool
        Whether that is more than can be measured, and outside.
    thickness_mm : float
    thick : bool
        Whether it is thicker than partial volume explains.
    tissue : Label, optional
        What most of it was predicted as; None for no tumour.
    """

    region: Region
    measure: str
    predicted: bool
    inside: float
    distance_mm: float
    far: bool
    thickness_mm: float
    thick: bool
    tissue: Label | None


def reason(given: Circumstances) -> str:
    """Say in a few words what a finding is and where, such as ``thick doubt (8 mm) at the edge of ET``."""
    noun = "error" if given.measure == "error" else "doubt"
    what = f"thick {noun} ({given.thickness_mm:.0f} mm)" if given.thick else f"thin {noun}"
    where = place(given)
    if where.startswith("edge"):
        return f"{what} at the {where}"
    if where.startswith("inside") and given.tissue is not None:
        return f"{what} {where}, predicted as {LABEL_TITLES[given.tissue]}"
    return f"{what} {where}"


def place(given: Circumstances) -> str:
    """Say where a finding lies: ``edge of ET``, ``inside ET``, ``far from ET`` ..."""
    region = given.region
    if not given.predicted:
        return f"though no {region} was predicted"
    if given.far:
        return f"far from {'the tumour' if region is Region.WT else region}"
    if _CROSSING < given.inside < 1 - _CROSSING:
        return f"edge of {region}"
    if given.inside >= 0.5:
        return f"inside {region}"
    if given.distance_mm < _JUST_MM:
        return f"just outside {region}"
    return f"{given.distance_mm:.0f} mm outside {region}"
