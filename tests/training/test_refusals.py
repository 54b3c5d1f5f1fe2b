"""What a user can get wrong with ``uncseg-train``: one sentence, an exit code, and nothing left behind."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console

from tests.training.conftest import refused, uncseg_train
from uncseg_training.experiments import harness
from uncseg_training.experiments.phantom_statistics import draw
from uncseg_training.phantom.anatomy import build_anatomies, load_anatomies, read_freesurfer
from uncseg_training.train.config import config_from, read_config
from uncseg_training.train.curves import read_log
from uncseg_training.train.progress import reporter
from uncseg_training.train.sentences import plainly, sentence_of
from uncseg_training.train.state import CHECKPOINT, leaving_nothing, load_state, put_state


def label_map(path: Path, codes: np.ndarray, side: float = 1.0) -> Path:
    nib.save(nib.Nifti1Image(codes, np.diag([side, side, side, 1.0])), path)
    return path


def test_folders_without_label_maps_are_refused_even_beside_the_template(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "nowhere", "is not a folder"), (tmp_path, "holds no label maps")):
        with pytest.raises(ValueError, match=words):
            build_anatomies(folder)
    assert "nothing to make anatomies of" in refused("anatomies", tmp_path / "x.npz", "--no-icbm")
    assert not list(tmp_path.iterdir())


def test_only_label_maps_of_heads_are_read(tmp_path: Path) -> None:
    codes = np.full((60, 60, 60), 2, np.int16)
    assert (read_freesurfer(label_map(tmp_path / "a.nii", codes)).tissues > 0).all()
    with pytest.raises(ValueError, match=r"b\.nii.*one whole number"):
        read_freesurfer(label_map(tmp_path / "b.nii", codes.astype(np.float32) + 0.5))
    with pytest.raises(ValueError, match=r"c\.nii holds 1 mL"):
        read_freesurfer(label_map(tmp_path / "c.nii", codes[:10, :10, :10]))
    with pytest.raises(ValueError, match=r"d\.nii has voxels of 2 x 2 x 2 mm"):
        read_freesurfer(label_map(tmp_path / "d.nii", codes, 2.0))
    (tmp_path / "e.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"e\.nii\.gz cannot be read"):
        read_freesurfer(tmp_path / "e.nii.gz")


@pytest.mark.parametrize("made", ["array", "numbers", "values", "text", "empty", "cut"])
def test_other_files_are_no_anatomies(made: str, anatomies: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    whole = anatomies.read_bytes()
    file.write_bytes({"text": b"hello", "cut": whole[: len(whole) // 2]}.get(made, b""))
    with file.open("r+b") as stream:
        if made == "array":
            np.save(stream, np.zeros(3))
        if made == "numbers":
            np.savez(stream, a=np.ones((3, 3, 3)))
        if made == "values":
            np.savez(stream, a=np.full((3, 3, 3), 200, np.uint8))
    with pytest.raises(ValueError, match=r"file is damaged or no file of anatomies.*uncseg-train anatomies"):
        load_anatomies(file)


def test_every_command_says_which_file_of_anatomies(tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_text("hello")
    commands = (["fit", "--config", "smoke", "--anatomies"], ["cases", "-n", "1", "--anatomies"])
    for command in (*commands, ["phantom", "--anatomy"]):
        assert "no file of anatomies" in refused(*command, tmp_path / "t.npz", "-o", tmp_path / "out")
    assert "is not there; write it with" in refused("fit", "--config", "smoke", "--anatomies", tmp_path / "no.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_devices_seeds_and_priors_of_phantoms(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "There is no device 'foo'" in refused("phantom", "-o", out, "--device", "foo")
    if not torch.cuda.is_available():
        assert "no usable NVIDIA GPU" in refused("phantom", "-o", out, "--device", "cuda")
    assert "--seed" in refused("phantom", "-o", out, "--seed", 99999999999999)
    assert "--spacing" in refused("phantom", "-o", out, "--spacing", 0.1)
    for option in ("--prior", "--looks"):
        assert "matched" in refused("phantom", "-o", out, option, "odd")
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("appearance_prior: odd", "no appearance prior odd"),
        ("steps: abc", "steps is 'abc'"),
        ("steps: 0", "steps is 0; take at least 1"),
        ("learning_rate: 1e-3", r"1\.0e-3"),
        ("volume: [3, 4]", "three whole numbers"),
        ("encoder: [1, 1]", "one number per stage"),
        ("folds: 1", "at least 2"),
        ("share: 2.0", "0 to 1"),
        ("- 1\n- 2", "holds no keys"),
        ("a: [1\nb: {", "not YAML"),
        ("1: 2\nstepz: 3", "unknown key 1"),
        ("uncertainty: error_map", "comes back"),
        ("uncertainty: doubt", "uncertainty is doubt"),
        ("folds: 2", "no fold"),
        ("folds: 2\nfold: 2\ncases: x", "no fold 2"),
        ("folds: 1\ncases: x", "take 0 or at least 2"),
        ("steps: 4\nsnapshots: 5", "too few for 5 snapshots"),
        ("steps: 100\nsnapshots: 3\ncycle: 0.5", "fewer snapshots or a shorter cycle"),
        ("volume: [80, 96, 81]", "volume .* multiples of 16"),
        ("patch: [64, 72, 64]", "patch .* multiples of 16"),
        ("patch: [96, 96, 96]", "larger than the volume"),
        ("false_negative_weight: 1.2", "false_negative_weight is 1.2; take 0 to 1"),
        ("head: regions_gaussian\nfalse_negative_weight: 0.7", "false_negative_weight belongs to the plain loss"),
        ("head: spheres", "head is spheres"),
        ("head: regions_auxiliary\nuncertainty: none", "learns failures"),
        ("head: regions_auxiliary\narch: segresnet", "features of the unet"),
        ("head: regions_gaussian\nuncertainty: error_map\ncases: c", "head regions, not regions_gaussian"),
        ("arch: swin_unetr", "multiples of 32"),
        ("arch: vnet", "arch is vnet"),
    ],
)
def test_configurations_are_checked(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(text + "\n")
    with pytest.raises(ValueError, match=words) as caught:
        read_config(tmp_path / "my.yaml")
    assert "my.yaml" in str(caught.value)


def test_every_configuration_that_comes_along_is_right() -> None:
    for name in ("smoke", "phantom", "lowres", "fullres", "gpu"):
        assert read_config(name) == config_from(vars(read_config(name)))


def test_damaged_checkpoints_are_named(anatomies: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    fit = ("fit", "--config", "smoke", "--anatomies", anatomies, "-o", run)
    for content in (b"PK\x03\x04 cut off", b"abc\n", b""):
        (run / CHECKPOINT).write_bytes(content)
        for command in (fit, ("export", run, tmp_path / "model"), ("head", run, tmp_path / "model")):
            assert "checkpoint.pt is damaged" in refused(*command)
    torch.save({"config": {}}, run / CHECKPOINT)
    assert "is no checkpoint" in refused(*fit)
    with pytest.raises(ValueError, match="is not there"):
        load_state(run / "absent.pt")
    with pytest.raises(ValueError, match="does not fit"):
        put_state({"network": {"bais": torch.zeros(2)}}, {"network": torch.nn.Linear(1, 2)}, run / CHECKPOINT)


def test_a_folder_in_the_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert "place is a folder" in refused("anatomies", place)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_refused_trainings_leave_nothing_behind(anatomies: Path, tmp_path: Path) -> None:
    (tmp_path / "start.yaml").write_text(f"start: {tmp_path / 'absent'}\n")
    words = ("--anatomies", anatomies, "-o", tmp_path / "a" / "run")
    assert "train that run first" in refused("fit", "--config", tmp_path / "start.yaml", *words)
    assert not (tmp_path / "a").exists()

    def refuse() -> None:
        with leaving_nothing(tmp_path / "b"):
            (tmp_path / "b").mkdir()
            (tmp_path / "b" / "log.jsonl").touch()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        refuse()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("words", [("--steps", 0), ("--steps", -4), ("--budget=-1m",), ("--budget", "nans")])
def test_trainings_of_no_length_are_refused(words: tuple[object, ...], anatomies: Path, tmp_path: Path) -> None:
    refused("fit", "--config", "smoke", "--anatomies", anatomies, "-o", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_sentences_of_errors() -> None:
    inside = "Caught ValueError in worker.\nOriginal Traceback (most recent call last):\n  x\nValueError: a: b\n"
    assert sentence_of(ValueError(inside)) == "a: b"
    assert sentence_of(FileNotFoundError(2, "No such file", "x.nii")) == "x.nii: no such file."
    assert "nilearn is not installed" in str(sentence_of(ModuleNotFoundError("no", name="nilearn.datasets")))
    assert "on the GPU" in str(sentence_of(torch.OutOfMemoryError("CUDA out of memory")))
    assert "workers to 0" in str(sentence_of(RuntimeError("DataLoader worker (pid 3) exited unexpectedly")))
    assert sentence_of(RuntimeError("a fault")) is None

    def fault() -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        plainly(fault)()


def test_help_names_what_there_is() -> None:
    shown = uncseg_train("fit", "--help")
    assert "[monai]" in "".join(shown.split())
    assert all(name in shown for name in ("smoke", "phantom", "lowres", "fullres", "gpu"))
    shown = uncseg_train("phantom", "--help")
    assert all(name in shown for name in ("matched", "rare", "--prior"))
    assert "--looks" not in shown


def test_the_leading_process_alone_says_finished(anatomies, tmp_path, monkeypatch):
    shown: list[Path] = []

    @contextmanager
    def shows(folder: Path) -> Iterator[Callable[[object], None]]:
        shown.append(folder)
        yield lambda line: None

    monkeypatch.setattr("uncseg_training.train.progress.reporter", shows)
    words = ("fit", "--config", "smoke", "--steps", 2, "--anatomies", anatomies, "-o", tmp_path / "run")
    assert "finished" in uncseg_train(*words)
    assert len(shown) == 1
    monkeypatch.setenv("RANK", "1")
    assert "finished" not in uncseg_train(*words)
    assert len(shown) == 1  # no second bar


def test_lengths_and_folds_that_cannot_be_are_told(anatomies: Path, tmp_path: Path) -> None:
    words = ("--anatomies", anatomies, "-o", tmp_path / "run")
    assert "steps is 4, too few for 5 snapshots" in refused("fit", "--config", "gpu", "--steps", 4, *words)
    assert not (tmp_path / "run").exists()
    uncseg_train("fit", "--config", "smoke", "--steps", 2, *words)
    told = refused("head", tmp_path / "run", tmp_path / "model", "--fold", tmp_path / "run", "--anatomies", anatomies)
    assert "leave out --fold" in told


@pytest.mark.parametrize("terminal", [True, False])
def test_the_curve_is_drawn_at_the_end(terminal: bool, tmp_path: Path) -> None:
    line = {"step": 3, "of": 9, "seconds": 1.0, "segmentation": 0.5}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")

    def interrupted() -> None:
        with reporter(tmp_path, Console(file=io.StringIO(), force_terminal=terminal)) as report:
            report(line)
            assert not (tmp_path / "curve.png").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "curve.png").is_file()


def test_logs_with_nothing_in_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('[1]\n{"a": 2}\n{"step": 20, "segmentation": {}}\n{"ste')
    with pytest.raises(ValueError, match="holds no line"):
        read_log(tmp_path)


def test_the_command_trains_without_matplotlib(anatomies: Path, tmp_path: Path) -> None:
    code = """
import importlib.abc, sys
class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"matplotlib", "nibabel", "nilearn"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Bare())
from uncseg_training.cli import main
main()
"""
    words = ["fit", "--config", "smoke", "--anatomies", str(anatomies), "-o", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"validation"' in done.stdout
    assert "finished at step 6" in done.stdout
    assert not (tmp_path / "run" / "curve.png").exists()


def test_the_volumes_of_the_statistics_are_all_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(harness, "write_figure", lambda figure, path: drawn.append(figure))
    phantoms = pd.DataFrame([{"NCR mL": 0.0, "ED mL": 200.0, "ET mL": 3.0, "brain mL": 1300.0}] * 3)
    draw(phantoms, pd.DataFrame({"R1": {"NCR mL": 20.0, "ED mL": 90.0, "ET mL": 0.0}}), tmp_path / "s.png")
    volumes = next(axes for axes in drawn[0].axes if axes.get_title() == "volume")
    low, high = volumes.get_ylim()
    assert -1 < low < 0
    assert high > 200
    assert min(volumes.get_yticks()) == 0
