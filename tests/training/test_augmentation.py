"""Augmentation of cases: a function of its seed, images and targets move together, the background stays 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncseg_training.data import augmentation
from uncseg_training.data.augmentation import Augmentation

SHAPE = (24, 32, 20)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """A ball of brain with a bright ball in it, and the masks of both."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(size).float() for size in SHAPE), indexing="ij"))
    middle = torch.tensor([size / 2 for size in SHAPE])[:, None, None, None]
    brain = (((grid - middle) / middle) ** 2).sum(0) < 0.8
    tumour = ((grid - middle - torch.tensor([2.0, 3, -2])[:, None, None, None]) ** 2).sum(0) < 20
    random = torch.Generator().manual_seed(0)
    images = (torch.randn((4, *SHAPE), generator=random) * 0.1 + 0.5 + 3 * tumour) * brain
    return images, torch.stack([tumour, brain]).float()


def test_the_same_seed_gives_the_same_case_and_leaves_random_numbers_alone(case):
    augment = Augmentation(SHAPE)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = augment(*case, (3, 4)), Augmentation(SHAPE)(*case, (3, 4))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], augment(*case, (3, 5))[0])


def test_images_and_targets_move_together(case):
    augment = Augmentation(SHAPE)
    moved = 0
    for seed in range(40):
        images, targets = augment(*case, (1, seed))
        assert images.shape == (4, *SHAPE)
        assert targets.shape == (2, *SHAPE)
        assert 0 <= targets.min() <= targets.max() <= 1 + 1e-5
        tumour, brain = targets > 0.5
        moved += not torch.equal(targets, case[1])
        # Outside of the brain nothing has a value; the tumour stays brighter where its modality is not lost.
        assert not images[:, targets[1] == 0].any()
        if not tumour.any() or not (brain & ~tumour).any():
            continue
        present = [image for image in images if image[tumour].ne(0).float().mean() > 0.9]
        assert len(present) >= 3
        brighter = [bool(image[tumour].mean() > image[brain & ~tumour].mean()) for image in present]
        assert all(brighter)
    assert moved > 30


def test_case_that_is_larger_than_the_patch_is_cut_in_its_middle(case):
    images, targets = case
    patch = (16, 16, 16)
    found = [Augmentation(patch)(images, targets, (2, seed)) for seed in range(10)]
    assert {tuple(each[0].shape) for each in found} == {(4, *patch)}
    assert all(each[1][1].mean() > 0.5 for each in found)  # brain, not the empty corners


def test_now_and_then_a_modality_is_missing_or_covers_only_a_part(case, monkeypatch):
    images, targets = torch.ones((4, *SHAPE)), case[1]
    monkeypatch.setattr(augmentation, "LOST", 0.5)
    monkeypatch.setattr(augmentation, "PARTLY_LOST", 0.5)
    augment = Augmentation(SHAPE)
    found = [augment(images, targets, (5, seed))[0] for seed in range(30)]
    shares = [sorted((image != 0).float().mean().item() for image in each) for each in found]
    assert any(share[0] == 0 for share in shares)
    assert any(0.3 < share[0] / max(share[-1], 1e-6) < 0.95 for share in shares)
    assert all(share[1] > 0 for share in shares)  # never two
