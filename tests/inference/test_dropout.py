"""Dropout at inference: masks that belong to a pass, hooks that leave no trace, an encoder that runs once."""

import pytest
import torch
from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.dropout import SharedEncoder, can_share, dropout_layers, dropping, generator_of
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.inference.sliding_window import sliding_window_logits
from napari_uncseg.models.unet import ConvDropoutNormReLU
from tests.inference.conftest import unet_of


def injected(network, words="dropout_injection:2, p=0.5, layers=all"):
    return dropout_layers(network, parse_ensemble(words), "toy")


def answer(network, x, layers, number, seed=0):
    with torch.inference_mode(), dropping(layers, seed, number):
        return network(x)


@pytest.mark.parametrize(("layers", "count"), [("all", 5), ("encoder", 3), ("decoder", 2)])
def test_injection_finds_the_blocks(layers, count):
    found = injected(unet_of(), f"dropout_injection:2,p=0.3,layers={layers}")
    assert len(found) == count
    assert all(isinstance(module, ConvDropoutNormReLU) and p == 0.3 for module, p in found)


def test_a_pass_is_the_same_again_and_another_is_not():
    network, x = unet_of(), torch.randn(1, 4, 16, 16, 16)
    layers = injected(network)
    first, again, second, seeded = (answer(network, x, layers, *pass_) for pass_ in ((0,), (0,), (1,), (0, 7)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, seeded)


def test_nothing_is_left_behind():
    network, x = unet_of(), torch.randn(1, 4, 16, 16, 16)
    with torch.inference_mode():
        before = network(x)
    with pytest.raises(RuntimeError, match="halt"), dropping(injected(network), 0, 0):
        raise RuntimeError("halt")
    assert all(not module._forward_hooks for module in network.modules())
    with torch.inference_mode():
        assert torch.equal(network(x), before)


def test_whole_channels_are_dropped_and_the_others_scaled():
    block = nn.Sequential(nn.Conv3d(1, 64, 1), nn.Conv3d(64, 64, 3, padding=1))
    x = torch.rand(1, 1, 4, 4, 4) + 1
    with torch.inference_mode():
        plain = block[0](x)
        with dropping([(block[0], 0.25)], 0, 0):
            dropped = block[0](x)
    ratio = dropped / plain
    kept = ratio[0, :, 0, 0, 0] != 0
    assert 30 < int(kept.sum()) < 60
    torch.testing.assert_close(ratio, (kept / 0.75)[None, :, None, None, None].expand_as(ratio))


def test_all_tiles_of_a_pass_drop_the_same_channels():
    """A volume of two equal halves that do not see each other: each tile must give the same answer."""
    network = unet_of()
    half = torch.randn(4, 16, 16, 16)
    layers = injected(network)
    with dropping(layers, 0, 3):
        both = sliding_window_logits(network, torch.cat([half, half], 1), (16, 16, 16), step=1.0)
    assert torch.equal(both[:, :16], both[:, 16:])


@pytest.mark.parametrize("dropout", ["torch.nn.Dropout3d", "torch.nn.modules.dropout.Dropout3d"])
def test_mc_dropout_uses_the_networks_own_layers(dropout):
    network, x = unet_of(dropout=dropout, p=0.4), torch.randn(1, 4, 16, 16, 16)
    layers = dropout_layers(network, parse_ensemble("mc_dropout:2"), "toy")
    assert len(layers) == 5
    assert all(isinstance(module, nn.Dropout3d) and p == 0.4 for module, p in layers)
    assert not torch.equal(answer(network, x, layers, 0), answer(network, x, layers, 1))
    assert all(p == 0.1 for _, p in dropout_layers(network, parse_ensemble("mc_dropout:2,p=0.1"), "toy"))
    decoder = dropout_layers(network, parse_ensemble("mc_dropout:2,layers=decoder"), "toy")
    assert len(decoder) == 2
    assert can_share(network, decoder)
    assert not can_share(network, layers)


def test_voxel_dropout_stays_voxel_dropout():
    network = nn.Sequential(nn.Conv3d(4, 3, 1), nn.Dropout(0.5)).eval()
    layers = dropout_layers(network, parse_ensemble("mc_dropout:2"), "toy")
    x = torch.rand(1, 4, 6, 6, 6)
    dropped = answer(network, x, layers, 0)
    share = (dropped == 0).float().mean((0, 2, 3, 4))
    assert ((share > 0.3) & (share < 0.7)).all()
    assert torch.equal(dropped, answer(network, x, layers, 0))


def test_a_network_without_dropout_is_refused_with_a_hint():
    with pytest.raises(ModelError, match="dropout_injection:20"):
        dropout_layers(unet_of(), parse_ensemble("mc_dropout:20,p=0.2"), "toy")
    with pytest.raises(ModelError, match="dropout_injection:20"):
        dropout_layers(unet_of(dropout="torch.nn.Dropout3d", p=0.0), parse_ensemble("mc_dropout"), "toy")


def test_a_foreign_network_has_no_decoder_but_convolutions():
    network = nn.Sequential(nn.Conv3d(4, 8, 3, padding=1), nn.Conv3d(8, 8, 1), nn.Conv3d(8, 4, 3, padding=1))
    with pytest.raises(ModelError, match="layers=all"):
        dropout_layers(network, parse_ensemble("dropout_injection:2"), "toy")
    assert [module for module, _ in injected(network)] == [network[0]]  # never the last, whose channels are the answer
    with pytest.raises(ModelError):
        injected(nn.Sequential(nn.Conv3d(4, 4, 1)))


def passes(network, image, layers, shared=None, key="one"):
    """Logits of three passes."""
    logits = []
    for number in range(3):
        with dropping(layers, 0, number):
            if shared is not None:
                shared.begin(key)
            logits.append(sliding_window_logits(network if shared is None else shared, image, (16, 16, 16)))
    return logits


@pytest.mark.parametrize("budget", [0, 100_000, 2**30])
def test_a_shared_encoder_changes_nothing_and_spares_work(budget):
    network, image = unet_of(), torch.randn(4, 24, 16, 16)
    layers = injected(network, "dropout_injection:3,p=0.5,layers=decoder")
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    expected = passes(network, image, layers)
    assert len(calls) == 6
    calls.clear()
    shared = SharedEncoder(network, budget)
    for got, want in zip(passes(network, image, layers, shared), expected, strict=True):
        assert torch.equal(got, want)
    # Two tiles: none, one or both of them are kept.
    assert len(calls) == {0: 6, 100_000: 4, 2**30: 2}[budget]


def test_other_tiles_are_encoded_anew():
    network, layers = unet_of(), []
    shared = SharedEncoder(network)
    first, second = torch.randn(2, 4, 16, 16, 16)
    passes(network, first, layers, shared, key="first")
    got = passes(network, second, layers, shared, key="second")[0]
    assert torch.equal(got, sliding_window_logits(network, second, (16, 16, 16)))


def test_random_numbers_belong_to_their_words():
    first, again, other = (torch.rand(3, generator=generator_of(*words)) for words in ((0, 1), (0, 1), (1, 0)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
