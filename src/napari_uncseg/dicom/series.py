"""The series of an examination: slices in their order, the grid they span, and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from napari_uncseg.arrays import Floats64
from napari_uncseg.dicom.files import find_files
from napari_uncseg.dicom.headers import CLASSIC, ENHANCED, Frame, read_header
from napari_uncseg.errors import BrokenSeries, DamagedDicom, DicomError, NotMri, SeveralVisits
from napari_uncseg.io.geometry import OnGrid, three

_EVEN = 0.1
"""Share of a slice's distance by which distances may differ."""

_SAME_PLANE = 0.01
"""Difference between direction cosines of slices in one orientation."""


_SAME_ECHO_MS = 0.5
"""Scanners tell the echo times of one image in slightly different digits."""

_SAME_PLACE_MM = 0.05
"""So do they with positions."""

_FEWEST = 10
"""Slices of an orientation that is a volume of its own within a series."""

_File = tuple[Dataset, tuple[Frame, ...]]
"""Header and slices of a file."""

_WHEN = ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime", "StudyDate")


@dataclass(frozen=True, eq=False)
class Series(OnGrid):
    """One volume of an examination: a series, or one echo of it.

    Parameters
    ----------
    header : Dataset
        Of its first file, without voxels.
    label : str
        The series' number, and of several echoes a letter; tells it apart in its examination.
    frames : tuple of Frame
        Each slice once, in the order of the positions along the normal.
    shape : tuple of int
        Columns, rows, slices.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    missing : int
        Slices that are missing between the first and the last one.
    repeats : int
        Volumes that were acquired at the same place; more than one of dynamic series and diffusion.
    problem : DicomError, optional
        Why its slices make no volume; reading its voxels raises it.
    notes : tuple of str
        What was passed over, a sentence each.
    """

    header: Dataset
    label: str
    frames: tuple[Frame, ...]
    shape: tuple[int, int, int]
    affine: Floats64
    missing: int = 0
    repeats: int = 1
    problem: DicomError | None = None
    notes: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def number(self) -> int:
        """SeriesNumber, 0 where there is none."""
        return _number_of(self.header)

    @property
    def description(self) -> str:
        """What the scanner calls it; may hold a name, and is never saved."""
        words = str(self.header.get("SeriesDescription") or self.header.get("ProtocolName") or "").split()
        return "".join(letter for letter in " ".join(words) if letter.isprintable())

    @property
    def extent(self) -> tuple[float, float, float]:
        """What it covers along columns, rows and slices, in mm."""
        return three(size * count for size, count in zip(self.spacing, self.shape, strict=True))

    @cached_property
    def acquired(self) -> str:
        """When, date and time, as text that sorts; empty where nothing says so."""
        told = {tag: str(self.header.get(tag) or "") for tag in _WHEN}
        if told["AcquisitionDateTime"]:
            return told["AcquisitionDateTime"]
        kind = next((kind for kind in ("Acquisition", "Series") if told[f"{kind}Time"]), None)
        return "" if kind is None else f"{told[f'{kind}Date'] or told['StudyDate']:8}{told[f'{kind}Time']}"


@dataclass(frozen=True, eq=False)
class Examination:
    """All series of one visit of one patient.

    Parameters
    ----------
    path : Path
        Where it was found.
    uid : str
        StudyInstanceUID; empty where it was taken out.
    series : tuple of Series
        In the order of their numbers.
    damaged : tuple of Path
        DICOM files that could not be read.
    others : int
        Files of other kinds.
    """

    path: Path
    uid: str
    series: tuple[Series, ...]
    damaged: tuple[Path, ...]
    others: int

    @property
    def patient(self) -> str:
        """Name, number and date, to be shown and never saved."""
        header = self.series[0].header
        name, number, date = (str(header.get(tag) or "") for tag in ("PatientName", "PatientID", "StudyDate"))
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else date
        return " · ".join(filter(None, (name.replace("^", " ").strip(), number, date)))


