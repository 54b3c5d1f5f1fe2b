"""The prediction: what a model says about a study, and how far to trust it. Holds no torch object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib

from napari_uncseg.arrays import Floats32, Floats64, Labels
from napari_uncseg.io.geometry import OnGrid, three
from napari_uncseg.maps import MapName


@dataclass(frozen=True)
class Partial:
    """A result of fewer members than were wanted, because the run was stopped."""

    done: int
    wanted: int

    def __str__(self) -> str:
        return f"partial: {self.done} of {self.wanted}"


def partial_of(provenance: Mapping[str, Any]) -> Partial | None:
    """How far the run behind a provenance came, or None when it came to its end."""
    told = provenance.get("members")
    done, wanted = (told.get("members_done"), told.get("members_wanted")) if isinstance(told, Mapping) else (None, None)
    return Partial(done, wanted) if isinstance(done, int) and isinstance(wanted, int) and done < wanted else None


@dataclass(frozen=True, eq=False)
class Prediction(OnGrid):
    """Region probabilities, segmentation and named uncertainty maps on the study's own grid.

    Parameters
    ----------
    study_id : str
        The study's id.
    probabilities : ndarray of float32, shape (3, x, y, z)
        WT, TC, ET in 0..1.
    segmentation : ndarray of uint8, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`.
    maps : mapping of str to ndarray of float32, shape (x, y, z)
        Named maps, see :data:`napari_uncseg.maps.MAPS`; ``error`` only when the study has a reference.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS+ millimetres, the study's own.
    provenance : mapping
        Model hash, versions, settings, input hashes, command; plain JSON values.
    header : nibabel.Nifti1Header, optional
        Header of the study's T1c file.
    path : Path, optional
        JSON that it was read from; None for one that was made here.
    """

    study_id: str
    probabilities: Floats32
    segmentation: Labels
    maps: Mapping[str, Floats32]
    affine: Floats64
    provenance: Mapping[str, Any] = field(default_factory=dict)
    header: nib.Nifti1Header | None = None
    path: Path | None = None

    @property
    def member_count(self) -> int:
        """Number of members (passes) the probabilities are the mean of."""
        partial = self.partial
        return partial.done if partial else int(self.provenance.get("settings", {}).get("members", 1))

    @property
    def method(self) -> str:
        """Which members, in words: ``single``, ``tta:8`` …"""
        return str(self.provenance.get("settings", {}).get("method", "single"))

    @property
    def partial(self) -> Partial | None:
        """How many members there are of how many, when the run was stopped early; else None."""
        return partial_of(self.provenance)

    @property
    def inputs(self) -> Mapping[str, Mapping[str, str | None]]:
        """Name and hash of each file that it was made from, by role, as a study has them; empty where nothing tells."""
        return self.provenance.get("inputs") or {}

    @property
    def recalibrated(self) -> bool:
        """Whether the probabilities went through a calibration."""
        return bool(self.provenance.get("settings", {}).get("calibration"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        return three(self.segmentation.shape)

    def title(self, name: str | MapName) -> str:
        """Title of a map for a reader; a partial result says that it is one."""
        title = (MapName.parse(name) if isinstance(name, str) else name).title
        return f"{title} · {self.partial}" if self.partial else title
