"""Which prediction belongs to which reference: two folders in, pairs matched by id out, before a voxel is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from napari_uncseg.errors import EvaluationError, StudyError
from napari_uncseg.io.discovery import StudyFiles, find_studies
from napari_uncseg.io.files import entries, is_dir, is_file
from napari_uncseg.io.label_coding import DATASET_JSON, read_dataset
from napari_uncseg.io.naming import REFERENCE, plain_id, read_name
from napari_uncseg.io.nifti import is_nifti, stem
from napari_uncseg.io.results import JSON_SUFFIX, is_result, read_result
from napari_uncseg.labels import Coding

_SEPARATORS = "-_. "


@dataclass(frozen=True)
class LabelFile:
    """A segmentation on disk, an expert's or another tool's, before its numbers are understood.

    Parameters
    ----------
    path : Path
        Label file.
    coding : Coding, optional
        Coding that the naming implies; None leaves it to the values.
    undecided : str, optional
        Why the coding has to be asked for, a sentence.
    """

    path: Path
    coding: Coding | None = None
    undecided: str | None = None


@dataclass(frozen=True)
class Pair:
    """A prediction and its reference.

    Parameters
    ----------
    id : str
        Name of the study.
    prediction : LabelFile
        JSON of a result of ``uncseg predict``, or a label file of another tool.
    reference : LabelFile, optional
        None only with a ``problem``.
    images : StudyFiles, optional
        The four modalities, from which the brain is taken; None when they are not there.
    problem : str, optional
        Why this pair cannot be evaluated, a sentence.
    """

    id: str
    prediction: LabelFile
    reference: LabelFile | None = None
    images: StudyFiles | None = None
    problem: str | None = None

    @property
    def foreign(self) -> bool:
        """Whether the prediction is a plain label file of another tool."""
        return not is_result(self.prediction.path)


@dataclass(frozen=True)
class Matched:
    """What two folders hold together.

    Parameters
    ----------
    pairs : tuple of Pair
        One per prediction, in the order of their ids.
    unpredicted : tuple of str
        Ids of references that no prediction was made for.
    """

    pairs: tuple[Pair, ...]
    unpredicted: tuple[str, ...]


def match(predictions: str | Path, references: str | Path, images: str | Path | None = None) -> Matched:
    """Predictions of a folder with their references, matched by id.

    Parameters
    ----------
    predictions : str or Path
        Folder of ``uncseg predict`` (``<id>/<id>_uncseg.json``), or of label files: ``<id>.nii.gz``,
        ``<id>_seg.nii.gz``, ``<id>-seg.nii.gz``, here or in a folder ``<id>``.
    references : str or Path
        Folder of studies as :func:`~napari_uncseg.io.discovery.find_studies` reads them, or of label files alone,
        named as above.
    images : str or Path, optional
        Folder of studies whose images tell the brain, where they do not lie beside the references.

    Returns
    -------
    Matched
        One pair per prediction; one without a reference comes with its ``problem``.

    Raises
    ------
    EvaluationError
        When a folder does not exist, or holds no prediction.
    """
    predictions, references = _folder(predictions, "predictions"), _folder(references, "references")
    predicted = find_predictions(predictions)
    if not predicted:
        raise EvaluationError(
            f"{predictions} holds no prediction; give a folder of results of uncseg predict, or of <id>.nii.gz."
        )
    studies = _studies(references)
    others = studies if images is None else {**studies, **_studies(_folder(images, "images"))}
    ours = {path for pair in predicted.values() for path in _own_files(pair.prediction.path)}
    known = {key: _label_file(path, references) for key, path in _label_files(references).items()}
    known |= {
        study.id: LabelFile(study.reference, study.coding, study.undecided)
        for study in studies.values()
        if study.reference is not None
    }
    pairs = []
    for study_id, pair in sorted(predicted.items()):
        reference, problem, files = known.get(study_id), pair.problem, others.get(study_id)
        if reference is not None and reference.path.resolve() in ours:
            why = f"would be compared with itself, for {reference.path} is among the predictions"
            problem = problem or f"{study_id} {why}; name the folder of the expert segmentations as the reference."
            reference = None
        elif reference is None:
            names = f"{study_id}-seg.nii.gz, {study_id}_seg.nii.gz or {study_id}.nii.gz"
            where = f"there or in a folder {study_id}"
            problem = problem or f"{study_id} has no reference in {references}; expected {names} {where}."
        whole = files if files is not None and files.problem is None else None
        pairs.append(replace(pair, reference=reference, images=whole, problem=problem))
    return Matched(tuple(pairs), tuple(sorted(set(known) - set(predicted))))


def find_predictions(folder: Path) -> dict[str, Pair]:
    """Predictions of a folder by id, without their references.

    Parameters
    ----------
    folder : Path
        Folder of results, or of one result.

    Returns
    -------
    dict of str to Pair
        Damaged ones come with a ``problem``; two of one id too.
    """
    found: dict[str, Pair] = {}
    for pair in _predictions_in(folder):
        other = found.setdefault(pair.id, pair)
        if other is not pair and other.foreign == pair.foreign:
            twice = f"{pair.id} is predicted twice, in {other.prediction.path} and {pair.prediction.path}; keep one."
            found[pair.id] = replace(other, problem=other.problem or twice)
        elif other.foreign:  # a result of ours tells more than a plain label file of the same study
            found[pair.id] = pair
    return found


def _predictions_in(folder: Path) -> Iterator[Pair]:
    for place in (folder, *_folders(folder)):
        results = [entry for entry in entries(place) if is_result(entry)]
        for path in results:
            try:
                yield Pair(plain_id(read_result(path).study_id), LabelFile(path))
            except StudyError as error:
                yield Pair(plain_id(path.name.removesuffix(JSON_SUFFIX)), LabelFile(path), problem=str(error))
        listed = {file for path in results for file in _own_files(path)}
        labels = {key: path for key, path in _label_files_in(place) if path.resolve() not in listed}
        if place != folder:
            # A folder of one study may hold its probabilities too; the label file has the study's name.
            own = plain_id(place.name)
            chosen = labels.get(own) or (next(iter(labels.values())) if len(labels) == 1 else None)
            labels = {own: chosen} if chosen is not None and not results else {}
        yield from (Pair(key, _label_file(path, folder)) for key, path in labels.items())


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in entries(folder) if is_dir(entry) and not entry.name.startswith(".")]


def _own_files(prediction: Path) -> set[Path]:
    """Files that belong to a prediction."""
    if not is_result(prediction):
        return {prediction.resolve()}
    try:
        return {path.resolve() for path in read_result(prediction).files.values()}
    except StudyError:
        return set()


def _studies(folder: Path) -> dict[str, StudyFiles]:
    """Studies by id; none where there are label files alone."""
    try:
        return {study.id: study for study in find_studies(folder)}
    except StudyError:
        return {}


def _label_file(path: Path, folder: Path) -> LabelFile:
    """A label file without images beside it, with what a ``dataset.json`` or its own name says of its numbers."""
    places = [path.parent, folder] + ([path.parent.parent] if path.parent.name.startswith("labels") else [])
    described = next((place / DATASET_JSON for place in places if is_file(place / DATASET_JSON)), None)
    if described is not None:
        try:
            dataset = read_dataset(described, labels_alone=True)
        except StudyError as error:
            return LabelFile(path, None, str(error))
        return LabelFile(path, dataset.coding, dataset.undecided)
    named = read_name(path)
    # "-seg" is how BraTS names references from 2023 on; "_seg" has been everybody's.
    recent = named is not None and named.role == REFERENCE and named.separator == "-" and named.token == "seg"
    return LabelFile(path, Coding.BRATS2023 if recent else None)


def _label_files(folder: Path) -> dict[str, Path]:
    """Label files of references by id, in a folder, in its ``labelsTr`` or ``labelsTs``, or in a folder per study."""
    found: dict[str, Path] = {}
    for place in (place for place in _folders(folder) if not place.name.startswith("images")):
        files = dict(_label_files_in(place))
        segmentations = [path for path in files.values() if _is_segmentation(path)]
        if place.name.startswith("labels"):
            found |= files
        elif (own := plain_id(place.name)) in files or len(segmentations) == 1:
            found[own] = files.get(own) or segmentations[0]
    return {**found, **dict(_label_files_in(folder))}


def _label_files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of one folder that may be label files, by the id that their names tell; ``<id>_seg`` rules ``<id>``."""
    files = [entry for entry in entries(folder) if is_nifti(entry) and is_file(entry)]
    for path in files:
        if read_name(path) is None:
            yield plain_id(stem(path)), path
    for path in files:
        if _is_segmentation(path) and (named := read_name(path)) is not None:
            yield plain_id(named.prefix.strip(_SEPARATORS) or folder.name), path


def _is_segmentation(path: Path) -> bool:
    named = read_name(path)
    return named is not None and named.role == REFERENCE


def _folder(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not is_dir(path, EvaluationError):
        raise EvaluationError(f"{path} does not exist, or is no folder; give the folder of the {what}.")
    return path
