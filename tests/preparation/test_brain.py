"""The bundled network finds a brain on any grid, and its file is held to be what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.dicom_writer import affine_of, grid, head

from napari_uncseg.errors import ModelError, NoBrainMask
from napari_uncseg.io.geometry import Affine
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.preparation.brain import BUNDLED, Method, find_extractor
from napari_uncseg.preparation.brain_network import load_brain_network, scaled


def inner(affine: Affine, shape: tuple[int, int, int]) -> np.ndarray:
    """The folded brain of the writer's head, with the fluid between its folds."""
    x, y, z = (affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]).reshape(3, *shape)
    return np.sqrt((x / 60) ** 2 + (y / 80) ** 2 + (z / 68) ** 2) < 0.95


@pytest.mark.parametrize("role", ["t1c", "t2f", "t2w"])
def test_brain_is_found_in_each_contrast_on_sagittal_and_oblique_grids(role):
    affine, shape = grid(role)
    found = find_extractor(Method.AUTO)(head(role, affine, shape).astype(np.float32)[None], affine, None)
    assert found.shape == shape
    assert dice(found, inner(affine, shape)) > 0.9


def test_mask_does_not_depend_on_the_unit_of_intensities_nor_on_much_air():
    affine, shape = grid("t1c")
    image = head("t1c", affine, shape).astype(np.float32)[None]
    find = load_brain_network().find
    once = find(image, affine)
    assert dice(find(7 * image + 100, affine), once) > 0.99
    wide = np.pad(image[0], 20)[None]
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ [20, 20, 20]
    assert dice(find(wide, moved)[20:-20, 20:-20, 20:-20], once) > 0.95


def test_an_image_has_a_say_where_it_reaches_and_an_empty_one_has_none():
    affine, shape = grid("t1c")
    image = head("t1c", affine, shape).astype(np.float32)
    find, empty, all_of_it = load_brain_network().find, np.zeros_like(image), np.ones(shape, bool)
    once = find(image[None], affine)
    assert np.array_equal(find(np.stack([image, empty]), affine), once)
    half = np.indices(shape)[0] < shape[0] // 2
    beside = np.roll(image, 25, axis=1)
    mixed = find(np.stack([image, beside]), affine, [all_of_it, half])
    far = slice(shape[0] // 2 + 4, None)
    assert dice(mixed[far], once[far]) > 0.98 > dice(mixed[: shape[0] // 2], once[: shape[0] // 2])


def test_where_there_is_no_brain_it_says_so():
    affine = affine_of((3.0, 3.0, 3.0), (64, 64, 64))
    with pytest.raises(NoBrainMask):
        load_brain_network().find(np.zeros((1, 64, 64, 64), np.float32), affine)
    assert scaled(np.full((4, 4, 4), 5, np.float32)).max() == 0


def test_bundled_weights_are_small_and_tell_how_they_came_to_be():
    from safetensors import safe_open

    assert BUNDLED.stat().st_size <= 3e6
    with safe_open(BUNDLED, "np") as opened:
        told = json.loads(opened.metadata()["brain"])
    assert len(told["trained_on"]) == 17
    assert (BUNDLED.parent / "README.md").is_file()


def test_another_or_a_damaged_file_is_refused(tmp_path: Path):
    with pytest.raises(ModelError):
        load_brain_network(tmp_path / "none.safetensors")
    data = BUNDLED.read_bytes()
    for name, content in (("cut", data[: len(data) // 2]), ("noise", b"\x00" * 300), ("pickle", b"PK" + data)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError):
            load_brain_network(tmp_path / name)
