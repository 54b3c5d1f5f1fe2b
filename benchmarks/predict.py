"""Time and memory of one prediction, against the same network without this package's short cuts.

    python benchmarks/predict.py                                     # a made-up study of 240x240x155 voxels
    python benchmarks/predict.py --study FOLDER [--model FOLDER] [--no-peer]

Ours is what ``uncseg predict`` does after its imports: read model and study, predict, save. The peer, run after it in
the same process, is the same network in float32 on the whole field of view: no brain crop, no half precision, with the
same tiles and the same maps; it neither reads nor saves, so the ratio compares the predictions alone. Processor time
tells a slow program from a busy machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTED = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from napari_uncseg.inference.predictor import Predictor  # noqa: E402
from napari_uncseg.inference.preprocessing import InputPlan, frame_of, network_input, on_crop  # noqa: E402
from napari_uncseg.inference.sliding_window import count_tiles, predict_logits  # noqa: E402
from napari_uncseg.io.loading import load_study  # noqa: E402
from napari_uncseg.io.nifti import write_volume  # noqa: E402
from napari_uncseg.io.saving import save_prediction  # noqa: E402
from napari_uncseg.io.study import Study  # noqa: E402
from napari_uncseg.labels import MODALITIES  # noqa: E402
from napari_uncseg.models.heads import region_probabilities, split  # noqa: E402
from napari_uncseg.models.model import Model, load_model  # noqa: E402
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy  # noqa: E402

TARGET_SECONDS = 15.0
TARGET_GB = 4.0
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
        prediction = Predictor(model, device=options.device).predict(study)
    with clock("save"):
        save_prediction(prediction, folder / "out")
    seconds, gb = sum(clock.wall.values()), peak_gb()
    print(f"{'total':<16}{seconds:7.2f} s   target {TARGET_SECONDS:.0f} s: {verdict(seconds <= TARGET_SECONDS)}")
    print(
        f"{'peak memory':<16}{gb:7.2f} GB  target {TARGET_GB:.0f} GB: {verdict(gb <= TARGET_GB)}, {before:.2f} before"
    )
    print(f"study {study.id}, {'×'.join(map(str, study.shape))} voxels; ran on {prediction.provenance['run']}")
    if not options.no_peer:
        with clock("peer"):
            tiles = run_peer(model, study)
        print(f"the peer computed float32 on the whole field of view, {tiles} tiles")
        for name, taken in (("wall", clock.wall), ("processor", clock.processor)):
            print(f"peer / ours, predictions alone, {name} time: {taken['peer'] / taken['predict']:.1f}")
    return 0 if seconds <= TARGET_SECONDS and gb <= TARGET_GB else 1


def run_peer(model: Model, study: Study) -> int:
    """The same network and maps over the whole field of view in float32; gives the number of tiles."""
    whole = dataclasses.replace(study, brain=np.ones(study.shape, dtype=bool))
    plan = InputPlan.from_plans(model.plans)
    frame = frame_of(whole, plan)
    image = network_input(whole, plan, frame)
    logits = predict_logits(model.network.cpu().eval(), image, plan.patch_size)
    with torch.inference_mode():
        regions, uncertainty = split(on_crop(logits, frame)[None], model.head)
        probabilities = region_probabilities(regions, model.head)[0]
        maps = [entropy(probabilities[0]), bernoulli_variance(probabilities[0])]
        if uncertainty is not None:
            maps.append(torch.sigmoid(uncertainty))
    return count_tiles(frame.shape, plan.patch_size)


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
