"""Time and memory of one prediction, and the network's part of it against nnU-Net's own predictor.

    python benchmarks/predict.py                                     # a made-up study of 240x240x155 voxels
    python benchmarks/predict.py --study FOLDER [--model FOLDER] [--members single] [--no-peer]

Ours is what ``uncseg predict`` does after its imports: read model and study, predict, save. Then one network, the
first stage of a cascade, sees the same prepared images in the same tiles three times: in our sliding window, in
nnU-Net's, and in nnU-Net's with the eight mirrored inputs that it uses by default. Processor time tells a slow
program from a busy machine.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STARTED = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from napari_uncseg.inference.device import precision_name, precision_of  # noqa: E402
from napari_uncseg.inference.predictor import Predictor  # noqa: E402
from napari_uncseg.inference.preprocessing import InputPlan, brain_crop, network_input  # noqa: E402
from napari_uncseg.inference.sliding_window import count_tiles, sliding_window_logits  # noqa: E402
from napari_uncseg.io.loading import load_study  # noqa: E402
from napari_uncseg.io.nifti import write_volume  # noqa: E402
from napari_uncseg.io.saving import save_prediction  # noqa: E402
from napari_uncseg.io.study import Study  # noqa: E402
from napari_uncseg.labels import MODALITIES, labels_from_regions  # noqa: E402
from napari_uncseg.models.heads import region_probabilities, split  # noqa: E402
from napari_uncseg.models.model import Model, load_model  # noqa: E402

TARGET_SECONDS = {torch.bfloat16: 5.0, torch.float32: 15.0}
TARGET_GB = 3.0
TARGET_FASTER = {"nnU-Net": 4.0, "nnU-Net, mirrored": 12.0}
TARGET_SAME = 0.999
SHAPE = (240, 240, 155)


class Clock:
    """Seconds of named steps, on the wall and of the processor."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Measure the block as ``step``."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[step] = time.perf_counter() - wall
        self.processor[step] = time.process_time() - processor
        print(f"{step:<16}{self.wall[step]:7.2f} s   {self.processor[step]:7.2f} s of the processor")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="folder of a study; a made-up one when left out")
    parser.add_argument("--model", type=Path, help="model folder; the bundled one when left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", default="single", help="as for uncseg predict")
    parser.add_argument("--no-peer", action="store_true", help="measure ours alone")
    options = parser.parse_args()
    clock = Clock()
    print(f"{'imports':<16}{time.perf_counter() - STARTED:7.2f} s   (not counted)")
    with tempfile.TemporaryDirectory() as folder:
        return measure(options, clock, Path(folder))


def measure(options: argparse.Namespace, clock: Clock, folder: Path) -> int:
    """Run ours and the peer, print what they took, and give 1 when a target was missed."""
    place = options.study if options.study is not None else write_made_up_study(folder / "made-up")
    before = peak_gb()
    with clock("read the model"):
        model = load_model(options.model)
    with clock("read the study"):
        study = load_study(place)
    with clock("predict"):
        prediction = Predictor(model, device=options.device).predict(study, ensemble=options.members)
    with clock("save"):
        save_prediction(prediction, folder / "out")
    seconds, gb = sum(clock.wall.values()), peak_gb()
    precision = precision_of(torch.device(options.device))
    target = TARGET_SECONDS.get(precision, TARGET_SECONDS[torch.float32])
    held = [seconds <= target, gb <= TARGET_GB]
    print(f"{'total':<16}{seconds:7.2f} s   target {target:.0f} s: {verdict(held[0])}")
    print(f"{'peak memory':<16}{gb:7.2f} GB  target {TARGET_GB:.0f} GB: {verdict(held[1])}, {before:.2f} before")
    print(f"study {study.id}, {'×'.join(map(str, study.shape))} voxels; ran on {prediction.provenance['run']}")
    if not options.no_peer:
        held += against_nnunet(model.previous_stage or model, study, torch.device(options.device), clock)
    return 0 if all(held) else 1


def against_nnunet(model: Model, study: Study, device: torch.device, clock: Clock) -> list[bool]:
    """One network on the same images and tiles, in our sliding window and in nnU-Net's: whether targets were held."""
    plan = InputPlan.from_plans(model.plans)
    crop = brain_crop(study, plan)
    image, precision = network_input(study, plan, crop), precision_of(device)
    network = model.network.to(device).eval()
    seen = image.to(device)
    sliding_window_logits(network, seen, plan.patch_size, precision=precision)  # the first pass chooses its kernels
    with clock("ours"):
        ours = sliding_window_logits(network, seen, plan.patch_size, precision=precision).cpu()
    print(f"one network, {count_tiles(crop.network_shape, plan.patch_size)} tiles, ours in {precision_name(precision)}")
    labels, held = labels_of(ours, model), []
    for name, target in TARGET_FASTER.items():
        predictor = nnunet_predictor(network, plan, model, device, mirrored="mirrored" in name)
        with clock(name):
            theirs = predictor.predict_sliding_window_return_logits(image)
        faster = clock.wall[name] / clock.wall["ours"]
        held.append(faster >= target)
        print(f"{name} / ours, wall time: {faster:.1f}, target {target:.0f}: {verdict(held[-1])}")
        if "mirrored" not in name:
            same = float((labels_of(theirs, model) == labels).mean())
            held.append(same >= TARGET_SAME)
            print(f"labels equal on {same:.3%} of voxels, target {TARGET_SAME:.1%}: {verdict(held[-1])}")
    return held


class Segmentation(nn.Module):
    """A network without its uncertainty channels, as nnU-Net knows it."""

    def __init__(self, network: nn.Module, model: Model) -> None:
        super().__init__()
        self.network, self.head = network, model.head

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, x, y, z)`` to logits of segmentation."""
        return split(self.network(x), self.head)[0].contiguous()


def nnunet_predictor(network: nn.Module, plan: InputPlan, model: Model, device: torch.device, *, mirrored: bool) -> Any:
    """nnU-Net's predictor of that network."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirrored, device=device, allow_tqdm=False)
    predictor.network = Segmentation(network, model)
    predictor.configuration_manager = SimpleNamespace(patch_size=plan.patch_size)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=model.head.channels)
    predictor.allowed_mirroring_axes = (0, 1, 2)
    return predictor


def labels_of(logits: Tensor, model: Model) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Labels of logits (channels, x, y, z), with uncertainty channels or without."""
    regions = logits[None, : model.head.channels].float()
    return labels_from_regions(region_probabilities(regions, model.head)[0].numpy())


def write_made_up_study(folder: Path) -> Path:
    """A brain-sized ellipsoid with a bright ball in it, on disk as BraTS studies are."""
    axes = [np.linspace(-1, 1, size, dtype=np.float32) for size in SHAPE]
    x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]
    brain = (x / 0.58) ** 2 + (y / 0.73) ** 2 + (z / 0.9) ** 2 < 1
    tumour = (x - 0.2) ** 2 + (y - 0.1) ** 2 + (z * SHAPE[2] / SHAPE[0]) ** 2 < 0.2**2
    generator = np.random.default_rng(0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for modality in MODALITIES:
        image = (generator.normal(300, 40, SHAPE) + 200 * tumour) * brain
        write_volume(folder / f"made-up-{modality}.nii.gz", image.astype(np.int16), affine)
    write_volume(folder / "made-up-seg.nii.gz", (2 * tumour).astype(np.uint8), affine)
    return folder


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def verdict(held: bool) -> str:
    return "held" if held else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
