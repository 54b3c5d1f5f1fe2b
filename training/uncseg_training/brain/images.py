"""Images of heads in any contrast, as SynthStrip was trained on (Hoopes et al., *NeuroImage* 2022).

Every step of a training sees a head that is turned, resized and bent, cut to another field of view, with intensities,
faults and tumours of its own. Half of the images have contrasts of no sequence at all, the others those of T1, T1 with
contrast agent, FLAIR and T2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.brain.heads import EXTRA, SPACING, STEP_MM, Head
from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.appearance import BASE_CONTRAST
from uncseg_training.phantom.fields import Rng, blur, slabs
from uncseg_training.phantom.placement import Grid, nearest, rotation, warp

FIRST_EXTRA = len(Tissue) + 1
TUMOUR = FIRST_EXTRA + len(EXTRA)
"""Labels of necrosis, oedema, enhancing tumour, cavity, and of a lump without any structure."""
LABELS = TUMOUR + 5

# T1c, T1n, FLAIR, T2: air, arteries, eyes, soft tissue, lenses, mucosa, skin, cord, veins, bone, marrow, optic nerve.
OUTSIDE = torch.tensor(
    [
        [0.02, 0.75, 0.20, 0.50, 0.40, 0.85, 0.80, 0.55, 0.90, 0.08, 0.75, 0.50],
        [0.02, 0.20, 0.20, 0.50, 0.40, 0.50, 0.80, 0.60, 0.30, 0.08, 0.75, 0.50],
        [0.02, 0.10, 0.20, 0.40, 0.30, 0.70, 0.55, 0.50, 0.30, 0.08, 0.45, 0.50],
        [0.02, 0.05, 0.90, 0.30, 0.30, 0.85, 0.60, 0.40, 0.30, 0.06, 0.45, 0.40],
    ]
)
# Necrosis, oedema, enhancing tumour, cavity, lump.
_LESION = torch.tensor(
    [
        [0.25, 0.40, 0.95, 0.15, 0.80],
        [0.25, 0.40, 0.40, 0.15, 0.40],
        [0.60, 0.85, 0.70, 0.20, 0.80],
        [0.85, 0.75, 0.65, 0.95, 0.60],
    ]
)


@dataclass(frozen=True)
class Sample:
    """What a network is trained on.

    Parameters
    ----------
    image : Tensor of float32, shape (x, y, z)
        0 to 1.
    distance : Tensor of float32, shape (x / 2, y / 2, z / 2)
        Millimetres to the brain's surface in blocks of eight voxels, negative within.
    tumour : Tensor of bool, shape (x, y, z)
        Where a tumour is.
    """

    image: Tensor
    distance: Tensor
    tumour: Tensor


def draw(head: Head, shape: tuple[int, int, int], seed: int) -> Sample:
    """A head somewhere in a field of view, in some contrast.

    Parameters
    ----------
    head : Head
    shape : tuple of int
        Even numbers of voxels of :data:`~uncseg_training.brain.heads.SPACING` mm.
    seed : int
        The same seed gives the same sample.
    """
    rng = Rng(seed)
    places = _places(head, Grid(shape, SPACING), rng)
    labels, tumour, distance = _look_up(head, places, rng)
    near = F.interpolate(distance[None, None], scale_factor=2, mode="trilinear")[0, 0]
    row, known = rng.index(4, (0.4, 0.2, 0.2, 0.2)), rng.chance(0.5)
    means = _means(row, known, rng)
    spreads = means.new_tensor([rng.uniform(0.0, 0.12 if known else 0.2) for _ in range(LABELS)])
    spreads[FIRST_EXTRA] *= float(not known)
    texture = rng.smooth(shape, rng.log_uniform(1.2, 8.0))[0]
    if rng.chance(0.5):
        texture = 0.6 * texture + 0.8 * rng.smooth(shape, rng.uniform(1.0, 2.0))[0]
    image = 0.5 * (means[labels[0]] + means[labels[1]]) + spreads[labels[0]] * texture
    if rng.chance(0.25):
        _lump(image, near, means, rng)
    _shells(image, near, rng)
    image = _scanned(image[None], rng)[0]
    image = _cut(image, near, labels[0] == FIRST_EXTRA, rng)
    return Sample(scaled(image), distance, tumour)


def scaled(image: Tensor) -> Tensor:
    """An image from 0 to 1, as the network is fed with it (its runner in the plugin has the same)."""
    some = image.flatten()[::7]
    low, high = torch.quantile(some, torch.tensor([0.01, 0.995])).tolist()
    between: Tensor = (image - low) / max(high - low, 1e-6)
    return between.clamp(0, 1)


def _places(head: Head, grid: Grid, rng: Rng) -> Tensor:
    """Where voxels of the grid lie in the head, in voxels of 1 mm, shape (3, x, y, z)."""
    turn = rotation([rng.uniform(-0.45, 0.45), rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)])
    size = rng.uniform(0.85, 1.15)
    scales = torch.tensor([1 / (size * rng.uniform(0.93, 1.07)) for _ in range(3)])
    side = torch.tensor([-1.0 if rng.chance(0.5) else 1.0, 1.0, 1.0])
    # Most scans show more of the neck than of the air above.
    offset = torch.tensor([rng.uniform(-12, 12), rng.uniform(-12, 12), rng.uniform(-12, 25)])
    bend = rng.uniform(0, 3.5) * rng.smooth(grid.shape, rng.uniform(12, 30), 3)
    places = grid.positions("cpu").add_(bend).sub_(offset[:, None, None, None])
    matrix, middle = side[:, None] * turn * scales, torch.tensor(head.middle)
    return torch.addmm(middle[:, None], matrix, places.view(3, -1)).view_as(places)


def _look_up(head: Head, places: Tensor, rng: Rng) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """Labels at two points of each voxel, the tumour, and the distance in blocks of eight voxels."""
    labels = torch.from_numpy(head.labels)
    shift = torch.tensor([rng.uniform(0.3, 0.7) * (-1) ** rng.index(2) for _ in range(3)])[:, None, None, None]
    # What lies beyond the label map counts as air.
    one, two = (nearest(labels - FIRST_EXTRA, places + way * shift) + FIRST_EXTRA for way in (1, -1))
    one, two = one.to(torch.uint8).int(), two.to(torch.uint8).int()
    coarse = (places - 0.5) / SPACING
    tumour = torch.zeros(one.shape, dtype=torch.bool)
    if len(head.tumours) and rng.chance(0.6):
        grown = nearest(torch.from_numpy(head.tumours[rng.index(len(head.tumours))]), coarse).int()
        tumour = (grown > 0) & (grown < 4)
        one, two = (torch.where(grown > 0, TUMOUR - 1 + grown, each) for each in (one, two))
    blocks = F.avg_pool3d(coarse[:, None], 2)[:, 0]
    return (one, two), tumour, distance_at(head, blocks)


def distance_at(head: Head, places: Tensor) -> Tensor:
    """Millimetres to the brain's surface at places (3, x, y, z) in voxels of 2 mm; far outside beyond the map."""
    steps = torch.from_numpy(head.distance).float()[None]
    inside = [(places[axis] > 0) & (places[axis] < size - 1) for axis, size in enumerate(steps.shape[1:])]
    return torch.where(inside[0] & inside[1] & inside[2], warp(steps, places)[0], 127.0) * STEP_MM


