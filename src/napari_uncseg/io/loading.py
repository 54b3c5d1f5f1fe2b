"""From files to a validated :class:`Study`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import obliquity

from napari_uncseg.arrays import AnyFloats, AnyInts, Array, Floats64, Labels
from napari_uncseg.errors import StudyError
from napari_uncseg.io import geometry
from napari_uncseg.io.brain import SKULL, brain_mask, has_skull, value_beyond
from napari_uncseg.io.discovery import StudyFiles, only_study
from napari_uncseg.io.files import is_file, read_json
from napari_uncseg.io.geometry import describe_grid, same_grid, spacing
from napari_uncseg.io.header import geometry_header
from napari_uncseg.io.label_coding import labels_of
from napari_uncseg.io.naming import REFERENCE
from napari_uncseg.io.nifti import Volume, finite, read_volume, stem
from napari_uncseg.io.provenance import PreparationRecord
from napari_uncseg.io.study import Source, Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, Coding, Label

_OBLIQUE_DEGREES = 15.0
_THICK_MM = 2.5


PREPARATION_SUFFIX = "_preparation.json"
"""What follows the study's id in the name of the JSON that tells how raw images were prepared."""

_SMALLEST, _LARGEST = 1e-6, 1e12
"""An image whose largest value lies outside is scaled: numbers of 32 bits, and their squares, would not carry it."""

_FEWEST = 5
"""Voxels along an axis that a study has at the least."""


def load_study(source: StudyFiles | str | Path, *, resample: bool = False, coding: Coding | None = None) -> Study:
    """Read a study.

    Parameters
    ----------
    source : StudyFiles, str or Path
        Files as :func:`find_studies` or :func:`study_files` name them, or a path that holds one study.
    resample : bool
        Put modalities (linear) and reference (nearest neighbour) that lie on another grid on that of T1c.
    coding : Coding, optional
        Coding of the reference; by default the naming and the values tell.

    Returns
    -------
    Study

    Raises
    ------
    StudyError
        When a file is missing or damaged, grids differ and ``resample`` is off, an image holds nothing, or the labels
        of the reference fit no coding.
    """
    files = source if isinstance(source, StudyFiles) else only_study(source)
    if files.problem is not None:
        raise StudyError(files.problem)
    volumes = _read_all(files)
    t1c = volumes["t1c"]
    moved = [
        role for role, volume in volumes.items() if not same_grid(t1c.shape, t1c.affine, volume.shape, volume.affine)
    ]
    if min(t1c.shape) < _FEWEST:
        size = " × ".join(map(str, t1c.shape))
        raise StudyError(
            f"{t1c.path} has too few voxels along an axis ({size}) to hold a brain; give the whole volume."
        )
    if moved and not resample:
        raise StudyError(_grids_sentence(files.id, volumes, moved))
    # A header that was mended names its file once, however many channels are read from it.
    warnings = [*files.warnings, *dict.fromkeys(warning for volume in volumes.values() for warning in volume.warnings)]
    images = np.empty((len(MODALITIES), *t1c.shape), dtype=np.float32)
    for index, modality in enumerate(MODALITIES):
        image = volumes[modality].values(_channel(files, modality, volumes[modality]))
        images[index] = _on_t1c(image, volumes[modality], t1c) if modality in moved else image
    reference, used = None, None
    if (volume := volumes.get(REFERENCE)) is not None:
        reference, used, notes = labels_of(
            volume, REFERENCE, implied=files.coding, asked=coding, undecided=files.undecided
        )
        warnings += notes
        if REFERENCE in moved:
            put = geometry.resample(reference, volume.affine, t1c.shape, t1c.affine, order="nearest")
            if np.any(reference) and not np.any(put):
                raise StudyError(
                    f"{volume.path} does not overlap with {t1c.path}: none of its labels lands on that grid; correct "
                    "its affine or register it."
                )
            reference = np.asarray(put, dtype=np.uint8)
    if moved:
        names = ", ".join(MODALITY_TITLES.get(role, role) for role in moved)
        warnings.append(f"Resampled onto the grid of T1c: {names}.")
    study = study_from_arrays(
        images,
        t1c.affine,
        id=files.id,
        reference=reference,
        sources=[Source(role, volume.path, volume.sha256) for role, volume in volumes.items()],
        header=t1c.header,
        warnings=warnings,
        resampled=bool(moved),
        coding=used,
    )
    return replace(study, preparation=_preparation(t1c))


