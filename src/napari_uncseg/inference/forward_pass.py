"""Forward passes of networks over one study: its images are prepared once, and what memory allowed once is kept to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from napari_uncseg.arrays import Floats32, Floats64
from napari_uncseg.errors import ModelError
from napari_uncseg.inference.device import precision_name, precision_of, run_within_memory
from napari_uncseg.inference.preprocessing import BrainCrop, InputPlan, brain_crop, network_input, turned
from napari_uncseg.inference.progress import Reporter
from napari_uncseg.inference.resampling import resample
from napari_uncseg.inference.sliding_window import sliding_window_logits
from napari_uncseg.io.geometry import three
from napari_uncseg.io.study import Study
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.models.heads import region_probabilities, split
from napari_uncseg.models.model import Model

TILE_STEP = 0.5
"""Distance between neighbouring tiles, as a fraction of a tile."""

SECOND_STAGE_STEP = 2 / 3
"""The same in the second stage of a cascade, whose tiles fit their box."""

THRESHOLD = 0.1
"""Least probability of whole tumour in the previous stage that the second one looks at."""

MARGIN_MM = 12.0
"""How far it looks beyond that."""

LARGEST_SIDE = 192
"""Longest side of a tile in voxels: a network of instance norms works on a larger tile than it was trained on, and the
whole box of nearly every brain in one tile gives a better core than eight tiles, in half of their time."""

OVERLAP = 32
"""Voxels that neighbouring tiles share."""

Notify = Callable[[str], None]
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RunInfo:
    """On what a network ran in the end."""

    device: torch.device
    precision: torch.dtype
    tile: tuple[int, ...]

    def told(self) -> dict[str, Any]:
        """What a result tells of it."""
        precision, threads = precision_name(self.precision), torch.get_num_threads()
        return {"device": self.device.type, "precision": precision, "tile": list(self.tile), "threads": threads}


class Tiling(NamedTuple):
    """Tiles that are to cover an image: their voxels, and their distance as a fraction of a tile."""

    tile: tuple[int, ...]
    step: float = TILE_STEP


Wrap = Callable[[nn.Module, RunInfo], AbstractContextManager[nn.Module]]
"""Makes of a network on its device, for the time of one pass, what answers the tiles."""


class Mirrored(nn.Module):
    """A network that sees each tile mirrored, and whose output is mirrored back.

    Parameters
    ----------
    network : nn.Module
    axes : sequence of int
        Of x, y and z.
    """

    def __init__(self, network: nn.Module, axes: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._dims = [2 + axis for axis in axes]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, x, y, z)`` to logits."""
        output = self.network(x.flip(self._dims))
        return output.flip(self._dims) if isinstance(output, Tensor) else output


