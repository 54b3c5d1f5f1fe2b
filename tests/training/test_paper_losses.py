"""The composite loss: values by hand, identities, independent oracles, and finite gradients where it may go wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_uncseg.labels import region_masks
from napari_uncseg.models.heads import Head
from napari_uncseg.models.masked import MaskedUncertaintyNetwork
from uncseg_training.paper1.paper_losses import (
    HEADS,
    Mask,
    PaperLoss,
    l_unc,
    labels_of,
    loss_mask,
    regions_of,
    rmsd,
    segmentation_loss,
    weighted_pearson,
)
from uncseg_training.train.losses import region_loss

SHAPE = (6, 5, 4)


def line(*values: float) -> Tensor:
    """One sample of voxels in a row."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, -1, 1, 1)


def random_maps(seed: int, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u, e, w = torch.rand(3, batch, 1, *SHAPE, generator=generator)
    return u, e, (w < 0.5).float()


def some_labels(seed: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 4, (batch, *SHAPE), generator=torch.Generator().manual_seed(seed))


# -- terms by hand ---------------------------------------------------------------------------------------------------


def test_terms_by_hand() -> None:
    u, e, m = line(0.5, 1.0, 0.0, 0.9), line(0.1, 0.7, 0.0, 0.0), line(1, 1, 0, 0)
    # Squares 0.16 and 0.09 inside the mask.
    assert float(l_unc(u, e, m)) == pytest.approx(0.125)
    assert float(l_unc(u, e, m, "all")) == pytest.approx(0.0625)
    assert float(rmsd(u, e, m)[0]) == pytest.approx(math.sqrt(0.125))
    with pytest.raises(ValueError, match="neither"):
        l_unc(u, e, m, "sum")  # type: ignore[arg-type]


def test_a_soft_mask_by_hand() -> None:
    u, e, w = line(0.5, 1.0), line(0.1, 0.7), line(0.25, 0.75)
    assert float(l_unc(u, e, w)) == pytest.approx(0.25 * 0.16 + 0.75 * 0.09)
    assert float(l_unc(u, e, w, "all")) == pytest.approx((0.0625 * 0.16 + 0.5625 * 0.09) / 2)


def test_correlation_by_hand() -> None:
    # Inside: u = 0, 1, 1 and e = 0, 1, 0; deviations -2/3 1/3 1/3 and -1/3 2/3 -1/3; r = (1/3) / (2/3).
    u, e, m = line(0, 1, 1, 1, 0), line(0, 1, 0, 0, 1), line(1, 1, 1, 0, 0)
    r, valid = weighted_pearson(u, e, m, least_weight=3)
    assert float(r[0]) == pytest.approx(0.5, abs=1e-6)
    assert bool(valid[0])
    assert not bool(weighted_pearson(u, e, m, least_weight=4)[1][0])


def test_weighted_correlation_equals_numpys_weighted_covariance() -> None:
    u, e, _ = random_maps(2, 1)
    w = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(3))
    covariance = np.cov(u.flatten().numpy(), e.flatten().numpy(), aweights=w.flatten().numpy(), ddof=0)
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert float(weighted_pearson(u, e, w, least_weight=1)[0][0]) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), slope=st.floats(0.1, 5), offset=st.floats(-1, 1))
def test_correlation_knows_no_scale_and_is_bounded(seed: int, slope: float, offset: float) -> None:
    u, e, m = random_maps(seed)
    r, valid = weighted_pearson(u, e, m, 1, epsilon=0.0)
    again, _ = weighted_pearson(slope * u + offset, e, m, 1, epsilon=0.0)
    assert bool(valid.all())
    torch.testing.assert_close(r, again, atol=1e-4, rtol=0)
    assert float(r.abs().max()) <= 1 + 1e-6
    assert float(weighted_pearson(e, e, m, 1)[0].min()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(weighted_pearson(-u, e, m, 1, epsilon=0.0)[0], -r, atol=1e-5, rtol=0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_two_reductions_differ_by_the_part_of_the_mask(seed: int) -> None:
    u, e, m = random_maps(seed, 1)
    of_mask = float(l_unc(u, e, m))
    assert float(l_unc(u, e, m, "all")) * m.numel() / float(m.sum()) == pytest.approx(of_mask, rel=1e-5)
    assert float(rmsd(u, e, m)[0]) ** 2 == pytest.approx(of_mask, rel=1e-5)


def test_what_lies_outside_of_the_mask_changes_nothing() -> None:
    u, e, m = random_maps(4)
    elsewhere = torch.where(m > 0, u, torch.rand_like(u))
    for reduction in ("all", "mask"):
        assert torch.equal(l_unc(u, e, m, reduction), l_unc(elsewhere, e, m, reduction))  # type: ignore[arg-type]
    assert torch.equal(rmsd(u, e, m), rmsd(elsewhere, e, m))
    assert torch.equal(weighted_pearson(u, e, m)[0], weighted_pearson(elsewhere, e, m)[0])


def test_samples_do_not_mix() -> None:
    u, e, m = random_maps(5)
    for sample in range(2):
        one = slice(sample, sample + 1)
        torch.testing.assert_close(rmsd(u, e, m)[one], rmsd(u[one], e[one], m[one]))
        torch.testing.assert_close(weighted_pearson(u, e, m)[0][one], weighted_pearson(u[one], e[one], m[one])[0])


# -- segmentation ----------------------------------------------------------------------------------------------------


def test_labels_and_regions_are_each_others_inverse() -> None:
    labels = some_labels(6)
    regions = regions_of(labels)
    assert torch.equal(labels_of(regions), labels)
    for sample in range(2):
        np.testing.assert_array_equal(regions[sample].numpy(), region_masks(labels[sample].numpy()))


def test_region_head_is_the_trainers_own_loss() -> None:
    logits, regions = torch.randn(2, 3, *SHAPE), regions_of(some_labels(7))
    assert torch.equal(segmentation_loss(logits, regions, "regions"), region_loss(logits, regions))


def test_label_head_by_hand() -> None:
    # Two voxels, background and ED; even probabilities: cross-entropy ln 4. Dice of ED (2/4 + 1) / (1/2 + 1 + 1) = 3/5,
    # of the absent labels 1 / (1/2 + 1) = 2/3.
    labels = torch.tensor([0, 2]).reshape(1, 2, 1, 1)
    found = segmentation_loss(torch.zeros(1, 4, 2, 1, 1), regions_of(labels), "labels4")
    assert float(found) == pytest.approx(math.log(4) + 1 - (3 / 5 + 2 / 3 + 2 / 3) / 3, abs=1e-6)


def test_implicit_background_is_a_logit_of_zero() -> None:
    logits, regions = torch.randn(2, 3, *SHAPE), regions_of(some_labels(8))
    explicit = torch.cat((torch.zeros(2, 1, *SHAPE), logits), 1)
    implicit = segmentation_loss(logits, regions, Head.LABELS3_IMPLICIT_BG)
    assert torch.equal(implicit, segmentation_loss(explicit, regions, Head.LABELS4))
    # A softmax does not change when all four logits move together.
    torch.testing.assert_close(implicit, segmentation_loss(explicit + 2, regions, Head.LABELS4))


def test_label_head_against_plain_loops() -> None:
    logits, labels = torch.randn(2, 4, *SHAPE), some_labels(9)
    p = torch.softmax(logits, 1).double().numpy()
    crossentropy, dice = [], []
    for b in range(2):
        for index in np.ndindex(*SHAPE):
            crossentropy.append(-math.log(p[(b, int(labels[(b, *index)]), *index)]))
        for label in (1, 2, 3):
            t = labels[b].numpy() == label
            dice.append((2 * p[b, label][t].sum() + 1) / (p[b, label].sum() + t.sum() + 1))
    expected = np.mean(crossentropy) + 1 - np.mean(dice)
    assert float(segmentation_loss(logits, regions_of(labels), "labels4")) == pytest.approx(expected, abs=1e-5)


# -- masks -----------------------------------------------------------------------------------------------------------


def test_masks() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.long)
    labels[0, 2, 2, 2] = 2
    logits = torch.full((1, 3, 9, 9, 9), -3.0)
    logits[0, 0, 6, 6, 6] = 3.0
    regions = regions_of(labels)
    masks = {mask: loss_mask(mask, logits, regions, "regions", dilation=1) for mask in Mask}
    assert masks[Mask.GT].nonzero().tolist() == [[0, 0, 2, 2, 2]]
    assert masks[Mask.PRED].nonzero().tolist() == [[0, 0, 6, 6, 6]]
    assert float(masks[Mask.UNION_DILATED].sum()) == 2 * 27
    assert masks[Mask.UNION_DILATED][0, 0, 1:4, 1:4, 1:4].all()
    assert torch.equal(masks[Mask.SOFT], torch.sigmoid(logits[:, :1]))
    for mask in masks.values():
        assert mask.dtype == torch.float32
        assert mask.shape == (1, 1, 9, 9, 9)


def test_reference_sees_misses_and_prediction_sees_false_alarms() -> None:
    reference, predicted = regions_of(some_labels(10)), torch.randn(2, 3, *SHAPE)
    failure = (predicted[:, :1] > 0) != (reference[:, :1] > 0)
    missed, alarms = failure & (reference[:, :1] > 0), failure & (predicted[:, :1] > 0)
    inside = {mask: failure & (loss_mask(mask, predicted, reference, "regions", 0) > 0) for mask in Mask}
    assert torch.equal(inside[Mask.GT], missed)
    assert torch.equal(inside[Mask.PRED], alarms)
    assert torch.equal(inside[Mask.UNION_DILATED], failure)


@pytest.mark.parametrize("head", HEADS)
def test_no_gradient_flows_through_a_mask(head: Head) -> None:
    logits = torch.randn(1, head.channels, *SHAPE, requires_grad=True)
    for mask in Mask:
        assert not loss_mask(mask, logits, regions_of(some_labels(11, 1)), head).requires_grad


# -- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("mask", list(Mask))
def test_weights_of_the_terms(head: Head, mask: Mask) -> None:
    output = torch.randn(2, head.channels + 1, *SHAPE)
    regions, error = regions_of(some_labels(12)), torch.rand(2, 1, *SHAPE)
    loss = PaperLoss(mask=mask, least_weight=1)
    terms = loss(output, regions, error, head=head)
    total = terms.segmentation + 0.4 * terms.unc + 0.5 * terms.rmsd + 0.4 * terms.correlation
    torch.testing.assert_close(terms.total, total)
    logits, u = output[:, :-1], torch.sigmoid(output[:, -1:])
    weights = loss_mask(mask, logits, regions, head)
    torch.testing.assert_close(terms.segmentation, segmentation_loss(logits, regions, head))
    torch.testing.assert_close(terms.unc, l_unc(u, error, weights))
    torch.testing.assert_close(terms.rmsd, rmsd(u, error, weights).mean())
    torch.testing.assert_close(terms.correlation, (1 - weighted_pearson(u, error, weights, 1)[0]).mean())
    assert terms.correlated == 2


def test_segmentation_logits_learn_from_the_segmentation_alone() -> None:
    output = torch.randn(2, 4, *SHAPE, requires_grad=True)
    regions, error = regions_of(some_labels(13)), torch.rand(2, 1, *SHAPE)
    for mask in Mask:
        loss = PaperLoss(mask=mask, least_weight=1)
        (with_head,) = torch.autograd.grad(loss(output, regions, error).total, output)
        (alone,) = torch.autograd.grad(region_loss(output[:, :3], regions), output)
        torch.testing.assert_close(with_head[:, :3], alone[:, :3])
        assert float(with_head[:, 3].abs().max()) > 0


def test_the_target_is_data() -> None:
    error = torch.rand(2, 1, *SHAPE, requires_grad=True)
    output = torch.randn(2, 4, *SHAPE, requires_grad=True)
    PaperLoss(least_weight=1)(output, regions_of(some_labels(14)), error).total.backward()
    assert error.grad is None


def test_unvisited_voxels_have_no_say() -> None:
    output, regions = torch.randn(2, 4, *SHAPE), regions_of(some_labels(15))
    error, visited = torch.rand(2, 1, *SHAPE), torch.rand(2, 1, *SHAPE) < 0.6
    loss = PaperLoss(least_weight=1)
    found = loss(output, regions, error, visited)
    other = loss(output, regions, torch.where(visited, error, 0.77), visited)
    assert torch.equal(found.total, other.total)
    never = loss(output, regions, error, torch.zeros_like(visited))
    assert torch.equal(never.total, never.segmentation)
    assert never.correlated == 0


def test_a_sample_without_a_correlation_is_left_out_of_the_mean() -> None:
    output, regions = torch.randn(2, 4, *SHAPE), regions_of(some_labels(16))
    error = torch.rand(2, 1, *SHAPE)
    error[1] = 0.3
    loss = PaperLoss(least_weight=1)
    terms = loss(output, regions, error)
    assert terms.correlated == 1
    first = loss(output[:1], regions[:1], error[:1])
    torch.testing.assert_close(terms.correlation, first.correlation)


def test_a_network_without_the_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="no uncertainty channel"):
        PaperLoss()(torch.zeros(1, 3, *SHAPE), torch.zeros(1, 3, *SHAPE), torch.zeros(1, 1, *SHAPE))


