"""The predictor: a study goes in, a prediction comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_uncseg.errors import Cancelled, ModelError
from napari_uncseg.inference.device import precision_name, precision_of, resolve_device, run_within_memory
from napari_uncseg.inference.preprocess import Frame, InputPlan, frame_of, network_input, on_crop
from napari_uncseg.inference.provenance import describe_result, describe_run
from napari_uncseg.inference.sliding_window import count_tiles, predict_logits
from napari_uncseg.labels import labels_from_regions
from napari_uncseg.network.heads import Head, region_probabilities, split
from napari_uncseg.network.model import Model
from napari_uncseg.study.prediction import Prediction
from napari_uncseg.study.study import Study
from napari_uncseg.uncertainty.failure import compute_prediction_failure
from napari_uncseg.uncertainty.maps import bernoulli_variance, entropy
from napari_uncseg.uncertainty.mask import dilate_mm

MASK_DILATION_MM = 5.0
"""How far the cancer mask reaches beyond the predicted whole tumour."""

TILE_STEP = 0.5
"""Distance between neighbouring tiles, as a fraction of a tile."""

Progress = Callable[[int, int, str], None]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class _Run:
    """What the network said, and on what it ran."""

    logits: torch.Tensor
    device: torch.device
    precision: torch.dtype
    tile: tuple[int, ...]


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
        self.plan = InputPlan.from_plans(model.plans)
        try:
            self.head = Head(model.head)
        except ValueError as error:
            raise ModelError(f"The model's plans.json names an unknown head ({error}).") from error
        self._notify = notify

    def provenance(self, study: Study, command: str | None = None) -> dict[str, Any]:
        """Tell what a result will say of its model, inputs and settings, known before the run.

        Parameters
        ----------
        study : Study
        command : str, optional
            The command that remakes the result.

        Returns
        -------
        dict
            Plain JSON values.
        """
        settings = {
            "device": self.device.type,
            "precision": precision_name(precision_of(self.device)),
            "members": 1,
            "tile": list(self.plan.patch_size),
            "tile_step": TILE_STEP,
            "mask_dilation_mm": MASK_DILATION_MM,
            "resampled": study.resampled,
            "coding": str(study.coding) if study.coding is not None else None,
        }
        return describe_run(study, self.model, settings, command)

    def predict(
        self,
        study: Study,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        command: str | None = None,
    ) -> Prediction:
        """Segment a study and say where not to trust it.

        Parameters
        ----------
        study : Study
        progress : callable, optional
            Called as ``progress(done, total, message)``, in the calling thread.
        cancelled : callable, optional
            Asked before every layer of the network and between all other steps; once true, the run stops.
        command : str, optional
            The command that remakes the result, for the provenance.

        Returns
        -------
        Prediction
            On the study's own grid. Probabilities and maps are 0 outside the brain's bounding box.

        Raises
        ------
        Cancelled
            When ``cancelled()`` became true.
        StudyError
            When the study has no brain.
        ModelError
            When the network's output does not fit the plans or is not finite.
        DeviceError
            When no device has enough memory.
        """
        said: list[str] = []

        def tell(message: str) -> None:
            said.append(message)
            if self._notify is not None:
                self._notify(message)

        frame = frame_of(study, self.plan)
        tiles = count_tiles(frame.shape, self.plan.patch_size, TILE_STEP)
        report = _Reporter(progress, cancelled, tiles + 2)
        report(0, "Preparing the images")
        image = network_input(study, self.plan, frame)
        run = self._run(image, report, tell)
        report(report.total - 1, "Putting the result onto the study's grid")
        return self._assemble(study, frame, run, said, report, command)

    def _run(self, image: torch.Tensor, report: _Reporter, tell: Notify) -> _Run:
        """Logits of the network, on the first device and tile that memory allows."""

        def run(place: torch.device, tile: tuple[int, ...], precision: torch.dtype | None = None) -> _Run:
            precision = precision_of(place) if precision is None else precision
            logits = predict_logits(
                self.model.network.to(place).eval(),
                image.to(place),
                tile,
                step=TILE_STEP,
                precision=precision,
                progress=report.tiles,
                cancelled=report.cancelled,
            ).cpu()
            if bool(torch.isfinite(logits).all()):
                return _Run(logits, place, precision, tile)
            if precision == torch.float32:
                raise ModelError(
                    f"The network of model {self.model.name} answered with numbers that are not finite; "
                    "its weights are damaged or it does not fit this study."
                )
            tell(f"The network's numbers went out of the range of {precision_name(precision)}; trying float32.")
            return run(place, tile, torch.float32)

        return run_within_memory(run, self.device, self.plan.patch_size, self.plan.divisors, tell)

    def _assemble(
        self, study: Study, frame: Frame, run: _Run, said: list[str], report: _Reporter, command: str | None
    ) -> Prediction:
        """Bring the prediction onto the study's grid; everything costly happens in the brain's box alone."""
        with torch.inference_mode():
            try:
                region_logits, unc_logit = split(on_crop(run.logits, frame)[None], self.head)
            except ValueError as error:
                raise ModelError(f"The network of model {self.model.name} does not fit its plans: {error}.") from error
            report.check()
            crop = region_probabilities(region_logits, self.head)[0].contiguous()
            whole_tumour = crop[0]
            probabilities = _whole(crop, frame)
            report.check()
            maps = {"entropy": _whole(entropy(whole_tumour), frame)}
            maps["variance"] = _whole(bernoulli_variance(whole_tumour), frame)
            if unc_logit is not None:
                maps["unc_output_unmasked"] = _whole(torch.sigmoid(unc_logit[0, 0]), frame)
        report.check()
        segmentation = frame.leave(labels_from_regions(crop.numpy()))
        cancer_mask = dilate_mm(segmentation > 0, study.spacing, MASK_DILATION_MM)
        report.check()
        if "unc_output_unmasked" in maps:
            maps = {"unc_output": maps["unc_output_unmasked"] * cancer_mask, **maps}
        if study.reference is not None:
            maps["error"] = compute_prediction_failure(segmentation, study.reference).astype(np.float32)
        provenance = self.provenance(study, command)
        provenance["run"] = {
            "device": run.device.type,
            "precision": precision_name(run.precision),
            "tile": list(run.tile),
            "threads": torch.get_num_threads(),
        }
        provenance["warnings"] += said
        provenance |= describe_result(study, segmentation, maps["entropy"], cancer_mask)
        report(report.total, "The result is ready")
        return Prediction(study.id, probabilities, segmentation, maps, study.affine, provenance, study.header)


def _whole(crop: torch.Tensor, frame: Frame) -> npt.NDArray[np.float32]:
    whole: npt.NDArray[np.float32] = frame.leave(crop.numpy())
    return whole


class _Reporter:
    """Tells how far a run has come and stops it when the user wants."""

    def __init__(self, progress: Progress | None, cancelled: Callable[[], bool] | None, total: int) -> None:
        self._progress = progress
        self.cancelled = cancelled
        self.total = total

    def __call__(self, done: int, message: str) -> None:
        self.check()
        if self._progress is not None:
            self._progress(done, self.total, message)

    def tiles(self, done: int, count: int) -> None:
        """Report tiles; with smaller tiles than planned their number grows."""
        self.total = count + 2
        which = f", tile {min(done + 1, count)} of {count}" if count > 1 else ""
        self(done + 1, f"Running the network{which}")

    def check(self) -> None:
        """Stop here when the run was cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The run was cancelled; nothing was written.")
