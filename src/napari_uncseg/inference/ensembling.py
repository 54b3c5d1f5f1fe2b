"""Members of a prediction: what each says, one after the other, never all at once.

Tiles of one pass are merged on logits, members on probabilities. Work that passes share is done once where that changes
nothing: the images are prepared once, tiles are encoded once when dropout works only in the decoder, and samples of
Gaussian logits take a single pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.dropout import SharedEncoder, can_share, dropout_layers, dropping, generator_of
from napari_uncseg.inference.ensemble_spec import Kind, Members
from napari_uncseg.inference.forward_pass import StudyRunner
from napari_uncseg.inference.logit_sampling import check_gaussian, sample_probabilities
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.models.heads import Head, region_probabilities, split
from napari_uncseg.models.identity import joint_sha256
from napari_uncseg.models.model import Model, load_model, load_snapshot

FLIP_AXES: tuple[tuple[int, ...], ...] = tuple(axes for size in range(4) for axes in combinations(range(3), size))
"""Axes along which a volume is mirrored: none, then each, then two, then all three."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one member says of a study, in the brain's box and on the processor.

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


@dataclass(frozen=True, eq=False)
class LineUp:
    """Members that are checked and ready to run.

    Parameters
    ----------
    members : Members
        With their count.
    model : dict
        What a result says of its model: ``name`` and ``sha256``, and of an ensemble every network's.
    plan : InputPlan
        Of the grid on which the members meet.
    answers : callable
        Runs the members on a study, one by one.
    details : dict
        What a result says of the members besides.
    """

    members: Members
    model: Mapping[str, Any]
    plan: InputPlan
    answers: Callable[[StudyRunner], Iterator[Answer]]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of members."""
        return self.members.count or 1


def line_up(members: Members, model: Model) -> LineUp:
    """Make members ready to run.

    Parameters
    ----------
    members : Members
    model : Model
        Whose members they are; an ensemble is made of the folders it names instead.

    Raises
    ------
    ModelError
        When the model cannot have such members, or a folder of an ensemble is no model.
    """
    if members.kind is Kind.ENSEMBLE:
        return _ensemble(members)
    check_head(model)
    members = members.resolved(model.snapshots)
    identity = {"name": model.name, "sha256": model.sha256}
    details: dict[str, Any] = {}
    match members.kind:
        case Kind.SNAPSHOTS:
            if not 1 < (members.count or 0) <= model.snapshots:
                held = "one network" if model.snapshots == 1 else f"{model.snapshots} snapshots"
                raise ModelError(
                    f"Model {model.name} holds {held}, so {members} cannot be had; choose other members, such as tta:8."
                )
            run = _snapshots
        case Kind.MC_DROPOUT | Kind.DROPOUT_INJECTION:
            layers = dropout_layers(model.network, members, model.name)
            details = {"dropped_layers": len(layers), "p": sorted({p for _, p in layers})}
            run = _dropout
        case Kind.LOGIT_SAMPLING:
            check_gaussian(model)
            run = _samples
        case Kind.TTA:
            run = _flips
        case _:
            run = _single
    plan = InputPlan.from_plans(model.plans)
    return LineUp(members, identity, plan, lambda runner: run(members, model, runner), details)


def check_head(model: Model) -> None:
    """Refuse a model whose plans name a head that nobody here can read."""
    try:
        Head(model.head)
    except ValueError as error:
        raise ModelError(f"The model's plans.json names an unknown head ({error}).") from error


def _single(members: Members, model: Model, runner: StudyRunner) -> Iterator[Answer]:
    yield _answer("one pass", runner.logits(model, "one pass"), model)


def _flips(members: Members, model: Model, runner: StudyRunner) -> Iterator[Answer]:
    for number in range(members.count or 0):
        axes = FLIP_AXES[number % len(FLIP_AXES)]
        name = "as it is" if not axes else f"flip {''.join('xyz'[axis] for axis in axes)}"
        noise = members.noise if number else 0.0  # the first member is the plain pass
        if noise:
            name += " + noise"

        def noisy(image: Tensor, noise: float = noise, number: int = number) -> Tensor:
            generator = generator_of("noise", members.seed, number)
            # What is exactly 0 lies outside the brain, where the network never saw noise.
            return image + noise * torch.randn(image.shape, generator=generator) * (image != 0)

        @contextmanager
        def mirrored(network: nn.Module, _: object, axes: tuple[int, ...] = axes) -> Iterator[nn.Module]:
            yield Mirrored(network, axes) if axes else network

        yield _answer(name, runner.logits(model, name, ready=mirrored, change=noisy if noise else None), model)


class Mirrored(nn.Module):
    """A network that sees each tile mirrored, and whose answer is mirrored back.

    Parameters
    ----------
    network : nn.Module
    axes : tuple of int
        Of x, y and z.
    """

    def __init__(self, network: nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self._dims = [2 + axis for axis in axes]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, modalities, x, y, z)`` to logits."""
        answer = self.network(x.flip(self._dims))
        return answer.flip(self._dims) if isinstance(answer, Tensor) else answer


