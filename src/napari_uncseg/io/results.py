"""A prediction on disk: maps as NIfTI, and a JSON that says how they came about and vouches for each file.

This is the one place that knows the layout ``OUT/<id>/<id>_<map>.nii.gz`` and ``OUT/<id>/<id>_uncseg.json``: where
results are (:func:`find_results`), what one is before its volumes are read (:func:`read_result`), what stands where one
would be saved (:func:`check_target`), and whether it was made from the files of a study (:func:`made_from`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import AnotherResult, ForeignFile, SaveError, StudyError, UncsegError
from napari_uncseg.io.files import (
    check_names,
    check_writable,
    entries,
    is_dir,
    is_file,
    read_json,
    sha256,
    sha256_of,
    write_files,
)
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import Volume, encode_volume, read_volume
from napari_uncseg.io.prediction import Partial, Prediction, partial_of
from napari_uncseg.io.provenance import SCHEMA, Provenance, differences, fingerprint, input_hashes, plain
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, REGIONS, Label
from napari_uncseg.maps import MapName, Measure

JSON_SUFFIX = "_uncseg.json"
"""What follows the study's id in the name of the JSON; a folder with such a file is a result."""

Inputs = Mapping[str, Mapping[str, str | None]]
"""Role -> ``file`` and ``sha256`` of what a study was read from."""

_SEGMENTATION = "segmentation"
_PROBABILITIES = "probabilities"
_FILE_NAMES = {_SEGMENTATION: "seg"}


