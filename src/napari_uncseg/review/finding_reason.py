"""Why a finding is worth a look, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from napari_uncseg.labels import Label, Region

_CROSSING = 0.1
"""Share of a finding that has to lie on either side of a border for it to lie on that border."""

_JUST_MM = 2.0
"""What comes so close to the contour lies just outside."""

_INSIDE = {Label.ED: "in oedema", Label.NCR: "in the necrotic core", Label.ET: "in enhancing tumour"}
_EDGES = {Region.WT: "WT edge", Region.TC: "TC border", Region.ET: "ET rim"}
"""Outer edge of the whole tumour, border between tumour core and oedema, both sides of the enhancing tumour."""


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
    tissues : mapping of Label to float
        Share of its voxels that were predicted as each, 0..1; the rest was predicted as no tumour.
    whereabouts : str
        Side and direction (:class:`~napari_uncseg.review.location.Frame`).
    """

    region: Region
    measure: str
    predicted: bool
    inside: float
    distance_mm: float
    far: bool
    thickness_mm: float
    thick: bool
    tissues: Mapping[Label, float]
    whereabouts: str


def reason(given: Circumstances) -> str:
    """Say in a few words what a finding is and where, such as ``thick doubt (8 mm) at the ET rim, left, anterior``."""
    noun = "error" if given.measure == "error" else "doubt"
    what = f"thick {noun} ({given.thickness_mm:.0f} mm)" if given.thick else f"thin {noun}"
    where = place(given)
    if where.startswith(tuple(_EDGES.values())):
        return f"{what} at the {where}"
    return f"{what} {where}" if given.predicted else f"{what}, {where}"


def place(given: Circumstances) -> str:
    """Say where a finding lies: ``WT edge, left, anterior-superior``, ``in oedema, right, medial`` ..."""
    return f"{_border(given)}, {given.whereabouts}"


def _border(given: Circumstances) -> str:
    """The border of the map's region that a finding lies on, else another one, else the tissue or the distance."""
    region, tissues = given.region, given.tissues
    if not given.predicted:
        return f"no {region} predicted"
    if given.far:
        return f"far from {region}"
    if _CROSSING < given.inside < 1 - _CROSSING:
        return _EDGES[region]
    if given.inside < 0.5:
        return (
            f"just outside {region}" if given.distance_mm < _JUST_MM else f"{given.distance_mm:.0f} mm outside {region}"
        )
    if _CROSSING < tissues.get(Label.ED, 0.0) < 1 - _CROSSING:
        return _EDGES[Region.TC]
    if min(tissues.get(Label.ET, 0.0), tissues.get(Label.NCR, 0.0)) > _CROSSING:
        return _EDGES[Region.ET]
    return _INSIDE[max(_INSIDE, key=lambda label: tissues.get(label, 0.0))]
