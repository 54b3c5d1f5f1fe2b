"""The predictor from a study to a prediction, with toy networks whose answer is known."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from napari_uncseg.errors import DeviceError, ModelError
from napari_uncseg.inference import forward_pass as runner_module
from napari_uncseg.inference.postprocessing import segment
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.study import Source
from napari_uncseg.labels import Coding
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy
from tests.inference.conftest import Neighbourhood, Threshold, model_of, study_of, turn_study, turn_volumes

MAPS = {"unc_output", "unc_output_unmasked", "entropy", "variance", "error"}


def test_a_bright_ball_is_found_where_it_is(study):
    prediction = Predictor(model_of(), device="cpu").predict(study)
    assert prediction.study_id == "toy"
    assert prediction.probabilities.shape == (3, *study.shape)
    assert prediction.probabilities.dtype == np.float32
    assert prediction.segmentation.dtype == np.uint8
    assert set(prediction.maps) == MAPS
    assert all(m.shape == study.shape and m.dtype == np.float32 for m in prediction.maps.values())
    np.testing.assert_array_equal(prediction.segmentation, study.reference)
    np.testing.assert_array_equal(prediction.affine, study.affine)
    assert not prediction.maps["error"].any()
    assert not prediction.probabilities[:, 0].any()  # outside the brain's box there is nothing


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.5, 2.5)])
def test_maps_follow_their_formulas(spacing):
    study = study_of(spacing=spacing)
    prediction = Predictor(model_of(), device="cpu").predict(study)
    whole_tumour = prediction.probabilities[0]
    inside = whole_tumour > 0
    np.testing.assert_allclose(prediction.maps["entropy"], entropy(whole_tumour), atol=1e-6)
    np.testing.assert_allclose(prediction.maps["variance"], bernoulli_variance(whole_tumour), atol=1e-6)
    mask = dilate_mm(prediction.segmentation > 0, study.spacing, 5.0)
    unmasked = prediction.maps["unc_output_unmasked"]
    np.testing.assert_array_equal(prediction.maps["unc_output"], np.where(mask, unmasked, 0))
    assert (unmasked[inside & ~mask] > 0).all()
    score = prediction.provenance["triage_score"]
    assert score == pytest.approx(float(prediction.maps["entropy"][mask].mean()), rel=1e-5)


def test_error_and_dice_against_the_reference(study):
    reference = study.reference.copy()
    reference[:, :, 12:] = 0
    prediction = Predictor(model_of(), device="cpu").predict(dataclasses.replace(study, reference=reference))
    np.testing.assert_array_equal(prediction.maps["error"] > 0, (prediction.segmentation > 0) ^ (reference > 0))
    a, b = np.count_nonzero(prediction.segmentation), np.count_nonzero(reference)
    assert prediction.provenance["dice"]["WT"] == pytest.approx(2 * b / (a + b))
    assert prediction.provenance["dice"]["TC"] == 1.0  # both empty


def test_without_a_reference_there_is_neither_error_nor_dice():
    prediction = Predictor(model_of(), device="cpu").predict(study_of(reference=False))
    assert set(prediction.maps) == MAPS - {"error"}
    assert "dice" not in prediction.provenance


def test_a_model_without_uncertainty_has_no_unc_output(study):
    prediction = Predictor(model_of(Threshold(uncertainty=False), uncertainty=0), device="cpu").predict(study)
    assert set(prediction.maps) == {"entropy", "variance", "error"}


def test_an_empty_prediction_has_no_triage_score(study):
    prediction = Predictor(model_of(Threshold(shift=100.0)), device="cpu").predict(study)
    assert not prediction.segmentation.any()
    assert not prediction.maps["unc_output"].any()
    assert prediction.maps["unc_output_unmasked"].any()
    assert prediction.provenance["triage_score"] is None
    assert prediction.provenance["volumes_ml"] == {"WT": 0.0, "TC": 0.0, "ET": 0.0}
    assert prediction.provenance["dice"]["WT"] == 0.0


@pytest.mark.parametrize(("head", "outputs"), [("labels4", 5), ("labels3_implicit_bg", 4)])
def test_softmax_heads(study, head, outputs):
    layer = nn.Conv3d(4, outputs, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        oedema = outputs - 3
        layer.bias[: outputs - 1] = -20
        layer.weight[oedema, 0], layer.bias[oedema] = 8, -8
        if head == "labels4":
            layer.bias[0] = 0
    prediction = Predictor(model_of(layer, head=head), device="cpu").predict(study)
    np.testing.assert_array_equal(prediction.segmentation, study.reference)
    assert prediction.probabilities.max() <= 1


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.5, 2.5)])
def test_a_turned_study_gives_the_turned_result(axes, spacing):
    signs = (-1, 1, -1)
    study = study_of(spacing=spacing)
    predictor = Predictor(model_of(Neighbourhood(), spacing=(1.5, 1.5, 1.5)), device="cpu")
    expected, turned = predictor.predict(study), predictor.predict(turn_study(study, axes, signs))
    np.testing.assert_array_equal(turned.probabilities, turn_volumes(expected.probabilities, axes, signs))
    np.testing.assert_array_equal(turned.segmentation, turn_volumes(expected.segmentation, axes, signs))
    for name, values in expected.maps.items():
        np.testing.assert_array_equal(turned.maps[name], turn_volumes(values, axes, signs), err_msg=name)


def test_the_same_input_gives_the_same_bits(study):
    model = model_of(Neighbourhood(), spacing=(1.3, 1.3, 1.3))
    first, second = (Predictor(model, device="cpu").predict(study) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert all(np.array_equal(first.maps[name], second.maps[name]) for name in first.maps)
    assert first.provenance == second.provenance


def test_the_study_is_left_as_it_was(study):
    before = study.images.copy()
    Predictor(model_of(), device="cpu").predict(study)
    np.testing.assert_array_equal(study.images, before)


def test_provenance_is_json_and_complete(study, tmp_path):
    study = dataclasses.replace(study, sources=(Source("t1c", tmp_path / "toy-t1c.nii.gz", "abc"),))
    predictor = Predictor(model_of(), device="cpu")
    provenance = predictor.predict(study, command="uncseg predict toy").provenance
    assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance
    assert provenance["schema"] == 1
    assert provenance["model"] == {"name": "toy", "sha256": "0" * 64}
    assert provenance["inputs"] == {"t1c": {"file": "toy-t1c.nii.gz", "sha256": "abc"}}
    assert provenance["settings"]["members"] == 1
    assert provenance["settings"]["mask_dilation_mm"] == 5.0
    assert provenance["settings"]["device"] == "cpu"
    assert provenance["command"] == "uncseg predict toy"
    assert provenance["warnings"] == ["Said before."]
    assert {"python", "torch", "numpy", "nibabel", "napari-uncseg"} <= set(provenance["versions"])
    assert "Research use only" in provenance["research_use_only"]
    before = predictor.provenance(study, "uncseg predict toy")
    assert all(provenance[key] == value for key, value in before.items())


def test_studies_made_in_memory_are_told_apart():
    predictor = Predictor(model_of(), device="cpu")
    first, again, other = (predictor.provenance(study_of(seed=seed))["inputs"] for seed in (0, 0, 1))
    assert first == again
    assert all(first[role] != other[role] for role in ("t1c", "t1n", "t2f", "t2w"))


def test_another_coding_of_the_reference_is_another_result(study):
    predictor = Predictor(model_of(), device="cpu")
    marks = {
        fingerprint(predictor.provenance(dataclasses.replace(study, coding=coding)))
        for coding in (Coding.BRATS2021, Coding.BRATS2024)
    }
    assert len(marks) == 2


def test_progress_only_grows_and_ends(study):
    calls = []
    Predictor(model_of(), device="cpu").predict(study, progress=lambda *call: calls.append(call))
    done, totals, messages = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {totals[0]}
    assert done[0] == 0
    assert done[-1] == totals[0]
    assert all(messages)


class Hungry(nn.Module):
    """Runs out of memory on tiles of more than a number of voxels."""

    def __init__(self, network: nn.Module, voxels: int) -> None:
        super().__init__()
        self.network = network
        self.voxels = voxels

    def forward(self, x):
        if x[0, 0].numel() > self.voxels:
            raise torch.OutOfMemoryError("out of memory")
        return self.network(x)


def test_out_of_memory_takes_smaller_tiles_and_says_so(study):
    said = []
    model = model_of(Hungry(Threshold(), 16 * 16 * 8))
    prediction = Predictor(model, device="cpu", notify=said.append).predict(study)
    np.testing.assert_array_equal(prediction.segmentation, study.reference)
    assert len(said) == 1
    assert "8×16×16" in said[0]
    assert prediction.provenance["run"]["tile"] == [8, 16, 16]
    assert prediction.provenance["warnings"] == ["Said before.", *said]
    # What decides whether a saved result is up to date does not depend on the memory of the day.
    assert prediction.provenance["settings"]["tile"] == [16, 16, 16]


def test_too_little_memory_altogether(study):
    with pytest.raises(DeviceError):
        Predictor(model_of(Hungry(Threshold(), 10)), device="cpu").predict(study)


class Unlimited(nn.Module):
    """Answers with a value that is not finite, always or in low precision alone."""

    def __init__(self, value: float, network: nn.Module | None = None) -> None:
        super().__init__()
        self.value = value
        self.network = network

    def forward(self, x):
        if self.network is None or torch.is_autocast_enabled("cpu"):
            return torch.full((1, 4, *x.shape[2:]), self.value)
        return self.network(x)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error_of_the_model(study, value):
    with pytest.raises(ModelError):
        Predictor(model_of(Unlimited(value)), device="cpu").predict(study)


def test_low_precision_that_overflows_is_repeated_in_float32(study, monkeypatch):
    monkeypatch.setattr(runner_module, "precision_of", lambda _: torch.bfloat16)
    said = []
    model = model_of(Unlimited(float("inf"), Threshold()))
    prediction = Predictor(model, device="cpu", notify=said.append).predict(study)
    np.testing.assert_array_equal(prediction.segmentation, study.reference)
    assert "bfloat16" in said[0]
    assert prediction.provenance["run"]["precision"] == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("millimetres", [1.0, 2.0])
def test_a_real_tumour_is_found_where_it_is(real_data, millimetres):
    """Bright FLAIR alone marks most of this oedema: any slip of crop, axes or grid would show in the overlap."""
    study = load_study(real_data / "brats2021" / "BraTS2021_00006")
    network = Threshold(shift=1.5)
    with torch.no_grad():
        network.layer.weight[0] = network.layer.weight[0].roll(2, 0)
    model = model_of(network, patch=(96, 96, 96), spacing=(millimetres,) * 3)
    assert Predictor(model, device="cpu").predict(study).provenance["dice"]["WT"] > 0.9


def test_models_that_do_not_fit_their_plans_are_refused(study):
    with pytest.raises(ModelError):
        Predictor(model_of(nn.Conv3d(4, 7, 1)), device="cpu").predict(study)
    with pytest.raises(ModelError):
        Predictor(model_of(head="lobes"), device="cpu")


def test_components_that_are_too_small_are_left_out_of_their_region():
    probabilities = np.zeros((3, 12, 12, 12), np.float32)
    probabilities[:2, 1:7, 1:7, 1:7] = 0.9
    probabilities[2, 2:4, 2:4, 2:4] = 0.9  # eight voxels of enhancing tumour in a core
    probabilities[0, 10, 10, 9:11] = 0.9  # two voxels by themselves
    assert segment(probabilities, 0.001)[10, 10, 10] == 2
    found = segment(probabilities, 0.001, 0.008)
    assert found[2, 2, 2] == 3
    assert not found[9:].any()
    found = segment(probabilities, 0.001, 0.009)
    assert found[2, 2, 2] == 1  # what encloses it
    assert (found > 0).sum() == 6**3


def test_a_model_says_what_is_too_small(study):
    model = model_of()
    model.plans["uncseg"]["smallest_ml"] = 1000.0
    prediction = Predictor(model, device="cpu").predict(study)
    assert not prediction.segmentation.any()
    assert prediction.probabilities.max() > 0.5
    assert prediction.provenance["settings"]["smallest_ml"] == 1000
    model.plans["uncseg"]["smallest_ml"] = "many"
    with pytest.raises(ModelError):
        Predictor(model, device="cpu").predict(study)
