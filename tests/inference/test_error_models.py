"""What a model brings along to tell how good its predictions are: error risk and expected Dice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_uncseg.inference.ensembling import MemberOutput
from napari_uncseg.inference.postprocessing import Accumulated
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, REGIONS, Region
from napari_uncseg.models.identity import CALIBRATION, identify
from napari_uncseg.models.model import load_model
from napari_uncseg.uncertainty.accumulators import MemberReducer
from napari_uncseg.uncertainty.error_risk import ErrorRisk, Evidence, Perceptron
from napari_uncseg.uncertainty.expected_dice import DiceModel, ExpectedDice
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.uncertainty.recalibration.models import IDENTITY

RISKS = ["error_risk", "error_risk-tc", "error_risk-et"]


def names(*, several: bool, images: bool = False) -> tuple[str, ...]:
    volume, four = np.zeros((1, 1, 1), np.float32), np.zeros((4, 1, 1, 1), np.float32)
    return Evidence(four[:3], (1, 1, 1), volume, volume if several else None, four if images else None).names


def copies(features: tuple[str, ...], name: str) -> Perceptron:
    """Gives back the sigmoid of one feature, as far as it lies between -4 and 4."""
    hidden = np.zeros((len(features) + 1, 2), np.float32)
    hidden[features.index(name)] = 1, -1
    count = len(features)
    return Perceptron(np.zeros(count, np.float32), np.ones(count, np.float32), hidden, np.array([1, -1, 0], np.float32))


def bring(folder: Path, members: str, *, bound: float = 0.5, told_by: str = "") -> Calibration:
    features = names(several=members != "single", images=bool(told_by))
    fit = DiceModel((0.0,) * 4, (1.0,) * 4, (0.0,) * 4, 0.0, tuple(np.linspace(-1, 1, 41)))
    made = Calibration(
        dict.fromkeys(REGIONS, IDENTITY),
        identify(folder).sha256,
        members,
        error_risk=ErrorRisk(features, {region: copies(features, told_by or f"logit {region}") for region in REGIONS}),
        expected_dice=ExpectedDice(dict.fromkeys(REGIONS, fit), bound),
    )
    made.save(folder / CALIBRATION)
    return made


@pytest.mark.parametrize("members", ["single", "tta:2"])
def test_a_model_tells_the_risk_of_every_region(members: str, tiny_model_folder: Path, tiny_study: Study) -> None:
    bring(tiny_model_folder, members)
    prediction = Predictor(load_model(tiny_model_folder), device="cpu").predict(tiny_study, ensemble=members)
    assert list(prediction.maps)[:3] == RISKS
    middle = np.clip(prediction.probabilities, 1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4)))
    for name, expected in zip(RISKS, middle, strict=True):
        np.testing.assert_allclose(prediction.maps[name], np.where(tiny_study.brain, expected, 0), atol=1e-5)


def test_the_risk_may_rest_on_the_images(tiny_model_folder: Path, tiny_study: Study) -> None:
    bring(tiny_model_folder, "single", told_by="t2f")
    prediction = Predictor(load_model(tiny_model_folder), device="cpu").predict(tiny_study)
    brain, flair = tiny_study.brain, tiny_study.images[MODALITIES.index("t2f")]
    score = np.clip((flair - flair[brain].mean()) / flair[brain].std(), -4, 4)
    expected = np.where(brain, 1 / (1 + np.exp(-score)), 0)
    np.testing.assert_allclose(prediction.maps["error_risk"], expected, atol=1e-3)


def test_it_tells_how_good_it_expects_to_be(tiny_model_folder: Path, tiny_study: Study) -> None:
    made = bring(tiny_model_folder, "single", bound=0.6)
    told = Predictor(load_model(tiny_model_folder), device="cpu").predict(tiny_study).provenance
    assert told["settings"]["estimates"] == made.sha256
    for region in REGIONS:
        if told["volumes_ml"][region] >= 0.05:
            low, value, high = (told["expected_dice"][region][key] for key in ("low", "value", "high"))
            assert (low < value < high, value) == (True, 0.5)
    assert told["volumes_ml"]["WT"] > 0
    assert told["needs_review"][0]["code"] == "low_expected_dice"


def test_calibrations_that_differ_in_their_estimates_alone_make_other_results(tiny_model_folder, tiny_study) -> None:
    settings = []
    for bound in (0.6, 0.7):
        made = bring(tiny_model_folder, "single", bound=bound)
        (tiny_model_folder / "calibration.json").unlink()
        predictor = Predictor(load_model(tiny_model_folder))
        settings.append(predictor.predict(tiny_study, calibration=made).provenance["settings"])
    assert settings[0]["calibration"] == settings[1]["calibration"]
    assert settings[0]["estimates"] != settings[1]["estimates"]


def test_other_members_get_no_estimate_that_was_not_fitted_for_them(tiny_model_folder: Path, tiny_study: Study) -> None:
    bring(tiny_model_folder, "tta:2")
    predictor = Predictor(load_model(tiny_model_folder), device="cpu")
    for members in ("single", "tta:4"):
        prediction = predictor.predict(tiny_study, ensemble=members)
        assert not set(RISKS) & set(prediction.maps)
        assert "expected_dice" not in prediction.provenance


def test_studies_that_the_estimates_were_fitted_on_get_none(tiny_model_folder: Path, tiny_study: Study) -> None:
    bring(tiny_model_folder, "single")
    prediction = Predictor(load_model(tiny_model_folder), own_calibration=False).predict(tiny_study)
    assert not set(RISKS) & set(prediction.maps)
    assert "expected_dice" not in prediction.provenance


def test_a_chosen_map_leaves_the_risk_as_it_is(tiny_model_folder: Path, tiny_study: Study) -> None:
    bring(tiny_model_folder, "tta:2")
    predictor = Predictor(load_model(tiny_model_folder), device="cpu")
    usual, chosen = (predictor.predict(tiny_study, ensemble="tta:2", maps=maps) for maps in (None, ["entropy"]))
    assert "variance" not in chosen.maps
    np.testing.assert_array_equal(usual.maps["error_risk"], chosen.maps["error_risk"])


def test_a_calibration_without_estimates_leaves_the_result_as_it_was(tiny_model_folder, tiny_study):
    before = Predictor(load_model(tiny_model_folder), device="cpu").provenance(tiny_study)
    Calibration(dict.fromkeys(REGIONS, IDENTITY), identify(tiny_model_folder).sha256, "single").save(
        tiny_model_folder / CALIBRATION
    )
    assert Predictor(load_model(tiny_model_folder), device="cpu").provenance(tiny_study) == before


def test_what_a_chosen_calibration_does_not_tell_the_model_goes_on_telling(tiny_model_folder, tiny_study):
    bring(tiny_model_folder, "single")
    chosen = Calibration(dict.fromkeys(REGIONS, IDENTITY), identify(tiny_model_folder).sha256, "single")
    prediction = Predictor(load_model(tiny_model_folder), device="cpu").predict(tiny_study, calibration=chosen)
    assert set(RISKS) <= set(prediction.maps)
    assert set(prediction.provenance["expected_dice"]) == {"WT", "TC", "ET"}


def test_a_core_without_a_tumour_round_it_is_a_tumour_in_what_is_told_of_quality() -> None:
    probabilities = torch.zeros(3, 4, 4, 4)
    probabilities[0, :2], probabilities[1, :2] = 0.3, 0.9
    forward = SimpleNamespace(stage_overlap=None, study=SimpleNamespace(voxel_ml=0.5))
    accumulated = Accumulated(None, forward, MemberReducer(()))
    accumulated.add(MemberOutput("as it is", probabilities, None))
    told = accumulated.quality()
    assert told[Region.WT] == told[Region.TC]
    assert told[Region.WT].volume_ml == 16