def test_learning_the_error_map() -> None:
    # Half a tumour is missed: the channel learns 1 there and 0 elsewhere.
    torch.manual_seed(0)
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    labels[:, 2:6, 2:6, 2:6] = 2
    regions, error = regions_of(labels), torch.zeros(1, 1, 8, 8, 8)
    error[:, :, 2:4, 2:6, 2:6] = 1
    uncertainty = torch.full((1, 1, 8, 8, 8), math.log(0.02 / 0.98)) + 0.3 * torch.randn(1, 1, 8, 8, 8)
    uncertainty.requires_grad_()
    optimiser = torch.optim.Adam([uncertainty], 0.3)
    loss = PaperLoss()
    for _ in range(60):
        optimiser.zero_grad()
        terms = loss(torch.cat((torch.zeros(1, 3, 8, 8, 8), uncertainty), 1), regions, error)
        terms.total.backward()
        optimiser.step()
    u = torch.sigmoid(uncertainty.detach())
    assert float(terms.rmsd.detach()) < 0.05
    assert float(terms.correlation.detach()) < 0.01
    assert float(u[error > 0].min()) > 0.9


# -- where it may go wrong -------------------------------------------------------------------------------------------


def hard_cases() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Raw output, regions and error that make a naive form NaN."""
    tumour = regions_of(some_labels(17))
    nothing, silent = torch.zeros(2, 3, *SHAPE), torch.full((2, 3, *SHAPE), -20.0)
    seg, z = torch.randn(2, 3, *SHAPE), torch.randn(2, 1, *SHAPE)
    error, flat = torch.rand(2, 1, *SHAPE), torch.full((2, 1, *SHAPE), 0.02)
    logit = math.log(0.02 / 0.98)
    one_empty = tumour.clone()
    one_empty[0] = 0
    one_silent = seg.clone()
    one_silent[0] = -20
    return {
        "empty mask": (torch.cat((silent, z), 1), nothing, error),
        "one sample's mask is empty": (torch.cat((one_silent, z), 1), one_empty, error),
        "constant uncertainty": (torch.cat((seg, torch.full_like(z, logit)), 1), tumour, error),
        "constant error": (torch.cat((seg, z), 1), tumour, flat),
        "no error at all": (torch.cat((seg, z), 1), tumour, torch.zeros_like(error)),
        "both constant": (torch.cat((seg, torch.full_like(z, logit)), 1), tumour, flat),
        "equal": (torch.cat((seg, z), 1), tumour, torch.sigmoid(z)),
        "equal and constant": (torch.cat((seg, torch.zeros_like(z)), 1), tumour, torch.full_like(flat, 0.5)),
        "saturated": (torch.cat((60 * seg, 60 * z), 1), tumour, (error > 0.5).float()),
    }


@pytest.mark.parametrize("name", list(hard_cases()))
@pytest.mark.parametrize("mask", list(Mask))
@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_values_and_gradients_are_finite(name: str, mask: Mask, precision: torch.dtype | None) -> None:
    output, regions, error = hard_cases()[name]
    output.requires_grad_()
    loss = replace(PaperLoss(least_weight=1), mask=mask)
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        terms = loss(output if precision is None else output.to(precision), regions, error)
    values = [terms.total, terms.segmentation, terms.unc, terms.rmsd, terms.correlation]
    assert all(value.dtype == torch.float32 and bool(torch.isfinite(value)) for value in values)
    (gradient,) = torch.autograd.grad(terms.total, output)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) < 1e4


@pytest.mark.parametrize("reduction", ["all", "mask"])
def test_an_empty_mask_asks_for_nothing(reduction: str) -> None:
    u, e, _ = random_maps(18)
    u.requires_grad_()
    empty = torch.zeros_like(e)
    r, valid = weighted_pearson(u, e, empty, least_weight=0)
    total = l_unc(u, e, empty, reduction) + rmsd(u, e, empty).sum() + r.sum()  # type: ignore[arg-type]
    assert float(total.detach()) == 0
    assert not bool(valid.any())
    (gradient,) = torch.autograd.grad(total, u)
    assert float(gradient.abs().max()) == 0


def test_equal_maps_are_at_rest() -> None:
    u, _, m = random_maps(19)
    u.requires_grad_()
    distance = rmsd(u, u.detach(), m).sum()
    assert float(distance.detach()) < 1e-5
    (gradient,) = torch.autograd.grad(distance, u)
    assert float(gradient.abs().max()) == 0


def test_autocast_does_not_change_the_loss() -> None:
    output, regions, error = hard_cases()["constant error"]
    error = torch.rand_like(error)
    plain = PaperLoss(least_weight=1)(output, regions, error)
    with torch.autocast("cpu", torch.bfloat16):
        cast = PaperLoss(least_weight=1)(output, regions, error)
    assert torch.equal(plain.total, cast.total)


def test_sums_of_a_large_patch_do_not_overflow_half_precision() -> None:
    # A sum of 80,000 ones is infinite in float16.
    u, e = torch.ones(1, 1, 50, 40, 40, dtype=torch.float16), torch.zeros(1, 1, 50, 40, 40, dtype=torch.float16)
    weights = torch.ones_like(e)
    assert float(l_unc(u, e, weights)) == 1
    assert float(rmsd(u, e, weights)[0]) == 1
    assert not torch.isfinite(weights.sum(dtype=torch.float16))


def test_heads_without_a_meaning_are_refused() -> None:
    volume = torch.zeros(1, 7, 4, 4, 4)
    with pytest.raises(ValueError, match="no meaning for the head regions_gaussian"):
        PaperLoss()(volume, volume[:, :3], volume[:, :1], head=Head.REGIONS_GAUSSIAN)


def test_comparing_the_uncertainty_alone_is_the_loss_without_its_segmentation() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 4, 8, 8, 8, generator=generator)
    regions = (torch.rand(2, 3, 8, 8, 8, generator=generator) > 0.5).float()
    error = torch.rand(2, 1, 8, 8, 8, generator=generator)
    loss = PaperLoss(least_weight=10)
    masked = MaskedUncertaintyNetwork(torch.nn.Identity())
    masked.masking = False
    logits, u = masked(output)
    alone, whole = loss.compare(u, logits, regions, error), loss(output, regions, error)
    assert float(alone.segmentation) == 0
    assert float(alone.total) == pytest.approx(float(whole.total - whole.segmentation), abs=1e-6)


def test_before_the_first_visit_the_comparison_is_zero_and_differentiable() -> None:
    u = torch.full((2, 1, 8, 8, 8), 0.5, requires_grad=True)
    visited = torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
    terms = PaperLoss().compare(u, torch.zeros(2, 3, 8, 8, 8), torch.ones(2, 3, 8, 8, 8), u.detach() * 0, visited)
    assert float(terms.total.detach()) == 0
    (gradient,) = torch.autograd.grad(terms.total, u)
    assert bool((gradient == 0).all())
