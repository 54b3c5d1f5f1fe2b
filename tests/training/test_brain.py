"""Heads with a skull, images of them, and the training of the network that finds the brain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_uncseg.io.nifti import write_volume
from napari_uncseg.preparation.brain_network import load_brain_network
from tests.training.conftest import refused, uncseg_train
from uncseg_training.brain import trainer
from uncseg_training.brain.export import export
from uncseg_training.brain.heads import EXTRA, STEP_MM, Head, brain_of, load_heads, prepare_heads
from uncseg_training.brain.images import draw
from uncseg_training.brain.phantoms import centred, make_phantom, rigid
from uncseg_training.experiments.brain import tissue_kept
from uncseg_training.experiments.open_ms import read_visits
from uncseg_training.experiments.raw_path import step
from uncseg_training.phantom.anatomy import Tissue

SMALL = {"volume": [32, 32, 32], "wide_volume": [48, 48, 48], "features": [4, 8], "encoder": [1, 1], "decoder": [1]}


def codes() -> np.ndarray:
    """A head of shells in FreeSurfer's codes: white matter, cortex with a fold, fluid, bone, skin."""
    x, y, z = np.indices((144, 160, 144)) - np.array([72, 80, 72]).reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 0.9) ** 2 + (y / 1.1) ** 2 + z**2)
    found = np.zeros(radius.shape, np.int16)
    for limit, code in ((68, 511), (62, 515), (56, 24), (50, 3), (44, 2)):
        found[radius < limit] = code
    found[(np.abs(x) < 2) & (z > 20) & (radius < 50)] = 24  # between the halves
    found[radius < 8] = 4
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("maps")
    for name in ("one", "two"):
        write_volume(place / f"{name}.nii.gz", codes(), np.eye(4))
    return place


@pytest.fixture(scope="module")
def heads(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Head]:
    return prepare_heads(folder, tmp_path_factory.mktemp("heads") / "heads.npz", 2, 1)


def test_brain_ends_at_the_pia_and_holds_the_fluid_between_its_halves(heads):
    brain = brain_of(heads[0].labels)
    x, y, z = np.indices(brain.shape) - np.array([72, 80, 72]).reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 0.9) ** 2 + (y / 1.1) ** 2 + z**2)
    assert brain[radius < 45].all()
    assert not brain[radius > 51].any()
    distance = heads[0].distance * STEP_MM
    coarse = np.sqrt(
        sum((np.indices(distance.shape)[axis] * 2 + 0.5 - middle) ** 2 for axis, middle in enumerate((72, 80, 72)))
    )
    middle = distance[36, :, 36]
    assert distance.min() < -25
    np.testing.assert_allclose(middle[60:75], (coarse[36, 60:75, 36] - 55).clip(-30, 30), atol=2.5)
    assert all((heads[0].distance[tumour > 0] < 8).all() for tumour in heads[0].tumours)


def test_heads_are_read_again_from_their_file_and_others_are_refused(folder, heads, tmp_path):
    file = tmp_path / "heads.npz"
    made = prepare_heads(folder, file, 1, 1)
    np.testing.assert_array_equal(load_heads(file)[1].tumours, made[1].tumours)
    assert made[0].name == "one"
    file.write_bytes(b"no heads")
    with pytest.raises(ValueError, match=r"heads\.npz"):
        prepare_heads(folder, file, 1, 1)
    with pytest.raises(ValueError, match=str(tmp_path)):
        prepare_heads(tmp_path, tmp_path / "new.npz", 1, 1)
    write_volume(tmp_path / "bare.nii.gz", np.where(codes() < 500, codes(), 0).astype(np.int16), np.eye(4))
    with pytest.raises(ValueError, match=r"bare\.nii\.gz"):
        prepare_heads(tmp_path, tmp_path / "new.npz", 1, 1)


def test_images_are_the_same_again_and_their_distance_lies_on_them(heads):
    one, again, other = (draw(heads[0], (48, 48, 48), seed) for seed in (3, 3, 4))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, other.image)
    assert one.distance.shape == (24, 24, 24)
    assert 0 <= float(one.image.min()) <= float(one.image.max()) <= 1
    edges = []
    for seed in range(12):
        sample = draw(heads[0], (64, 64, 64), seed)
        edges.append(float((sample.distance < 0).sum()) * 64 / 1000)
    volume = float((heads[0].distance < 0).sum()) * 8 / 1000
    assert 0.6 * volume < np.median(edges) < 1.4 * volume


def test_phantom_with_a_skull_holds_its_tumour_and_moves_as_it_is_told(heads):
    made = make_phantom(heads[0], 3, 3.0)
    assert made.brain[made.labels > 0].all()
    assert made.images.min() >= 0
    move = rigid(np.array([0.0, 0, 0]), np.array([9.0, 0, 0]))
    still, moved = (made.scan(0, each, (3.0, 3.0, 3.0), (0, 0, 0)) for each in (np.eye(4), move))
    np.testing.assert_allclose(moved.values[6:-3], still.values[3:-6], atol=0.1)
    assert set(made.raw().scans) == {"t1c", "t1n", "t2f", "t2w"}
    np.testing.assert_allclose(centred((2, 2, 2), (3, 3, 3), (0, 0, 0)) @ [1, 1, 1, 1], [0, 0, 0, 1])


