"""How a prediction is made: what was asked for, checked against the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.ensemble_spec import SINGLE
from napari_uncseg.inference.ensembling import EnsemblePlan
from napari_uncseg.io.files import sha256
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.models.masked import CancerMask
from napari_uncseg.uncertainty.recalibration.io import Calibration

VARIANCE = MapName(Measure.VARIANCE)
"""Of the whole tumour, which error risk is told by."""

ONE_PASS_MAPS = (MapName(Measure.ENTROPY), VARIANCE)
SEVERAL_MAPS = (MapName(Measure.ENTROPY), MapName(Measure.MUTUAL_INFORMATION), VARIANCE)
"""Maps of a prediction of several members when nobody chooses."""


@dataclass(frozen=True, eq=False)
class PredictionPlan:
    """How a prediction is made.

    Parameters
    ----------
    ensemble : EnsemblePlan
    maps : tuple of MapName
        Maps to make, as far as the members that are done allow.
    calibration : Calibration, optional
        Acts on the mean probability before maps of it are made, and not on the segmentation.
    error_models : Calibration, optional
        Gives ``error_risk`` and expected Dice: the calibration above, or what the model brings along for such members.
    cancer_mask : CancerMask
        Where ``unc_output`` is shown.
    smallest_ml : float
        Volume below which a component of a region is left out; 0 keeps all.
    """

    ensemble: EnsemblePlan
    maps: tuple[MapName, ...]
    calibration: Calibration | None
    error_models: Calibration | None
    cancer_mask: CancerMask
    smallest_ml: float

    @property
    def accumulated_maps(self) -> tuple[MapName, ...]:
        """What is kept of the members while they run: for the maps, and for error risk."""
        several = self.ensemble.count > 1 and self.error_models is not None and self.error_models.error_risk is not None
        return (*self.maps, VARIANCE) if several else self.maps

    @property
    def settings(self) -> dict[str, Any]:
        """What a result tells of the plan where it differs from the usual."""
        told: dict[str, Any] = {"smallest_ml": self.smallest_ml} if self.smallest_ml else {}
        if self.ensemble.spec != SINGLE:
            told["method"] = self.ensemble.spec.method
        if set(self.maps) != set(usual_maps(self.ensemble)):
            told["maps"] = sorted(map(str, self.maps))
        if self.calibration is not None:
            told["calibration"] = _digest(self.calibration)
        if self.error_models is not None and self.error_models.has_estimates:
            told["estimates"] = self.error_models.sha256
        return told


def usual_maps(ensemble: EnsemblePlan) -> tuple[MapName, ...]:
    """Maps that are made when nobody chooses."""
    return SEVERAL_MAPS if ensemble.count > 1 else ONE_PASS_MAPS


def possible(maps: Sequence[MapName], count: int) -> list[MapName]:
    """Maps that so many members allow: of one alone the variance, which is then p(1-p), and what speaks of its mean."""
    return [name for name in maps if count > 1 or not name.between_members or name.measure == Measure.VARIANCE]


def cancer_mask_of(plans: Mapping[str, Any]) -> CancerMask:
    """The rule of the mask of ``unc_output`` that a model brings along, or the usual one.

    Raises
    ------
    ModelError
        When the plans hold something else.
    """
    rule = plans.get("uncseg", {}).get("cancer_mask", {})
    try:
        return CancerMask(**rule)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The model's plans.json has a cancer_mask that nobody can read ({error}).") from error


def smallest_of(plans: Mapping[str, Any]) -> float:
    """Volume in mL below which a model's plans leave out a component of a region; 0 keeps all.

    Raises
    ------
    ModelError
        When the plans hold something else.
    """
    told = plans.get("uncseg", {}).get("smallest_ml", 0)
    if not isinstance(told, int | float) or not 0 <= told < math.inf:
        raise ModelError(f"The model's plans.json has a smallest_ml of {told!r}; it must be a volume of 0 mL or more.")
    return float(told)


def _digest(calibration: Calibration) -> str:
    """Hash of what a calibration does: two that give the same probabilities are the same."""
    logits = np.linspace(-12, 12, 4097, dtype=np.float64)
    probabilities = np.tile((1 / (1 + np.exp(-logits))).astype(np.float32), (3, 1)).reshape(3, -1, 1, 1)
    return sha256(np.ascontiguousarray(calibration.apply(probabilities), dtype="<f4").tobytes())
