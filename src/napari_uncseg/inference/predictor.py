"""The predictor: a study goes in, a prediction comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
import torch

from napari_uncseg.errors import UncsegError
from napari_uncseg.inference.device import precision_name, precision_of, resolve_device
from napari_uncseg.inference.ensemble_spec import AUTO, SINGLE, EnsembleSpec, parse_ensemble
from napari_uncseg.inference.ensembling import EnsemblePlan, plan_ensemble
from napari_uncseg.inference.forward_pass import TILE_STEP, ForwardPass, Notify
from napari_uncseg.inference.input_checks import check_input
from napari_uncseg.inference.postprocessing import (
    VARIANCE,
    accumulate,
    cancer_mask_of,
    make_prediction,
    possible,
    smallest_of,
)
from napari_uncseg.inference.preprocessing import frame_of
from napari_uncseg.inference.progress import Progress, Reporter
from napari_uncseg.inference.sliding_window import count_tiles
from napari_uncseg.io.files import sha256, versions
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, SCHEMA
from napari_uncseg.io.study import Study
from napari_uncseg.maps import MapName, Measure, parse_maps
from napari_uncseg.models.identity import calibration_of
from napari_uncseg.models.model import Model
from napari_uncseg.uncertainty.recalibration.io import Calibration

ONE_PASS_MAPS = (MapName(Measure.ENTROPY), MapName(Measure.VARIANCE))
SEVERAL_MAPS = (MapName(Measure.ENTROPY), MapName(Measure.MUTUAL_INFORMATION), MapName(Measure.VARIANCE))
"""Maps of a prediction of several members when nobody chooses."""


class Asked(TypedDict, total=False):
    """What a prediction may be asked for, see :meth:`Predictor.predict`."""

    members: EnsembleSpec | str
    maps: Sequence[str] | None
    calibration: Calibration | None


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What is to be computed, checked."""

    ensemble: EnsemblePlan
    maps: tuple[MapName, ...]
    chosen: bool
    calibration: Calibration | None
    estimates: Calibration | None

    @property
    def reduced(self) -> tuple[MapName, ...]:
        """Maps, and what error risk is told by."""
        several = self.ensemble.count > 1 and self.estimates is not None and self.estimates.error_risk is not None
        return (*self.maps, VARIANCE) if several else self.maps


