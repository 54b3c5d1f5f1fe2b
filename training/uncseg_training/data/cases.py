"""A fixed cohort to train on: preprocessed cases in a folder, phantoms or patients, on one grid.

Phantoms are best endless. A cohort is for what needs a case to come back: an error map per case, folds, and a handful
of patients among phantoms. The folder holds ``<case>.npz`` (images in half precision, labels) and ``cases.json``. While
cases are written, ``cases-unfinished.json`` says which ones are there, so that a cut command goes on and nobody trains
on half a cohort.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_uncseg.arrays import Array
from napari_uncseg.inference.preprocessing import InputPlan, brain_crop, network_input
from napari_uncseg.inference.resampling import resample
from napari_uncseg.io.files import write_files
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Coding, labels_from_regions, region_masks
from uncseg_training.data.case_manifest import preprocessing_hash
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.splits import SPLITS, patient, read_splits, split_by_group
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms
from uncseg_training.train.config import Config

INDEX, UNFINISHED = "cases.json", "cases-unfinished.json"
FORMAT = 1
STUDY = "study"
"""Origin of a case that was no phantom made on the spot."""

Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """What a network is trained with, of one study.

    Parameters
    ----------
    images : ndarray of float16, shape (4, x, y, z)
        z-scores of t1c, t1n, t2f, t2w, 0 outside of the brain.
    labels : ndarray of uint8, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`.
    inner : tuple of int
        Voxels of the brain's box, which lies in the middle of the grid (cut where it is larger).
    previous : ndarray of uint8, shape (3, x, y, z), optional
        255ths of the probabilities of WT, TC, ET of a previous stage.
    """

    images: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8]
    inner: tuple[int, int, int]
    previous: npt.NDArray[np.uint8] | None = None


class Cases:
    """The folder; made by :func:`write_phantom_cases` and :func:`write_study_cases`, read by :meth:`open`.

    Parameters
    ----------
    folder : Path
        Where the files are.
    names : tuple of str
        Of the cases, sorted.
    preprocessing : str
        Hash of what decides which voxel is which place.
    previous_stage : Path, optional
        Folder of a previous stage's probabilities of these cases.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], preprocessing: str, previous_stage: Path | None = None
    ) -> None:
        self.folder, self.names, self.preprocessing = folder, tuple(sorted(names)), preprocessing
        self.previous_stage = previous_stage

    @classmethod
    def open(cls, folder: Path, config: Config) -> Cases:
        """The cases of a folder, for a training with this grid.

        Raises
        ------
        ValueError
            When there are none, or they were made for another grid.
        """
        if not (folder / INDEX).is_file():
            raise ValueError(f"{folder} holds no cases; write them with: uncseg-train cases -o {folder}")
        origins = _origins(folder / INDEX, config)
        missing = [name for name in origins if not (folder / f"{name}.npz").is_file()]
        if missing:
            raise ValueError(f"{folder} lacks {missing[0]}.npz; run the command that wrote it again.")
        previous = Path(config.previous_stage) if config.previous_stage else None
        absent = [name for name in origins if previous is not None and not (previous / f"{name}.npy").is_file()]
        if absent:
            raise ValueError(
                f"{previous} lacks the probabilities of {absent[0]}; write them with: uncseg-train predict-next-stage"
            )
        hashed = preprocessing_hash({"grid": _grid(config), "sources": origins})
        return cls(folder, tuple(origins), hashed, previous)

    def load(self, name: str) -> TrainingCase:
        """One case."""
        with np.load(self.folder / f"{name}.npz") as file:
            labels = file["labels"]
            # Cases of older versions do not say it: their box is taken for the whole grid.
            x, y, z = (int(size) for size in file.get("inner", labels.shape))
            return TrainingCase(file["images"], labels, (x, y, z), self._previous(name))

    def _previous(self, name: str) -> npt.NDArray[np.uint8] | None:
        if self.previous_stage is None:
            return None
        probabilities: npt.NDArray[np.uint8] = np.load(self.previous_stage / f"{name}.npy")
        return probabilities

    def labels(self, name: str) -> npt.NDArray[np.uint8]:
        """Labels of one case, without reading its images."""
        with np.load(self.folder / f"{name}.npz") as file:
            labels: npt.NDArray[np.uint8] = file["labels"]
        return labels

    def split(self, folds: int, fold: int, splits: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Cases to train on and cases held out; with 0 folds all are trained on.

        Without a file of folds, studies of one patient stay together, as
        :func:`~uncseg_training.data.splits.split_by_group` has it.

        Raises
        ------
        ValueError
            When the file does not have these folds of these cases.
        """
        if not folds:
            return self.names, ()
        if splits:
            path = SPLITS if splits == "gliomas" else Path(splits)
            named = read_splits(path)
            if len(named) != folds or sorted(named[fold]["train"] + named[fold]["val"]) != list(self.names):
                raise ValueError(
                    f"{path} does not split the cases of {self.folder} into {folds} folds; split them anew."
                )
            return tuple(sorted(named[fold]["train"])), tuple(sorted(named[fold]["val"]))
        parts = split_by_group({name: patient(name) for name in self.names}, folds)[fold]
        return tuple(parts["train"]), tuple(parts["val"])


def write_phantom_cases(
    anatomies: Path, folder: Path, config: Config, count: int, seed: int, tell: Tell = lambda _: None
) -> Cases:
    """Write phantoms as cases; those that are there already are kept, also where an earlier call was cut.

    Parameters
    ----------
    anatomies : Path
        File of :func:`uncseg_training.phantom.anatomy.save_anatomies`.
    folder : Path
        Takes them.
    config : Config
        Grid, contrasts and appearance prior.
    count : int
        How many.
    seed : int
        Of the stream they come from: number ``i`` is the same whatever the count.
    tell : callable
        Told the name of each case that is done.
    """
    stream = Phantoms(
        load_anatomies(anatomies),
        config.volume,
        config.spacing,
        seed,
        config.wide,
        "cpu",
        prior=config.appearance_prior,
    )
    # The key of the first files; what a run was trained on is told by it.
    origin = {"seed": seed, "looks": config.appearance_prior, "wide": config.wide}
    writer = _Writer.open(folder, config)
    for index in range(count):
        name = f"phantom-{seed}-{index:05d}"
        if not writer.has(name) or writer.origins[name] != origin:
            writer.write(name, origin, _phantom_case(stream, index))
        tell(name)
    return writer.close()


def write_study_cases(
    sources: Path | Sequence[Path],
    folders: Mapping[Path, Config],
    tell: Tell = lambda _: None,
    *,
    coding: Coding | None = None,
) -> list[Cases]:
    """Write studies with a reference as cases, brought to one or several grids as before a prediction.

    Parameters
    ----------
    sources : Path or sequence of Path
        Folders of studies with references, each in a coding of its own, or of results with corrections.
    folders : mapping of Path to Config
        Folder to write, and the configuration whose grid its cases have. A study is read once for all of them.
    tell : callable
        Told the name of each study that is done, and how its labels were read.
    coding : Coding, optional
        How the labels of studies are numbered whose names and values do not tell.

    Returns
    -------
    list of Cases
        As many as there are folders, in their order.

    Raises
    ------
    StudyError
        When a study cannot be read.
    ValueError
        When one has no reference, or two have one name.
    """
    studies = labelled_studies([sources] if isinstance(sources, str | Path) else sources, coding)
    writers = {folder: _Writer.open(folder, config) for folder, config in folders.items()}
    for name, read in studies.items():
        wanted = [writer for writer in writers.values() if not writer.has(name)]
        if not wanted:
            tell(name)
            continue
        study = read()
        for writer in wanted:
            writer.write(name, STUDY, study_case(study, writer.config))
        tell(f"{name}: labels of {study.coding}, {_volumes(study)}")
    return [writer.close() for writer in writers.values()]


def _volumes(study: Study) -> str:
    assert study.reference is not None
    volumes = region_masks(study.reference).sum((1, 2, 3)) * study.voxel_ml
    return ", ".join(f"{region} {volume:.1f} mL" for region, volume in zip(REGIONS, volumes, strict=True))


@dataclass
class _Writer:
    """Writes cases into a folder one by one; those that are there already are kept, also where a call was cut."""

    folder: Path
    config: Config
    origins: dict[str, Any]
    known: frozenset[str]

    @classmethod
    def open(cls, folder: Path, config: Config) -> _Writer:
        origins: dict[str, Any] = {}
        for index in (folder / INDEX, folder / UNFINISHED):
            if index.is_file():
                origins |= _origins(index, config)
        return cls(folder, config, origins, frozenset(origins))

    def has(self, name: str) -> bool:
        return name in self.known and (self.folder / f"{name}.npz").is_file()

    def write(self, name: str, origin: Any, case: TrainingCase) -> None:
        if self.origins.get(name, origin) != origin:
            known = self.origins[name]
            raise ValueError(f"{self.folder} holds another {name}, made with {known}; take another folder.")
        buffer = io.BytesIO()
        np.savez(buffer, images=case.images, labels=case.labels, inner=np.array(case.inner, dtype=np.int64))
        write_files({self.folder / f"{name}.npz": buffer.getvalue()})
        self.origins[name] = origin
        write_files({self.folder / UNFINISHED: _index(self.config, self.origins)})

    def close(self) -> Cases:
        write_files({self.folder / INDEX: _index(self.config, self.origins)})
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        return Cases.open(self.folder, self.config)


def _index(config: Config, origins: Mapping[str, Any]) -> bytes:
    """Content of the file that names the cases of a folder."""
    return (json.dumps({"format": FORMAT, "grid": _grid(config), "cases": origins}, indent=1) + "\n").encode()


def _origins(index: Path, config: Config) -> dict[str, Any]:
    """Cases that such a file names, and where they are from; refused when it is of another grid."""
    try:
        content = json.loads(index.read_text())
        origins, grid = dict(content["cases"]), content["grid"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{index} is damaged ({error}); write the cases anew.") from None
    if content.get("format") != FORMAT or grid != _grid(config):
        raise ValueError(f"{index.parent} was made for the grid {grid}, not {_grid(config)}; write the cases anew.")
    return origins


def _phantom_case(stream: Phantoms, index: int) -> TrainingCase:
    phantom = stream[index]
    labels = phantom.labels.numpy().astype(np.uint8)
    x, y, z = labels.shape
    return TrainingCase(phantom.normalised().numpy().astype(np.float16), labels, (x, y, z))


def study_case(study: Study, config: Config) -> TrainingCase:
    """A study with a reference on the grid of a configuration, prepared as before a prediction."""
    assert study.reference is not None
    plan = InputPlan.from_plans(config.plans())
    crop = brain_crop(study, plan)
    images = network_input(study, plan, crop)
    masks = torch.from_numpy(region_masks(crop.take(study.reference)).astype(np.float32))
    # A region of the grid's voxel is what fills more than half of it, as a prediction's.
    labels = labels_from_regions(resample(masks, crop.network_shape).numpy())
    x, y, z = crop.network_shape
    return TrainingCase(
        fit_into(images.numpy().astype(np.float16), config.volume),
        fit_into(labels.astype(np.uint8), config.volume),
        (x, y, z),
    )


def fit_into(array: Array, shape: Sequence[int]) -> Array:
    """The middle of the last three axes, cut or filled up with 0 to a shape."""
    out = np.zeros((*array.shape[:-3], *shape), array.dtype)
    sizes = [min(have, want) for have, want in zip(array.shape[-3:], shape, strict=True)]
    (x, y, z), (a, b, c) = (_middle(sizes, extent) for extent in (shape, array.shape[-3:]))
    out[..., x, y, z] = array[..., a, b, c]
    return out


def _middle(sizes: Sequence[int], extent: Sequence[int]) -> list[slice]:
    return [slice((total - size) // 2, (total - size) // 2 + size) for size, total in zip(sizes, extent, strict=True)]


def _grid(config: Config) -> dict[str, Any]:
    return {"spacing": config.spacing, "volume": list(config.volume)}
