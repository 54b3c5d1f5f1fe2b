"""Names that hospitals give to their series, by vendor and language: each is read as one who works there would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_writer import affine_of, write_series

from napari_uncseg.dicom.roles import Verdict, judge
from napari_uncseg.dicom.series import read_examination

SHAPE = (8, 8, 12)
AFFINE = affine_of((22.0, 22.0, 11.0), SHAPE)
VALUES = np.full(SHAPE, 100.0)

Tags = dict[str, Any]
SE: Tags = {"RepetitionTime": 550, "EchoTime": 11, "InversionTime": None}
GRE: Tags = {"RepetitionTime": 8, "EchoTime": 3, "ScanningSequence": "GR", "InversionTime": None}
MPRAGE: Tags = {"RepetitionTime": 1900, "EchoTime": 2.9, "InversionTime": 900, "ScanningSequence": ["GR", "IR"]}
T2: Tags = {"RepetitionTime": 4500, "EchoTime": 98, "InversionTime": None}
FLAIR: Tags = {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
EPI: Tags = {"RepetitionTime": 5000, "EchoTime": 80, "InversionTime": None, "ScanningSequence": ["EP", "SE"]}
BALANCED: Tags = {"RepetitionTime": 6, "EchoTime": 2.6, "ScanningSequence": "GR", "InversionTime": None}
BLANK: Tags = {"RepetitionTime": None, "EchoTime": None, "InversionTime": None}
SIEMENS_MPR: Tags = {**MPRAGE, "ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "CSAPARALLEL"]}

NAMES: list[tuple[str | None, str, Tags]] = [
    # General Electric
    ("t1c", "AX T1 FSE +C FS", SE),
    ("t1c", "SAG BRAVO +C", {**GRE, "InversionTime": 450}),
    ("t1c", "AX T1 C+", SE),
    ("t1n", "AX T1 C-", SE),
    ("t1n", "AX T1 (-)", SE),
    ("t1c", "AX T1 (+)", SE),
    ("t1c", "AX T1 +C", {**SE, "ProtocolName": "BRAIN W/WO CONTRAST"}),
    ("t1n", "AX T1", {**SE, "ProtocolName": "BRAIN WITH GAD/DTI/PERFUSION"}),
    ("t2w", "AX T2 PROPELLER", {**T2, "ProtocolName": "ROUTINE BRAIN + MRA + DWI"}),
    ("t2f", "AX T2 FLAIR FS +C", FLAIR),
    ("t2f", "SAG CUBE FLAIR", {"RepetitionTime": 6500, "EchoTime": 118, "InversionTime": 1650}),
    (None, "3Plane Loc SSFSE", T2),
    (None, "3-pl T2 FGRE S", GRE),
    (None, "AX FIESTA-C", BALANCED),
    (None, "AX MERGE", {"RepetitionTime": 700, "EchoTime": 17, "ScanningSequence": "GR", "InversionTime": None}),
    (None, "NOT DIAGNOSTIC: Ph4 TRICKS", GRE),
    (None, "COL:3D TOF COW", GRE),
    (None, "Processed Images", {**SE, "ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}),
    (None, "ADC (10^-6 mm²/s)", EPI),
    (None, "Inhance 3D Velocity", GRE),
    # Siemens
    ("t1c", "t1_mpr_ns_sag_p2_iso_KM", MPRAGE),
    ("t1n", "t1_mpr_ns_sag_p2_iso", MPRAGE),
    (None, "t1_mpr_ns_sag_p2_iso_KM_MPR_tra", SIEMENS_MPR),
    ("t1c", "T1 3D tra nach KM-Gabe", MPRAGE),
    ("t1c", "t1_space_sag_fs_Gd", {"RepetitionTime": 700, "EchoTime": 12, "InversionTime": None}),
    ("t1n", "t1_vibe_nativ_tra", GRE),
    ("t1n", "T1 vor KM", SE),
    ("t1n", "t1_tse_tra kein KM", SE),
    ("t2f", "t2_spc_da-fl_irprep_sag_p2_iso", {"RepetitionTime": 5000, "EchoTime": 388, "InversionTime": 1800}),
    ("t2w", "t2_blade_tra", T2),
    ("t2w", "t2_tse_tra_512", {**T2, "SequenceName": "*tse2d1_17"}),
    (None, "t2_space_dir_sag", {"RepetitionTime": 7500, "EchoTime": 308, "InversionTime": 3000}),
    (None, "t2_ci3d_tra_iso CISS", BALANCED),
    (None, "ep2d_b0_tra", {**EPI, "SequenceName": "ep_b0"}),
    (None, "t1_mp2rage_sag_INV2", {"RepetitionTime": 5000, "EchoTime": 2.9, "InversionTime": 2500}),
    (None, "t1_mp2rage_sag_T1_Images", {**MPRAGE, "ImageType": ["DERIVED", "PRIMARY", "M", "T1", "NONE"]}),
    (None, "t1_vibe_dixon_tra_F", GRE),
    (None, "t1_vibe_dixon_tra_opp", GRE),
    (None, "t2_trufi_cor", BALANCED),
    (None, "SWI_Images", {"RepetitionTime": 28, "EchoTime": 20, "ScanningSequence": "GR", "InversionTime": None}),
    (None, "mIP_Images(SW)", {"RepetitionTime": 28, "EchoTime": 20, "ScanningSequence": "GR", "InversionTime": None}),
    (None, "AAHead_Scout", GRE),
    (None, "T1 KM SUB", MPRAGE),
    (None, "ep2d_perf_p2_MoCo", {**EPI, "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}),
    (None, "t2_tse_sag HWS", T2),
    (None, "T2 TSE sag LWS", T2),
    # Philips
    ("t1c", "sT1W_3D_TFE GD", GRE),
    ("t1n", "sT1W_3D_TFE", BLANK),
    ("t1c", "sT1W_3D_TFE +Gd", BLANK),
    ("t2f", "3D_Brain_VIEW_FLAIR_SHC", {"RepetitionTime": 4800, "EchoTime": 340, "InversionTime": 1650}),
    ("t2w", "T2W_MV_XD", T2),
    ("t1n", "T1W_SE", {**SE, "ImageType": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]}),
    (None, "T1W_FFE", {**GRE, "ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}),
    (None, "Survey", GRE),
    (None, "dReg - DWI_SSh", EPI),
    (None, "bTFE_3D", BALANCED),
    (None, "VEN_BOLD", {"RepetitionTime": 28, "EchoTime": 20, "ScanningSequence": "GR", "InversionTime": None}),
    (None, "sBALL_survey", GRE),
    # Canon
    ("t1c", "T1 SE AX CE", SE),
    ("t2f", "FLAIR Fast FAT SAT", {"RepetitionTime": 10000, "EchoTime": 105, "InversionTime": 2700}),
    ("t2w", "FSE T2 AX JET", T2),
    (None, "Locator", GRE),
    # French
    ("t1c", "AX T1 GADO", SE),
    ("t1c", "3D T1 IR après inj", MPRAGE),
    ("t1n", "T1 avant injection", SE),
    ("t1n", "SAG T1 SANS IV", SE),
    (None, "Repérage", GRE),
    (None, "Soustraction T1", SE),
    (None, "T2 SAG RACHIS CERVICAL", T2),
    # Spanish and Portuguese
    ("t1c", "T1 AX CON CIV", SE),
    ("t1c", "T1 TRA C/C", SE),
    ("t1n", "T1 TRA S/C", SE),
    ("t1n", "T1 basal", SE),
    ("t1c", "T1 AX PÓS", SE),
    ("t1n", "T1 sem contraste", SE),
    ("t1c", "T1 tras contraste", SE),
    (None, "Localizador", GRE),
    (None, "T2 SAG COLUMNA LUMBAR", T2),
    # Italian
    ("t1c", "T1 SE ASS DOPO MDC", SE),
    ("t1c", "MPRAGE dopo m.d.c.", MPRAGE),
    ("t1n", "T1 prima di mdc", SE),
    (None, "T1 sottrazione", SE),
    # elsewhere
    ("t1c", "T1 met contrast", SE),
    ("t1n", "T1 voor contrast", SE),
    ("t1n", "T1 przed kontrastem", SE),
    ("t1c", "T1 s k.l.", SE),
    ("t1c", "T1 po k.l.", SE),
    ("t1c", "T1 med kontrast", SE),
    ("t1n", "T1 uten kontrast", SE),
    ("t1c", "T1强化", SE),
    ("t1c", "T1 增强", SE),
    ("t1n", "T1 平扫", SE),
    ("t1c", "T1 造影後", SE),
    ("t1n", "T1 造影前", SE),
    ("t1c", "T1 с контрастом", SE),
    ("t1n", "T1 без контраста", SE),
    # what is done to the patient is not contrast agent
    ("t1n", "T1 post RT", SE),
    ("t1n", "T1 post biopsy", SE),
    ("t1n", "T1 non-gad", SE),
    ("t1n", "T1 NO CONTRAST", SE),
    # the header alone
    ("t1n", "T1", {**SE, "ContrastBolusAgent": "N/A"}),
    ("t1n", "T1", {**SE, "ContrastBolusAgent": "without contrast"}),
    ("t1c", "T1", {**SE, "ContrastBolusAgent": "Clariscan"}),
    (None, "", EPI),
    ("t2f", "", FLAIR),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Verdict]:
    folder: Path = tmp_path_factory.mktemp("names")
    for number, (_, name, tags) in enumerate(NAMES, start=1):
        write_series(folder / str(number), VALUES, AFFINE, "t1n", number=number, SeriesDescription=name, **tags)
    series = read_examination(folder).series
    return {int(each.header.SeriesNumber): judge(each) for each in series}


@pytest.mark.parametrize("number", range(1, len(NAMES) + 1), ids=lambda number: NAMES[number - 1][1] or "no name")
def test_name_is_read_as_it_is_meant(verdicts, number):
    role, _, _ = NAMES[number - 1]
    assert verdicts[number].role == role, verdicts[number].why
