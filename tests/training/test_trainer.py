"""The light trainer: losses by hand, exact resume, a model folder at the end."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from napari_uncseg.errors import SaveError
from napari_uncseg.inference import device as device_module
from napari_uncseg.models.model import load_model, load_snapshot
from napari_uncseg.models.unet import output_layer
from tests.training.conftest import assert_same_bits, fit_in_pieces, refused, uncseg_train
from uncseg_training.data.patches import Indices, Patches, augment
from uncseg_training.train import trainer
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.curves import draw_curves, read_log
from uncseg_training.train.export import export_run
from uncseg_training.train.losses import failure_loss
from uncseg_training.train.progress import reporter
from uncseg_training.train.schedule import cycles, learning_rate
from uncseg_training.train.state import Training, save_state
from uncseg_training.train.trainer import fit


def test_failure_loss_targets_the_xor_and_leaves_the_segmentation_alone() -> None:
    regions = torch.zeros(1, 3, 9, 9, 9)
    regions[0, 0, 4, 4, 4] = 1
    logits = torch.full((1, 3, 9, 9, 9), -1.0, requires_grad=True)
    with torch.no_grad():
        logits[0, 0, 4, 4, 5] = 1
    failure = torch.zeros(1, 1, 9, 9, 9)
    failure[0, 0, 4, 4, 4] = failure[0, 0, 4, 4, 5] = 1
    right = failure_loss((failure - 0.5) * 40, logits, regions)
    wrong = failure_loss((0.5 - failure) * 40, logits, regions)
    assert float(right) < 1e-6
    assert float(wrong) == pytest.approx(20, abs=1e-4)
    doubt = torch.zeros(1, 1, 9, 9, 9, requires_grad=True)
    assert torch.autograd.grad(failure_loss(doubt, logits, regions), logits, allow_unused=True) == (None,)


def test_failure_loss_weighs_the_neighbourhood() -> None:
    regions = torch.zeros(1, 3, 21, 1, 1)
    regions[0, 0, 10] = 1
    logits = torch.full((1, 3, 21, 1, 1), -1.0)
    doubt = torch.full((1, 1, 21, 1, 1), -30.0)
    doubt[0, 0, 0] = 2.0
    # A false alarm of softplus(2) at weight 0.05, a miss of 30 at weight 1, over 7 near and 14 far voxels.
    expected = (0.05 * math.log1p(math.exp(2)) + 30) / (7 + 14 * 0.05)
    assert float(failure_loss(doubt, logits, regions, dilation=3)) == pytest.approx(expected, rel=1e-5)


def test_learning_rate_warms_up_stays_and_decays() -> None:
    config = Config(steps=100, warmup=10, decay=0.5, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 30) == 1.0
    assert learning_rate(config, 75) == pytest.approx(0.5)
    assert learning_rate(config, 99) == pytest.approx(0.02)


def test_learning_rate_starts_again_for_each_snapshot() -> None:
    config = Config(steps=100, warmup=1, decay=0.4, learning_rate=1.0, snapshots=3, cycle=0.1, restart=0.5)
    assert cycles(config) == [80, 90, 100]
    assert learning_rate(config, 79) == pytest.approx(1 / 40)
    assert [learning_rate(config, step) for step in (80, 85, 90, 99)] == pytest.approx([0.5, 0.25, 0.5, 0.05])


def test_processes_share_no_sample() -> None:
    taken = [list(Indices(3, 5, batch=2, rank=rank, world=3)) for rank in range(3)]
    assert sorted(index for part in taken for index in part) == list(range(18, 30))
    assert taken[1] == [20, 21, 26, 27]


def test_augmentation_keeps_the_outside_and_loses_a_modality_now_and_then() -> None:
    images = torch.randn(4, 8, 8, 8)
    images[:, :2] = 0
    lost = 0
    for seed in range(200):
        shaken = augment(images, np.random.default_rng(seed))
        assert float(shaken[:, :2].abs().max()) == 0
        lost += sum(float(channel.abs().max()) == 0 for channel in shaken)
    assert 2 <= lost <= 25


def test_interrupted_training_ends_with_the_same_bits(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke")
    whole = fit(anatomies, tmp_path / "whole", config)
    cut = fit_in_pieces(anatomies, tmp_path / "cut", config)
    assert_same_bits(whole.network.state_dict(), cut.network.state_dict())
    assert_same_bits(whole.averaged.state_dict(), cut.averaged.state_dict())
    lines = read_log(tmp_path / "whole")
    assert [line["step"] for line in lines if "validation" in line] == [6]
    snapshots = sorted((tmp_path / "whole" / "snapshots").glob("*.pt"))
    assert [path.name for path in snapshots] == ["1.pt", "2.pt"]
    assert_same_bits(whole.averaged.state_dict(), torch.load(snapshots[-1], weights_only=True))
    draw_curves([tmp_path / "whole", tmp_path / "cut"], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bits(anatomies: Path, tmp_path: Path) -> None:
    # Long enough to be killed in the middle, at a moment that nobody chose.
    words = [sys.executable, "-m", "uncseg_training", "fit", "--config", "smoke", "--anatomies", str(anatomies)]
    words += ["--steps", "40"]
    subprocess.run([*words, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    killed = subprocess.Popen([*words, "-o", str(tmp_path / "cut")], stdout=subprocess.DEVNULL)
    while not (tmp_path / "cut" / "checkpoint.pt").is_file():
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    at = torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"]
    assert at < 40
    subprocess.run([*words, "-o", str(tmp_path / "cut")], check=True, capture_output=True)
    ends = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut")]
    for part in ("network", "averaged"):
        assert_same_bits(ends[0][part], ends[1][part])


@pytest.mark.slow
def test_two_processes_train_together(anatomies: Path, tmp_path: Path) -> None:
    words = ["-m", "uncseg_training", "fit", "--config", "smoke", "--anatomies", str(anatomies), "--budget", "10m"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *words, "-o", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = read_config("smoke")
    together = Training.resume(tmp_path / "run", config)
    assert together.step == config.steps
    alone = fit(anatomies, tmp_path / "alone", config)
    first = "encoder.stages.0.0.convs.0.conv.weight"
    assert not torch.equal(together.network.get_parameter(first), alone.network.get_parameter(first))


def test_reporter_shows_and_draws(anatomies: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with reporter(tmp_path / "run", console) as report:
        fit(anatomies, tmp_path / "run", read_config("smoke", snapshots=1), report=report)
    assert isinstance(console.file, io.StringIO)
    assert "validation Dice" in console.file.getvalue()
    assert (tmp_path / "run" / "curve.png").is_file()
    with pytest.raises(ValueError, match="uncseg-train fit"):
        read_log(tmp_path / "absent")


def test_patches_depend_on_the_step_alone(anatomies: Path) -> None:
    config = read_config("smoke")
    first, second = Patches(anatomies, config, 5), Patches(anatomies, config, 5)
    first[0]
    assert torch.equal(first[3].images, second[3].images)
    assert first[3].images.shape == (4, *config.patch)
    assert first[5].images.shape == (4, *config.volume)
    assert not torch.equal(first[3].images, Patches(anatomies, config, 6)[3].images)


def test_another_configuration_is_refused(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke", steps=1, validation=0, snapshots=1)
    fit(anatomies, tmp_path, config)
    with pytest.raises(ValueError, match="learning_rate"):
        Training.resume(tmp_path, replace(config, learning_rate=0.5))
    assert fit(anatomies, tmp_path, replace(config, steps=2)).step == 2


def test_a_run_may_start_from_another(anatomies: Path, tmp_path: Path) -> None:
    first = read_config("smoke", steps=2, validation=0, snapshots=1)
    second = replace(first, start=str(tmp_path / "first"), seed=9)
    with pytest.raises(ValueError, match="not there"):
        fit(anatomies, tmp_path / "second", second)
    fit(anatomies, tmp_path / "first", first, budget=0.0)
    with pytest.raises(ValueError, match="finish that run"):
        fit(anatomies, tmp_path / "second", second)
    before = fit(anatomies, tmp_path / "first", first).averaged.state_dict()
    assert_same_bits(Training.fresh(second).network.state_dict(), before)
    with pytest.raises(ValueError, match="features"):
        fit(anatomies, tmp_path / "wide", replace(second, features=(8, 8, 8)))
    plain = fit(anatomies, tmp_path / "plain", replace(second, uncertainty="none"))
    assert output_layer(plain.network).out_channels == 3, "it starts without the channel"
    with pytest.raises(ValueError, match="channel of uncertainty"):
        export_run(tmp_path / "first", tmp_path / "model", average_with=tmp_path / "plain")
    fit(anatomies, tmp_path / "second", second, budget=0.0)
    assert fit(anatomies, tmp_path / "second", second).step == 2


def test_a_run_may_start_from_one_with_another_dropout(anatomies: Path, tmp_path: Path) -> None:
    first = read_config("smoke", steps=1, validation=0, snapshots=1)
    assert first.dropout > 0
    for name, dropout in (("with", first.dropout), ("without", 0.0)):
        before = dict(fit(anatomies, tmp_path / name, replace(first, dropout=dropout)).averaged.named_parameters())
        other = replace(first, start=str(tmp_path / name), dropout=0.3 - dropout, seed=9)
        if dropout:
            other = replace(other, dropout=0.0)
        after = dict(Training.fresh(other).network.named_parameters())
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_command_line_trains_and_exports(anatomies: Path, tmp_path: Path) -> None:
    words = ("--anatomies", anatomies, "-o", tmp_path / "run", "--steps", 2)
    assert "finished at step 2" in uncseg_train("fit", "--config", "smoke", *words)
    uncseg_train("export", tmp_path / "run", tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.name == "smoke"
    assert model.spacing == (4.0, 4.0, 4.0)
    assert model.provenance["step"] == 2
    assert model.snapshots == 2
    earlier = load_snapshot(model, 1)
    name = "encoder.stages.0.0.convs.0.conv.weight"
    assert not torch.equal(earlier.network.get_parameter(name), model.network.get_parameter(name))
    uncseg_train("export", tmp_path / "run", tmp_path / "mean", "--average")
    mean = load_model(tmp_path / "mean")
    by_hand = (earlier.network.get_parameter(name) + model.network.get_parameter(name)) / 2
    torch.testing.assert_close(mean.network.get_parameter(name), by_hand, atol=1e-3, rtol=1e-2)  # stored in half
    assert mean.provenance["weights"] == "mean of 2 snapshots"
    assert torch.equal(load_snapshot(mean, 1).network.get_parameter(name), earlier.network.get_parameter(name))
    uncseg_train("curve", tmp_path / "run")
    assert (tmp_path / "run" / "curve.png").is_file()


SHORT = replace(read_config("smoke", steps=2), validation=0, snapshots=1)


@pytest.fixture(scope="module")
def finished(anatomies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("finished") / "first"
    fit(anatomies, folder, SHORT)
    return folder


def test_an_export_may_be_averaged_with_another_run(anatomies: Path, finished: Path, tmp_path: Path) -> None:
    there = Training.of_run(finished).averaged.state_dict()
    # From fresh weights of its own, or the mean would lie as close to either as half precision tells.
    here = fit(anatomies, tmp_path / "second", replace(SHORT, seed=9)).averaged.state_dict()
    name = "encoder.stages.0.0.convs.0.conv.weight"
    assert float((here[name] - there[name]).abs().mean()) > 0.05
    uncseg_train("export", tmp_path / "second", tmp_path / "model", "--halfway", finished)
    model = load_model(tmp_path / "model")
    assert model.provenance["weights"] == "mean of the last network and first"
    mean = (here[name] + there[name]) / 2
    torch.testing.assert_close(model.network.get_parameter(name), mean, atol=1e-3, rtol=1e-2)  # stored in half


@pytest.mark.parametrize(
    ("run", "words"), [("absent", "is not there"), ("unfinished", "finish that run"), ("wider", "network differs")]
)
def test_an_export_refuses_what_it_cannot_meet(anatomies, finished, tmp_path, run, words):
    if run == "unfinished":
        fit(anatomies, tmp_path / run, replace(SHORT, steps=4), budget=0.0)
    if run == "wider":
        fit(anatomies, tmp_path / run, replace(SHORT, features=tuple(n + 4 for n in SHORT.features)))
    told = refused("export", finished, tmp_path / "model", "--average-with", tmp_path / run)
    assert "is to meet" in told
    assert words in " ".join(told.split())
    assert not (tmp_path / "model").exists()


def test_command_line_explains_what_is_missing(tmp_path: Path) -> None:
    assert "no configuration absent" in refused("fit", "--config", "absent")
    assert "no checkpoint" in refused("export", tmp_path, tmp_path / "model")


def test_training_needs_torch_and_numpy_alone(anatomies: Path, tmp_path: Path) -> None:
    config = {**asdict(read_config("smoke", steps=2)), "validate_every": 1}
    code = f"""
