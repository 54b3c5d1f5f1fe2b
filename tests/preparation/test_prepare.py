"""A raw study becomes one that is read: on T1c's grid, without skull, told how, and without the patient's name."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import zlib
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_writer import PATIENT, STUDY, grid, plant, write_examination

from napari_uncseg.errors import AnotherResult, Cancelled, CutHead, ForeignFile, NoBrainMask
from napari_uncseg.inference.input_checks import check_input
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.nifti import write_volume
from napari_uncseg.io.results import load_prediction
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.preparation import brain, prepare
from napari_uncseg.preparation.brain import Method
from napari_uncseg.preparation.prepare import Options, Prepared, prepare_study
from napari_uncseg.preparation.registration import Registration
from napari_uncseg.preparation.scans import RawStudy, read_dicom
from napari_uncseg.reporting.study_report import Material, write_study_report
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.uncertainty.recalibration.models import Temperature


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_examination(tmp_path_factory.mktemp("raw") / "Plantedname_Anna", change=plant)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"Plantedname_Anna_{path.name}.dcm")
    return folder


@pytest.fixture
def raw(folder: Path) -> RawStudy:
    return read_dicom(folder)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    affine, shape = grid("t1c")
    x, y, z = (affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]).reshape(3, *shape)
    brain = (x / 60) ** 2 + (y / 80) ** 2 + (z / 68) ** 2 < 1
    write_volume(tmp_path / "mask.nii.gz", brain.astype(np.uint8), affine)
    return tmp_path / "mask.nii.gz"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of these tests fit already: what finds that has tests of its own, and takes seconds."""
    still = Registration(np.eye(4), 0.2, 0.1, 0.97, 3)
    monkeypatch.setattr(prepare, "register", lambda *_, **__: still)


def test_prepared_study_is_read_without_skull_on_the_grid_of_t1c(tmp_path, raw, mask):
    done = prepare_study(raw, tmp_path / "out", Options(mask))
    study = load_study(done.files)
    assert study.id == raw.id
    assert study.shape == raw.scans["t1c"].shape
    np.testing.assert_allclose(study.affine, raw.scans["t1c"].affine, atol=1e-4)
    inside = study.images[0] != 0
    np.testing.assert_array_equal(study.images[0][inside], raw.scans["t1c"].values[inside])
    assert not any("skull" in warning for warning in study.warnings)
    assert study.preparation is not None
    assert study.preparation["brain"]["source"] == "a mask by the user"
    assert "registration_failed" not in [reason.code for reason in check_input(study)]
    tumour = np.linalg.inv(study.affine) @ [25, 20, 18, 1]
    middle = tuple(np.rint(tumour[:3]).astype(int))
    assert study.images[2][middle] == pytest.approx(800, abs=60)  # FLAIR, from another grid


def test_same_preparation_is_kept_and_another_one_is_not_replaced(tmp_path, raw, mask):
    out = tmp_path / "out"
    first = prepare_study(raw, out, Options(mask))
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare_study(raw, out, Options(mask)).already_there
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    other = RawStudy(raw.id, {**raw.scans, "t2w": raw.scans["t2f"]})
    with pytest.raises(AnotherResult):
        prepare_study(other, out, Options(mask))
    assert not prepare_study(other, out, Options(mask, overwrite=True)).already_there
    drawn = out / f"{raw.id}_brain.nii.gz"
    saved = drawn.read_bytes()
    drawn.write_bytes(gzip.compress(gzip.decompress(saved), 1))
    with pytest.raises(ForeignFile):  # somebody corrected it
        prepare_study(raw, out, Options(mask, overwrite=True))
    drawn.write_bytes(saved)
    (out / f"{raw.id}_preparation.json").write_text('{"age": 61}')
    with pytest.raises(ForeignFile):
        prepare_study(raw, out, Options(mask, overwrite=True))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / first.files.paths["t1n"].name).write_bytes(b"mine")
    with pytest.raises(ForeignFile):
        prepare_study(raw, foreign, Options(mask, overwrite=True))


def test_failed_registration_is_a_reason_of_needs_review(tmp_path, raw, mask, monkeypatch):
    failed = Registration(np.eye(4), 0.2, 9.0, 0.4, 9)
    monkeypatch.setattr(prepare, "register", lambda *_, **__: failed)
    study = load_study(prepare_study(raw, tmp_path / "out", Options(mask)).files)
    assert [reason.code for reason in check_input(study)].count("registration_failed") == 3


def test_the_bundled_network_finds_the_brain_when_nobody_gives_a_mask(tmp_path, raw, mask):
    done = prepare_study(raw, tmp_path / "out", Options())
    assert done.record["brain"]["source"] == "the bundled network"
    assert len(done.record["settings"]["brain_network_sha256"]) == 64
    by_hand = prepare_study(raw, tmp_path / "by hand", Options(mask))
    assert done.record["brain"]["ml"] == pytest.approx(by_hand.record["brain"]["ml"], rel=0.2)


def test_tools_that_are_absent_masks_of_nothing_and_half_a_head_are_refused(tmp_path, raw, mask, monkeypatch):
    monkeypatch.setattr(brain.shutil, "which", lambda _: None)
    monkeypatch.setattr(prepare, "register", None)  # all that follows is told before
    with pytest.raises(NoBrainMask):
        prepare_study(raw, tmp_path / "out", Options(brain=Method.HD_BET))
    affine, shape = grid("t1c")
    tiny = np.zeros(shape, dtype=np.uint8)
    tiny[40:44, 40:44, 40:44] = 1
    write_volume(tmp_path / "tiny.nii.gz", tiny, affine)
    with pytest.raises(NoBrainMask):
        prepare_study(raw, tmp_path / "out", Options(tmp_path / "tiny.nii.gz"))
    monkeypatch.undo()
    t1c = raw.scans["t1c"]
    half = type(t1c)(np.ascontiguousarray(t1c.values[:, :55]), t1c.affine, t1c.sha256)
    with pytest.raises(CutHead):
        prepare_study(RawStudy(raw.id, {**raw.scans, "t1c": half}), tmp_path / "out", Options(mask))
    with pytest.raises(Cancelled):
        prepare_study(raw, tmp_path / "out", Options(mask), cancelled=lambda: True)
    assert not (tmp_path / "out").exists()


