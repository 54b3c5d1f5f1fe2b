"""The predictor with several members: maps that were chosen, a calibration, a run that is stopped half-way."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from napari_uncseg.errors import AnotherResult, Cancelled, UncsegError
from napari_uncseg.inference import ensembling as members_module
from napari_uncseg.inference.ensembling import sample_probabilities
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import State, check_target, save_prediction
from napari_uncseg.uncertainty.measures import entropy
from tests.inference.conftest import model_of, unet_of


class Squeeze:
    """A calibration that halves what is above 0.5 and remembers what it was asked."""

    error_risk = expected_dice = None
    has_estimates = False

    def completed_by(self, other):
        assert other is None
        return self

    def __init__(self, factor: float = 0.5, error: Exception | None = None) -> None:
        self.factor = factor
        self.error = error
        self.asked: list[tuple[str, str]] = []

    def apply(self, probabilities):
        assert probabilities.dtype == np.float32
        return np.where(probabilities > 0.5, probabilities * np.float32(self.factor), probabilities)

    def check(self, model_sha256, ensemble):
        self.asked.append((model_sha256, ensemble))
        if self.error is not None:
            raise self.error


class StopAfter:
    """A user who stops once some members are done: asked by the run, told by its progress."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.message = ""

    def progress(self, done, total, message):
        self.message = message

    def __call__(self) -> bool:
        return f"member {self.members + 1} of" in self.message


@pytest.fixture
def predictor():
    return Predictor(model_of(unet_of()), device="cpu")


def stopped(predictor, study, members, after, **options):
    stop = StopAfter(after)
    return predictor.predict(study, ensemble=members, progress=stop.progress, cancelled=stop, **options)


def test_what_a_model_cannot_do_is_known_without_a_study(predictor):
    predictor.check()
    predictor.check(ensemble="tta:2", maps=["mutual_information"], calibration=Squeeze())
    for asked in ({"ensemble": "snapshots:9"}, {"maps": ["mutual_information"]}, {"ensemble": "guess"}):
        with pytest.raises(UncsegError):
            predictor.check(**asked)
    with pytest.raises(UncsegError):
        predictor.check(calibration=Squeeze(error=UncsegError("It is of another model.")))


def test_settings_tell_members_and_maps_apart(study, predictor):
    marks = {
        fingerprint(predictor.provenance(study, ensemble=members, maps=maps))
        for members, maps in [
            ("single", None),
            ("tta:8", None),
            ("tta:4", None),
            ("dropout_injection:8", None),
            ("dropout_injection:8,seed=1", None),
            ("tta:8", ["entropy"]),
        ]
    }
    assert len(marks) == 6
    usual = predictor.provenance(study, ensemble="tta:8", maps=["variance", "entropy", "mutual_information"])
    assert fingerprint(usual) == fingerprint(predictor.provenance(study, ensemble="tta:8"))


def test_what_a_result_of_several_says(study, predictor):
    prediction = predictor.predict(study, ensemble="tta:2", command="uncseg predict toy --members tta:2")
    provenance = prediction.provenance
    assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance
    assert provenance["settings"]["members"] == 2
    assert provenance["settings"]["method"] == "tta:2"
    told = provenance["members"]
    assert (told["members_done"], told["members_wanted"]) == (2, 2)
    assert told["unc_output"] == "mean of the members'"
    assert prediction.partial is None
    assert prediction.title("variance") == "variance (WT)"
    before = predictor.provenance(study, "uncseg predict toy --members tta:2", ensemble="tta:2")
    assert all(provenance[key] == value for key, value in before.items())


def test_only_the_maps_that_were_chosen_are_made(study, predictor):
    prediction = predictor.predict(study, ensemble="tta:2", maps=["entropy-et", "disagreement", "var1shot"])
    assert set(prediction.maps) == {
        *("entropy-et", "disagreement", "var1shot", "unc_output", "unc_output_unmasked", "error")
    }
    np.testing.assert_allclose(prediction.maps["entropy-et"], entropy(prediction.probabilities[2]), atol=1e-6)
    assert prediction.title("entropy-et") == "entropy (ET)"
    assert prediction.provenance["triage_score"] is None or prediction.provenance["triage_score"] > 0
    assert prediction.provenance["settings"]["maps"] == ["disagreement", "entropy-et", "var1shot"]


