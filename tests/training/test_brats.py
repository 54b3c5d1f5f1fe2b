"""A BraTS 2023 download becomes nnU-Net's raw data set: nothing bad gets in, no patient is on both sides."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.labels import MODALITIES
from tests.training.conftest import refused, uncseg_train
from uncseg_training.data import brats, brats_check
from uncseg_training.data.brats import convert
from uncseg_training.data.splits import join_groups, patient, split_by_group

IDS = ("00000-000", "00001-000", "00001-001", "00002-000", "00003-000", "00004-000")


def write_study(folder: Path, name: str, *, seed: int, labels: tuple[int, ...] = (1, 2, 3)) -> Path:
    generator = np.random.default_rng(seed)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    study = folder / name
    study.mkdir(parents=True, exist_ok=True)
    for modality in MODALITIES:
        values = generator.integers(1, 1000, (8, 9, 10)).astype(np.int16)
        nib.Nifti1Image(values, affine).to_filename(study / f"{name}-{modality}.nii.gz")
    reference = np.zeros((8, 9, 10), np.uint8)
    for number, label in enumerate(labels):
        reference[2 + number, 3:6, 3:6] = label
    nib.Nifti1Image(reference, affine).to_filename(study / f"{name}-seg.nii.gz")
    return study


@pytest.fixture
def download(tmp_path: Path) -> Path:
    folder = tmp_path / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    for seed, number in enumerate(IDS):
        write_study(folder, f"BraTS-GLI-{number}", seed=seed)
    return folder


def test_download_becomes_a_data_set(download: Path, tmp_path: Path) -> None:
    made = convert(download, tmp_path / "raw", expected=6, folds=3)
    assert made.folder == tmp_path / "raw" / "Dataset137_BraTS2023"
    assert (made.studies, made.patients, made.alike, made.without_tumour) == (6, 5, [], [])
    dataset = json.loads((made.folder / "dataset.json").read_text())
    assert list(dataset["labels"]) == ["background", "whole_tumor", "tumor_core", "enhancing_tumor"]
    assert dataset["regions_class_order"] == [2, 1, 3]
    assert (dataset["numTraining"], dataset["file_ending"]) == (6, ".nii.gz")
    source = download / "BraTS-GLI-00001-001" / "BraTS-GLI-00001-001-t2f.nii.gz"
    assert (made.folder / "imagesTr" / "BraTS-GLI-00001-001_0002.nii.gz").samefile(source)
    assert len(list((made.folder / "imagesTr").iterdir())) == 24
    assert len(list((made.folder / "labelsTr").iterdir())) == 6
    # The package itself reads what it wrote.
    found = find_studies(made.folder)
    assert [study.id for study in found] == [f"BraTS-GLI-{number}" for number in IDS]
    assert all(study.problem is None and study.coding == "brats2023" for study in found)
    splits = json.loads((made.folder / "splits_final.json").read_text())
    assert [len(split["val"]) for split in splits] == made.folds == [2, 2, 2]
    for split in splits:
        assert not {patient(study) for study in split["train"]} & {patient(study) for study in split["val"]}


def test_what_was_checked_is_not_read_again(download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brats_check, "_BATCH", 2)
    read = brats_check.check_study
    seen: list[str] = []

    def interrupted(study):
        seen.append(study.id)
        if study.id.endswith("00002-000"):
            raise KeyboardInterrupt
        return read(study)

    monkeypatch.setattr(brats_check, "check_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(download, tmp_path / "raw", expected=6, workers=1)
    assert not (tmp_path / "raw" / "Dataset137_BraTS2023" / "dataset.json").exists()
    seen.clear()
    monkeypatch.setattr(brats_check, "check_study", lambda study: seen.append(study.id) or read(study))
    first = convert(download, tmp_path / "raw", expected=6)
    assert seen == [f"BraTS-GLI-{number}" for number in IDS[2:]]
    # A file that changed is read again, and only that study.
    seen.clear()
    path = download / "BraTS-GLI-00000-000" / "BraTS-GLI-00000-000-t1c.nii.gz"
    os.utime(path, ns=(1, 1))
    second = convert(download, tmp_path / "raw", expected=6)
    assert seen == ["BraTS-GLI-00000-000"]
    assert second.links == {"kept": 30}
    assert second.folds == first.folds


def test_count_is_checked_first(download: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds 6 studies where 1251 are expected"):
        convert(download, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_labels_of_another_year_are_refused(download: Path, tmp_path: Path) -> None:
    write_study(download, "BraTS-GLI-00005-000", seed=9, labels=(1, 2, 4))
    with pytest.raises(StudyError, match=r"00005-000-seg.*values 0, 1, 2, 4 where BraTS 2023"):
        convert(download, tmp_path / "raw", expected=7)
    write_study(download, "BraTS-GLI-00006-000", seed=10, labels=(1, 2, 5))
    with pytest.raises(StudyError, match=r"1 other studies have problems too; .*checks\.json"):
        convert(download, tmp_path / "raw", expected=8)
    checks = json.loads((tmp_path / "raw" / "Dataset137_BraTS2023" / "checks.json").read_text())
    assert sum(check["problem"] is not None for check in checks.values()) == 2
    # A mended study goes through.
    write_study(download, "BraTS-GLI-00005-000", seed=9)
    write_study(download, "BraTS-GLI-00006-000", seed=10, labels=())
    made = convert(download, tmp_path / "raw", expected=8)
    assert made.without_tumour == ["BraTS-GLI-00006-000"]


@pytest.mark.parametrize("harm", ["cut", "grid", "constant", "missing"])
def test_bad_files_are_named(download: Path, tmp_path: Path, harm: str) -> None:
    path = download / "BraTS-GLI-00003-000" / "BraTS-GLI-00003-000-t2w.nii.gz"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif harm == "missing":
        path.unlink()
    else:
        image = nib.load(path)
        data = np.asarray(image.dataobj)
        affine = image.affine + np.eye(4)[:, [3, 0, 1, 2]] * 7 if harm == "grid" else image.affine
        nib.Nifti1Image(data if harm == "grid" else np.ones_like(data), affine).to_filename(path)
    with pytest.raises(StudyError, match="BraTS-GLI-00003-000"):
        convert(download, tmp_path / "raw", expected=6)


def test_studies_that_share_an_image_stay_together(download: Path, tmp_path: Path) -> None:
    a, b = (download / f"BraTS-GLI-{number}" for number in ("00000-000", "00004-000"))
    packed = gzip.compress(gzip.decompress((a / f"{a.name}-t1n.nii.gz").read_bytes()), 1)
    # The same voxels, packed in another way.
    (b / f"{b.name}-t1n.nii.gz").write_bytes(packed)
    made = convert(download, tmp_path / "raw", expected=6, folds=3)
    assert made.alike == [[a.name, b.name]]
    splits = json.loads((made.folder / "splits_final.json").read_text())
    assert all((a.name in split["val"]) == (b.name in split["val"]) for split in splits)


@pytest.mark.parametrize(("refused", "kind"), [((), "hard"), (("link",), "symbolic"), (("link", "symlink"), "copied")])
def test_files_are_linked_where_they_can_be(download, tmp_path, monkeypatch, refused, kind):
    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    ways = {"hard": "link" not in refused, "symbolic": "symlink" not in refused, "copied": True}
    makers = {"hard": os.link, "symbolic": os.symlink, "copied": shutil.copyfile}
    monkeypatch.setattr(brats, "_WAYS", {way: makers[way] if works else fail for way, works in ways.items()})
    made = convert(download, tmp_path / "raw", expected=6)
    assert made.links == {kind: 30}
    assert not list(made.folder.glob("*/.*"))
    assert nib.load(made.folder / "imagesTr" / "BraTS-GLI-00000-000_0000.nii.gz").shape == (8, 9, 10)


def test_another_data_set_is_left_alone(download: Path, tmp_path: Path) -> None:
    convert(download, tmp_path / "raw", expected=6)
    shutil.rmtree(download / "BraTS-GLI-00002-000")
    with pytest.raises(StudyError, match="already holds BraTS-GLI-00002-000"):
        convert(download, tmp_path / "raw", expected=5)


def test_splits_are_even_and_the_same_in_any_order() -> None:
    groups = {
        f"BraTS-GLI-{number:05d}-{visit:03d}": f"BraTS-GLI-{number:05d}"
        for number in range(200)
        for visit in range(1 + number % 3)
    }
    splits = split_by_group(groups)
    assert splits == split_by_group(dict(reversed(groups.items())))
    assert splits != split_by_group(groups, seed=1)
    sizes = [len(split["val"]) for split in splits]
    assert sum(sizes) == len(groups)
    assert max(sizes) - min(sizes) <= 1
    assert sorted(study for split in splits for study in split["val"]) == sorted(groups)
    with pytest.raises(StudyError, match="3 patients cannot be split into 5"):
        split_by_group({name: name for name in "abc"})


def test_groups_are_joined_through_a_third() -> None:
    joined = join_groups({name: name for name in "abcd"}, [["b", "c"], ["a", "b"]])
    assert joined["a"] == joined["b"] == joined["c"] != joined["d"]


def test_command(download: Path, tmp_path: Path) -> None:
    words = ("brats", download, tmp_path / "raw", "--folds", 2, "--id", 7, "--name", "Toy")
    assert "--expect" in refused(*words)
    assert "6 studies of 5 patients" in uncseg_train(*words, "--expect", 6)
    assert (tmp_path / "raw" / "Dataset007_Toy" / "splits_final.json").is_file()
