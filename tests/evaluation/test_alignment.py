"""RMSD, Pearson and Spearman against numpy and scipy on the voxels themselves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.evaluation.discrimination import Alignment
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.discrimination import rank_sums, rank_sums_of_failure
from napari_uncseg.metrics.voxel_sets import VoxelSet


def _read(metric: Alignment, *cases: Case):
    for case in cases:
        metric.add(case)
    return {value.metric: value for value in (metric.pooled() if len(cases) > 1 else metric.per_case())}


@pytest.mark.parametrize("voxel_set", [VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.UNION])
@pytest.mark.parametrize("region", REGIONS)
def test_agrees_with_scipy(case, voxel_set, region):
    found = _read(Alignment("entropy", region, voxel_set), case)
    mask = case.voxels(voxel_set, region)
    u, failure = case.uncertainty("entropy", region)[mask].astype(np.float64), case.failure(region)[mask]
    assert found["rmsd"].value == pytest.approx(np.sqrt(((u - failure) ** 2).mean()), abs=1e-9)
    assert found["pearson"].value == pytest.approx(stats.pearsonr(u, failure)[0], abs=1e-9)
    assert found["spearman"].value == pytest.approx(stats.spearmanr(u, failure)[0], abs=1e-9)
    assert {value.count for value in found.values()} == {mask.sum()}
    assert {(value.voxel_set, value.region, value.map) for value in found.values()} == {(voxel_set, region, "entropy")}


def test_against_another_map(case):
    found = _read(Alignment("unc_output", Region.WT, VoxelSet.BRAIN, against="entropy"), case)
    u, v = (case.uncertainty(name, Region.WT)[case.brain] for name in ("unc_output", "entropy"))
    assert found["pearson_to_entropy"].value == pytest.approx(np.corrcoef(u, v)[0, 1], abs=1e-6)
    assert found["spearman_to_entropy"].value == pytest.approx(stats.spearmanr(u, v)[0], abs=1e-9)
    assert found["rmsd_to_entropy"].value == pytest.approx(np.sqrt(np.mean((u - v) ** 2.0)), abs=1e-6)


def test_pooled_moments_are_those_of_all_voxels(cases):
    found = _read(Alignment("unc_output", Region.WT, VoxelSet.BRAIN), *cases)
    u = np.concatenate([case.uncertainty("unc_output", Region.WT)[case.brain] for case in cases])
    failure = np.concatenate([case.failure(Region.WT)[case.brain] for case in cases])
    assert found["pearson"].value == pytest.approx(np.corrcoef(u, failure)[0, 1], abs=1e-6)
    assert found["rmsd"].value == pytest.approx(np.sqrt(np.mean((u - failure) ** 2.0)), abs=1e-6)
    each = [_read(Alignment("unc_output", Region.WT, VoxelSet.BRAIN), case)["spearman"].value for case in cases]
    assert min(each) <= found["spearman"].value <= max(each)


def test_what_does_not_vary_has_no_correlation():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 2
    flat, rising = np.full((6, 6, 6), 0.25, np.float32), np.linspace(0, 1, 216, dtype=np.float32).reshape(6, 6, 6)
    wrong = case_from_arrays(np.roll(labels, 1, 0), labels, maps={"flat": flat, "rising": rising})
    for metric, reason in (
        (Alignment("flat", Region.WT, VoxelSet.ALL), "the map is constant"),
        (Alignment("rising", Region.WT, VoxelSet.ALL, against="flat"), "the map flat is constant"),
    ):
        found = _read(metric, wrong)
        for name in ("pearson", "spearman"):
            value = next(value for key, value in found.items() if key.startswith(name))
            assert math.isnan(value.value)
            assert value.undefined == reason
    right = case_from_arrays(labels, labels, maps={"rising": rising})
    found = _read(Alignment("rising", Region.WT, VoxelSet.ALL), right)
    assert math.isnan(found["pearson"].value)
    assert found["spearman"].undefined == "failure is everywhere or nowhere"
    assert found["rmsd"].value == pytest.approx(np.sqrt((rising.astype(float) ** 2).mean()))


def test_no_voxels_no_numbers():
    nothing = np.zeros((4, 4, 4), np.uint8)
    case = case_from_arrays(nothing, nothing, maps={"u": nothing})
    for value in _read(Alignment("u", Region.WT, VoxelSet.UNION), case).values():
        assert math.isnan(value.value)
        assert (value.undefined, value.count) == ("no voxels", 0)


samples = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None, max_examples=40)
@given(samples)
def test_ranks_of_failure_need_no_ranking(pairs):
    u, failure = (np.array(column) for column in zip(*pairs, strict=True))
    u = u.astype(np.float32) / 7
    np.testing.assert_allclose(rank_sums_of_failure(u, failure), rank_sums(u, failure), atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_order_of_voxels_and_monotone_maps_change_no_spearman(seed):
    generator = np.random.default_rng(seed)
    u, failure = generator.random(200).astype(np.float32), generator.random(200) < 0.2
    order = generator.permutation(200)
    expected = rank_sums_of_failure(u, failure)
    np.testing.assert_allclose(rank_sums_of_failure(u[order] ** 3, failure[order]), expected)
