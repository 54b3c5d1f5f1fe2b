"""How likely a voxel is wrong, of each region: ``error_risk``, the map that leads.

What the network says of its own errors, what its probabilities leave open, what members disagree about, what the
images show, and the same of the voxels around, are brought together by a small perceptron. It is fitted on studies
that no member had seen, to the errors made there, so that its value is read as a probability of error.

References
----------
Wolpert, "Stacked generalization", Neural Networks 5 (1992): a second model that learns the errors of a first one from
data the first one had not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator

from napari_uncseg.arrays import Floats32, Floats64, Mask, Places
from napari_uncseg.errors import EvaluationError
from napari_uncseg.labels import MODALITIES, REGIONS, Region
from napari_uncseg.uncertainty.measures import entropy

WIDTHS_MM = (5.0, 9.0)
"""Sides of the boxes whose means tell of the voxels around."""

HIDDEN = 16
"""Units of the hidden layer."""

_PENALTY = 3e-4
"""On the squared weights, beside the mean negative log-likelihood."""

_LARGEST_LOGIT, _LARGEST_FEATURE = 8.0, 4.0
"""Probabilities beyond the first are told apart no more; standardised features are cut at the second, so that a study
unlike all others gets no answer from far outside of what was fitted."""

_CHUNK, _THREADS = 1 << 15, 2
"""Voxels that are told of at once, few enough for the processor's cache; and how many such parts at a time."""


def _weights(values: Any) -> Floats32:
    """Weights of a file, or as they are."""
    weights = np.asarray(values)
    if weights.dtype.kind not in "iuf" or not np.isfinite(weights).all():
        raise ValueError("weights are finite numbers")
    return weights.astype(np.float32, copy=False)


Weights = Annotated[Floats32, PlainValidator(_weights)]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a prediction tells of its errors, volumes of one grid.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (3, x, y, z)
        WT, TC, ET, before any recalibration.
    spacing : sequence of float
        Voxel size in mm.
    channel : ndarray of float32, shape (x, y, z), optional
        ``unc_output_unmasked``, 0..1.
    variance : ndarray of float32, shape (x, y, z), optional
        Of the whole tumour between members, 0..0.25.
    images : ndarray of float32, shape (4, x, y, z), optional
        z-scores of T1c, T1n, T2f and T2w over the brain, see :func:`napari_uncseg.io.study.z_scores`.
    """

    probabilities: Floats32
    spacing: Sequence[float]
    channel: Floats32 | None = None
    variance: Floats32 | None = None
    images: Floats32 | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What :meth:`features` gives, in its order."""
        maps = ["channel"] * (self.channel is not None) + ["deviation"] * (self.variance is not None)
        maps += MODALITIES if self.images is not None else ()
        names = [name for each in maps for name in (each, *(f"{each} {width:g} mm" for width in WIDTHS_MM))]
        for region in REGIONS:
            names += [f"logit {region}", f"entropy {region}", f"inside {region}"]
            names += [f"logit {region} {width:g} mm" for width in WIDTHS_MM]
        return tuple(names)

    def features(self, voxels: Places) -> Iterator[Floats32]:
        """Features of voxels (flat indices, C order), float32 (n,) each."""
        volumes = [] if self.channel is None else [_logit(self.channel)]
        volumes += [] if self.variance is None else [np.sqrt(self.variance)]
        volumes += [] if self.images is None else list(self.images)
        parts = [partial(self._of_volume, volume) for volume in volumes]
        parts += [partial(self._of_probability, probability) for probability in self.probabilities]
        # The filters let go of the interpreter's lock.
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from chain.from_iterable(pool.map(lambda part: part(voxels), parts))

    def _of_volume(self, volume: Floats32, voxels: Places) -> list[Floats32]:
        return [each.ravel()[voxels] for each in (volume, *self._means(volume))]

    def _of_probability(self, probability: Floats32, voxels: Places) -> list[Floats32]:
        own = probability.ravel()[voxels]
        around = [_logit(mean.ravel()[voxels]) for mean in self._means(probability)]
        return [_logit(own), entropy(own), (own > 0.5).astype(np.float32), *around]

    def _means(self, volume: Floats32) -> Iterator[Floats32]:
        from scipy.ndimage import uniform_filter

        for width in WIDTHS_MM:
            sides = [2 * round(width / (2 * side) - 0.5) + 1 for side in self.spacing]
            yield uniform_filter(volume, [max(1, side) for side in sides], mode="nearest")


@dataclass(frozen=True, eq=False)
class Perceptron:
    """One hidden layer of rectified units, and a logistic output.

    Parameters
    ----------
    centre, scale : ndarray of float32, shape (features,)
        Of the features it was fitted on.
    hidden : ndarray of float32, shape (features + 1, units)
        Weights of the standardised features, and a bias.
    output : ndarray of float32, shape (units + 1,)
        Weights of the units, and a bias.
    """

    centre: Weights
    scale: Weights
    hidden: Weights
    output: Weights

    def __post_init__(self) -> None:
        count, units = len(self.centre), len(self.output) - 1
        if self.scale.shape != (count,) or self.hidden.shape != (count + 1, units) or not (self.scale > 0).all():
            raise ValueError("its weights do not fit one another")

    def __call__(self, features: Floats32) -> Floats32:
        """Probability of error of features (n, features), float32 (n,) in 0..1."""
        units = np.maximum(_standard(features, self.centre, self.scale) @ self.hidden[:-1] + self.hidden[-1], 0)
        with np.errstate(over="ignore"):
            risk: Floats32 = 1 / (1 + np.exp(-(units @ self.output[:-1] + self.output[-1])))
        return risk


