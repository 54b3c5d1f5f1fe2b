"""Which file is which: every naming, and what is wrong with a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.errors import StudyError
from napari_uncseg.inference.jobs import find_jobs
from napari_uncseg.io.discovery import find_studies, study_files
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.naming import name_of_study, read_name
from napari_uncseg.labels import MODALITIES, Coding

NAMINGS = {
    "BraTS-GLI-00005-001": [f"BraTS-GLI-00005-001-{token}.nii.gz" for token in ("t1c", "t1n", "t2f", "t2w", "seg")],
    "BraTS2021_00006": [f"BraTS2021_00006_{token}.nii.gz" for token in ("t1ce", "t1", "flair", "t2", "seg")],
    "patient07": ["T1POST.nii.gz", "T1.nii.gz", "FLAIR.nii.gz", "T2.nii.gz", "seg.nii.gz"],
    "lower": ["t1gd.nii", "t1.nii", "flair.nii", "t2.nii", "seg.nii"],
    "UCSF-PDGM-0004": [f"UCSF-PDGM-0004_{t}.nii.gz" for t in ("T1c", "T1", "FLAIR", "T2", "tumor_segmentation")],
    "bids": [f"sub-01_{token}.nii.gz" for token in ("ce-gadolinium_T1w", "T1w", "FLAIR", "T2w", "seg")],
    "words": ["x T1 post contrast.nii.gz", "x T1 pre contrast.nii.gz", "x FLAIR.nii.gz", "x T2.nii.gz", "x seg.nii.gz"],
    "plus": ["x T1+C.nii.gz", "x T1.nii.gz", "x T2_FLAIR.nii.gz", "x T2.nii.gz", "x seg.nii.gz"],
}


@pytest.mark.parametrize(("folder", "names"), NAMINGS.items(), ids=NAMINGS)
def test_naming_is_read(folder, names, write_study, tiny_study):
    path = write_study(folder, dict(zip((*MODALITIES, "reference"), names, strict=True)))
    (study,) = find_studies(path)
    assert study.id == folder
    assert [study.modalities[modality].name for modality in MODALITIES] == names[:4]
    assert study.reference is not None
    loaded = load_study(study)
    assert np.array_equal(loaded.images, tiny_study.images)
    assert np.array_equal(loaded.reference, tiny_study.reference)


@pytest.mark.parametrize(
    ("folder", "coding"),
    [("BraTS-GLI-00005-001", Coding.BRATS2023), ("BraTS2021_00006", Coding.BRATS2021), ("patient07", None)],
)
def test_naming_implies_the_coding(folder, coding, write_study):
    path = write_study(folder, dict(zip(MODALITIES, NAMINGS[folder], strict=False)))
    assert find_studies(path)[0].coding is coding


@pytest.mark.parametrize("name", ["ms_lesions", "BraTS_T1_bias", "brain_mask", "t13", "at1"])
def test_other_files_say_nothing(name):
    assert read_name(Path(f"{name}.nii.gz")) is None


def test_extra_files_do_not_confuse(write, write_study):
    folder = write_study("patient07", dict(zip(MODALITIES, NAMINGS["patient07"], strict=False)))
    write("patient07/ms_lesions.nii.gz")
    write("patient07/brain_segmentation.nii.gz")
    (study,) = find_studies(folder)
    assert study.problem is None
    assert study.reference is None


def test_parent_folder_goes_on_after_a_bad_study(tmp_path, write_study):
    for folder in ("a", "b", "c"):
        write_study(f"cohort/{folder}", dict(zip(MODALITIES, NAMINGS["patient07"], strict=False)))
    (tmp_path / "cohort" / "b" / "T2.nii.gz").unlink()
    (tmp_path / "cohort" / "notes").mkdir()
    studies = find_studies(tmp_path / "cohort")
    assert [study.id for study in studies] == ["a", "b", "c"]
    assert [study.problem is None for study in studies] == [True, False, True]
    with pytest.raises(StudyError, match="T2w"):
        load_study(studies[1])
    with pytest.raises(StudyError):
        load_study(tmp_path / "cohort")


def test_folders_of_the_same_name_get_distinct_ids(tmp_path, write_study):
    for site in ("north", "south"):
        write_study(f"{site}/p1", dict(zip(MODALITIES, NAMINGS["patient07"], strict=False)))
    assert [study.id for study in find_studies(tmp_path)] == ["north_p1", "south_p1"]


def test_ids_that_differ_in_case_alone_are_one_on_some_disks(tmp_path, write_study):
    for place in ("north/P1", "south/p1"):
        write_study(place, dict(zip(MODALITIES, NAMINGS["patient07"], strict=False)))
    assert [study.id for study in find_studies(tmp_path)] == ["north_P1", "south_p1"]
    with pytest.raises(StudyError):
        find_jobs([tmp_path / "north", tmp_path / "south"], {})


def test_flat_folder_holds_several_studies(tmp_path, write_study):
    for name in ("p1", "p2"):
        write_study("flat", {m: f"{name}_{m}.nii.gz" for m in MODALITIES})
    assert [study.id for study in find_studies(tmp_path / "flat")] == ["p1", "p2"]


def test_nothing_of_a_study(tmp_path, write):
    with pytest.raises(StudyError):
        find_studies(tmp_path)
    with pytest.raises(StudyError):
        find_studies(tmp_path / "nowhere")
    with pytest.raises(StudyError):
        find_studies(write("alone/scan.nii.gz"))


@pytest.mark.parametrize("ending", ["mha", "nrrd", "img", "nii.bz2", "NII.ZST"])
def test_images_of_another_format_are_named(tmp_path, ending):
    for modality in MODALITIES:
        (tmp_path / f"{modality}.{ending}").touch()
    with pytest.raises(StudyError, match=rf"t1c\.{ending}.*NIfTI"):
        find_studies(tmp_path)


@pytest.mark.parametrize("as_regions", [False, True])
def test_nnunet_channels_in_any_order(as_regions, write_nnunet, tiny_study):
    labels: dict[str, object] = {"background": 0, "edema": 1, "non_enhancing_and_necrosis": 2, "enhancing_tumor": 3}
    if as_regions:
        labels = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}
    swapped = np.array([0, 2, 1, 3], dtype=np.uint8)[tiny_study.reference]
    order = {"t2w": "T2w", "t1c": "T1-Gd", "t2f": "FLAIR", "t1n": "T1w"}
    root = write_nnunet(order, labels, swapped)
    for path in (root, root / "imagesTr", root / "imagesTr" / "case_7_0002.nii.gz"):
        study = load_study(path)
        assert study.id == "case_7"
        assert np.array_equal(study.images, tiny_study.images)
        assert np.array_equal(study.reference, tiny_study.reference)


def test_nnunet_label_names_that_say_nothing_have_to_be_asked_for(write_nnunet, tiny_study):
    order = {"t1c": "T1c", "t1n": "T1", "t2f": "FLAIR", "t2w": "T2"}
    root = write_nnunet(order, {"background": 0, "a": 1, "b": 2, "c": 3}, tiny_study.reference)
    with pytest.raises(StudyError, match="--coding"):
        load_study(root)
    study = load_study(root, coding=Coding.BRATS2023)
    assert np.array_equal(study.reference, tiny_study.reference)


def test_dataset_json_is_needed_and_checked(write_nnunet, tiny_study):
    root = write_nnunet({"t1c": "T1c", "t1n": "T1", "t2f": "T1", "t2w": "T2"}, {}, tiny_study.reference)
    with pytest.raises(StudyError, match="T1n"):
        find_studies(root)
    (root / "dataset.json").write_text("{")
    with pytest.raises(StudyError, match=r"dataset.json"):
        find_studies(root)
    # Seen from above, the same is a bad study among others.
    assert "JSON" in str(find_studies(root.parent)[0].problem)
    (root / "dataset.json").unlink()
    with pytest.raises(StudyError, match=r"dataset.json"):
        find_studies(root)


def test_decathlon_channels_and_labels(write_decathlon, tiny_study):
    root = write_decathlon
    for path in (root, root / "imagesTr", root / "imagesTr" / "BRATS_001.nii.gz"):
        study = load_study(path)
        assert study.id == "BRATS_001"
        assert np.array_equal(study.images, tiny_study.images)
        assert np.array_equal(study.reference, tiny_study.reference)
        assert [source.path.name for source in study.sources] == ["BRATS_001.nii.gz"] * 5


def test_decathlon_file_has_to_be_4d(write_decathlon, write):
    write(f"{write_decathlon.name}/imagesTr/BRATS_001.nii.gz")
    with pytest.raises(StudyError, match=r"BRATS_001.nii.gz"):
        load_study(write_decathlon)


def test_files_named_one_by_one(write):
    names = {modality: write(f"mine/p3_{modality}.nii.gz") for modality in MODALITIES}
    assert study_files(**names).id == "p3"
    assert study_files(**names, id="other").id == "other"
    paths = {m: write(f"p4/{n}.nii.gz") for m, n in zip(MODALITIES, ("post", "pre", "dark", "water"), strict=True)}
    assert study_files(**paths).id == "p4"
    with pytest.raises(StudyError, match=r"p3_t1c.nii.gz"):
        study_files(t1c=names["t1c"], t1n=names["t1c"], t2f=names["t2f"], t2w=names["t2w"])


def test_a_file_named_after_something_else_is_told(write):
    paths = {m: write(f"p5/x_{n}.nii.gz") for m, n in zip(MODALITIES, ("flair", "t1", "t1ce", "water"), strict=True)}
    study = study_files(**paths, reference=write("p5/x_t2.nii.gz"))
    assert study.modalities == paths, "what was said is done"
    assert [warning.split()[0] for warning in study.warnings] == ["x_flair.nii.gz", "x_t1ce.nii.gz", "x_t2.nii.gz"]
    right = {m: write(f"p6/x_{n}.nii.gz") for m, n in zip(MODALITIES, ("t1ce", "t1", "flair", "t2"), strict=True)}
    assert study_files(**right, reference=write("p6/x_seg.nii.gz")).warnings == ()


@pytest.mark.parametrize(
    ("folder", "prefix", "name"),
    [
        ("data/P1", "scan", "P1"),
        ("bids/sub-01/anat", "sub-01", "sub-01"),
        ("bids/sub-01/ses-02/anat", "sub-01_ses-02", "sub-01_ses-02"),
        ("bids/sub-01/ses-02/anat", "", "sub-01_ses-02"),
        ("patient07/pre", "", "patient07_pre"),
        ("patient07/2020-01-31", "", "patient07_2020-01-31"),
        ("sub-01/anat", "scan", "sub-01"),
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000-000-", "BraTS-GLI-00000-000"),
    ],
)
def test_a_study_is_called_by_its_own_path(folder, prefix, name):
    assert name_of_study(Path("/", folder), prefix) == name


def test_the_id_of_a_study_does_not_depend_on_what_stands_beside_it(tmp_path, write_study):
    for patient in ("sub-01", "sub-02"):
        write_study(f"cohort/{patient}/anat", {m: f"{patient}_{m}.nii.gz" for m in MODALITIES})
    write_study("cohort/sub-03/anat", {m: f"{m}.nii.gz" for m in MODALITIES})
    together = find_studies(tmp_path / "cohort")
    apart = [find_studies(tmp_path / "cohort" / name)[0] for name in ("sub-01", "sub-02", "sub-03/anat")]
    assert [study.id for study in together] == [study.id for study in apart] == ["sub-01", "sub-02", "sub-03"]


def test_a_folder_that_cannot_be_read_does_not_hide_its_neighbours(tmp_path, write_study):
    write_study("cohort/a", {m: f"a_{m}.nii.gz" for m in MODALITIES})
    ring = tmp_path / "cohort" / "b"
    ring.symlink_to(ring)
    good, bad = find_studies(tmp_path / "cohort")
    assert (good.id, good.problem) == ("a", None)
    assert str(ring) in bad.problem


def test_one_study_may_be_written_in_two_ways(tmp_path, write_study, monkeypatch):
    folder = write_study("a", {m: f"a_{m}.nii.gz" for m in MODALITIES})
    monkeypatch.chdir(tmp_path)
    (one,), (two,) = find_studies("a"), find_studies(folder)
    assert one.same_images(two)
    with pytest.raises(StudyError):
        study_files(Path("a/a_t1c.nii.gz"), folder / "a_t1c.nii.gz", folder / "a_t2f.nii.gz", folder / "a_t2w.nii.gz")


def test_a_folder_to_which_several_names_lead_counts_once(tmp_path, study_folder):
    (tmp_path / "again").symlink_to(study_folder)
    (tmp_path / "round").symlink_to(tmp_path)
    assert find_studies(tmp_path) == find_studies(study_folder)
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "p1").symlink_to(study_folder)
    assert [study.id for study in find_studies(tmp_path / "cohort")] == ["p1"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Mu\u0308ller", "M\u00fcller"),
        ("a\udcffb", "a_b"),
        ("a\\b", "a_b"),
        ("a\nb", "a_b"),
        ("S1 .", "S1"),
        ("S 1", "S 1"),
    ],
)
def test_an_id_is_written_as_every_system_takes_it(name, plain, write_study):
    (study,) = find_studies(write_study(name, {m: f"{name}-{m}.nii.gz" for m in MODALITIES}))
    assert (study.id, study.problem) == (plain, None)


def test_a_file_named_after_another_study_is_told(write, write_study):
    names = {m: f"P1-{m}.nii.gz" for m in MODALITIES} | {"t2f": "P2-t2f.nii.gz"}
    (study,) = find_studies(write_study("P1", names))
    assert [warning.split()[0] for warning in study.warnings] == ["P2-t2f.nii.gz"]
    paths = {m: write(f"mixed/{name}") for m, name in names.items()}
    assert [warning.split()[0] for warning in study_files(**paths).warnings] == ["P2-t2f.nii.gz"]


@pytest.mark.parametrize(
    "names",
    [
        ("sub-01_acq-3d_ce-gd_T1w", "sub-01_acq-3d_T1w", "sub-01_acq-2d_FLAIR", "sub-01_acq-2d_T2w"),
        ("001_t1c", "002_t1n", "003_t2f", "004_t2w"),
        ("P1_t1c", "P1_t1n", "P1_ax_t2f", "t2w"),
    ],
)
def test_names_that_differ_in_more_than_the_patient_are_none_of_another_study(names, write):
    paths = [write(f"p/{name}.nii.gz") for name in names]
    assert study_files(*paths).warnings == ()


def test_a_link_that_leads_nowhere_is_told(study_folder):
    (image,) = study_folder.glob("*t2w*")
    image.unlink()
    image.symlink_to("annex/objects/1")
    with pytest.raises(StudyError, match="link to annex/objects/1"):
        load_study(study_folder)


def test_a_study_below_a_study_is_named(tmp_path, study_folder):
    shutil.copytree(study_folder, study_folder / "followup")
    (study,) = find_studies(study_folder)
    assert [warning for warning in study.warnings if str(study_folder / "followup") in warning]


def test_a_reference_belongs_to_its_study(study_folder):
    (reference,) = study_folder.glob("*seg*")
    assert find_studies(reference) == find_studies(study_folder)


def test_files_that_nobody_recognises_are_named(tmp_path):
    folder = tmp_path / "studies" / "patient"
    folder.mkdir(parents=True)
    for name in ("t1c_bet", "t1_bet"):
        (folder / f"{name}.nii.gz").write_bytes(b"x")
    with pytest.raises(StudyError, match=r"t1_bet\.nii\.gz, t1c_bet\.nii\.gz.*--t1c"):
        find_studies(folder)
    with pytest.raises(StudyError, match=r"t1_bet\.nii\.gz.*--t1c"):
        find_studies(folder.parent)
