"""Surfaces of masks: closed, smooth, and as large as what they enclose."""

import numpy as np
import pytest

from napari_uncseg.metrics.surface import smooth_surface


def ball(radius, size=48, centre=24):
    return ((np.indices((size,) * 3) - centre) ** 2).sum(axis=0) <= radius**2


def volume(vertices, faces):
    one, two, three = (vertices[faces[:, corner]].astype(float) for corner in range(3))
    return abs(np.einsum("ij,ij->i", one, np.cross(two, three)).sum()) / 6


@pytest.mark.parametrize("radius", [6, 15])
def test_a_ball_stays_a_ball_and_loses_its_steps(radius):
    mask = ball(radius)
    vertices, faces = smooth_surface(mask)
    away = np.linalg.norm(vertices - 24, axis=1)
    assert volume(vertices, faces) == pytest.approx(mask.sum(), rel=0.05)
    assert away.std() < 0.2
    edges = np.sort(np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all(), "closed"


def test_it_lies_where_the_mask_does_at_the_border_too():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[0:6, 10:20, 7:9] = True
    vertices, _ = smooth_surface(mask)
    assert np.abs(vertices.mean(axis=0) - (2.5, 14.5, 7.5)).max() < 0.3
    assert smooth_surface(mask & False) is None
