"""Resampling: voxel centres stay where they are, constants stay constants, coarse grids do not alias."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.inference.resampling import resample, resampled_shape


def _ramp(shape, slopes=(1.0, -2.0, 0.5)):
    axes = [slope * torch.arange(n, dtype=torch.float32) for n, slope in zip(shape, slopes, strict=True)]
    return (axes[0][:, None, None] + axes[1][:, None] + axes[2])[None]


@pytest.mark.parametrize("coarse", [(20, 22, 18), (19, 21, 13), (40, 15, 36), (33, 60, 50)])
def test_a_linear_ramp_to_and_fro_stays_put(coarse):
    ramp = _ramp((40, 44, 36))
    back = resample(resample(ramp, coarse), (40, 44, 36))
    inside = (..., slice(6, -6), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(back[inside], ramp[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(41, 20), (41, 17), (20, 41), (30, 30)])
def test_a_new_voxel_holds_the_ramp_at_its_own_centre(old, new):
    line = resample(_ramp((old, 1, 1), (1, 0, 0)), (new, 1, 1)).ravel().numpy()
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    np.testing.assert_allclose(line[3:-3], centres[3:-3], atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 12)] * 6))
def test_constants_stay_and_no_value_is_invented(sizes):
    generator = torch.Generator().manual_seed(sum(sizes))
    volume = torch.rand((2, *sizes[:3]), generator=generator)
    volume[1] = 0.75
    new = resample(volume, sizes[3:])
    assert new.shape == (2, *sizes[3:])
    torch.testing.assert_close(new[1], torch.full(sizes[3:], 0.75))
    assert volume[0].min() - 1e-5 <= new[0].min()
    assert new[0].max() <= volume[0].max() + 1e-5


def test_finer_detail_than_a_new_voxel_is_averaged_away():
    stripes = torch.zeros(1, 40, 4, 4)
    stripes[:, ::2] = 1
    coarse = resample(stripes, (20, 4, 4))
    torch.testing.assert_close(coarse[:, 2:-2], torch.full((1, 16, 4, 4), 0.5), atol=1e-6, rtol=0)


def test_the_same_shape_is_the_same_values():
    volume = torch.rand(1, 3, 4, 5)
    assert torch.equal(resample(volume, (3, 4, 5)), volume)


def test_shape_follows_spacing():
    assert resampled_shape((240, 240, 155), (1, 1, 1), (2, 2, 2)) == (120, 120, 78)
    assert resampled_shape((64, 64, 1), (1, 1, 1), (1, 2, 4)) == (64, 32, 1)
