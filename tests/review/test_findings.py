"""Findings: what they hold, in which order, and what is said about them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.review.findings import EXPECTED_ERRORS, LEAST_ML, WEIGHTED_VOLUME, find
from napari_uncseg.review.watershed import REVIEW_SETS, build_watershed, review_voxels

UNC = MapName("unc_output")


def whole(findings, shape):
    """Ranks in the whole volume."""
    labels = np.zeros(shape, dtype=np.int32)
    labels[findings.box] = findings.labels
    return labels


def smooth_noise(seed, shape=(26, 24, 22)):
    """A map with hills and valleys, and a segmentation that follows one of its own."""
    generator = np.random.default_rng(seed)
    hills = ndimage.gaussian_filter(generator.normal(size=(2, *shape)), (0, 2, 2, 2))
    hills = (hills - hills.min()) / np.ptp(hills)
    return Prediction(
        study_id="noise",
        probabilities=np.stack([hills[1]] * 3).astype(np.float32),
        segmentation=np.where(hills[1] > 0.6, 2, 0).astype(np.uint8),
        maps={"unc_output": (hills[0] ** 2).astype(np.float32)},
        affine=np.diag([2.0, 2.0, 2.5, 1.0]),
    )


def test_the_thin_shell_is_no_finding_and_the_two_blobs_are(shell_prediction):
    findings = find(build_watershed(shell_prediction, UNC), 0.3)
    assert len(findings.items) == 2
    edge, far = findings.items
    assert edge.voxel == (42, 30, 28)
    assert far.voxel == (56, 8, 8)
    assert edge.region is Region.WT
    assert "at the tumour margin, " in edge.reason
    assert "far from WT" in far.reason
    assert edge.reason.startswith("wide uncertain region")
    assert far.peak == pytest.approx(0.7)
    # Balls of radius 7 and 5: what is cut off by the lattice is less than a voxel on each side.
    assert edge.thickness_mm == pytest.approx(14, abs=1.5)
    assert far.thickness_mm == pytest.approx(10, abs=1.5)
    doubt = shell_prediction.maps["unc_output"]
    assert far.score == pytest.approx(doubt[50:, :20, :20].sum() / 1000, rel=1e-5)
    # The shell away from the blob is the ring.
    assert findings.ring_ml == pytest.approx(findings.flagged_ml - edge.volume_ml - far.volume_ml, abs=LEAST_ML)
    assert findings.ring_ml > 5


def test_slices_are_counted_from_below(shell_prediction):
    upwards = find(build_watershed(shell_prediction, UNC), 0.3)
    assert upwards.items[0].slice == 29
    turned = dataclasses.replace(shell_prediction, affine=np.diag([-1.0, -1.0, -1.0, 1.0]))
    assert find(build_watershed(turned, UNC), 0.3).items[0].slice == 56 - 28


def test_a_calibrated_map_is_ranked_by_expected_errors_and_others_are_not(shell_prediction):
    assert find(build_watershed(shell_prediction, UNC), 0.3).ranked_by == EXPECTED_ERRORS
    entropy = find(build_watershed(shell_prediction, MapName("entropy", Region.ET)), 0.3)
    assert entropy.ranked_by == WEIGHTED_VOLUME
    assert entropy.items == () or entropy.items[0].region is Region.ET


def test_errors_are_called_so(shell_prediction):
    errors = find(build_watershed(shell_prediction, MapName("error")), 0.5)
    assert errors.items
    assert all("misclassified region" in finding.reason for finding in errors.items)


def test_without_a_tumour_all_doubt_counts(shell_prediction):
    empty = dataclasses.replace(shell_prediction, segmentation=np.zeros_like(shell_prediction.segmentation))
    findings = find(build_watershed(empty, UNC), 0.3)
    assert findings.ring_ml == 0
    assert all("no WT predicted, " in finding.reason for finding in findings.items)


def test_nothing_flagged_is_no_finding(shell_prediction):
    findings = find(build_watershed(shell_prediction, UNC), 0.95)
    assert findings.items == ()
    assert findings.flagged_ml == 0
    assert findings.at((42, 30, 28)) is None


def test_a_voxel_set_cuts_the_findings(shell_prediction):
    watershed = build_watershed(shell_prediction, UNC)
    within = review_voxels(shell_prediction, VoxelSet.TUMOUR, Region.WT)
    findings = find(watershed, 0.3, within)
    assert [finding.voxel for finding in findings.items] == [(42, 30, 28)]
    assert not (whole(findings, within.shape) > 0)[~within].any()


def test_review_sets_need_no_reference(shell_prediction):
    sizes = {}
    for voxel_set in REVIEW_SETS:
        mask = review_voxels(shell_prediction, voxel_set, Region.ET)
        sizes[voxel_set] = shell_prediction.segmentation.size if mask is None else int(mask.sum())
    assert sizes[VoxelSet.PREDICTION] == (shell_prediction.segmentation == 3).sum()
    assert sizes[VoxelSet.PREDICTION] < sizes[VoxelSet.TUMOUR] < sizes[VoxelSet.ALL]
    with pytest.raises(ValueError, match="needs a reference"):
        review_voxels(shell_prediction, VoxelSet.REFERENCE, Region.WT)


def test_a_finding_keeps_its_voxel_while_the_threshold_moves(shell_prediction):
    watershed = build_watershed(shell_prediction, UNC)
    voxels = {tuple(f.voxel for f in find(watershed, threshold).items) for threshold in (0.42, 0.5, 0.55)}
    assert voxels == {((42, 30, 28), (56, 8, 8))}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.floats(0.02, 0.9))
def test_findings_are_disjoint_cover_what_they_claim_and_are_in_order(seed, threshold):
    prediction = smooth_noise(seed)
    values = prediction.maps["unc_output"]
    findings = find(build_watershed(prediction, UNC), threshold)
    labels = whole(findings, values.shape)
    voxel_ml = 0.01
    assert (values[labels > 0] >= np.float32(threshold)).all()
    assert findings.flagged_ml == pytest.approx((values >= np.float32(threshold)).sum() * voxel_ml)
    claimed = sum(finding.volume_ml for finding in findings.items)
    assert findings.flagged_ml == pytest.approx(claimed + findings.ring_ml + findings.small_ml)
    assert set(np.unique(labels)) - {0} == {finding.rank for finding in findings.items}
    assert [finding.rank for finding in findings.items] == list(range(1, len(findings.items) + 1))
    scores = [finding.score for finding in findings.items]
    assert scores == sorted(scores, reverse=True)
    for finding in findings.items:
        mine = labels == finding.rank
        assert mine.sum() * voxel_ml == pytest.approx(finding.volume_ml)
        assert finding.volume_ml >= LEAST_ML - 1e-9
        assert values[mine].max() == pytest.approx(finding.peak)
        assert values[mine].sum() * voxel_ml == pytest.approx(finding.score, rel=1e-4)
        assert values[finding.voxel] == pytest.approx(finding.peak)
        assert findings.at(finding.voxel) == finding
        assert ndimage.label(mine, structure=np.ones((3, 3, 3)))[1] == 1
        box, inside = findings.mask(finding)
        assert inside.sum() == mine.sum()
        assert np.array_equal(mine[box], inside)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6))
def test_a_higher_threshold_never_flags_more(seed):
    watershed = build_watershed(smooth_noise(seed), UNC)
    volumes = [find(watershed, threshold).flagged_ml for threshold in np.linspace(0, 1, 9)]
    assert volumes == sorted(volumes, reverse=True)
