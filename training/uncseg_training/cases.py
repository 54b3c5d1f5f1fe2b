"""A fixed cohort to train on: preprocessed cases in a folder, phantoms or patients, on one grid.

Phantoms are best endless. A cohort is for what needs a case to come back: an error map per case, folds, and a handful
of patients among phantoms. The folder holds ``<case>.npz`` (images in half precision, labels) and ``cases.json``. While
cases are written, ``cases-unfinished.json`` says which ones are there, so that a cut command goes on and nobody trains
on half a cohort.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_uncseg.inference.preprocess import InputPlan, frame_of, network_input
from napari_uncseg.inference.resample import resample
from napari_uncseg.labels import labels_from_regions, region_masks
from napari_uncseg.study.atomic import write_files
from napari_uncseg.study.discover import find_studies
from napari_uncseg.study.load import load_study
from uncseg_training.case_manifest import preprocessing_hash
from uncseg_training.config import Config
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms
from uncseg_training.splits import patient, split_by_group

INDEX, UNFINISHED = "cases.json", "cases-unfinished.json"
FORMAT = 1

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
    """

    images: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8]


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
    """

    def __init__(self, folder: Path, names: Sequence[str], preprocessing: str) -> None:
        self.folder, self.names, self.preprocessing = folder, tuple(sorted(names)), preprocessing

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
        return cls(folder, tuple(origins), preprocessing_hash({"grid": _grid(config), "sources": origins}))

    def load(self, name: str) -> TrainingCase:
        """One case."""
        with np.load(self.folder / f"{name}.npz") as file:
            return TrainingCase(file["images"], file["labels"])

    def labels(self, name: str) -> npt.NDArray[np.uint8]:
        """Labels of one case, without reading its images."""
        with np.load(self.folder / f"{name}.npz") as file:
            labels: npt.NDArray[np.uint8] = file["labels"]
        return labels

    def split(self, folds: int, fold: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Cases to train on and cases held out; with 0 folds all are trained on.

        Studies of one patient stay together, as :func:`~uncseg_training.splits.split_by_group` has it.
        """
        if not folds:
            return self.names, ()
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
        Grid, contrasts and looks.
    count : int
        How many.
    seed : int
        Of the stream they come from: number ``i`` is the same whatever the count.
    tell : callable
        Told the name of each case that is done.
    """
    stream = Phantoms(
        load_anatomies(anatomies), config.volume, config.spacing, seed, config.wide, "cpu", looks=config.looks
    )
    origin = {"seed": seed, "looks": config.looks, "wide": config.wide}

    def made() -> Iterable[tuple[str, Any, Callable[[], TrainingCase]]]:
        for index in range(count):
            yield f"phantom-{seed}-{index:05d}", origin, lambda index=index: _phantom_case(stream, index)  # type: ignore[misc]

    return _write(folder, config, made(), tell)


def write_study_cases(source: Path, folder: Path, config: Config, tell: Tell = lambda _: None) -> Cases:
    """Write studies with a reference as cases, brought to the grid as before a prediction.

    Parameters
    ----------
    source : Path
        Folder of studies.
    folder, config, tell
        As for :func:`write_phantom_cases`.

    Raises
    ------
    StudyError
        When a study cannot be read.
    ValueError
        When one has no reference.
    """
    plan = InputPlan.from_plans(config.plans())
    studies = {files.id: files for files in find_studies(source)}

    def made() -> Iterable[tuple[str, Any, Callable[[], TrainingCase]]]:
        for name, files in studies.items():
            yield name, "study", lambda files=files: _study_case(files, plan, config)  # type: ignore[misc]

    return _write(folder, config, made(), tell)


def _write(
    folder: Path,
    config: Config,
    cases: Iterable[tuple[str, Any, Callable[[], TrainingCase]]],
    tell: Tell,
) -> Cases:
    known: dict[str, Any] = {}
    for index in (folder / INDEX, folder / UNFINISHED):
        if index.is_file():
            known |= _origins(index, config)
    origins = dict(known)
    for name, origin, make in cases:
        if known.get(name, origin) != origin:
            raise ValueError(f"{folder} holds another {name}, made with {known[name]}; take another folder.")
        path = folder / f"{name}.npz"
        if name not in known or not path.is_file():
            case, buffer = make(), io.BytesIO()
            np.savez(buffer, images=case.images, labels=case.labels)
            write_files({path: buffer.getvalue()})
            origins[name] = origin
            write_files({folder / UNFINISHED: _index(config, origins)})
        tell(name)
    write_files({folder / INDEX: _index(config, origins)})
    (folder / UNFINISHED).unlink(missing_ok=True)
    return Cases.open(folder, config)


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
    return TrainingCase(phantom.normalised().numpy().astype(np.float16), phantom.labels.numpy().astype(np.uint8))


def _study_case(files: Any, plan: InputPlan, config: Config) -> TrainingCase:
    study = load_study(files)
    if study.reference is None:
        raise ValueError(f"{study.id} has no reference to learn from; add its segmentation or take it out.")
    frame = frame_of(study, plan)
    images = network_input(study, plan, frame)
    masks = torch.from_numpy(region_masks(frame.enter(study.reference)).astype(np.float32))
    # A region of the grid's voxel is what fills more than half of it, as a prediction's.
    labels = labels_from_regions(resample(masks, frame.shape).numpy())
    return TrainingCase(
        fit_into(images.numpy().astype(np.float16), config.volume), fit_into(labels.astype(np.uint8), config.volume)
    )


def fit_into(array: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
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
