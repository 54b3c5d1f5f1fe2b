"""nnU-Net v2's result folders become models that say the same, and nothing in them is executed."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from typer.testing import CliRunner

from napari_uncseg.cli.app import app
from napari_uncseg.errors import ModelError
from napari_uncseg.inference import forward_pass as runner_module
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import study_from_arrays
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Label, labels_from_regions
from napari_uncseg.models.heads import Head, region_probabilities, split
from napari_uncseg.models.importers.checkpoint import read_checkpoint
from napari_uncseg.models.importers.nnunet import find_folds, import_nnunet
from napari_uncseg.models.model import Model, load_model, save_model
from tests.models.conftest import Bomb
from tests.plans import OPERATIONS

REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]}
SWAPPED_REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}
LABELS = {"background": 0, "necrosis": 1, "edema": 2, "enhancing tumor": 3}
SWAPPED_LABELS = {"background": 0, "edema": 1, "non-enhancing tumor": 2, "enhancing tumour": 3}
CAVITY_REGIONS = {
    "background": 0,
    "resection cavity": [4],
    "enhancing tumor": [3],
    "whole tumor": [1, 2, 3],
    "tumor core": [1, 3],
}
CHANNELS = ("T1w", "T1gd", "T2w", "FLAIR")
# nnU-Net's channel behind t1c, t1n, t2f, t2w.
ORDER = [1, 0, 3, 2]

KWARGS: dict[str, Any] = {
    **OPERATIONS,
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    # No axis is like another.
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 1]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 1]],
}
PLAIN = {**KWARGS, "n_conv_per_stage": [1, 2, 1], "n_conv_per_stage_decoder": [1, 1]}
RESIDUAL = {**KWARGS, "n_blocks_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}


def nnunet_plans(name: str, kwargs: dict[str, Any], forward: list[int]) -> dict[str, Any]:
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": "Dataset137_BraTS2023",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": forward,
        "transpose_backward": [forward.index(axis) for axis in range(3)],
        "foreground_intensity_properties_per_channel": {str(number): {} for number in range(4)},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [16, 24, 20],
                "spacing": [2.0, 2.0, 2.0],
                "normalization_schemes": ["ZScoreNormalization"] * 4,
                "use_mask_for_norm": [True] * 4,
                **{
                    f"resampling_fn_{kind}": "resample_data_or_seg_to_shape"
                    for kind in ("data", "seg", "probabilities")
                },
                **{f"resampling_fn_{kind}_kwargs": resampling for kind in ("data", "seg", "probabilities")},
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
                    "arch_kwargs": kwargs,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            },
            "3d_other": {"inherits_from": "3d_fullres", "batch_size": 4},
        },
    }


def write_results(
    folder: Path,
    *,
    name: str = "PlainConvUNet",
    forward: tuple[int, ...] = (0, 1, 2),
    labels: dict[str, Any] = REGIONS,
    extra: int = 0,
    trainer: str = "nnUNetTrainer",
    configuration: str = "3d_fullres",
    folds: tuple[str, ...] = ("0",),
    scale: float = 1.0,
    seed: int = 0,
) -> nn.Module:
    """What nnU-Net leaves behind, with random weights; returns the network of the last fold."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    kwargs = PLAIN if name == "PlainConvUNet" else RESIDUAL
    plans = nnunet_plans(name, kwargs, list(forward))
    regions = any(isinstance(value, list) for value in labels.values())
    dataset = {"channel_names": dict(enumerate(CHANNELS)), "labels": labels, "file_ending": ".nii.gz"}
    if regions:
        dataset["regions_class_order"] = list(range(1, len(labels)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    operations = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    heads = len(labels) - (1 if regions else 0)
    for number, fold in enumerate(folds):
        torch.manual_seed(seed + number)
        network = getattr(unet, name)(input_channels=4, num_classes=heads + extra, **{**kwargs, **operations}).eval()
        with torch.no_grad():
            for layer in network.decoder.seg_layers:
                layer.weight *= scale
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(1.0)]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 2,
            "init_args": {"configuration": configuration, "fold": fold, "device": torch.device("cpu"), "plans": plans},
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        place = folder / f"fold_{fold}"
        place.mkdir(exist_ok=True)
        torch.save(checkpoint, place / "checkpoint_final.pth")
    return network


def seen_by_nnunet(images: torch.Tensor, forward: tuple[int, ...]) -> torch.Tensor:
    """``(batch, modality, x, y, z)`` as nnU-Net has it: its channels, (z, y, x), transposed."""
    zyx = images.permute(0, 1, 4, 3, 2)[:, [ORDER.index(channel) for channel in range(4)]]
    return zyx.permute(0, 1, *(2 + axis for axis in forward)).contiguous()


def seen_by_us(volumes: torch.Tensor, forward: tuple[int, ...]) -> torch.Tensor:
    back = [forward.index(axis) for axis in range(3)]
    return volumes.permute(0, 1, *(2 + axis for axis in back)).permute(0, 1, 4, 3, 2)


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("forward", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_turned_weights_answer_as_nnunet_does(tmp_path: Path, name: str, forward: tuple[int, ...]) -> None:
    theirs = write_results(tmp_path, name=name, forward=forward)
    model = import_nnunet(tmp_path)
    images = torch.randn(1, 4, 12, 16, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, expected = model.network(images), seen_by_us(theirs(seen_by_nnunet(images, forward)), forward)
    assert torch.allclose(ours, expected, atol=1e-5)
    assert sorted(model.patch_size) == [16, 20, 24]
    # nnU-Net's axis i is axis forward[i] of (z, y, x).
    assert [model.patch_size[2 - axis] for axis in forward] == [16, 24, 20]
    assert (model.head, model.orientation, model.has_uncertainty) == (Head.REGIONS, None, False)


@pytest.mark.parametrize(
    ("labels", "head", "rows"),
    [
        (REGIONS, Head.REGIONS, (0, 1, 2)),
        (SWAPPED_REGIONS, Head.REGIONS, (0, 1, 2)),
        (CAVITY_REGIONS, Head.REGIONS, (2, 3, 1)),
        (LABELS, Head.LABELS4, (0, 1, 2, 3)),
        (SWAPPED_LABELS, Head.LABELS4, (0, 2, 1, 3)),
    ],
)
@pytest.mark.parametrize("extra", [0, 1])
def test_outputs_are_put_in_our_order(tmp_path, labels, head, rows, extra):
    theirs = write_results(tmp_path, labels=labels, extra=extra, trainer="nnUNetTrainerUncertainty")
    saved = save_model(import_nnunet(tmp_path), tmp_path / "model")
    model = load_model(saved.folder)
    assert model.head is head
    assert model.has_uncertainty == bool(extra)
    images = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, expected = model.network(images), seen_by_us(theirs(seen_by_nnunet(images, (0, 1, 2))), (0, 1, 2))
    segmentation, uncertainty = split(ours, head)
    assert torch.allclose(segmentation, expected[:, list(rows)], atol=1e-5)
    assert (uncertainty is not None) == bool(extra)
    if uncertainty is not None:
        assert torch.allclose(uncertainty, expected[:, -1:], atol=1e-5)
    assert float(region_probabilities(segmentation, head).max()) <= 1


def test_configuration_that_inherits_and_older_plans(tmp_path: Path) -> None:
    write_results(tmp_path, configuration="3d_other")
    assert import_nnunet(tmp_path).configuration["batch_size"] == 4
    plans = json.loads((tmp_path / "plans.json").read_text())
    block = plans["configurations"]["3d_fullres"]
    kwargs = block.pop("architecture")["arch_kwargs"]
    block |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
    }
    new = import_nnunet(tmp_path)
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    old = import_nnunet(tmp_path)
    images = torch.randn(1, 4, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(old.network(images), new.network(images))


def test_names_of_compiled_and_spread_networks_are_understood(tmp_path: Path) -> None:
    write_results(tmp_path)
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path)
    plain = import_nnunet(tmp_path).network.state_dict()
    content["network_weights"] = {f"module._orig_mod.{key}": v for key, v in content["network_weights"].items()}
    torch.save(content, path)
    again = import_nnunet(tmp_path).network.state_dict()
    assert all(torch.equal(plain[key], again[key]) for key in plain)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    write_results(tmp_path / "results")
    path = tmp_path / "results" / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path)
    torch.save({**content, "logging": Bomb(tmp_path / "exploded")}, path)
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        import_nnunet(tmp_path / "results")
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        import_nnunet(tmp_path / "results")
    assert not (tmp_path / "exploded").exists()


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_configuration(folder: Path, **values: Any) -> None:
    block = json.loads((folder / "plans.json").read_text())["configurations"]["3d_fullres"]
    change(folder, "plans.json", configurations={"3d_fullres": block | values})


REFUSED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no folder of nnU-Net": ("plans.json", lambda folder: (folder / "plans.json").unlink()),
    "an output that nobody declared": ("checkpoint_final.pth", lambda folder: write_results(folder, extra=1)),
    "labels of another organ": ("dataset.json", lambda f: change(f, "dataset.json", labels={"liver": 1, "tumor": 2})),
    "channels of another modality": ("dataset.json", lambda f: change(f, "dataset.json", channel_names={"0": "CT"})),
    "fewer outputs than labels": ("checkpoint_final.pth", lambda f: change(f, "dataset.json", labels=LABELS)),
    "a label more": ("dataset.json", lambda f: change(f, "dataset.json", labels={**LABELS, "resection cavity": 4})),
    "another reader": ("Tiff3DIO", lambda f: change(f, "plans.json", image_reader_writer="Tiff3DIO")),
    "a cut checkpoint": (
        "checkpoint_final.pth",
        lambda folder: (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"PK\x03\x04 cut"),
    ),
    "another normalisation": (
        "CTNormalization",
        lambda f: change_configuration(f, normalization_schemes=["ZScoreNormalization"] * 3 + ["CTNormalization"]),
    ),
    "axes that are no numbers": ("transpose_forward", lambda f: change(f, "plans.json", transpose_forward=[0, {}, 2])),
    "a second stage": ("plans.json", lambda folder: change_configuration(folder, previous_stage="3d_lowres")),
}