def study_from_arrays(
    images: Array,
    affine: AnyFloats,
    *,
    id: str,  # noqa: A002 - the word the whole package uses
    reference: AnyInts | None = None,
    sources: Sequence[Source] = (),
    header: nib.Nifti1Header | None = None,
    warnings: Sequence[str] = (),
    resampled: bool = False,
    coding: Coding | None = None,
) -> Study:
    """Make a study of arrays: clean them, find the brain and collect what the user should know.

    Parameters
    ----------
    images : ndarray, shape (4, x, y, z)
        Intensities in the order t1c, t1n, t2f, t2w.
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres. Unless it is that of ``header``, it is rounded to what a NIfTI header holds
        (float32), so that saved results reload with exactly the study's affine.
    id : str
        Name of the study.
    reference : ndarray of int, shape (x, y, z), optional
        Expert segmentation in values of :class:`Label`.
    sources : sequence of Source
        The files the arrays were read from.
    header : nibabel.Nifti1Header, optional
        Header of the T1c file.
    warnings : sequence of str
        What is known already.
    resampled : bool
        Whether a modality was put on T1c's grid.
    coding : Coding, optional
        How the reference's file numbered its labels.

    Returns
    -------
    Study

    Raises
    ------
    StudyError
        When an image is empty or a mask, shapes do not fit, the affine is degenerate, or the reference holds other
        labels.
    """
    notes = list(warnings)
    if images.ndim != 4 or images.shape[0] != len(MODALITIES) or min(images.shape) < 2:
        raise StudyError(f"Study {id} has images of shape {images.shape}; expected (4, x, y, z).")
    if np.iscomplexobj(images):
        raise StudyError(f"Study {id} has complex values; give magnitude images.")
    geometry = geometry_header(_checked_affine(affine, id), images.shape[1:], header)
    exact = np.asarray(geometry.get_best_affine(), dtype=np.float64)
    names = {modality: f"The {title} image of study {id}" for modality, title in MODALITY_TITLES.items()}
    names |= {source.role: str(source.path) for source in sources}
    cleaned = np.ascontiguousarray(images, dtype=np.float32)
    for index, modality in enumerate(MODALITIES):
        finite = np.isfinite(cleaned[index])
        if not finite.all():
            cleaned = cleaned.copy() if np.shares_memory(cleaned, images) else cleaned
            cleaned[index][~finite] = 0.0
            count = finite.size - np.count_nonzero(finite)
            notes.append(f"{MODALITY_TITLES[modality]} held {count} values that are NaN or inf; they count as 0.")
        if cleaned[index].min() == cleaned[index].max():
            raise StudyError(f"{names[modality]} holds but one finite value; give another file.")
        largest = float(np.abs(cleaned[index]).max())
        if not _SMALLEST <= largest <= _LARGEST:
            cleaned = cleaned.copy() if np.shares_memory(cleaned, images) else cleaned
            cleaned[index] = np.ldexp(cleaned[index], -int(np.frexp(largest)[1]))
            notes.append(f"{MODALITY_TITLES[modality]} held values up to {largest:.0e}; they were scaled to 1.")
    brain = brain_mask(cleaned)
    if not brain.any():
        raise StudyError(f"No brain stands out in the images of study {id}; check that they are the MRI and not masks.")
    for image, modality in zip(cleaned, MODALITIES, strict=True):
        inside = image[brain]
        if inside.min() == inside.max():
            raise StudyError(f"{names[modality]} is a mask: all of the brain has one value; give the MRI itself.")
    skull = has_skull(cleaned, brain, spacing(exact))
    notes += [*_same_files(sources), *([SKULL] if skull else []), *_grid_notes(exact)]
    return Study(
        id=id,
        images=cleaned,
        affine=exact,
        brain=brain,
        sources=tuple(sources),
        reference=_checked_reference(reference, id),
        header=geometry,
        warnings=tuple(dict.fromkeys(notes)),
        has_skull=skull,
        resampled=resampled,
        coding=coding,
    )


