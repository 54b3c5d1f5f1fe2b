"""Raw images to a study on T1c's own grid: register, find the brain, resample once, and tell how it went."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.errors import AnotherResult, Cancelled, CutHead, ForeignFile, SaveError, StudyError
from napari_uncseg.inference.progress import Progress, silent
from napari_uncseg.io.brain import background_value, brain_mask, has_skull, value_beyond
from napari_uncseg.io.discovery import StudyFiles
from napari_uncseg.io.files import (
    check_names,
    check_writable,
    exists,
    read_json,
    sha256,
    sha256_of,
    versions,
    write_files,
)
from napari_uncseg.io.geometry import spacing, voxel_ml
from napari_uncseg.io.loading import PREPARATION_SUFFIX
from napari_uncseg.io.nifti import encode_volume
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.preparation.brain import BUNDLED, Method, check_mask, find_extractor, read_mask
from napari_uncseg.preparation.page import draw_page
from napari_uncseg.preparation.registration import Registration, covered_by, on_grid_of, register
from napari_uncseg.preparation.scans import RawStudy, Scan
from napari_uncseg.uncertainty.needs_review import Reason

SCHEMA = 1
_STEPS = 6

_CUT_CM2 = 40.0
"""Area of brain on a face of T1c beyond which the head was cut there."""

_NUMBERS = ("moved_mm", "returned_mm", "overlap")

_UNCOVERED = 0.3
"""Share of the brain that an image may leave out before it counts as cut."""


@dataclass(frozen=True)
class Options:
    """How a raw study is prepared.

    Parameters
    ----------
    brain_mask : Path, optional
        A user's mask of the brain, in T1c's space.
    brain : Method
        How it is found otherwise.
    overwrite : bool
        Whether another study's preparation may be replaced.
    """

    brain_mask: Path | None = None
    brain: Method = Method.AUTO
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Registered:
    """Four images on T1c's grid, with the skull.

    Parameters
    ----------
    images : ndarray of float32, shape (4, x, y, z)
    covered : mapping of str to ndarray of bool, shape (x, y, z)
        What each image reaches.
    found : mapping of str to Registration
        How the three others lie to T1c.
    """

    images: Floats32
    covered: Mapping[str, Mask]
    found: Mapping[str, Registration]

    @classmethod
    def of(cls, raw: RawStudy, found: Mapping[str, Registration]) -> Registered:
        """Resample each image once, from the original, linearly."""
        t1c = raw.scans["t1c"]
        images = np.empty((len(MODALITIES), *t1c.shape), dtype=np.float32)
        images[0] = t1c.values
        covered = {"t1c": np.ones(t1c.shape, dtype=bool)}
        for place, role in enumerate(MODALITIES[1:], start=1):
            scan, matrix = raw.scans[role], found[role].matrix
            outside = value_beyond(scan.values)
            images[place] = on_grid_of(scan.values, scan.affine, matrix, t1c.shape, t1c.affine, outside)
            covered[role] = covered_by(scan.shape, scan.affine, matrix, t1c.shape, t1c.affine)
        return cls(images, covered, found)

    @classmethod
    def again(cls, raw: RawStudy, record: Mapping[str, Any]) -> Registered:
        """What a preparation of these scans, of which its JSON tells, had before it took the skull off."""
        found = {}
        for role, told in record["registration"].items():
            numbers = {name: told[name] for name in (*_NUMBERS, "starts")}
            found[role] = Registration(np.array(told["t1c_mm_to_image_mm"]), **numbers)
        return cls.of(raw, found)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study that was prepared.

    Parameters
    ----------
    files : StudyFiles
        Its four images, to be loaded.
    record : mapping
        What the JSON says.
    brain : Path
        Mask of the brain.
    registered : Registered, optional
        The images with the skull, which are never saved: a face can be seen in them. None where the same preparation
        stood there; :meth:`Registered.again` makes them anew.
    """

    files: StudyFiles
    record: Mapping[str, Any]
    brain: Path
    registered: Registered | None = None

    @property
    def already_there(self) -> bool:
        """Whether the same preparation stood there."""
        return self.registered is None


