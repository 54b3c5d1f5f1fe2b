"""nnU-Net v2 with an uncertainty channel, from a download in BraTS 2023 form to a prediction of the plugin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from napari_uncseg.cli.app import app as uncseg
from napari_uncseg.errors import ModelError
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import load_study
from napari_uncseg.models.heads import Head
from napari_uncseg.models.importers.nnunet import import_nnunet
from napari_uncseg.models.model import load_model
from tests.models.test_import_nnunet import as_nnunet_counts
from tests.training.conftest import invoke, refused, uncseg_train, write_phantoms
from uncseg_training.experiments import nnunet_patients
from uncseg_training.nnunet.loss import count_voxels, split_target
from uncseg_training.nnunet.run import newest_checkpoint, settle_splits
from uncseg_training.paper1.error_map import ErrorMaps

IDS = ("00000-000", "00001-000", "00001-001", "00002-000", "00003-000", "00004-000", "00005-000", "00006-000")
TRAINER = "nnUNetTrainerUncertainty__nnUNetPlans__3d_fullres"


def test_counts_are_of_the_segmentation_alone() -> None:
    logits = torch.full((1, 3, 2, 2, 2), -1.0)
    logits[0, 0, 0] = 1  # four voxels predicted, two of them right
    target = torch.zeros(1, 3, 2, 2, 2)
    target[0, 0, :, 0] = 1
    counts = count_voxels(logits, target, regions=True)
    assert {name: value.tolist() for name, value in counts.items()} == {
        "tp_hard": [2, 0, 0],
        "fp_hard": [2, 0, 0],
        "fn_hard": [2, 0, 0],
    }
    with pytest.raises(ValueError, match="do not fit"):
        count_voxels(torch.zeros(1, 4, 2, 2, 2), target, regions=True)
    labels = torch.tensor([0, 1, 2, 3]).view(1, 1, 4, 1, 1)
    scores = nn.functional.one_hot(torch.tensor([0, 2, 2, 1])).T.reshape(1, 3, 4, 1, 1).float()
    scores = torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)
    counts = count_voxels(scores, labels, regions=False)
    assert counts["tp_hard"].tolist() == [0, 1, 0]
    assert counts["fp_hard"].tolist() == [1, 1, 0]
    assert counts["fn_hard"].tolist() == [1, 0, 1]


def test_a_voxel_counts_where_all_it_was_made_of_was_visited() -> None:
    target = torch.tensor([[1.2, 1.0], [0.5, 0.98], [-0.1, 1.0]]).T.reshape(1, 2, 3, 1, 1)
    error, visited = split_target(target)
    assert error.flatten().tolist() == [1.0, 0.5, 0.0]
    assert visited.flatten().tolist() == [True, False, True]


def test_splits_are_put_in_place_and_never_contradicted(tmp_path: Path) -> None:
    raw, preprocessed = tmp_path / "raw", tmp_path / "pre"
    raw.mkdir(), preprocessed.mkdir()
    with pytest.raises(ValueError, match="uncseg-train brats"):
        settle_splits(raw, preprocessed)
    (raw / "splits_final.json").write_text('[{"train": ["a"], "val": ["b"]}]')
    assert json.loads(settle_splits(raw, preprocessed).read_text())[0]["val"] == ["b"]
    (raw / "splits_final.json").write_text('[{"train": ["b"], "val": ["a"]}]')
    with pytest.raises(ValueError, match="different splits"):
        settle_splits(raw, preprocessed)


def test_the_checkpoint_written_last_is_gone_on_from(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for seconds, name in enumerate(("checkpoint_latest.pth", "checkpoint_best.pth"), start=1):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint_best.pth"
    (tmp_path / "checkpoint_final.pth").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint_final.pth"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Eight phantoms of 4 mm as a BraTS 2023 download, converted, planned and preprocessed; tiny tiles and network."""
    pytest.importorskip("nnunetv2")
    place = tmp_path_factory.mktemp("nnunet")
    found = {name: place / name for name in ("download", "raw", "preprocessed", "results", "models")}
    write_phantoms(found["download"], [f"BraTS-GLI-{number}" for number in IDS], 11, (40, 48, 40), 4.0)
    variables = {f"nnUNet_{name}": str(found[name]) for name in ("raw", "preprocessed", "results")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}.items():
            patch.setenv(name, value)
        found["preprocessed"].mkdir()
        uncseg_train("brats", found["download"], found["raw"], "--expect", 8, "--folds", 2)
        plan_and_preprocess()
        patch.setenv("nnUNet_n_proc_DA", "0")  # with none, nnU-Net's planning asks torch for no thread at all
        shrink(found["preprocessed"] / "Dataset137_BraTS2023" / "nnUNetPlans.json")
        yield found


