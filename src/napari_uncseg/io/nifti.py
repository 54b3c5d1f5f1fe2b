"""NIfTI files in and out, in the voxel order of the file; every foreign byte is checked here."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from napari_uncseg.arrays import AnyFloats, Array, Floats64
from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io import header as headers
from napari_uncseg.io.files import is_dir, read_bytes, sha256, write_files
from napari_uncseg.io.geometry import Affine, three

SUFFIXES = (".nii.gz", ".nii")
COMPRESSION = 2
"""Level of ISA-L's gzip, which takes a tenth of zlib's time for files of the same size."""


_FRACTION_STEPS = 32767
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Volume:
    """What a NIfTI file holds.

    Parameters
    ----------
    path : Path
        The file.
    data : ndarray, shape (x, y, z) or (x, y, z, channel)
        Values as stored, before the slope is applied; trailing axes of length 1 are dropped.
    slope, intercept : float
        Stored value -> value.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    header : nibabel.Nifti1Header
        Geometry, codes and units only.
    sha256 : str
        Hash of the file's bytes.
    warnings : tuple of str
        What was mended, a sentence each.
    """

    path: Path
    data: Array
    slope: float
    intercept: float
    affine: Floats64
    header: nib.Nifti1Header
    sha256: str
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        return three(self.data.shape[:3])

    @property
    def channels(self) -> int:
        """Number of volumes in the file."""
        return int(self.data.shape[3]) if self.data.ndim == 4 else 1

    def values(self, channel: int = 0, dtype: npt.DTypeLike = np.float32) -> AnyFloats:
        """Values of one channel with the slope applied, in C order, shape (x, y, z)."""
        data = self.data[..., channel] if self.data.ndim == 4 else self.data
        scaled = (self.slope, self.intercept) != (1.0, 0.0)
        # A double keeps only what a float32 can: what lies beyond becomes inf, and is reported as such.
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.array(data, dtype=np.float64 if data.dtype.itemsize > 2 and scaled else dtype, order="C")
            if scaled:  # plain numbers leave an array's type as it is
                values *= self.slope
                values += self.intercept
            return values.astype(dtype, copy=False)


def finite(values: AnyFloats) -> AnyFloats:
    """Values with 0 in the place of what is NaN or infinite: there it is background, where SPM and FSL put it."""
    return np.where(np.isfinite(values), values, np.float32(0))


def stem(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def is_nifti(path: Path) -> bool:
    """Whether a name ends as a NIfTI file's does; hidden files do not count (a Mac litters archives)."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def read_volume(path: Path) -> Volume:
    """Read and check a NIfTI-1 or NIfTI-2 file, compressed or not.

    Parameters
    ----------
    path : Path
        A ``.nii`` or ``.nii.gz`` file.

    Returns
    -------
    Volume

    Raises
    ------
    StudyError
        When there is no such file or it is damaged, no NIfTI, not 3-D or 4-D, of complex or colour values, or without
        a usable affine.
    """
    if is_dir(path):
        raise StudyError(f"{path} is a folder where a NIfTI file was expected.")
    raw = read_bytes(path)
    if not raw:
        raise StudyError(f"{path} is empty (0 bytes); copy or download it again.")
    zipped = raw[:2] == _GZIP
    header = headers.parse_header(path, _unzip(path, raw, 540)[0] if zipped else raw[:540])
    shape, dtype = headers.check_header(path, header)
    count, offset = int(np.prod(shape)), headers.read_offset(path, header)
    size = offset + count * dtype.itemsize
    content, complete = _unzip(path, raw, size, to_its_end=True) if zipped else (raw, True)
    if len(content) < size or not complete:
        raise StudyError(f"{path} is truncated: it ends before its {size / 1e6:.1f} MB of voxels do; copy it again.")
    data = np.frombuffer(content, dtype=dtype, count=count, offset=offset).reshape(shape, order="F")
    slope, intercept = headers.read_scaling(path, header)
    affine, clean, warnings = headers.read_geometry(path, header, shape[:3])
    return Volume(path, data, slope, intercept, affine, clean, sha256(raw), warnings)


