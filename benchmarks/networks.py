"""What the networks that can be trained cost, beside the bundled U-Net.

    python benchmarks/networks.py                       # the sample study, random weights, on two threads
    python benchmarks/networks.py --study FOLDER --threads 4 [--arch segresnet --arch unet_res]

Each network is that of ``uncseg-train fit --config phantom --arch ...`` with random weights, run by the predictor on
one study with the tiles and the precision that the plugin takes. Answers of random weights mean nothing, and their
cost is that of trained ones. The ratio is to the bundled network in the same process; processor time tells a slow
network from a busy machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from napari_uncseg._plugin.sample_data import phantom_folder
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.study import Study
from napari_uncseg.models.model import Model, load_model
from uncseg_training.train.architectures import ARCHES
from uncseg_training.train.config import read_config
from uncseg_training.train.state import Training


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="folder of a study; the sample study when left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arch", action="append", choices=ARCHES, help="which networks; all when left out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study = load_study(options.study or phantom_folder())
    print(f"study {study.id}, {'×'.join(map(str, study.shape))} voxels, {options.threads} threads")
    print(f"{'network':<24}{'parameters':>12}{'tile':>14}{'wall s':>9}{'cpu s':>9}{'ratio':>8}")
    bundled = measure("bundled U-Net", load_model(), study, None)
    for arch in options.arch or ARCHES:
        measure(arch, untrained(arch), study, bundled)
    for head in ("regions_gaussian", "regions_auxiliary"):
        measure(f"unet, {head}", untrained("unet", head), study, bundled)
    return 0


def untrained(arch: str, head: str = "regions") -> Model:
    """The network of a configuration as a training begins with it."""
    return Training.fresh(read_config("phantom", start="", head=head).with_arch(arch)).model()


def measure(name: str, model: Model, study: Study, beside: float | None) -> float:
    """Predict twice and print the quicker one; gives its processor seconds."""
    predictor = Predictor(model, device="cpu")
    taken = []
    for _ in range(2):
        wall, processor = time.perf_counter(), time.process_time()
        predictor.predict(study)
        taken.append((time.process_time() - processor, time.perf_counter() - wall))
    processor, wall = min(taken)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    tile = "×".join(map(str, model.patch_size))
    ratio = "1.0" if beside is None else f"{processor / beside:.1f}"
    print(f"{name:<24}{parameters / 1e6:>10.2f} M{tile:>14}{wall:>9.2f}{processor:>9.2f}{ratio:>8}", flush=True)
    return processor


if __name__ == "__main__":
    sys.exit(main())
