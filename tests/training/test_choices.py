"""Tables by which the release network was chosen: the better candidate, cut and bound are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg.io.saving import save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, region_masks
from tests.training.conftest import run
from uncseg_training.experiments import choices


def likely(study: Study, inside: float, speck: float = 0.0) -> np.ndarray:
    """Probabilities of the reference's regions, and of a speck far from it."""
    assert study.reference is not None
    found = np.where(np.stack(list(region_masks(study.reference))), inside, 0.0).astype(np.float32)
    found[:, 0, 0, 0] = speck
    return found


def test_each_table_tells_which_one_is_better(tiny_study: Study) -> None:
    good, faint, specks = likely(tiny_study, 0.9), likely(tiny_study, 0.38), likely(tiny_study, 0.9, speck=0.9)
    numbers = choices.measure(
        iter([(tiny_study, {"good": good, "faint": faint, "specks": specks})]), [("good", "faint")], str
    )
    tables = choices.tables_of(numbers)
    rows = {row["candidate"]: row for row in tables["candidates"]}
    assert rows["good"]["WT"]["mean"] == 1
    assert rows["good"]["n"] == 1
    assert rows["faint"]["WT"]["mean"] == 0
    assert rows["specks"]["false lesions WT"] == 1
    assert rows["specks"]["lesion-wise WT"] == pytest.approx(0.5)
    cut = {row["threshold"]: row for row in tables["thresholds"] if row["candidate"] == "faint"}
    assert cut[0.35]["dice TC"] == 1
    assert cut[0.4]["dice TC"] == 0
    shares = {row["weight"]: row["dice ET"] for row in tables["weights"] if row["candidate"] == "good and faint"}
    assert shares[0.0] == 1
    assert shares[1.0] == 0
    bound = {row["smallest"]: row for row in tables["smallest"] if row["candidate"] == "specks"}
    assert bound[0.02]["false lesions WT"] == 0


def test_command_reads_results_and_adds_the_mean_of_two(study_folder, tiny_study, tiny_prediction, tmp_path):
    for name in ("a", "b"):
        probabilities = likely(tiny_study, 0.8)
        save_prediction(replace(tiny_prediction, probabilities=probabilities), tmp_path / name)
    words = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", "--mean", "a,b", "--studies", study_folder]
    run(choices.main, *words, "-o", tmp_path / "out")
    written = (tmp_path / "out" / "candidates.csv").read_text()
    assert "a and b" in written
    assert all(str(region) in written for region in REGIONS)


def test_candidates_of_other_studies_are_refused(tiny_prediction, study_folder, tmp_path):
    save_prediction(tiny_prediction, tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="does not hold"):
        list(choices.probabilities_of({"a": tmp_path / "a", "b": tmp_path / "b"}, [], {}))
