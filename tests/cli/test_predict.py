"""The command line from the outside: prints, files and exit codes, with a quick predictor in the network's place."""

from __future__ import annotations

import gzip
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_uncseg.cli.app import app
from napari_uncseg.errors import DeviceError, SaveError
from napari_uncseg.inference import pipeline as batch
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.models import identity
from napari_uncseg.uncertainty.recalibration import io as recalibrate
from napari_uncseg.uncertainty.recalibration.models import Temperature


def test_predict_writes_results_and_prints_a_table(quick, study_folder, tiny_study, tmp_path, uncseg):
    out = tmp_path / "a folder"
    result = uncseg("predict", study_folder, "-o", out)
    segmentation = nib.load(out / tiny_study.id / f"{tiny_study.id}_seg.nii.gz")
    assert segmentation.shape == tiny_study.shape
    np.testing.assert_array_equal(segmentation.affine, tiny_study.affine)
    provenance = json.loads((out / tiny_study.id / f"{tiny_study.id}_uncseg.json").read_text())
    assert shlex.split(provenance["command"]) == [
        *("uncseg", "predict", str(study_folder), "-o", str(out), "--device", "auto")
    ]
    volume = f"{provenance['volumes_ml']['WT']:.1f}"
    for word in (tiny_study.id, volume, "0.810", "Dice WT", "triage score", "saved", str(out), "Research use only"):
        assert word in result.stdout
    assert "Running the network" in result.stderr
    assert "Running the network" not in result.stdout


