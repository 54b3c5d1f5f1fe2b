"""Foreign bytes at the door, and bytes that are written."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io.nifti import encode_volume, read_volume, write_volume

AFFINE = np.diag([-2.0, -2.0, 2.5, 1.0])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_values_shape_affine_and_hash_are_the_files(name, write, tiny_study):
    path = write(name)
    volume = read_volume(path)
    assert np.array_equal(volume.values(), tiny_study.images[0])
    assert np.array_equal(volume.affine, nib.load(path).affine)
    assert volume.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_type_with_slope_and_byte_order(kind, dtype, order, tmp_path):
    stored = np.arange(60).reshape(3, 4, 5).astype(dtype)
    image = kind(stored, AFFINE)
    header = image.header.as_byteswapped(order)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = 0.5, -10, 352 if kind is nib.Nifti1Image else 544
    header["magic"] = b"n+1" if kind is nib.Nifti1Image else b"n+2"
    path = tmp_path / "scaled.nii"
    path.write_bytes(header.binaryblock + bytes(4) + stored.astype(stored.dtype.newbyteorder(order)).tobytes("F"))
    values = read_volume(path).values()
    assert values.dtype == np.float32
    assert np.array_equal(values, np.arange(60).reshape(3, 4, 5) * 0.5 - 10)


def test_many_gzip_streams_in_a_row_are_one_file(write, tiny_study):
    """As bgzip writes them."""
    path = write("a.nii.gz")
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(b"".join(gzip.compress(plain[start : start + 9999]) for start in range(0, len(plain), 9999)))
    assert np.array_equal(read_volume(path).values(), tiny_study.images[0])


def test_axes_of_length_one_are_dropped(write):
    assert read_volume(write("a.nii.gz", np.ones((4, 5, 6, 1, 1), dtype=np.int16))).shape == (4, 5, 6)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-2000])


def _flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip,
        lambda path: path.write_text("T1 of patient 7, see attachment"),
        lambda path: path.write_bytes(gzip.compress(b"also text" * 100)),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:200])),
        lambda path: path.write_bytes(gzip.decompress(path.read_bytes())[:-1]),
    ],
    ids=["truncated", "flipped", "text", "zipped text", "empty", "missing", "folder", "header cut", "plain truncated"],
)
def test_damaged_file_gives_one_sentence(damage, write):
    path = write("scan.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    damage(path)
    with pytest.raises(StudyError, match=re.escape(str(path))) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_values_and_colours_are_refused(dtype, write):
    with pytest.raises(StudyError):
        read_volume(write("a.nii.gz", np.zeros((4, 4, 4), dtype=dtype)))


def _edit_header(path, **fields):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for field, value in fields.items():
        header[field] = value
    raw[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"sform_code": 0, "qform_code": 0, "pixdim": [1, 0, 0, 0, 1, 1, 1, 1]},
        {"srow_x": 0, "qform_code": 0},
        {"srow_x": np.nan, "qform_code": 0},
        {"sform_code": 0, "qform_code": 1, "quatern_b": 5},
        {"xyzt_units": 3},
        {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]},
        {"dim": [3, 4, -4, 4, 1, 1, 1, 1]},
        {"dim": [99, 4, 4, 4, 1, 1, 1, 1]},
        {"datatype": 999},
        {"magic": b"ni1"},
        {"vox_offset": 1e6},
        {"vox_offset": 1e30},
        {"vox_offset": np.inf},
    ],
)
def test_damaged_header(fields, write):
    path = _edit_header(write("a.nii.gz"), **fields)
    with pytest.raises(StudyError, match=re.escape(str(path))):
        read_volume(path)


def test_a_scaling_that_is_no_number_is_left_out(write):
    assert np.isfinite(read_volume(_edit_header(write("a.nii.gz"), scl_slope=np.inf)).values()).all()


@pytest.mark.parametrize("code", [4, 7, 224])
def test_a_unit_that_nobody_knows_is_taken_for_millimetres(code, write):
    volume = read_volume(_edit_header(write("a.nii.gz"), xyzt_units=code))
    assert "unknown unit" in volume.warnings[0]
    assert volume.header.get_xyzt_units()[0] == "mm"


def test_a_damaged_qform_beside_a_sound_sform_is_not_handed_on(write, tiny_study):
    volume = read_volume(_edit_header(write("a.nii.gz"), qform_code=1, quatern_b=1.0, quatern_c=0.5))
    assert np.allclose(volume.affine, tiny_study.affine)
    assert volume.header["qform_code"] == 0
    assert "qform" in volume.warnings[0]


@settings(deadline=None, max_examples=100)
@example(at=253, bytes_=b"\x01\x00\x01\x00\x00\x00;")
@given(at=st.integers(0, 347), bytes_=st.binary(min_size=1, max_size=8))
def test_whatever_a_header_holds_is_read_or_refused(at, bytes_, tmp_path_factory):
    header = nib.Nifti1Image(np.ones((3, 4, 5), dtype=np.int16), AFFINE).header
    raw = bytearray(header.binaryblock + bytes(4) + bytes(2 * 60))
    raw[at : at + len(bytes_)] = bytes_
    path = tmp_path_factory.mktemp("any") / "any.nii"
    path.write_bytes(raw)
    with contextlib.suppress(StudyError):
        volume = read_volume(path)
        assert np.isfinite(volume.affine).all()
        volume.values()


@pytest.mark.parametrize("size", [0.0, -2.0, np.nan])
def test_sizes_that_are_none_beside_a_sound_sform_are_not_handed_on(size, write, tiny_study):
    volume = read_volume(_edit_header(write("a.nii.gz"), pixdim=[1, size, size, size, 1, 1, 1, 1]))
    assert np.allclose(volume.affine, tiny_study.affine)
    assert np.allclose(volume.header["pixdim"][1:4], tiny_study.spacing)


def test_degenerate_sform_falls_back_on_the_qform(write, tiny_study):
    path = write("a.nii.gz")
    image = nib.load(path)
    image.set_qform(tiny_study.affine, 1)
    image.to_filename(path)
    volume = read_volume(_edit_header(path, srow_x=0))
    assert np.allclose(volume.affine, tiny_study.affine)
    assert "degenerate sform" in volume.warnings[0]


def test_forms_that_name_other_sides_are_told(write, tiny_study):
    path = write("a.nii.gz")
    image = nib.load(path)
    for flipped, told in ((False, 0), (True, 1)):
        image.set_sform(tiny_study.affine @ np.diag([-1 if flipped else 1, 1, 1, 1]), 1)
        image.set_qform(tiny_study.affine, 1)
        image.to_filename(path)
        assert len(read_volume(path).warnings) == told


def test_file_without_orientation_is_read_with_a_warning(write):
    volume = read_volume(_edit_header(write("a.nii.gz"), sform_code=0, qform_code=0))
    assert "left and right" in volume.warnings[0]


def test_nothing_but_the_geometry_of_a_header_is_kept(write):
    path = _edit_header(write("a.nii.gz"), descrip=b"Jane Doe, 1970", db_name=b"Doe", aux_file=b"doe.txt")
    header = read_volume(path).header
    assert b"oe" not in header.binaryblock


@settings(deadline=None)
@given(
    values=hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=3, max_dims=4, min_side=2, max_side=5), elements=st.floats(0, 1, width=32)
    ),
    upper=st.sampled_from([1.0, 0.25, float(np.log(2))]),
    numbers=st.lists(st.floats(-3, 3, width=32), min_size=12, max_size=12),
    permutation=st.permutations(range(3)),
)
def test_round_trip_of_fractions_and_affines(tmp_path_factory, values, upper, numbers, permutation):
    matrix = np.eye(4)
    matrix[:3] = np.reshape(numbers, (3, 4))
    # A permuted, sheared and oblique grid, kept away from the degenerate.
    matrix[permutation, range(3)] += np.copysign(12, matrix[permutation, range(3)])
    matrix = matrix.astype(np.float32).astype(np.float64)
    path = tmp_path_factory.mktemp("round") / "map.nii.gz"
    write_volume(path, values * np.float32(upper), matrix, upper=upper)
    image = nib.load(path)
    assert image.shape == values.shape
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(image.affine, matrix)
    back = image.get_fdata()
    assert back.min() >= 0
    assert back.max() <= upper
    assert np.abs(back - values * np.float32(upper)).max() <= upper / 65534 + 1e-7


def test_writing_keeps_codes_and_units_of_the_reference(write, tiny_study, tmp_path):
    path = write("a.nii.gz")
    image = nib.load(path)
    image.set_qform(tiny_study.affine, 1)
    image.set_sform(tiny_study.affine, 4)
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(path)
    volume = read_volume(path)
    write_volume(tmp_path / "b.nii.gz", np.zeros(volume.shape, dtype=np.uint8), volume.affine, volume.header)
    ours, theirs = nib.load(tmp_path / "b.nii.gz").header, nib.load(path).header
    for field in ("qform_code", "sform_code", "quatern_b", "srow_x", "srow_y", "srow_z", "xyzt_units"):
        assert np.array_equal(ours[field], theirs[field])
    assert np.array_equal(ours["pixdim"][:4], theirs["pixdim"][:4])


def test_the_same_array_gives_the_same_bytes(tiny_study):
    array = tiny_study.images[0]
    assert encode_volume(array, AFFINE) == encode_volume(array, AFFINE)


def test_values_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(SaveError):
        write_volume(tmp_path / "a.nii.gz", np.full((3, 3, 3), np.nan), AFFINE, upper=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"<!DOCTYPE html><html>", b"\x1f\x8b" * 200],
)
def test_what_lies_under_the_name_of_an_image_is_told(tmp_path, content) -> None:
    path = tmp_path / "P1-t1c.nii.gz"
    path.write_bytes(gzip.compress(content.ljust(400)))
    with pytest.raises(StudyError) as told:
        read_volume(path)
    assert str(path) in str(told.value)
    assert "convert it" not in str(told.value)


@pytest.mark.parametrize(("shape", "size"), [((40, 40, 1), 1.0), ((1, 40, 40, 40), 1.0), ((60, 60, 60), 60.0)])
def test_geometry_that_no_head_has_is_refused(tmp_path, shape, size) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(shape, np.int16), np.diag([size, size, size, 1.0])), path)
    with pytest.raises(StudyError, match=str(path)):
        read_volume(path)