def encode_volume(
    array: Array, affine: Affine, header: nib.Nifti1Header | None = None, *, upper: float | None = None
) -> bytes:
    """Bytes of a ``.nii.gz`` file.

    Parameters
    ----------
    array : ndarray, shape (x, y, z) or (x, y, z, channel)
        Values; 8- and 16-bit integers and float32 are stored as they are.
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    header : nibabel.Nifti1Header, optional
        Header of the reference image: its units and codes are kept.
    upper : float, optional
        Store as int16 with a slope that spans 0..upper; the error is at most half a step, ``upper / 65534``.

    Returns
    -------
    bytes

    Raises
    ------
    SaveError
        When fractions are not finite.
    """
    new = headers.geometry_header(affine, array.shape, header)
    stored, slope = np.ascontiguousarray(array.T), np.float32(1)  # NIfTI runs x fastest
    if upper is not None:
        # The largest float32 whose 32767-fold does not pass the upper bound: no reader ever sees 1.00000003.
        slope = np.float32(upper / _FRACTION_STEPS)
        if float(slope) * _FRACTION_STEPS > upper:
            slope = np.nextafter(slope, np.float32(0))
        stored = _steps(stored, float(slope))
    stored = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    new.set_data_dtype(stored.dtype)
    new.set_slope_inter(float(slope), 0.0)
    new["vox_offset"] = 352
    new["magic"] = b"n+1"
    little = new.as_byteswapped("<")
    return igzip.compress(little.binaryblock + b"\0\0\0\0" + stored.tobytes(), compresslevel=COMPRESSION, mtime=0)


def write_volume(
    path: Path, array: Array, affine: Affine, header: nib.Nifti1Header | None = None, *, upper: float | None = None
) -> None:
    """Write a ``.nii.gz`` file at once or not at all; parameters as in :func:`encode_volume`.

    Raises
    ------
    SaveError
        When the file cannot be written; whatever stood there before is still there.
    """
    write_files({path: encode_volume(array, affine, header, upper=upper)})


def _steps(values: Array, step: float) -> npt.NDArray[np.int16]:
    """Fractions as whole steps, in double precision, a slice at a time."""
    steps = np.empty(values.shape, dtype=np.int16)
    slices = zip(values.reshape(-1, *values.shape[-2:]), steps.reshape(-1, *values.shape[-2:]), strict=True)
    for fractions, out in slices:
        if not fractions.any():  # most slices of most maps lie outside of the brain
            out[...] = 0
            continue
        scaled = np.asarray(fractions, dtype=np.float64) / step
        if not np.isfinite(scaled).all():
            raise SaveError("A map holds values that are not finite and was not written.")
        out[...] = np.rint(scaled).clip(0, _FRACTION_STEPS)
    return steps


def _unzip(path: Path, raw: bytes, size: int, *, to_its_end: bool = False) -> tuple[bytes, bool]:
    """The first bytes of a gzip file, fewer when it ends before, and whether it goes on to its end, where a sum stands.

    Nothing is decompressed beyond what is asked for but for some bytes that writers append. The standard library's
    reader takes small pieces and holds the interpreter meanwhile; this one lets two files be read at a time.
    """
    parts: list[bytes] = []
    missing, spare = size, 2**24 if to_its_end else 0
    stream, rest = zlib.decompressobj(31), raw
    try:
        while missing > 0 or spare > 0:
            part = stream.decompress(rest, missing or 2**20)
            rest = stream.unconsumed_tail
            if missing:
                parts.append(part)
                missing -= len(part)
            else:
                spare -= len(part)
            if stream.eof:
                rest = stream.unused_data
                if rest[:2] != _GZIP:
                    break
                stream = zlib.decompressobj(31)  # bgzip writes many streams in a row
            elif not part and not rest:
                return b"".join(parts), False
    except zlib.error as error:
        raise StudyError(f"{path} is damaged ({error}); copy or download it again.") from error
    return b"".join(parts), True