def check_nameless(folder: Path) -> None:
    """No file, nor its name, holds what a patient is known by."""
    values = [value for value in PATIENT.values() if len(value) > 3]
    planted = [word.encode() for word in (*values, "Plantedname", "Anna", STUDY)]
    for path in folder.rglob("*"):
        assert not any(word in str(path.relative_to(folder)).encode() for word in planted)
        if path.is_file():
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            if path.suffix == ".pdf":
                streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
                data += b"".join(zlib.decompressobj().decompress(each) for each in streams if each[:1] == b"x")
            assert not any(word in data for word in planted), path


def test_no_output_of_a_prediction_names_the_patient(
    tmp_path, folder, mask, uncseg, quick_prediction, tiny_model_folder
):
    out = tmp_path / "Plantedname^Anna" / "OUT"
    mask = shutil.copy(mask, folder.parent / "Plantedname_Anna_mask.nii.gz")
    models = shutil.copytree(tiny_model_folder, folder.parent / "Plantedname_Anna_models" / "tiny")
    Calibration(dict.fromkeys(REGIONS, Temperature(2.0)), "0" * 64, "single").save(models.parent / "site.json")
    options = ("--model", models, "--calibration", models.parent / "site.json")
    result = uncseg("predict", folder, "-o", out, "--brain-mask", mask, *options)
    assert result.exit_code == 0, result.output
    (found,) = out.rglob("*_uncseg.json")
    told = json.loads(found.read_text())
    assert told["study"].startswith("study-")
    words = shlex.split(told["command"])
    assert dict(pairwise(words))["-o"] == "."
    assert words[-3:] == ["tiny", "--calibration", "site.json"]
    assert (out / dict(pairwise(words))["--t1c"]).is_file()
    assert set(told["inputs"]) == set(MODALITIES)
    again = tmp_path / "again"
    result = uncseg("predict", found.parent / "prepared", "-o", again, *options)  # the prepared study, taken for itself
    assert result.exit_code == 0, result.output
    check_nameless(again)
    prediction = load_prediction(found.parent)
    study = load_study(found.parent.parent / told["study"] / "prepared")
    write_study_report(Material(study, prediction), found.parent)
    check_nameless(out)
    check_nameless(Path.home())
    exported = uncseg("export", found.parent, "--dicom", tmp_path / "D", "--source", folder)
    assert exported.exit_code == 0, exported.output
    assert sorted((tmp_path / "D").iterdir())
    again = uncseg("predict", folder, "-o", out, "--brain-mask", mask)
    assert "already there" in again.output
    named = uncseg("prepare", folder, "-o", tmp_path / "S", "--id", "case-7", "--brain-mask", mask)
    assert named.exit_code == 0, named.output
    assert (tmp_path / "S" / "case-7-t1c.nii.gz").is_file()


@pytest.fixture
def quick_prediction(monkeypatch: pytest.MonkeyPatch, tiny_prediction) -> None:
    """A network's stand-in that answers on the grid of the study it is given."""
    from dataclasses import replace

    from tests.cli.conftest import QuickPredictor

    from napari_uncseg.inference import pipeline

    class OnItsGrid(QuickPredictor):
        def provenance(self, study, command=None, **asked):
            return {**super().provenance(study, command, **asked), "preparation": study.preparation}

        def predict(self, study, **asked):
            shape = study.shape
            empty = np.zeros(shape, dtype=np.float32)
            maps = dict.fromkeys(self.prediction.maps, empty)
            made = super().predict(study, **asked)
            labels = np.zeros(shape, dtype=np.uint8)
            probabilities = np.zeros((3, *shape), dtype=np.float32)
            return replace(made, probabilities=probabilities, segmentation=labels, maps=maps, affine=study.affine)

    predictor = OnItsGrid(tiny_prediction)
    monkeypatch.setattr(pipeline, "make_predictor", lambda settings, notify: predictor)


@pytest.fixture
def uncseg():
    from typer.testing import CliRunner

    from napari_uncseg.cli.app import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_prepared_tells_what_it_is(tmp_path, raw, mask):
    done = prepare_study(raw, tmp_path / "out", Options(mask))
    assert isinstance(done, Prepared)
    page = (tmp_path / "out" / f"{raw.id}_preparation.html").read_text()
    assert "<img" in page
    assert "http" not in page.split("<body>")[1]
    check_nameless(tmp_path / "out")


def test_names_in_nifti_files_and_folders_are_not_kept_either(tmp_path, raw, mask, uncseg, quick_prediction):
    source = tmp_path / "Plantedname_Anna"
    source.mkdir()
    for role, scan in raw.scans.items():
        image = nib.Nifti1Image(scan.values, scan.affine)
        image.header["descrip"], image.header["aux_file"] = b"Plantedname Anna", b"Plantedname"
        image.header["db_name"], image.header["intent_name"] = b"Plantedname", b"Plantedname"
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Plantedname Anna"))
        nib.save(image, source / f"Plantedname_Anna-{role}.nii.gz")
    out = tmp_path / "OUT"
    result = uncseg("predict", source, "-o", out, "--prepare", "--brain-mask", mask)
    assert result.exit_code == 0, result.output
    check_nameless(out)
