"""The mask is made of the prediction alone and changes nothing inside itself."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from napari_uncseg.models.masked import MaskedUncertaintyNetwork, get_cancer_mask


class Fixed(nn.Module):
    """Gives back what it was made with."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output


@pytest.mark.parametrize("dilation", [0, 1, 3, (2, 0, 1)])
def test_dilation_matches_scipy(dilation: int | tuple[int, int, int]) -> None:
    probability = torch.zeros(1, 1, 12, 13, 14)
    probability[0, 0, 5, 6, 7] = 0.9
    probability[0, 0, 0, 0, 0] = 0.6
    probability[0, 0, 2, 2, 2] = 0.5
    widths = (dilation,) * 3 if isinstance(dilation, int) else dilation
    box = np.ones([2 * width + 1 for width in widths], bool)
    expected = ndimage.binary_dilation(probability[0, 0].numpy() > 0.5, box)
    assert np.array_equal(get_cancer_mask(probability, dilation)[0, 0].numpy(), expected)


def test_uncertainty_is_zero_outside_and_untouched_inside() -> None:
    output = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    output[:, 0] = -5
    output[:, 0, 8, 8, 8] = 5
    network = MaskedUncertaintyNetwork(Fixed(output), dilation=2)
    segmentation, masked = network(torch.zeros(1))
    network.masking = False
    _, free = network(torch.zeros(1))
    assert torch.equal(segmentation, output[:, :3])
    inside = torch.zeros(16, 16, 16, dtype=torch.bool)
    inside[6:11, 6:11, 6:11] = True
    assert torch.equal(masked[0, 0][inside], free[0, 0][inside])
    assert float(masked[0, 0][~inside].abs().max()) == 0
    assert float(free[0, 0][~inside].min()) > 0


def test_forward_takes_no_reference() -> None:
    assert list(inspect.signature(MaskedUncertaintyNetwork.forward).parameters) == ["self", "x"]


def test_mask_carries_no_gradient() -> None:
    probability = torch.rand(1, 1, 4, 4, 4, requires_grad=True)
    assert not get_cancer_mask(probability).requires_grad


def test_network_without_uncertainty_is_refused() -> None:
    with pytest.raises(ValueError, match="channel"):
        MaskedUncertaintyNetwork(Fixed(torch.zeros(1, 3, 4, 4, 4)))(torch.zeros(1))