def _means(row: int, known: bool, rng: Rng) -> Tensor:
    """Intensity of each label, about 0 to 1."""
    if known:
        brain = (BASE_CONTRAST[row, 1:] + 4.0) / 8.0
        means = torch.cat([torch.zeros(1), brain, OUTSIDE[row], _LESION[row]])
        jitter = rng.uniform(0.3, 1.6)
        means = means + jitter * torch.tensor([rng.normal(0.08) for _ in range(LABELS)])
        outer = rng.uniform(0.6, 1.5)
        means[FIRST_EXTRA:TUMOUR] *= outer
        means[FIRST_EXTRA] = rng.uniform(0, 0.05)
    else:
        means = torch.tensor([rng.uniform(0, 1) for _ in range(LABELS)])
        if rng.chance(0.9):
            means[FIRST_EXTRA] = rng.uniform(0, 0.1)
        if rng.chance(0.3):  # the folds of a brain are hard to see in some sequences
            middle = rng.uniform(0.2, 0.9)
            means[1:FIRST_EXTRA] = middle + rng.uniform(0.05, 0.3) * (means[1:FIRST_EXTRA] - 0.5)
    return means.clamp(min=0.0)


def _lump(image: Tensor, near: Tensor, means: Tensor, rng: Rng) -> None:
    """A lump of any shape within the brain, at its surface or not."""
    field = rng.smooth(image.shape, rng.uniform(8, 16))[0]
    where = (field > rng.uniform(1.3, 2.2)) & (near < rng.uniform(-1.0, 1.0))
    image[where] = rng.uniform(0.2, 1.0) * image[where] + means[LABELS - 1] * rng.uniform(0.3, 1.0)


