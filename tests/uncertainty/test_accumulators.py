"""Members reduced one by one against the same formulas on the whole stack, in numpy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import COMPUTED, MapName, Measure
from napari_uncseg.uncertainty.accumulators import MemberReducer, RunningMean
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy

ALL = tuple(MapName(measure, region) for measure in COMPUTED for region in REGIONS)

stacks = st.integers(1, 8).flatmap(
    lambda members: arrays(np.float64, (members, 3, 5), elements=st.floats(0, 1, width=32))
)


def stacked(stack: np.ndarray, name: MapName) -> np.ndarray:
    """The textbook formula on all members at once, in float64."""
    p = stack[:, REGIONS.index(name.region)]
    mean = p.mean(0)
    match name.measure:
        case Measure.ENTROPY:
            return entropy(mean)
        case Measure.EXPECTED_ENTROPY:
            return entropy(p).mean(0)
        case Measure.MUTUAL_INFORMATION:
            return np.maximum(entropy(mean) - entropy(p).mean(0), 0)
        case Measure.VARIANCE:
            return p.var(0)
        case Measure.DISAGREEMENT:
            return np.minimum((p > 0.5).mean(0), (p <= 0.5).mean(0))
        case Measure.VAR1SHOT:
            return mean * (1 - mean)
        case Measure.ONE_MINUS_MAX:
            return 1 - np.maximum(mean, 1 - mean)


def reduced(stack, maps=ALL) -> MemberReducer:
    reducer = MemberReducer(maps)
    for member in stack:
        reducer.add(member)
    return reducer


@settings(deadline=None, max_examples=60)
@given(stacks)
@pytest.mark.parametrize("convert", [np.float32, np.float64, torch.from_numpy], ids=["float32", "float64", "torch"])
def test_streaming_equals_the_stack(convert, stack):
    members = [convert(member) for member in stack]
    reducer = reduced(members)
    assert reducer.count == len(stack)
    assert isinstance(reducer.mean, type(members[0]))
    np.testing.assert_allclose(np.asarray(reducer.mean), stack.mean(0), atol=1e-6)
    for name in ALL:
        if name.between_members and len(stack) == 1:
            with pytest.raises(ValueError, match="at least two members"):
                reducer.map(name)
        else:
            np.testing.assert_allclose(
                np.asarray(reducer.map(name)), stacked(stack, name), atol=1e-6, err_msg=str(name)
            )


@settings(deadline=None, max_examples=60)
@given(stacks)
def test_bounds_and_laws(stack):
    if len(stack) < 2:
        stack = np.concatenate([stack, stack])
    reducer = reduced(stack)
    for region in Region:
        of = {measure: reducer.map(MapName(measure, region)) for measure in COMPUTED}
        assert (of[Measure.ENTROPY] >= of[Measure.EXPECTED_ENTROPY] - 1e-9).all()
        assert (of[Measure.MUTUAL_INFORMATION] >= 0).all()
        assert (of[Measure.MUTUAL_INFORMATION] <= np.log(2) + 1e-9).all()
        assert (of[Measure.DISAGREEMENT] <= 0.5).all()
        # Law of total variance of a Bernoulli variable: all of it is within the members or between them.
        within = bernoulli_variance(stack[:, REGIONS.index(region)]).mean(0)
        np.testing.assert_allclose(of[Measure.VAR1SHOT], within + of[Measure.VARIANCE], atol=1e-9)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_members_that_agree_leave_nothing_between_them(count):
    member = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    reducer = reduced([member] * count)
    np.testing.assert_array_equal(reducer.mean, member)
    for name in ALL:
        if name.measure in (Measure.MUTUAL_INFORMATION, Measure.VARIANCE, Measure.DISAGREEMENT):
            assert not reducer.map(name).any(), name


def test_hand_computed_values():
    """Two members that say 0 and 1: nothing but disagreement."""
    reducer = reduced([np.zeros((3, 1)), np.ones((3, 1))])
    values = {name.measure: float(reducer.map(name)[0]) for name in ALL}
    log2 = pytest.approx(np.log(2))
    assert values == {
        Measure.ENTROPY: log2,
        Measure.EXPECTED_ENTROPY: 0,
        Measure.MUTUAL_INFORMATION: log2,
        Measure.VARIANCE: 0.25,
        Measure.DISAGREEMENT: 0.5,
        Measure.VAR1SHOT: 0.25,
        Measure.ONE_MINUS_MAX: 0.5,
    }


def test_close_members_keep_the_digits_of_their_variance():
    members = [np.full((3, 1), 0.9 + step, np.float32) for step in (0, 1e-4, 2e-4)]
    expected = np.var(np.float64([member[0, 0] for member in members]))
    assert float(reduced(members).map(MapName(Measure.VARIANCE))[0]) == pytest.approx(expected, rel=2e-3)


def test_one_member_is_given_back_bit_for_bit_and_left_alone():
    member = torch.rand(3, 6)
    before = member.clone()
    reducer = reduced([member])
    assert torch.equal(reducer.mean, member)
    reducer.add(torch.rand(3, 6))
    assert torch.equal(member, before)


def test_only_what_was_asked_for_is_kept():
    reducer = reduced(np.ones((2, 3, 4)), maps=[MapName(Measure.VARIANCE, Region.ET)])
    assert not reducer.map(MapName(Measure.VARIANCE, Region.ET)).any()
    assert reducer.map(MapName(Measure.ENTROPY, Region.TC)).shape == (4,)  # of the mean, which is there in any case
    for name in (MapName(Measure.DISAGREEMENT), MapName(Measure.MUTUAL_INFORMATION), MapName(Measure.EXPECTED_ENTROPY)):
        with pytest.raises(ValueError, match="was not asked for"):
            reducer.map(name)
    with pytest.raises(ValueError, match="was not asked for"):
        reducer.map(MapName(Measure.VARIANCE, Region.WT))


def test_calibration_moves_the_maps_of_the_mean_alone():
    reducer = reduced([np.full((3, 1), 0.2), np.full((3, 1), 0.4)])
    calibrated = np.full((3, 1), 0.5)
    for measure in COMPUTED:
        name = MapName(measure)
        moved = reducer.map(name, calibrated)
        assert np.array_equal(moved, reducer.map(name)) == name.between_members
    assert float(reducer.map(MapName(Measure.ENTROPY), calibrated)[0]) == pytest.approx(np.log(2))


def test_nothing_added_has_no_mean():
    with pytest.raises(ValueError, match="nothing was added"):
        _ = RunningMean().value
