"""A prediction on disk: maps as NIfTI, and a JSON that says how they came about and vouches for each file.

Results stand in ``OUT/<id>/<id>_<map>.nii.gz`` and ``OUT/<id>/<id>_uncseg.json``: here is where they are
(:func:`find_results`), what one is before its volumes are read (:func:`read_result`), and whether it was made from the
files of a study (:func:`made_from`). What stands where one would be saved, :mod:`napari_uncseg.io.saving` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.io.files import entries, is_dir, is_file, read_json
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import Volume, read_volume
from napari_uncseg.io.prediction import Partial, Prediction, partial_of
from napari_uncseg.io.provenance import Provenance, fingerprint, input_hashes
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, REGIONS, Label
from napari_uncseg.maps import MapName

JSON_SUFFIX = "_uncseg.json"
"""What follows the study's id in the name of the JSON; a folder with such a file is a result."""

Inputs = Mapping[str, Mapping[str, str | None]]
"""Role -> ``file`` and ``sha256`` of what a study was read from."""

SEGMENTATION = "segmentation"
PROBABILITIES = "probabilities"


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
        return {name: path for name, path in self.files.items() if name not in (SEGMENTATION, PROBABILITIES)}


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
    if named := find_results(folder, study.id):
        return named[0]
    own = {role: study.inputs[role]["sha256"] for role in MODALITIES}
    for path in find_results(folder):
        with suppress(StudyError):
            told = input_hashes(read_result(path).provenance)
            if {role: told.get(role) for role in MODALITIES} == own:
                return path
    return None


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
        {key: value for key, value in content.items() if key != "files" and value is not None},  # null says nothing
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
        if _comparable(there := told.get(role) or {}, here := inputs.get(role) or {})
        if there["sha256"] != here["sha256"]
    )


def _comparable(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> bool:
    """Whether two inputs have hashes of the same kind: of files, or of arrays in memory."""
    return all(each.get("sha256") for each in (there, here)) and bool(there.get("file")) == bool(here.get("file"))


def made_from(provenance: Mapping[str, Any], inputs: Inputs) -> bool:
    """Whether a result was made from the images of a study: False when the hash of one of them is another one."""
    return not set(MODALITIES) & set(other_inputs(provenance, inputs))


def doubt_about(provenance: Mapping[str, Any], inputs: Inputs, study_id: str) -> str:
    """What to say where a result does not tell from which files it was made, a sentence; empty where it does."""
    told = provenance.get("inputs") or {}
    if any(_comparable(told.get(role) or {}, inputs.get(role) or {}) for role in MODALITIES):
        return ""
    return f"The result of {study_id} does not tell from which image files it was made; check that they are these."


def check_made_from(
    provenance: Mapping[str, Any], inputs: Inputs, study_id: str, where: object, error: type[UncsegError] = StudyError
) -> None:
    """Refuse, with an error, a result (``where`` it stands) that was made from other images than those of a study."""
    other = [MODALITY_TITLES[role] for role in other_inputs(provenance, inputs) if role in MODALITY_TITLES]
    if other:
        what = f"The result {where} was made from other image files than study {study_id} has ({', '.join(other)})"
        raise error(f"{what}; name the result of these images, or predict the study again.")


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
    if missing := {SEGMENTATION, PROBABILITIES} - set(result.files):
        raise StudyError(f"{result.path} lists no {' and no '.join(sorted(missing))}; run the prediction again.")
    for path in result.files.values():
        if not is_file(path):
            raise StudyError(f"{path} is not there, and {result.path.name} lists it; copy it back, or predict again.")
    with ThreadPoolExecutor() as pool:
        volumes = dict(zip(result.files, pool.map(read_volume, result.files.values()), strict=True))
    first = volumes[SEGMENTATION]
    for what, volume in volumes.items():
        if volume.sha256 != result.hashes[what]:
            raise StudyError(
                f"{volume.path} was changed since it was saved with {result.path.name}; put the saved one back, or "
                "move this one away and predict again."
            )
        expected = len(REGIONS) if what == PROBABILITIES else 1
        if volume.channels != expected or not same_grid(first.shape, first.affine, volume.shape, volume.affine):
            raise StudyError(f"{volume.path} does not lie on the grid of {first.path.name}; predict again.")
    segmentation = first.values()
    if not 0 <= segmentation.min() <= segmentation.max() <= max(Label):
        raise StudyError(f"{first.path} holds other values than 0, 1, 2, 3; run the prediction again.")
    probabilities = volumes[PROBABILITIES]
    uppers = [MapName.parse(what).upper for what in result.maps]
    with ThreadPoolExecutor() as pool:
        maps = pool.map(_fractions, (volumes[what] for what in result.maps), uppers)
    return Prediction(
        study_id=result.study_id,
        probabilities=np.stack([_fractions(probabilities, 1.0, channel) for channel in range(len(REGIONS))]),
        segmentation=segmentation.astype(np.uint8),
        maps=dict(zip(result.maps, maps, strict=True)),
        affine=first.affine,
        provenance=result.provenance,
        header=first.header,
        path=result.path,
    )


def load_result_of(study: Study, path: Path) -> Prediction:
    """Read a saved prediction that is to be shown with a study.

    Parameters
    ----------
    study : Study
    path : Path
        ``OUT/<id>``, or the JSON in it.

    Raises
    ------
    StudyError
        As :func:`load_prediction`, or when it was made from other images or lies on another grid.
    """
    prediction = load_prediction(path)
    check_made_from(prediction.provenance, study.inputs, study.id, f"in {path}")
    if not same_grid(study.shape, study.affine, prediction.shape, prediction.affine):
        raise StudyError(f"The result in {path} lies on another grid than study {study.id}; predict the study again.")
    return prediction


def _only_json(folder: Path) -> Path:
    if not is_dir(folder):
        raise StudyError(f"{folder} is not a folder with results.")
    found = [path for path in entries(folder) if is_result(path)]
    if not found:
        raise StudyError(f"{folder} holds no saved prediction (no *{JSON_SUFFIX}); give the folder of one study.")
    if len(found) > 1:
        raise StudyError(f"{folder} holds several predictions ({found[0].name}, {found[1].name} …); name one JSON.")
    return found[0]


def _fractions(volume: Volume, upper: float | None, channel: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = volume.values(channel)
    return np.clip(values, 0.0, upper, out=values).astype(np.float32, copy=False)