class Predictor:
    """Runs a model on studies; one run at a time.

    Parameters
    ----------
    model : Model
        Network and plans. The network is moved to the device and put into eval mode.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``.
    notify : callable, optional
        Told a sentence when a run goes on differently than asked for (smaller tiles, another device).

    Raises
    ------
    DeviceError
        When the device was asked for and cannot be used.
    ModelError
        When the model's plans ask for something that is not done here.
    """

    def __init__(self, model: Model, *, device: str = "auto", notify: Notify | None = None) -> None:
        self.model = model
        self.device = resolve_device(device)
        self._notify = notify
        self._ensembles = {SINGLE: plan_ensemble(SINGLE, model)}
        self._brought = None if model.folder is None else calibration_of(model.folder)

    def check(self, **asked: Unpack[Asked]) -> None:
        """Make sure, before a study is read, that the model can do what will be asked for.

        Parameters
        ----------
        **asked
            ``members``, ``maps`` and ``calibration`` as for :meth:`predict`.

        Raises
        ------
        UncsegError
            When the model cannot have such members or maps, or the calibration is not theirs.
        """
        self._wanted(**asked)

    def provenance(self, study: Study, command: str | None = None, **asked: Unpack[Asked]) -> dict[str, Any]:
        """Tell what a result will say of its model, inputs and settings, known before the run.

        Parameters
        ----------
        study : Study
        command : str, optional
            The command that remakes the result.
        **asked
            ``members``, ``maps`` and ``calibration`` as for :meth:`predict`.

        Returns
        -------
        dict
            Plain JSON values.

        Raises
        ------
        UncsegError
            When the model cannot have such members or maps, or the calibration is not theirs.
        """
        return self._provenance(study, command, self._wanted(**asked))

    def predict(
        self,
        study: Study,
        *,
        members: EnsembleSpec | str = AUTO,
        maps: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        command: str | None = None,
    ) -> Prediction:
        """Segment a study and say where not to trust it.

        Parameters
        ----------
        study : Study
        members : EnsembleSpec or str
            Ensembling or test-time augmentation method: ``single``, ``tta:8``, ``mc_dropout:20,p=0.2`` ..., see
            :func:`napari_uncseg.inference.ensemble_spec.parse_ensemble`; by default the one that the model was judged
            with.
        maps : sequence of str, optional
            Maps to make, see :func:`napari_uncseg.maps.parse_maps`; by default entropy and variance, of
            several members the mutual information too. ``unc_output`` and ``error`` are always made where they can be.
        calibration : Calibration, optional
            Acts on the mean probability in the brain's box before maps of it are made; gives ``error_risk`` and
            expected Dice in the place of the model's own. The segmentation stays that of the mean before: where a
            calibration moves 0.5, probabilities and segmentation may differ at the border.
            Maps between members (mutual information, variance ...) are those of the members as they are.
        progress : callable, optional
            Called as ``progress(done, total, message)``, in the calling thread.
        cancelled : callable, optional
            Asked before every layer of the network and between all other steps; once true, the run stops.
        command : str, optional
            The command that remakes the result, for the provenance.

        Returns
        -------
        Prediction
            On the study's own grid. Probabilities and maps are 0 outside the brain's bounding box. When several members
            were wanted and the run was stopped after the first of them, it is the prediction of those that are done,
            and says so (:attr:`napari_uncseg.io.prediction.Prediction.partial`).

        Raises
        ------
        Cancelled
            When ``cancelled()`` became true before a member was done.
        StudyError
            When the study has no brain.
        ModelError
            When the network's output does not fit the plans or is not finite, or the model has no such members.
        DeviceError
            When no device has enough memory.
        UncsegError
            When members or maps are not known, or the calibration was fitted for another model or other members.
        """
        said: list[str] = []

        def tell(message: str) -> None:
            said.append(message)
            if self._notify is not None:
                self._notify(message)

        wanted = self._wanted(members, maps, calibration)
        ensemble, plan = wanted.ensemble, wanted.ensemble.input_plan
        frame = frame_of(study, plan)
        tiles = count_tiles(frame.shape, plan.patch_size, TILE_STEP)
        stages = 1 if self.model.previous_stage is None else 2
        report = Reporter(progress, cancelled, tiles, ensemble.spec.passes or 1, stages)
        report(0, "Preparing the images")
        input_reasons = check_input(study)
        forward = ForwardPass(study, frame, self.device, report, tell)
        accumulated = accumulate(ensemble, wanted.reduced, forward)
        done, estimates = accumulated.reducer.count, wanted.estimates
        if done < ensemble.count:
            fitted = "; its calibration was fitted for all of them" if calibration is not None else ""
            estimates = None  # which were fitted for all of them
            said.append(f"Stopped early, so this result is partial: {done} of {ensemble.count} members{fitted}.")
        report(report.total - 1, "Putting the result onto the study's grid")
        provenance = self._provenance(study, command, wanted)
        provenance["warnings"] += said
        assert forward.run_info is not None  # there is at least one member
        provenance["run"] = {
            "device": forward.run_info.device.type,
            "precision": precision_name(forward.run_info.precision),
            "tile": list(forward.run_info.tile),
            "threads": torch.get_num_threads(),
        }
        if ensemble.spec != SINGLE:
            provenance["members"] = {
                "method": ensemble.spec.method,
                "members_done": done,
                "members_wanted": ensemble.count,
                "names": list(accumulated.names),
                **ensemble.details,
                **dict.fromkeys(("probabilities", "unc_output"), "mean of the members'"),
            }
        plans = self.model.plans
        return make_prediction(
            study, frame, wanted.maps, accumulated, calibration, provenance, report, plans, estimates, input_reasons
        )

    def _wanted(
        self,
        members: EnsembleSpec | str = AUTO,
        maps: Sequence[str] | None = None,
        calibration: Calibration | None = None,
    ) -> _Wanted:
        own = str(self.model.provenance.get("members", SINGLE))
        spec = parse_ensemble(members).resolved(self.model.snapshots, own)
        if spec not in self._ensembles:
            self._ensembles[spec] = plan_ensemble(spec, self.model)
        ensemble = self._ensembles[spec]
        usual = SEVERAL_MAPS if ensemble.count > 1 else ONE_PASS_MAPS
        names = usual if maps is None else parse_maps(maps)
        if ensemble.count == 1:
            undefined = [str(name) for name in names if name not in possible(names, 1)]
            if undefined:
                raise UncsegError(f"{undefined[0]} is a map between members; choose several (tta:8), or leave it out.")
        if calibration is not None:
            calibration.check(str(ensemble.identity["sha256"]), ensemble.spec.method)
        chosen = maps is not None and set(names) != set(usual)
        return _Wanted(ensemble, names, chosen, calibration, calibration or self._own_calibration(ensemble))

    def _own_calibration(self, ensemble: EnsemblePlan) -> Calibration | None:
        """What the model brings along to tell how good its predictions are, when it was fitted for these members."""
        own, identity = self._brought, (ensemble.identity["sha256"], ensemble.spec.method)
        if own is None or (own.error_risk is None and own.expected_dice is None):
            return None
        return own if (own.model_sha256, own.members) == identity else None

    def _provenance(self, study: Study, command: str | None, wanted: _Wanted) -> dict[str, Any]:
        ensemble = wanted.ensemble
        settings: dict[str, Any] = {
            "device": self.device.type,
            "precision": precision_name(precision_of(self.device)),
            "members": ensemble.count,
            "tile": list(ensemble.input_plan.patch_size),
            "tile_step": TILE_STEP,
            "mask_dilation_mm": cancer_mask_of(self.model.plans).dilation_mm,
            "resampled": study.resampled,
            "coding": str(study.coding) if study.coding is not None else None,
        }
        if smallest := smallest_of(self.model.plans):
            settings["smallest_ml"] = smallest
        if ensemble.spec != SINGLE:
            settings["method"] = ensemble.spec.method
        if wanted.chosen:
            settings["maps"] = sorted(map(str, wanted.maps))
        if wanted.calibration is not None:
            settings["calibration"] = _digest(wanted.calibration)
        elif wanted.estimates is not None:
            settings["estimates"] = wanted.estimates.sha256
        prepared = study.preparation or {}
        told = {part: prepared[part] for part in ("inputs", "settings", "registration", "brain") if part in prepared}
        return {
            "schema": SCHEMA,
            "research_use_only": RESEARCH_USE_ONLY,
            "study": study.id,
            "model": dict(ensemble.identity),
            "inputs": study.inputs,
            "settings": settings,
            "versions": versions("torch", "numpy", "nibabel"),
            "command": command,
            "warnings": list(study.warnings),
            **({"preparation": told} if told else {}),
        }


def _digest(calibration: Calibration) -> str:
    """Hash of what a calibration does: two that give the same probabilities are the same."""
    logits = np.linspace(-12, 12, 4097, dtype=np.float64)
    probabilities = np.tile((1 / (1 + np.exp(-logits))).astype(np.float32), (3, 1)).reshape(3, -1, 1, 1)
    return sha256(np.ascontiguousarray(calibration.apply(probabilities), dtype="<f4").tobytes())
