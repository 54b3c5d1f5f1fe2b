"""A prediction on disk: maps as NIfTI, and a JSON that says how they came about and vouches for each file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import SaveError, StudyError, reason_of
from napari_uncseg.io.files import check_writable, write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import Volume, encode_volume, read_volume
from napari_uncseg.io.prediction import Prediction, partial_of
from napari_uncseg.io.provenance import (
    JSON_SUFFIX,
    SCHEMA,
    differences,
    fingerprint,
    fingerprint_of,
    listed_files,
    plain,
    read_json,
)
from napari_uncseg.labels import REGIONS, Label
from napari_uncseg.maps import MapName, Measure

__all__ = [
    "JSON_SUFFIX",
    "AnotherResult",
    "Saved",
    "check_free",
    "check_writable",
    "existing",
    "fingerprint",
    "load_prediction",
    "save_prediction",
]

_SEGMENTATION = "segmentation"
_PROBABILITIES = "probabilities"
_FILE_NAMES = {_SEGMENTATION: "seg"}


class AnotherResult(SaveError):
    """Another result stands where this one would be saved, and nobody chose to overwrite it."""


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


def existing(out: Path, study_id: str, fingerprint: str) -> bool:
    """Whether a complete result with this fingerprint stands in ``OUT/<id>`` already.

    Parameters
    ----------
    out : Path
        Output folder.
    study_id : str
        The study's id.
    fingerprint : str
        See :func:`fingerprint`.

    Returns
    -------
    bool
        True only when every file is there and unchanged since it was written. A partial result is no finished one.
    """
    content = _same_result(out, study_id, fingerprint)
    return content is not None and partial_of(content) is None


def _same_result(out: Path, study_id: str, fingerprint: str) -> dict[str, Any] | None:
    """JSON of the whole and unchanged result with this fingerprint, finished or partial; None when there is none."""
    folder = Path(out) / study_id
    try:
        content = read_json(folder / f"{study_id}{JSON_SUFFIX}")
        if not fingerprint or fingerprint_of(content) != fingerprint:
            return None
        whole = all(_sha256(folder / name) == sha256 for name, sha256 in listed_files(folder, content).values())
    except (StudyError, SaveError):  # nothing there, or not whole
        return None
    return content if whole else None


def check_free(
    out: Path, study_id: str, provenance: Mapping[str, Any], *, overwrite: bool, maps: Iterable[str] = tuple(Measure)
) -> set[str]:
    """Make sure, also before a long computation, that nothing stands where a result would be saved.

    Parameters
    ----------
    out : Path
        Output folder.
    study_id : str
        The study's id.
    provenance : mapping
        Tells the inputs by their hash.
    overwrite : bool
        Whether another result of the study may be replaced.
    maps : iterable of str
        Names of the maps that will be saved; all that there can be when they are not known yet.

    Returns
    -------
    set of str
        Names of the files of the older result that would be replaced.

    Raises
    ------
    AnotherResult
        When another result stands there and ``overwrite`` is off. A partial result of the same run is no other.
    SaveError
        When the id cannot name a folder, or a file to be replaced is an input of the prediction.
    """
    if Path(study_id).name != study_id or study_id in ("", ".", ".."):
        raise SaveError(f"The id {study_id!r} cannot name a folder; choose an id of letters, digits, '-' and '_'.")
    folder = Path(out) / study_id
    json_path = folder / f"{study_id}{JSON_SUFFIX}"
    content: dict[str, Any] | None = None
    old: set[str] = set()
    with suppress(StudyError):
        content = read_json(json_path) if json_path.is_file() else None
        old = {name for name, _ in listed_files(json_path, content).values()} if content is not None else set()
    names = {json_path.name, *old, *_file_names(study_id, (_SEGMENTATION, _PROBABILITIES, *maps)).values()}
    there = [folder / name for name in sorted(names) if (folder / name).is_file()]
    inputs = {source.get("sha256") for source in (provenance.get("inputs") or {}).values()}
    for path in there:
        if _sha256(path) in inputs:
            raise SaveError(f"{path} is an input of this study and would be overwritten; choose another output folder.")
    standing = _same_result(out, study_id, fingerprint(provenance))
    # The first members of this very run, which was stopped, are there to be replaced by all of them.
    mine = {json_path.name, *old} if standing is not None and partial_of(standing) else set()
    foreign = [path for path in there if path.name not in mine]
    if foreign and not overwrite:
        what = _what_stands(content, provenance, foreign[0].name)
        raise AnotherResult(f"{folder} holds {what}; choose another output folder, or overwrite it.")
    return old


def _what_stands(content: Mapping[str, Any] | None, provenance: Mapping[str, Any], foreign: str) -> str:
    """What is in the way of a result, and where its making differs."""
    if content is None:
        return f"{foreign}, of which no readable {JSON_SUFFIX} tells how it was made"
    if different := differences(content, provenance):
        return f"another result, which differs in {' and '.join(different)}"
    if not fingerprint(provenance):
        return f"another result ({foreign} …)"
    return f"a result of the same model, settings and images, with files that are missing or were changed ({foreign} …)"


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
        Replace another result of the same study.

    Returns
    -------
    Saved

    Raises
    ------
    SaveError
        As :func:`check_free`, or when the disk cannot take it. Whatever stood there before is still there.
    """
    study_id = prediction.study_id
    folder = Path(out) / study_id
    names = _file_names(study_id, _arrays(prediction))
    json_path = folder / f"{study_id}{JSON_SUFFIX}"
    targets = (*(folder / name for name in names.values()), json_path)
    if _stands(Path(out), prediction):
        return Saved(folder, targets, skipped=True)
    old = check_free(out, study_id, prediction.provenance, overwrite=overwrite, maps=prediction.maps)
    check_writable(folder)
    contents = _encode(prediction, folder, names)
    files = {
        what: {"file": name, "sha256": hashlib.sha256(contents[folder / name]).hexdigest()}
        for what, name in names.items()
    }
    text = json.dumps(plain({**prediction.provenance, "schema": SCHEMA, "study": study_id, "files": files}), indent=2)
    write_files({**contents, json_path: (text + "\n").encode()})
    for name in old - {target.name for target in targets}:  # a map of the old result that the new one has not
        with suppress(OSError):  # a leftover does no harm: the new JSON does not list it
            (folder / name).unlink()
    return Saved(folder, targets, skipped=False)


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
    folder = Path(folder)
    json_path = folder if folder.name.endswith(JSON_SUFFIX) else _only_json(folder)
    folder = json_path.parent
    content = read_json(json_path)
    files = listed_files(json_path, content)
    if missing := {_SEGMENTATION, _PROBABILITIES} - set(files):
        raise StudyError(f"{json_path} lists no {' and no '.join(sorted(missing))}; run the prediction again.")
    with ThreadPoolExecutor() as pool:
        volumes = dict(zip(files, pool.map(lambda file: read_volume(folder / file[0]), files.values()), strict=True))
    for what, (name, sha256) in files.items():
        if volumes[what].sha256 != sha256:
            raise StudyError(
                f"{folder / name} is not the file that {json_path.name} was written with; run the prediction again."
            )
    first = volumes[_SEGMENTATION]
    for what, volume in volumes.items():
        expected = len(REGIONS) if what == _PROBABILITIES else 1
        if volume.channels != expected or not same_grid(first.shape, first.affine, volume.shape, volume.affine):
            raise StudyError(f"{volume.path} does not lie on the grid of {first.path.name}; run the prediction again.")
    segmentation = first.values().astype(np.int64)
    if not np.isin(segmentation, (0, *Label)).all():
        raise StudyError(f"{first.path} holds other values than 0, 1, 2, 3; run the prediction again.")
    probabilities = volumes[_PROBABILITIES]
    return Prediction(
        study_id=str(content["study"]),
        probabilities=np.stack([_fractions(probabilities, 1.0, channel) for channel in range(len(REGIONS))]),
        segmentation=segmentation.astype(np.uint8),
        maps={
            what: _fractions(volumes[what], _upper(what))
            for what in files
            if what not in (_SEGMENTATION, _PROBABILITIES)
        },
        affine=first.affine,
        provenance={key: value for key, value in content.items() if key != "files"},
        header=first.header,
    )


def _stands(out: Path, prediction: Prediction) -> bool:
    """Whether the same result stands there already, finished or with at least as many members."""
    content = _same_result(out, prediction.study_id, fingerprint(prediction.provenance))
    if content is None:
        return False
    old, new = partial_of(content), prediction.partial
    return old is None or (new is not None and old.done >= new.done)


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


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SaveError(f"{path} cannot be read ({reason_of(error)}); choose another output folder.") from error


def _only_json(folder: Path) -> Path:
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder with results.")
    found = sorted(folder.glob(f"*{JSON_SUFFIX}"))
    if not found:
        raise StudyError(f"{folder} holds no saved prediction (no *{JSON_SUFFIX}); give the folder of one study.")
    if len(found) > 1:
        raise StudyError(f"{folder} holds several predictions ({found[0].name}, {found[1].name} …); name one JSON.")
    return found[0]


def _fractions(volume: Volume, upper: float, channel: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = volume.values(channel)
    return np.clip(values, 0.0, upper, out=values).astype(np.float32, copy=False)
