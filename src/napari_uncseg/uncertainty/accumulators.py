"""Members reduced to maps as they arrive: memory does not grow with their number. For numpy and torch alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, cast

from napari_uncseg.arrays import ArrayT
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.uncertainty.measures import (
    at_least_float32,
    bernoulli_variance,
    disagreement,
    entropy,
    is_tensor,
    mutual_information,
    one_minus_max,
)

VOTE = 0.5
"""A member votes for a region in the voxels strictly above it."""


class RunningMean(Generic[ArrayT]):
    """Mean of arrays that come one by one: one array, whatever their number.

    Equal arrays have exactly their own value as mean, and one array is given back bit for bit.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Any = None

    def add(self, array: ArrayT) -> None:
        """Take in the next array, in at least float32; it is not changed and not kept."""
        self.count += 1
        values: Any = at_least_float32(array)
        if self.count == 1:
            self._mean = _copy(values)
        else:
            step = values - self._mean
            step /= self.count
            self._mean += step

    @property
    def value(self) -> ArrayT:
        """The mean; not to be written to. ValueError when nothing was added."""
        if self.count == 0:
            raise ValueError("nothing was added yet")
        return cast(ArrayT, self._mean)


class MemberReducer(Generic[ArrayT]):
    """Mean probability of members and the maps between them.

    Parameters
    ----------
    maps : iterable of MapName
        Maps that will be asked for; only what they need is kept.

    Notes
    -----
    Besides the mean (three volumes), each region whose variance, entropies or votes are asked for takes one or two
    volumes more. The variance is Welford's, for a sum of squares loses its digits where members agree.

    References
    ----------
    Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962).
    Measures: Gal, "Uncertainty in deep learning", thesis, Cambridge (2016), section 3.3.
    """

    def __init__(self, maps: Iterable[MapName] = ()) -> None:
        self._probability: RunningMean[ArrayT] = RunningMean()
        asked = frozenset(maps)

        def of(*measures: Measure) -> set[Region]:
            return {name.region for name in asked if name.measure in measures}

        self._squares: dict[Region, Any] = dict.fromkeys(of(Measure.VARIANCE), 0.0)
        self._entropy: dict[Region, RunningMean[ArrayT]] = {
            region: RunningMean() for region in of(Measure.EXPECTED_ENTROPY, Measure.MUTUAL_INFORMATION)
        }
        self._votes: dict[Region, RunningMean[ArrayT]] = {region: RunningMean() for region in of(Measure.DISAGREEMENT)}

    @property
    def count(self) -> int:
        """Number of members so far."""
        return self._probability.count

    @property
    def mean(self) -> ArrayT:
        """Mean probability (3, ...); of one member exactly its own. ValueError before the first."""
        return self._probability.value

    def add(self, probabilities: ArrayT) -> None:
        """Take in a member.

        Parameters
        ----------
        probabilities : ndarray or torch.Tensor, shape (3, ...)
            WT, TC, ET in 0..1; not changed and not kept.
        """
        regions: Any = at_least_float32(probabilities)
        first = self.count == 0
        before = {} if first else {region: _copy(self._of(self.mean, region)) for region in self._squares}
        self._probability.add(regions)
        for region in tuple(before):
            p = self._of(regions, region)
            product = p - before.pop(region)
            product *= p - self._of(self.mean, region)
            self._squares[region] += product
        for region, entropies in self._entropy.items():
            entropies.add(entropy(self._of(regions, region)))
        for region, votes in self._votes.items():
            votes.add(cast(ArrayT, at_least_float32(self._of(regions, region) > VOTE)))

    def map(self, name: MapName, calibrated: ArrayT | None = None) -> ArrayT:
        """One of the maps that were asked for.

        Parameters
        ----------
        name : MapName
        calibrated : ndarray or torch.Tensor, shape (3, ...), optional
            Recalibrated mean probability. Measures of the mean alone (entropy, var1shot, one_minus_max) are taken of
            it; measures between members stay those of the members as they are.

        Returns
        -------
        ndarray or torch.Tensor, shape (...)

        Raises
        ------
        ValueError
            When the map was not asked for, or is between members and there is but one.
        """
        if name.between_members and self.count < 2:
            raise ValueError(f"{name} needs at least two members")
        mean = self._of(self.mean, name.region)
        alone = mean if calibrated is None else self._of(calibrated, name.region)
        region = name.region
        made: dict[str, Callable[[], Any]] = {
            Measure.ENTROPY: lambda: entropy(alone),
            Measure.VAR1SHOT: lambda: bernoulli_variance(alone),
            Measure.ONE_MINUS_MAX: lambda: one_minus_max(alone),
            Measure.EXPECTED_ENTROPY: lambda: self._entropy[region].value,
            Measure.MUTUAL_INFORMATION: lambda: mutual_information(mean, self._entropy[region].value),
            # Divided by the count, not by one less: what is told is the spread of these very members.
            Measure.VARIANCE: lambda: self._squares[region] / self.count,
            Measure.DISAGREEMENT: lambda: disagreement(self._votes[region].value),
        }
        if name.measure not in made:
            raise ValueError(f"{name} is not computed from members")
        try:
            return cast(ArrayT, made[name.measure]())
        except KeyError as error:
            raise ValueError(f"{name} was not asked for") from error

    @staticmethod
    def _of(array: Any, region: Region) -> Any:
        return array[REGIONS.index(region)]


def _copy(array: Any) -> Any:
    return array.clone() if is_tensor(array) else array.copy()
