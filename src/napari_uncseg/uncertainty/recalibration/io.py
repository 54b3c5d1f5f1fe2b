"""The calibration: what makes the mean probabilities of one model and its members mean what they say.

It is fitted on calibration studies and says nothing of other models, other members or other kinds of patients.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from napari_uncseg.errors import UncsegError, reason_of
from napari_uncseg.io.files import write_files
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.uncertainty.conformal import ASSUMPTION, GUARANTEE, RiskControl
from napari_uncseg.uncertainty.measures import at_least_float32, namespace
from napari_uncseg.uncertainty.recalibration.models import STEPS, MonotoneMap, map_from_content

ArrayT = TypeVar("ArrayT")

FORMAT = "napari-uncseg calibration 1"

BUNDLED = "bundled"
"""Stands for the calibration that comes with the package, where a file could be named."""

NO_BUNDLED = "This version comes without a calibration; fit one with uncseg calibrate, or go without."

SINGLE = "single"
"""How one pass of one network is told among members."""

_ROUNDING = 0.5 / STEPS + 1e-6  # a recalibrated probability may have been rounded to a file's step
_OWN = ("format", "research_use_only", "model", "members", "regions", "conformal")


class CalibrationError(UncsegError):
    """A calibration that is damaged or foreign, or was fitted for another model or other members."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Maps of the mean probabilities of WT, TC and ET, each fitted apart.

    Parameters
    ----------
    maps : mapping of Region to MonotoneMap
        One for each region.
    model_sha256 : str
        Hash of the model it was fitted for.
    members : str
        Members whose mean it was fitted for, such as ``single`` or ``tta:8``.
    controls : mapping of Region to RiskControl
        Thresholds that keep a false-negative rate; empty when none were asked for.
    provenance : mapping
        Method, voxel set, studies, figures, notes, versions, command; plain JSON values.
    """

    maps: Mapping[Region, MonotoneMap]
    model_sha256: str
    members: str
    controls: Mapping[Region, RiskControl] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of all that decides what :meth:`apply` does and for whom; studies and figures do not."""
        decisive = {
            "model": self.model_sha256,
            "members": self.members,
            "maps": [self.maps[region].content() for region in REGIONS],
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def apply(self, probabilities: ArrayT) -> ArrayT:
        """Recalibrate mean probabilities.

        Parameters
        ----------
        probabilities : ndarray or torch.Tensor of float32, shape (3, x, y, z)
            WT, TC, ET in 0..1, the mean over members and not yet recalibrated.

        Returns
        -------
        ndarray or torch.Tensor of float32, shape (3, x, y, z)
            A new array, in 0..1; what is exactly 0 stays 0.

        Raises
        ------
        ValueError
            When the first axis does not hold three regions.

        Notes
        -----
        Each region is brought to its own frequency and to nothing else: where two maps differ, TC may come out above
        WT in a voxel, or ET above TC. To force the nesting would spoil the calibration of a region, and nothing needs
        it: the segmentation is that of the probabilities before recalibration.
        """
        values: Any = at_least_float32(probabilities)
        if values.ndim < 1 or values.shape[0] != len(REGIONS):
            raise ValueError(f"Probabilities of shape {tuple(values.shape)} do not hold WT, TC and ET.")
        result = namespace(values).empty_like(values)
        for index, region in enumerate(REGIONS):
            result[index] = self.maps[region].apply(values[index])
        return cast(ArrayT, result)

    def check(self, model_sha256: str, members: str) -> None:
        """Make sure that the calibration was fitted for a model and members.

        Parameters
        ----------
        model_sha256 : str
            Hash of the model about to run.
        members : str
            Its members, such as ``single`` or ``tta:8``.

        Raises
        ------
        CalibrationError
            When it was fitted for others.
        """
        if model_sha256 != self.model_sha256:
            raise CalibrationError(
                f"The calibration was fitted for the model {_name_of(self.provenance)}{self.model_sha256[:12]}, not "
                f"for {model_sha256[:12] or 'one that was never saved'}; fit one for this model with uncseg calibrate."
            )
        if members != self.members:
            raise CalibrationError(
                f"The calibration was fitted for the members {self.members}, not for {members}; choose the members "
                f"{self.members}, or fit one for {members} with uncseg calibrate."
            )

    def controlled_mask(self, probability: ArrayT, region: Region, *, recalibrated: bool = False) -> ArrayT:
        """Voxels of a region at the threshold that keeps its false-negative rate, ``{p > threshold}``.

        Parameters
        ----------
        probability : ndarray or torch.Tensor, shape (x, y, z)
            Of the region, in 0..1.
        region : Region
        recalibrated : bool
            Whether the probabilities have been through :meth:`apply`. The mask then also holds the few voxels that the
            map or the rounding of a file cannot tell from those above the threshold: it misses no more.

        Returns
        -------
        ndarray or torch.Tensor of bool, shape (x, y, z)

        Raises
        ------
        CalibrationError
            When the calibration has no threshold for the region.
        """
        control = self.controls.get(region)
        if control is None or control.threshold is None:
            why = control.reason if control is not None else "fit one with uncseg calibrate --alpha."
            raise CalibrationError(f"The calibration has no threshold for {region}: {why}")
        p: Any = at_least_float32(probability)
        if not recalibrated:
            return cast(ArrayT, p > control.threshold)
        return cast(ArrayT, p >= self._recalibrated(control.threshold, region) - _ROUNDING)

    def content(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        result: dict[str, Any] = {
            "format": FORMAT,
            "research_use_only": RESEARCH_USE_ONLY,
            "model": {**_mapping(self.provenance.get("model")), "sha256": self.model_sha256},
            "members": self.members,
            "regions": {str(region): self.maps[region].content() for region in REGIONS},
        }
        if self.controls:
            result["conformal"] = {
                "guarantee": GUARANTEE,
                "assumption": ASSUMPTION,
                "regions": {str(region): _control_content(control) for region, control in self.controls.items()},
            }
        rest = {key: value for key, value in self.provenance.items() if key not in _OWN}
        return cast("dict[str, Any]", plain({**result, **rest}))

    def save(self, path: Path) -> None:
        """Write the calibration to a JSON file, whole or not at all.

        Raises
        ------
        SaveError
            When the disk cannot take it; what stood there before is still there.
        """
        text = json.dumps(self.content(), indent=1, allow_nan=False)
        write_files({Path(path): (text + "\n").encode()})

    def _recalibrated(self, threshold: float, region: Region) -> float:
        return float(self.maps[region].apply(np.array([threshold]))[0])


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration that :meth:`Calibration.save` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        When the file is missing, damaged, or no calibration of this version.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CalibrationError(f"{path} does not exist; uncseg calibrate makes a calibration.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(
            f"{path} cannot be read as JSON ({reason_of(error)}); give the file uncseg calibrate wrote."
        ) from error
    kind = content.get("format") if isinstance(content, dict) else None
    if kind != FORMAT:
        ours = isinstance(kind, str) and kind.startswith(FORMAT.rstrip("0123456789"))
        do = "update napari-uncseg, or fit it again." if ours else "give the file that uncseg calibrate wrote."
        raise CalibrationError(f"{path} is no calibration that this version reads; {do}")
    try:
        return calibration_from_content(content)
    except ValueError as error:
        raise CalibrationError(f"{path} is damaged ({error}); fit it again with uncseg calibrate.") from error


def bundled_calibration() -> Calibration | None:
    """The calibration of the network that comes with the package, fitted on phantoms; None when there is none.

    Raises
    ------
    CalibrationError
        When it is damaged.
    """
    path = Path(__file__).parents[2] / "models" / "bundled" / "calibration.json"
    return load_calibration(path) if path.is_file() else None


def find_calibration(named: str | Path) -> Calibration:
    """Read a calibration by the name a user gives it: a file, or :data:`BUNDLED`.

    Raises
    ------
    CalibrationError
        When there is none of this name.
    """
    if str(named) != BUNDLED:
        return load_calibration(named)
    calibration = bundled_calibration()
    if calibration is None:
        raise CalibrationError(NO_BUNDLED)
    return calibration


def calibration_from_content(content: Mapping[str, Any]) -> Calibration:
    """Make a calibration of foreign JSON values; ValueError with a few words when they are not sound."""
    model, regions = content.get("model"), content.get("regions")
    sha256, members = _mapping(model).get("sha256"), content.get("members")
    if not isinstance(sha256, str) or not sha256 or not isinstance(members, str) or not members:
        raise ValueError("model and members are not told")
    if not isinstance(regions, Mapping) or set(regions) != set(map(str, REGIONS)):
        raise ValueError("it holds other regions than WT, TC and ET")
    conformal = content.get("conformal", {"regions": {}})
    controls = conformal.get("regions") if isinstance(conformal, Mapping) else None
    if not isinstance(controls, Mapping) or not set(controls) <= set(map(str, REGIONS)):
        raise ValueError("its conformal part is not that of WT, TC and ET")
    provenance = {key: value for key, value in content.items() if key not in _OWN or key == "model"}
    return Calibration(
        maps={region: map_from_content(regions[str(region)]) for region in REGIONS},
        model_sha256=sha256,
        members=members,
        controls={Region(name): _control(value) for name, value in controls.items()},
        provenance=provenance,
    )


def _control_content(control: RiskControl) -> dict[str, Any]:
    return {
        "alpha": control.alpha,
        "studies": control.studies,
        "threshold": control.threshold,
        "false_negative_rate": control.risk,
        "reason": control.reason,
    }


def _control(content: object) -> RiskControl:
    """A threshold of foreign JSON values."""
    values = _mapping(content)
    alpha, studies, reason = values.get("alpha"), values.get("studies"), values.get("reason")
    threshold, risk = values.get("threshold"), values.get("false_negative_rate")
    sound = (
        _fraction(alpha)
        and isinstance(studies, int)
        and not isinstance(studies, bool)
        and studies >= 0
        and isinstance(reason, str)
        and ((threshold is None and bool(reason)) or _fraction(threshold))
        and (risk is None or _fraction(risk))
    )
    if not sound:
        raise ValueError("a threshold of its conformal part makes no sense")
    return RiskControl(cast(float, alpha), cast(int, studies), threshold, risk, cast(str, reason))


def _fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name_of(provenance: Mapping[str, Any]) -> str:
    name = _mapping(provenance.get("model")).get("name")
    return f"{name} " if isinstance(name, str) and name else ""