def _preparation(t1c: Volume) -> Mapping[str, Any] | None:
    """What stands beside a prepared T1c about how it was made; None where nothing does, or it is of another file."""
    path = t1c.path.with_name(stem(t1c.path).removesuffix("-t1c") + PREPARATION_SUFFIX)
    if not is_file(path, None):
        return None
    record = read_json(path, do=PreparationRecord.do)
    listed = record.get("files")
    entry = listed.get("t1c") if isinstance(listed, Mapping) else None
    if not isinstance(entry, Mapping) or entry.get("sha256") != t1c.sha256:
        return None
    PreparationRecord.parse(record, path)
    return record


def _channel(files: StudyFiles, modality: str, volume: Volume) -> int:
    """Channel of a modality in its file, when the file has as many as the naming says."""
    entry = files.modalities[modality]
    if isinstance(entry, tuple):
        if entry[1] >= volume.channels:
            what = f"{volume.path} has {volume.channels} volume(s)"
            raise StudyError(f"{what}, but its dataset.json puts {modality} in channel {entry[1]}; correct it.")
        return entry[1]
    if volume.channels > 1:
        raise StudyError(f"{volume.path} is 4-D with {volume.channels} volumes; give one 3-D image per modality.")
    return 0


def _read_all(files: StudyFiles) -> dict[str, Volume]:
    """Role -> file, each read once, a thread each: decompression runs beside the interpreter."""
    paths = {modality: files.paths[modality] for modality in MODALITIES}
    if files.reference is not None:
        paths[REFERENCE] = files.reference
    different = list(dict.fromkeys(paths.values()))
    with ThreadPoolExecutor(max_workers=len(different)) as pool:
        volumes = dict(zip(different, pool.map(read_volume, different), strict=True))
    return {role: volumes[path] for role, path in paths.items()}


def _grids_sentence(study_id: str, volumes: Mapping[str, Volume], moved: Sequence[str]) -> str:
    grids = "; ".join(
        f"{volume.path.name} has {describe_grid(volume.shape, volume.affine)}"
        for volume in (volumes[role] for role in ("t1c", *moved))
    )
    what = f"Study {study_id} in {volumes['t1c'].path.parent} has images on different grids: {grids}"
    return f"{what}; register them (uncseg prepare), or put all on the grid of T1c with --resample."


def _on_t1c(image: AnyFloats, volume: Volume, t1c: Volume) -> AnyFloats:
    """An image on the grid of T1c, with its own background where it does not reach."""
    image = finite(image)
    beyond = value_beyond(image)
    result = geometry.resample(image, volume.affine, t1c.shape, t1c.affine, order="linear", outside=beyond)
    if result.min() == result.max():
        raise StudyError(f"{volume.path} does not overlap with {t1c.path}; register them first.")
    return np.asarray(result, dtype=np.float32)


def _checked_affine(affine: AnyFloats, study_id: str) -> Floats64:
    exact = np.asarray(affine, dtype=np.float64)
    if exact.shape != (4, 4) or not np.isfinite(exact).all() or abs(np.linalg.det(exact[:3, :3])) < 1e-9:
        raise StudyError(f"Study {study_id} has the affine {exact.tolist()}, which has no inverse; correct it.")
    return exact


def _checked_reference(reference: AnyInts | None, study_id: str) -> Labels | None:
    if reference is None:
        return None
    found = set(np.unique(reference).tolist())
    if not found <= {0, *map(int, Label)}:
        raise StudyError(f"The reference of study {study_id} holds the labels {sorted(found)}; expected 0, 1, 2, 3.")
    return np.ascontiguousarray(reference, dtype=np.uint8)


def _same_files(sources: Sequence[Source]) -> list[str]:
    """What to say of 3-D files that are one and the same under two names."""
    first = {source.sha256: source.path for source in reversed(sources)}
    return [
        f"{first[source.sha256].name} and {source.path.name} are the same file twice; check which is which."
        for source in sources
        if first[source.sha256] != source.path
    ]


def _grid_notes(affine: Floats64) -> list[str]:
    """What the user should know about a grid that is sound but not as the network learned it."""
    sizes, angle = spacing(affine), float(np.degrees(obliquity(affine).max()))
    found = {
        f"The grid is tilted by {angle:.0f}° against the scanner; results may be worse.": angle > _OBLIQUE_DEGREES,
        f"Voxels are up to {max(sizes):.1f} mm thick; small parts may be missed.": max(sizes) > _THICK_MM,
    }
    return [note for note, applies in found.items() if applies]
