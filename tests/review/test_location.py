"""Where findings are said to lie: border, side and direction, in whatever order voxels are stored."""

import dataclasses
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Label, Region
from napari_uncseg.maps import MapName
from napari_uncseg.review.findings import find
from napari_uncseg.review.location import frame_of
from napari_uncseg.review.watershed import build_watershed

SHAPE = (60, 70, 50)
SPACING = (1.0, 1.5, 2.0)
CENTRE = (20, 35, 25)
UNC = MapName("unc_output")
ORIENTATIONS = [
    "".join(letters)
    for axes in permutations(("RL", "AP", "SI"))
    for letters in product(*axes)
    if "".join(letters) in ("RAS", "LPS", "LAS", "SPL", "IRA", "ARI", "PSR")
]


def ball(centre, radius):
    """A ball in a grid whose axes run to R, A and S, radius in mm."""
    offsets = (np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))) * np.reshape(SPACING, (3, 1, 1, 1))
    return np.sqrt((offsets**2).sum(axis=0)) <= radius


def stored(array, codes):
    """An array whose axes run to R, A and S, and its affine, stored in another orientation."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    affine = np.diag([*SPACING, 1.0]) @ inv_ornt_aff(turn, SHAPE)
    return nib.apply_orientation(array, turn), affine


def words(codes, place, centre=CENTRE, brain=None):
    """What is said of a place given in R, A, S voxels."""
    tumour, affine = stored(ball(centre, 8), codes)
    frame = frame_of(affine, tumour, stored(brain, codes)[0] if brain is not None else None)
    voxel = np.linalg.inv(affine) @ [*(np.array(place) * SPACING), 1]
    return frame.words(voxel[:3])


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_sides_and_directions_do_not_depend_on_the_voxel_order(codes):
    assert len(ORIENTATIONS) == 7
    assert words(codes, (20, 55, 25)) == "left, anterior"
    assert words(codes, (20, 20, 25)) == "left, posterior"
    assert words(codes, (20, 35, 40)) == "left, superior"
    assert words(codes, (20, 35, 10)) == "left, inferior"
    assert words(codes, (5, 35, 25)) == "left, lateral"
    assert words(codes, (35, 35, 25)) == "right, medial"
    assert words(codes, (23, 50, 36)) == "left, anterior-superior"
    assert words(codes, (10, 28, 26)) == "left, posterior-lateral"
    assert words(codes, (8, 35, 17)) == "left, inferior-lateral"
    assert words(codes, (20, 36, 25)) == "left"


def test_a_tumour_of_the_right_side_has_its_lateral_side_there():
    assert words("LPS", (55, 35, 25), centre=(40, 35, 25)) == "right, lateral"
    assert words("LPS", (20, 35, 25), centre=(40, 35, 25)) == "left, medial"


def test_a_tumour_of_the_middle_has_no_lateral_side():
    assert words("RAS", (45, 35, 25), centre=(30, 35, 25)) == "right"
    assert words("RAS", (15, 47, 25), centre=(30, 35, 25)) == "left, anterior"
    assert words("RAS", (30, 50, 25), centre=(30, 35, 25)) == "midline, anterior"


def test_the_brain_tells_the_middle_of_the_head():
    """A head that lies off the middle of its volume."""
    brain = ball((20, 35, 25), 18)
    assert words("LPS", (20, 55, 25), brain=brain) == "midline, anterior"
    assert words("LPS", (33, 55, 25), brain=brain).startswith("right")


def test_the_place_of_the_origin_means_nothing():
    """BraTS counts millimetres from a corner: all of its heads have x < 0."""
    tumour = ball(CENTRE, 8)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:2, 3] = 0, 239
    assert frame_of(affine, tumour).words((5, 35, 25)).startswith("right")
    assert frame_of(affine, tumour).words((55, 35, 25)).startswith("left")


def test_a_tilted_scan_is_told_along_its_own_rows():
    turn = np.radians(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine = tilt @ np.diag([*SPACING, 1.0])
    assert (io_orientation(affine)[:, 0] == [0, 1, 2]).all()
    assert frame_of(affine, ball(CENTRE, 8)).words((20, 60, 25)) == "left, anterior"


def test_without_a_tumour_the_side_is_told():
    assert frame_of(np.eye(4), np.zeros(SHAPE, bool)).words((5, 5, 5)) == "left"


@pytest.fixture
def nested():
    """Necrosis (8 mm) in enhancing tumour (14 mm) in oedema (26 mm), stored from head to foot."""
    labels = np.zeros(SHAPE, np.uint8)
    for radius, label in ((26, Label.ED), (14, Label.ET), (8, Label.NCR)):
        labels[ball((30, 35, 25), radius)] = label
    labels, affine = stored(labels, "SPL")
    return Prediction("nested", np.zeros((3, *labels.shape), np.float32), labels, {}, affine)


def found(prediction, place, key=UNC, radius=5.0):
    """The one finding that a ball of doubt makes."""
    doubt, _ = stored(np.where(ball(place, radius), np.float32(0.6), np.float32(0)), "SPL")
    maps = {str(key): doubt} if key.region is Region.WT else {}
    probabilities = np.stack([doubt / 2] * 3)
    given = dataclasses.replace(prediction, maps=maps, probabilities=probabilities)
    watershed = build_watershed(given, key)
    (finding,) = find(watershed, 0.5 * float(watershed.values.max())).items
    return finding


@pytest.mark.parametrize(
    ("place", "radius", "expected"),
    [
        ((30, 52, 25), 5, "tumour margin, midline, anterior"),
        ((30, 35, 18), 5, "core margin, midline, inferior"),
        ((38, 35, 25), 4, "enhancing margin, right"),
        ((30, 49, 25), 4, "in oedema, midline, anterior"),
        ((30, 35, 25), 5, "in the necrotic core, midline"),
    ],
)
def test_the_border_that_a_finding_lies_on_is_told(nested, place, radius, expected):
    finding = found(nested, place, radius=radius)
    assert finding.place == expected
    at_the = "at the " if expected.split(",")[0].endswith("margin") else ""
    assert finding.reason.endswith(f" {at_the}{expected}")


def test_the_map_decides_of_which_region_the_border_is(nested):
    assert found(nested, (30, 35, 18), MapName("entropy", Region.TC)).place == "core margin, midline, inferior"
    assert found(nested, (30, 35, 18), MapName("entropy", Region.ET)).place == "enhancing margin, midline, inferior"
    assert found(nested, (30, 52, 25), MapName("entropy", Region.ET)).place.endswith("mm outside ET, midline, anterior")


def test_findings_round_a_tumour_are_told_apart(nested):
    shell = [(30, 52, 25), (30, 18, 25), (30, 35, 38), (30, 35, 12), (55, 35, 25), (5, 35, 25), (30, 47, 34)]
    places = [found(nested, place).place for place in shell]
    assert len(set(places)) == len(places)
    assert all(place.startswith("tumour margin, ") for place in places)
