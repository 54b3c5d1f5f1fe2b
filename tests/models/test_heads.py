"""Meaning of the output channels, by hand."""

from __future__ import annotations

import pytest
import torch

from napari_uncseg.models.heads import Head, region_probabilities, split


def voxel(*logits: float) -> torch.Tensor:
    return torch.tensor(logits).view(1, -1, 1, 1, 1)


def test_regions_are_sigmoids() -> None:
    result = region_probabilities(voxel(0.0, 2.0, -2.0), Head.REGIONS).flatten()
    assert torch.allclose(result, torch.tensor([0.5, 0.880797, 0.119203]), atol=1e-6)


def test_labels_sum_to_nested_regions() -> None:
    # softmax of log(1, 2, 3, 4) is 0.1, 0.2, 0.3, 0.4 for background, NCR, ED, ET.
    logits = torch.log(voxel(1.0, 2.0, 3.0, 4.0))
    result = region_probabilities(logits, Head.LABELS4).flatten()
    assert torch.allclose(result, torch.tensor([0.9, 0.6, 0.4]), atol=1e-6)


def test_implicit_background_is_a_zero_logit() -> None:
    logits = torch.log(voxel(2.0, 3.0, 4.0))
    result = region_probabilities(logits, Head.LABELS3_IMPLICIT_BG).flatten()
    assert torch.allclose(result, torch.tensor([0.9, 0.6, 0.4]), atol=1e-6)


@pytest.mark.parametrize("head", list(Head))
def test_half_precision_gives_nested_float32(head: Head) -> None:
    logits = torch.randn(2, head.channels, 3, 3, 3, generator=torch.Generator().manual_seed(1)).half() * 10
    result = region_probabilities(logits, head)
    assert result.dtype == torch.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1
    if head in (Head.LABELS4, Head.LABELS3_IMPLICIT_BG):
        assert bool((result[:, 0] >= result[:, 1] - 1e-6).all())
        assert bool((result[:, 1] >= result[:, 2] - 1e-6).all())


def test_split_counts_channels() -> None:
    segmentation, uncertainty = split(torch.zeros(1, 4, 2, 2, 2), "regions")
    assert segmentation.shape[1] == 3
    assert uncertainty is not None
    assert uncertainty.shape[1] == 1
    assert split(torch.zeros(1, 4, 2, 2, 2), "labels4")[1] is None
    with pytest.raises(ValueError, match="channel"):
        split(torch.zeros(1, 5, 2, 2, 2), "regions")


def test_gaussian_regions_are_means_then_log_variances() -> None:
    output = torch.arange(7.0).view(1, 7, 1, 1, 1)
    segmentation, uncertainty = split(output, Head.REGIONS_GAUSSIAN)
    assert segmentation.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert uncertainty is not None
    assert uncertainty.flatten().tolist() == [6]
    assert split(output[:, :6], Head.REGIONS_GAUSSIAN)[1] is None
    assert torch.equal(region_probabilities(segmentation, Head.REGIONS_GAUSSIAN), torch.sigmoid(output[:, :3]))


def test_auxiliary_head_has_an_error_for_each_region() -> None:
    output = torch.arange(6.0).view(1, 6, 1, 1, 1)
    segmentation, errors = split(output, Head.REGIONS_AUXILIARY)
    assert segmentation.flatten().tolist() == [0, 1, 2]
    assert errors is not None
    assert errors.flatten().tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="channel"):
        split(output[:, :4], Head.REGIONS_AUXILIARY)
