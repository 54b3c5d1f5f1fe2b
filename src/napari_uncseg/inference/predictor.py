"""The predictor: a study goes in, a prediction comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

from napari_uncseg.errors import UncsegError
from napari_uncseg.inference.device import precision_name, precision_of, resolve_device
from napari_uncseg.inference.ensemble_spec import AUTO, SINGLE, EnsembleSpec, parse_ensemble
from napari_uncseg.inference.ensembling import EnsemblePlan, plan_ensemble
from napari_uncseg.inference.forward_pass import SECOND_STAGE_STEP, TILE_STEP, ForwardPass, Notify
from napari_uncseg.inference.input_checks import check_input
from napari_uncseg.inference.postprocessing import accumulate, make_prediction
from napari_uncseg.inference.prediction_plan import PredictionPlan, cancer_mask_of, possible, smallest_of, usual_maps
from napari_uncseg.inference.preprocessing import brain_crop
from napari_uncseg.inference.progress import Progress, Reporter
from napari_uncseg.inference.sliding_window import count_tiles
from napari_uncseg.io.files import versions
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, SCHEMA
from napari_uncseg.io.study import Study
from napari_uncseg.maps import parse_maps
from napari_uncseg.models.identity import calibration_of
from napari_uncseg.models.model import Model
from napari_uncseg.uncertainty.recalibration.io import Calibration


class Asked(TypedDict, total=False):
    """What a prediction may be asked for, see :meth:`Predictor.predict`."""

    ensemble: EnsembleSpec | str
    maps: Sequence[str] | None
    calibration: Calibration | None


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
    own_calibration : bool
        Whether error risk and expected Dice are told by what the model brings along; not of studies it was fitted on.

    Raises
    ------
    DeviceError
        When the device was asked for and cannot be used.
    ModelError
        When the model's plans ask for something that is not done here.
    """

    def __init__(
        self, model: Model, *, device: str = "auto", notify: Notify | None = None, own_calibration: bool = True
    ) -> None:
        self.model = model
        self.device = resolve_device(device)
        self._notify = notify
        self._ensembles = {SINGLE: plan_ensemble(SINGLE, model)}
        self._brought = calibration_of(model.folder) if own_calibration and model.folder is not None else None

    def check(self, **asked: Unpack[Asked]) -> None:
        """Make sure, before a study is read, that the model can do what will be asked for.

        Parameters
        ----------
        **asked
            ``ensemble``, ``maps`` and ``calibration`` as for :meth:`predict`.

        Raises
        ------
        UncsegError
            When the model cannot have such members or maps, or the calibration is not theirs.
        """
        self._plan(**asked)

    def provenance(self, study: Study, command: str | None = None, **asked: Unpack[Asked]) -> dict[str, Any]:
        """Tell what a result will say of its model, inputs and settings, known before the run.

        Parameters
        ----------
        study : Study
        command : str, optional
            The command that remakes the result.
        **asked
            ``ensemble``, ``maps`` and ``calibration`` as for :meth:`predict`.

        Returns
        -------
        dict
            Plain JSON values.

        Raises
        ------
        UncsegError
            When the model cannot have such members or maps, or the calibration is not theirs.
        """
        return self._provenance(study, command, self._plan(**asked))

    def predict(
        self,
        study: Study,
        *,
        ensemble: EnsembleSpec | str = AUTO,
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
        ensemble : EnsembleSpec or str
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

        plan = self._plan(ensemble, maps, calibration)
        provenance = self._provenance(study, command, plan)
        crop = brain_crop(study, plan.ensemble.input_plan)
        tiles = count_tiles(crop.network_shape, plan.ensemble.input_plan.patch_size, TILE_STEP)
        stages = 1 if self.model.previous_stage is None else 2
        report = Reporter(progress, cancelled, tiles, plan.ensemble.spec.passes or 1, stages)
        report(0, "Preparing the images")
        input_reasons = check_input(study)
        forward = ForwardPass(study, crop, self.device, report, tell)
        accumulated = accumulate(plan, forward)
        done, wanted = len(accumulated.names), plan.ensemble.count
        if done < wanted:
            fitted = "; its calibration was fitted for all of them" if calibration is not None else ""
            said.append(f"Stopped early, so this result is partial: {done} of {wanted} members{fitted}.")
        report(report.total - 1, "Putting the result onto the study's grid")
        provenance["warnings"] += said
        assert forward.run_info is not None  # there is at least one member
        provenance["run"] = forward.run_info.told()
        if plan.ensemble.spec != SINGLE:
            provenance["members"] = {
                "method": plan.ensemble.spec.method,
                "members_done": done,
                "members_wanted": wanted,
                "names": list(accumulated.names),
                **plan.ensemble.details,
                **dict.fromkeys(("probabilities", "unc_output"), "mean of the members'"),
            }
        return make_prediction(accumulated, provenance, input_reasons)

    def _plan(
        self,
        ensemble: EnsembleSpec | str = AUTO,
        maps: Sequence[str] | None = None,
        calibration: Calibration | None = None,
    ) -> PredictionPlan:
        own = str(self.model.provenance.get("members", SINGLE))
        spec = parse_ensemble(ensemble).resolved(self.model.snapshots, own)
        if spec not in self._ensembles:
            self._ensembles[spec] = plan_ensemble(spec, self.model)
        ready = self._ensembles[spec]
        names = usual_maps(ready) if maps is None else parse_maps(maps)
        if undefined := [str(name) for name in names if name not in possible(names, ready.count)]:
            raise UncsegError(f"{undefined[0]} is a map between members; choose several (tta:8), or leave it out.")
        if calibration is not None:
            calibration.check(str(ready.identity["sha256"]), ready.spec.method)
        error_models = self._own_calibration(ready)
        if calibration is not None:
            error_models = calibration.completed_by(error_models)
        mask, smallest = cancer_mask_of(self.model.plans), smallest_of(self.model.plans)
        return PredictionPlan(ready, names, calibration, error_models, mask, smallest)

    def _own_calibration(self, ensemble: EnsemblePlan) -> Calibration | None:
        """What the model brings along to tell how good its predictions are, when it was fitted for these members."""
        own, identity = self._brought, (ensemble.identity["sha256"], ensemble.spec.method)
        if own is None or not own.has_estimates:
            return None
        return own if (own.model_sha256, own.ensemble) == identity else None

    def _provenance(self, study: Study, command: str | None, plan: PredictionPlan) -> dict[str, Any]:
        ensemble = plan.ensemble
        cascade = self.model.previous_stage is not None
        settings: dict[str, Any] = {
            "device": self.device.type,
            "precision": precision_name(precision_of(self.device)),
            "members": ensemble.count,
            "tile": list(ensemble.input_plan.patch_size),
            "tile_step": [TILE_STEP, round(SECOND_STAGE_STEP, 4)] if cascade else TILE_STEP,
            "mask_dilation_mm": plan.cancer_mask.dilation_mm,
            "resampled": study.resampled,
            "coding": str(study.coding) if study.coding is not None else None,
            **plan.settings,
        }
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