@dataclass
class _Clock:
    """Seconds of each part."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - start, 2)


def prepare_study(
    raw: RawStudy,
    folder: Path,
    options: Options,
    *,
    registered: Registered | None = None,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Register three images to T1c, take the skull off, and save the study with all that tells how it came about.

    Parameters
    ----------
    raw : RawStudy
    folder : Path
        Takes ``<id>-t1c.nii.gz`` … on T1c's own grid, the mask ``<id>_brain.nii.gz``, the transforms in
        ``<id>_preparation.json``, and ``<id>_preparation.html``, a page to check it all by.
    options : Options
    registered : Registered, optional
        The images on T1c's grid, where an earlier preparation of the same scans found how they lie.
    progress, cancelled : callable

    Returns
    -------
    Prepared
        With reasons for a review in its record where a registration failed its checks.

    Raises
    ------
    StudyError
        When the brain cannot be found or an image covers only part of it.
    SaveError
        When something else stands in the folder, or the disk cannot take it.
    Cancelled
        When ``cancelled()`` became true; then nothing was written.
    """
    inputs = {role: _told(scan) for role, scan in raw.scans.items()}
    mask_hash = sha256_of(options.brain_mask) if options.brain_mask else None
    settings = {"brain": "file" if options.brain_mask else str(options.brain), "brain_mask_sha256": mask_hash}
    if options.brain_mask is None and options.brain is Method.AUTO:
        settings["brain_network_sha256"] = sha256_of(BUNDLED)
    files = _files(folder, raw.id)
    if (there := _look(folder, files, raw.id, inputs, settings, options)) is not None:
        return Prepared(_study_files(raw.id, folder, files), there, files["brain"])
    clock, t1c = _Clock(), raw.scans["t1c"]
    # What is missing is told before the long computation.
    given = read_mask(options.brain_mask, t1c.shape, t1c.affine) if options.brain_mask else None
    if given is None and options.brain is not Method.AUTO:
        find_extractor(options.brain)
    if registered is None:
        registered = _register(raw, clock, progress, cancelled)
    images, found = registered.images, registered.found
    _check(cancelled)
    progress(4, _STEPS, "Finding the brain")
    with clock("brain"):
        brain, how = (given, "a mask by the user") if given is not None else _brain(raw, registered, options.brain)
    _check_head(raw, brain, registered.covered)
    _check(cancelled)
    progress(5, _STEPS, "Saving")
    record: dict[str, Any] = {
        **{"format": "napari-uncseg preparation", "schema": SCHEMA, "study": raw.id},
        "research_use_only": RESEARCH_USE_ONLY,
        "versions": versions("python", "numpy", "SimpleITK", "pydicom"),
        "inputs": inputs,
        "settings": settings,
        "registration": {role: _registered(each) for role, each in found.items()},
        "brain": {"source": how, "ml": round(float(brain.sum()) * voxel_ml(t1c.affine), 1)},
        "needs_review": [{"code": reason.code, "text": reason.text} for reason in _failed(found)],
    }
    with clock("page"):
        page = draw_page(raw.id, images, brain, t1c.affine, found, record)
    contents = {
        files[role]: encode_volume(np.where(brain, image, np.float32(0)), t1c.affine)
        for role, image in zip(MODALITIES, images, strict=True)
    }
    contents[files["brain"]] = encode_volume(brain.astype(np.uint8), t1c.affine)
    contents[files["page"]] = page.encode()
    names = {path: role for role, path in files.items()}
    record["files"] = {names[path]: {"file": path.name, "sha256": sha256(data)} for path, data in contents.items()}
    record["seconds"] = clock.seconds
    contents[files["json"]] = (json.dumps(plain(record), indent=2, ensure_ascii=False) + "\n").encode()
    write_files(contents)
    return Prepared(_study_files(raw.id, folder, files), record, files["brain"], registered)


def _register(raw: RawStudy, clock: _Clock, progress: Progress, cancelled: Callable[[], bool]) -> Registered:
    """Three images registered to T1c, and all on its grid."""
    t1c, found = raw.scans["t1c"], {}
    for place, role in enumerate(MODALITIES[1:]):
        progress(place, _STEPS, f"Registering {MODALITY_TITLES[role]}")
        with clock("registration"):
            scan = raw.scans[role]
            found[role] = register(t1c.values, t1c.affine, scan.values, scan.affine, cancelled=cancelled)
    progress(3, _STEPS, "Resampling")
    with clock("resampling"):
        return Registered.of(raw, found)


def _told(scan: Scan) -> dict[str, Any]:
    """What is said of an image: nothing that a patient is known by."""
    sizes = [round(side, 3) for side in scan.spacing]
    return {"series": scan.series, "sha256": scan.sha256, "shape": list(scan.shape), "spacing": sizes}


