"""Members of a prediction: against what each network says by itself, and the laws that hold between them."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.ensembling import FLIP_AXES
from napari_uncseg.inference.forward_pass import Mirrored
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.maps import COMPUTED, MapName
from napari_uncseg.models.model import load_model, load_snapshot, save_model
from napari_uncseg.uncertainty.measures import entropy
from tests.inference.conftest import UNET, Threshold, model_of, plans_of, turn_study, unet_of

EVERY_MAP = [f"{measure}{region}" for measure in COMPUTED for region in ("", "-tc", "-et")]
BETWEEN = [name for name in EVERY_MAP if MapName.parse(name).between_members]


def predict(model, study, members, **options):
    return Predictor(model, device="cpu").predict(study, ensemble=members, **options)


@pytest.fixture
def model():
    return model_of(unet_of())


@pytest.fixture
def saved(tmp_path):
    """A model folder of three networks, and another one; both small U-Nets."""

    def save(name, *, seed, snapshots=()):
        network = unet_of(seed=seed)
        model = model_of(network)
        architecture = {"network_class_name": "PlainConvUNet", "arch_kwargs": UNET}
        model.plans["configurations"]["3d_fullres"]["architecture"] = architecture
        model = dataclasses.replace(model, name=name)
        save_model(model, tmp_path / name, snapshots=[unet_of(seed=number).state_dict() for number in snapshots])
        return tmp_path / name

    return save


def test_the_default_is_one_pass_bit_for_bit(study, model):
    """What members, maps and calibration brought leaves the prediction of one pass as it was."""
    from napari_uncseg.inference.preprocessing import InputPlan, brain_crop, network_input
    from napari_uncseg.inference.resampling import resample
    from napari_uncseg.inference.sliding_window import sliding_window_logits
    from napari_uncseg.uncertainty.measures import bernoulli_variance

    prediction = Predictor(model, device="cpu").predict(study)
    plan = InputPlan.from_plans(model.plans)
    crop = brain_crop(study, plan)
    precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[prediction.provenance["run"]["precision"]]
    logits = sliding_window_logits(
        model.network, network_input(study, plan, crop), plan.patch_size, step=0.5, precision=precision
    )
    with torch.inference_mode():
        logits = resample(logits, crop.shape)
        probabilities = torch.sigmoid(logits[:3])
        expected = {
            "entropy": entropy(probabilities[0]),
            "variance": bernoulli_variance(probabilities[0]),
            "unc_output_unmasked": torch.sigmoid(logits[3]),
        }
    np.testing.assert_array_equal(prediction.probabilities, crop.put_back(probabilities.numpy()))
    for name, values in expected.items():
        np.testing.assert_array_equal(prediction.maps[name], crop.put_back(values.numpy()), err_msg=name)
    assert list(prediction.maps) == ["unc_output", "entropy", "variance", "unc_output_unmasked", "error"]
    assert not {"members"} & set(prediction.provenance)
    assert not {"method", "maps", "calibration"} & set(prediction.provenance["settings"])


def test_flips_are_the_eight_ways_to_mirror():
    assert len(set(FLIP_AXES)) == 8
    assert FLIP_AXES[0] == ()
    network, x = nn.Conv3d(4, 4, 3, padding=1), torch.randn(1, 4, 6, 7, 8)
    with torch.inference_mode():
        assert torch.equal(Mirrored(network, (0, 2))(x), network(x.flip(2, 4)).flip(2, 4))
    assert Mirrored(nn.Identity(), (1,))(x).equal(x)


def test_flips_of_a_network_that_treats_all_sides_alike_agree(study):
    prediction = predict(model_of(Threshold()), study, "tta:8", maps=BETWEEN)
    for name in BETWEEN:
        if not name.startswith("expected"):
            assert prediction.maps[name].max() < 1e-6, name
    single = predict(model_of(Threshold()), study, "single")
    np.testing.assert_allclose(prediction.probabilities, single.probabilities, atol=1e-6)


def test_flips_of_another_network_differ_and_average(study, model):
    prediction = predict(model, study, "tta:8")
    assert prediction.member_count == 8
    assert prediction.method == "tta:8"
    assert prediction.maps["variance"].max() > 1e-4
    assert prediction.maps["mutual_information"].max() > 1e-4
    stack = []
    for axes in FLIP_AXES:
        alone = dataclasses.replace(model, network=Mirrored(model.network, axes))
        stack.append(predict(alone, study, "single"))
    probabilities = np.stack([one.probabilities for one in stack])
    np.testing.assert_allclose(prediction.probabilities, probabilities.mean(0), atol=1e-6)
    np.testing.assert_allclose(prediction.maps["variance"], probabilities[:, 0].var(0), atol=1e-6)
    unc = np.mean([one.maps["unc_output_unmasked"] for one in stack], axis=0)
    np.testing.assert_allclose(prediction.maps["unc_output_unmasked"], unc, atol=1e-6)
    names = prediction.provenance["members"]["names"]
    assert names[0] == "as it is"
    assert names[-1] == "flip xyz"


def test_noise_is_a_member_of_its_own_and_stays_in_the_brain(study, model):
    first = predict(model, study, "tta:2,noise=0.2")
    again = predict(model, study, "tta:2,noise=0.2")
    quiet, other = predict(model, study, "tta:2"), predict(model, study, "tta:2,noise=0.2,seed=1")
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, quiet.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)
    assert not first.probabilities[:, 0].any()


def test_injected_dropout_of_nothing_is_one_pass(study, model):
    single = predict(model, study, "single")
    for layers in ("all", "decoder"):
        prediction = predict(model, study, f"dropout_injection:3,p=0,layers={layers}", maps=EVERY_MAP)
        np.testing.assert_array_equal(prediction.probabilities, single.probabilities)
        assert not prediction.maps["mutual_information"].any()
        assert not prediction.maps["variance"].any()


@pytest.mark.parametrize("members", ["dropout_injection:4,p=0.3", "dropout_injection:4,p=0.3,layers=all"])
def test_passes_of_dropout_can_be_repeated_and_go_on(study, model, members):
    first, again = predict(model, study, members), predict(model, study, members)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert first.maps["variance"].max() > 1e-3
    # The first two passes of four are the two passes of two.
    fewer = predict(model, study, members.replace(":4", ":2"))
    more = predict(model, study, members.replace(":4", ":3"))
    third = 3 * more.probabilities - 2 * fewer.probabilities
    fourth = 4 * first.probabilities - 3 * more.probabilities
    for member in (third, fourth):
        assert member.min() > -1e-5
        assert member.max() < 1 + 1e-5
    told = first.provenance["members"]
    assert told["dropped_layers"] == (5 if "all" in members else 2)
    assert told["p"] == [0.3]


def test_the_encoder_runs_once_when_only_the_decoder_differs(study):
    network, calls = unet_of(), []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    predict(model_of(network), study, "single")
    once = len(calls)
    calls.clear()
    predict(model_of(network), study, "dropout_injection:5")
    assert len(calls) == once
    calls.clear()
    predict(model_of(network), study, "dropout_injection:5,layers=all")
    assert len(calls) == 5 * once


def test_mc_dropout_of_a_network_trained_with_it(study):
    model = model_of(unet_of(dropout="torch.nn.Dropout3d", p=0.3))
    prediction = predict(model, study, "mc_dropout:3")
    assert prediction.maps["variance"].max() > 1e-3
    assert prediction.provenance["members"]["p"] == [0.3]
    # Alone, dropout is off.
    one, two = (predict(model, study, "single").probabilities for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_snapshots_run_from_the_last_to_the_first(study, saved):
    folder = saved("run", seed=1, snapshots=(2, 3))
    model = load_model(folder)
    prediction = predict(model, study, "snapshots")
    assert prediction.method == "snapshots:3"
    assert prediction.provenance["members"]["names"] == ["snapshot 3", "snapshot 2", "snapshot 1"]
    each = [predict(load_snapshot(model, number), study, "single").probabilities for number in (1, 2, 3)]
    np.testing.assert_allclose(prediction.probabilities, np.mean(each, axis=0), atol=1e-6)
    last = predict(model, study, "snapshots:2")
    np.testing.assert_allclose(last.probabilities, np.mean(each[1:], axis=0), atol=1e-6)


def test_snapshots_that_are_not_there_are_refused(study, model, saved):
    with pytest.raises(ModelError):
        predict(model, study, "snapshots")
    with pytest.raises(ModelError):
        predict(load_model(saved("run", seed=1, snapshots=(2, 3))), study, "snapshots:4")


def test_an_ensemble_is_the_mean_of_its_folders(study, model, saved):
    folders = [saved("a", seed=1), saved("b", seed=2)]
    prediction = predict(model, study, f"ensemble:{folders[0]},{folders[1]}")
    loaded = list(map(load_model, folders))
    each = [predict(one, study, "single") for one in loaded]
    np.testing.assert_allclose(
        prediction.probabilities, np.mean([one.probabilities for one in each], axis=0), atol=1e-6
    )
    digest = hashlib.sha256("".join(one.sha256 for one in loaded).encode()).hexdigest()
    assert prediction.provenance["model"] == {
        "name": "ensemble of 2: a, b",
        "sha256": digest,
        "networks": [{"name": one.name, "sha256": one.sha256} for one in loaded],
    }
    assert prediction.method == "ensemble:2"
    with pytest.raises(ModelError):
        predict(model, study, f"ensemble:{folders[0]},nowhere")


def test_members_of_other_grids_meet_on_one(study):
    """A network that works in other axes and another voxel size says what it says alone."""
    from napari_uncseg.inference.preprocessing import InputPlan, brain_crop, turned

    axes, signs = (2, 0, 1), (-1, 1, -1)
    turned_study = turn_study(study, axes, signs)
    crops = [
        brain_crop(turned_study, InputPlan.from_plans(plans_of(orientation=orientation, spacing=(1.5, 1.5, 1.5))))
        for orientation in ("RAS", "LPI", "SRA", None)
    ]
    volumes = turned_study.images
    taken = [torch.from_numpy(np.ascontiguousarray(crop.take(volumes))) for crop in crops]
    for crop, mine in zip(crops, taken, strict=True):
        for onto, theirs in zip(crops, taken, strict=True):
            assert torch.equal(turned(mine, crop, onto), theirs)


def gaussian(log_variance):
    """A model of Gaussian logits: small U-Net with three means, three log-variances and the uncertainty channel."""
    network = unet_of(outputs=7)
    with torch.no_grad():
        layer = network.decoder.seg_layers[-1]
        layer.weight[3:6] = 0
        layer.bias[3:6] = log_variance
    model = model_of(network)
    model.plans["uncseg"]["head"] = "regions_gaussian"
    return model


def test_logits_are_sampled_from_one_pass(study):
    model, calls = gaussian(0.0), []
    model.network.encoder.register_forward_hook(lambda *_: calls.append(1))
    single = predict(model, study, "single")
    once = len(calls)
    prediction = predict(model, study, "logit_sampling:30")
    assert len(calls) == 2 * once
    # The variance of sigmoid(z + e) for e of variance 1 lies near (p (1 - p))^2 for small noise, and well above zero.
    middle = (single.probabilities[0] > 0.4) & (single.probabilities[0] < 0.6)
    assert 0.02 < prediction.maps["variance"][middle].mean() < 0.06
    again = predict(model, study, "logit_sampling:30")
    np.testing.assert_array_equal(prediction.probabilities, again.probabilities)


def test_logits_without_variance_are_one_pass(study):
    model = gaussian(-60.0)
    prediction = predict(model, study, "logit_sampling:5", maps=["variance", "mutual_information"])
    np.testing.assert_allclose(prediction.probabilities, predict(model, study, "single").probabilities, atol=1e-6)
    assert prediction.maps["variance"].max() < 1e-9


def test_logit_sampling_needs_such_a_head(study, model):
    with pytest.raises(ModelError, match="tta:8"):
        predict(model, study, "logit_sampling:5")
    broken = model_of(unet_of(outputs=5))
    broken.plans["uncseg"]["head"] = "regions_gaussian"
    for members in ("single", "logit_sampling:2"):
        with pytest.raises(ModelError, match="toy"):
            predict(broken, study, members)


def test_members_without_an_uncertainty_channel(study):
    prediction = predict(model_of(unet_of(outputs=3), uncertainty=0), study, "tta:2")
    assert set(prediction.maps) == {"entropy", "mutual_information", "variance", "error"}
