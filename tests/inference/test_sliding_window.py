"""The sliding window against the whole volume and against a plain loop; padding, progress, cancel."""

import threading
import time

import pytest
import torch
from torch import nn

from napari_uncseg.errors import Cancelled, ModelError
from napari_uncseg.inference.sliding_window import count_tiles, gaussian_weight, sliding_window_logits, tile_starts
from tests.inference.conftest import Neighbourhood


@pytest.mark.parametrize(
    ("size", "tile", "starts"),
    [(16, 16, [0]), (17, 16, [0, 1]), (24, 16, [0, 8]), (25, 16, [0, 4, 9]), (5, 1, [0, 1, 2, 3, 4])],
)
def test_tiles_begin_and_end_with_the_volume(size, tile, starts):
    assert tile_starts(size, tile) == starts


def test_gaussian_is_centred_on_a_voxel_and_falls_to_the_borders():
    weight = gaussian_weight((8, 7, 16))
    assert weight.shape == (8, 7, 16)
    assert float(weight[4, 3, 8]) == weight.max() == 1
    # Odd tiles are symmetric; even ones are so without their first voxel.
    torch.testing.assert_close(weight[1:, :, 1:], weight[1:, :, 1:].flip(0, 1, 2))
    assert weight.min() > 0
    # Three voxels off the middle of a tile of 16 whose sigma is 2 voxels.
    assert float(weight[4, 3, 5]) == pytest.approx(torch.exp(torch.tensor(-(3**2) / 8)).item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(20, 33, 16), (7, 40, 5), (9, 8, 7), (16, 16, 16)])
def test_equals_the_whole_volume_for_a_pointwise_network(shape):
    torch.manual_seed(0)
    network, image = nn.Conv3d(4, 3, 1).eval(), torch.randn(4, *shape)
    with torch.inference_mode():
        expected = network(image[None])[0]
    torch.testing.assert_close(sliding_window_logits(network, image, (16, 12, 16)), expected, atol=1e-5, rtol=1e-5)


def test_equals_a_plain_loop():
    network, image, tile = Neighbourhood().eval(), torch.randn(4, 21, 18, 10), (16, 12, 10)
    total, weights = torch.zeros(4, 21, 18, 10, dtype=torch.float64), torch.zeros(21, 18, 10, dtype=torch.float64)
    weight = gaussian_weight(tile).double()
    for x in (0, 5):
        for y in (0, 6):
            with torch.inference_mode():
                logits = network(image[None, :, x : x + 16, y : y + 12])[0].double()
            total[:, x : x + 16, y : y + 12] += logits * weight
            weights[x : x + 16, y : y + 12] += weight
    expected = (total / weights).float()
    torch.testing.assert_close(sliding_window_logits(network, image, tile), expected, atol=1e-5, rtol=1e-4)
    assert count_tiles((21, 18, 10), tile) == 4


def test_a_small_volume_takes_one_padded_pass():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x

    image = torch.randn(4, 9, 16, 6)
    result = sliding_window_logits(Spy(), image, (16, 16, 8))
    assert torch.equal(result, image)
    (padded,) = seen
    assert padded.shape == (1, 4, 16, 16, 8)
    assert torch.equal(padded[0, :, 3:12, :, 1:7], image)  # in the middle
    assert torch.count_nonzero(padded) == torch.count_nonzero(image)


def test_progress_counts_the_tiles():
    calls = []
    sliding_window_logits(
        nn.Conv3d(4, 1, 1), torch.zeros(4, 24, 16, 16), (16, 16, 16), progress=lambda *c: calls.append(c)
    )
    assert calls == [(0, 2), (1, 2), (2, 2)]


class Slow(nn.Module):
    """Twenty layers of 0.2 seconds."""

    def __init__(self):
        super().__init__()

        class Layer(nn.Module):
            def forward(self, x):
                time.sleep(0.2)
                return x

        self.layers = nn.Sequential(*(Layer() for _ in range(20)))

    def forward(self, x):
        return self.layers(x)


def test_cancel_stops_within_a_long_forward_pass_and_leaves_no_hooks():
    network, stop = Slow(), threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        sliding_window_logits(network, torch.zeros(4, 8, 8, 8), (8, 8, 8), cancelled=stop.is_set)
    assert time.monotonic() - begin < 2.5
    assert all(not module._forward_pre_hooks for module in network.modules())


def test_an_error_leaves_no_hooks():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    network = nn.Sequential(nn.Identity(), Broken())
    with pytest.raises(RuntimeError, match="broken"):
        sliding_window_logits(network, torch.zeros(4, 8, 8, 8), (8, 8, 8), cancelled=lambda: False)
    assert all(not module._forward_pre_hooks for module in network.modules())


def test_a_network_that_changes_the_size_is_refused():
    with pytest.raises(ModelError):
        sliding_window_logits(nn.AvgPool3d(2), torch.zeros(4, 8, 8, 8), (8, 8, 8))


def test_sums_are_float32_under_bfloat16():
    torch.manual_seed(0)
    network, image = nn.Conv3d(4, 2, 1), torch.randn(4, 24, 16, 16)
    exact = sliding_window_logits(network, image, (16, 16, 16))
    rounded = sliding_window_logits(network, image, (16, 16, 16), precision=torch.bfloat16)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.05)
