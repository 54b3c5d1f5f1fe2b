"""Roles of series: by times, names in several languages, order in time; and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_writer import affine_of, write_examination, write_series

from napari_uncseg.dicom.roles import choose_series, judge
from napari_uncseg.dicom.series import read_examination
from napari_uncseg.errors import DicomError

SHAPE = (8, 8, 12)
AFFINE = affine_of((22.0, 22.0, 11.0), SHAPE)
VALUES = np.full(SHAPE, 100.0)

GRE = {"RepetitionTime": 8, "EchoTime": 3, "ScanningSequence": "GR"}
T1_SE = {"RepetitionTime": 550, "EchoTime": 11}
T1_FLAIR = {"RepetitionTime": 2400, "EchoTime": 20, "InversionTime": 860}
SPACE_FLAIR = {"RepetitionTime": 5000, "EchoTime": 390, "InversionTime": 1800}
BLANK: dict[str, Any] = {"RepetitionTime": None, "EchoTime": None}

ROLES = [
    ("t1c", "Ax T1 +C", T1_SE),
    ("t1c", "t1_mprage_tra_p2_iso_KM", {}),
    ("t1c", "T1 3D après injection", GRE),
    ("t1c", "T1 TSE tra nach KM", T1_SE),
    ("t1c", "AX T1 MPRAGE POST", {}),
    ("t1c", "T1W_3D_TFE_GADO", GRE),
    ("t1c", "T1 con contraste", T1_SE),
    ("t1c", "t1 con mdc", T1_SE),
    ("t1c", "T1 po kontraście", T1_SE),
    ("t1c", "BRAVO Gd", GRE),
    ("t1c", "preop T1 Gd", GRE),
    ("t1n", "Ax T1 pre", T1_SE),
    ("t1n", "t1_tse_tra_nativ", T1_SE),
    ("t1n", "T1 sans injection", T1_SE),
    ("t1n", "T1 senza mdc", T1_SE),
    ("t1n", "T1 bez kontrastu", T1_SE),
    ("t1n", "T1 FLAIR Ax", T1_FLAIR),
    ("t1n", "postop MPRAGE", {}),
    ("t1n", "T1w ohne Kontrastmittel", T1_SE),
    ("t2f", "t2_space_dark-fluid_sag", SPACE_FLAIR),
    ("t2f", "Ax FLAIR", {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}),
    ("t2f", "t2_tirm_tra_dark-fluid", {"RepetitionTime": 8000, "EchoTime": 90, "InversionTime": 2371}),
    ("t2f", "Sag CUBE T2 FLAIR", {"RepetitionTime": 6500, "EchoTime": 120, "InversionTime": None}),
    ("t2f", "FLAIR", BLANK),
    ("t2w", "T2 TSE tra", {"RepetitionTime": 4000, "EchoTime": 100}),
    ("t2w", "T2W_TSE", {"RepetitionTime": 3000, "EchoTime": 80}),
    ("t2w", "T2", BLANK),
    (None, "PD TSE", {"RepetitionTime": 3000, "EchoTime": 15}),
    (None, "loc_3-plane", GRE),
    (None, "ep2d_diff_tra_TRACEW", {"RepetitionTime": 6000, "EchoTime": 90}),
    (None, "DWI b1000", {"RepetitionTime": 6000, "EchoTime": 90}),
    (None, "DSC perfusion", {"RepetitionTime": 1500, "EchoTime": 30}),
    (None, "T1 KM Subtraktion", T1_SE),
    (None, "T1 MPR cor", T1_SE),
    (None, "SWI tra", {"RepetitionTime": 30, "EchoTime": 20, "ScanningSequence": "GR"}),
    (None, "T2* GRE hemo", {"RepetitionTime": 600, "EchoTime": 20, "ScanningSequence": "GR"}),
    (None, "tof_fl3d", {"RepetitionTime": 22, "EchoTime": 4, "ScanningSequence": "GR"}),
    (None, "t2 stir", {"RepetitionTime": 5000, "EchoTime": 70, "InversionTime": 160}),
    (None, "unknown", BLANK),
]


@pytest.mark.parametrize(("role", "name", "tags"), ROLES, ids=[name for _, name, _ in ROLES])
def test_role_of_a_series(tmp_path, role, name, tags):
    usual = {"InversionTime": 900} if role in ("t1c", "t1n") and not tags else {"InversionTime": None}
    write_series(tmp_path, VALUES, AFFINE, "t1n", SeriesDescription=name, **{**usual, **tags})
    verdict = judge(read_examination(tmp_path).series[0])
    assert verdict.role == role, verdict.why
    assert verdict.why


LEFT_OUT: list[dict[str, Any]] = [
    {"ImageType": ["DERIVED", "SECONDARY", "M"]},
    {"ImageType": ["DERIVED", "PRIMARY", "MPR"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"]},
    {"ImageType": ["DERIVED", "PRIMARY", "ADC"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
    {"DiffusionBValue": 1000.0},
]


@pytest.mark.parametrize("tags", LEFT_OUT, ids=str)
def test_what_its_header_says_to_be_something_else_is_left_out(tmp_path, tags):
    write_series(tmp_path, VALUES, AFFINE, "t2w", **tags)
    assert judge(read_examination(tmp_path).series[0]).role is None


def test_screenshots_are_left_out(tmp_path):
    write_series(tmp_path / "a", VALUES, AFFINE, "t2w")
    write_series(tmp_path / "b", VALUES, AFFINE, "t2w", number=9, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    roles = [verdict.role for verdict in choose_series(read_examination(tmp_path)).verdicts]
    assert roles == ["t2w", None]


@pytest.mark.parametrize("tags", [{"ContrastBolusAgent": "Gadovist 7 ml"}, {"SeriesDescription": "t1"}])
def test_contrast_agent_of_the_header_or_of_the_order_in_time(tmp_path, tags):
    write_series(tmp_path / "a", VALUES, AFFINE, "t1n", number=2, SeriesDescription="t1")
    write_series(tmp_path / "b", VALUES, AFFINE, "t1n", number=8, **{"SeriesDescription": "t1", **tags})
    chosen = choose_series(read_examination(tmp_path)).series
    assert (chosen["t1n"].label, chosen["t1c"].label) == ("2", "8")


def test_what_came_after_contrast_agent_has_it(tmp_path):
    for number, name in ((2, "t1"), (5, "t1 gd"), (7, "t1 space")):
        write_series(tmp_path / name, VALUES, AFFINE, "t1n", number=number, SeriesDescription=name)
    roles = {verdict.series.label: verdict.role for verdict in choose_series(read_examination(tmp_path)).verdicts}
    assert roles["2"] == "t1n"
    assert roles["7"] == "t1c" or roles["5"] == "t1c"
    assert list(roles.values()).count("t1c") == 1


def test_best_of_several_is_taken_and_a_user_may_choose_another(tmp_path):
    for number, step in ((3, 16.0), (4, 11.0), (5, 2.0)):  # thick, sound, a slab
        affine = affine_of((11.0, 11.0, step), (16, 16, 12))
        write_series(tmp_path / str(number), np.full((16, 16, 12), 100.0), affine, "t2w", number=number)
    examination = read_examination(tmp_path)
    chosen = choose_series(examination)
    assert chosen.series["t2w"].label == "4"
    assert all("4" in verdict.why for verdict in chosen.verdicts if verdict.series.label != "4")
    assert choose_series(examination, {"t2w": "3"}).series["t2w"].label == "3"
    with pytest.raises(DicomError) as told:
        choose_series(examination, {"t2w": "77"})
    assert told.value.code == "dicom.missing-series"


def test_four_of_an_examination_are_found_and_none_is_missed_quietly(tmp_path):
    folder = write_examination(tmp_path)
    chosen = choose_series(read_examination(folder)).complete()
    assert {role: series.label for role, series in chosen.items()} == {"t1c": "5", "t1n": "2", "t2f": "4", "t2w": "3"}
    for path in Path(folder).glob("im05*"):
        path.unlink()
    with pytest.raises(DicomError) as told:
        choose_series(read_examination(folder)).complete()
    assert told.value.code == "dicom.missing-series"
