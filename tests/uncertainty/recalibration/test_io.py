"""The calibration as a value and as a file: applied, bound to model and members, written whole, checked at the door."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_uncseg.errors import CalibrationError
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.models import identity
from napari_uncseg.models.identity import bundled_calibration
from napari_uncseg.models.model import load_model
from napari_uncseg.uncertainty.conformal import RiskControl
from napari_uncseg.uncertainty.recalibration.io import Calibration, load_calibration
from napari_uncseg.uncertainty.recalibration.models import STEPS, Isotonic, Platt, Temperature, steps_of

MAPS = {
    Region.WT: Temperature(1.5),
    Region.TC: Platt(0.8, 0.3),
    Region.ET: Isotonic(((0.1, 0.2), (0.5, 0.2), (0.9, 0.7))),
}
CONTROLS = {
    Region.WT: RiskControl(0.1, 12, 1000.5 / STEPS, 0.02),
    Region.TC: RiskControl(0.1, 5, None, None, "An alpha of 0.1 needs at least 9 studies that have the region."),
    Region.ET: RiskControl(0.1, 12, 9000.5 / STEPS, 0.02),
}


@pytest.fixture
def calibration() -> Calibration:
    provenance = {"model": {"name": "tiny", "sha256": "a" * 64}, "method": "temperature", "studies": {"one": {}}}
    return Calibration(MAPS, "a" * 64, "tta:8", CONTROLS, provenance)


@pytest.fixture
def probabilities() -> np.ndarray:
    p = np.random.default_rng(0).random((3, 6, 5, 4)).astype(np.float32)
    p[:, 0] = 0
    return p


def test_each_region_has_its_own_map(calibration, probabilities):
    before = probabilities.copy()
    q = calibration.apply(probabilities)
    assert q.dtype == np.float32
    assert q.shape == probabilities.shape
    for index, region in enumerate(REGIONS):
        np.testing.assert_array_equal(q[index], MAPS[region].apply(probabilities[index]))
    assert (q[:, 0] == 0).all()
    np.testing.assert_array_equal(probabilities, before)
    np.testing.assert_allclose(calibration.apply(torch.from_numpy(probabilities)).numpy(), q, atol=5e-7)
    with pytest.raises(ValueError, match=r"\(4, 6, 5, 4\) do not hold WT, TC and ET"):
        calibration.apply(np.zeros((4, 6, 5, 4), dtype=np.float32))


def test_is_for_one_model_and_its_members_alone(calibration):
    calibration.check("a" * 64, "tta:8")
    with pytest.raises(CalibrationError, match=r"tiny a{12}.*b{12}"):
        calibration.check("b" * 64, "tta:8")
    with pytest.raises(CalibrationError, match=r"tta:8.*single"):
        calibration.check("a" * 64, "single")
    with pytest.raises(CalibrationError, match="never saved"):
        calibration.check("", "tta:8")


def test_is_written_and_read_again(calibration, probabilities, tmp_path):
    calibration.save(tmp_path / "new" / "calibration.json")
    again = load_calibration(tmp_path / "new" / "calibration.json")
    assert (dict(again.maps), again.model_sha256, again.ensemble) == (MAPS, "a" * 64, "tta:8")
    assert dict(again.controls) == CONTROLS
    assert again.sha256 == calibration.sha256
    assert again.provenance["studies"] == {"one": {}}
    assert again.content() == calibration.content()
    np.testing.assert_array_equal(again.apply(probabilities), calibration.apply(probabilities))
    content = json.loads((tmp_path / "new" / "calibration.json").read_text())
    assert content["research_use_only"] == RESEARCH_USE_ONLY
    assert "exchangeable" in content["conformal"]["assumption"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["calibration.json"]


def test_the_hash_tells_what_it_does_and_nothing_else(calibration):
    other = Calibration(MAPS, "a" * 64, "tta:8", {}, {"command": "another"})
    assert other.sha256 == calibration.sha256
    for different in (
        Calibration({**MAPS, Region.WT: Temperature(1.4)}, "a" * 64, "tta:8"),
        Calibration(MAPS, "b" * 64, "tta:8"),
        Calibration(MAPS, "a" * 64, "single"),
    ):
        assert different.sha256 != calibration.sha256


def test_mask_above_the_threshold(calibration):
    p = (np.arange(STEPS + 1, dtype=np.float32) / STEPS).reshape(32, 32, 32)
    mask = calibration.controlled_mask(p, Region.WT)
    assert mask.dtype == bool
    assert int(mask.sum()) == STEPS - 1000
    assert bool((calibration.controlled_mask(torch.from_numpy(p), Region.WT).numpy() == mask).all())
    with pytest.raises(CalibrationError, match=r"TC.*0\.1"):
        calibration.controlled_mask(p, Region.TC)
    with pytest.raises(CalibrationError, match=r"WT.*--alpha"):
        Calibration(MAPS, "a" * 64, "single").controlled_mask(p, Region.WT)


@pytest.mark.parametrize("region", [Region.WT, Region.ET])
def test_mask_of_recalibrated_probabilities_misses_no_more(calibration, region):
    """Also where the map is level, and after a file has rounded what it gave."""
    p = np.random.default_rng(1).random((20, 20, 20)).astype(np.float32)
    mask = calibration.controlled_mask(p, region)
    stored = (steps_of(MAPS[region].apply(p)) / STEPS).astype(np.float32)
    wider = calibration.controlled_mask(stored, region, recalibrated=True)
    assert (wider | ~mask).all()
    level = 3000 if region is Region.ET else 12  # from 0.1 to 0.5 the map of ET is level
    assert int(wider.sum()) - int(mask.sum()) <= level


def broken(content: dict, *path: str, value: object) -> dict:
    """A copy of a calibration's content with one value changed, or with its key taken away for `KeyError`."""
    content = json.loads(json.dumps(content))
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


