"""Does a score put the poor predictions last? Rank correlation, risk–coverage curves, triage by a threshold of Dice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from napari_uncseg.arrays import Floats64, Places
from napari_uncseg.errors import EvaluationError
from napari_uncseg.metrics.statistics import CONFIDENCE, FEWEST, Interval, Numbers


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Risk of the studies that are kept when the least confident ones are sent to an expert.

    Parameters
    ----------
    coverage : ndarray of float64, shape (k + 1,)
        Share of studies kept, from 0 to 1; one point per distinct confidence.
    selective_risk : ndarray of float64, shape (k + 1,)
        Mean risk of the kept studies; at coverage 0 that of the most confident ones.
    generalized_risk : ndarray of float64, shape (k + 1,)
        Sum of the risks of the kept studies over the number of all studies.
    count : int
        Number of studies.
    """

    coverage: Floats64
    selective_risk: Floats64
    generalized_risk: Floats64
    count: int


@dataclass(frozen=True)
class Triage:
    """How well a score of uncertainty finds the studies with a low Dice.

    Parameters
    ----------
    auroc : float
        In 0..1; ``nan`` when all studies are on one side.
    threshold : float
        A study is poor when its Dice is below it.
    positives : int
        Number of poor studies.
    count : int
        Number of studies with score and Dice.
    undefined : str
        Why ``auroc`` is ``nan``; empty otherwise.
    """

    auroc: float
    threshold: float
    positives: int
    count: int
    undefined: str = ""


def risk_coverage(risks: Numbers, confidences: Numbers) -> RiskCoverage:
    """Compute the risk–coverage curve of studies.

    Parameters
    ----------
    risks : sequence of float, length n
        For example 1 − Dice; finite.
    confidences : sequence of float, length n
        For example minus the mean entropy; may be infinite (an empty prediction gets −inf), not ``nan``.

    Returns
    -------
    RiskCoverage
        Studies of one confidence come and go together, so that the order of the input has no say.

    Raises
    ------
    EvaluationError
        When there is no study, the lengths differ, or a value is ``nan``.

    References
    ----------
    El-Yaniv and Wiener, JMLR 11 (2010), 1605–1641; Traub et al., "Overcoming common flaws in the evaluation of
    selective classification systems", NeurIPS (2024), for the generalized risk.
    """
    risk, confidence = (np.asarray(numbers, dtype=np.float64).ravel() for numbers in (risks, confidences))
    if risk.size != confidence.size or not risk.size:
        raise EvaluationError(
            f"A risk–coverage curve needs one risk and one confidence per study; there are {risk.size} risks and "
            f"{confidence.size} confidences."
        )
    if not np.isfinite(risk).all() or np.isnan(confidence).any():
        raise EvaluationError("A risk or a confidence of a study is undefined; leave such studies out and count them.")
    distinct, group = np.unique(-confidence, return_inverse=True)
    kept = np.cumsum(np.bincount(group, minlength=distinct.size))
    summed = np.cumsum(np.bincount(group, weights=risk, minlength=distinct.size))
    selective = summed / kept
    return RiskCoverage(
        coverage=np.concatenate([[0.0], kept / risk.size]),
        selective_risk=np.concatenate([selective[:1], selective]),
        generalized_risk=np.concatenate([[0.0], summed / risk.size]),
        count=risk.size,
    )


def aurc(risks: Numbers, confidences: Numbers) -> float:
    """Area under the selective risk over coverage, by trapezoids; the mean risk for a constant confidence.

    Parameters
    ----------
    risks, confidences : sequence of float, length n
        See :func:`risk_coverage`.

    Returns
    -------
    float
        In the unit of the risk; smaller is better.

    References
    ----------
    Geifman and El-Yaniv, NeurIPS (2017); trapezoids over merged ties as in Jaeger et al., ICLR (2023).
    """
    curve = risk_coverage(risks, confidences)
    return float(np.trapezoid(curve.selective_risk, curve.coverage))


def e_aurc(risks: Numbers, confidences: Numbers) -> float:
    """Excess of :func:`aurc` over that of an oracle, which is exactly as confident as the risk is low.

    Parameters
    ----------
    risks, confidences : sequence of float, length n
        See :func:`risk_coverage`.

    Returns
    -------
    float
        0 for the oracle.

    References
    ----------
    Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR (2019).
    """
    return aurc(risks, confidences) - aurc(risks, -np.asarray(risks, dtype=np.float64))


