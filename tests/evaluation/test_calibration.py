import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.calibration import ErrorCalibration, ProbabilityCalibration, ShellCalibration
from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import ece_bound, error_rate_bound, reliability, top_label_reliability
from napari_uncseg.metrics.voxel_sets import VoxelSet


def numbers(metric, case):
    return {value.metric: value.value for value in metric.read(metric.measure(case))}


def case_of(probability, true):
    """A case with the given probabilities of WT and the reference; 1-D arrays."""
    shape = (1, 1, len(true))
    p = np.reshape(probability, shape).astype(np.float32)
    return case_from_arrays(
        np.where(p > 0.5, 2, 0), np.where(np.reshape(true, shape), 2, 0), probabilities=np.stack([p, p * 0, p * 0])
    )


def naive_ece(claimed, true, bins):
    """Loop over right-closed bins in float64."""
    total, gaps = 0.0, []
    for low in range(bins):
        inside = (claimed > low / bins) | (low == 0)
        inside &= claimed <= (low + 1) / bins
        if inside.any():
            gaps.append(abs(claimed[inside].mean() - true[inside].mean()))
            total += inside.sum() * gaps[-1]
    return total / len(claimed), float(np.mean(gaps))


@pytest.mark.parametrize("voxel_set", VoxelSet)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("bins", [10, 15, 20])
def test_agrees_with_scikit_learn_and_a_loop(case, region, voxel_set, bins):
    chosen = case.voxels(voxel_set, region)
    p = case.probability(region)[chosen].astype(np.float64)
    y = case.reference[REGIONS.index(region)][chosen]
    metric = ProbabilityCalibration(region, voxel_set, bins)
    statistic, ours = metric.measure(case), numbers(metric, case)
    assert ours["brier"] == pytest.approx(brier_score_loss(y, p, pos_label=True), abs=1e-6)
    observed, claimed = calibration_curve(y, p, n_bins=bins)
    curve = reliability(statistic, bins)
    some = curve.counts > 0
    np.testing.assert_allclose(curve.observed[some], observed, atol=1e-6)
    np.testing.assert_allclose(curve.claimed[some], claimed, atol=1e-6)
    assert np.isnan(curve.claimed[~some]).all()
    ece, ace = naive_ece(p, y, bins)
    assert ours["ece_classwise"] == pytest.approx(ece, abs=1e-9)
    assert ours["ace_uniform"] == pytest.approx(ace, abs=1e-9)
    assert ours["ece_top_label"] == pytest.approx(naive_ece(np.maximum(p, 1 - p), (p > 0.5) == y, bins)[0], abs=1e-9)
    enough = curve.counts >= 100
    expected = np.abs(curve.claimed - curve.observed)[enough].max() if enough.any() else math.nan
    assert ours["mce"] == pytest.approx(expected, nan_ok=True)


def test_bins_of_equal_mass_agree_with_sorted_voxels():
    generator = np.random.default_rng(0)
    p = generator.beta(0.15, 0.3, 150_000).astype(np.float32)
    y = generator.random(p.size) < p**1.5
    order = np.argsort(p, kind="stable")
    groups = np.split(order, 15)
    expected = np.mean([abs(p[group].mean(dtype=np.float64) - y[group].mean()) for group in groups])
    assert numbers(ProbabilityCalibration(), case_of(p, y))["aece_equal_mass"] == pytest.approx(expected, abs=2e-4)


def test_calibrated_probabilities_have_no_error():
    generator = np.random.default_rng(0)
    p = generator.random(200_000)
    ours = numbers(ProbabilityCalibration(), case_of(p, generator.random(p.size) < p))
    for name in ("ece_classwise", "ece_top_label", "ace_uniform", "aece_equal_mass"):
        assert ours[name] < 0.006
    assert ours["brier"] == pytest.approx(1 / 6, abs=2e-3)


def test_classwise_and_top_label_differ():
    """Too low by 0.2 on both sides of 0.5: as a claim of being right, one makes up for the other."""
    p = np.array([0.78] * 10 + [0.22] * 10)
    y = np.array([True] * 10 + [True] * 4 + [False] * 6)
    ours = numbers(ProbabilityCalibration(), case_of(p, y))
    assert ours["ece_classwise"] == pytest.approx(0.2)
    assert ours["ece_top_label"] == pytest.approx(0.02)


def test_empty_set_and_sparse_bins_are_undefined():
    read = {
        value.metric: value
        for value in ProbabilityCalibration().read(ProbabilityCalibration().measure(case_of([0.2] * 5, [False] * 5)))
    }
    assert read["mce"].undefined == "no bin of 100 voxels"
    assert read["brier"].value == pytest.approx(0.04)
    assert read["brier"].bins is None
    metric = ProbabilityCalibration(voxel_set=VoxelSet.UNION)
    empty = metric.read(metric.measure(case_of([0.2] * 5, [False] * 5)))
    assert all(math.isnan(value.value) and value.undefined == "empty voxel set" and not value.count for value in empty)


