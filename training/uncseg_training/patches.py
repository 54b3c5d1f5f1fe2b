"""What a training step is fed with: patches of endless phantoms or of a cohort, as a function of the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from uncseg_training.config import Config
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms

if TYPE_CHECKING:
    # Endless phantoms need neither NIfTI files nor maps on disk, and no library for them.
    from uncseg_training.case_maps import Box
    from uncseg_training.cases import Cases


@dataclass
class Sample:
    """One training example, or a batch of them with one axis more.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        z-scores.
    regions : Tensor of bool, shape (3, x, y, z)
        WT, TC, ET of the reference.
    patches : tuple of (str, Box)
        Case and place of each patch of a fixed cohort; empty for phantoms that never come back.
    """

    images: Tensor
    regions: Tensor
    patches: tuple[tuple[str, Box], ...] = ()


class Patches(Dataset[Sample]):
    """Patch number ``index`` of a training: around the tumour two times in three, anywhere otherwise.

    Parameters
    ----------
    anatomies : Path
        File of :func:`uncseg_training.phantom.anatomy.save_anatomies`.
    config : Config
        Grid, patch, contrasts and when whole phantoms take the place of patches.
    seed : int
        Of the stream of phantoms.
    device : torch.device or str
        Where phantoms are made.
    per_step : int
        Patches of one step over all processes.
    cases : Cases, optional
        Fixed cohort that ``config.share`` of the patches come from.
    names : sequence of str
        Which of its cases.
    """

    def __init__(
        self,
        anatomies: Path,
        config: Config,
        seed: int,
        device: torch.device | str = "cpu",
        per_step: int = 1,
        cases: Cases | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.anatomies, self.config, self.seed = anatomies, config, seed
        self.device, self.per_step = device, per_step
        self.cases, self.names = cases, tuple(names)
        self._phantoms: Phantoms | None = None

    def __getitem__(self, index: int) -> Sample:
        """Make that phantom, or read that case, and cut the patch."""
        random = np.random.default_rng((self.seed, index))
        if self.cases is not None and (self.config.share >= 1 or random.random() < self.config.share):
            return self._of_case(self.cases, index, random)
        config = self.config
        if self._phantoms is None:
            # In the worker process, so that the maps are not copied.
            self._phantoms = Phantoms(
                load_anatomies(self.anatomies),
                config.volume,
                config.spacing,
                self.seed,
                config.wide,
                self.device,
                reuse=config.reuse,
                looks=config.looks,
            )
        phantom = self._phantoms[index]
        images, labels = phantom.normalised(), phantom.labels
        regions = torch.stack([labels > 0, (labels == 1) | (labels == 3), labels == 3])
        if self._cuts(index):
            window = self._window(labels > 0, phantom.brain, random)
            images, regions = images[window], regions[window]
        if config.augment:
            images = augment(images, random)
        return Sample(images.contiguous(), regions.contiguous())

    def _of_case(self, cases: Cases, index: int, random: np.random.Generator) -> Sample:
        """Every case once in each round, in an order of the round's own."""
        turn, place = divmod(index, len(self.names))
        name = self.names[np.random.default_rng((self.seed, turn)).permutation(len(self.names))[place]]
        sample = whole_case(cases, name)
        box = [(0, size) for size in sample.images.shape[1:]]
        if self._cuts(index):
            window = self._window(sample.regions[0], sample.images.abs().sum(0) > 0, random)
            box = [(part.start, part.stop) for part in window[1:]]
            sample = Sample(sample.images[window].contiguous(), sample.regions[window].contiguous())
        images = augment(sample.images, random) if self.config.augment else sample.images
        return Sample(images, sample.regions, ((name, box),))

    def _cuts(self, index: int) -> bool:
        return index // self.per_step < self.config.whole_from * self.config.steps

    def _window(self, tumour: Tensor, brain: Tensor, random: np.random.Generator) -> tuple[slice, ...]:
        places = (tumour if tumour.any() and random.random() < 0.67 else brain).nonzero()
        centre = places[int(random.integers(len(places)))].tolist()
        window = [slice(None)]
        for middle, size, total in zip(centre, self.config.patch, self.config.volume, strict=True):
            start = middle - size // 2 + int(random.integers(-size // 4, size // 4 + 1))
            start = min(max(start, 0), total - size)
            window.append(slice(start, start + size))
        return tuple(window)


def whole_case(cases: Cases, name: str) -> Sample:
    """A case of a cohort, whole and as it is."""
    case = cases.load(name)
    images, labels = torch.from_numpy(case.images).float(), torch.from_numpy(case.labels)
    return Sample(images, torch.stack([labels > 0, (labels == 1) | (labels == 3), labels == 3]))


def augment(images: Tensor, random: np.random.Generator) -> Tensor:
    """Shake z-scores, which depend on the brain mask they were taken in, and now and then lose a modality.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        z-scores, 0 outside of the brain.
    random : numpy.random.Generator
        Source of randomness.
    """
    scale = torch.from_numpy(random.uniform(0.85, 1.15, 4).astype(np.float32))
    offset = torch.from_numpy(random.uniform(-0.15, 0.15, 4).astype(np.float32))
    lost, which = random.random() < 0.05, int(random.integers(4))
    if lost:
        scale[which], offset[which] = 0.0, 0.0
    inside = images != 0
    scale, offset = scale.to(images.device), offset.to(images.device)
    return (images * scale[:, None, None, None] + offset[:, None, None, None]) * inside


class Indices(Sampler[int]):
    """The samples still to do, of one process among ``world``.

    Parameters
    ----------
    first, last : int
        Steps, the last one excluded.
    batch : int
        Samples per step and process.
    rank, world : int
        Which process of how many.
    """

    def __init__(self, first: int, last: int, batch: int = 1, rank: int = 0, world: int = 1) -> None:
        self.first, self.last, self.batch, self.rank, self.world = first, last, batch, rank, world

    def __iter__(self) -> Iterator[int]:
        """Sample numbers in the order of the steps; no two processes share one."""
        for step in range(self.first, self.last):
            start = (step * self.world + self.rank) * self.batch
            yield from range(start, start + self.batch)

    def __len__(self) -> int:
        """How many are left."""
        return (self.last - self.first) * self.batch


def stack(samples: list[Sample]) -> Sample:
    """A batch of samples."""
    return Sample(
        torch.stack([sample.images for sample in samples]),
        torch.stack([sample.regions for sample in samples]),
        tuple(patch for sample in samples for patch in sample.patches),
    )