def test_one_pass_has_maps_of_its_regions_but_none_between_members(study, predictor):
    prediction = predictor.predict(study, maps=["variance-tc", "one_minus_max"])
    p = prediction.probabilities[1]
    np.testing.assert_allclose(prediction.maps["variance-tc"], p * (1 - p), atol=1e-6)
    assert prediction.title("variance-tc") == "variance (TC)"
    for name in ("mutual_information", "expected_entropy-et", "disagreement"):
        with pytest.raises(UncsegError, match=name):
            predictor.provenance(study, maps=["entropy", name])


def test_a_stopped_run_keeps_the_members_that_are_done(study, predictor):
    whole = predictor.predict(study, ensemble="tta:2")
    prediction = stopped(predictor, study, "tta:8", after=2)
    np.testing.assert_array_equal(prediction.probabilities, whole.probabilities)
    np.testing.assert_array_equal(prediction.maps["variance"], whole.maps["variance"])
    assert prediction.member_count == 2
    assert str(prediction.partial) == "partial: 2 of 8"
    assert prediction.title("unc_output") == "unc_output · partial: 2 of 8"
    assert prediction.title("variance") == "variance (WT) · partial: 2 of 8"
    assert prediction.provenance["members"]["names"] == ["as it is", "flip x"]
    assert "partial: 2 of 8 members." in prediction.provenance["warnings"][-1]


def test_one_member_of_several_has_no_maps_between_members(study, predictor):
    prediction = stopped(predictor, study, "tta:8", after=1, maps=["entropy", "variance", "mutual_information"])
    single = predictor.predict(study)
    assert set(prediction.maps) == set(single.maps)
    np.testing.assert_array_equal(prediction.maps["variance"], single.maps["variance"])
    assert prediction.title("variance") == "variance (WT) · partial: 1 of 8"


def test_stopped_before_the_first_member_is_done(study, predictor):
    with pytest.raises(Cancelled):
        predictor.predict(study, ensemble="tta:8", cancelled=lambda: True)
    with pytest.raises(Cancelled):
        stopped(predictor, study, "tta:8", after=0)


def test_stopped_between_samples(study, monkeypatch):
    model = model_of(unet_of(outputs=7))
    model.plans["uncseg"]["head"] = "regions_gaussian"
    sampled = []

    def sample(*arguments):
        sampled.append(1)
        return sample_probabilities(*arguments)

    monkeypatch.setattr(members_module, "sample_probabilities", sample)
    prediction = Predictor(model, device="cpu").predict(
        study, ensemble="logit_sampling:6", cancelled=lambda: len(sampled) == 2
    )
    assert str(prediction.partial) == "partial: 2 of 6"


def test_a_network_that_forecasts_the_errors_of_each_region(study):
    model = model_of(unet_of(outputs=6), uncertainty=3, head="regions_auxiliary")
    prediction = Predictor(model, device="cpu").predict(study, ensemble="tta:2")
    assert {"unc_output", "unc_output_unmasked", "unc_output-tc", "unc_output-et"} < set(prediction.maps)
    inside = prediction.maps["unc_output"] > 0
    np.testing.assert_array_equal(prediction.maps["unc_output"][inside], prediction.maps["unc_output_unmasked"][inside])
    np.testing.assert_array_equal(prediction.maps["unc_output-et"] > 0, inside)
    assert not np.array_equal(prediction.maps["unc_output-et"], prediction.maps["unc_output"])


def test_a_partial_result_is_kept_apart_from_a_finished_one(study, predictor, tmp_path):
    partial, more = (stopped(predictor, study, "tta:4", after=count) for count in (2, 3))
    whole = predictor.predict(study, ensemble="tta:4")
    mark = fingerprint(whole.provenance)
    assert fingerprint(partial.provenance) == mark

    assert not save_prediction(partial, tmp_path).skipped
    target = check_target(tmp_path, "toy", whole.provenance)
    assert target.state is State.PARTIAL, "a cohort run that goes on must compute it anew"
    back = load_prediction(tmp_path / "toy")
    assert str(back.partial) == "partial: 2 of 4"
    assert save_prediction(partial, tmp_path).skipped
    assert not save_prediction(more, tmp_path).skipped
    assert save_prediction(partial, tmp_path).skipped, "fewer members never replace more"
    assert str(load_prediction(tmp_path / "toy").partial) == "partial: 3 of 4"

    assert not save_prediction(whole, tmp_path).skipped, "all members replace some without being told to overwrite"
    assert check_target(tmp_path, "toy", whole.provenance).state is State.SAME
    assert load_prediction(tmp_path / "toy").partial is None
    assert save_prediction(more, tmp_path).skipped, "some members never replace all"
    with pytest.raises(AnotherResult):
        save_prediction(stopped(predictor, study, "tta:3", after=2), tmp_path)