class ForwardPass:
    """Runs networks on one study.

    Parameters
    ----------
    study : Study
    crop : BrainCrop
        Of the grid on which all logits are given; those of a network of another plan are brought to it.
    device : torch.device
        Where to begin.
    report : Reporter
    notify : callable
        Told a sentence when a run goes on differently than asked for.
    """

    def __init__(self, study: Study, crop: BrainCrop, device: torch.device, report: Reporter, notify: Notify) -> None:
        self.crop = crop
        self.report = report
        self.run_info: RunInfo | None = None
        self._stage_overlaps: list[list[float]] = []
        self.study, self._device, self._notify = study, device, notify
        self._prepared: dict[InputPlan, tuple[BrainCrop, Tensor]] = {}
        self._fits: dict[InputPlan, RunInfo] = {}

    def logits(
        self,
        model: Model,
        name: str,
        *,
        mirror: Sequence[int] = (),
        wrap: Wrap | None = None,
        change: Change | None = None,
    ) -> Tensor:
        """Logits of one pass.

        Parameters
        ----------
        model : Model
        name : str
            What to call the pass.
        mirror : sequence of int
            Axes along which the networks of all stages see the study mirrored.
        wrap : callable, optional
            Makes of the last stage's network what answers the tiles; by default it is the network itself.
        change : callable, optional
            Gives another image for the one ``(4, x, y, z)`` the networks would see.

        Returns
        -------
        Tensor of float32, shape (channels, *crop.shape)
            On the processor, on the axes of :attr:`crop`.

        Raises
        ------
        Cancelled, ModelError, DeviceError
            As :meth:`napari_uncseg.inference.predictor.Predictor.predict`.
        """
        self.report.begin_pass(name)
        plans = [InputPlan.from_plans(stage.plans) for stage in (model, model.previous_stage) if stage is not None]
        for known in [plan for plan in self._prepared if plan not in plans]:
            del self._prepared[known]  # images prepared for other plans do not stand in memory beside these
        crop, image = self._input(plans[0], change)
        if model.previous_stage is None:
            found = self._run(model, plans[0], image, Tiling(plans[0].patch_size), mirror, wrap)
        else:
            previous_crop, previous_image = self._input(plans[1], change)
            previous = self._run(model.previous_stage, plans[1], previous_image, Tiling(plans[1].patch_size), mirror)
            found = self._second_stage(model, plans[0], image, turned(previous, previous_crop, crop), mirror, wrap)
        with torch.inference_mode():
            return turned(resample(found, crop.shape), crop, self.crop)

    def _second_stage(
        self, model: Model, plan: InputPlan, image: Tensor, previous: Tensor, mirror: Sequence[int], wrap: Wrap | None
    ) -> Tensor:
        """Logits of both stages inside the second's box and of the previous one outside, on the second's grid."""
        assert model.previous_stage is not None
        logits = resample(previous, image.shape[1:])
        probabilities = resample(_probabilities(previous, model.previous_stage), image.shape[1:])
        box = (slice(None), *second_stage_box(probabilities[0].numpy(), plan.spacing, plan.patch_size))
        seen = torch.cat([image[box], probabilities[box]])
        tiling = Tiling(second_stage_tile(seen.shape[1:], plan.divisors), SECOND_STAGE_STEP)
        second = self._run(model, plan, seen, tiling, mirror, wrap)
        with torch.inference_mode():
            # Outside of the box there is nothing that one stage found and the other did not.
            pairs = zip(probabilities[box] > 0.5, _probabilities(second, model) > 0.5, strict=True)
            self._stage_overlaps.append([dice(one.numpy(), other.numpy()) for one, other in pairs])
            logits[box] = mean_of_stages(logits[box], second, plan.stage_weights)
        return logits

    @property
    def stage_overlap(self) -> Floats64 | None:
        """Dice between the stages of a cascade in WT, TC and ET, shape (3,): the mean over passes; None without one."""
        return np.mean(self._stage_overlaps, axis=0) if self._stage_overlaps else None

    def _run(
        self,
        model: Model,
        plan: InputPlan,
        image: Tensor,
        tiling: Tiling,
        mirror: Sequence[int],
        wrap: Wrap | None = None,
    ) -> Tensor:
        """Logits of one network on an image of its own grid, in the precision and the tiles that work."""
        known = self._fits.get(plan)

        def run(place: torch.device, tile: tuple[int, ...], precision: torch.dtype | None = None) -> Tensor:
            if precision is None:
                precision = known.precision if known is not None and known.device == place else precision_of(place)
            info = RunInfo(place, precision, tile)
            network = model.network.to(place).eval()
            with nullcontext(network) if wrap is None else wrap(network, info) as wrapped:
                seen_by = Mirrored(wrapped, mirror) if mirror else wrapped
                told: dict[str, Any] = {"progress": self.report.tiles, "cancelled": self.report.cancelled}
                there = image.to(place)
                logits = sliding_window_logits(
                    seen_by, there, tile, step=tiling.step, precision=precision, **told
                ).cpu()
            if bool(torch.isfinite(logits).all()):
                self._fits[plan] = self.run_info = info
                return logits
            if precision == torch.float32:
                what = f"The network of model {model.name} answered with numbers that are not finite"
                raise ModelError(f"{what}; its weights are damaged or it does not fit this study.")
            self._notify(f"The network's numbers went out of the range of {precision_name(precision)}; trying float32.")
            return run(place, tile, torch.float32)

        place = self._device if known is None else known.device
        # Where a smaller tile than planned had to do before, it does again.
        limits = tiling.tile if known is None or model.previous_stage is not None else known.tile
        sides = tuple(min(side, limit) for side, limit in zip(tiling.tile, limits, strict=True))
        return run_within_memory(run, place, sides, plan.divisors, self._notify)

    def _input(self, plan: InputPlan, change: Change | None) -> tuple[BrainCrop, Tensor]:
        if plan not in self._prepared:
            crop = brain_crop(self.study, plan)
            self._prepared[plan] = crop, network_input(self.study, plan, crop)
        crop, image = self._prepared[plan]
        return crop, image if change is None else change(image)


