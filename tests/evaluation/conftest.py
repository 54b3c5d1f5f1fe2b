"""Small cases with everything a real one has: three regions, a soft and slightly wrong prediction, uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.labels import Label, labels_from_regions

SHAPE = (36, 32, 28)
SPACING = (1.0, 1.2, 1.5)


def make_case(seed: int = 0, *, shape: tuple[int, int, int] = SHAPE, case_id: str | None = None) -> Case:
    """A tumour of nested balls with a rough border, and a prediction that is unsure where it is often wrong."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")).astype(np.float64)
    middle = np.array([(size - 1) / 2 for size in shape])
    scaled = (grid - middle.reshape(3, 1, 1, 1)) * np.reshape(SPACING, (3, 1, 1, 1))
    brain = ((scaled / np.reshape([15.5, 16.5, 18.0], (3, 1, 1, 1))) ** 2).sum(0) < 1
    centre = generator.uniform(-3, 3, 3).reshape(3, 1, 1, 1)
    distance = np.sqrt(((scaled - centre) ** 2).sum(0))

    def rough(amount: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(generator.normal(size=shape), 2.0)
        return distance + amount * noise / noise.std()

    outside = rough(1.0)
    reference = np.zeros(shape, dtype=np.uint8)
    reference[outside < 9.5] = Label.ED
    reference[outside < 6.5] = Label.ET
    reference[outside < 3.8] = Label.NCR
    reference[~brain] = 0

    guessed = 0.5 * outside + 0.5 * rough(2.0)
    probabilities = np.stack([1 / (1 + np.exp((guessed - radius) / 0.6)) for radius in (9.7, 6.3, 6.3)])
    probabilities[2] /= 1 + np.exp((3.6 - guessed) / 0.6)
    probabilities = (probabilities * brain).astype(np.float32)
    entropy = -(probabilities[0] * np.log(np.maximum(probabilities[0], 1e-30)))
    entropy -= (1 - probabilities[0]) * np.log1p(-np.minimum(probabilities[0], 1 - 1e-7))
    noise = ndimage.gaussian_filter(generator.normal(size=shape), 1.0)
    learned = np.clip(0.8 * entropy / np.log(2) + 0.3 * noise, 0, 1) * (distance < 15)
    return case_from_arrays(
        labels_from_regions(probabilities),
        reference,
        probabilities=probabilities,
        maps={"unc_output": learned.astype(np.float32), "entropy": np.clip(entropy, 0, np.log(2))},
        brain=brain,
        spacing=SPACING,
        id=case_id or f"case-{seed}",
    )


def locked(case: Case) -> Case:
    """The case with arrays that cannot be written to, so that tests may share it and what it keeps."""
    for array in (case.prediction, case.reference, case.probabilities, case.brain, *case.maps.values()):
        assert array is not None
        array.flags.writeable = False
    return case


@pytest.fixture(scope="session")
def cases() -> tuple[Case, ...]:
    """Four cases of 36x32x28 voxels with tumours of their own."""
    return tuple(locked(make_case(seed)) for seed in range(4))


@pytest.fixture
def case(cases: tuple[Case, ...]) -> Case:
    """The first of them."""
    return cases[0]
