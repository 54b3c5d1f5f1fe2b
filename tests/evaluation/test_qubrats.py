import dataclasses

import numpy as np
import pytest

from napari_uncseg.evaluation.case import case_from_arrays, upper_bound
from napari_uncseg.evaluation.discrimination import QUBraTS
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.discrimination import THRESHOLDS, filter_curves, qubrats_scores


def loop(case, name, region):
    """The definition, one threshold after the other."""
    index = REGIONS.index(region)
    prediction, reference = case.prediction[index], case.reference[index]
    uncertainty = 100 * case.uncertainty(name, region).astype(np.float64) / upper_bound(name)
    dice, positives, negatives = [], [], []
    for threshold in np.arange(0, 100.1, 2.5):
        kept = uncertainty <= threshold if threshold < 100 else np.ones(case.shape, dtype=bool)
        p, r = prediction & kept, reference & kept
        both = int((p & r).sum())
        dice.append(2 * both / (p.sum() + r.sum()) if p.any() or r.any() else 1.0)
        positives.append(both)
        negatives.append(int((~prediction & ~reference & kept & case.brain).sum()))
    areas = [np.trapezoid(dice, np.linspace(0, 1, 41))]
    for kept in (positives, negatives):
        lost = [(kept[-1] - one) / kept[-1] if kept[-1] else 0.0 for one in kept]
        areas.append(np.trapezoid(lost, np.linspace(0, 1, 41)))
    return areas, dice[-1]


def numbers(metric, case):
    return {value.metric: value.value for value in metric.read(metric.measure(case))}


@pytest.mark.parametrize(("name", "region"), [("unc_output", Region.WT), *(("entropy", region) for region in REGIONS)])
def test_agrees_with_the_loop(cases, name, region):
    for case in cases:
        (dice, positives, negatives), final = loop(case, name, region)
        ours = numbers(QUBraTS(name, region), case)
        assert ours["qubrats_dice_auc"] == pytest.approx(dice, abs=1e-6)
        assert ours["qubrats_ftp_auc"] == pytest.approx(positives, abs=1e-6)
        assert ours["qubrats_ftn_auc"] == pytest.approx(negatives, abs=1e-6)
        score = (dice + 2 - positives - negatives) / 3
        assert ours["qubrats_score"] == pytest.approx(score, abs=1e-6)
        assert ours["qubrats_gain"] == pytest.approx(score - (final + 2) / 3, abs=1e-6)


def test_values_on_a_threshold_and_next_to_zero_are_kept_as_in_the_loop(case):
    values = np.random.default_rng(0).integers(0, 41, case.shape) / 40
    tiny = np.where(values == 0, 1e-30, values)
    for each in (values, tiny):
        own = dataclasses.replace(case, maps={"mine": each.astype(np.float32).astype(np.float32)})
        ours = numbers(QUBraTS("mine"), own)
        assert ours["qubrats_ftn_auc"] == pytest.approx(loop(own, "mine", Region.WT)[0][2], abs=1e-6)
        assert ours["qubrats_dice_auc"] == pytest.approx(loop(own, "mine", Region.WT)[0][0], abs=1e-6)


def test_no_uncertainty_gains_nothing(case):
    none = dataclasses.replace(case, maps={"none": np.zeros(case.shape, dtype=np.float32)})
    ours = numbers(QUBraTS("none"), none)
    prediction, reference = case.prediction[0], case.reference[0]
    dice = 2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())
    assert ours["qubrats_dice_auc"] == pytest.approx(dice)
    assert ours["qubrats_ftp_auc"] == ours["qubrats_ftn_auc"] == 0
    assert ours["qubrats_score"] == pytest.approx((dice + 2) / 3)
    assert ours["qubrats_gain"] == pytest.approx(0)


def test_uncertainty_everywhere_keeps_nothing_but_at_the_last_threshold(case):
    full = dataclasses.replace(case, maps={"full": np.ones(case.shape, dtype=np.float32)})
    statistic = QUBraTS("full").measure(full)
    curves, scores = filter_curves(statistic), qubrats_scores(statistic)
    assert (curves["dice"][:-1] == 1).all()
    assert (curves["filtered_true_positives"][:-1] == 1).all()
    assert (curves["filtered_true_negatives"][-1], curves["filtered_true_positives"][-1]) == (0, 0)
    assert scores["qubrats_ftp_auc"] == scores["qubrats_ftn_auc"] == pytest.approx(1 - 0.5 / 40)


def test_empty_masks_have_a_dice_of_one():
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    case = case_from_arrays(labels, labels, maps={"mine": np.random.default_rng(0).random(labels.shape)})
    ours = numbers(QUBraTS("mine"), case)
    assert ours["qubrats_dice_auc"] == 1
    assert ours["qubrats_ftp_auc"] == 0


def test_pooled_counts_all_voxels(cases):
    metric = QUBraTS("entropy", Region.TC)
    for case in cases:
        metric.add(case)
    pooled = metric.pooled()[0]
    assert pooled.bins == len(THRESHOLDS) == 41
    assert pooled.count == sum(int((case.brain | case.prediction[1] | case.reference[1]).sum()) for case in cases)