def _probabilities(logits: Tensor, model: Model) -> Tensor:
    """Probabilities of WT, TC and ET of one image, shape (3, x, y, z)."""
    return region_probabilities(split(logits[None], model.head)[0], model.head)[0]


def second_stage_box(
    whole_tumour: Floats32, spacing: Sequence[float], smallest: Sequence[int]
) -> tuple[slice, slice, slice]:
    """Box that the second stage segments.

    Parameters
    ----------
    whole_tumour : ndarray of float, shape (x, y, z)
        Probability of the previous stage on the second stage's grid, 0..1.
    spacing : sequence of float
        Voxel size of that grid in mm.
    smallest : sequence of int
        Voxels that the box has at least, as far as the grid goes.

    Returns
    -------
    tuple of slice
        Round all voxels of at least :data:`THRESHOLD`; round the likeliest voxel where there are none, so that a second
        look is taken at what was hardly seen.
    """
    found = bounding_box(whole_tumour >= THRESHOLD)
    if found is None:
        peak = np.unravel_index(int(whole_tumour.argmax()), whole_tumour.shape)
        found = tuple(slice(int(place), int(place) + 1) for place in peak)
    box = []
    for part, size, voxel, least in zip(found, whole_tumour.shape, spacing, smallest, strict=True):
        margin = math.ceil(MARGIN_MM / voxel)
        start, stop = part.start - margin, part.stop + margin
        short = max(0, least - (stop - start))
        start, stop = start - short // 2, stop + short - short // 2
        # At the edge of the grid the box moves inwards before it is cut.
        start, stop = max(0, min(start, size - (stop - start))), min(size, max(stop, stop - start))
        box.append(slice(start, min(size, stop)))
    return three(box)


def mean_of_stages(previous: Tensor, second: Tensor, weights: Sequence[float]) -> Tensor:
    """Logits of the weighted mean of what two stages of regions say.

    Parameters
    ----------
    previous, second : Tensor of float, shape (3 or 4, x, y, z)
        Logits of WT, TC, ET, and of the uncertainty of WT where the networks tell it.
    weights : sequence of float
        Share of the second stage in the probability of WT, TC and ET, 0..1; the uncertainty takes that of WT.

    Returns
    -------
    Tensor, as ``second``
        Just that where all shares are 1.
    """
    if min(weights) == 1:
        return second
    shares = torch.tensor([*weights, *weights[:1]])[: len(second), None, None, None]
    return torch.lerp(torch.sigmoid(previous), torch.sigmoid(second), shares).logit(eps=1e-6)


def second_stage_tile(shape: Sequence[int], divisors: Sequence[int]) -> tuple[int, int, int]:
    """Tile that covers a box in as few pieces as the longest side allows.

    Parameters
    ----------
    shape : sequence of int
        Voxels of the box.
    divisors : sequence of int
        What the sides of a tile must be multiples of.
    """
    sides = []
    for size, unit in zip(shape, divisors, strict=True):
        pieces = 1 if size <= LARGEST_SIDE else math.ceil((size - OVERLAP) / (LARGEST_SIDE - OVERLAP))
        sides.append(math.ceil((size + OVERLAP * (pieces - 1)) / pieces / unit) * unit)
    return three(sides)
