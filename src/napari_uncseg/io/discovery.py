"""Which file is which, before anything is read.

A folder that holds something of a study but not all of it comes out as a :class:`StudyFiles` with a ``problem``, so
that a parent folder of many studies is worked through to its end; loading such a study raises the problem.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_uncseg.errors import StudyError
from napari_uncseg.io import naming
from napari_uncseg.io.files import entries, exists, is_dir, is_file
from napari_uncseg.io.label_coding import DATASET_JSON, Dataset, read_dataset
from napari_uncseg.io.naming import REFERENCE, NamedFile
from napari_uncseg.io.nifti import SUFFIXES, is_nifti, stem
from napari_uncseg.io.results import is_own_segmentation
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, Coding

IMAGE_FOLDERS = ("imagesTr", "imagesTs")
"""Where nnU-Net and the Decathlon keep their images."""

_DEPTH = 3
"""Folders below a parent folder are looked into so far: site / patient / visit."""


@dataclass(frozen=True)
class StudyFiles:
    """The files of one study.

    Parameters
    ----------
    id : str
        Name of the study, see :func:`napari_uncseg.io.naming.name_of_study`.
    modalities : mapping of str to Path or (Path, int)
        Modality -> file, or file and channel of a 4-D file.
    reference : Path, optional
        Expert segmentation.
    coding : Coding, optional
        Coding of the reference that the naming implies; None leaves it to the values.
    undecided : str, optional
        Why the coding has to be asked for, a sentence.
    problem : str, optional
        Why these files are no study, a sentence; loading raises it.
    warnings : tuple of str
        What the user should know about the files before they are read, a sentence each.
    folder : Path
        Where they were found.
    """

    id: str
    modalities: Mapping[str, Path | tuple[Path, int]]
    reference: Path | None = None
    coding: Coding | None = None
    undecided: str | None = None
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    folder: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", naming.plain_id(self.id))

    @property
    def paths(self) -> dict[str, Path]:
        """File of each modality, whatever its channel."""
        return {m: entry[0] if isinstance(entry, tuple) else entry for m, entry in self.modalities.items()}

    def same_images(self, other: StudyFiles) -> bool:
        """Whether the images are the same files, however their paths are written."""
        own, others = ({m: os.path.realpath(path) for m, path in each.paths.items()} for each in (self, other))
        return own == others


def find_studies(path: str | Path) -> list[StudyFiles]:
    """Find the studies of a path, in the order of their names.

    Parameters
    ----------
    path : str or Path
        A study folder, a parent folder of studies (at most three levels up), an nnU-Net or Decathlon dataset folder or
        its ``imagesTr`` or ``imagesTs``, or one image file of any of these.

    Returns
    -------
    list of StudyFiles
        At least one; an incomplete study comes with its ``problem``.

    Raises
    ------
    StudyError
        When the path does not exist or holds nothing of a study.
    """
    path = Path(path)
    if not exists(path):
        raise StudyError(f"{path} does not exist; check how it is written.")
    if not is_dir(path):
        return [_study_of_file(path)]
    studies = _search(path, _DEPTH, set())
    if not studies:
        what = f"{path} holds no study: no four NIfTI files named after T1c, T1n, FLAIR (T2f) and T2w."
        there = [entry for entry in entries(path) if is_file(entry, None) and not entry.name.startswith(".")]
        read = [file for level in ("*", "*/*") for file in sorted(path.glob(level)) if is_nifti(file)]
        names = ", ".join(str(file.relative_to(path)) for file in (read or there)[: len(MODALITIES)])
        do = "name each file with --t1c, --t1n, --t2f and --t2w" if read else "convert images to NIfTI (.nii.gz)"
        raise StudyError(f"{what} There are {names}: {do}." if names else what)
    return _distinct(studies)


def only_study(path: str | Path) -> StudyFiles:
    """The one study of a path; StudyError when :func:`find_studies` finds none or several."""
    found = find_studies(path)
    if len(found) > 1:
        some = ", ".join(study.id for study in found[:3]) + (", …" if len(found) > 3 else "")
        raise StudyError(f"{path} holds {len(found)} studies ({some}); name the folder of one of them.")
    return found[0]


def study_files(
    t1c: str | Path,
    t1n: str | Path,
    t2f: str | Path,
    t2w: str | Path,
    reference: str | Path | None = None,
    id: str | None = None,  # noqa: A002 - the word the whole package uses
) -> StudyFiles:
    """A study of files named one by one.

    Parameters
    ----------
    t1c, t1n, t2f, t2w : str or Path
        The four modalities.
    reference : str or Path, optional
        Expert segmentation.
    id : str, optional
        Name of the study; by default what the four names have in common, or else their folder's name.

    Returns
    -------
    StudyFiles
        With a warning for each file whose name says that it is something else.

    Raises
    ------
    StudyError
        When one file is given for two modalities.
    """
    paths = dict(zip(MODALITIES, (Path(t1c), Path(t1n), Path(t2f), Path(t2w)), strict=True))
    seen: dict[str, str] = {}
    for modality, file in paths.items():
        other = seen.setdefault(os.path.realpath(file), modality)
        if other != modality:
            raise StudyError(f"{file} is given for both {other} and {modality}; name four files.")
    named = [name for name in map(naming.read_name, paths.values()) if name is not None]
    coding = naming.implied_coding(named) if len(named) == len(paths) else None
    expert = Path(reference) if reference is not None else None
    files = [*paths.values(), *([expert] if expert is not None else [])]
    warnings = tuple(
        f"{path.name} is given as {role}, but its name says {name.role}; check which is which."
        for role, path in zip((*MODALITIES, REFERENCE), files, strict=False)
        if (name := naming.read_name(path)) is not None and name.role != role
    )
    warnings += tuple(strangers(name for name in map(naming.read_name, files) if name is not None))
    study_id = id or _common_id(list(paths.values()), named)
    return StudyFiles(study_id, dict(paths), expert, coding, warnings=warnings)


def strangers(files: Iterable[NamedFile]) -> Iterator[str]:
    """Of files that are taken for one study, those named after another one than most, a sentence each."""
    named = [(file, naming.subject_of(file.prefix)) for file in files]
    (most, count), *_ = Counter(subject for _, subject in named).most_common() or [("", 0)]
    for file, subject in named:
        if count > 1 and subject and most and not (subject.startswith(most) or most.startswith(subject)):
            yield f"{file.path.name} is named after another study than the others ({most}); check whose it is."


def _common_id(paths: list[Path], named: list[NamedFile]) -> str:
    """What four file names have in common, or the name of the folder they share."""
    stems = [name.prefix for name in named] if len(named) == len(paths) else [stem(path) for path in paths]
    # Letter by letter on purpose: these are names, not paths.
    common = os.path.commonprefix(stems)  # noqa: RUF071
    if common not in stems:  # cut inside a word, as in "x_t1" and "x_t2"
        common = common[: max((common.rfind(separator) for separator in "-_. "), default=-1) + 1]
    common = common.strip("-_. ")
    folders = {path.absolute().parent for path in paths}
    if naming.says_whose(common) or len(folders) > 1:
        return common or "study"
    return naming.name_of_study(folders.pop())


def _study_of_file(path: Path) -> StudyFiles:
    """The study that an image file belongs to."""
    if not is_nifti(path):
        raise StudyError(f"{path} is not a NIfTI file (.nii or .nii.gz); convert it, or give a study folder.")
    for study in _studies_in(path.parent):
        if path in (*study.paths.values(), study.reference):
            return study
    raise StudyError(f"{path} is one image that belongs to no study; give a folder with T1c, T1n, FLAIR (T2f) and T2w.")


def _search(folder: Path, depth: int, seen: set[str]) -> list[StudyFiles]:
    """Studies of a folder, or else of the folders below it; a folder to which several names lead counts once."""
    seen.add(os.path.realpath(folder))
    here = _studies_in(folder)
    if here and not any(is_dir(folder / name) for name in IMAGE_FOLDERS):
        return [replace(here[0], warnings=(*here[0].warnings, *_left_out(folder))), *here[1:]]
    if here or depth == 0:
        return here
    found: list[StudyFiles] = []
    for entry in sorted(entries(folder), key=os.path.islink):  # its own name comes before those of links to it
        if entry.name.startswith(".") or is_nifti(entry) or os.path.realpath(entry) in seen:
            continue
        try:
            found += _search(entry, depth - 1, seen) if is_dir(entry) else []
        except StudyError as error:  # a bad folder does not hide its neighbours
            found.append(StudyFiles(entry.name, {}, problem=str(error), folder=entry))
    return sorted(found, key=lambda study: study.folder)


def _left_out(folder: Path) -> Iterator[str]:
    """Of the folders below a study, those that hold another one, a sentence each."""
    for entry in entries(folder):
        with suppress(StudyError):
            if not entry.name.startswith(".") and is_dir(entry) and _studies_in(entry):
                yield f"{entry} holds a study of its own, which was left out; name that folder, too."


def _studies_in(folder: Path) -> list[StudyFiles]:
    """Studies whose files stand in this very folder, or in the image folders of a dataset."""
    images = [folder / name for name in IMAGE_FOLDERS if is_dir(folder / name)]
    if images:
        return [found for part in images for found in _studies_in(part)]
    # A segmentation of ours that was saved beside the images is no expert's.
    files = [entry for entry in entries(folder) if is_nifti(entry) and not is_own_segmentation(entry)]
    named = [name for name in map(naming.read_name, files) if name is not None]
    if any(name.role != REFERENCE for name in named):
        return _named_studies(folder, named)
    whole_dataset = folder.name.startswith("images")
    # Without channel numbers it may be a folder of predictions, to which nnU-Net adds a dataset.json too.
    files = [file for file in files if whole_dataset or naming.channel_of_name(file)]
    places = (folder, folder.parent) if whole_dataset else (folder,)
    dataset_json = next((place / DATASET_JSON for place in places if is_file(place / DATASET_JSON)), None)
    if files and dataset_json is not None:
        return _dataset_studies(folder, files, read_dataset(dataset_json))
    if files and folder.name in IMAGE_FOLDERS:
        raise StudyError(f"{folder} has no {DATASET_JSON} beside it, so the order of its channels is unknown; add it.")
    return []


def _named_studies(folder: Path, named: list[NamedFile]) -> list[StudyFiles]:
    """Studies of files named after modalities: one as a rule, several when their prefixes tell them apart."""
    groups: dict[str, list[NamedFile]] = defaultdict(list)
    for name in named:
        groups[name.prefix].append(name)
    prefixes = sorted({name.prefix for name in named if name.role != REFERENCE})
    if sum({name.role for name in group} >= set(MODALITIES) for group in groups.values()) > 1:
        return [_named_study(_id_in(folder, prefix.strip("-_. ")), folder, groups[prefix]) for prefix in prefixes]
    return [_named_study(naming.name_of_study(folder, prefixes[0] if len(prefixes) == 1 else ""), folder, named)]


def _id_in(folder: Path, prefix: str) -> str:
    """Name of one of several studies in a folder."""
    return prefix if naming.says_whose(prefix) else "_".join(filter(None, (naming.name_of_study(folder), prefix)))


def _named_study(study_id: str, folder: Path, named: list[NamedFile]) -> StudyFiles:
    prefixes = {name.prefix for name in named if name.role != REFERENCE}
    by_role: dict[str, list[Path]] = defaultdict(list)
    for name in named:
        # "brain_segmentation" beside the tumour's is another thing.
        if name.role != REFERENCE or len(prefixes) > 1 or name.prefix in prefixes:
            by_role[name.role].append(name.path)
    problem = None
    for role, paths in by_role.items():
        if len(paths) > 1:
            what = f"{len(paths)} files for {MODALITY_TITLES.get(role, role)}: {' and '.join(p.name for p in paths)}"
            problem = f"{folder} holds {what}; keep one or name the files one by one."
    modalities = {modality: by_role[modality][0] for modality in MODALITIES if modality in by_role}
    reference, coding = next(iter(by_role[REFERENCE]), None), naming.implied_coding(named)
    told = tuple(strangers(name for name in named if name.path in (*modalities.values(), reference)))
    return _checked(StudyFiles(study_id, modalities, reference, coding, problem=problem, warnings=told, folder=folder))


def _checked(study: StudyFiles) -> StudyFiles:
    """A study, with the problem that modalities are missing where they are."""
    missing = [MODALITY_TITLES[modality] for modality in MODALITIES if modality not in study.modalities]
    if not missing or study.problem is not None:
        return study
    found = ", ".join(f"{MODALITY_TITLES[modality]} ({path.name})" for modality, path in study.paths.items())
    what = f"Study {study.id} in {study.folder} has no {' and no '.join(missing)}; found only {found or 'other files'}"
    return replace(study, problem=f"{what}: add what is missing, or name the four files one by one.")


def _dataset_studies(folder: Path, files: Iterable[Path], dataset: Dataset) -> list[StudyFiles]:
    """Studies of an nnU-Net or Decathlon image folder."""
    cases: dict[str, dict[str, Path | tuple[Path, int]]] = defaultdict(dict)
    names = {number: modality for modality, number in dataset.channels.items()}
    for file in files:
        if (numbered := naming.channel_of_name(file)) is None:
            cases[stem(file)] = {modality: (file, number) for number, modality in names.items()}
        else:
            cases[numbered[0]] |= {names[numbered[1]]: file} if numbered[1] in names else {}
    labels = folder.parent / folder.name.replace("images", "labels", 1) if folder.name.startswith("images") else folder
    studies = []
    for case, found in sorted(cases.items()):
        study = _checked(StudyFiles(case, found, folder=folder))
        places = (labels / f"{case}{suffix}" for suffix in SUFFIXES)
        reference = next((place for place in places if is_file(place) and place not in study.paths.values()), None)
        if reference is not None:
            study = replace(study, reference=reference, coding=dataset.coding, undecided=dataset.undecided)
        studies.append(study)
    return studies


def _distinct(found: list[StudyFiles]) -> list[StudyFiles]:
    """Studies with ids that differ: where two have the same, the nearest folders above that tell them apart are added.

    A result of such a study is found by the hashes of its images where the study is searched for by itself.
    """
    places = [study.folder for study in found]
    for _ in range(_DEPTH + 1):
        counts = Counter(study.id.casefold() for study in found)  # some disks know no case
        for index, study in enumerate(found):
            if counts[study.id.casefold()] > 1:
                places[index] = next((p for p in places[index].parents if p.name not in study.id), places[index])
                found[index] = replace(study, id=f"{places[index].name}_{study.id}")
    return found
