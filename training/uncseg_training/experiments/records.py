"""What an experiment keeps of a method: predicted study by study, measured on equal terms, on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_uncseg.evaluation.calibration import ProbabilityCalibration
from napari_uncseg.evaluation.case import Case, case_from_arrays, upper_bound
from napari_uncseg.evaluation.discrimination import Alignment, Discrimination, MeanUncertainty, QUBraTS
from napari_uncseg.evaluation.metric import Metric, from_npz, to_npz
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.recalibration import ProbabilitySteps
from napari_uncseg.evaluation.table import COLUMNS, MetricResult, by_case, to_frame
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.files import write_files
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.model import load_model
from napari_uncseg.uncertainty.expected_dice import Quality
from uncseg_training.data.cases import Cases
from uncseg_training.train.config import Config

SETS = (VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR)
"""Voxels whose ranking by uncertainty is judged; the larger the set, the more easy background it holds."""

CALIBRATED_SETS = (VoxelSet.BRAIN, VoxelSet.TUMOUR)
"""Voxels whose probabilities are judged; calibrations are fitted on the first."""

RECORD = "record.json"


@dataclass(frozen=True, eq=False)
class Record:
    """What is kept of one method on one cohort.

    Parameters
    ----------
    values : DataFrame
        Of every study, see :func:`napari_uncseg.evaluation.table.to_frame`.
    steps : mapping of (Region, VoxelSet) to ProbabilitySteps
        Voxels of every study by probability.
    passes : int
        Times a network runs for one study.
    seconds : float
        Of one prediction, mean over the studies.
    quality : mapping of str to mapping of Region to Quality
        What the predictions tell of themselves, by study.
    """

    values: pd.DataFrame
    steps: Mapping[tuple[Region, VoxelSet], ProbabilitySteps]
    passes: int
    seconds: float
    quality: Mapping[str, Mapping[Region, Quality]] = field(default_factory=dict)

    @classmethod
    def of_all(cls, records: Sequence[Record]) -> Record:
        """Several records of one method as one of all their studies."""
        steps = {key: ProbabilitySteps(*key) for key in records[0].steps}
        for key, counted in steps.items():
            for record in records:
                for name, statistic in record.steps[key].cases.items():
                    counted.put(name, statistic)
        return cls(
            pd.concat([record.values for record in records], ignore_index=True),
            steps,
            records[0].passes,
            float(np.mean([record.seconds for record in records])),
            {name: each for record in records for name, each in record.quality.items()},
        )

    def studies(self) -> list[str]:
        """Ids, in the order they were measured."""
        return list(self.values["case"].unique())

    def of(self, metric: str, region: Region, map: str | None = None, voxel_set: VoxelSet | None = None) -> list[float]:  # noqa: A002
        """One number of every study, ``nan`` where it is undefined."""
        criteria = {"metric": metric, "region": region, "map": map} | ({"voxel_set": voxel_set} if voxel_set else {})
        found: list[float] = by_case(self.values, **criteria).reindex(self.studies()).tolist()
        return found


def case_of(prediction: Prediction, study: Study) -> Case:
    """A prediction beside its reference, every map brought to 0..1 by its largest possible value.

    Distances between a map and a failure depend on the map's scale, so all get the same one; the probabilities stay.

    Raises
    ------
    ValueError
        When the study has no reference.
    """
    if study.reference is None:
        raise ValueError(f"{study.id} has no reference to judge by; leave it out.")
    maps = {
        scaled(name): np.clip(values / upper_bound(name), 0, 1)
        for name, values in prediction.maps.items()
        if name.split("-")[0] != "error"
    }
    return case_from_arrays(
        prediction.segmentation,
        study.reference,
        probabilities=prediction.probabilities,
        maps=maps,
        brain=study.brain,
        spacing=study.spacing,
        id=study.id,
        member_count=prediction.member_count,
    )


def scaled(name: str) -> str:
    """What a map in 0..1 is called, so that nobody takes it for the one in nats."""
    return f"unit_{name}"


def metrics_of(case: Case) -> list[Metric]:
    """All that is measured of a case."""
    metrics: list[Metric] = []
    for region in REGIONS:
        metrics.append(Overlap(region))
        metrics += [ProbabilityCalibration(region, voxels) for voxels in (*CALIBRATED_SETS, VoxelSet.UNION)]
        for name in case.uncertainties(region):
            if name.startswith(scaled("")):
                metrics += [Discrimination(name, region, voxels) for voxels in SETS]
                metrics += [
                    Alignment(name, region, VoxelSet.TUMOUR),
                    QUBraTS(name, region),
                    MeanUncertainty(name, region),
                ]
    return metrics


@dataclass(frozen=True)
class Source:
    """Cases as studies on the grid of the networks, read one after the other.

    Parameters
    ----------
    folder : Path
        Of cases (:mod:`uncseg_training.data.cases`).
    config : Config
        Of the cases' grid.
    names : tuple of str, optional
        Which of them; all when left out.
    """

    folder: Path
    config: Config
    names: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Study]:
        """Studies with a reference."""
        cases = Cases.open(self.folder, self.config)
        affine = np.diag([*(self.config.spacing,) * 3, 1.0])
        for name in cases.names if self.names is None else self.names:
            case = cases.load(name)
            images = case.images.astype(np.float32)
            yield Study(name, images, affine, np.asarray(images.any(axis=0)), reference=case.labels)


@dataclass(frozen=True)
class Task:
    """A method and the studies it is tried on.

    Parameters
    ----------
    model : Path or None
        Model folder; None for the bundled one.
    members : str
        As for :meth:`napari_uncseg.inference.predictor.Predictor.predict`.
    maps : tuple of str
        Likewise.
    source : Source
    """

    model: Path | None
    members: str
    maps: tuple[str, ...]
    source: Source


def measure(task: Task, folder: Path, device: str = "auto") -> None:
    """Predict studies and keep what is measured of them.

    Parameters
    ----------
    task : Task
    folder : Path
        Takes ``record.json`` and the counts, the record last.
    device : str
        As for the predictor.
    """
    predictor = Predictor(load_model(task.model), device=device)
    values: list[MetricResult] = []
    seconds: list[float] = []
    quality: dict[str, Any] = {}
    passes = 0
    steps = {(region, voxels): ProbabilitySteps(region, voxels) for region in REGIONS for voxels in CALIBRATED_SETS}
    for study in task.source:
        started = time.perf_counter()
        prediction = predictor.predict(study, ensemble=task.members, maps=task.maps)
        seconds.append(time.perf_counter() - started)
        quality[study.id] = prediction.provenance["quality"]
        passes = parse_ensemble(task.members).passes or prediction.member_count
        case = case_of(prediction, study)
        for metric in metrics_of(case):
            metric.add(case)
            values += metric.per_case()
        for counted in steps.values():
            counted.add(case)
    for (region, voxels), counted in steps.items():
        cases = np.array(list(counted.cases))
        write_files({folder / f"steps-{region}-{voxels}.npz": to_npz(counted.cases.values(), cases=cases)})
    content = {
        "model": {"name": predictor.model.name, "sha256": predictor.model.sha256},
        "members": task.members,
        "passes": passes,
        "seconds": seconds,
        "quality": quality,
        "values": to_frame(values).astype({"bins": object}).replace({pd.NA: None}).to_dict("records"),
    }
    write_files({folder / RECORD: json.dumps(content).encode()})


def record_of(task: Task, folder: Path, device: str = "auto") -> Record:
    """The record of a task: measured once, then read."""
    if not (folder / RECORD).is_file():
        measure(task, folder, device)
    content = json.loads((folder / RECORD).read_text())
    steps = {
        (region, voxels): _steps_of(folder / f"steps-{region}-{voxels}.npz", region, voxels)
        for region in REGIONS
        for voxels in CALIBRATED_SETS
    }
    return Record(
        values=pd.DataFrame(content["values"], columns=list(COLUMNS)).astype({"value": float}),
        steps=steps,
        passes=content["passes"],
        seconds=float(np.mean(content["seconds"])),
        quality={
            name: {region: Quality(**each[str(region)]) for region in REGIONS}
            for name, each in content.get("quality", {}).items()  # older records do not tell it
        },
    )


def _steps_of(path: Path, region: Region, voxels: VoxelSet) -> ProbabilitySteps:
    statistics, named = from_npz(path.read_bytes(), path)
    counted = ProbabilitySteps(region, voxels)
    for number, name in enumerate(named["cases"]):
        counted.put(str(name), statistics[number])
    return counted