@dataclass(frozen=True, eq=False)
class SavedResult:
    """A saved prediction as its JSON tells it; no volume is read.

    Parameters
    ----------
    path : Path
        The JSON.
    provenance : mapping
        All it says besides the files, as a :class:`Prediction` carries it.
    files : mapping of str to Path
        ``segmentation``, ``probabilities`` and each map -> file.
    hashes : mapping of str to str
        The same names -> sha256 of the file as it was saved.
    """

    path: Path
    provenance: Mapping[str, Any]
    files: Mapping[str, Path]
    hashes: Mapping[str, str]

    @property
    def study_id(self) -> str:
        """Id of the study."""
        return str(self.provenance["study"])

    @property
    def partial(self) -> Partial | None:
        """How far a run that was stopped came; None for a finished one."""
        return partial_of(self.provenance)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides it, see :func:`napari_uncseg.io.provenance.fingerprint`."""
        return fingerprint(self.provenance)

    @property
    def maps(self) -> dict[str, Path]:
        """File of each map."""
        return {name: path for name, path in self.files.items() if name not in (_SEGMENTATION, _PROBABILITIES)}


def find_results(folder: Path, study_id: str | None = None) -> list[Path]:
    """JSON files of the results in a folder: those in itself, then those in the folders right below it.

    Parameters
    ----------
    folder : Path
        ``OUT``, or ``OUT/<id>``.
    study_id : str, optional
        Only results of this id.

    Returns
    -------
    list of Path
        Empty where there are none, or no such folder.

    Raises
    ------
    StudyError
        When the folder cannot be read; of those below it, what cannot be read is passed over.
    """
    folder = Path(folder)
    if study_id is not None:
        places = (folder / study_id, folder)
        return [path for place in places if is_file(path := place / f"{study_id}{JSON_SUFFIX}")]
    if not is_dir(folder):
        return []
    inside = [entry for entry in entries(folder) if not entry.name.startswith(".")]
    found = [entry for entry in inside if entry.name.endswith(JSON_SUFFIX)]
    for entry in inside:
        with suppress(StudyError):
            if is_dir(entry):
                found += [path for path in entries(entry) if is_result(path)]
    return found


def find_result_of(study: Study, folder: Path) -> Path | None:
    """JSON of a study's result in a folder: the one of its id, or else one that was made from its very images.

    Parameters
    ----------
    study : Study
    folder : Path
        ``OUT``, or ``OUT/<id>``.

    Returns
    -------
    Path or None
        Whether a result of its id was made from its images is another question, see :func:`made_from`.
    """
    named = find_results(folder, study.id)
    own = {role: study.inputs[role]["sha256"] for role in MODALITIES}
    for path in () if named else find_results(folder):
        with suppress(StudyError):
            told = input_hashes(read_result(path).provenance)
            if {role: told.get(role) for role in MODALITIES} == own:
                return path
    return named[0] if named else None


def is_result(path: Path) -> bool:
    """Whether a name is that of the JSON of a result."""
    return path.name.endswith(JSON_SUFFIX) and not path.name.startswith(".")


def is_own_segmentation(path: Path) -> bool:
    """Whether a file is, by its name and the JSON beside it, the segmentation of a saved result."""
    study_id = path.name.removesuffix(".nii.gz").removesuffix("_seg")
    return path.name == f"{study_id}_seg.nii.gz" and is_file(path.parent / f"{study_id}{JSON_SUFFIX}")


def read_result(path: Path) -> SavedResult:
    """Read the JSON of a result.

    Parameters
    ----------
    path : Path
        The JSON, or the folder that holds it and no other.

    Raises
    ------
    StudyError
        When there is none, or it is damaged.
    """
    path = Path(path)
    path = path if path.name.endswith(JSON_SUFFIX) else _only_json(path)
    content = read_json(path, StudyError, Provenance.do)
    listed = Provenance.parse(content, path).files
    return SavedResult(
        path,
        {key: value for key, value in content.items() if key != "files"},
        {what: path.parent / entry.file for what, entry in listed.items()},
        {what: entry.sha256 for what, entry in listed.items()},
    )


def other_inputs(provenance: Mapping[str, Any], inputs: Inputs) -> tuple[str, ...]:
    """Roles whose file is another one than the result was made from.

    Parameters
    ----------
    provenance : mapping
        Of the result.
    inputs : mapping
        Role -> ``file`` and ``sha256``, as :attr:`napari_uncseg.io.study.Study.inputs` has them.

    Returns
    -------
    tuple of str
        Modalities and ``reference``, as far as both tell a hash of a file (or both one of an array in memory).
    """
    told = provenance.get("inputs") or {}
    return tuple(
        role
        for role in (*MODALITIES, "reference")
        if (there := told.get(role)) and (here := inputs.get(role)) and bool(there.get("file")) == bool(here["file"])
        if there.get("sha256") and there["sha256"] != here["sha256"]
    )


def made_from(provenance: Mapping[str, Any], study: Study) -> bool:
    """Whether a result was made from the images of a study: False when the hash of one of them is another one."""
    return not set(MODALITIES) & set(other_inputs(provenance, study.inputs))


def check_made_from(
    provenance: Mapping[str, Any], inputs: Inputs, study_id: str, where: object, error: type[UncsegError] = StudyError
) -> None:
    """Refuse, with an error, a result (``where`` it stands) that was made from other images than those of a study."""
    other = [MODALITY_TITLES[role] for role in other_inputs(provenance, inputs) if role in MODALITY_TITLES]
    if other:
        raise error(
            f"The result {where} was made from other images than those of study {study_id}: {', '.join(other)} differ; "
            "name the result of these images, or predict the study again."
        )


class State(Enum):
    """What stands where a result would be saved."""

    FREE = auto()
    """Nothing."""
    SAME = auto()
    """The same result, whole and unchanged: there is nothing to do."""
    PARTIAL = auto()
    """The first members of the very same run, which was stopped: to be replaced."""
    OTHER = auto()
    """Another result: replaced only when the user says so."""
    FOREIGN = auto()
    """A file that no JSON of a result lists: never replaced."""


@dataclass(frozen=True, eq=False)
class Target:
    """Where a result would be saved, and what stands there.

    Parameters
    ----------
    folder : Path
        ``OUT/<id>``.
    state : State
    result : SavedResult, optional
        The result that stands there.
    what : str
        What is in the way, to stand in a sentence; empty when nothing is.
    """

    folder: Path
    state: State
    result: SavedResult | None = None
    what: str = ""

    def refuse(self, *, overwrite: bool) -> None:
        """Raise when a result may not be saved here.

        Raises
        ------
        ForeignFile
            When files stand in the way that no result lists.
        AnotherResult
            When another result stands there and ``overwrite`` is off.
        """
        if self.state is State.FOREIGN:
            raise ForeignFile(f"{self.what} and is not replaced; move it away or choose another output folder.")
        if self.state is State.OTHER and not overwrite:
            raise AnotherResult(f"{self.folder} holds {self.what}; choose another output folder, or overwrite it.")


def check_target(
    out: Path, study_id: str, provenance: Mapping[str, Any], maps: Iterable[str] = tuple(Measure)
) -> Target:
    """What stands where a result would be saved; each file there is hashed once.

    Parameters
    ----------
    out : Path
        Output folder.
    study_id : str
        The study's id.
    provenance : mapping
        What the result will say of itself.
    maps : iterable of str
        Names of the maps that will be saved; all that there can be when they are not known yet.

    Returns
    -------
    Target

    Raises
    ------
    SaveError
        When the id cannot name a folder, a name is too long, the folder cannot be written, or a file to be replaced is
        an input of the prediction.
    """
    if Path(study_id).name != study_id or study_id in ("", ".", ".."):
        raise SaveError(f"The id {study_id!r} cannot name a folder; choose an id of letters, digits, '-' and '_'.")
    folder = Path(out) / study_id
    json_path = folder / f"{study_id}{JSON_SUFFIX}"
    names = {json_path.name, *_file_names(study_id, (_SEGMENTATION, _PROBABILITIES, *maps)).values()}
    check_names(folder, names)
    result = None
    if is_file(json_path, SaveError):
        with suppress(StudyError):
            result = read_result(json_path)
    ours = {json_path, *result.files.values()} if result is not None else set()
    targets = {folder / name for name in names} | ours
    hashes = {path: sha256_of(path, SaveError) for path in sorted(targets) if is_file(path, SaveError)}
    inputs = set(input_hashes(provenance).values())
    for path, digest in hashes.items():
        if digest in inputs:
            raise SaveError(f"{path} is an input of this study and would be overwritten; choose another output folder.")
    mark = fingerprint(provenance)
    same = result is not None and mark and result.fingerprint == mark and _is_whole(result, hashes)
    if same and result is not None and result.partial is None:
        return Target(folder, State.SAME, result)
    check_writable(folder)
    foreign = sorted(hashes.keys() - ours)
    if foreign:
        unread = foreign[0] == json_path
        what = (
            f"{foreign[0]} cannot be read as the JSON of a result" if unread else f"{foreign[0]} belongs to no result"
        )
        return Target(folder, State.FOREIGN, result, what)
    if result is None:
        return Target(folder, State.FREE)
    if same:
        return Target(folder, State.PARTIAL, result)
    return Target(folder, State.OTHER, result, _what_stands(result, provenance))


def _is_whole(result: SavedResult, hashes: Mapping[Path, str]) -> bool:
    """Whether every file of a result is there and unchanged."""
    return all(hashes.get(path) == result.hashes[what] for what, path in result.files.items())


def _what_stands(result: SavedResult, provenance: Mapping[str, Any]) -> str:
    """What is in the way of a result, and where its making differs."""
    if different := differences(result.provenance, provenance):
        return f"another result, which differs in {' and '.join(different)}"
    if not fingerprint(provenance):
        return "another result"
    return "a result of the same model, settings and images, with files that are missing or were changed"


@dataclass(frozen=True)
class Saved:
    """Where a prediction went.

    Parameters
    ----------
    folder : Path
        ``OUT/<id>``.
    files : tuple of Path
        All files of the result, the JSON last.
    skipped : bool
        Whether the same result was there already and nothing was written.
    """

    folder: Path
    files: tuple[Path, ...]
    skipped: bool


def save_prediction(prediction: Prediction, out: Path, *, overwrite: bool = False) -> Saved:
    """Write a prediction to ``OUT/<id>/<id>_<map>.nii.gz`` and, last, ``<id>_uncseg.json``.

    Probabilities and maps are int16 with a slope that spans 0 to their upper bound, segmentation and error are uint8;
    all have the shape, affine, codes and units of the study's T1c.

    Parameters
    ----------
    prediction : Prediction
        What to save.
    out : Path
        Output folder; it is made when missing.
    overwrite : bool
        Replace another result of the same study; files that no result lists stay in any case.

    Returns
    -------
    Saved

    Raises
    ------
    SaveError
        As :func:`check_target` and :meth:`Target.refuse`, or when the disk cannot take it. Whatever stood there before
        is still there.
    """
    target = check_target(out, prediction.study_id, prediction.provenance, tuple(prediction.maps))
    names = _file_names(prediction.study_id, _arrays(prediction))
    json_path = target.folder / f"{prediction.study_id}{JSON_SUFFIX}"
    paths = (*(target.folder / name for name in names.values()), json_path)
    if target.state is State.SAME or (target.state is State.PARTIAL and _as_far(target.result, prediction)):
        return Saved(target.folder, paths, skipped=True)
    target.refuse(overwrite=overwrite)
    contents = _encode(prediction, target.folder, names)
    files = {what: {"file": name, "sha256": sha256(contents[target.folder / name])} for what, name in names.items()}
    content = {**prediction.provenance, "schema": SCHEMA, "study": prediction.study_id, "files": files}
    write_files({**contents, json_path: (json.dumps(plain(content), indent=2) + "\n").encode()})
    for path in set(target.result.files.values()) - set(paths) if target.result is not None else ():
        with suppress(OSError):  # a map that the new result has not: a leftover that no JSON lists does no harm
            path.unlink()
    return Saved(target.folder, paths, skipped=False)


def _as_far(result: SavedResult | None, prediction: Prediction) -> bool:
    """Whether a partial result came at least as far as a prediction did."""
    old, new = result.partial if result is not None else None, prediction.partial
    return old is not None and new is not None and old.done >= new.done


def load_prediction(folder: Path) -> Prediction:
    """Read a saved prediction.

    Parameters
    ----------
    folder : Path
        ``OUT/<id>``, or the JSON in it.

    Returns
    -------
    Prediction

    Raises
    ------
    StudyError
        When there is none, or a file is missing, damaged or not the one that was saved.
    """
    result = read_result(folder)
    if missing := {_SEGMENTATION, _PROBABILITIES} - set(result.files):
        raise StudyError(f"{result.path} lists no {' and no '.join(sorted(missing))}; run the prediction again.")
    with ThreadPoolExecutor() as pool:
        volumes = dict(zip(result.files, pool.map(read_volume, result.files.values()), strict=True))
    first = volumes[_SEGMENTATION]
    for what, volume in volumes.items():
        if volume.sha256 != result.hashes[what]:
            raise StudyError(
                f"{volume.path} is not the file that {result.path.name} was written with; run the prediction again."
            )
        expected = len(REGIONS) if what == _PROBABILITIES else 1
        if volume.channels != expected or not same_grid(first.shape, first.affine, volume.shape, volume.affine):
            raise StudyError(f"{volume.path} does not lie on the grid of {first.path.name}; run the prediction again.")
    segmentation = first.values().astype(np.int64)
    if not np.isin(segmentation, (0, *Label)).all():
        raise StudyError(f"{first.path} holds other values than 0, 1, 2, 3; run the prediction again.")
    probabilities = volumes[_PROBABILITIES]
    return Prediction(
        study_id=result.study_id,
        probabilities=np.stack([_fractions(probabilities, 1.0, channel) for channel in range(len(REGIONS))]),
        segmentation=segmentation.astype(np.uint8),
        maps={what: _fractions(volumes[what], _upper(what)) for what in result.maps},
        affine=first.affine,
        provenance=result.provenance,
        header=first.header,
    )


def _arrays(prediction: Prediction) -> dict[str, np.ndarray[Any, Any]]:
    """What is written, by name."""
    return {
        _SEGMENTATION: prediction.segmentation,
        _PROBABILITIES: np.moveaxis(prediction.probabilities, 0, -1),
        **prediction.maps,
    }


def _file_names(study_id: str, names: Iterable[str]) -> dict[str, str]:
    """File of each array, by name."""
    return {what: f"{study_id}_{_FILE_NAMES.get(what, what)}.nii.gz" for what in names}


def _upper(name: str) -> float:
    """Largest value of a map."""
    return MapName.parse(name).upper or math.inf


def _encode_one(what: str, array: np.ndarray[Any, Any], prediction: Prediction) -> bytes:
    encode = partial(encode_volume, affine=prediction.affine, header=prediction.header)
    if what == _SEGMENTATION or MapName.parse(what).measure == Measure.ERROR:
        return encode(np.asarray(array, dtype=np.uint8))
    upper = 1.0 if what == _PROBABILITIES else _upper(what)
    if not math.isfinite(upper):  # a map this version knows no bound of
        return encode(np.asarray(array, dtype=np.float32))
    return encode(array, upper=upper)


def _encode(prediction: Prediction, folder: Path, names: Mapping[str, str]) -> dict[Path, bytes]:
    """Bytes of every file; compression runs beside the interpreter, on all cores."""
    arrays = _arrays(prediction)
    with ThreadPoolExecutor() as pool:
        encoded = pool.map(lambda what: _encode_one(what, arrays[what], prediction), names)
        return {folder / name: data for name, data in zip(names.values(), encoded, strict=True)}


def _only_json(folder: Path) -> Path:
    if not is_dir(folder):
        raise StudyError(f"{folder} is not a folder with results.")
    found = [path for path in entries(folder) if is_result(path)]
    if not found:
        raise StudyError(f"{folder} holds no saved prediction (no *{JSON_SUFFIX}); give the folder of one study.")
    if len(found) > 1:
        raise StudyError(f"{folder} holds several predictions ({found[0].name}, {found[1].name} …); name one JSON.")
    return found[0]


def _fractions(volume: Volume, upper: float, channel: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = volume.values(channel)
    return np.clip(values, 0.0, upper, out=values).astype(np.float32, copy=False)
