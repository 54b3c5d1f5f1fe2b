"""Maps of the cases of a training on disk: small files in half precision that a killed process leaves whole.

A folder holds one ``<case>.b2nd`` per visited case and ``manifest.json``. Each case file is complete in itself (maps,
visits per voxel, number of updates, epoch) and is renamed into place; the manifest says what all have in common and
lists the cases. Where a process was killed between the two, the case file is right, and believed when they are opened.
One process writes; any number may read at the same time, and see a case as it was before or after an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import blosc2
import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import Floats32
from napari_uncseg.io.files import write_files
from uncseg_training.data.case_manifest import MANIFEST, Entry, Manifest

Box: TypeAlias = Sequence[tuple[int, int]]
"""First voxel and the one after the last along x, y and z; it may reach beyond the volume, as training patches do."""

MOST_VISITS = 2048
"""Where a voxel's count stops: the largest integer up to which half precision counts one by one."""

_CHUNK, _BLOCK = 64, 32
_STATE = "uncseg"


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of one case, or of a box of it.

    Parameters
    ----------
    values : ndarray of float32, shape (fields, x, y, z)
        0 where a voxel was never visited.
    visits : ndarray of uint16, shape (x, y, z)
        How often each voxel was visited, up to :data:`MOST_VISITS`.
    """

    values: Floats32
    visits: npt.NDArray[np.uint16]


class CaseMaps:
    """The folder; made by :meth:`create` or :meth:`open`.

    Parameters
    ----------
    folder : Path
        Where the files are.
    manifest : Manifest
        What they hold.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._cases, self._identity = dict(manifest.cases), manifest.identity

    @classmethod
    def create(
        cls,
        folder: Path,
        shapes: Mapping[str, Sequence[int]],
        fields: Sequence[str],
        settings: Mapping[str, Any],
        notes: Mapping[str, Any] | None = None,
    ) -> CaseMaps:
        """Begin a store of cases with preprocessed volumes of ``shapes``; see :class:`Manifest` for the rest.

        Raises
        ------
        ValueError
            When the folder already has a store, or a case's name cannot be the name of a file.
        SaveError
            When the folder cannot be written.
        """
        if (folder / MANIFEST).exists():
            raise ValueError(f"{folder} already holds maps; open them to go on, or take another folder.")
        for case in shapes:
            if not case or case.startswith(".") or set(case) & set('/\\:*?"<>|\0'):
                raise ValueError(f"A case cannot be called {case!r}, because a file will be; rename it.")
        cases = {case: Entry.of_shape(shape) for case, shape in shapes.items()}
        store = cls(folder, Manifest(tuple(fields), settings, cases, notes or {}))
        store._write_manifest()
        return store

    @classmethod
    def open(cls, folder: Path, fields: Sequence[str], settings: Mapping[str, Any]) -> CaseMaps:
        """Go on with a store.

        Raises
        ------
        ValueError
            When there is none, a file of it is damaged, or it was made with other fields or settings.
        """
        manifest = Manifest.read(folder)
        manifest.require(folder, fields, settings)
        store = cls(folder, manifest)
        store._cases = {case: store._believe(case, entry) for case, entry in manifest.cases.items()}
        return store

    @property
    def cases(self) -> Mapping[str, Entry]:
        """Every case and what is known of it."""
        return MappingProxyType(self._cases)

    def read(self, case: str, box: Box | None = None) -> Maps:
        """Maps of a case, 0 where it was never visited.

        Parameters
        ----------
        case : str
            One of :attr:`cases`.
        box : sequence of (int, int), optional
            The whole volume when left out; beyond the volume nothing is visited.

        Raises
        ------
        ValueError
            When the case is unknown, the box is empty, or the case's file is damaged.
        """
        wanted = self._box(case, box)
        inside, within = overlap(wanted, self._cases[case].shape)
        planes = np.zeros((len(self.manifest.fields) + 1, *(stop - start for start, stop in wanted)), np.float16)
        path = self._path(case)
        if path.exists() and all(part.start < part.stop for part in inside):
            planes[:, *within] = self._load(path)[:, *inside]
        return Maps(planes[:-1].astype(np.float32), planes[-1].astype(np.uint16))

    def write(self, case: str, maps: Maps, epoch: int, box: Box | None = None) -> None:
        """Replace the maps of a case in a box, and count one update.

        Parameters
        ----------
        case : str
            One of :attr:`cases`.
        maps : Maps
            Of the box; what reaches beyond the volume is dropped.
        epoch : int
            Number of the epoch or sweep.
        box : sequence of (int, int), optional
            The whole volume when left out.

        Raises
        ------
        ValueError
            When the case is unknown, the maps do not fit the box, the box lies beyond the volume, or a value is not
            finite.
        SaveError
            When the disk is full; the old file stands.
        """
        wanted, path = self._box(case, box), self._path(case)
        shape, count = self._cases[case].shape, len(self.manifest.fields)
        expected = (count, *(stop - start for start, stop in wanted))
        inside, within = overlap(wanted, shape)
        if maps.values.shape != expected or maps.visits.shape != expected[1:]:
            raise ValueError(f"Maps of {case} have shape {maps.values.shape}, not {expected}.")
        if not np.isfinite(maps.values).all():
            raise ValueError(f"Maps of {case} hold a value that is not finite; did the network answer NaN?")
        if any(part.start == part.stop for part in inside):
            raise ValueError(f"The box {wanted} lies beyond {case}, which has shape {shape}.")
        planes = np.concatenate([maps.values, np.minimum(maps.visits, MOST_VISITS)[None]]).astype(np.float16)
        planes = np.ascontiguousarray(planes[:, *within])  # blosc2 takes no other
        if planes.shape[1:] == shape:
            array = _compressed(planes)
        else:
            array = self._load(path) if path.exists() else _compressed(np.zeros((count + 1, *shape), np.float16))
            array[:, *inside] = planes
        entry = replace(self._cases[case], visits=self._cases[case].visits + 1, epoch=epoch)
        array.schunk.vlmeta[_STATE] = {"visits": entry.visits, "epoch": epoch, "identity": self._identity}
        write_files({path: array.to_cframe()})
        self._cases[case] = entry
        self._write_manifest()

    def sizes(self) -> dict[str, int]:
        """Bytes on disk of every visited case."""
        paths = {case: self._path(case) for case in self._cases}
        return {case: path.stat().st_size for case, path in paths.items() if path.exists()}

    def _path(self, case: str) -> Path:
        return self.folder / f"{case}.b2nd"

    def _box(self, case: str, box: Box | None) -> list[tuple[int, int]]:
        if case not in self._cases:
            raise ValueError(f"{self.folder} has no case {case!r}; it was made for {len(self._cases)} others.")
        shape = self._cases[case].shape
        wanted = [(0, size) for size in shape] if box is None else [(int(start), int(stop)) for start, stop in box]
        if len(wanted) != len(shape) or any(start >= stop for start, stop in wanted):
            raise ValueError(f"{wanted} is no box: give the first voxel and the one after the last along three axes.")
        return wanted

    def _load(self, path: Path) -> Any:
        """The compressed array of a file, read at once, so that a writer may rename another over it meanwhile."""
        try:
            array = blosc2.ndarray_from_cframe(path.read_bytes(), copy=True)
        except RuntimeError as error:
            raise ValueError(_damaged(path)) from error
        self._state(path, array)
        return array

    def _state(self, path: Path, array: Any) -> Mapping[str, Any]:
        state: Mapping[str, Any] = array.schunk.vlmeta.get(_STATE, {})
        shape = (len(self.manifest.fields) + 1, *self._cases[path.stem].shape)
        if state.get("identity") != self._identity or array.shape != shape or array.dtype != np.float16:
            raise ValueError(f"{path} does not belong to the maps of {self.folder / MANIFEST}; remove it.")
        return state

    def _believe(self, case: str, entry: Entry) -> Entry:
        """An entry as the case's own file has it."""
        path = self._path(case)
        if not path.exists():
            return Entry(entry.shape)
        try:
            state = self._state(path, blosc2.open(str(path), mode="r"))
        except RuntimeError as error:
            raise ValueError(_damaged(path)) from error
        return Entry(entry.shape, int(state["visits"]), int(state["epoch"]))

    def _write_manifest(self) -> None:
        self.manifest = replace(self.manifest, cases=dict(self._cases))
        write_files({self.folder / MANIFEST: self.manifest.to_bytes()})


def overlap(box: Box, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a box lies inside a volume: slices of the volume, and slices of the box, which may be empty."""
    volume, within = [], []
    for (start, stop), size in zip(box, shape, strict=True):
        first = min(max(start, 0), size)
        last = max(min(stop, size), first)
        volume.append(slice(first, last))
        within.append(slice(first - start, last - start))
    return tuple(volume), tuple(within)


def _compressed(planes: npt.NDArray[np.float16]) -> Any:
    # Shuffled by bytes and not by bits: voxels with one history have equal values, which Zstandard then finds. It takes
    # about a quarter less.
    parameters = blosc2.CParams(
        codec=blosc2.Codec.ZSTD, clevel=5, filters=[blosc2.Filter.SHUFFLE], filters_meta=[0], nthreads=1
    )
    chunks, blocks = ((1, *(min(edge, size) for size in planes.shape[1:])) for edge in (_CHUNK, _BLOCK))
    return blosc2.asarray(planes, chunks=chunks, blocks=blocks, cparams=parameters, dparams=blosc2.DParams(nthreads=1))


def _damaged(path: Path) -> str:
    return f"{path} is damaged; remove it, and the case begins anew."
