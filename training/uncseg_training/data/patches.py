"""What a training step is fed with: patches of endless phantoms or of a cohort, as a function of the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms
from uncseg_training.train.config import Config

if TYPE_CHECKING:
    # Endless phantoms need neither NIfTI files nor maps on disk, and no library for them.
    from uncseg_training.data.augmentation import Augmentation
    from uncseg_training.data.case_maps import Box
    from uncseg_training.data.cases import Cases, TrainingCase

REACH = 1.35
"""How much wider than a patch is cut out before it is turned and resized."""


class Place(NamedTuple):
    """Where a training patch comes from.

    Parameters
    ----------
    case : str
        Name of the case.
    box : Box
        What was cut out of it.
    sample : int, optional
        Number of the sample whose seed turned and bent it; None where it lies as it is.
    """

    case: str
    box: Box
    sample: int | None = None


@dataclass
class Sample:
    """One training example, or a batch of them with one axis more.

    Parameters
    ----------
    images : Tensor of float32, shape (4 or 7, x, y, z)
        z-scores, and the probabilities of a previous stage where there is one.
    regions : Tensor of bool, shape (3, x, y, z)
        WT, TC, ET of the reference.
    patches : tuple of Place or None
        Of a fixed cohort, one for each sample of a batch; None, or nothing at all, for phantoms that never come back.
    """

    images: Tensor
    regions: Tensor
    patches: tuple[Place | None, ...] = ()


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
    phantoms : Cases, optional
        Phantoms to draw from in the place of endless ones.
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
        phantoms: Cases | None = None,
    ) -> None:
        self.anatomies, self.config, self.seed = anatomies, config, seed
        self.device, self.per_step = device, per_step
        self.cases, self.names, self.phantoms = cases, tuple(names), phantoms
        self._phantoms: Phantoms | None = None
        self._augmentation: dict[tuple[int, ...], Augmentation] = {}

    def __getitem__(self, index: int) -> Sample:
        """Make that phantom, or read that case, and cut the patch."""
        random = np.random.default_rng((self.seed, index))
        if self.cases is not None and (self.config.share >= 1 or random.random() < self.config.share):
            return self._of_case(self.cases, self.names, index, random)
        if self.phantoms is not None:
            return self._of_case(self.phantoms, self.phantoms.names, index, random)
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
                prior=config.appearance_prior,
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

    def _of_case(self, cases: Cases, names: Sequence[str], index: int, random: np.random.Generator) -> Sample:
        """Every case once in each round, in an order of the round's own."""
        turn, place = divmod(index, len(names))
        name = names[np.random.default_rng((self.seed, turn)).permutation(len(names))[place]]
        case = cases.load(name)
        strong = self.config.augment and self.config.augmentation == "strong"
        cuts = self._cuts(index)
        size = self.config.patch if cuts else self.config.volume
        window = (slice(None), *(slice(0, extent) for extent in case.labels.shape))
        if cuts:
            # Turned and resized, a patch reaches further than its own sides.
            wider = [min(round(REACH * side), extent) for side, extent in zip(size, self.config.volume, strict=True)]
            window = self._window_of_case(case, random, wider if strong else size)
        sample = sample_of(case, window)
        box = [(part.start, part.stop) for part in window[1:]]
        images, regions = sample.images, sample.regions
        if strong:
            images, regions = self._augmented(sample, size, (self.seed, index))
        elif self.config.augment:
            images[:4] = augment(images[:4], random)
        if cases.previous_stage and random.random() < self.config.without_previous:
            images[4:] = 0
        return Sample(images, regions, (Place(name, box, index if strong else None),))

    def _augmented(self, sample: Sample, size: tuple[int, int, int], seed: tuple[int, int]) -> tuple[Tensor, Tensor]:
        targets = torch.cat([sample.images[4:], sample.regions.float()])
        images, targets = self._augmentation_of(size)(sample.images[:4], targets, seed)
        return torch.cat([images, targets[:-3]]), targets[-3:] > 0.5

    def bent(self, targets: Tensor, place: Place) -> Tensor:
        """Maps ``(channels, x, y, z)`` of the box of a sample, turned and bent as the sample was."""
        if place.sample is None:
            return targets
        size = self.config.patch if self._cuts(place.sample) else self.config.volume
        return self._augmentation_of(size).bent(targets, (self.seed, place.sample))

    def _augmentation_of(self, size: tuple[int, int, int]) -> Augmentation:
        from uncseg_training.data.augmentation import Augmentation

        if size not in self._augmentation:
            # A whole volume stays upright; round a tumour nothing says which way is up.
            self._augmentation[size] = Augmentation(size, (0,) if size == self.config.volume else (0, 1, 2))
        return self._augmentation[size]

    def _cuts(self, index: int) -> bool:
        return index // self.per_step < self.config.whole_from * self.config.steps

    def _window_of_case(
        self, case: TrainingCase, random: np.random.Generator, sizes: Sequence[int]
    ) -> tuple[slice, ...]:
        """Round the tumour, anywhere in the brain now and then; a second stage looks at tumours alone."""
        labels = torch.from_numpy(case.labels)
        if case.previous is None:
            brain = torch.from_numpy(case.images).abs().sum(0) > 0
            return self._window(labels > 0, brain, random, sizes)
        # In a region, or where the previous stage saw tumour: each in turn, so that a small core is seen as often.
        previous = torch.from_numpy(case.previous[0]) > 127
        places = [labels > 0, (labels == 1) | (labels == 3), labels == 3, previous]
        present = [place for place in places if place.any()] or [torch.from_numpy(case.images[0]) != 0]
        chosen = present[int(random.integers(len(present)))]
        return self._window(chosen, chosen, random, sizes)

    def _window(
        self, tumour: Tensor, brain: Tensor, random: np.random.Generator, sizes: Sequence[int] = ()
    ) -> tuple[slice, ...]:
        places = (tumour if tumour.any() and random.random() < 0.67 else brain).nonzero()
        centre = places[int(random.integers(len(places)))].tolist()
        window = [slice(None)]
        for middle, size, total in zip(centre, sizes or self.config.patch, self.config.volume, strict=True):
            start = middle - size // 2 + int(random.integers(-size // 4, size // 4 + 1))
            start = min(max(start, 0), total - size)
            window.append(slice(start, start + size))
        return tuple(window)


def whole_case(cases: Cases, name: str) -> Sample:
    """A case of a cohort, whole and as it is."""
    return sample_of(cases.load(name), (slice(None),) * 4)


def sample_of(case: TrainingCase, window: tuple[slice, ...]) -> Sample:
    """What a network sees of a case in a window ``(channels, x, y, z)``, and what it is to say."""
    images = torch.from_numpy(case.images[window].astype(np.float32))
    labels = torch.from_numpy(np.ascontiguousarray(case.labels[window[1:]]))
    if case.previous is not None:
        images = torch.cat([images, torch.from_numpy(case.previous[window].astype(np.float32) / np.float32(255))])
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
        tuple(place for sample in samples for place in sample.patches or (None,)),
    )
