"""The error map: its average against an independent form, its files against kills, mix-ups and foreign settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_uncseg.labels import region_masks
from uncseg_training.data import case_maps
from uncseg_training.data.case_manifest import MANIFEST, Manifest, preprocessing_hash
from uncseg_training.data.case_maps import MOST_VISITS, CaseMaps, Maps
from uncseg_training.paper1.error_map import (
    LARGEST_DECAY,
    ErrorMaps,
    compute_prediction_error_probability,
    visit_weight,
)
from uncseg_training.paper1.variance import VarianceMaps
from uncseg_training.train.refresh import Inference, due, refresh_sweep

Bools = npt.NDArray[np.bool_]

SHAPE = (9, 8, 7)
WHOLE = [(0, 9), (0, 8), (0, 7)]
HASH = preprocessing_hash({"spacing": [1, 1, 1]})


def new(folder: Path, cases: str = "AB", **options: Any) -> ErrorMaps:
    return ErrorMaps.create(folder, dict.fromkeys(cases, SHAPE), HASH, **options)


def failures(seed: int, count: int, shape: tuple[int, ...] = SHAPE, rate: float = 0.3) -> list[Bools]:
    random = np.random.default_rng(seed)
    return [random.random(shape) < rate for _ in range(count)]


def averaged(visits: list[Bools], decay: float) -> npt.NDArray[np.float64]:
    """The average that begins at 0 and is corrected at the end."""
    total = np.zeros(visits[0].shape)
    for failure in visits:
        total = decay * total + (1 - decay) * failure
    return total / (1 - decay ** len(visits))


# -- the average ---------------------------------------------------------------------------------------------------


def test_average_by_hand() -> None:
    error, visits = np.zeros(1), np.zeros(1, int)
    for failure, expected in ((1, 1.0), (0, 1 - 1 / 1.9), (0, 0.81 / 2.71), (1, (1 + 0.729) / 3.439)):
        error, visits = compute_prediction_error_probability(np.array([failure]), error, visits, 0.9)
        assert error[0] == pytest.approx(expected, abs=1e-12)
    assert visits[0] == 4


@settings(max_examples=50, deadline=None)
@given(
    visits=hnp.arrays(bool, st.tuples(st.integers(1, 40), st.just(3))),
    decay=st.floats(0, 0.999),
)
def test_average_equals_the_corrected_one_that_begins_at_zero(visits: Bools, decay: float) -> None:
    error, count = np.full(3, np.nan), np.zeros(3, int)
    for failure in visits:
        error, count = compute_prediction_error_probability(failure, error, count, decay)
        assert ((error >= 0) & (error <= 1)).all()
    np.testing.assert_allclose(error, averaged(list(visits), decay), rtol=0, atol=1e-12)
    assert (count == len(visits)).all()


@settings(deadline=None)
@given(decay=st.floats(0, 0.99), visits=st.integers(1, 100))
def test_weight_of_a_visit(decay: float, visits: int) -> None:
    weights = visit_weight(np.array([1, visits, visits + 1]), decay)
    assert weights[0] == 1
    assert 1 - decay <= weights[2] + 1e-15 <= weights[1] + 2e-15
    # The same as a plain mean while the decay has no time to act.
    assert visit_weight(np.array([visits]), 1 - 1e-9)[0] == pytest.approx(1 / visits, rel=1e-5)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_no_average_with_such_a_decay(decay: float) -> None:
    with pytest.raises(ValueError, match="moving average"):
        visit_weight(np.array([1]), decay)


def test_each_voxel_counts_its_own_visits(tmp_path: Path) -> None:
    maps, box = new(tmp_path), [(2, 6), (0, 5), (3, 7)]
    inside = tuple(slice(*side) for side in box)
    parts = failures(1, 3, (4, 5, 4))
    for epoch, part in enumerate(parts):
        maps.update("A", part, epoch, box)
    whole = failures(2, 1)[0]
    maps.update("A", whole, 3)
    found = maps.read("A")
    counts = np.ones(SHAPE, int)
    counts[inside] = 4
    np.testing.assert_array_equal(found.visits, counts)
    expected = whole.astype(float)
    expected[inside] = averaged([*parts, whole[inside]], 0.9)
    np.testing.assert_allclose(found.error[0], expected, atol=2e-3)


def test_what_was_never_visited_is_nan_and_left_out_of_patches(tmp_path: Path) -> None:
    maps, box = new(tmp_path), [(0, 3), (0, 3), (0, 3)]
    maps.update("A", np.ones((3, 3, 3), bool), 0, box)
    found = maps.read("A")
    assert np.isnan(found.error[0]).sum() == found.error.size - 27
    patch = maps.patch("A", WHOLE)
    assert np.isfinite(patch.error).all()
    assert patch.visited.sum() == 27
    assert not maps.patch("B", WHOLE).visited.any()


def test_patches_reach_beyond_the_volume_and_are_stacked(tmp_path: Path) -> None:
    maps = new(tmp_path)
    failure = failures(3, 1)[0]
    maps.update("A", failure, 0)
    batch = maps.batch([("A", [(-2, 4), (5, 11), (1, 7)]), ("B", [(0, 6), (0, 6), (0, 6)])])
    assert batch.error.shape == batch.visited.shape == (2, 1, 6, 6, 6)
    assert batch.error.dtype == np.float32
    padded = np.pad(failure, 6)[4:10, 11:17, 7:13]
    np.testing.assert_array_equal(batch.error[0, 0], padded)
    np.testing.assert_array_equal(batch.visited[0, 0], np.pad(np.ones(SHAPE, bool), 6)[4:10, 11:17, 7:13])
    assert not batch.visited[1].any()
    assert not maps.patch("A", [(20, 22), (0, 2), (0, 2)]).visited.any()


# -- whose map, and where --------------------------------------------------------------------------------------------


def test_two_cases_in_one_slot_of_the_batch_never_share_a_map(tmp_path: Path) -> None:
    # Slot 0 holds A, then B, then A again: what happens when a loader draws patients at random.
    maps = new(tmp_path)
    of = {"A": failures(4, 3, rate=0.1), "B": failures(5, 3, rate=0.9)}
    for turn in range(3):
        for case in "AB":
            other = "B" if case == "A" else "A"
            path = tmp_path / f"{other}.b2nd"
            before = path.read_bytes() if path.exists() else None
            maps.update(case, of[case][turn], turn)
            assert (path.read_bytes() if path.exists() else None) == before
    slot, count = np.zeros(SHAPE), np.zeros(SHAPE, int)
    for turn in range(3):
        for case in "AB":
            slot, count = compute_prediction_error_probability(of[case][turn], slot, count)
    for case in "AB":
        found = maps.read(case).error[0]
        np.testing.assert_allclose(found, averaged(of[case], 0.9), atol=1e-3)
        # A map of the slot would be far from both.
        assert np.abs(found - slot).mean() > 0.1


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(["A", "A", "A", "B", "B", "C"]))
def test_the_order_of_cases_changes_nothing(order: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    def run(turns: list[str]) -> list[bytes]:
        folder = tmp_path_factory.mktemp("maps")
        maps, seen = new(folder, "ABC"), dict.fromkeys("ABC", 0)
        for case in turns:
            maps.update(case, failures(ord(case), 3)[seen[case]], seen[case])
            seen[case] += 1
        return [(folder / f"{case}.b2nd").read_bytes() for case in "ABC"]

    assert run(order) == run(sorted(order))


@settings(max_examples=5, deadline=None)
@given(cut=st.tuples(st.integers(1, 8), st.integers(1, 7), st.integers(1, 6)))
def test_boxes_that_tile_the_volume_equal_the_whole(cut, tmp_path_factory):
    maps = new(tmp_path_factory.mktemp("maps"))
    for epoch, failure in enumerate(failures(6, 2)):
        maps.update("A", failure, epoch)
        for number in range(8):
            ends = [(0, at) if number >> axis & 1 else (at, SHAPE[axis]) for axis, at in enumerate(cut)]
            maps.update("B", failure[tuple(slice(*side) for side in ends)], epoch, ends)
    np.testing.assert_array_equal(maps.read("A").error, maps.read("B").error)
    np.testing.assert_array_equal(maps.read("A").visits, maps.read("B").visits)


@pytest.fixture(scope="module")
def twice_visited(tmp_path_factory: pytest.TempPathFactory) -> ErrorMaps:
    maps = new(tmp_path_factory.mktemp("maps"))
    for epoch, failure in enumerate(failures(7, 2)):
        maps.update("A", failure, epoch)
    return maps


@settings(max_examples=30, deadline=None)
@given(shift=st.tuples(*[st.integers(-12, 12)] * 3))
def test_a_translated_crop_finds_the_same_voxels(shift: tuple[int, ...], twice_visited: ErrorMaps) -> None:
    maps = twice_visited
    box = [(by, by + 5) for by in shift]
    whole = np.pad(maps.read("A").error[0], 20)
    expected = whole[tuple(slice(start + 20, stop + 20) for start, stop in box)]
    np.testing.assert_array_equal(maps.patch("A", box).error[0], expected)


def test_failures_per_region_have_a_channel_each(tmp_path: Path) -> None:
    maps = new(tmp_path, failure="per_region")
    failure = failures(8, 1, (3, *SHAPE))[0]
    maps.update("A", failure, 0)
    np.testing.assert_array_equal(maps.read("A").error, failure)
    assert maps.patch("A", WHOLE).visited.shape == (1, *SHAPE)
    with pytest.raises(ValueError, match="does not fit"):
        maps.update("A", failure[0], 1)


# -- half precision --------------------------------------------------------------------------------------------------


def test_many_visits_in_half_precision(tmp_path: Path) -> None:
    maps = new(tmp_path, "A")
    every = failures(9, 120, rate=0.05)
    for epoch, failure in enumerate(every):
        maps.update("A", failure, epoch)
    np.testing.assert_allclose(maps.read("A").error[0], averaged(every, 0.9), atol=2e-3)


def test_a_voxel_that_fails_no_more_becomes_zero_again(tmp_path: Path) -> None:
    maps, voxel = new(tmp_path, "A"), [(0, 1), (0, 1), (0, 1)]
    maps.update("A", np.ones((1, 1, 1), bool), 0, voxel)
    for epoch in range(1, 80):
        maps.update("A", np.zeros((1, 1, 1), bool), epoch, voxel)
        if epoch == 60:
            assert maps.patch("A", voxel).error.item() == pytest.approx(0.1 * 0.9**60, rel=0.02)
    assert maps.patch("A", voxel).error.item() == 0


def test_counting_stops_where_half_precision_does(tmp_path: Path) -> None:
    store = CaseMaps.create(tmp_path, {"A": (1, 1, 1)}, ["error"], {})
    store.write("A", Maps(np.zeros((1, 1, 1, 1), np.float32), np.full((1, 1, 1), 5000, np.uint16)), 0)
    assert store.read("A").visits.item() == MOST_VISITS
    assert visit_weight(np.array(MOST_VISITS), LARGEST_DECAY) == pytest.approx(1 - LARGEST_DECAY, rel=2**-11)


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_resumed_store_goes_on_as_if_nothing_happened(tmp_path: Path) -> None:
    every = failures(10, 6)
    at_once, resumed = new(tmp_path / "once"), new(tmp_path / "again", notes={"fold": 0})
    for epoch, failure in enumerate(every):
        at_once.update("A", failure, epoch)
        resumed = ErrorMaps.open(tmp_path / "again", HASH)
        resumed.update("A", failure, epoch)
    assert (tmp_path / "once/A.b2nd").read_bytes() == (tmp_path / "again/A.b2nd").read_bytes()
    assert dict(ErrorMaps.open(tmp_path / "again", HASH).store.cases) == dict(at_once.store.cases)
    assert resumed.store.manifest.notes == {"fold": 0}


def test_the_manifest_says_what_the_files_hold(tmp_path: Path) -> None:
    maps = new(tmp_path, settings={"fold": 2}, notes={"code": "abc"})
    maps.update("A", failures(11, 1)[0], 4)
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert content["settings"] == {
        "fold": 2, "map": "error", "preprocessing": HASH, "decay": 0.9, "failure": "wt",
    }  # fmt: skip
    assert (content["format"], content["epoch"], content["visits"]) == (1, 4, 1)
    assert content["cases"]["A"] == {"shape": list(SHAPE), "visits": 1, "epoch": 4}
    assert content["cases"]["B"] == {"shape": list(SHAPE), "visits": 0, "epoch": None}
    assert content["notes"] == {"code": "abc"}
    assert maps.store.sizes() == {"A": (tmp_path / "A.b2nd").stat().st_size}


def test_other_preprocessing_is_refused(tmp_path: Path) -> None:
    new(tmp_path)
    with pytest.raises(ValueError, match="preprocessed in another way"):
        ErrorMaps.open(tmp_path, preprocessing_hash({"spacing": [2, 2, 2]}))


def test_preprocessing_hash_knows_no_order_of_keys() -> None:
    assert preprocessing_hash({"a": 1, "b": [2, 3]}) == preprocessing_hash({"b": (2, 3), "a": 1})
    assert preprocessing_hash({"a": 1}) != preprocessing_hash({"a": 2})


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    new(tmp_path, settings={"fold": 1})
    for options, named in (
        ({"decay": 0.5, "settings": {"fold": 1}}, "decay = 0.9, not 0.5"),
        ({"failure": "any_region", "settings": {"fold": 1}}, "failure = wt, not any_region"),
        ({"failure": "per_region", "settings": {"fold": 1}}, "failure = wt, not per_region"),
        ({"settings": {"fold": 2}}, "fold = 1, not 2"),
        ({}, "fold = 1, not None"),
    ):
        with pytest.raises(ValueError, match=named):
            ErrorMaps.open(tmp_path, HASH, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="was made with"):
        VarianceMaps.open(tmp_path, HASH, settings={"fold": 1})


def test_a_store_is_not_begun_twice_or_opened_where_there_is_none(tmp_path: Path) -> None:
    new(tmp_path / "maps")
    with pytest.raises(ValueError, match="already holds maps"):
        new(tmp_path / "maps")
    with pytest.raises(ValueError, match="is missing"):
        ErrorMaps.open(tmp_path, HASH)


@pytest.mark.parametrize("name", ["", "../A", "a/b", ".hidden", "a\\b"])
def test_names_that_are_no_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        ErrorMaps.create(tmp_path, {name: SHAPE}, HASH)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    maps, small = new(tmp_path), np.zeros((2, 2, 2), bool)
    for case, failure, box, message in (
        ("C", failures(0, 1)[0], None, "no case 'C'"),
        ("A", small, None, "does not fit"),
        ("A", small, [(0, 2), (0, 2), (2, 2)], "is no box"),
        ("A", small, [(0, 2), (0, 2)], "is no box"),
        ("A", small, [(9, 11), (0, 2), (0, 2)], "lies beyond"),
    ):
        with pytest.raises(ValueError, match=message):
            maps.update(case, failure, 0, box)
    with pytest.raises(ValueError, match="not finite"):
        maps.store.write("A", Maps(np.full((1, *SHAPE), np.nan, np.float32), np.ones(SHAPE, np.uint16)), 0)
    with pytest.raises(ValueError, match="have shape"):
        maps.store.write("A", Maps(np.zeros((2, *SHAPE), np.float32), np.ones(SHAPE, np.uint16)), 0)
    with pytest.raises(ValueError, match="cannot be stored"):
        new(tmp_path / "slow", decay=0.999)
    assert not maps.store.sizes()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    maps = new(tmp_path)
    maps.update("A", failures(12, 1)[0], 0)
    path = tmp_path / "A.b2nd"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"A\.b2nd is damaged"):
        maps.patch("A", WHOLE)
    with pytest.raises(ValueError, match=r"A\.b2nd is damaged"):
        ErrorMaps.open(tmp_path, HASH)
    (tmp_path / MANIFEST).write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        ErrorMaps.open(tmp_path, HASH)
    (tmp_path / MANIFEST).write_bytes(Manifest((), {}, {}, {}).to_bytes().replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(ValueError, match="format 9"):
        ErrorMaps.open(tmp_path, HASH)


def test_a_file_of_other_maps_is_refused(tmp_path: Path) -> None:
    here, there = new(tmp_path / "here"), new(tmp_path / "there", decay=0.5)
    there.update("A", failures(13, 1)[0], 0)
    shutil.copy(tmp_path / "there/A.b2nd", tmp_path / "here/A.b2nd")
    with pytest.raises(ValueError, match="does not belong"):
        here.read("A")
    with pytest.raises(ValueError, match="does not belong"):
        ErrorMaps.open(tmp_path / "here", HASH)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, (first, second) = new(tmp_path), failures(14, 2)
    maps.update("A", first, 0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Exception, match="No space left"):
        maps.update("A", second, 1)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert maps.store.cases["A"].visits == 1
    maps.update("A", second, 1)
    np.testing.assert_allclose(maps.read("A").error[0], averaged([first, second], 0.9), atol=1e-3)


def test_a_kill_between_case_and_manifest_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, every = new(tmp_path), failures(15, 3)
    maps.update("A", every[0], 0)
    write = case_maps.write_files

    def killed(contents: dict[Path, bytes]) -> None:
        if any(path.name == MANIFEST for path in contents):
            raise KeyboardInterrupt
        write(contents)

    monkeypatch.setattr(case_maps, "write_files", killed)
    with pytest.raises(KeyboardInterrupt):
        maps.update("A", every[1], 1)
    monkeypatch.undo()
    assert Manifest.read(tmp_path).cases["A"].visits == 1
    again = ErrorMaps.open(tmp_path, HASH)
    assert (again.store.cases["A"].visits, again.store.cases["A"].epoch) == (2, 1)
    again.update("B", every[2], 2)
    assert Manifest.read(tmp_path).cases["A"].visits == 2


@pytest.mark.slow
def test_a_killed_process_leaves_whole_files(tmp_path: Path) -> None:
    new(tmp_path, "A")
    script = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from uncseg_training.paper1.error_map import ErrorMaps\n"
        f"maps = ErrorMaps.open(Path(sys.argv[1]), {HASH!r})\n"
        "print('ready', flush=True)\n"
        f"for epoch in range(10**6): maps.update('A', np.random.default_rng(epoch).random({SHAPE}) < 0.3, epoch)\n"
    )
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(0.3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        maps = ErrorMaps.open(tmp_path, HASH)
        found = maps.read("A")
        assert (found.visits == min(maps.store.cases["A"].visits, MOST_VISITS)).all()


# -- sweeps ----------------------------------------------------------------------------------------------------------


def truth(case: str) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(ord(case)).integers(0, 4, SHAPE).astype(np.uint8)


def guess(case: str, sweep: int) -> Inference:
    random = np.random.default_rng((ord(case), sweep))
    prediction = np.where(random.random(SHAPE) < 0.2, 0, truth(case)).astype(np.uint8)
    return Inference(prediction, truth(case), random.random(SHAPE).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 20), every=st.integers(1, 6))
def test_each_case_takes_its_turn(count: int, every: int) -> None:
    cases = [f"case{number:02}" for number in range(count)]
    turns = [case for sweep in range(every) for case in due(reversed(cases), every, sweep)]
    assert sorted(turns) == cases
    assert due(cases, every, 0) == due(cases, every, every)


def test_no_turns() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        due("A", 0, 0)


def test_sweeps_update_error_and_variance(tmp_path: Path) -> None:
    maps = new(tmp_path / "error", "ABC")
    variances = VarianceMaps.create(tmp_path / "variance", dict.fromkeys("ABC", SHAPE), HASH)
    asked: list[str] = []

    for sweep in range(4):

        def predict(case: str, sweep: int = sweep) -> Inference:
            asked.append(case)
            return guess(case, sweep)

        assert refresh_sweep(predict, "CBA", maps, 2, sweep, variances) == due("ABC", 2, sweep)
    assert asked == ["A", "C", "B", "A", "C", "B"]
    seen = [guess("A", sweep).prediction > 0 for sweep in (0, 2)]
    wrong = [(prediction != (truth("A") > 0)) for prediction in seen]
    np.testing.assert_allclose(maps.read("A").error[0], averaged(wrong, 0.9), atol=1e-3)
    assert (variances.read("A").visits == 2).all()
    assert maps.store.cases["A"].epoch == 2


def test_a_sweep_that_was_cut_goes_on_and_visits_nobody_twice(tmp_path: Path) -> None:
    maps = new(tmp_path / "cut", "ABCD")
    variances = VarianceMaps.create(tmp_path / "variance", dict.fromkeys("ABCD", SHAPE), HASH)

    def cut(case: str) -> Inference:
        if case == "C":
            raise KeyboardInterrupt
        return guess(case, 0)

    with pytest.raises(KeyboardInterrupt):
        refresh_sweep(cut, "ABCD", maps, 1, 0, variances)
    again = ErrorMaps.open(tmp_path / "cut", HASH)
    assert refresh_sweep(lambda case: guess(case, 0), "ABCD", again, 1, 0, variances) == ["C", "D"]
    assert {entry.visits for entry in again.store.cases.values()} == {1}
    assert {entry.visits for entry in variances.store.cases.values()} == {1}


def test_sweeps_of_failures_per_region(tmp_path: Path) -> None:
    maps = new(tmp_path, "A", failure="per_region")
    refresh_sweep(lambda case: guess(case, 0), "A", maps, 1, 0)
    inference = guess("A", 0)
    expected = region_masks(inference.prediction) ^ region_masks(inference.reference)
    np.testing.assert_array_equal(maps.read("A").error, expected)


# -- size ------------------------------------------------------------------------------------------------------------


def test_a_map_takes_far_less_than_its_voxels(tmp_path: Path) -> None:
    shape = (48, 48, 48)
    maps = ErrorMaps.create(tmp_path, {"A": shape}, HASH)
    distance = np.linalg.norm(np.indices(shape) - 24, axis=0)
    for epoch in range(10):
        noise = np.random.default_rng(epoch).normal(0, 0.5, shape)
        maps.update("A", (distance + noise > 9) != (distance > 9), epoch)
    assert maps.store.sizes()["A"] < 0.06 * 2 * 48**3
