import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.discrimination import NO_ERRORS, NO_VOXELS, ONLY_ERRORS, Discrimination, MeanUncertainty
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.discrimination import errors_caught_curve, roc_curve
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.metrics.voxel_sets import VoxelSet


def numbers(metric, case):
    return {value.metric: value.value for value in metric.read(metric.measure(case))}


def case_of(failure, values, name="mine"):
    """A case whose voxels fail where told, with a map of the given values; 1-D arrays."""
    shape = (1, 1, len(values))
    return case_from_arrays(
        np.where(failure, 2, 0).reshape(shape), np.zeros(shape, dtype=int), maps={name: np.reshape(values, shape)}
    )


@pytest.mark.parametrize("voxel_set", [VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.UNION])
@pytest.mark.parametrize(("name", "region"), [("unc_output", Region.WT), *(("entropy", region) for region in REGIONS)])
def test_agrees_with_scikit_learn_on_a_case(case, name, region, voxel_set):
    chosen = case.voxels(voxel_set, region)
    failure, values = case.failure(region)[chosen], case.uncertainty(name, region)[chosen]
    ours = numbers(Discrimination(name, region, voxel_set), case)
    # Among a few hundred voxels, the few pairs that share a bin weigh more.
    rounding = 1 if chosen.sum() > 5000 else 4
    assert ours["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(failure, values), abs=1e-4 * rounding)
    precision = sklearn_metrics.average_precision_score(failure, values)
    assert ours["auprc"] == pytest.approx(precision, abs=5e-4 * rounding)
    assert ours["prevalence"] == pytest.approx(failure.mean())
    assert ours["auprc_over_prevalence"] == pytest.approx(precision / failure.mean(), rel=5e-3)
    fpr, tpr, _ = sklearn_metrics.roc_curve(failure, values)
    assert ours["fpr_at_95_tpr"] == pytest.approx(np.interp(0.95, tpr, fpr), abs=2e-3)


SHAPES = {
    "uniform": lambda p, generator: p,
    "piled up at 0": lambda p, generator: p**12,
    "piled up at 1": lambda p, generator: 1 - (1 - p) ** 12,
    "narrow": lambda p, generator: 0.3 + 0.05 * p,
    "confident": lambda p, generator: 1 / (1 + np.exp(-40 * (p - 0.5))),
    "int16": lambda p, generator: np.round(p**3 * 32767) / 32767,
    "few levels": lambda p, generator: np.round(p * 4) / 4,
    "constant": lambda p, generator: np.full_like(p, 0.4),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("prevalence", "count"), [(0.01, 40_000), (0.1, 100_000), (0.4, 40_000)])
def test_agrees_with_scikit_learn_however_values_pile_up(shape, prevalence, count):
    generator = np.random.default_rng(3)
    failure = generator.random(count) < prevalence
    plain = generator.beta(np.where(failure, 3, 1.5), np.where(failure, 2, 4))
    values = SHAPES[shape](plain, generator).astype(np.float32)
    ours = numbers(Discrimination("mine"), case_of(failure, values))
    assert ours["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(failure, values), abs=1e-4)
    assert ours["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(failure, values), abs=5e-4)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60).filter(
        lambda pairs: len({failed for failed, _ in pairs}) == 2
    ),
    st.sampled_from([lambda v: v, lambda v: v**2, lambda v: np.sqrt(v), lambda v: 0.1 + 0.5 * v]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_only_the_order_of_values_matters(pairs, transform, random):
    def measured(failure, values):
        return numbers(Discrimination("mine"), case_of(np.array(failure), np.array(values)))

    failure, values = [failed for failed, _ in pairs], [value / 20 for _, value in pairs]
    plain = measured(failure, values)
    assert plain["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(failure, values), abs=1e-12)
    assert plain["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(failure, values), abs=1e-12)
    assert measured(failure, [float(transform(value)) for value in values]) == pytest.approx(plain, nan_ok=True)
    order = list(range(len(pairs)))
    random.shuffle(order)
    shuffled = measured([failure[place] for place in order], [values[place] for place in order])
    assert shuffled == pytest.approx(plain, nan_ok=True)


def test_errors_caught_by_a_review():
    values = np.linspace(0, 1, 1000)
    failure = np.zeros(1000, dtype=bool)
    failure[[999, 995, 985, 960, 100]] = True
    ours = numbers(Discrimination("mine"), case_of(failure, values))
    for percent, caught in ((1, 2), (2, 3), (5, 4), (10, 4)):
        assert ours[f"errors_caught_{percent}"] == pytest.approx(caught / 5)
        assert ours[f"precision_at_{percent}"] == pytest.approx(caught / (10 * percent))


def test_review_of_ties_finds_its_share():
    ours = numbers(Discrimination("mine"), case_of(np.arange(1000) < 300, np.full(1000, 0.5)))
    assert ours["errors_caught_10"] == pytest.approx(0.1)
    assert ours["precision_at_10"] == pytest.approx(0.3)
    assert ours["auroc"] == 0.5
    assert ours["auprc_over_prevalence"] == pytest.approx(1.0)
    assert ours["fpr_at_95_tpr"] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("failure", "voxel_set", "reason", "defined"),
    [
        ([False] * 5, VoxelSet.BRAIN, NO_ERRORS, {"prevalence"} | {f"precision_at_{p}" for p in (1, 2, 5, 10)}),
        ([False] * 5, VoxelSet.UNION, NO_VOXELS, set()),
        (
            [True] * 5,
            VoxelSet.BRAIN,
            ONLY_ERRORS,
            {"prevalence"} | {f"{kind}_{p}" for kind in ("errors_caught", "precision_at") for p in (1, 2, 5, 10)},
        ),
    ],
)
def test_one_class_is_undefined_and_says_why(failure, voxel_set, reason, defined):
    metric = Discrimination("mine", voxel_set=voxel_set)
    read = metric.read(metric.measure(case_of(np.array(failure), np.linspace(0, 1, 5))))
    assert {value.metric for value in read if value.defined} == defined
    assert {value.undefined for value in read if not value.defined} == {reason}
    assert all(value.undefined == "" for value in read if value.defined)


def test_values_state_what_they_are_of(case):
    metric = Discrimination("entropy", Region.ET, VoxelSet.TUMOUR)
    metric.add(case)
    for value in metric.per_case():
        assert (value.region, value.map, value.voxel_set, value.bins) == ("ET", "entropy", "tumour", 4096)
        assert value.count == case.tumour.sum()
        assert value.case == case.id


def test_pooled_is_that_of_all_voxels(cases):
    metric = Discrimination("entropy", voxel_set=VoxelSet.TUMOUR)
    for case in cases:
        metric.add(case)
    failure = np.concatenate([case.failure(Region.WT)[case.tumour] for case in cases])
    values = np.concatenate([case.maps["entropy"][case.tumour] for case in cases])
    pooled = {value.metric: value.value for value in metric.pooled()}
    assert pooled["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(failure, values), abs=1e-4)
    assert pooled["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(failure, values), abs=5e-4)


def test_curves(case):
    statistic = Discrimination("entropy").measure(case)
    fpr, tpr = roc_curve(statistic)
    read = numbers(Discrimination("entropy"), case)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(read["auroc"])
    reviewed, caught = errors_caught_curve(statistic)
    assert np.interp(0.05, reviewed, caught) == pytest.approx(read["errors_caught_5"])
    assert (np.diff(reviewed) >= 0).all()


def test_curves_without_errors_are_nan():
    statistic = Discrimination("mine").measure(case_of(np.zeros(5, dtype=bool), np.linspace(0, 1, 5)))
    assert np.isnan(roc_curve(statistic)[1]).all()
    assert math.isnan(errors_caught_curve(statistic)[1][0])


def means_of(case, name="unc_output", region=Region.WT):
    metric = MeanUncertainty(name, region)
    metric.add(case)
    return {value.metric: value for value in metric.per_case()}


def test_means_by_hand(case):
    found = means_of(case)
    u, predicted = case.uncertainty("unc_output", Region.WT).astype(np.float64), case.prediction[0]
    mask = dilate_mm(predicted, case.spacing, 5.0)
    expected = {
        "mean_brain": u[case.brain].mean(),
        "mean_prediction": u[predicted].mean(),
        "mean_tumour": u[mask].mean(),
    }
    assert {name: result.value for name, result in found.items()} == pytest.approx(expected, rel=1e-6)
    assert found["mean_tumour"].count == mask.sum()


def test_no_mean_looks_at_the_reference(case):
    labels = np.where(case.prediction[0], 2, 0)
    u = case.uncertainty("unc_output", Region.WT)
    settings_ = {"maps": {"unc_output": u}, "brain": case.brain, "spacing": case.spacing}
    one, other = (case_from_arrays(labels, reference, **settings_) for reference in (labels, labels * 0))
    first, second = ([(v.metric, v.value) for v in means_of(each).values()] for each in (one, other))
    assert first == second


def test_an_empty_prediction_is_undefined_and_not_certain():
    nothing = np.zeros((8, 8, 8), np.uint8)
    found = means_of(case_from_arrays(nothing, nothing, maps={"unc_output": np.full((8, 8, 8), 0.25)}))
    assert found["mean_brain"].value == pytest.approx(0.25)
    for name in ("mean_prediction", "mean_tumour"):
        assert math.isnan(found[name].value)
        assert found[name].undefined == "empty prediction"
