"""Time and memory of every kind of members, as multiples of one pass.

    python benchmarks/members.py                                     # a made-up study of 240x240x155 voxels
    python benchmarks/members.py --study FOLDER [--threads 1] [--only "mc_dropout:20,p=0.2"]

Each kind predicts the study in a process of its own, so that peak memory is its own. Time is that of the prediction
alone, after imports and reading. One pass is measured before every kind and at the end, for a machine is not equally
busy all the time, and the median counts; processor time, which decides, tells a slow method from a busy machine. The
network is the bundled one. Where a kind needs another (dropout layers, Gaussian logits, folders of an ensemble), it is
made of the bundled one: the same architecture with these layers, and its weights wherever they fit. Its answers mean
nothing, and its cost is that of a trained one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

SINGLE = "single"
MC_DROPOUT = "mc_dropout:20,p=0.2"
ENSEMBLE = "ensemble of 5"
KINDS = ("tta:8", "snapshots", ENSEMBLE, MC_DROPOUT, "dropout_injection:20", "logit_sampling:20")
TARGET_TIME, TARGET_MEMORY = 20.0, 1.3
"""Largest multiples of one pass that 20 passes with dropout may take."""


@dataclass(frozen=True)
class Cost:
    """What a prediction took: seconds on the wall and of the processor, and the peak memory of its process in GB."""

    wall: float
    processor: float
    memory: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="folder of a study; a made-up one when left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="append", choices=KINDS, help="which kinds; all when left out")
    # What a process of its own is told: the folder of what was prepared, and what to do there.
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind is not None:
        print(json.dumps(vars(measure(options.kind, options.study, options.folder, options.threads))))
        return 0
    if options.folder is not None:
        prepare(options.folder, made_up=options.study is None)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> int:
    """Measure kind after kind, print a table, and give 1 when a target was missed.

    This process stays small: on Linux the peak memory of a new one begins at that of the process that started it.
    """
    words = [sys.executable, __file__, "--folder", str(folder), "--threads", str(options.threads)]
    given = [] if options.study is None else ["--study", str(options.study)]
    subprocess.run([*words, *given], check=True)
    words += given or ["--study", str(folder / "made-up")]
    print(
        f"study {words[-1] if given else 'made up'}, {options.threads} threads, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    kinds = options.only or KINDS
    found: dict[str, Cost] = {}
    passes: list[Cost] = []
    for kind in kinds:
        passes.append(spawn(words, SINGLE))
        found[kind] = spawn(words, kind)
    passes.append(spawn(words, SINGLE))
    one = Cost(*(statistics.median(values) for values in zip(*(astuple(cost) for cost in passes), strict=True)))
    print(f"{'members':<24}{'wall s':>9}{'cpu s':>9}{'peak GB':>9}{'× wall':>9}{'× cpu':>8}{'× peak':>8}")
    for kind, cost in {SINGLE: one, **found}.items():
        print(
            f"{kind:<24}{cost.wall:>9.2f}{cost.processor:>9.2f}{cost.memory:>9.2f}{cost.wall / one.wall:>9.2f}"
            f"{cost.processor / one.processor:>8.2f}{cost.memory / one.memory:>8.2f}"
        )
    for name, values in (("wall", [c.wall for c in passes]), ("processor", [c.processor for c in passes])):
        print(f"{len(passes)} single passes, {name}: {min(values):.2f} to {max(values):.2f} s")
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return judge(found[MC_DROPOUT], one) if MC_DROPOUT in found else 0


def spawn(words: list[str], kind: str) -> Cost:
    """Measure in a new process."""
    answer = subprocess.run([*words, "--kind", kind], check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(**json.loads(answer))


def judge(cost: Cost, one: Cost) -> int:
    """Say whether 20 passes with dropout keep to the targets; 1 when they do not."""
    time, memory = cost.processor / one.processor, cost.memory / one.memory
    for name, value, target in (("processor time", time, TARGET_TIME), ("peak memory", memory, TARGET_MEMORY)):
        held = "held" if value <= target else "MISSED"
        print(f"{MC_DROPOUT}: {name} {value:.2f} times that of one pass, target {target:g}: {held}")
    return 0 if time <= TARGET_TIME and memory <= TARGET_MEMORY else 1


def prepare(folder: Path, *, made_up: bool) -> None:
    """Write the study, if it is to be made up, and the models that are made of the bundled one."""
    from napari_uncseg.models.model import load_model, load_snapshot, save_model
    from predict import write_made_up_study

    if made_up:
        write_made_up_study(folder / "made-up")
    bundled = load_model()
    for number in range(1, bundled.snapshots + 1):
        save_model(load_snapshot(bundled, number), folder / f"network-{number}", half=True)
    dropout: dict[str, object] = {"dropout_op": "torch.nn.modules.dropout.Dropout3d", "dropout_op_kwargs": {"p": 0.2}}
    write_like_bundled(folder / "dropout", arch=dropout)
    write_like_bundled(folder / "gaussian", head="regions_gaussian")


def write_like_bundled(folder: Path, *, arch: dict[str, object] | None = None, head: str = "regions") -> None:
    """A model of the bundled one's plans with other layers or another head, and its weights wherever they fit."""
    from copy import deepcopy

    import torch

    from napari_uncseg.labels import MODALITIES
    from napari_uncseg.models.model import Model, load_model, output_channels, save_model
    from napari_uncseg.models.unet import build_network

    bundled = load_model()
    plans = deepcopy(bundled.plans)
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= arch or {}
    plans["uncseg"]["head"] = head
    torch.manual_seed(0)
    network = build_network(plans, len(MODALITIES), output_channels(plans))
    own = network.state_dict()
    # all_modules is a second name of the same layers, under which dropout moves them on by one.
    fitting = {
        name: weights
        for name, weights in bundled.network.state_dict().items()
        if ".all_modules." not in name and name in own and own[name].shape == weights.shape
    }
    network.load_state_dict(fitting, strict=False)
    save_model(Model(network, plans, name=folder.name), folder)


def measure(kind: str, study: Path, folder: Path, threads: int) -> Cost:
    """Predict a study with members, and tell what it took."""
    from time import perf_counter, process_time

    import torch

    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.models.model import load_model
    from predict import peak_gb

    torch.set_num_threads(threads)
    own = {MC_DROPOUT: folder / "dropout", "logit_sampling:20": folder / "gaussian"}
    networks = sorted(folder.glob("network-*"))
    words = f"ensemble:{','.join(map(str, networks))}" if kind == ENSEMBLE else kind
    predictor = Predictor(load_model(own.get(kind)), device="cpu")
    loaded = load_study(study)
    wall, processor = perf_counter(), process_time()
    predictor.predict(loaded, ensemble=words)
    return Cost(perf_counter() - wall, process_time() - processor, peak_gb())


if __name__ == "__main__":
    sys.exit(main())