def read_examination(path: Path) -> Examination:
    """Read the headers of all DICOM files of a folder, a DICOMDIR or a zip.

    Raises
    ------
    StudyError
        When the path does not exist.
    NoDicom
        When it holds no DICOM.
    DamagedDicom
        When none of its DICOM files can be read.
    SeveralVisits
        When it holds images of several patients or visits.
    NotMri
        When it holds images, and none of them is MRI.
    """
    found = find_files(Path(path))
    files: dict[str, list[_File]] = defaultdict(list)
    damaged = list(found.sealed)
    images: list[Dataset] = []
    seen: set[object] = set()
    for file in found.files:
        read = read_header(file)
        if read is None:
            damaged.append(file)
        elif read[1] and (same := _identity(read)) not in seen:  # a file may lie there twice
            seen.add(same)
            images.append(read[0])
            files[str(read[0].get("SeriesInstanceUID") or read[0].get("SeriesNumber"))].append(read)
    if not images and damaged:
        what = f"None of the {len(damaged)} DICOM files in {path} can be read ({damaged[0].name} is cut off or damaged)"
        raise DamagedDicom(f"{what}; export them again.")
    _check_one_visit(path, images)
    series = [each for group in files.values() for each in _series_of(group)]
    series.sort(key=lambda each: (each.number, each.label))
    uid = str(images[0].get("StudyInstanceUID") or "")
    return Examination(Path(path), uid, _labelled(series), tuple(damaged), found.others)


def _identity(read: _File) -> object:
    """What two copies of a file have in common; some who take names out give one UID to every slice."""
    header, frames = read
    uid = str(header.get("SOPInstanceUID") or "")
    return (uid, frames[0].instance, frames[0].position) if uid else frames[0].path


def is_mri(header: Dataset) -> bool:
    """Whether a file is an MR image in grey values, and no screenshot of one."""
    return str(header.SOPClassUID) in (CLASSIC, *ENHANCED) and int(header.get("SamplesPerPixel") or 1) == 1


def _check_one_visit(path: Path, images: Sequence[Dataset]) -> None:
    mri = [header for header in images if is_mri(header)]
    if not mri:
        kinds = sorted({_kind(header) for header in images}) or ["no images at all"]
        raise NotMri(
            f"{path} holds no MRI in grey values but {', '.join(kinds)}; give the folder of an MRI of the head."
        )
    patients = {str(header.get("PatientID") or header.get("PatientName") or "") for header in mri} - {""}
    visits = {str(header.get("StudyInstanceUID") or "") for header in mri}
    if len(patients) > 1:
        raise SeveralVisits(f"{path} holds images of {len(patients)} patients; give the folder of one of them.")
    if len(visits) > 1:
        raise SeveralVisits(f"{path} holds {len(visits)} visits of one patient; give the folder of one of them.")


def _kind(header: Dataset) -> str:
    """What an image is that is no MRI, in words."""
    if int(header.get("SamplesPerPixel") or 1) > 1:
        return "colour images"
    return {"CT": "CT", "PT": "PET", "MR": "screenshots of MRI"}.get(
        str(header.get("Modality")), f"images of modality {header.get('Modality') or 'unknown'}"
    )


def _labelled(series: Sequence[Series]) -> tuple[Series, ...]:
    """Series with labels that differ: letters where a number comes twice."""
    counts, given = Counter(each.label for each in series), Counter[str]()
    labelled = []
    for each in series:
        label = each.label
        if counts[label] > 1:
            given[label] += 1
            label += "abcdefghijklmnopqrstuvwxyz"[(given[label] - 1) % 26]
        labelled.append(replace(each, label=label))
    return tuple(labelled)


def _series_of(files: Sequence[_File]) -> list[Series]:
    """Volumes of the files of one series: one per echo, kind of image and orientation."""
    headers = {frames[0].path: header for header, frames in files}
    frames = [frame for _, several in files for frame in several]
    groups: dict[tuple[int, tuple[int, int], tuple[str, ...]], list[Frame]] = defaultdict(list)
    echoes = _alike([frame.echo or 0.0 for frame in frames], _SAME_ECHO_MS)
    for frame, echo in zip(frames, echoes, strict=True):
        component = {"P", "PHASE", "R", "REAL", "I", "IMAGINARY"} & set(frame.image_type[2:])
        groups[echo, frame.size, tuple(sorted(component))].append(frame)
    volumes = [part for key in sorted(groups) for part in _by_plane(groups[key])]
    return [_volume(headers[part[0].path], part) for part in volumes]


def _alike(values: Sequence[float], apart: float) -> list[int]:
    """A number for each value, the same for those that lie closer together than ``apart``."""
    order = np.argsort(values, kind="stable")
    numbers = np.empty(len(values), dtype=int)
    numbers[order] = np.cumsum(np.diff(np.take(values, order), prepend=np.min(values)) > apart)
    return numbers.tolist()