def test_predict_skips_what_is_there(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    uncseg("predict", study_folder, "-o", tmp_path / "out")
    again = uncseg("predict", study_folder, "-o", tmp_path / "out")
    assert quick.studies == [study_folder.name]
    assert "already there" in again.stdout
    assert "0.810" in again.stdout


def test_predict_keeps_other_results_unless_told(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    out = tmp_path / "out"
    uncseg("predict", study_folder, "-o", out)
    saved = out / study_folder.name / f"{study_folder.name}_uncseg.json"
    before = saved.read_bytes()
    quick.sha256 = "f" * 64
    refused = uncseg("predict", study_folder, "-o", out, code=1)
    (sentence,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    for part in (str(saved.parent), "model (quick", "--overwrite"):
        assert part in sentence
    assert quick.studies == [study_folder.name]  # refused before anything was computed
    assert saved.read_bytes() == before
    uncseg("predict", study_folder, "-o", out, "--overwrite")
    assert json.loads(saved.read_text())["model"]["sha256"] == "f" * 64


def test_predict_goes_on_after_a_bad_study(quick: Any, tmp_path: Path, copy_study, uncseg) -> None:
    parent = tmp_path / "cohort"
    first, bad, last = (copy_study(f"BraTS-GLI-0000{n}-000", parent) for n in (1, 2, 3))
    truncated = bad / f"{bad.name}-t2f.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    result = uncseg("predict", parent, tmp_path / "nowhere", "-o", tmp_path / "out", code=1)
    assert quick.studies == [first.name, last.name]
    assert truncated.name in result.stderr
    assert f"2 of 4 studies failed: {bad.name}, {tmp_path / 'nowhere'}" in result.stderr
    assert not (tmp_path / "out" / bad.name).exists()
    # One study of many: its own folder remakes it.
    provenance = json.loads((tmp_path / "out" / last.name / f"{last.name}_uncseg.json").read_text())
    assert shlex.split(provenance["command"])[2] == str(last)


def test_a_study_that_cannot_be_saved_is_told_in_its_turn(quick, copy_study, tmp_path, monkeypatch, uncseg):
    cohort = [copy_study(f"BraTS-GLI-0000{n}-000", tmp_path / "cohort") for n in (1, 2, 3)]
    save = batch.save_prediction

    def fail(prediction: Prediction, *args: Any, **options: Any) -> Any:
        if prediction.study_id == cohort[1].name:
            raise SaveError("the disk is full.")
        return save(prediction, *args, **options)

    monkeypatch.setattr(batch, "save_prediction", fail)
    result = uncseg("predict", tmp_path / "cohort", "-o", tmp_path / "out", code=1)
    assert quick.studies == [folder.name for folder in cohort]
    assert f"error: {cohort[1].name}: the disk is full." in result.stderr
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("BraTS-GLI")]
    assert rows == quick.studies


def test_the_next_study_is_read_and_the_last_one_saved_beside_the_network(
    quick: Any, copy_study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uncseg
) -> None:
    for number in (1, 2):
        copy_study(f"BraTS-GLI-0000{number}-000", tmp_path / "cohort")
    second_read, second_begun = Event(), Event()
    load, predict, save = batch.load_study, quick.predict, batch.save_prediction
    reached: list[bool] = []

    def loads(files: Any, **options: Any) -> Study:
        study = load(files, **options)
        if files.id.endswith("2-000"):
            second_read.set()
        return study

    def predicts(study: Study, **options: Any) -> Prediction:
        if study.id.endswith("1-000"):
            reached.append(second_read.wait(30))
        else:
            second_begun.set()
        return predict(study, **options)

    def saves(prediction: Prediction, *args: Any, **options: Any) -> Any:
        reached.append(second_begun.wait(30))
        return save(prediction, *args, **options)

    monkeypatch.setattr(batch, "load_study", loads)
    monkeypatch.setattr(quick, "predict", predicts)
    monkeypatch.setattr(batch, "save_prediction", saves)
    uncseg("predict", tmp_path / "cohort", "-o", tmp_path / "out")
    assert reached == [True, True, True]


def test_predict_survives_an_unexpected_error(quick, study_folder, tmp_path, monkeypatch, uncseg):
    def fail(*args: object, **kwargs: object) -> Prediction:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(quick, "predict", fail)
    result = uncseg("predict", study_folder, "-o", tmp_path / "out", code=1)
    assert f"error: {study_folder.name}: unexpected ZeroDivisionError: division by zero (--debug" in result.stderr
    told = CliRunner().invoke(app, ["predict", str(study_folder), "-o", str(tmp_path / "out"), "--debug"])
    assert "Traceback" in told.stderr


def test_predict_refuses_two_studies_of_one_id(quick, study_folder, tmp_path, copy_study, uncseg):
    twin = copy_study(study_folder.name, tmp_path / "other")
    result = uncseg("predict", study_folder, twin, "-o", tmp_path / "out", code=1)
    for word in (study_folder.name, str(study_folder), str(twin)):
        assert word in result.stderr
    assert quick.studies == []
    uncseg("predict", study_folder, study_folder, "-o", tmp_path / "out")
    assert quick.studies == [study_folder.name]


def test_predict_takes_files_one_by_one(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    files = [word for name in MODALITIES for word in (f"--{name}", study_folder / f"{study_folder.name}-{name}.nii.gz")]
    uncseg("predict", *files, "--id", "mine", "-o", tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "mine" / "mine_uncseg.json").read_text())
    assert shlex.split(provenance["command"])[:4] == ["uncseg", "predict", "--t1c", str(files[1])]


def test_a_file_named_after_another_modality_is_told(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    # The names of T1c and FLAIR are exchanged.
    names = dict(zip(MODALITIES, ("t2f", "t1n", "t1c", "t2w"), strict=True))
    files = [word for m, n in names.items() for word in (f"--{m}", study_folder / f"{study_folder.name}-{n}.nii.gz")]
    result = uncseg("predict", *files, "--id", "mine", "-o", tmp_path / "out")
    warnings = json.loads((tmp_path / "out" / "mine" / "mine_uncseg.json").read_text())["warnings"]
    assert warnings[0].startswith(f"{study_folder.name}-t2f.nii.gz")
    assert f"note: mine: {warnings[0]}" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["--members", "mc_dropout:20,p=0.2"], ["--members", "snapshots:9"], ["--maps", "mutual_information"]],
)
def test_what_the_model_cannot_do_is_refused_once_before_a_study_is_read(
    words: list[str], copy_study, tmp_path: Path, tiny_model_folder: Path, uncseg
) -> None:
    for number in (1, 2):
        copy_study(f"BraTS-GLI-0000{number}-000", tmp_path / "cohort")
    where = ("--model", tiny_model_folder, "--device", "cpu")
    result = uncseg("predict", tmp_path / "cohort", "-o", tmp_path / "out", *where, *words, code=2)
    assert result.stderr.count(f"Invalid value for {words[0]}") == 1
    assert "Reading the images" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_calibration_of_another_model_is_wrong_usage(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    recalibrate.Calibration(dict.fromkeys(REGIONS, Temperature(2.0)), "1" * 64, "single").save(tmp_path / "other.json")
    result = uncseg("predict", study_folder, "-o", tmp_path / "out", "--calibration", tmp_path / "other.json", code=2)
    assert "Invalid value for --calibration" in result.stderr
    assert quick.studies == []


def test_a_network_of_an_ensemble_that_is_no_model_is_one_sentence(study_folder, tmp_path, tiny_model_folder, uncseg):
    members = f"ensemble:{tiny_model_folder},{tmp_path / 'nowhere'}"
    result = uncseg("predict", study_folder, "-o", tmp_path / "out", "--device", "cpu", "--members", members, code=1)
    assert result.stderr.count("error: ") == 1
    assert "nowhere" in result.stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("predict a -o b --device gpu", "--device"),
        ("predict a -o b --coding x", "--coding"),
        ("evaluate a --reference b -o c --workers 0", "--workers"),
        ("evaluate a --reference b -o c --workers x", "--workers"),
        ("calibrate a --reference b -o c --method x", "--method"),
        ("calibrate a --reference b -o c --alpha x", "--alpha"),
    ],
)
def test_wrong_options_are_told_in_plain_words(words: str, option: str, uncseg) -> None:
    result = uncseg(*words.split(), code=2)
    assert f"Invalid value for '{option}'" in result.stderr
    assert "Input should" not in result.stderr, "the library's words, which are put plainly"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-o", "out"],
        ["study"],
        ["study", "-o", "out", "--id", "name"],
        ["study", "-o", "out", "--t1c", "file.nii.gz"],
        ["--t1c", "file.nii.gz", "-o", "out"],
        ["study", "-o", "out", "--device", "abacus"],
        ["study", "-o", "out", "--coding", "brats1999"],
        ["study", "-o", "out", "--members", "tta:9"],
        ["study", "-o", "out", "--members", "guess"],
        ["study", "-o", "out", "--members", "ensemble:a,b", "--model", "c"],
        ["study", "-o", "out", "--maps", "entropie"],
    ],
)
def test_wrong_usage_returns_2(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uncseg) -> None:
    monkeypatch.chdir(tmp_path)
    uncseg("predict", *words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_device_is_one_sentence(study_folder, tmp_path, monkeypatch, uncseg):
    def refuse(settings: batch.PredictionSettings, notify: object) -> batch.Predictor:
        raise DeviceError(f"{settings.device} is not here.")

    monkeypatch.setattr(batch, "make_predictor", refuse)
    result = uncseg("predict", study_folder, "-o", tmp_path / "out", "--device", "cuda", code=1)
    assert result.stderr.strip() == "error: cuda is not here."


def test_interrupt_leaves_nothing_half_written(quick, copy_study, tmp_path, monkeypatch, uncseg):
    cohort = [copy_study(f"BraTS-GLI-0000{n}-000", tmp_path / "cohort") for n in (1, 2, 3)]
    predict = quick.predict

    def interrupted(study: Study, **kwargs: Any) -> Prediction:
        if study.id == cohort[1].name:
            signal.raise_signal(signal.SIGINT)
        return predict(study, **kwargs)

    monkeypatch.setattr(quick, "predict", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = uncseg("predict", tmp_path / "cohort", "-o", tmp_path / "out", code=130)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == [cohort[0].name]
    assert cohort[0].name in result.stdout
    assert signal.getsignal(signal.SIGINT) is before


def test_predict_hands_on_members_and_maps(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    words = ("--members", "tta:8", "--maps", "entropy, variance-ET")
    uncseg("predict", study_folder, "-o", tmp_path / "out", *words)
    assert quick.asked == [{"ensemble": parse_ensemble("tta:8"), "maps": ("entropy", "variance-et")}]
    provenance = json.loads((tmp_path / "out" / study_folder.name / f"{study_folder.name}_uncseg.json").read_text())
    command = shlex.split(provenance["command"])
    assert command[-4:] == ["--members", "tta:8", "--maps", "entropy,variance-et"]
    assert uncseg(*command[1:]).stdout.count("already there") == 1


def test_without_such_options_nothing_is_handed_on(quick: Any, study_folder: Path, tmp_path: Path, uncseg) -> None:
    uncseg("predict", study_folder, "-o", tmp_path / "out", "--members", "auto")
    assert quick.asked == [{}]


def test_a_calibration_that_cannot_be_read_stops_before_the_first_study(quick, study_folder, tmp_path, uncseg):
    result = uncseg("predict", study_folder, "-o", tmp_path / "out", "--calibration", tmp_path / "none.json", code=1)
    assert "none.json" in result.stderr
    assert quick.studies == []


def test_the_bundled_calibration_is_named_by_a_word(quick, study_folder, tmp_path, monkeypatch, uncseg):
    monkeypatch.setattr(identity, "bundled_model_folder", lambda: tmp_path / "bundled")
    words = ("predict", study_folder, "-o", tmp_path / "out", "--calibration", "bundled")
    absent = uncseg(*words, code=1)
    assert absent.stderr == f"error: {identity.NO_BUNDLED}\n"
    assert quick.studies == []
    fitted = recalibrate.Calibration(dict.fromkeys(REGIONS, Temperature(2.0)), "0" * 64, "single")
    fitted.save(tmp_path / "bundled" / "calibration.json")
    uncseg(*words)
    assert quick.asked[0]["calibration"].sha256 == fitted.sha256
    provenance = json.loads((tmp_path / "out" / study_folder.name / f"{study_folder.name}_uncseg.json").read_text())
    assert shlex.split(provenance["command"])[-2:] == ["--calibration", "bundled"]


def test_an_ensemble_loads_its_first_folder(study_folder, tmp_path, monkeypatch, uncseg):
    loaded: list[Path | None] = []
    monkeypatch.setattr("napari_uncseg.models.model.load_model", loaded.append)
    uncseg("predict", study_folder, "-o", tmp_path / "out", "--members", "ensemble:a,b", code=1)
    assert loaded == [Path("a")]


def test_an_interrupted_run_of_members_saves_those_that_are_done_and_goes_on_next_time(
    copy_study, tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, uncseg
) -> None:
    from napari_uncseg.inference.predictor import Predictor

    cohort = [copy_study(f"BraTS-GLI-0000{n}-000", tmp_path / "cohort") for n in (1, 2)]
    predict = Predictor.predict

    def interrupted(self: Predictor, study: Study, *, progress: batch.Progress, **options: Any) -> Prediction:
        def interrupt(done: int, total: int, message: str) -> None:
            progress(done, total, message)
            if "member 3 of 4" in message:
                signal.raise_signal(signal.SIGINT)

        return predict(self, study, progress=interrupt, **options)

    words = ("predict", tmp_path / "cohort", "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model_folder)
    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "predict", interrupted)
        stopped = uncseg(*words, "--members", "tta:4", code=130)
    assert "saved in part" in stopped.stdout
    assert "partial: 2 of 4 members" in stopped.stderr
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == [cohort[0].name]
    first = tmp_path / "out" / cohort[0].name / f"{cohort[0].name}_uncseg.json"
    assert json.loads(first.read_text())["members"]["members_done"] == 2
    uncseg(*words, "--members", "tta:4")
    assert json.loads(first.read_text())["members"]["members_done"] == 4
    assert uncseg(*words, "--members", "tta:4").stdout.count("already there") == 2


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time\nfrom typer.testing import CliRunner\nfrom napari_uncseg.cli.app import app\n"
        "result = CliRunner().invoke(app, ['predict', '--help'])\nassert result.exit_code == 0, result.output\n"
        "print([name for name in ('torch', 'napari', 'nibabel', 'matplotlib', 'scipy') if name in sys.modules])\n"
        "print(time.process_time())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, seconds = result.stdout.splitlines()
    assert heavy == "[]"
    # Time of the processor, which a busy machine stretches little; well below a second on an idle one.
    assert float(seconds) < 2.0


def test_expected_dice_takes_the_place_of_the_triage_score(study_folder, quick, tmp_path, uncseg):
    told = {region: {"value": 0.71, "low": 0.5, "high": 0.8} for region in ("WT", "TC", "ET")}
    quick.prediction = replace(quick.prediction, provenance={**quick.prediction.provenance, "expected_dice": told})
    shown = uncseg("predict", study_folder, "-o", tmp_path / "out").output
    assert "0.71 (0.50 to 0.80)" in shown
    assert "triage" not in shown


def test_why_a_study_needs_review_is_printed(study_folder: Path, quick: Any, tmp_path: Path, uncseg) -> None:
    reason = {"code": "no_tumour", "text": "No tumour was found."}
    provenance = {**quick.prediction.provenance, "needs_review": [reason]}
    quick.prediction = replace(quick.prediction, provenance=provenance)
    for state in ("saved", "already there"):
        result = uncseg("predict", study_folder, "-o", tmp_path / "out")
        assert state in result.stdout
        assert f"{study_folder.name} needs review: {reason['text']}" in result.stderr


def test_review_needs_no_torch(study_folder: Path, quick: Any, tmp_path: Path, uncseg) -> None:
    uncseg("predict", study_folder, "-o", tmp_path / "out")
    code = (
        "import sys\nfrom pathlib import Path\nfrom napari_uncseg.cli.view import result_of\n"
        "from napari_uncseg.io.loading import load_study\nimport napari_uncseg.viewer.layers\n"
        f"study = load_study({str(study_folder)!r})\n"
        f"found, _ = result_of(study, Path({str(tmp_path / 'out')!r}), ())\n"
        "print(found.study_id, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [study_folder.name, "False"]


def test_predict_with_a_real_network(study_folder: Path, tmp_path: Path, tiny_model_folder: Path, uncseg) -> None:
    uncseg(*("predict", study_folder, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model_folder))
    saved = tmp_path / "out" / study_folder.name
    provenance = json.loads((saved / f"{study_folder.name}_uncseg.json").read_text())
    assert shlex.split(provenance["command"])[-2:] == ["--model", str(tiny_model_folder)]
    with gzip.open(saved / f"{study_folder.name}_unc_output.nii.gz") as file:
        assert len(file.read()) > 352
