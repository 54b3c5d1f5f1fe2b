"""Ensembling methods: each gives the outputs of its members for a study, one after the other, never all at once.

Tiles of one pass are merged on logits, members on probabilities. Work that passes share is done once where that changes
nothing: the images are prepared once, tiles are encoded once when dropout works only in the decoder, and samples of
Gaussian logits take a single pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.dropout import SharedEncoder, can_share, dropout_layers, dropping, generator_of
from napari_uncseg.inference.ensemble_spec import EnsembleSpec, Kind
from napari_uncseg.inference.forward_pass import ForwardPass, RunInfo
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.models.heads import Head, region_probabilities, split
from napari_uncseg.models.identity import joint_sha256
from napari_uncseg.models.model import Model, load_model, load_snapshot

FLIP_AXES: tuple[tuple[int, ...], ...] = tuple(axes for size in range(4) for axes in combinations(range(3), size))
"""Axes along which a volume is mirrored: none, then each, then two, then all three."""


@dataclass(frozen=True, eq=False)
class MemberOutput:
    """What one member gives for a study, in the brain's box and on the processor.

    Parameters
    ----------
    name : str
        Which member.
    probabilities : Tensor of float32, shape (3, x, y, z)
        WT, TC, ET in 0..1.
    unc_output : Tensor of float32, shape (1 or 3, x, y, z), or None
        Of WT, or of WT, TC and ET; in 0..1, not masked. None where the network has no uncertainty channel.
    """

    name: str
    probabilities: Tensor
    unc_output: Tensor | None


class EnsemblePlan(ABC):
    """An ensembling method of a model, checked and ready to run.

    Parameters
    ----------
    spec : EnsembleSpec
        With its count.
    model : Model
        Whose members they are.

    Attributes
    ----------
    identity : dict
        What a result says of its model: ``name`` and ``sha256``, and of an ensemble every network's.
    input_plan : InputPlan
        Of the grid on which the members meet.
    details : dict
        What a result says of the members besides.
    """

    def __init__(self, spec: EnsembleSpec, model: Model) -> None:
        self.spec, self.model, self.head = spec, model, model.head
        self.identity: Mapping[str, Any] = {"name": model.name, "sha256": model.sha256}
        self.input_plan = InputPlan.from_plans(model.plans)
        self.details: Mapping[str, Any] = {}

    @property
    def count(self) -> int:
        """Number of members."""
        return self.spec.count or 1

    @abstractmethod
    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Run the members on a study, one by one."""


class Single(EnsemblePlan):
    """One pass of the network as it is."""

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """The one member."""
        yield run_member(forward, self.model, "one pass")


class TestTimeAugmentation(EnsemblePlan):
    """Mirrored inputs, with noise added where that is asked for; the first member is the plain pass."""

    __test__ = False  # for pytest, which takes the name for a test's

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Each mirrored input in the order of :data:`FLIP_AXES`."""
        for number in range(self.count):
            axes = FLIP_AXES[number % len(FLIP_AXES)]
            noise = self.spec.noise if number else 0.0
            name = f"flip {''.join('xyz'[axis] for axis in axes)}" if axes else "as it is"
            name += " + noise" * bool(noise)

            def noisy(image: Tensor, noise: float = noise, number: int = number) -> Tensor:
                generator = generator_of("noise", self.spec.seed, number)
                # What is exactly 0 lies outside the brain, where the network never saw noise.
                return image + noise * torch.randn(image.shape, generator=generator) * (image != 0)

            yield run_member(forward, self.model, name, mirror=axes, change=noisy if noise else None)


class Dropout(EnsemblePlan):
    """Dropout at inference: the network's own (MC dropout), or injected into one that was trained without."""

    def __init__(self, spec: EnsembleSpec, model: Model) -> None:
        super().__init__(spec, model)
        self._layers = dropout_layers(model.network, spec, model.name)
        self.details = {"dropped_layers": len(self._layers), "p": sorted({p for _, p in self._layers})}

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Each pass with channels dropped that belong to its number."""
        network = self.model.network
        shared = SharedEncoder(network) if can_share(network, self._layers) else None  # type: ignore[arg-type]
        for number in range(self.count):

            @contextmanager
            def dropped(network: nn.Module, info: RunInfo, number: int = number) -> Iterator[nn.Module]:
                with dropping(self._layers, self.spec.seed, number):
                    if shared is not None:
                        shared.begin(info)
                    yield network if shared is None else shared

            yield run_member(forward, self.model, f"pass {number + 1}", wrap=dropped)


class Snapshots(EnsemblePlan):
    """Networks of one training at several moments; the last of the run, which is the best, comes first."""

    def __init__(self, spec: EnsembleSpec, model: Model) -> None:
        super().__init__(spec.resolved(model.snapshots), model)
        if not 1 < self.count <= model.snapshots:
            what = f"Model {model.name} holds {model.snapshots} network(s), so {self.spec} is not available"
            raise ModelError(f"{what}; choose another method (tta:8).")

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Each snapshot, the latest first."""
        for number in range(self.model.snapshots, self.model.snapshots - self.count, -1):
            yield run_member(forward, load_snapshot(self.model, number), f"snapshot {number}")


