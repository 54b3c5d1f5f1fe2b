"""NIfTI headers: what a foreign one has to hold, and the little of it that is kept.

Of a header only the geometry, codes and units are kept: free-text fields and extensions may hold a patient's name, and
nothing that is written may carry it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import HeaderDataError

from napari_uncseg.arrays import Floats64
from napari_uncseg.errors import StudyError
from napari_uncseg.io.geometry import Affine

_LARGEST = 2**30  # voxels: beyond any brain MRI, and a guard against a header that asks for all memory
_GEOMETRY = (
    *("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def geometry_header(affine: Affine, shape: tuple[int, ...], header: nib.Nifti1Header | None = None) -> nib.Nifti1Header:
    """Header that holds an affine and a shape, with the codes and units of another one.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    shape : tuple of int
        Shape of the image the header is for.
    header : nibabel.Nifti1Header, optional
        Where units and codes come from; when its affine is this one, its geometry is copied bit by bit.

    Returns
    -------
    nibabel.Nifti1Header
    """
    new = _bare(shape, header)
    if header is None:
        new.set_xyzt_units("mm")
    elif np.array_equal(new.get_best_affine(), affine):
        return new
    new.set_qform(affine, int(new["qform_code"]) or 1)
    new.set_sform(affine, int(new["sform_code"]) or 1)
    return new


_OTHERS: Mapping[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with git lfs pull.",
    b"<!doctype html": "a web page, not the file that it offers; download that again.",
    b"<html": "a web page, not the file that it offers; download that again.",
    b"\x1f\x8b": "compressed twice; unpack it once.",
}
"""What is found under the name of an image, by its first bytes in lower case."""


def parse_header(path: Path, head: bytes) -> nib.Nifti1Header:
    """Header of the first bytes of a file, not yet checked."""
    kinds: dict[int, tuple[Any, bool]] = {
        348: (nib.Nifti1Header, head[344:347] == b"n+1"),
        540: (nib.Nifti2Header, head[4:7] == b"n+2"),
    }
    for order in ("<", ">"):
        size = int(np.frombuffer(head.ljust(4)[:4], f"{order}i4")[0])
        if size in kinds and len(head) >= size:
            kind, has_voxels = kinds[size]
            if not has_voxels:
                raise StudyError(f"{path} is a header without voxels (Analyze); convert it to one .nii.gz file.")
            header: nib.Nifti1Header = kind(head[:size], order, check=False)
            return header
    for start, told in _OTHERS.items():
        if head.lower().startswith(start):
            raise StudyError(f"{path} is {told}")
    raise StudyError(f"{path} is not a NIfTI file (its first bytes are {head[:8]!r}); convert it to .nii.gz.")


_WIDEST_MM = 1000.0
"""No field of view of a head is wider."""


def check_header(path: Path, header: nib.Nifti1Header) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape without trailing axes of length 1, and the type of the stored values."""
    dimensions = int(header["dim"][0])
    shape = tuple(int(length) for length in header["dim"][1 : 1 + dimensions]) if 1 <= dimensions <= 7 else ()
    if not shape or min(shape) < 1:
        raise StudyError(f"{path} has a damaged header (dimensions {header['dim'].tolist()}); convert it again.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    size = " × ".join(map(str, shape))
    if len(shape) > 3 and shape[0] == 1:
        raise StudyError(f"{path} has a first axis of length 1 ({size}); drop it, so that the image is x × y × z.")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise StudyError(f"{path} is a single slice or line ({size}), not a volume; give a 3-D image.")
    if len(shape) > 4:
        raise StudyError(f"{path} has {len(shape)} dimensions ({size}); give 3-D images, one per modality.")
    if int(np.prod(shape, dtype=object)) > _LARGEST:
        raise StudyError(f"{path} claims {size} voxels, more than any brain MRI has; its header is damaged.")
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise StudyError(f"{path} has voxels of an unknown type ({header['datatype']}); convert it.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise StudyError(f"{path} holds values of type {dtype}, not grey values; give the MRI itself.")
    return shape, dtype


def read_offset(path: Path, header: nib.Nifti1Header) -> int:
    """Where in the file the voxels begin."""
    start = float(header["vox_offset"])
    if start > _LARGEST * 8:
        raise StudyError(f"{path} has a damaged header (its voxels begin at byte {start:g}); convert it again.")
    return max(int(start) if np.isfinite(start) else 0, int(header["sizeof_hdr"]) + 4)


def read_scaling(path: Path, header: nib.Nifti1Header) -> tuple[float, float]:
    """Slope and intercept from stored values to values."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise StudyError(f"{path} has a damaged intensity scaling ({error}); convert it again.") from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0.0))


def read_geometry(
    path: Path, header: nib.Nifti1Header, shape: tuple[int, ...]
) -> tuple[Floats64, nib.Nifti1Header, tuple[str, ...]]:
    """Affine, header with the geometry alone, and what had to be mended."""
    clean = _bare(shape, header)
    warnings: list[str] = []
    try:
        unit = clean.get_xyzt_units()[0]
    except KeyError:
        warnings.append(f"{path.name} gives its voxel size in an unknown unit; it is taken for millimetres.")
        unit, clean["xyzt_units"] = "mm", 2
    if unit in ("meter", "micron"):
        raise StudyError(f"{path} gives its voxel size in {unit}s; convert it to millimetres.")
    if clean["pixdim"][0] not in (-1.0, 1.0):
        clean["pixdim"][0] = 1.0  # as every reader of NIfTI takes it
    if clean["sform_code"] > 0 and not _usable(clean.get_sform()) and clean["qform_code"] > 0:
        clean["sform_code"] = 0
        warnings.append(f"{path.name} has a degenerate sform; its qform was used.")
    try:
        affine = np.asarray(clean.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise StudyError(f"{path} has a damaged qform ({error}); repair its header.") from error
    if not _usable(affine):
        raise StudyError(f"{path} has a degenerate affine {affine.tolist()}; repair its header or convert it again.")
    if clean["sform_code"] > 0 and not (clean["pixdim"][1:4] > 0).all():  # which other readers refuse
        clean["pixdim"][1:4] = voxel_sizes(affine)
    width = float((voxel_sizes(affine) * shape[:3]).max())
    if width > _WIDEST_MM:
        raise StudyError(
            f"{path} has voxels of {max(voxel_sizes(affine)):.3g} mm and is {width / 1000:.3g} m wide, as no head is; "
            "correct the voxel size in its header."
        )
    if clean["sform_code"] > 0 and clean["qform_code"] > 0:
        qform = _qform(clean)
        if qform is None:  # which other readers refuse
            clean["qform_code"] = 0
            warnings.append(f"{path.name} has a damaged qform; its sform was used.")
        elif (used := _axes(affine)) != (other := _axes(qform)):
            warnings.append(
                f"{path.name} has voxels that run {used} by its sform, which was used, but {other} by its "
                "qform; check left and right."
            )
    if not (clean["sform_code"] > 0 or clean["qform_code"] > 0):
        warnings.append(f"{path.name} does not say how it is oriented; left and right may be swapped.")
    return affine, clean, tuple(warnings)


def _bare(shape: tuple[int, ...], header: nib.Nifti1Header | None) -> nib.Nifti1Header:
    """Header of a shape, with the geometry of another one and nothing else of it."""
    new = nib.Nifti1Header()
    new.set_data_shape(shape)
    if header is not None:
        for field in _GEOMETRY:
            new[field] = header[field]
    new["pixdim"][4:] = 1.0
    return new


def _qform(header: nib.Nifti1Header) -> Affine | None:
    """Affine of the qform; None where it is none."""
    try:
        affine = header.get_qform()
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        return None
    return affine if _usable(affine) else None


def _axes(affine: Affine) -> str:
    return "".join(map(str, nib.aff2axcodes(affine)))


def _usable(affine: Affine) -> bool:
    """Whether an affine is finite and spans a volume."""
    lengths = voxel_sizes(affine)
    sound = np.isfinite(affine).all() and lengths.min() > 1e-6
    return bool(sound and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3)
