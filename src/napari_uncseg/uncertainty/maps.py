"""Uncertainty of a voxel, from one probability or from those of several members; for numpy and torch alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, cast

from napari_uncseg.errors import UncsegError
from napari_uncseg.labels import Region
from napari_uncseg.uncertainty.arrays import at_least_float32, namespace, special

ArrayT = TypeVar("ArrayT")


class Measure(StrEnum):
    """What a map measures; its name on disk, for WT."""

    ENTROPY = "entropy"
    EXPECTED_ENTROPY = "expected_entropy"
    MUTUAL_INFORMATION = "mutual_information"
    VARIANCE = "variance"
    DISAGREEMENT = "disagreement"
    VAR1SHOT = "var1shot"
    ONE_MINUS_MAX = "one_minus_max"

    @property
    def between_members(self) -> bool:
        """Whether it speaks of several members and is undefined for one."""
        return self in (
            Measure.EXPECTED_ENTROPY,
            Measure.MUTUAL_INFORMATION,
            Measure.VARIANCE,
            Measure.DISAGREEMENT,
        )


@dataclass(frozen=True)
class MapName:
    """A measure of a region; ``str()`` is its name on disk: ``entropy`` of WT, ``entropy-et`` of ET.

    Parameters
    ----------
    measure : Measure
    region : Region
    """

    measure: Measure
    region: Region = Region.WT

    def __str__(self) -> str:
        return str(self.measure) if self.region is Region.WT else f"{self.measure}-{self.region.lower()}"


def parse_maps(words: Sequence[str]) -> tuple[MapName, ...]:
    """Maps that words name, each once, in the order given.

    Parameters
    ----------
    words : sequence of str
        As ``entropy``, ``variance-et``; ``entropy-wt`` is ``entropy``.

    Raises
    ------
    UncsegError
        When a word names no map, or there is no word.
    """
    names = []
    for word in words:
        measure, _, region = word.strip().lower().partition("-")
        try:
            names.append(MapName(Measure(measure), Region(region.upper() or Region.WT)))
        except ValueError as error:
            raise UncsegError(
                f"There is no map {word!r}; choose from {', '.join(Measure)}, with -tc or -et behind for these regions."
            ) from error
    if not names:
        raise UncsegError(f"No map is named; choose from {', '.join(Measure)}.")
    return tuple(dict.fromkeys(names))


def entropy(probability: ArrayT) -> ArrayT:
    """Binary entropy, ``-p ln p - (1 - p) ln(1 - p)``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped. With members, their mean.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        Nats in 0..ln 2; float32, or float64 for float64 input. 0 at p = 0 and p = 1.

    References
    ----------
    Shannon, "A mathematical theory of communication", Bell System Technical Journal 27 (1948), section 6.
    """
    p, fn = _clipped(probability), special(probability)
    # xlog1py keeps the digits of ln(1 - p) that 1 - p would round away for small p.
    return cast(ArrayT, -(fn.xlogy(p, p) + fn.xlog1py(1 - p, -p)))


def bernoulli_variance(probability: ArrayT) -> ArrayT:
    """Variance of a Bernoulli variable, ``p (1 - p)``: the one-pass ``var1shot``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.25; float32, or float64 for float64 input.
    """
    p = _clipped(probability)
    return cast(ArrayT, p * (1 - p))


def one_minus_max(probability: ArrayT) -> ArrayT:
    """One minus the probability of the likelier answer, ``1 - max(p, 1 - p)``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped. With members, their mean.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.5; float32, or float64 for float64 input. For a calibrated p the probability that ``p > 0.5`` errs.

    References
    ----------
    Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017.
    """
    p = _clipped(probability)
    return cast(ArrayT, namespace(p).minimum(p, 1 - p))


def mutual_information(mean_probability: ArrayT, expected_entropy: ArrayT) -> ArrayT:
    """Mutual information of the answer and the member, ``h(mean p) - mean h(p)``.

    Parameters
    ----------
    mean_probability : ndarray or torch.Tensor of any shape
        Mean of the members' probabilities.
    expected_entropy : ndarray or torch.Tensor of the same shape
        Mean of the members' entropies, nats.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        Nats in 0..ln 2; 0 where the members agree. Rounding below 0 is clipped.

    References
    ----------
    Houlsby et al., "Bayesian active learning for classification and preference learning", arXiv 1112.5745 (2011).
    """
    difference: Any = entropy(mean_probability) - cast(Any, expected_entropy)
    return cast(ArrayT, namespace(difference).clip(difference, 0.0, None))


def disagreement(votes_for: ArrayT) -> ArrayT:
    """Share of the members that voted against the majority, ``min(v, 1 - v)``.

    Parameters
    ----------
    votes_for : ndarray or torch.Tensor of any shape
        Share *v* of the members with p > 0.5, in 0..1.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.5; 0 where all members gave one answer.

    References
    ----------
    Freeman, "Elementary applied statistics" (1965): the variation ratio.
    """
    share: Any = votes_for
    return cast(ArrayT, namespace(share).minimum(share, 1 - share))


def _clipped(probability: Any) -> Any:
    return namespace(probability).clip(at_least_float32(probability), 0.0, 1.0)
