"""The voxels of a series, whatever its transfer syntax."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGExtended12Bit, generate_uid

from napari_uncseg.arrays import Array, Floats32
from napari_uncseg.dicom.headers import CLASSIC
from napari_uncseg.dicom.series import Series
from napari_uncseg.errors import Cancelled, DamagedDicom, UnknownSyntax, reason_of

_PIXELS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    "PixelRepresentation",
)


def read_voxels(series: Series, cancelled: Callable[[], bool] = lambda: False) -> tuple[Floats32, str]:
    """Values of a series, rescaled, with the least of them where the scanner filled up and white made bright.

    Parameters
    ----------
    series : Series
    cancelled : callable
        Asked before each file.

    Returns
    -------
    values : ndarray of float32, shape (columns, rows, slices)
        On the grid of ``series.affine``.
    sha256 : str
        Hash of the stored values of all slices and of where they lie.

    Raises
    ------
    DicomError
        When the series is no volume (its ``problem``), a file is damaged, or its transfer syntax is not known.
    Cancelled
        When ``cancelled()`` became true.
    """
    if series.problem is not None:
        raise series.problem
    values = np.empty(series.shape, dtype=np.float32)
    padding, padded = series.header.get("PixelPaddingValue"), np.zeros(series.shape, dtype=bool)
    digest = hashlib.sha256(np.round(series.affine, 4).tobytes())
    path: Path | None = None
    stored = np.empty(0)
    for place, frame in enumerate(series.frames):
        if frame.path != path:
            if cancelled():
                raise Cancelled("Stopped before the series was read.")
            path, stored = frame.path, _stored(frame.path)
        if frame.index >= len(stored) or stored[frame.index].shape != (series.shape[1], series.shape[0]):
            raise DamagedDicom(f"{frame.path} holds other voxels than its header says; export it again.")
        digest.update(np.ascontiguousarray(stored[frame.index]).data)
        values[:, :, place] = stored[frame.index].T * np.float32(frame.slope) + np.float32(frame.intercept)
        if isinstance(padding, int):
            padded[:, :, place] = padding == stored[frame.index].T
    if padded.any() and not padded.all():  # where a scanner that turned its slices has nothing to show
        values[padded] = values[~padded].min()
    if series.header.get("PhotometricInterpretation") == "MONOCHROME1":  # the least value is white
        values = values.max() + values.min() - values
    return values, digest.hexdigest()


def middle_slice(series: Series) -> Floats32:
    """The slice in the middle of a series, to recognise it by, shape (rows, columns).

    Raises
    ------
    DicomError
        When its file is damaged, or its transfer syntax is not known.
    """
    frame = series.frames[len(series.frames) // 2]
    stored = _stored(frame.path)
    return np.asarray(stored[min(frame.index, len(stored) - 1)], dtype=np.float32)


def _stored(path: Path) -> Array:
    """Stored values of a file, shape (frames, rows, columns)."""
    try:
        image = pydicom.dcmread(path, force=True)
        meta = getattr(image, "file_meta", None) or FileMetaDataset()
        syntax = UID(str(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))
    except Exception as error:
        raise DamagedDicom(f"{path} cannot be read ({reason_of(error)}); export it again.") from error
    if "PixelData" not in image:
        raise DamagedDicom(f"{path} ends before its voxels; copy or export it again.")
    meta.TransferSyntaxUID = syntax
    image.file_meta = meta
    try:
        pixels = image.pixel_array if _is_known(syntax) else _by_gdcm(image, syntax)
    except UnknownSyntax as error:
        raise UnknownSyntax(f"{path} {error}") from error
    except Exception as error:
        raise DamagedDicom(f"{path} is cut off or damaged ({reason_of(error)}); copy or export it again.") from error
    return np.asarray(pixels).reshape(-1, int(image.Rows), int(image.Columns))


def _is_known(syntax: UID) -> bool:
    """Whether pydicom decodes a transfer syntax by itself, and in grey values of more than 8 bits."""
    try:
        return bool(get_decoder(syntax).is_available) and syntax != JPEGExtended12Bit
    except NotImplementedError:
        return False


def _by_gdcm(image: Dataset, syntax: UID) -> Array:
    """Frames decoded by GDCM, which SimpleITK brings along.

    Each frame goes there by itself, as a plain file of voxels alone: GDCM would rescale what an image says to be
    rescaled, and nothing of a patient lies on the disk meanwhile.
    """
    import SimpleITK as sitk

    if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
        raise UnknownSyntax(f"has voxels in a transfer syntax nobody knows ({syntax}); export it uncompressed.")
    count = int(image.get("NumberOfFrames") or 1)
    frames = []
    with tempfile.TemporaryDirectory(prefix="uncseg-") as folder:
        file = Path(folder, "frame.dcm")
        for encoded in generate_frames(image.PixelData, number_of_frames=count):
            bare = Dataset()
            for keyword in _PIXELS:
                setattr(bare, keyword, image[keyword].value)
            bare.SOPClassUID, bare.SOPInstanceUID, bare.Modality = UID(CLASSIC), generate_uid(), "MR"
            bare.PixelData = encapsulate([encoded])
            bare["PixelData"].VR = "OB"
            bare.file_meta = FileMetaDataset()
            bare.file_meta.TransferSyntaxUID = syntax
            bare.save_as(file, enforce_file_format=True)
            try:
                frames.append(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
            except RuntimeError as error:
                raise UnknownSyntax(
                    f"has voxels in {syntax.name}, which cannot be decoded here or are damaged; export it uncompressed."
                ) from error
    return np.stack(frames)
