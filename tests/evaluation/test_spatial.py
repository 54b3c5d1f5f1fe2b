"""Spatial measures on maps whose answer is known, and against whole-volume loops."""

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.spatial import ShellCalibration, Spatial, best_threshold, shell_names, shells_of
from napari_uncseg.labels import REGIONS, Region

SHAPE = (24, 22, 20)


def _box():
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:16, 7:15, 6:14] = 2
    return labels


def _read(metric, case):
    metric.add(case)
    return {value.metric: value for value in metric.per_case()}


def test_uncertainty_at_the_boundary_and_away_from_it():
    labels = _box()
    near = np.zeros(SHAPE, np.float32)
    near[7, 10, 10] = near[8, 10, 10] = 0.5  # both faces of the boundary
    far = np.zeros(SHAPE, np.float32)
    far[0, 0, 0] = 1
    case = case_from_arrays(labels, labels, maps={"near": near, "far": far, "half": (near + far) / 2, "none": far * 0})
    found = {name: _read(Spatial(name, Region.WT), case)["buc"] for name in ("near", "far", "half", "none")}
    assert (found["near"].value, found["far"].value, found["half"].value) == (1, 0, 0.5)
    assert math.isnan(found["none"].value)
    assert found["near"].count == labels.size


def test_distances_end_at_3_mm():
    labels = _box()
    for steps, value in ((3, 1.0), (4, 0.0)):
        u = np.zeros(SHAPE, np.float32)
        u[7 - steps + 1, 10, 10] = 1
        assert _read(Spatial("u", Region.WT), case_from_arrays(labels, labels, maps={"u": u}))["buc"].value == value


def test_smoothing_agrees_with_the_whole_volume(case):
    for region in REGIONS:
        found = _read(Spatial("entropy", region), case)
        u = case.uncertainty("entropy", region)
        failure = case.failure(region).astype(np.float32)
        for mm in (1, 2, 4):
            sigmas = [mm / size for size in case.spacing]
            smoothed = [ndimage.gaussian_filter(volume, sigmas, truncate=4.0) for volume in (u, failure)]
            expected = np.abs(smoothed[0] - smoothed[1])[case.tumour].mean()
            assert found[f"smooth_mae_{mm}mm"].value == pytest.approx(expected, rel=1e-4)
            assert found[f"smooth_mae_{mm}mm"].count == case.tumour.sum()


def test_a_map_of_the_errors_agrees_with_them_fully():
    labels, shifted = _box(), np.roll(_box(), 1, axis=0)
    failure = ((labels > 0) ^ (shifted > 0)).astype(np.float32)
    beside = np.roll(failure, 1, axis=1)
    case = case_from_arrays(shifted, labels, maps={"exact": failure, "beside": beside, "none": failure * 0})
    exact, beside_, none = (_read(Spatial(name, Region.WT), case) for name in ("exact", "beside", "none"))
    assert exact["ue_overlap_best"].value == 1
    assert exact["smooth_mae_1mm"].value == pytest.approx(0, abs=1e-7)
    # A voxel off costs less the wider the smoothing, and less than no map at all.
    widths = [f"smooth_mae_{mm}mm" for mm in (1, 2, 4)]
    assert beside_[widths[0]].value > beside_[widths[1]].value > beside_[widths[2]].value
    assert all(beside_[width].value < none[width].value for width in widths)


def test_overlap_at_a_threshold_agrees_with_a_loop(case):
    metric = Spatial("unc_output", Region.WT, threshold=0.3333)
    found = _read(metric, case)
    u, failure = case.uncertainty("unc_output", Region.WT)[case.brain], case.failure(Region.WT)[case.brain]

    def overlap(threshold):
        flagged = u > np.float32(threshold)
        return 2 * (flagged & failure).sum() / (flagged.sum() + failure.sum())

    assert found["ue_overlap"].value == pytest.approx(overlap(0.3333))
    best = max(metric.thresholds, key=overlap)
    assert best_threshold(metric) == pytest.approx(float(best))
    assert found["ue_overlap_best"].value == pytest.approx(overlap(best))
    assert "ue_overlap" not in _read(Spatial("unc_output", Region.WT), case)


def test_undefined_has_a_reason():
    nothing = np.zeros(SHAPE, np.uint8)
    case = case_from_arrays(nothing, nothing, probabilities=np.zeros((3, *SHAPE)), maps={"u": np.ones(SHAPE) / 2})
    found = _read(Spatial("u", Region.WT), case) | _read(ShellCalibration(Region.WT), case)
    assert all(math.isnan(value.value) and value.undefined for value in found.values())
    assert found["ue_overlap_best"].undefined == "no errors"
    assert found["ece_by_distance_0_1mm"].undefined == "empty reference, no boundary"


@pytest.mark.parametrize("region", REGIONS)
def test_calibration_by_shell_agrees_with_a_loop(case, region):
    found = _read(ShellCalibration(region, bins=10), case)
    shells = shells_of(case, "reference", region)
    probability = case.probability(region)
    reference = case.reference[REGIONS.index(region)]
    total = 0
    for number, name in enumerate(shell_names()):
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
    assert shell_names() == ("0_1mm", "1_3mm", "3_6mm", "beyond_6mm")


def test_pooled_is_the_reading_of_the_sums(cases):
    whole, parts = Spatial("entropy", Region.TC), [Spatial("entropy", Region.TC) for _ in range(2)]
    for number, case in enumerate(cases):
        whole.add(case)
        parts[number % 2].add(case)
    parts[0].merge(parts[1])
    pooled, merged = whole.pooled(), parts[0].pooled()
    np.testing.assert_allclose([value.value for value in pooled], [value.value for value in merged])
    u = [np.where(case.brain, case.uncertainty("entropy", Region.TC), 0) for case in cases]
    near = sum(
        float(each[shells_of(case, "reference", Region.TC) < 2].sum(dtype=float))
        for each, case in zip(u, cases, strict=True)
    )
    assert pooled[0].value == pytest.approx(near / sum(float(each.sum(dtype=float)) for each in u), rel=1e-6)