WT = ("regions", "WT")
CONTROL = ("conformal", "regions", "WT")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "napari-uncseg calibration 2"),
        (("format",), "something else"),
        (("format",), KeyError),
        (("model", "sha256"), 5),
        (("model",), KeyError),
        (("members",), ""),
        (("regions", "TC"), KeyError),
        (("regions", "NCR"), {"kind": "temperature", "temperature": 1.0}),
        (WT, [1.5]),
        (WT, None),
        (WT, {}),
        (WT, {"kind": ["platt"]}),
        (WT, {"kind": "beta"}),
        (WT, {"kind": "temperature"}),
        (WT, {"kind": "temperature", "temperature": 1, "more": 2}),
        (WT, {"kind": "temperature", "temperature": 0}),
        (WT, {"kind": "temperature", "temperature": float("nan")}),
        (WT, {"kind": "temperature", "temperature": "1"}),
        (WT, {"kind": "temperature", "temperature": True}),
        (WT, {"kind": "platt", "slope": -1, "intercept": 0}),
        (WT, {"kind": "platt", "slope": 1, "intercept": None}),
        (WT, {"kind": "isotonic", "knots": 3}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.2, 0.3]]}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.2]]}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.2], [0.2, None]]}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.2], [0.2, 1.2]]}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.2], [0.1, 0.3]]}),
        (WT, {"kind": "isotonic", "knots": [[0.1, 0.3], [0.2, 0.2]]}),
        (("conformal",), []),
        (("conformal", "regions", "NCR"), {}),
        ((*CONTROL, "threshold"), 3),
        ((*CONTROL, "threshold"), None),
        ((*CONTROL, "studies"), "12"),
        ((*CONTROL, "studies"), True),
    ],
)
def test_a_foreign_file_is_refused_in_one_sentence(calibration, tmp_path, path, value):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(broken(calibration.content(), *path, value=value)))
    with pytest.raises(CalibrationError) as caught:
        load_calibration(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"regions": {}}', None])
def test_what_is_no_calibration(tmp_path, text):
    file = tmp_path / "c.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CalibrationError, match="json"):
        load_calibration(file)


def test_a_folder_is_no_calibration(tmp_path):
    with pytest.raises(CalibrationError):
        load_calibration(tmp_path)


@pytest.mark.parametrize(
    "change", [Temperature(1.3), Platt(0.7, -1), Isotonic(((0.1, 0.2), (0.5, 0.2), (0.9, 0.7)))], ids=type
)
def test_every_kind_of_map_comes_back(change, tmp_path):
    Calibration(dict.fromkeys(REGIONS, change), "a", "single").save(tmp_path / "c.json")
    assert load_calibration(tmp_path / "c.json").maps[Region.TC] == change


def test_the_bundled_one_is_that_of_the_bundled_network(monkeypatch, calibration, tmp_path):
    shipped = bundled_calibration()
    assert shipped is not None
    shipped.check(load_model().sha256, identity.identify().ensemble)
    assert not {"/", "\\"} & set("".join(shipped.provenance["studies"])), "studies are told by name alone"
    monkeypatch.setattr(identity, "bundled_model_folder", lambda: tmp_path)
    assert bundled_calibration() is None
    calibration.save(tmp_path / "calibration.json")
    found = bundled_calibration()
    assert found is not None
    assert found.sha256 == calibration.sha256