def _dropout(members: Members, model: Model, runner: StudyRunner) -> Iterator[Answer]:
    layers = dropout_layers(model.network, members, model.name)
    shared = SharedEncoder(model.network) if can_share(model.network, layers) else None  # type: ignore[arg-type]
    for number in range(members.count or 0):
        name = f"pass {number + 1}"

        @contextmanager
        def dropped(network: nn.Module, ran: object, number: int = number) -> Iterator[nn.Module]:
            with ExitStack() as stack:
                stack.enter_context(dropping(layers, members.seed, number))
                if shared is not None:
                    shared.begin(ran)
                yield network if shared is None else shared

        yield _answer(name, runner.logits(model, name, ready=dropped), model)


def _snapshots(members: Members, model: Model, runner: StudyRunner) -> Iterator[Answer]:
    last = model.snapshots
    for number in range(last, last - (members.count or 0), -1):  # the last of the run, which is the best, first
        name = f"snapshot {number}"
        snapshot = load_snapshot(model, number)
        yield _answer(name, runner.logits(snapshot, name), snapshot)


def _ensemble(members: Members) -> LineUp:
    known: list[dict[str, Any]] = []
    plan: InputPlan | None = None
    for folder in members.folders:
        model = load_model(folder)
        check_head(model)
        plan = plan or InputPlan.from_plans(model.plans)
        known.append({"name": model.name, "sha256": model.sha256})
    assert plan is not None  # an ensemble has at least two folders
    digest = joint_sha256(entry["sha256"] for entry in known)
    name = f"ensemble of {len(known)}: {', '.join(entry['name'] for entry in known)}"

    def answers(runner: StudyRunner) -> Iterator[Answer]:
        for number, (folder, entry) in enumerate(zip(members.folders, known, strict=True), start=1):
            model = load_model(folder)  # one network in memory at a time
            if model.sha256 != entry["sha256"]:
                raise ModelError(f"Model folder {folder} was changed while it was in use; start the run again.")
            title = f"network {number}"
            yield _answer(title, runner.logits(model, title), model)

    return LineUp(members, {"name": name, "sha256": digest, "networks": known}, plan, answers)


def _samples(members: Members, model: Model, runner: StudyRunner) -> Iterator[Answer]:
    logits = runner.logits(model, "one pass")
    for number in range(members.count or 0):
        with torch.inference_mode():
            segmentation, unc_output = _split(logits, model)
            probabilities = sample_probabilities(segmentation, generator_of("logits", members.seed, number))
        yield Answer(f"sample {number + 1}", probabilities, unc_output)
        runner.report.check()


def _answer(name: str, logits: Tensor, model: Model) -> Answer:
    """What logits ``(channels, x, y, z)`` say."""
    with torch.inference_mode():
        segmentation, unc_output = _split(logits, model)
        return Answer(name, region_probabilities(segmentation[None], model.head)[0].contiguous(), unc_output)


def _split(logits: Tensor, model: Model) -> tuple[Tensor, Tensor | None]:
    """Segmentation logits, and the sigmoid of the uncertainty channels if there are any."""
    try:
        segmentation, uncertainty = split(logits[None], model.head)
    except ValueError as error:
        raise ModelError(f"The network of model {model.name} does not fit its plans: {error}.") from error
    return segmentation[0], None if uncertainty is None else torch.sigmoid(uncertainty[0])