@dataclass(frozen=True, eq=False)
class ErrorRisk:
    """What turns the evidence of a prediction into the risk of each region.

    Parameters
    ----------
    features : tuple of str
        What it was fitted on, see :attr:`Evidence.names`.
    regions : mapping of Region to Perceptron
    """

    features: tuple[str, ...]
    regions: Mapping[Region, Perceptron]

    def __post_init__(self) -> None:
        counts = {len(perceptron.centre) for perceptron in self.regions.values()}
        if set(self.regions) != set(REGIONS) or counts != {len(self.features)}:
            raise ValueError("its weights do not fit its features")

    def content(self) -> dict[str, Any]:
        """Plain JSON values, weights to six digits."""
        regions = {
            str(region): {name: _rounded(weights) for name, weights in vars(perceptron).items()}
            for region, perceptron in self.regions.items()
        }
        return {"features": list(self.features), "regions": regions}

    @property
    def uses_images(self) -> bool:
        """Whether it was fitted on the images, too."""
        return MODALITIES[0] in self.features

    def fits(self, evidence: Evidence) -> bool:
        """Whether the evidence holds what this was fitted on."""
        return self.features == evidence.names

    def apply(self, evidence: Evidence, voxels: Mask) -> Floats32:
        """Risk of each region.

        Parameters
        ----------
        evidence : Evidence
        voxels : ndarray of bool, shape (x, y, z)
            The brain: elsewhere the risk is 0.

        Returns
        -------
        ndarray of float32, shape (3, x, y, z)
            Probability that the segmentation of WT, TC and ET is wrong.

        Raises
        ------
        ValueError
            When the evidence holds other features.
        """
        if not self.fits(evidence):
            raise ValueError(f"The error risk was fitted on {self.features}, and here are {evidence.names}.")
        places = np.flatnonzero(voxels)
        table = np.stack(list(evidence.features(places)))  # voxels last: with them first, writing it would take longest
        risk = np.zeros((len(REGIONS), voxels.size), np.float32)

        def tell(start: int) -> None:
            part = slice(start, start + _CHUNK)
            for row, region in zip(risk, REGIONS, strict=True):
                row[places[part]] = self.regions[region](table[:, part].T)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(tell, range(0, len(places), _CHUNK)))
        return risk.reshape(len(REGIONS), *voxels.shape)


def fit_perceptron(
    features: Floats32, wrong: Mask, weights: Floats32, units: int = HIDDEN, seed: int = 0
) -> Perceptron:
    """Fit the risk of one region by weighted logistic loss.

    Parameters
    ----------
    features : ndarray of float32, shape (n, features)
        Of voxels drawn from studies that no member had seen.
    wrong : ndarray of bool, shape (n,)
        Whether the segmentation errs there.
    weights : ndarray of float32, shape (n,)
        How many voxels each stands for.
    units : int
        Size of the hidden layer.
    seed : int
        Of the weights at first; the same seed gives the same result.

    Raises
    ------
    EvaluationError
        When no voxel is wrong, or none is right: there is nothing to learn.
    """
    from scipy.optimize import minimize

    if not 0 < int(wrong.sum()) < len(wrong):
        raise EvaluationError("Error risk is learnt from wrong voxels and right ones; here is one kind alone.")
    centre, scale = features.mean(0), np.maximum(features.std(0), 1e-3)
    count = features.shape[1]
    x, target = _standard(features, centre, scale), wrong.astype(np.float32)
    share = (weights / weights.sum(dtype=np.float64)).astype(np.float32)
    split = (count + 1) * units

    def loss(theta: Floats64) -> tuple[float, Floats64]:
        hidden, output = theta[:split].reshape(count + 1, units).astype(np.float32), theta[split:].astype(np.float32)
        active = np.maximum(x @ hidden[:-1] + hidden[-1], 0)
        logit = active @ output[:-1] + output[-1]
        value = float((share * (np.logaddexp(0, logit) - target * logit)).sum(dtype=np.float64))
        slope = share * (1 / (1 + np.exp(-np.clip(logit, -60, 60))) - target)
        back = np.outer(slope, output[:-1]) * (active > 0)
        parts = ((x.T @ back).ravel(), back.sum(0), active.T @ slope, slope.sum(keepdims=True))
        gradient = np.concatenate(parts).astype(np.float64)
        inner = np.concatenate([theta[: count * units], theta[split:-1]])
        gradient[: count * units] += 2 * _PENALTY * theta[: count * units]
        gradient[split:-1] += 2 * _PENALTY * theta[split:-1]
        return value + _PENALTY * float(inner @ inner), gradient

    random = np.random.default_rng(seed)
    base = float((share * target).sum())
    inward, outward = random.normal(0, 1 / np.sqrt(count), count * units), random.normal(0, 0.1, units)
    first = np.concatenate([inward, np.zeros(units), outward, [np.log(base / (1 - base))]])
    theta = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 150}).x.astype(np.float32)
    return Perceptron(centre, scale, theta[:split].reshape(count + 1, units), theta[split:])


def _standard(features: Floats32, centre: Floats32, scale: Floats32) -> Floats32:
    standard: Floats32 = np.clip((features - centre) / scale, -_LARGEST_FEATURE, _LARGEST_FEATURE)
    return standard


def _logit(probability: Floats32) -> Floats32:
    least = 1 / (1 + np.exp(np.float32(_LARGEST_LOGIT)))
    p = np.clip(probability, least, 1 - least)
    logit: Floats32 = np.log(p / (1 - p))
    return logit


def _rounded(weights: Floats32) -> Any:
    return [float(f"{value:.6g}") for value in weights] if weights.ndim == 1 else [_rounded(row) for row in weights]