def _shells(image: Tensor, near: Tensor, rng: Rng) -> None:
    """Dura, vessels or a rim of fluid outside of the brain, as bright as they like, and soft tissue of two kinds."""
    if rng.chance(0.4):
        start = rng.uniform(0.0, 4.0)
        shell = (near > start) & (near < start + rng.uniform(1.5, 4.0))
        if rng.chance(0.5):
            shell &= rng.smooth(image.shape, 12)[0] > rng.uniform(-1, 1)
        image[shell] = rng.uniform(0.0, 1.0)
    if rng.chance(0.6):
        field = torch.sigmoid(rng.uniform(2, 8) * rng.smooth(image.shape, rng.uniform(4, 12))[0])
        image.mul_(torch.where(near > 6.0, 1 + rng.uniform(-0.8, 0.8) * field, torch.ones(())))


def _scanned(volume: Tensor, rng: Rng) -> Tensor:
    """The faults of a scan, stronger than those of :mod:`uncseg_training.phantom.scanner`."""
    shape = volume.shape[1:]
    volume = blur(volume, [rng.uniform(0.2, 1.0) for _ in range(3)])
    if rng.chance(0.4):
        volume = slabs(volume, rng.index(3, (0.25, 0.25, 0.5)), rng.uniform(1.2, 3.5))
    if rng.chance(0.7):
        volume = volume * torch.exp(rng.uniform(0.0, 0.45) * rng.smooth(shape, max(shape) / rng.uniform(1.2, 3.0)))
    if rng.chance(0.7):
        top = volume.amax().clamp(min=1e-3)
        volume = top * (volume.clamp(min=0) / top) ** rng.log_uniform(0.6, 1.6)
    noise = rng.noise(shape, 2) * rng.log_uniform(0.003, 0.1)
    volume = torch.hypot(volume + noise[:1], noise[1:])
    if rng.chance(0.05):
        axis = rng.index(3)
        volume = volume + rng.uniform(0.02, 0.15) * volume.roll(int(rng.uniform(0.1, 0.4) * shape[axis]), axis + 1)
    return volume


def _cut(image: Tensor, near: Tensor, air: Tensor, rng: Rng) -> Tensor:
    """Fields of view that end early, and parts that somebody took off."""
    for axis, end, chance, most in ((2, 0, 0.5, 0.28), (2, -1, 0.1, 0.08), (1, -1, 0.15, 0.15), (0, 0, 0.1, 0.1)):
        if rng.chance(chance):
            count = int(rng.uniform(0, most) * image.shape[axis])
            image.narrow(axis, 0 if end == 0 else image.shape[axis] - count, count).zero_()
    if rng.chance(0.1):  # values of the air that were set to 0
        image[air] = 0
    if rng.chance(0.04):  # a skull that was taken off already
        image[near > rng.uniform(0.0, 6.0)] = 0
    return image
