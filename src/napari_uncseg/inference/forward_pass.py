"""One study before several networks: its images are prepared once, and what memory allowed once is kept to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.device import precision_name, precision_of, run_within_memory
from napari_uncseg.inference.preprocessing import Frame, InputPlan, frame_of, network_input, on_crop, turned
from napari_uncseg.inference.progress import Reporter
from napari_uncseg.inference.sliding_window import predict_logits
from napari_uncseg.io.study import Study
from napari_uncseg.models.model import Model

TILE_STEP = 0.5
"""Distance between neighbouring tiles, as a fraction of a tile."""

Notify = Callable[[str], None]
Ready = Callable[[nn.Module, object], AbstractContextManager[nn.Module]]
"""Makes of a network on its device, for the time of one pass, what answers the tiles. The second argument changes when
device, tile or precision do."""


@dataclass(frozen=True)
class Ran:
    """On what a network ran in the end."""

    device: torch.device
    precision: torch.dtype
    tile: tuple[int, ...]


class StudyRunner:
    """Runs networks on one study.

    Parameters
    ----------
    study : Study
    frame : Frame
        Of the grid on which all answers are given; what a network of another plan says is brought to it.
    device : torch.device
        Where to begin.
    report : Reporter
    tell : callable
        Told a sentence when a run goes on differently than asked for.
    """

    def __init__(self, study: Study, frame: Frame, device: torch.device, report: Reporter, tell: Notify) -> None:
        self.frame = frame
        self.report = report
        self.ran: Ran | None = None
        self._study = study
        self._device = device
        self._tell = tell
        self._prepared: tuple[InputPlan, Frame, Tensor] | None = None
        self._fits: dict[InputPlan, Ran] = {}

    def logits(
        self, model: Model, name: str, *, ready: Ready | None = None, change: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Logits of one pass.

        Parameters
        ----------
        model : Model
        name : str
            What to call the pass.
        ready : callable, optional
            Makes of the network what answers the tiles; by default it is the network itself.
        change : callable, optional
            Gives another image for the one ``(4, x, y, z)`` the network would see.

        Returns
        -------
        Tensor of float32, shape (channels, *frame.crop_shape)
            On the processor, on the axes of :attr:`frame`.

        Raises
        ------
        Cancelled, ModelError, DeviceError
            As :meth:`napari_uncseg.inference.predictor.Predictor.predict`.
        """
        plan, frame, image = self._input(model)
        self.report.begin_pass(name)
        image = image if change is None else change(image)

        def run(place: torch.device, tile: tuple[int, ...], precision: torch.dtype | None = None) -> tuple[Tensor, Ran]:
            if precision is None:
                known = self._fits.get(plan)
                precision = known.precision if known is not None and known.device == place else precision_of(place)
            ran = Ran(place, precision, tile)
            network = model.network.to(place).eval()
            with nullcontext(network) if ready is None else ready(network, ran) as answering:
                logits = predict_logits(
                    answering,
                    image.to(place),
                    tile,
                    step=TILE_STEP,
                    precision=precision,
                    progress=self.report.tiles,
                    cancelled=self.report.cancelled,
                ).cpu()
            if bool(torch.isfinite(logits).all()):
                return logits, ran
            if precision == torch.float32:
                raise ModelError(
                    f"The network of model {model.name} answered with numbers that are not finite; "
                    "its weights are damaged or it does not fit this study."
                )
            self._tell(f"The network's numbers went out of the range of {precision_name(precision)}; trying float32.")
            return run(place, tile, torch.float32)

        known = self._fits.get(plan)
        place, tile = (known.device, known.tile) if known is not None else (self._device, plan.patch_size)
        logits, self.ran = run_within_memory(run, place, tile, plan.divisors, self._tell)
        self._fits[plan] = self.ran
        with torch.inference_mode():
            return turned(on_crop(logits, frame), frame, self.frame)

    def _input(self, model: Model) -> tuple[InputPlan, Frame, Tensor]:
        plan = InputPlan.from_plans(model.plans)
        if self._prepared is None or self._prepared[0] != plan:
            self._prepared = None  # two prepared images never stand in memory at once
            frame = frame_of(self._study, plan)
            self._prepared = plan, frame, network_input(self._study, plan, frame)
        return self._prepared