import importlib.abc, json, sys
class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"scipy", "nibabel", "yaml", "safetensors", "typer", "rich", "blosc2", "matplotlib"}}:
            raise ImportError(name)
sys.meta_path.insert(0, Bare())
from pathlib import Path
from uncseg_training.train.config import config_from
from uncseg_training.train.trainer import fit
assert fit(Path({str(anatomies)!r}), Path({str(tmp_path)!r}), config_from(json.loads({json.dumps(config)!r}))).step == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkpoint.pt").is_file()


@pytest.mark.parametrize("failures", [1, 2])
def test_a_step_whose_gradient_is_not_finite_is_taken_once_more_in_float32(anatomies, tmp_path, monkeypatch, failures):
    tried: list[bool] = []
    honest = trainer._loss

    def failing(output, *others):
        tried.append(output.dtype == torch.bfloat16)
        loss, named = honest(output, *others)
        return (loss * float("nan") if len(tried) <= failures else loss), named

    monkeypatch.setattr(trainer, "_loss", failing)
    monkeypatch.setattr(device_module, "processor_has_bfloat16", lambda: True)
    config = read_config("smoke", steps=1, snapshots=1)
    if failures == 1:
        assert trainer.fit(anatomies, tmp_path / "run", config).step == 1
    else:
        with pytest.raises(RuntimeError, match="non-finite"):
            trainer.fit(anatomies, tmp_path / "run", config)
    assert tried == [True, False]


def test_a_processor_without_bfloat16_trains_in_float32(anatomies, tmp_path, monkeypatch):
    seen: list[torch.dtype] = []
    honest = trainer._loss

    def watching(output, *others):
        seen.append(output.dtype)
        return honest(output, *others)

    monkeypatch.setattr(trainer, "_loss", watching)
    monkeypatch.setattr(device_module, "processor_has_bfloat16", lambda: False)
    assert trainer.fit(anatomies, tmp_path / "run", read_config("smoke", steps=1, snapshots=1)).step == 1
    assert seen == [torch.float32]


def test_lines_of_a_log_that_a_disk_damaged_are_left_out(tmp_path: Path) -> None:
    good = {"step": 20, "validation": {"WT": 0.5, "TC": 0.4, "ET": 0.3}}
    bad = ('{"step": 40, "validation": {"WT": [], "TC": 1, "ET": 1}}', '{"step": 60, "validation": []}', "[" * 100_000)
    (tmp_path / "log.jsonl").write_text("\n".join((json.dumps(good), *bad)))
    assert read_log(tmp_path) == [good]


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state({"step": 1}, tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SaveError, match="No space left"):
        save_state({"step": 2}, tmp_path / "checkpoint.pt")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
