"""The calibration: what recalibrates the mean probabilities of one model and its members.

It is fitted on calibration studies and says nothing of other models, other members or other kinds of patients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, cast

import numpy as np
from pydantic import AfterValidator, BaseModel, Discriminator, Field

from napari_uncseg.arrays import ArrayT
from napari_uncseg.errors import CalibrationError, UncsegError
from napari_uncseg.io.files import read_json, sha256_of_json, write_files
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.uncertainty.conformal import ASSUMPTION, GUARANTEE, RiskControl
from napari_uncseg.uncertainty.error_risk import ErrorRisk
from napari_uncseg.uncertainty.expected_dice import ExpectedDice
from napari_uncseg.uncertainty.measures import at_least_float32, namespace
from napari_uncseg.uncertainty.recalibration.models import STEPS, Isotonic, MonotoneMap, Platt, Temperature

T = TypeVar("T")

FORMAT = "napari-uncseg calibration 1"

SINGLE = "single"
"""How one pass of one network is told among members."""

_ROUNDING = 0.5 / STEPS + 1e-6  # a recalibrated probability may have been rounded to a file's step
_OWN = ("format", "research_use_only", "model", "members", "regions", "conformal", "error_risk", "expected_dice")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Maps of the mean probabilities of WT, TC and ET, each fitted apart.

    Parameters
    ----------
    maps : mapping of Region to MonotoneMap
        One for each region.
    model_sha256 : str
        Hash of the model it was fitted for.
    ensemble : str
        Members whose mean it was fitted for, such as ``single`` or ``tta:8``.
    controls : mapping of Region to RiskControl
        Thresholds that keep a false-negative rate; empty when none were asked for.
    provenance : mapping
        Method, voxel set, studies, figures, notes, versions, command; plain JSON values.
    error_risk : ErrorRisk, optional
        What makes the map ``error_risk``.
    expected_dice : ExpectedDice, optional
        What tells how good a segmentation is.
    """

    maps: Mapping[Region, MonotoneMap]
    model_sha256: str
    ensemble: str
    controls: Mapping[Region, RiskControl] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    error_risk: ErrorRisk | None = None
    expected_dice: ExpectedDice | None = None

    @property
    def sha256(self) -> str:
        """Hash of all that decides what a prediction becomes with it; studies and figures do not."""
        decisive: dict[str, Any] = {
            "model": self.model_sha256,
            "members": self.ensemble,
            "maps": [self.maps[region].content() for region in REGIONS],
            **self._estimates(),
        }
        return sha256_of_json(decisive)

    @property
    def has_estimates(self) -> bool:
        """Whether it holds error risk or expected Dice."""
        return self.error_risk is not None or self.expected_dice is not None

    def completed_by(self, other: Calibration | None) -> Calibration:
        """Take the error risk and expected Dice of another where there are none of its own."""
        if other is None:
            return self
        error_risk, expected_dice = self.error_risk or other.error_risk, self.expected_dice or other.expected_dice
        return replace(self, error_risk=error_risk, expected_dice=expected_dice)

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

    def check(self, model_sha256: str, ensemble: str) -> None:
        """Make sure that the calibration was fitted for a model and members.

        Parameters
        ----------
        model_sha256 : str
            Hash of the model about to run.
        ensemble : str
            Its members, such as ``single`` or ``tta:8``.

        Raises
        ------
        CalibrationError
            When it was fitted for others.
        """
        if model_sha256 != self.model_sha256:
            name = self.provenance.get("model", {}).get("name")
            raise CalibrationError(
                f"The calibration was fitted for the model {f'{name} ' if name else ''}{self.model_sha256[:12]}, not "
                f"for {model_sha256[:12] or 'one that was never saved'}; fit one for this model with uncseg calibrate."
            )
        if ensemble != self.ensemble:
            raise CalibrationError(
                f"The calibration was fitted for the members {self.ensemble}, not for {ensemble}; choose the members "
                f"{self.ensemble}, or fit one for {ensemble} with uncseg calibrate."
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
        threshold = float(self.maps[region].apply(np.array([control.threshold]))[0])
        return cast(ArrayT, p >= threshold - _ROUNDING)

    def content(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        result: dict[str, Any] = {
            "format": FORMAT,
            "research_use_only": RESEARCH_USE_ONLY,
            "model": {**self.provenance.get("model", {}), "sha256": self.model_sha256},
            "members": self.ensemble,
            "regions": {str(region): self.maps[region].content() for region in REGIONS},
        }
        if self.controls:
            regions = {region: asdict(control) for region, control in self.controls.items()}
            result["conformal"] = {"guarantee": GUARANTEE, "assumption": ASSUMPTION, "regions": regions}
        result |= self._estimates()
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

    def _estimates(self) -> dict[str, Any]:
        found = {} if self.error_risk is None else {"error_risk": self.error_risk.content()}
        return found if self.expected_dice is None else found | {"expected_dice": plain(asdict(self.expected_dice))}


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
    content = read_json(path, CalibrationError, CalibrationFormat.do)
    read = CalibrationFormat.parse(content, path)
    return Calibration(
        maps={region: read.regions[region] for region in REGIONS},
        model_sha256=read.model.sha256,
        ensemble=read.members,
        controls=read.conformal.regions if read.conformal is not None else {},
        provenance={key: value for key, value in content.items() if key not in _OWN or key == "model"},
        error_risk=read.error_risk,
        expected_dice=read.expected_dice,
    )


Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    sha256: Text


class _Conformal(BaseModel):
    regions: dict[Region, RiskControl]


def _all_regions(maps: dict[Region, T]) -> dict[Region, T]:
    if set(maps) != set(REGIONS):
        raise ValueError("it holds other regions than WT, TC and ET")
    return maps


class CalibrationFormat(JsonFormat):
    """The file of a calibration."""

    what: ClassVar[str] = "calibration"
    version: ClassVar[tuple[str, Any]] = ("format", FORMAT)
    error: ClassVar[type[UncsegError]] = CalibrationError
    do: ClassVar[str] = "give the file that uncseg calibrate wrote, or fit it again"

    model: _Model
    members: Text
    regions: Annotated[
        dict[Region, Annotated[Temperature | Platt | Isotonic, Discriminator("kind")]], AfterValidator(_all_regions)
    ]
    conformal: _Conformal | None = None
    error_risk: ErrorRisk | None = None
    expected_dice: ExpectedDice | None = None