def plan_and_preprocess() -> None:
    """What ``nnUNetv2_plan_and_preprocess -d 137 -c 3d_fullres`` calls, with fewer samples of intensity."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments, preprocess

    extractor = DatasetFingerprintExtractor(137, 1, verbose=False)
    extractor.num_foreground_voxels_for_intensitystats = 1e4
    extractor.run(overwrite_existing=True)
    plan_experiments([137])
    preprocess([137], configurations=["3d_fullres"], num_processes=[1])


def shrink(path: Path) -> None:
    plans = json.loads(path.read_text())
    block = plans["configurations"]["3d_fullres"]
    block["patch_size"] = [16, 16, 16]
    block["architecture"]["arch_kwargs"] |= {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
    }
    path.write_text(json.dumps(plans))


def trainer_of(folders: dict[str, Path], fold: int) -> Any:
    from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

    base = folders["preprocessed"] / "Dataset137_BraTS2023"
    plans, dataset = (json.loads((base / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    return nnUNetTrainerUncertainty(plans, "3d_fullres", fold, dataset, torch.device("cpu"))


@pytest.mark.slow
def test_class_is_found_in_the_folder_for_external_trainers() -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    import uncseg_training

    folder = str(Path(uncseg_training.__file__).parent / "nnunet" / "ext")
    found = recursive_find_python_class(
        folder, "nnUNetTrainerUncertainty", None, base_folder=folder, cleanup_imports_from_base_folder=True
    )
    from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

    assert found is nnUNetTrainerUncertainty


@pytest.mark.slow
def test_error_maps_follow_their_case_through_the_augmentation(folders: dict[str, Path]) -> None:
    trainer = trainer_of(folders, 0)
    trainer.initialize()
    trainer.get_dataloaders()
    errors: ErrorMaps = trainer.errors
    # The map of a case is its own whole tumour: then the target must be the reference, wherever a patch was cut.
    for case in errors.store.cases:
        labels = trainer.labelling.labels(np.asarray(trainer._load(case)[1][0]))
        errors.update(case, labels > 0, 0)
    for feed, least in zip(trainer.get_feeds(errors), (0.9, 1.0), strict=True):
        overlap, total = 0, 0
        for _ in range(12):
            batch = next(feed)
            assert len(batch["keys"]) == 2
            error, visited = split_target(batch["regression_target"])
            whole = trainer.labelling.regions(batch["target"])[:, :1] > 0
            assert error.shape == whole.shape
            claimed = (error > 0.5) & visited
            overlap += 2 * int((claimed & whole).sum())
            total += int(claimed.sum()) + int((whole & visited).sum())
        assert total > 1000
        assert overlap / total >= least


@pytest.mark.slow
def test_two_folds_train_resume_export_import_and_predict(folders, monkeypatch):
    words = ["nnunet", "137", "3d_fullres"]
    options = ["--device", "cpu", "--epochs", "2", "--iterations", "2", "--validation-iterations", "2"]
    options += ["--save-every", "1", "--workers", "0", "--no-mirror"]
    results = folders["results"] / "Dataset137_BraTS2023" / TRAINER

    # Fold 0 is killed after its first epoch and gone on with by the same command.
    kill_once_there([*words, "0", *options], results / "fold_0" / "checkpoint_latest.pth")
    assert not (results / "fold_0" / "checkpoint_final.pth").exists()
    for fold in ("0", "1"):
        uncseg_train(*words, fold, *options)
    logs = "".join(path.read_text() for path in (results / "fold_0").glob("training_log_*.txt"))
    assert "going on from checkpoint_" in logs
    for fold in (0, 1):
        check_fold(folders, results / f"fold_{fold}", fold)
    check_refusals(folders, results / "fold_0")

    model = folders["models"] / "phantoms"
    invoke(uncseg, "model", "import", results, "-o", model)
    loaded = [load_model(model / f"fold_{fold}") for fold in (0, 1)]
    assert all(each.has_uncertainty and each.head is Head.REGIONS for each in loaded)
    assert loaded[0].sha256 != loaded[1].sha256
    assert loaded[0].provenance["epoch"] == 2
    assert loaded[0].provenance["settings"]["loss"]["rmsd"] == 0.5

    case = load_study(folders["download"] / "BraTS-GLI-00003-000")
    as_nnunet_counts(monkeypatch)
    ours = Predictor(loaded[0], device="cpu").predict(case)
    assert set(ours.maps) >= {"unc_output", "unc_output_unmasked", "entropy", "variance", "error"}
    assert np.isfinite(ours.maps["unc_output_unmasked"]).all()
    probabilities, labels = predicted_by_nnunet(results, case.images)
    assert np.abs(probabilities - ours.probabilities)[:, case.brain].max() <= 2e-3
    assert (labels == ours.segmentation)[case.brain].mean() >= 0.9999


@pytest.mark.slow
def test_without_the_channel_it_stops_after_an_epoch_and_goes_on(folders: dict[str, Path]) -> None:
    words = ["nnunet", 137, "3d_fullres", 0, "--no-channel", "--device", "cpu", "--epochs", 2, "--iterations", 2]
    words += ["--validation-iterations", 2, "--workers", 0]
    plain = folders["results"] / "Dataset137_BraTS2023" / TRAINER.replace("Uncertainty", "NoDeepSupervision")
    assert "run the same command to go on" in uncseg_train(*words, "--minutes", 0)
    stopped = torch.load(plain / "fold_0" / "checkpoint_latest.pth", weights_only=False)
    assert stopped["current_epoch"] == 1
    uncseg_train(*words)
    loaded = import_nnunet(plain, 0, orientation="LPS")
    assert not loaded.has_uncertainty


def test_patients_become_raw_data_in_the_coding_of_2023_with_their_folds(tmp_path: Path) -> None:
    names = ["BraTS-GLI-00000-000", "BraTS-GLI-00001-000"]
    write_phantoms(tmp_path / "studies", names, 11, (40, 48, 40), 4.0)
    splits = [{"train": names[:1], "val": names[1:]}, {"train": names[1:], "val": names[:1]}]
    nnunet_patients.write_raw([tmp_path / "studies"], tmp_path / "raw", splits)
    folder = tmp_path / "raw" / nnunet_patients.NAME
    assert len(list((folder / "imagesTr").iterdir())) == 8
    study = load_study(tmp_path / "studies" / names[0])
    assert study.reference is not None
    written = nib.load(folder / "labelsTr" / f"{names[0]}.nii.gz")
    assert "".join(nib.aff2axcodes(written.affine)) == nnunet_patients.ORIENTATION
    original = nib.as_closest_canonical(nib.Nifti1Image(study.reference.astype(np.uint8), study.affine))
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(original.dataobj))
    assert json.loads((folder / "splits_final.json").read_text()) == splits
    with pytest.raises(ValueError, match="other studies"):
        nnunet_patients.write_raw([tmp_path / "studies"], tmp_path / "raw", [{"train": names[:1], "val": ["other"]}])


def test_networks_are_compared_patient_by_patient() -> None:
    dice = {
        "plain": {name: dict.fromkeys(("WT", "TC", "ET"), 0.5) for name in "abcd"},
        "more": {name: dict.fromkeys(("WT", "TC", "ET"), 0.6) for name in "dcba"},
    }
    plain, more = nnunet_patients.rows_of(dice, "plain")
    assert (plain["WT"]["mean"], plain["WT beyond plain"]) == (0.5, "")
    assert more["WT beyond plain"]["mean"] == pytest.approx(0.1)


def kill_once_there(arguments: list[str], checkpoint: Path) -> None:
    """Start ``uncseg-train`` and kill it as soon as a file is there."""
    process = subprocess.Popen([sys.executable, "-m", "uncseg_training", *arguments], stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 900
        while not checkpoint.exists():
            assert process.poll() is None, "the training ended before it wrote a checkpoint"
            assert time.monotonic() < limit
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def check_fold(folders: dict[str, Path], fold: Path, number: int) -> None:
    """Log, maps and validation of a finished fold."""
    lines = [json.loads(line) for line in (fold / "uncertainty.jsonl").read_text().splitlines()]
    assert {line["epoch"] for line in lines} == {0, 1}
    assert set(lines[-1]["train"]) == {"loss", "segmentation", "unc", "rmsd", "correlation"}
    assert lines[0]["train"]["rmsd"] == 0  # nothing was visited before the first sweep
    assert lines[-1]["train"]["rmsd"] > 0
    manifest = json.loads((fold / "error_maps" / "manifest.json").read_text())
    assert {entry["visits"] for entry in manifest["cases"].values()} == {2}
    assert len(manifest["cases"]) == 8
    splits = json.loads((folders["raw"] / "Dataset137_BraTS2023" / "splits_final.json").read_text())
    names = {path.name.removesuffix(".nii.gz") for path in (fold / "validation").glob("*.nii.gz")}
    assert names == set(splits[number]["val"])
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == len(names)
    assert set(summary["mean"]) == {"(1, 2, 3)", "(1, 3)", "(3,)"}
    told = json.loads((fold / "validation" / "uncertainty.json").read_text())
    found = {(value["metric"], value["map"], value["voxel_set"], value["aggregation"]) for value in told["values"]}
    for name in ("unc_output", "unc_output_unmasked", "variance_stable_x4", "var1shot_x4"):
        for voxel_set in ("tumour", "brain"):
            for metric in ("rmsd_to_error_stable", "pearson_to_error_stable", "rmsd", "pearson", "auroc", "auprc"):
                assert {(metric, name, voxel_set, how) for how in ("case", "mean", "pooled")} <= found


def check_refusals(folders: dict[str, Path], fold: Path) -> None:
    """Maps of another preprocessing, a loss that changed and a fold that is not there are refused."""
    trainer = trainer_of(folders, 0)
    trainer.load_checkpoint(str(fold / "checkpoint_final.pth"))
    assert trainer.current_epoch == 2
    trainer.plans_manager.plans["configurations"]["3d_fullres"]["spacing"] = [3.0, 4.0, 4.0]
    with pytest.raises(ValueError, match="preprocessed in another way"):
        trainer.open_maps()
    trainer.my_init_kwargs["uncseg"] = {"channels": 2}
    with pytest.raises(ValueError, match="was trained with"):
        trainer.load_checkpoint(str(fold / "checkpoint_final.pth"))
    with pytest.raises(ModelError, match=r"cannot be read|damaged"):
        trainer.load_checkpoint(str(fold / "uncertainty.jsonl"))
    assert "There is no fold 2" in refused("nnunet", 137, "3d_fullres", 2, "--device", "cpu")


class Segmentation(nn.Module):
    """A network without its uncertainty channel, as nnU-Net's predictor wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)[:, :3]


def predicted_by_nnunet(results: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(3, x, y, z)`` and labels of fold 0 by nnU-Net's own predictor, without mirroring."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

    manager = PlansManager(str(results / "plans.json"))
    dataset = json.loads((results / "dataset.json").read_text())
    configuration = manager.get_configuration("3d_fullres")
    network = nnUNetTrainerUncertainty.build_network_architecture(manager, configuration, 4, 3, False)
    checkpoint = torch.load(results / "fold_0" / "checkpoint_final.pth", weights_only=False)
    network.load_state_dict(checkpoint["network_weights"])
    whole = Segmentation(network).eval()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    weights = [whole.state_dict()]
    predictor.manual_initialization(whole, manager, configuration, weights, dataset, "nnUNetTrainerUncertainty", None)
    properties = {"spacing": [4.0, 4.0, 4.0]}
    labels, found = predictor.predict_single_npy_array(images.transpose(0, 3, 2, 1), properties, None, None, True)
    return found.transpose(0, 3, 2, 1), labels.transpose(2, 1, 0)
