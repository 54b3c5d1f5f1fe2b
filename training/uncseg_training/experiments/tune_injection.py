"""How much injected dropout should drop: the share that makes the mean of the passes fit the references best.

``python -m uncseg_training.experiments.tune_injection STUDY...`` prints a table of the shares, and what to write behind
``uncseg predict --members``.

References
----------
Ledda et al., "Dropout injection at test time for post hoc uncertainty quantification in neural networks",
Information Sciences 645 (2023): a network trained without dropout never learned to bear it, so the share has to be
chosen on studies that did not train it, by the negative log-likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from napari_uncseg.arrays import Mask
from napari_uncseg.errors import EvaluationError
from napari_uncseg.inference.ensemble_spec import MOST, SINGLE, EnsembleSpec, Kind, Layers
from napari_uncseg.inference.forward_pass import Notify
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.models.model import Model, load_model
from napari_uncseg.uncertainty.recalibration.fit import Counts, count_steps, negative_log_likelihood
from napari_uncseg.uncertainty.recalibration.models import STEPS, steps_of
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import usable

INJECTION_CANDIDATES: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Shares of channels that are tried when nobody says."""


@dataclass(frozen=True)
class Tried:
    """What came of one share.

    Parameters
    ----------
    p : float
        Share of channels that was dropped; 0 is one pass without dropout.
    nll : mapping of Region to float
        Negative log-likelihood of the mean probability, nats per voxel, over the brain's voxels of all studies
        together. Probabilities are taken in the steps of a file, a quarter of a step off 0 and 1, as for
        ``uncseg calibrate``.
    dice : mapping of Region to float
        Mean over studies, where both masks are empty 1; it decides nothing.
    """

    p: float
    nll: Mapping[Region, float]
    dice: Mapping[Region, float]

    @property
    def mean_nll(self) -> float:
        """Mean of the three regions' negative log-likelihoods."""
        return float(np.mean([self.nll[region] for region in REGIONS]))


