"""Both stages of a cascade, trained fold by fold in one folder, and what they predict of the studies they held out.

What is done is kept: cases, runs at their checkpoints, exported models and predictions, so that a call that was cut
goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_uncseg.inference.device import resolve_device
from napari_uncseg.io.study import Study
from uncseg_training.data.cases import write_study_cases
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.previous_stage import write_previous_stage
from uncseg_training.data.splits import patient
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms, write_phantom
from uncseg_training.train.config import Config
from uncseg_training.train.cross_validation import predict_out_of_fold
from uncseg_training.train.export import export_run
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit

SPLITS, SEED = "splits.json", 4101

LEAST_STUDIES = 5
"""Fewer studies than that neither teach a network nor tell how good it has become."""

Tell = Callable[[str], None]


def patients_of(sources: Sequence[Path], what: str) -> tuple[dict[str, Callable[[], Study]], dict[str, str]]:
    """Studies to learn from, and the patient of each.

    Raises
    ------
    ValueError
        When there are fewer than :data:`LEAST_STUDIES`, or all are of one patient; ``what`` begins the sentence.
    UncsegError
        When a study or a result cannot be read.
    """
    studies = labelled_studies(sources)
    groups = {study: patient(study) for study in studies}
    patients = len(set(groups.values()))
    if len(studies) < LEAST_STUDIES or patients < 2:
        raise ValueError(
            f"{what} needs at least {LEAST_STUDIES} studies with references, of two patients or more; here are "
            f"{len(studies)} of {patients}."
        )
    return studies, groups


@dataclass(frozen=True)
class Chain:
    """The stages of a network, one or two, and the folder that they are trained in.

    Parameters
    ----------
    sources : sequence of Path
        Folders of studies with references, or of results whose segmentation was corrected.
    anatomies : Path
        File of ``uncseg-train anatomies``, for the phantoms.
    work : Path
        Folder for cases, runs, models and predictions.
    configs : mapping of str to Config
        Configuration of each stage by its name, the first one first; no folds yet. What the second stage sees of the
        first comes from the run or model that the first one starts from, which has seen none of the studies.
    export : mapping
        How a trained network is exported, see :func:`~uncseg_training.train.export.export_run`.
    tell : callable
        Told a sentence at each step.
    """

    sources: Sequence[Path]
    anatomies: Path
    work: Path
    configs: Mapping[str, Config]
    export: Mapping[str, Any]
    tell: Tell = lambda _: None

    @property
    def members(self) -> str:
        """Ensembling method that the networks are judged with, and run with when nobody chooses."""
        return str(self.export["members"])

    def write_cases(self, phantoms: int) -> None:
        """Studies as cases of all stages; phantoms too for a second one, with what the first one says of both."""
        cases = write_study_cases(self.sources, self._grids("cases"), self.tell)
        if len(self.configs) == 1:
            return
        lowres, fullres = self.configs.values()
        self._write_phantoms(fullres, phantoms)
        made = write_study_cases(self.work / "phantoms", self._grids("phantom-cases"), self.tell)
        first = Training.of_run(Path(lowres.start))
        device = resolve_device("auto")
        first.to(device)
        for coarse, fine in (cases, made):
            write_previous_stage(first.averaged, coarse, fine, self.work / "previous-stage", device, self.tell)

    def train(self, name: str, folder: Path, **changes: Any) -> Path:
        """Train all stages, with changes of their configurations, and export them as a model folder."""
        runs = []
        for stage, config in self.configs.items():
            runs.append(self.work / name / stage)
            self.tell(f"{runs[-1]}: training")
            fit(self.anatomies, runs[-1], replace(config, **changes))
        export_run(runs[-1], folder, previous_stage=runs[0] if len(runs) > 1 else None, **self.export)
        return folder

    def train_folds(self, splits: Sequence[Mapping[str, Sequence[str]]]) -> dict[int, Path]:
        """Model folder of each fold; its network never sees what the fold holds out."""
        file, models = str(self.work / SPLITS), self.work / "models"
        count = len(splits)
        return {k: self.train(f"fold-{k}", models / f"{k}", folds=count, fold=k, splits=file) for k in range(count)}

    def predict(self, models: Mapping[int, Path], splits: Sequence[Mapping[str, Sequence[str]]], name: str) -> Path:
        """Folder of what each model predicts of the studies that its fold held out."""
        out = self.work / name
        how: dict[str, Any] = {"members": self.members, "overwrite": True, "tell": self.tell}
        predict_out_of_fold(models, splits, self.sources, out, **how)
        return out

    def _grids(self, folder: str) -> dict[Path, Config]:
        return {
            self.work / folder / name: replace(config, cases="", phantoms="", previous_stage="")
            for name, config in self.configs.items()
        }

    def _write_phantoms(self, config: Config, count: int) -> None:
        made = Phantoms(load_anatomies(self.anatomies), config.volume, config.spacing, SEED, prior="matched")
        for index in range(count):
            place = self.work / "phantoms" / f"UNCSEG-phantom-{index:05d}"
            if not place.is_dir():
                write_phantom(made[index], place.parent, place.name, config.spacing)
            self.tell(f"{place}: written")