def _by_plane(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    """Slices of a series in several orientations, each enough for a volume of its own; all together otherwise."""
    planes: list[list[Frame]] = []
    for frame in frames:
        turn = np.array(frame.orientation or np.zeros(6))
        for plane in planes:
            if np.abs(turn - (plane[0].orientation or np.zeros(6))).max() <= _SAME_PLANE:
                plane.append(frame)
                break
        else:
            planes.append([frame])
    return list(planes) if min(map(len, planes)) >= _FEWEST else [frames]


def _number_of(header: Dataset) -> int:
    number = header.get("SeriesNumber")
    return int(number) if isinstance(number, int) else 0


def _volume(header: Dataset, frames: Sequence[Frame]) -> Series:
    """Slices in their order, on the grid that they span."""
    label = str(_number_of(header) or "?")
    size = (frames[0].size[1], frames[0].size[0])
    placed = [frame for frame in frames if frame.position and frame.orientation and frame.pixel_spacing]
    bare = Series(header, label, tuple(frames), (*size, len(frames)), np.eye(4))

    def broken(what: str, do: str, series: Series = bare) -> Series:
        return replace(series, problem=BrokenSeries(f"Series {label} {what}; {do}."))

    if not is_mri(header):
        return bare
    if len(placed) < len(frames):
        return broken("does not say where its slices lie", "export the original images")
    planes = np.array([frame.orientation for frame in placed])
    if np.abs(planes - planes[0]).max() > _SAME_PLANE:
        return broken("holds slices in several orientations", "give a series in one orientation")
    pixels = np.array([frame.pixel_spacing for frame in placed])
    if np.ptp(pixels, axis=0).max() > _SAME_PLANE * pixels.min():
        return broken("holds slices with pixels of several sizes", "export the original images")
    across, down = np.reshape(placed[0].orientation or (), (2, 3))
    normal = np.cross(across, down)
    if not 0.9 < float(np.linalg.norm(normal)) < 1.1:
        return broken("has a damaged orientation", "export the original images")
    ordered, repeats, notes = _ordered(placed, normal)
    if len(ordered) < 2:
        return broken("has one slice only", "give a series that covers the head")
    positions = np.array([frame.position for frame in ordered])
    steps = np.diff(positions @ normal)
    step = float(np.median(steps))
    counts = np.rint(steps / step)
    rows, columns = placed[0].pixel_spacing or (1.0, 1.0)
    way = (positions[-1] - positions[0]) / counts.sum()
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * columns, down * rows, way], axis=1)
    affine[:3, 3] = positions[0]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts to the left and to the back
    shape = (*size, len(ordered))
    missing = int((counts - 1).sum())
    sound = Series(header, label, tuple(ordered), shape, affine, missing, repeats, None, notes)
    off = np.abs(steps - counts * step).max() / step
    if missing and off < 2 * _EVEN:
        at = int(np.argmax(counts)) + 1
        lacks = f"lacks {missing} of its {len(ordered) + missing} slices (the first one after slice {at})"
        return broken(lacks, "export the whole series", sound)
    if off > _EVEN:
        far = f"{steps.min():.1f} to {steps.max():.1f} mm"
        return broken(f"has unevenly spaced slices ({far})", "give another series", sound)
    if float(np.linalg.norm(way - normal * (way @ normal))) > _EVEN * step:
        return broken("has slices that are shifted sideways", "give another series", sound)
    return sound


def _ordered(frames: Sequence[Frame], normal: Floats64) -> tuple[list[Frame], int, tuple[str, ...]]:
    """One frame per position, in their order along the normal; how many there are at most positions, and notes."""
    places: Mapping[int, list[Frame]] = defaultdict(list)
    ordered = sorted(frames, key=lambda each: (each.instance, each.index))
    numbers = _alike([float(np.dot(frame.position or (), normal)) for frame in ordered], _SAME_PLACE_MM)
    for frame, number in zip(ordered, numbers, strict=True):
        places[number].append(frame)
    extra = len(frames) - len(places)
    notes = (f"{extra} further slice(s) at the same places were passed over.",) if extra else ()
    return [places[place][0] for place in sorted(places)], min(map(len, places.values())), notes