@dataclass(frozen=True)
class Tuned:
    """The share to use, and how it was chosen.

    Parameters
    ----------
    members : EnsembleSpec
        ``dropout_injection`` with the share of the smallest mean negative log-likelihood; of equal ones the smallest.
    rows : tuple of Tried
        One per candidate, the shares rising.
    one_pass : Tried
        The network without dropout, to compare with.
    studies : tuple of str
        Ids of the studies it was chosen on.
    """

    members: EnsembleSpec
    rows: tuple[Tried, ...]
    one_pass: Tried
    studies: tuple[str, ...]

    @property
    def p(self) -> float:
        """The share to use."""
        assert self.members.p is not None  # injection always has one
        return self.members.p

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the choice, a sentence each."""
        notes = []
        best = next(row for row in self.rows if row.p == self.p)
        if best.mean_nll >= self.one_pass.mean_nll:
            notes.append("One pass without dropout fits the references no worse; injection gains nothing here.")
        if len(self.rows) > 1 and best is self.rows[0]:
            notes.append(f"p={self.p:g} is the smallest candidate; a smaller one may fit better still.")
        elif len(self.rows) > 1 and best is self.rows[-1]:
            notes.append(f"p={self.p:g} is the largest candidate; a larger one may fit better still.")
        return tuple(notes)


class _Sums:
    """What one share gave on the studies so far: voxels by probability, and sums of Dice."""

    def __init__(self) -> None:
        self._count = np.zeros((len(REGIONS), STEPS + 1), dtype=np.int64)
        self._true = np.zeros_like(self._count)
        self._dice = np.zeros(len(REGIONS))
        self._studies = 0

    def add(self, prediction: Prediction, study: Study, reference: Mask) -> None:
        """Take in a study with its reference ``(3, x, y, z)``."""
        predicted = region_masks(prediction.segmentation)
        for index in range(len(REGIONS)):
            steps = steps_of(prediction.probabilities[index][study.brain])
            true = reference[index][study.brain]
            self._count[index] += count_steps(steps)
            self._true[index] += count_steps(steps[true])
            self._dice[index] += dice(predicted[index], reference[index])
        self._studies += 1

    def tried(self, p: float) -> Tried:
        """The figures of all studies."""
        nll = {}
        for region, count, true in zip(REGIONS, self._count, self._true, strict=True):
            counts = Counts.of_steps(count, true).clipped()
            nll[region] = negative_log_likelihood(counts, counts.probability)
        mean = (self._dice / self._studies).tolist()
        return Tried(p, nll, dict(zip(REGIONS, mean, strict=True)))


def tune_injection(
    model: Model,
    studies: Iterable[Study],
    *,
    candidates: Sequence[float] = INJECTION_CANDIDATES,
    count: int = 10,
    layers: Layers = Layers.DECODER,
    device: str = "auto",
    notify: Notify | None = None,
) -> Tuned:
    """Choose the share of channels that injected dropout drops, on studies with references.

    Parameters
    ----------
    model : Model
    studies : iterable of Study
        With references; they must neither have trained the network nor test it. Read once, one after the other.
    candidates : sequence of float
        Shares to try, above 0 and below 1, each once.
    count : int
        Passes per prediction.
    layers : Layers
        Where dropout works.
    device : str
        As for :class:`napari_uncseg.inference.predictor.Predictor`.
    notify : callable, optional
        Told a sentence when a run goes on differently than asked for.

    Returns
    -------
    Tuned

    Raises
    ------
    EvaluationError
        When there is no study, one has no reference, or the candidates make no sense.
    ModelError, DeviceError, StudyError
        As :meth:`napari_uncseg.inference.predictor.Predictor.predict`.
    """
    shares = check_candidates(candidates)
    runs = {0.0: SINGLE} | {p: EnsembleSpec(Kind.DROPOUT_INJECTION, count, p=p, layers=layers) for p in shares}
    sums = {p: _Sums() for p in runs}
    predictor = Predictor(model, device=device, notify=notify)
    ids = []
    for study in studies:
        if study.reference is None:
            raise EvaluationError(f"{study.id} has no reference; tune on studies with expert segmentations.")
        reference = region_masks(study.reference)
        for p, ensemble in runs.items():
            sums[p].add(predictor.predict(study, ensemble=ensemble, maps=("entropy",)), study, reference)
        ids.append(study.id)
    if not ids:
        raise EvaluationError("There is no study to tune on; name studies with expert segmentations.")
    one_pass, *rows = (sums[p].tried(p) for p in runs)
    best = min(rows, key=lambda row: row.mean_nll)
    return Tuned(runs[best.p], tuple(rows), one_pass, tuple(ids))


def check_candidates(candidates: Sequence[float]) -> tuple[float, ...]:
    """Candidates in rising order.

    Raises
    ------
    EvaluationError
        When there is none, one is named twice, or one is not above 0 and below 1.
    """
    wrong = [p for p in candidates if not 0 < p < 1]
    if wrong:
        raise EvaluationError(f"{wrong[0]:g} is no share of channels to drop; name candidates above 0 and below 1.")
    if not candidates or len(set(candidates)) < len(candidates):
        raise EvaluationError("Name one candidate or more, each once, as in 0.02,0.05,0.1.")
    return tuple(sorted(candidates))


@harness.experiment
def main(
    folders: harness.StudyFolders,
    model: harness.ModelOption = None,
    candidates: Annotated[str, typer.Option(metavar="P[,P]", help="Shares of channels to try.")] = ",".join(
        map(str, INJECTION_CANDIDATES)
    ),
    count: Annotated[int, typer.Option(min=1, max=MOST, help="Passes of a prediction.")] = 10,
    layers: Annotated[Layers, typer.Option(help="Where dropout works.")] = Layers.DECODER,
    device: harness.Device = "auto",
) -> None:
    """Print the table and what to use."""
    shares = check_candidates([float(word) for word in candidates.split(",")])
    studies = (study for folder in folders for study in usable(folder))
    found = tune_injection(
        load_model(model), studies, candidates=shares, count=count, layers=layers, device=device, notify=typer.echo
    )
    rows = [
        {"p": row.p, "NLL": row.mean_nll, **{f"Dice {region}": value for region, value in row.dice.items()}}
        for row in (found.one_pass, *found.rows)
    ]
    typer.echo(pd.DataFrame(rows).to_string(index=False))
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{len(found.studies)} studies; use: uncseg predict --members {found.members}")


if __name__ == "__main__":
    typer.run(main)
