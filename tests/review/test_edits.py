"""What a click changes: nested regions stay nested, growth stays in its ball, shapes are interpolated as published."""

import numpy as np
import pytest

from napari_uncseg.labels import Label, Region, region_masks
from napari_uncseg.review.edits import MOST_GAP_MM, add_to, between_slices, grow, in_region, remove_from

LABELS = np.arange(4, dtype=np.uint8)
HERE = np.ones(4, dtype=bool)


@pytest.mark.parametrize(
    ("region", "added", "removed"),
    [
        (Region.WT, [Label.ED, Label.NCR, Label.ED, Label.ET], [0, 0, 0, 0]),
        (Region.TC, [Label.NCR, Label.NCR, Label.NCR, Label.ET], [0, Label.ED, Label.ED, Label.ED]),
        (Region.ET, [Label.ET] * 4, [0, Label.NCR, Label.ED, Label.NCR]),
    ],
)
def test_a_place_joins_a_region_or_leaves_it(region, added, removed):
    assert add_to(LABELS, HERE, region).tolist() == added
    assert remove_from(LABELS, HERE, region).tolist() == removed


@pytest.mark.parametrize("region", Region)
def test_only_the_mask_changes_and_larger_regions_keep_what_they_have(region):
    generator = np.random.default_rng(2)
    labels, mask = generator.integers(0, 4, (9, 9, 9)).astype(np.uint8), generator.random((9, 9, 9)) < 0.4
    number = list(Region).index(region)
    before = region_masks(labels)
    for after, inside in ((add_to(labels, mask, region), True), (remove_from(labels, mask, region), False)):
        assert (after[~mask] == labels[~mask]).all()
        assert (region_masks(after)[number][mask] == inside).all()
        if not inside:
            assert (region_masks(after)[:number] == before[:number]).all()


def test_erasing_takes_all_tissue_away():
    assert not add_to(LABELS, HERE, None).any()
    assert in_region(LABELS, None).tolist() == [True, False, False, False]


def test_growth_fills_what_looks_alike_and_is_connected():
    image = np.full((40, 40, 40), 100.0, dtype=np.float32)
    image[8:20, 8:20, 8:20] = 200
    image[26:36, 26:36, 26:36] = 200  # as bright, and apart
    image += np.random.default_rng(3).normal(0, 10, image.shape).astype(np.float32)
    box, mask = grow(image, (14, 14, 14), (1.0, 1.0, 1.0), tolerance=50, reach_mm=30)
    grown = np.zeros(image.shape, dtype=bool)
    grown[box] = mask
    assert grown[10:18, 10:18, 10:18].all()
    assert not grown[:6].any()
    assert not grown[26:, 26:, 26:].any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 2.0, 5.0)])
def test_growth_never_leaves_its_ball(spacing):
    image = np.zeros((40, 40, 20), dtype=np.float32)
    seed, reach = (2, 20, 10), 11.0
    box, mask = grow(image, seed, spacing, tolerance=1, reach_mm=reach)
    at = np.argwhere(mask) + [part.start for part in box]
    away = np.linalg.norm((at - seed) * spacing, axis=1)
    grid = np.linalg.norm((np.argwhere(image == 0) - seed) * spacing, axis=1)
    assert away.max() <= reach
    assert len(at) == (grid <= reach).sum()


def test_a_single_bright_voxel_grows_into_itself_at_least():
    image = np.zeros((9, 9, 9), dtype=np.float32)
    image[:4] = 100
    box, mask = grow(image, (4, 4, 4), (1.0, 1.0, 1.0), tolerance=0, reach_mm=3)
    assert mask[tuple(4 - part.start for part in box)]


def disc(radius, centre=(30, 30), shape=(60, 60)):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_discs_become_a_cone(axis):
    """Signed distances of two discs interpolate to discs of the radii in between."""
    before = np.zeros((12, 60, 60), dtype=np.uint8)
    now = before.copy()
    now[1][disc(8)], now[9][disc(16)] = Label.ED, Label.ED
    before, now = (np.moveaxis(each, 0, axis) for each in (before, now))
    box, mask = between_slices(before, now, Region.WT, axis, (1.0, 1.0, 1.0))
    filled = np.zeros(now.shape, dtype=bool)
    filled[box] = mask
    filled = np.moveaxis(filled, axis, 0)
    assert not filled[[0, 1, 9, 10, 11]].any()
    for at in range(2, 9):
        area = np.pi * (8 + (at - 1)) ** 2
        assert filled[at].sum() == pytest.approx(area, rel=0.06)


def test_erased_shapes_are_interpolated_too():
    before = np.full((9, 60, 60), Label.ED, dtype=np.uint8)
    now = before.copy()
    for at in (2, 6):
        now[at][disc(6)] = 0
    box, mask = between_slices(before, now, None, 0, (1.0, 1.0, 1.0))
    filled = np.zeros(now.shape, dtype=bool)
    filled[box] = mask
    assert filled[3:6].any(axis=(1, 2)).all()
    assert (filled[4] == disc(6)).mean() > 0.99


def test_what_was_there_before_is_not_taken_for_painted():
    """A column of tumour that nobody touched, and two lobes painted onto it."""
    before = np.zeros((11, 60, 60), dtype=np.uint8)
    before[:, disc(10)] = Label.ET
    now = before.copy()
    for at in (2, 8):
        now[at][disc(6, (30, 41)) & (before[at] == 0)] = Label.ED
    box, mask = between_slices(before, now, Region.WT, 0, (1.0, 1.0, 1.0))
    filled = np.zeros(now.shape, dtype=bool)
    filled[box] = mask
    assert set(np.flatnonzero(filled.any(axis=(1, 2)))) == set(range(3, 8))
    assert not filled[before > 0].any()
    assert (filled[5] | (now[5] > 0))[disc(6, (30, 41))].mean() > 0.98


def test_places_that_do_not_belong_together_are_not_joined():
    before = np.zeros((60, 60, 60), dtype=np.uint8)
    assert between_slices(before, before, Region.WT, 0, (1.0,) * 3) is None
    for low, high, centre in ((2, 3, (30, 30)), (2, 8, (50, 50)), (2, 3 + int(MOST_GAP_MM), (30, 30))):
        now = before.copy()
        now[low][disc(5)], now[high][disc(5, centre)] = Label.ED, Label.ED
        assert between_slices(before, now, Region.WT, 0, (1.0,) * 3) is None
    now[5][disc(5)] = Label.ED
    assert between_slices(before, now, Region.ET, 0, (1.0,) * 3) is None, "oedema was painted, no enhancing tumour"