class LogitSampling(EnsemblePlan):
    """Samples of the Gaussian logits of one pass."""

    def __init__(self, spec: EnsembleSpec, model: Model) -> None:
        super().__init__(spec, model)
        if self.head is not Head.REGIONS_GAUSSIAN:
            raise ModelError(f"Model {model.name} has no log-variance channels to sample; choose others, as tta:8.")

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Each sample of the same logits."""
        logits = forward.logits(self.model, "one pass")
        for number in range(self.count):
            with torch.inference_mode():
                segmentation, unc_output = _split(logits, self.model)
                probabilities = sample_probabilities(segmentation, generator_of("logits", self.spec.seed, number))
            yield MemberOutput(f"sample {number + 1}", probabilities, unc_output)
            forward.report.check()


class DeepEnsemble(EnsemblePlan):
    """Networks of several model folders; they are read again when they run, one in memory at a time."""

    def __init__(self, spec: EnsembleSpec) -> None:
        networks: list[Mapping[str, Any]] = []
        for folder in reversed(spec.folders):  # each is checked, and the first one stays
            super().__init__(spec, load_model(folder))
            networks.insert(0, self.identity)
        name = f"ensemble of {len(networks)}: {', '.join(network['name'] for network in networks)}"
        digest = joint_sha256(network["sha256"] for network in networks)
        self.identity = {"name": name, "sha256": digest, "networks": networks}

    def outputs(self, forward: ForwardPass) -> Iterator[MemberOutput]:
        """Each network, in the order of the folders."""
        for number, folder in enumerate(self.spec.folders):
            model = load_model(folder)
            if model.sha256 != self.identity["networks"][number]["sha256"]:
                raise ModelError(f"Model folder {folder} was changed while it was in use; start the run again.")
            yield run_member(forward, model, f"network {number + 1}")


_METHODS: Mapping[Kind, type[EnsemblePlan]] = {
    Kind.SINGLE: Single,
    Kind.TTA: TestTimeAugmentation,
    Kind.MC_DROPOUT: Dropout,
    Kind.DROPOUT_INJECTION: Dropout,
    Kind.SNAPSHOTS: Snapshots,
    Kind.LOGIT_SAMPLING: LogitSampling,
}


def plan_ensemble(spec: EnsembleSpec, model: Model) -> EnsemblePlan:
    """Make an ensembling method ready to run.

    Parameters
    ----------
    spec : EnsembleSpec
    model : Model
        Whose members they are; an ensemble is made of the folders it names instead.

    Raises
    ------
    ModelError
        When the model cannot have such members, or a folder of an ensemble is no model.
    """
    return DeepEnsemble(spec) if spec.kind is Kind.ENSEMBLE else _METHODS[spec.kind](spec, model)


def run_member(forward: ForwardPass, model: Model, name: str, **how: Any) -> MemberOutput:
    """Probabilities and uncertainty of one pass, called so; what else is told goes to :meth:`ForwardPass.logits`."""
    logits = forward.logits(model, name, **how)
    with torch.inference_mode():
        segmentation, unc_output = _split(logits, model)
        return MemberOutput(name, region_probabilities(segmentation[None], model.head)[0].contiguous(), unc_output)


def _split(logits: Tensor, model: Model) -> tuple[Tensor, Tensor | None]:
    """Segmentation logits, and the sigmoid of the uncertainty channels if there are any."""
    try:
        segmentation, uncertainty = split(logits[None], model.head)
    except ValueError as error:
        raise ModelError(f"The network of model {model.name} does not fit its plans: {error}.") from error
    return segmentation[0], None if uncertainty is None else torch.sigmoid(uncertainty[0])


def sample_probabilities(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Probabilities of one sample of the logits, ``sigmoid(mu + sigma eps)``.

    Parameters
    ----------
    logits : Tensor of float32, shape (6, ...)
        Means of WT, TC, ET, then ln of their variances.
    generator : torch.Generator
        On the processor.

    Returns
    -------
    Tensor of float32, shape (3, ...)
        In 0..1.

    References
    ----------
    Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer vision?", NeurIPS 2017;
    Nair et al., "Exploring uncertainty measures in deep networks for multiple sclerosis lesion detection and
    segmentation", Medical Image Analysis 59 (2020).
    """
    mean, log_variance = logits[:3], logits[3:]
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    return torch.sigmoid(mean + torch.exp(log_variance / 2) * noise)