def _files(folder: Path, study_id: str) -> dict[str, Path]:
    """Where everything goes, by its role; the JSON comes last."""
    files = {role: folder / f"{study_id}-{role}.nii.gz" for role in MODALITIES}
    files |= {"brain": folder / f"{study_id}_brain.nii.gz", "page": folder / f"{study_id}_preparation.html"}
    return {**files, "json": folder / f"{study_id}{PREPARATION_SUFFIX}"}


def _study_files(study_id: str, folder: Path, files: Mapping[str, Path]) -> StudyFiles:
    return StudyFiles(study_id, {role: files[role] for role in MODALITIES}, folder=folder)


def _look(
    folder: Path,
    files: Mapping[str, Path],
    study_id: str,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    options: Options,
) -> Mapping[str, Any] | None:
    """What the same preparation, which stands there already, says of itself; None when there is none."""
    check_names(folder, [path.name for path in files.values()])
    check_writable(folder)
    if not exists(files["json"], SaveError):
        for path in files.values():
            if exists(path, SaveError):
                raise ForeignFile(f"{path} stands there and belongs to no preparation; choose another output folder.")
        return None
    record = read_json(files["json"], StudyError, "remove it and prepare the study again")
    same = record.get("inputs") == plain(inputs) and record.get("settings") == plain(settings)
    if same and all(exists(path) for path in files.values()):
        return record
    if not same and not options.overwrite:
        what = f"{folder} holds another preparation of {study_id}"
        raise AnotherResult(f"{what}; choose another output folder, or overwrite it.")
    listed, mask = record.get("files"), files["brain"]
    if not isinstance(listed, Mapping):
        raise ForeignFile(f"{files['json']} is no JSON of a preparation and is not replaced; move it away.")
    known = (settings["brain_mask_sha256"], *(each["sha256"] for each in listed.values() if "sha256" in each))
    if exists(mask) and sha256_of(mask) not in known:
        raise ForeignFile(f"{mask} was changed since it was saved; give it with --brain-mask, or move it away.")
    return None


def _brain(raw: RawStudy, registered: Registered, method: Method) -> tuple[Mask, str]:
    """The brain on T1c's grid, and where it comes from; an image that may lie elsewhere has no say."""
    t1c, images = raw.scans["t1c"], registered.images
    if method is Method.AUTO:
        stripped = brain_mask(images)
        constant = background_value(t1c.values) is not None
        if constant and stripped.any() and not has_skull(images, stripped, spacing(t1c.affine)):
            return stripped, "skull-stripped before"
    fits = [place for place, role in enumerate(MODALITIES) if place == 0 or registered.found[role].works]
    covered = [registered.covered[MODALITIES[place]] for place in fits]
    mask = find_extractor(method)(images[fits], t1c.affine, covered)
    how = "the bundled network" if method is Method.AUTO else str(method)
    return check_mask(mask, t1c.affine, "The mask of the brain"), how


def _check_head(raw: RawStudy, brain: Mask, covered: Mapping[str, Mask]) -> None:
    """Refuse an image that leaves out a large part of the brain."""
    sides = spacing(raw.scans["t1c"].affine)
    for axis in range(3):
        pixel = float(np.prod(sides)) / sides[axis] / 100.0
        area = max(np.count_nonzero(np.take(brain, end, axis=axis)) for end in (0, -1)) * pixel
        if area > _CUT_CM2:
            what = f"T1c of study {raw.id} ends within the brain ({area:.0f} cm² of it lie at its edge)"
            raise CutHead(f"{what}; give a series of the whole head.")
    for role, reached in covered.items():
        share = 1 - float(reached[brain].mean())
        if share > _UNCOVERED:
            what = f"{MODALITY_TITLES[role]} of study {raw.id} leaves out {share:.0%} of the brain"
            raise CutHead(f"{what}; give a series of the whole head.")


def _failed(found: Mapping[str, Registration]) -> Iterator[Reason]:
    for role, each in found.items():
        if not each.works:
            title = MODALITY_TITLES[role]
            yield Reason.of("registration_failed", title=title, apart=each.returned_mm, overlap=each.overlap)


def _registered(each: Registration) -> dict[str, Any]:
    numbers = {name: round(getattr(each, name), 3) for name in _NUMBERS}
    matrix = np.round(each.matrix, 6).tolist()
    return {"t1c_mm_to_image_mm": matrix, "fits_already": each.fits_already, **numbers, "starts": each.starts}


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("Stopped before the study was prepared; nothing was written.")