def test_training_goes_on_with_the_same_bits_and_ships_its_weights(heads, tmp_path):
    config = trainer.read_config(**SMALL, steps=6, held_out=1, validate_every=6, wide=0.5)
    whole = trainer.fit(heads, tmp_path / "whole", config)
    trainer.fit(heads, tmp_path / "cut", config, budget=0.0)
    lines: list[dict] = []
    cut = trainer.fit(heads, tmp_path / "cut", config, report=lines.append)
    assert cut.step == 6
    for ours, theirs in zip(whole.averaged.parameters(), cut.averaged.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert {"Dice", "sensitivity"} <= lines[-1]["validation"].keys()
    with pytest.raises(ValueError, match="seed"):
        trainer.fit(heads, tmp_path / "cut", trainer.read_config(**SMALL, seed=2, held_out=1))
    export(cut, heads, tmp_path / "brain.safetensors")
    network = load_brain_network(tmp_path / "brain.safetensors")
    assert network.trained_on == ("one",)
    for ours, theirs in zip(cut.averaged.parameters(), network.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_loss_counts_what_is_near_five_times_and_nothing_far_away():
    distance = torch.tensor([0.0, 20.0])
    assert float(trainer.distance_loss(torch.tensor([0.5, 9.0]), distance)) == pytest.approx(0.5 * 5 / 6)
    assert float(trainer.distance_loss(torch.tensor([0.0, 1.0]), distance)) == pytest.approx(0.5 / 6)


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"features": [4, 8, 16]}, {"volume": [30, 32, 32]}, {"held_out": -1}, {"name": 3}, {"bogus": 1}],
)
def test_configuration_that_cannot_be_is_refused(changes, tmp_path):
    import yaml

    (tmp_path / "brain.yaml").write_text(yaml.safe_dump({**SMALL, **changes}))
    with pytest.raises(ValueError, match=r"."):
        trainer.read_config(tmp_path / "brain.yaml")


def test_command_trains_and_writes_weights(folder, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text("\n".join(f"{key}: {value}" for key, value in {**SMALL, "tumours": 0, "held_out": 1}.items()))
    uncseg_train("brain", folder, "-o", tmp_path / "run", "--config", config, "--steps", 2)
    assert load_brain_network(tmp_path / "run" / "brain.safetensors").spacing == 2.0
    refused("brain", tmp_path, "-o", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert len(EXTRA) + len(Tissue) < 32


def test_visits_of_open_ms_data_have_their_mask_where_it_was_published(tmp_path):
    affine = centred((4.0, 4.0, 4.0), (40, 48, 44), (0, 0, 0))
    ball = np.linalg.norm(np.indices((40, 48, 44)).T - [19.5, 23.5, 21.5], axis=-1).T < 16
    raw, common = tmp_path / "raw", tmp_path / "coregistered"
    for patient, mask in (("patient01", ball), ("patient19", np.ones_like(ball))):
        write_volume(common / patient / "brainmask.nii.gz", mask.astype(np.uint8), affine)
        write_volume(raw / patient / "study1_FLAIR.nii.gz", ball.astype(np.float32), affine)
        write_volume(raw / patient / "study1_T1W.nii.gz", ball.astype(np.float32), affine)
        for visit in ("study1", "study2"):
            for name, mm in (
                ("FLAIR_to_common_space", 0),
                ("T1W_intrastudy_to_FLAIR", 8),
                ("T2W_intrastudy_to_FLAIR", 0),
            ):
                numbers = f"Parameters: 1 0 0 0 1 0 0 0 1 {mm} 0 0"
                text = f"#Insight Transform File V1.0\n#Transform 0\n{numbers}\nFixedParameters: 5 0 0\n"
                (raw / patient / f"{visit}_{name}.txt").write_text(text)
    (visit,) = read_visits(tmp_path)
    assert (visit.name, set(visit.scans)) == ("patient01 study1", {"FLAIR", "T1W"})
    np.testing.assert_array_equal(visit.brain("FLAIR"), ball)
    # 8 mm to the left in ITK's axes are two voxels towards lower indices here.
    np.testing.assert_array_equal(visit.brain("T1W")[:-2], ball[2:])


def test_a_faint_tumour_is_told_from_one_that_stands_out():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[12:28, 12:28, 12:28] = 2
    brain = np.ones(labels.shape, bool)
    images = np.random.default_rng(0).normal(10, 1, (4, *labels.shape)).astype(np.float32)
    assert abs(step(images, labels, brain, 1.0)) < 0.2
    images[3][labels > 0] += 5
    assert step(images, labels, brain, 1.0) > 1.5
    assert np.isnan(step(images, np.zeros_like(labels), brain, 1.0))


def test_tissue_of_a_published_mask_is_as_bright_as_the_brain():
    truth = np.zeros((40, 40, 40), bool)
    truth[4:36, 4:36, 4:36] = True
    found = truth.copy()
    found[:, :, :8] = False
    flair = np.where(truth, np.float32(10), np.float32(1))
    assert tissue_kept(found, truth, flair, (1.0, 1.0, 1.0)) == pytest.approx(28 / 32)
    flair[:, :, :8] = 2  # fluid
    assert tissue_kept(found, truth, flair, (1.0, 1.0, 1.0)) == 1
