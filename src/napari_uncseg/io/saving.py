"""A prediction is written: what stands in its place is looked at once, and files appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import AnotherResult, ForeignFile, SaveError, StudyError
from napari_uncseg.io.files import check_names, check_writable, is_file, sha256, sha256_of, temporary_files, write_files
from napari_uncseg.io.nifti import encode_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import SCHEMA, Provenance, differences, fingerprint, input_hashes, plain
from napari_uncseg.io.results import JSON_SUFFIX, PROBABILITIES, SEGMENTATION, SavedResult, read_result
from napari_uncseg.maps import MapName, Measure


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
            When files stand in the way that no result lists, or a segmentation that was changed since it was saved.
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
    if Path(study_id).name != study_id or not study_id.strip(" .") or "\\" in study_id:
        raise SaveError(f"The id {study_id!r} cannot name a folder; choose an id of letters, digits, '-' and '_'.")
    folder = Path(out) / study_id
    json_path = folder / f"{study_id}{JSON_SUFFIX}"
    names = {json_path.name, *_file_names(study_id, (SEGMENTATION, PROBABILITIES, *maps)).values()}
    check_names(folder, names)
    result = None
    if is_file(json_path, SaveError):
        with suppress(StudyError):
            result = read_result(json_path)
    saved = {path: result.hashes[what] for what, path in result.files.items()} if result is not None else {}
    targets = {*(folder / name for name in names), *saved}
    hashes = {path: sha256_of(path, SaveError) for path in sorted(targets) if is_file(path, SaveError)}
    inputs = set(input_hashes(provenance).values())
    for path, digest in hashes.items():
        if digest in inputs:
            raise SaveError(f"{path} is an input of this study and would be overwritten; choose another output folder.")
    mark = fingerprint(provenance)
    same = result is not None and result.fingerprint == mark != ""
    whole = result is not None and all(hashes.get(path) == digest for path, digest in saved.items())
    if same and whole and result is not None and result.partial is None:
        return Target(folder, State.SAME, result)
    check_writable(folder)
    if result is None and json_path in hashes:
        return Target(folder, State.FOREIGN, what=f"{json_path} cannot be read as the JSON of a result")
    foreign = sorted(hashes.keys() - saved.keys() - {json_path})
    drawn = result.files.get(SEGMENTATION) if result is not None else None
    edited = drawn is not None and drawn in hashes and hashes[drawn] != saved[drawn]
    cut = _hashes_of_cut_saves(folder) if foreign or edited else set()
    for path in foreign:
        if hashes[path] not in cut:
            return Target(folder, State.FOREIGN, result, f"{path} belongs to no result")
    if edited and drawn is not None and hashes[drawn] not in cut:
        return Target(folder, State.FOREIGN, result, f"{drawn} was changed since it was saved")
    if result is None:
        return Target(folder, State.FREE)
    if same and whole:
        return Target(folder, State.PARTIAL, result)
    different = " and ".join(differences(result.provenance, provenance))
    what = "this very result, with files that are missing or were changed" if same else "another result"
    return Target(folder, State.OTHER, result, f"{what}, which differs in {different}" if different else what)


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


def save_prediction(prediction: Prediction, out: Path, *, overwrite: bool = False, anew: bool = False) -> Saved:
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
        Replace another result of the same study; files that no result lists, and a segmentation that somebody changed,
        stay in any case.
    anew : bool
        Write it although a result of the same input, model and settings stands there, which is skipped otherwise.

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
    names = _file_names(prediction.study_id, (SEGMENTATION, PROBABILITIES, *prediction.maps))
    json_path = target.folder / f"{prediction.study_id}{JSON_SUFFIX}"
    paths = (*(target.folder / name for name in names.values()), json_path)
    old, new = target.result.partial if target.result is not None else None, prediction.partial
    as_far = old is not None and new is not None and old.done >= new.done
    if not anew and (target.state is State.SAME or (target.state is State.PARTIAL and as_far)):
        return Saved(target.folder, paths, skipped=True)
    target.refuse(overwrite=overwrite)
    with ThreadPoolExecutor() as pool:  # compression runs beside the interpreter, on all cores
        encoded = list(pool.map(lambda what: _encode(what, prediction), names))
    files = {
        what: {"file": name, "sha256": sha256(data)} for (what, name), data in zip(names.items(), encoded, strict=True)
    }
    content = {**prediction.provenance, "schema": SCHEMA, "study": prediction.study_id, "files": files}
    write_files(dict(zip(paths, (*encoded, (json.dumps(plain(content), indent=2) + "\n").encode()), strict=True)))
    for path in set(target.result.files.values()) - set(paths) if target.result is not None else ():
        with suppress(OSError):  # a map that the new result has not: a leftover that no JSON lists does no harm
            path.unlink()
    return Saved(target.folder, paths, skipped=False)


def _hashes_of_cut_saves(folder: Path) -> set[str]:
    """Hashes of what was saved by runs that were cut or killed between two renames.

    Their JSON, renamed last, still has its temporary name, and vouches for the files that have theirs.
    """
    cut: set[str] = set()
    for path in temporary_files(folder):
        with suppress(StudyError):
            cut |= {entry.sha256 for entry in Provenance.read(path).files.values()}
    return cut


def _file_names(study_id: str, names: Iterable[str]) -> dict[str, str]:
    """File of each array, by name."""
    return {what: f"{study_id}_{'seg' if what == SEGMENTATION else what}.nii.gz" for what in names}


def _encode(what: str, prediction: Prediction) -> bytes:
    encode = partial(encode_volume, affine=prediction.affine, header=prediction.header)
    if what == SEGMENTATION:
        return encode(np.asarray(prediction.segmentation, dtype=np.uint8))
    if what == PROBABILITIES:
        return encode(np.asarray(np.moveaxis(prediction.probabilities, 0, -1), dtype=np.float32), upper=1.0)
    name = MapName.parse(what)
    whole = name.measure == Measure.ERROR
    array = np.asarray(prediction.maps[what], dtype=np.uint8 if whole else np.float32)
    return encode(array, upper=None if whole else name.upper)  # None for a map this version knows no bound of
