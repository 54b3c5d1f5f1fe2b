"""Monotone maps of a probability: temperature, Platt, isotonic; written once for numpy arrays and torch tensors.

A file holds a probability in steps of 1/32767, so all below half a step is 0 there. Maps are fitted on what files
hold, with a quarter of a step, 2**-17, for what a file calls 0, and act on just that: between 2**-17 and 1 − 2**-17
they follow their curve, beyond they stay at its ends. An exact 0, which a prediction has outside the brain's box,
stays 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat
from pydantic.dataclasses import dataclass

from napari_uncseg.arrays import AnyFloats, ArrayT, Floats64
from napari_uncseg.io.provenance import Fraction
from napari_uncseg.uncertainty.measures import at_least_float32, is_tensor, namespace, special

STEPS = 32767
"""A probability in a file is a whole number of 1/32767; these are the bins of every fit, so nothing is lost."""

SMALLEST = 2.0**-17
"""A quarter of a step, the middle of what a file calls 0; closer to 0 or 1 nothing is told apart."""


Positive = Annotated[FiniteFloat, Field(gt=0)]


class Method(StrEnum):
    """Kinds of recalibration."""

    TEMPERATURE = "temperature"
    PLATT = "platt"
    ISOTONIC = "isotonic"


class MonotoneMap(ABC):
    """A map of probabilities that never turns their order round."""

    def apply(self, probability: ArrayT) -> ArrayT:
        """Recalibrate probabilities.

        Parameters
        ----------
        probability : ndarray or torch.Tensor of any shape
            In 0..1; what rounding puts beyond counts as 0 and 1.

        Returns
        -------
        ndarray or torch.Tensor of the same shape
            In 0..1, a new array; float32, or float64 for float64 input. Exact 0 stays 0; NaN stays NaN.
        """
        xp = namespace(probability)
        p: Any = at_least_float32(probability)
        result = xp.zeros_like(p)
        # Nearly all of a volume is below the first step, where the map has one value.
        result[p > 0] = float(self.curve(np.array([SMALLEST]))[0])
        inside = ~(p <= SMALLEST)
        result[inside] = self.curve(xp.clip(p[inside], SMALLEST, 1 - SMALLEST))
        return cast(ArrayT, result)

    @abstractmethod
    def curve(self, probability: ArrayT) -> ArrayT:
        """The map itself, for a 1-D array of probabilities in 2**-17 to 1 − 2**-17."""

    def content(self) -> dict[str, Any]:
        """The fields of the map, as files have them."""
        return asdict(cast(Any, self))

    @abstractmethod
    def words(self) -> str:
        """The map in a few characters, for a table."""


@dataclass(frozen=True, config={"extra": "forbid"})  # files hold these fields and no others
class Temperature(MonotoneMap):
    """Softer (or sharper) by one number, ``sigmoid(logit(p) / T)``; p = 0.5, and so the segmentation, stays.

    Parameters
    ----------
    temperature : float
        T > 0; 1 changes nothing, more than 1 makes overconfident probabilities softer.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2, arXiv 1706.04599.
    """

    temperature: Positive
    kind: Literal["temperature"] = "temperature"

    def curve(self, probability: ArrayT) -> ArrayT:
        """``sigmoid(logit(p) / T)``."""
        fn = special(probability)
        return cast(ArrayT, fn.expit(fn.logit(probability) / self.temperature))

    def words(self) -> str:
        """Such as ``T 1.25``."""
        return f"T {self.temperature:.3g}"


@dataclass(frozen=True, config={"extra": "forbid"})  # files hold these fields and no others
class Platt(MonotoneMap):
    """A line in logits, ``sigmoid(a logit(p) + b)``: b moves all probabilities where a region is rarer or more common.

    Parameters
    ----------
    slope : float
        a > 0.
    intercept : float
        b.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers (1999), section 2.
    """

    slope: Positive
    intercept: FiniteFloat
    kind: Literal["platt"] = "platt"

    def curve(self, probability: ArrayT) -> ArrayT:
        """``sigmoid(a logit(p) + b)``."""
        fn = special(probability)
        return cast(ArrayT, fn.expit(self.slope * fn.logit(probability) + self.intercept))

    def words(self) -> str:
        """Such as ``a 0.8, b −0.2``."""
        return f"a {self.slope:.3g}, b {self.intercept:.3g}".replace("-", "−")


@dataclass(frozen=True, config={"extra": "forbid"})  # files hold these fields and no others
class Isotonic(MonotoneMap):
    """Any shape that does not fall: straight between its knots, level beyond them. Equal values are ties in rank.

    Parameters
    ----------
    knots : tuple of (float, float)
        At least two pairs of a probability and what it becomes, the first strictly rising, the second not falling,
        strictly between 0 and 1.

    References
    ----------
    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002,
    section 3.
    """

    knots: Annotated[tuple[tuple[Fraction, Annotated[float, Field(gt=0, lt=1)]], ...], Field(min_length=2)]
    kind: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        if not all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(self.knots)):
            raise ValueError("the knots of an isotonic map rise")

    def curve(self, probability: ArrayT) -> ArrayT:
        """Linear interpolation between the knots."""
        xp, p = namespace(probability), cast(Any, probability)
        knots = np.array(self.knots)
        widths = np.diff(knots[:, 0])
        x, y = (_as(column, p) for column in knots.T)
        slopes = _as(np.diff(knots[:, 1]) / widths, p)
        upper = xp.clip(xp.searchsorted(x, p), 1, len(knots) - 1)
        lower = upper - 1
        line = y[lower] + slopes[lower] * (p - x[lower])
        return cast(ArrayT, xp.minimum(xp.maximum(line, y[lower]), y[upper]))

    def words(self) -> str:
        """Such as ``40 knots``."""
        return f"{len(self.knots)} knots"


def step_probabilities() -> Floats64:
    """Probabilities that a file can hold, float64 (32768,), from 0 to 1."""
    return np.arange(STEPS + 1) / STEPS


def steps_of(probability: AnyFloats) -> npt.NDArray[np.uint16]:
    """Number of the step that a file holds for a probability in 0..1."""
    steps: Floats64 = np.rint(np.multiply(probability, STEPS, dtype=np.float64))
    return steps.astype(np.uint16)


def _as(values: Floats64, like: Any) -> Any:
    """Numbers in the library, type and place of an array."""
    if is_tensor(like):
        return namespace(like).as_tensor(values, dtype=like.dtype, device=like.device)
    return values.astype(like.dtype)


IDENTITY = Temperature(1.0)
"""Changes nothing that a file could tell."""