@pytest.mark.parametrize(("named", "damage"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_sentence(tmp_path: Path, named: str, damage: Callable[[Path], object]) -> None:
    write_results(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=re.escape(named)) as refused:
        import_nnunet(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_fold_or_a_checkpoint_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_results(tmp_path)
    with pytest.raises(ModelError, match="fold_0"):
        import_nnunet(tmp_path, 3)
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        find_folds(tmp_path, "checkpoint_best.pth")


def test_command_imports_every_fold(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset137_BraTS2023" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    write_results(folder, folds=("0", "1"))
    run = CliRunner()
    result = run.invoke(app, ["model", "import", str(folder), "-o", str(tmp_path / "out"), "--orientation", "lps"])
    assert result.exit_code == 0, result.output
    models = [load_model(tmp_path / "out" / fold) for fold in ("fold_0", "fold_1")]
    assert models[0].sha256 != models[1].sha256
    assert models[0].orientation == "LPS"
    assert models[0].name == "Dataset137_BraTS2023 fold 0"
    again = run.invoke(app, ["model", "import", str(folder), "-o", str(tmp_path / "out"), "--fold", "1"])
    assert again.exit_code == 1
    assert str(tmp_path / "out") in again.output
    dataset = tmp_path / "mine" / "dataset.json"
    dataset.parent.mkdir()
    dataset.write_text("{}")
    words = ["model", "import", str(folder), "-o", str(dataset.parent), "--fold", "1", "--overwrite"]
    assert run.invoke(app, words).exit_code == 1, "only a model is replaced"
    assert dataset.read_text() == "{}"
    one = run.invoke(app, ["model", "import", str(folder), "-o", str(tmp_path / "one"), "--fold", "1"])
    assert one.exit_code == 0, one.output
    assert load_model(tmp_path / "one").orientation is None
    odd = run.invoke(app, ["model", "import", str(folder), "-o", str(tmp_path / "x"), "--orientation", "LLS"])
    assert odd.exit_code == 2


def study() -> Study:
    """A blurred noise in a ball of brain, off the middle."""
    generator = np.random.default_rng(0)
    shape = (40, 44, 36)
    noise = ndimage.gaussian_filter(generator.normal(size=(4, *shape)), (0, 2, 2, 2))
    centre = np.array([19, 23, 17])[:, None, None, None]
    brain = ((np.indices(shape) - centre) ** 2).sum(0) < 15**2
    images = np.clip(noise / noise.std() * 100 + 500, 1, None) * brain
    return study_from_arrays(images.astype(np.float32), np.diag([-2.0, -2.0, 2.0, 1.0]), id="noise")


def as_nnunet_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32, as nnU-Net does on the processor."""
    monkeypatch.setattr(runner_module, "precision_of", lambda device: torch.float32)


def agreement(model: Model, case: Study, theirs: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Largest difference of a probability, and share of equal labels, in the brain.

    nnU-Net sums in half precision, where the weight of a tile's corner is a single bit: outside the brain, in the
    corners of the volume, its numbers are rounding alone.
    """
    ours = Predictor(model, device="cpu").predict(case)
    probabilities, labels = theirs
    difference = np.abs(probabilities - ours.probabilities)[:, case.brain].max()
    return float(difference), float((labels == ours.segmentation)[case.brain].mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "patch", "seed", "scale"),
    [
        (SWAPPED_REGIONS, (16, 24, 20), 1, 8.0),
        (SWAPPED_REGIONS, (48, 48, 48), 1, 8.0),
        (SWAPPED_LABELS, (48, 48, 48), 0, 3.0),
    ],
)
def test_predictors_agree(tmp_path, monkeypatch, labels, patch, seed, scale):
    nnunet = pytest.importorskip("nnunetv2.inference.predict_from_raw_data")
    write_results(tmp_path, forward=(1, 0, 2), labels=labels, scale=scale, seed=seed)
    plans = json.loads((tmp_path / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["patch_size"] = list(patch)
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    case, model = study(), import_nnunet(tmp_path)
    predictor = nnunet.nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(tmp_path), (0,))
    images = case.images[[ORDER.index(channel) for channel in range(4)]].transpose(0, 3, 2, 1)
    segmentation, found = predictor.predict_single_npy_array(images, {"spacing": [2.0] * 3}, None, None, True)
    if labels is SWAPPED_REGIONS:
        expected = np.array([0, Label.ED, Label.NCR, Label.ET])[segmentation].transpose(2, 1, 0)
    else:
        # Background, oedema, necrosis, enhancing tumour: here labels come from regions, nnU-Net takes the largest.
        found = np.stack([found[1] + found[2] + found[3], found[2] + found[3], found[3]])
        expected = labels_from_regions(found).transpose(2, 1, 0)
    as_nnunet_counts(monkeypatch)
    difference, same = agreement(model, case, (found.transpose(0, 3, 2, 1), expected))
    assert difference <= 2e-3
    assert same >= 0.9999
    assert len(np.unique(expected[case.brain])) >= 3
