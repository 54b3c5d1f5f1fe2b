"""Findings: the places to check that a threshold cuts out of a map, ranked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_uncseg.arrays import Floats64, Ints32, Labels, Mask, Places
from napari_uncseg.labels import Label, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.morphology import bounding_box, box_within, distance_within, open_ball
from napari_uncseg.review.location import MARGINS, tissue_words
from napari_uncseg.review.watershed import NEAR_MM, PARTIAL_VOLUME_VOXELS, Box, Watershed

LEAST_ML = 0.05
"""Components smaller than this join the neighbour they touch most; without one they are no findings."""

THICKNESS_LIMIT_MM = 10.0
"""Half of the largest thickness that is measured."""

EXPECTED_ERRORS = "expected error volume"
WEIGHTED_VOLUME = "volume weighted by the map"


@dataclass(frozen=True)
class Finding:
    """A place to check.

    Parameters
    ----------
    rank : int
        1 for the first to look at.
    map : MapName
        The map it was cut out of.
    region : Region
        What the map speaks of.
    volume_ml : float
        Its volume, mL.
    score : float
        What it is ranked by, mL; see :attr:`Findings.ranked_by`.
    peak : float
        Largest value in it, in the map's unit.
    thickness_mm : float
        Diameter of the largest ball of flagged voxels whose centre lies in it; larger ones than twice
        :data:`THICKNESS_LIMIT_MM` are cut to it.
    voxel : tuple of int
        Where to look: its largest value, the deepest one of several; in the file's voxel order.
    slice : int
        Axial slice of that voxel, counted from below, the lowest being 1.
    place : str
        Where it lies, in words.
    reason : str
        Why it is worth a look, in words.
    """

    rank: int
    map: MapName
    region: Region
    volume_ml: float
    score: float
    peak: float
    thickness_mm: float
    voxel: tuple[int, int, int]
    slice: int
    place: str
    reason: str


@dataclass(frozen=True, eq=False)
class Findings:
    """What a threshold cuts out of a map.

    Parameters
    ----------
    map : MapName
    threshold : float
        Voxels at or above it are flagged; in the map's unit.
    items : tuple of Finding
        By rank.
    box : tuple of slice
        Where `labels` lies in the volume.
    labels : ndarray of int32, shape of the box
        Rank of the finding a voxel belongs to, 0 for none.
    flagged_ml : float
        Volume of the flagged voxels: ring, small components and findings together.
    ring_ml : float
        Volume of the thin ring along the predicted contour, which partial volume explains.
    small_ml : float
        Volume of components too small to be a finding.
    """

    map: MapName
    threshold: float
    items: tuple[Finding, ...]
    box: Box
    labels: Ints32
    flagged_ml: float
    ring_ml: float
    small_ml: float

    @property
    def ranked_by(self) -> str:
        """What the score is: :data:`EXPECTED_ERRORS` of a probability of error, else :data:`WEIGHTED_VOLUME`."""
        return EXPECTED_ERRORS if self.map.is_probability_of_error else WEIGHTED_VOLUME

    def at(self, voxel: tuple[int, int, int]) -> Finding | None:
        """Finding that a voxel belongs to."""
        inner = tuple(index - part.start for index, part in zip(voxel, self.box, strict=True))
        if any(not 0 <= index < size for index, size in zip(inner, self.labels.shape, strict=True)):
            return None
        rank = int(self.labels[inner])
        return self.items[rank - 1] if rank else None

    def mask(self, finding: Finding) -> tuple[Box, Mask]:
        """Box of a finding in the volume, and its voxels in that box."""
        here = bounding_box(self.labels == finding.rank)
        assert here is not None  # a finding has voxels
        return box_within(self.box, here), np.asarray(self.labels[here] == finding.rank)


def find(watershed: Watershed, threshold: float, within: Mask | None = None) -> Findings:
    """Cut a map at a threshold and rank what is flagged as places to check.

    Parameters
    ----------
    watershed : Watershed
        The map.
    threshold : float
        In the map's unit; raised to :attr:`Watershed.floor` if it is lower.
    within : ndarray of bool, shape (x, y, z), optional
        Voxels that count; the whole volume when left out.

    Returns
    -------
    Findings

    Notes
    -----
    The uncertain voxels round a tumour are one closed shell. Of it, the **ring** is what a mixture of tissues within
    voxels explains: flagged voxels that lie within two voxels of the predicted contour and in no ball of flagged voxels
    of a radius of two voxels (so that the shell is at most four voxels thick there). The rest is split where the basins
    of the map's peaks meet. Pieces of less than :data:`LEAST_ML` join the neighbour they touch most. Ring, small
    components and findings are disjoint and together are the flagged voxels.

    A score is the sum of the map over the finding times the volume of a voxel. Where the map is a probability of error
    that is the volume of errors to expect, as far as the map is calibrated; any other map enters as a fraction of its
    upper bound.
    """
    threshold = max(float(threshold), watershed.floor)
    flagged = watershed.values >= np.float32(threshold)
    if within is not None:
        flagged &= within[watershed.box]
    inner = bounding_box(flagged)
    total = int(np.count_nonzero(flagged)) * watershed.prediction.voxel_ml
    if inner is None:
        return Findings(watershed.key, threshold, (), (slice(0, 0),) * 3, np.zeros((0, 0, 0), np.int32), 0.0, 0.0, 0.0)
    flagged = flagged[inner]
    ring = flagged & ~open_ball(flagged, PARTIAL_VOLUME_VOXELS) & watershed.near[inner]
    pieces = _merge_small(
        _pieces(flagged & ~ring, watershed.basins[inner]), round(LEAST_ML / watershed.prediction.voxel_ml)
    )
    box = box_within(watershed.box, inner)
    items, labels = _rank(watershed, flagged, pieces, inner, box)
    ring_ml = int(np.count_nonzero(ring)) * watershed.prediction.voxel_ml
    small_ml = max(total - ring_ml - sum(item.volume_ml for item in items), 0.0)
    return Findings(watershed.key, threshold, items, box, labels, total, ring_ml, small_ml)


def _pieces(thick: Mask, basins: Ints32) -> Ints32:
    """Connected parts of a mask that lie in one basin, numbered from 1."""
    from skimage.measure import label  # half a second to import

    return np.asarray(label(np.where(thick, basins + 1, 0), background=0, connectivity=3), dtype=np.int32)


def _merge_small(pieces: Ints32, least: int) -> Ints32:
    """Let pieces of fewer voxels than `least` join the neighbour they share most faces with; drop those still small."""
    count = int(pieces.max(initial=0))
    if count == 0:
        return pieces
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    small = sizes < least
    first, second = _contacts(pieces)
    keep = small[first]
    pairs, faces = np.unique(first[keep].astype(np.int64) * (count + 1) + second[keep], return_counts=True)
    one, other = np.divmod(pairs, count + 1)
    # Of each small piece the neighbour with most faces: the last one when sorted by piece, then faces.
    order = np.lexsort((faces, one))
    one, other = one[order], other[order]
    last = np.flatnonzero(np.diff(one, append=-1))
    links = coo_array((np.ones(last.size), (one[last], other[last])), shape=(count + 1, count + 1))
    # Every small piece has one link and the others none, so a group holds at most one piece that is not small.
    _, group = connected_components(links, directed=False)
    groups = np.bincount(group[1:], weights=sizes[1:], minlength=int(group.max()) + 1)
    number = np.cumsum(groups >= max(least, 1)) * (groups >= max(least, 1))
    renumbered = np.where(np.arange(count + 1) > 0, number[group], 0).astype(np.int32)
    return np.asarray(renumbered[pieces])


def _contacts(pieces: Ints32) -> tuple[Ints32, Ints32]:
    """Both sides of every face between voxels of two pieces, each face in both directions."""
    sides: list[tuple[Ints32, Ints32]] = []
    for axis in range(3):
        lower, upper = (pieces[(*(slice(None),) * axis, part)] for part in (slice(None, -1), slice(1, None)))
        touching = (lower != upper) & (lower > 0) & (upper > 0)
        sides.append((lower[touching], upper[touching]))
    one, other = (np.concatenate(side) for side in zip(*sides, strict=True))
    return np.concatenate([one, other]), np.concatenate([other, one])


def _rank(
    watershed: Watershed, flagged: Mask, pieces: Ints32, inner: tuple[slice, ...], box: Box
) -> tuple[tuple[Finding, ...], Ints32]:
    """Measure the pieces and number them by their score."""
    count = int(pieces.max(initial=0))
    if count == 0:
        return (), pieces
    # All voxels of all pieces, piece by piece: every measure is then a reduction of a run.
    at = np.flatnonzero(pieces)
    piece = pieces.ravel()[at]
    depth = distance_within(flagged, watershed.prediction.spacing, THICKNESS_LIMIT_MM).ravel()[at]
    values = watershed.values[inner].ravel()[at]
    # Numbers of 16 bits are sorted by their digits, in a fraction of the time.
    order = np.argsort(piece.astype(np.uint16) if count < 2**16 else piece, kind="stable")
    at, piece, depth, values = at[order], piece[order], depth[order], values[order]
    numbers = np.arange(1, count + 1)
    starts = np.searchsorted(piece, numbers)
    peaks = np.maximum.reduceat(values, starts)
    highest = np.flatnonzero(values == peaks[piece - 1])
    highest = highest[np.lexsort((-depth[highest], piece[highest]))]
    tops = at[highest[np.searchsorted(piece[highest], numbers)]]
    sizes = np.diff(starts, append=piece.size)
    upper = 1.0 if watershed.key.is_probability_of_error else watershed.upper
    scores = np.add.reduceat(values.astype(np.float64), starts) / upper * watershed.prediction.voxel_ml
    edge = watershed.edge_mm[inner].ravel()[at]
    inside = np.add.reduceat((edge < 0).astype(np.int64), starts) / sizes
    closest = np.minimum.reduceat(np.abs(edge), starts)
    tissues = _tissues(watershed.prediction.segmentation[box].ravel()[at], piece, count)
    centroids = _centroids(at, pieces.shape, starts, sizes) + [part.start for part in box]
    thickness = np.maximum(
        2 * np.maximum.reduceat(depth, starts) - min(watershed.prediction.spacing), min(watershed.prediction.spacing)
    )
    voxels = np.stack(np.unravel_index(tops, pieces.shape), axis=1) + [part.start for part in box]
    key = watershed.key
    kind = "misclassified region" if key.measure == "error" else "uncertain region"
    measures = (sizes * watershed.prediction.voxel_ml, scores, peaks, thickness)
    items: list[Finding] = []
    rank_of = np.zeros(count + 1, dtype=np.int32)
    for rank, index in enumerate(np.lexsort((tops, -scores)), start=1):
        rank_of[index + 1] = rank
        x, y, z = (int(at) for at in voxels[index])
        volume_ml, score, peak, thick = (float(measure[index]) for measure in measures)
        tissue, link = f"no {key.region} predicted", ", "
        if watershed.predicted:
            far = bool(closest[index] >= NEAR_MM and inside[index] == 0)
            shares = dict(zip(Label, tissues[index].tolist(), strict=True))
            tissue = tissue_words(key.region, float(inside[index]), float(closest[index]), shares, far=far)
            link = " at the " if tissue in MARGINS.values() else " "
        place = f"{tissue}, {watershed.frame.words(centroids[index])}"
        wide = thick > 2 * PARTIAL_VOLUME_VOXELS * min(watershed.prediction.spacing)
        reason = (f"wide {kind} ({thick:.0f} mm)" if wide else f"narrow {kind}") + link + place
        at_slice = watershed.slice_number((x, y, z))
        told = (volume_ml, score, peak, thick, (x, y, z), at_slice, place, reason)
        items.append(Finding(rank, key, key.region, *told))
    return tuple(items), np.asarray(rank_of[pieces])


def _tissues(labels: Labels, piece: Ints32, count: int) -> Floats64:
    """Share of the voxels of each piece that were predicted as each label; shape (count, labels)."""
    kinds = max(Label) + 1
    counts = np.bincount(piece.astype(np.int64) * kinds + labels, minlength=(count + 1) * kinds)
    table = counts.reshape(-1, kinds)[1:]
    shares: Floats64 = table[:, [int(label) for label in Label]] / table.sum(axis=1, keepdims=True)
    return shares


def _centroids(at: Places, shape: tuple[int, ...], starts: Places, sizes: Places) -> Floats64:
    """Mean index of each piece along the axes; shape (count, 3)."""
    sums = [np.add.reduceat(index.astype(np.float64), starts) for index in np.unravel_index(at, shape)]
    return np.stack(sums, axis=1) / sizes[:, None]