def augrc(risks: Numbers, confidences: Numbers) -> float:
    """Area under the generalized risk over coverage; half the mean risk for a constant confidence.

    Parameters
    ----------
    risks, confidences : sequence of float, length n
        See :func:`risk_coverage`.

    Returns
    -------
    float
        In the unit of the risk; smaller is better. Unlike :func:`aurc` it does not weigh the few most confident
        studies more than the rest.

    References
    ----------
    Traub et al., NeurIPS (2024).
    """
    curve = risk_coverage(risks, confidences)
    return float(np.trapezoid(curve.generalized_risk, curve.coverage))


def triage_auroc(scores: Numbers, dice: Numbers, threshold: float) -> Triage:
    """AUROC with which a score of uncertainty tells the studies of low Dice from the rest.

    Parameters
    ----------
    scores : sequence of float, length n
        Larger is less certain; may be infinite. ``nan`` leaves the study out.
    dice : sequence of float, length n
        In 0..1; ``nan`` leaves the study out.
    threshold : float
        A study with a Dice strictly below it is a positive.

    Returns
    -------
    Triage
        Ties get half credit.

    Raises
    ------
    EvaluationError
        When the lengths differ.
    """
    score, quality = (np.asarray(numbers, dtype=np.float64).ravel() for numbers in (scores, dice))
    if score.size != quality.size:
        raise EvaluationError(f"Triage needs one score and one Dice per study; got {score.size} and {quality.size}.")
    known = ~(np.isnan(score) | np.isnan(quality))
    score, poor = score[known], quality[known] < threshold
    positives, count = int(poor.sum()), int(known.sum())
    if positives in (0, count):
        side = "no study" if positives == 0 else "every study"
        return Triage(math.nan, threshold, positives, count, f"{side} has a Dice below {threshold:g}")
    larger = stats.mannwhitneyu(score[poor], score[~poor]).statistic
    return Triage(float(larger) / (positives * (count - positives)), threshold, positives, count)


def spearman_interval(
    confidences: Numbers, dice: Numbers, others: Numbers | None = None, n: int = 2000, seed: int = 0
) -> Interval:
    """Rank correlation of confidences with Dice, or by how much it is larger than that of other confidences.

    Parameters
    ----------
    confidences, dice : sequence of float, length m
        Of the same studies; confidences may be infinite, nothing is ``nan``.
    others : sequence of float, length m, optional
        Confidences to compare with; both correlations are taken of the same resampled studies.
    n, seed : int
        Number of resamples, and how they are drawn.

    Returns
    -------
    Interval
        By percentiles of resampled studies; of fewer than four there is none.

    References
    ----------
    Spearman, American Journal of Psychology 15 (1904), 72–101; Efron, Annals of Statistics 7 (1979), 1–26.
    """
    true = np.asarray(dice, dtype=np.float64)
    scores = [np.asarray(score, dtype=np.float64) for score in (confidences, others) if score is not None]

    def found(chosen: Places) -> Floats64:
        first, *rest = (_rank_correlations(score[chosen], true[chosen]) for score in scores)
        return first - rest[0] if rest else first

    estimate = float(found(np.arange(true.size)[None])[0]) if true.size > 1 else math.nan
    if true.size < FEWEST:
        return Interval(estimate, math.nan, math.nan, true.size, "none", "fewer than four studies")
    drawn = found(np.random.default_rng(seed).integers(true.size, size=(n, true.size)))
    ends = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    low, high = np.nanquantile(drawn, ends) if np.isfinite(drawn).any() else (math.nan, math.nan)
    undefined = "" if math.isfinite(estimate) else "one of the numbers is the same in all studies"
    return Interval(estimate, float(low), float(high), true.size, "percentile", undefined)


def share_interval(hits: int, count: int) -> Interval:
    """Share of studies with its exact binomial interval (Clopper and Pearson, Biometrika 26 (1934), 404–413)."""
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0, "none", "no study")
    ends = stats.binomtest(hits, count).proportion_ci(CONFIDENCE)
    return Interval(hits / count, float(ends.low), float(ends.high), count, "Clopper–Pearson")


def _rank_correlations(a: Floats64, b: Floats64) -> Floats64:
    """Correlation of the ranks of each row, shape (rows,); nan where one of the two does not vary."""
    left, right = (stats.rankdata(each, axis=1) - (each.shape[1] + 1) / 2 for each in (a, b))
    with np.errstate(invalid="ignore"):
        correlations: Floats64 = (left * right).sum(1) / np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return correlations