def test_map_that_claims_errors(case):
    metric = ErrorCalibration("unc_output", Region.WT, VoxelSet.TUMOUR)
    ours = numbers(metric, case)
    u, failure = case.maps["unc_output"][case.tumour].astype(np.float64), case.failure(Region.WT)[case.tumour]
    ece, ace = naive_ece(u, failure, 15)
    assert ours["error_ece"] == pytest.approx(ece, abs=1e-9)
    assert ours["error_ace_uniform"] == pytest.approx(ace, abs=1e-9)
    assert ours["error_brier"] == pytest.approx(np.mean((u - failure) ** 2), abs=1e-9)
    assert set(ours) == {f"error_{name}" for name in ("ece", "ace_uniform", "aece_equal_mass", "mce", "brier")}
    assert all(value.map == "unc_output" for value in metric.read(metric.measure(case)))


def test_what_is_no_probability_is_refused():
    makers = [
        lambda: ErrorCalibration("entropy"),
        *(partial(ProbabilityCalibration, bins=bins) for bins in (0, 7, 100)),
    ]
    for make in makers:
        with pytest.raises(EvaluationError):
            make()


def test_pooled_is_that_of_all_voxels(cases):
    metric = ProbabilityCalibration(Region.ET, VoxelSet.UNION)
    for case in cases:
        metric.add(case)
    chosen = [case.voxels(VoxelSet.UNION, Region.ET) for case in cases]
    p = np.concatenate([case.probabilities[2][where] for case, where in zip(cases, chosen, strict=True)])
    y = np.concatenate([case.reference[2][where] for case, where in zip(cases, chosen, strict=True)])
    pooled = {value.metric: value for value in metric.pooled()}
    assert pooled["ece_classwise"].value == pytest.approx(naive_ece(p.astype(np.float64), y, 15)[0], abs=1e-9)
    assert pooled["brier"].value == pytest.approx(brier_score_loss(y, p.astype(np.float64), pos_label=True), abs=1e-9)
    assert pooled["brier"].count == len(y)


def test_many_voxels_are_counted_exactly():
    """float32 sums of this many equal numbers are off by per cents."""
    p = np.full(3_000_000, 0.1, dtype=np.float32)
    ours = numbers(ProbabilityCalibration(), case_of(p, np.zeros(p.size, dtype=bool)))
    assert ours["ece_classwise"] == pytest.approx(float(np.float32(0.1)), abs=1e-12)


def test_diagram_of_the_more_probable_class(case):
    curve = top_label_reliability(ProbabilityCalibration().measure(case))
    assert curve.counts[:7].sum() == 0
    assert curve.counts.sum() == case.brain.sum()
    assert curve.edges.shape == (16,)


def test_bound_of_a_dice():
    assert error_rate_bound(1.0) == 0
    assert error_rate_bound(0.714) == pytest.approx(0.445, abs=5e-4)
    assert ece_bound(0.714) == pytest.approx(0.722, abs=5e-4)
    assert ece_bound(0.0) == 1.0


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 8), st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_no_calibration_error_exceeds_the_bound(seed, sharpness, share):
    generator = np.random.default_rng(seed)
    y = generator.random(300) < share
    p = 1 / (1 + np.exp(-sharpness * (y - 0.5 + generator.normal(size=300))))
    case = case_of(p, y)
    prediction, reference = case.prediction[0], case.reference[0]
    size = prediction.sum() + reference.sum()
    if size == 0:
        return
    bound = ece_bound(2 * float((prediction & reference).sum()) / float(size))
    for voxel_set in (VoxelSet.REFERENCE, VoxelSet.PREDICTION, VoxelSet.UNION):
        ours = numbers(ProbabilityCalibration(voxel_set=voxel_set), case)
        for name in ("ece_classwise", "ece_top_label"):
            assert math.isnan(ours[name]) or ours[name] <= bound + 1e-9


@pytest.mark.parametrize("region", REGIONS)
def test_calibration_by_shell_agrees_with_a_loop(case, region):
    metric = ShellCalibration(region, bins=10)
    found = {value.metric: value for value in metric.read(metric.measure(case))}
    shells = case.shells(region)
    probability = case.probability(region)
    reference = case.reference[REGIONS.index(region)]
    total = 0
    for number, name in enumerate(("0_1mm", "1_3mm", "3_6mm", "beyond_6mm")):
        inside = case.brain & (shells == number)
        p, y = probability[inside], reference[inside]
        cell = np.minimum((p * 10).astype(int), 9)
        expected = sum(
            (cell == b).mean() * abs(p[cell == b].mean(dtype=float) - y[cell == b].mean())
            for b in range(10)
            if (cell == b).any()
        )
        value = found[f"ece_by_distance_{name}"]
        assert value.value == pytest.approx(expected, abs=1e-6)
        assert (value.count, value.bins) == (inside.sum(), 10)
        total += value.count
    assert total == case.brain.sum()


def test_without_a_boundary_there_is_no_shell():
    nothing = np.zeros((8, 8, 8), np.uint8)
    metric = ShellCalibration(Region.WT)
    found = metric.read(metric.measure(case_from_arrays(nothing, nothing, probabilities=np.zeros((3, 8, 8, 8)))))
    assert {value.undefined for value in found} == {"empty reference, no boundary"}
    assert all(math.isnan(value.value) and not value.count for value in found)
