"""Folds of patients: balanced, no patient twice, and those of the release network stand in the repository."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from uncseg_training.data.cases import STUDY, Cases
from uncseg_training.data.cohort_splits import Traits, alike, balanced_splits, source_of
from uncseg_training.data.splits import SPLITS, read_splits, write_splits
from uncseg_training.train.config import read_config


def test_source_is_data_set_and_site():
    assert source_of("Brats18_CBICA_ABM_1") == "Brats18_CBICA"
    assert source_of("Brats18_TCIA01_201_1") == "Brats18_TCIA"
    assert source_of("BraTS2021_00006") == "BraTS2021"
    assert source_of("BraTS-GLI-00003-001") == "BraTS_GLI"


def test_every_trait_is_held_out_about_equally_often():
    random = np.random.default_rng(4)
    sources = ["a", "a", "a", "b"]
    traits = {
        f"study-{number:02d}": Traits(sources[number % 4], number % 3, int(random.integers(3))) for number in range(46)
    }
    splits = balanced_splits(traits)
    assert sorted(name for fold in splits for name in fold["val"]) == sorted(traits)
    assert sorted(len(fold["val"]) for fold in splits) == [9, 9, 9, 9, 10]
    for fold in splits:
        assert not set(fold["train"]) & set(fold["val"])
        assert len(fold["train"]) + len(fold["val"]) == 46
    for trait in ("source", "size"):
        counts = [Counter(getattr(traits[name], trait) for name in fold["val"]) for fold in splits]
        for value in {getattr(each, trait) for each in traits.values()}:
            held = [count[value] for count in counts]
            assert max(held) - min(held) <= 2
    assert balanced_splits(traits) == splits
    with pytest.raises(ValueError, match="folds"):
        balanced_splits({"one": traits["study-00"]})


def test_folds_of_the_release_network_hold_each_patient_out_once():
    splits = read_splits(SPLITS)
    held = [name for fold in splits for name in fold["val"]]
    assert len(splits) == 5
    assert len(held) == len(set(held)) == 46
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(held)


def test_splits_that_cannot_be_read_are_refused(tmp_path: Path):
    path = tmp_path / "splits.json"
    with pytest.raises(ValueError, match="not there"):
        read_splits(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="no folds"):
        read_splits(path)
    write_splits([{"train": ["a", "b"], "val": ["b"]}], path)
    with pytest.raises(ValueError, match="trains on b"):
        read_splits(path)


def test_two_studies_of_one_head_are_found(tmp_path: Path):
    config = read_config("smoke")
    random = np.random.default_rng(0)
    heads = random.normal(size=(3, *config.volume))
    images = {"a": heads[0], "b": heads[1], "c": heads[2], "again": heads[0] + 0.1 * random.normal(size=config.volume)}
    for name, image in images.items():
        stack = np.repeat(image[None], 4, axis=0).astype(np.float16)
        np.savez(tmp_path / f"{name}.npz", images=stack, labels=np.zeros(config.volume, np.uint8))
    grid = {"spacing": config.spacing, "volume": list(config.volume)}
    index = {"format": 1, "grid": grid, "cases": dict.fromkeys(images, STUDY)}
    (tmp_path / "cases.json").write_text(json.dumps(index))
    told: list[str] = []
    found = alike(Cases.open(tmp_path, config), told.append)
    assert [pair[:2] for pair in found] == [("a", "again")]
    assert len(told) == 1