def test_a_partial_result_does_not_make_way_for_others(study, predictor, tmp_path):
    save_prediction(stopped(predictor, study, "tta:4", after=2), tmp_path)
    with pytest.raises(AnotherResult):
        save_prediction(predictor.predict(study), tmp_path)


def test_saved_maps_come_back(study, predictor, tmp_path):
    names = ["expected_entropy", "mutual_information-tc", "variance-et", "disagreement", "var1shot", "one_minus_max"]
    prediction = predictor.predict(study, ensemble="tta:3", maps=names)
    back = load_prediction(save_prediction(prediction, tmp_path).folder)
    assert list(back.maps) == list(prediction.maps)
    for name in names:
        np.testing.assert_allclose(back.maps[name], prediction.maps[name], atol=2e-5, err_msg=name)
        assert back.title(name) == prediction.title(name)
    assert (tmp_path / "toy" / "toy_mutual_information-tc.nii.gz").is_file()


def test_a_calibration_acts_on_the_mean_and_its_maps(study, predictor):
    calibration = Squeeze()
    options = {"ensemble": "tta:2", "maps": ["entropy", "variance", "mutual_information"]}
    plain = predictor.predict(study, **options)
    prediction = predictor.predict(study, **options, calibration=calibration)
    assert set(calibration.asked) == {("0" * 64, "tta:2")}
    np.testing.assert_allclose(prediction.probabilities, calibration.apply(plain.probabilities), atol=1e-6)
    np.testing.assert_allclose(prediction.maps["entropy"], entropy(prediction.probabilities[0]), atol=1e-6)
    np.testing.assert_array_equal(prediction.segmentation, plain.segmentation)
    for name in ("variance", "mutual_information", "unc_output"):
        np.testing.assert_array_equal(prediction.maps[name], plain.maps[name])
    marks = {fingerprint(predictor.provenance(study, calibration=other)) for other in (None, Squeeze(), Squeeze(0.4))}
    assert len(marks) == 3
    assert fingerprint(predictor.provenance(study, calibration=Squeeze())) in marks


def test_a_calibration_of_others_is_refused_before_anything_runs(study, predictor):
    calibration = Squeeze(error=UncsegError("The calibration was fitted for tta:8."))
    for ask in (predictor.provenance, predictor.predict):
        with pytest.raises(UncsegError, match="fitted for tta:8"):
            ask(study, calibration=calibration)
    assert calibration.asked == [("0" * 64, "single")] * 2


def test_a_stopped_run_says_that_its_calibration_was_fitted_for_all(study, predictor):
    prediction = stopped(predictor, study, "tta:4", after=2, calibration=Squeeze())
    assert prediction.provenance["warnings"][-1].endswith("its calibration was fitted for all of them.")


def test_progress_of_members_only_grows_and_ends(study, predictor):
    calls = []
    predictor.predict(study, ensemble="tta:3", progress=lambda *call: calls.append(call))
    done, totals, messages = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {totals[0]}
    assert done[-1] == totals[0]
    assert any("member 2 of 3 (flip x)" in message for message in messages)


def test_memory_that_did_not_suffice_once_is_not_asked_for_again(study):
    network, sizes = unet_of(), []

    def greedy(module, inputs):
        sizes.append(tuple(inputs[0].shape[2:]))
        if inputs[0][0, 0].numel() > 16 * 16 * 8:
            raise torch.OutOfMemoryError("out of memory")

    network.register_forward_pre_hook(greedy)
    said = []
    prediction = Predictor(model_of(network), device="cpu", notify=said.append).predict(study, ensemble="tta:3")
    assert prediction.member_count == 3
    assert sizes.count((16, 16, 16)) == 1
    assert len(said) == 1
    assert prediction.provenance["run"]["tile"] == [8, 16, 16]


def test_a_model_is_run_with_the_members_it_was_judged_with(study):
    model = model_of()
    assert Predictor(model, device="cpu").predict(study).member_count == 1
    judged = dataclasses.replace(model, provenance={**model.provenance, "members": "tta:2"})
    assert Predictor(judged, device="cpu").predict(study).method == "tta:2"
    assert Predictor(judged, device="cpu").predict(study, ensemble="single").member_count == 1
