"""Many studies: measured once, kept, resumed, spread over processes or a cluster, and merged."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.errors import Cancelled, EvaluationError, ForeignFile, SaveError
from napari_uncseg.evaluation import runner as measuring
from napari_uncseg.evaluation.cache import read_record, write_record
from napari_uncseg.evaluation.evaluation import evaluate
from napari_uncseg.evaluation.loading import input_hashes, read_case
from napari_uncseg.evaluation.matching import LabelFile, Pair, match
from napari_uncseg.evaluation.runner import EvaluationSettings, Measured, evaluate_pairs, evaluate_study, merge
from napari_uncseg.evaluation.table import by_case, csv_text, select
from napari_uncseg.labels import Coding, Region, labels_from_regions
from napari_uncseg.metrics.voxel_sets import VoxelSet


@pytest.fixture
def folder(tmp_path: Path, add_study) -> Path:
    """Two studies with predictions."""
    place = tmp_path / "cohort"
    for name in ("first", "second"):
        add_study(place, name)
    return place


def pairs_of(folder: Path) -> tuple[Pair, ...]:
    return match(folder / "pred", folder / "ref").pairs


def test_merged_statistics_give_the_values_of_the_cases(folder, tmp_path):
    pairs = pairs_of(folder)
    measured, failures = evaluate_pairs(pairs, EvaluationSettings(tmp_path / "out"), workers=1)
    assert not failures
    merged = merge(measured)
    directly = evaluate(read_case(pair).case for pair in pairs)

    def told(table):
        return sorted(csv_text(table).splitlines())

    assert told(merged.table) == told(directly.table)
    assert [record.brain for record in merged.records] == ["images", "images"]


def test_the_same_studies_are_kept_and_a_changed_one_is_refused(folder, tmp_path):
    settings = EvaluationSettings(tmp_path / "out")
    pairs = pairs_of(folder)
    first, _ = evaluate_pairs(pairs, settings, workers=1)
    stamps = [measured.path.stat().st_mtime_ns for measured in first]
    again, _ = evaluate_pairs(pairs, settings, workers=1)
    assert [measured.kept for measured in again] == [True, True]
    assert [measured.path.stat().st_mtime_ns for measured in again] == stamps

    reference = folder / "ref" / "first" / "first-seg.nii.gz"
    image = nib.load(reference)
    labels = np.asarray(image.dataobj).copy()
    labels[labels == 2] = 0
    nib.Nifti1Image(labels, image.affine, image.header).to_filename(reference)
    (kept,), (failure,) = evaluate_pairs(pairs, settings, workers=1)
    assert kept.study == "second"
    assert "--overwrite" in str(failure.error)
    replaced, failures = evaluate_pairs(pairs, replace(settings, overwrite=True), workers=1)
    assert not failures
    assert not any(measured.kept for measured in replaced)


def test_half_written_statistics_are_measured_again(folder, tmp_path):
    settings = EvaluationSettings(tmp_path / "out")
    pair = pairs_of(folder)[0]
    path = evaluate_study(pair, settings).path
    path.with_name("first.npz").write_bytes(b"PK")
    assert not evaluate_study(pair, settings).kept
    path.write_text("{")
    assert not evaluate_study(pair, settings).kept
    read_record(path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_json_that_is_no_record_is_never_replaced(overwrite, folder, tmp_path):
    (tmp_path / "out" / "studies").mkdir(parents=True)
    mine = tmp_path / "out" / "studies" / "first.json"
    mine.write_text('{"age": 61}')
    with pytest.raises(ForeignFile):
        evaluate_study(pairs_of(folder)[0], EvaluationSettings(tmp_path / "out", overwrite))
    assert mine.read_text() == '{"age": 61}'


def test_statistics_of_an_earlier_version_are_measured_again_and_still_fix_thresholds(folder, tmp_path):
    settings = EvaluationSettings(tmp_path / "out")
    pair = pairs_of(folder)[0]
    path = evaluate_study(pair, settings).path
    record, statistics = read_record(path)
    old = {'{"map":"entropy","metric":"spatial","region":"WT","threshold":null}': {"shells": np.zeros(4)}}
    write_record(record.model_copy(update={"fingerprint": "old"}), old | statistics, settings.out)
    content = json.loads(path.read_text())
    del content["codings"]
    path.write_text(json.dumps(content))
    earlier = merge([Measured(pair.id, path, kept=True)])
    assert "spatial" not in {metric.name for metric in earlier.metrics}
    assert not evaluate_study(pair, settings).kept
    assert read_record(path)[0].fingerprint == record.fingerprint


def test_labels_read_otherwise_are_refused(folder, tmp_path):
    settings = EvaluationSettings(tmp_path / "out")
    pair = pairs_of(folder)[0]
    evaluate_study(pair, settings)
    with pytest.raises(EvaluationError, match="--overwrite"):
        evaluate_study(pair, replace(settings, coding=Coding.BRATS2023))


def test_a_study_that_fails_does_not_stop_the_others(folder, tmp_path):
    reference = folder / "ref" / "first" / "first-seg.nii.gz"
    image = nib.load(reference)
    moved = image.affine.copy()
    moved[0, 3] += 7
    nib.Nifti1Image(np.asarray(image.dataobj), moved).to_filename(reference)
    (folder / "ref" / "first" / "first-t1c.nii.gz").unlink()
    (measured,), (failure,) = evaluate_pairs(pairs_of(folder), EvaluationSettings(tmp_path / "out"), workers=1)
    assert (measured.study, failure.study) == ("second", "first")
    assert isinstance(failure.error, EvaluationError)
    assert [file.name for file in sorted(measured.path.parent.iterdir())] == ["second.json", "second.npz"]


def test_segmentations_of_another_tool_and_no_images(folder, tmp_path):
    for name in ("first", "second"):
        seg = folder / "pred" / name / f"{name}_seg.nii.gz"
        (folder / "plain").mkdir(exist_ok=True)
        shutil.copy(seg, folder / "plain" / f"{name}.nii.gz")
        (folder / "ref" / name / f"{name}-t1n.nii.gz").unlink()
    measured, failures = evaluate_pairs(
        match(folder / "plain", folder / "ref").pairs, EvaluationSettings(tmp_path / "out"), workers=1
    )
    assert not failures
    merged = merge(measured)
    assert {metric.name for metric in merged.metrics} == {"overlap", "lesionwise_2023"}
    assert [record.brain for record in merged.records] == ["none", "none"]
    assert "brain is not known" in merged.records[0].notes[0]


def test_without_images_nothing_is_said_of_the_brain(folder, tmp_path):
    (folder / "ref" / "first" / "first-t1n.nii.gz").unlink()
    measured = evaluate_study(pairs_of(folder)[0], EvaluationSettings(tmp_path / "out"))
    values = select(merge([measured]).table, voxel_set=VoxelSet.BRAIN, aggregation="case")["value"]
    assert len(values), "aggregates over the brain are told, as undefined"
    assert values.isna().all()


def test_some_studies_are_taken_out(folder, tmp_path):
    measured, _ = evaluate_pairs(pairs_of(folder), EvaluationSettings(tmp_path / "out"), workers=1)
    left = merge(measured).without({"first"})
    assert [record.study for record in left.records] == ["second"]
    assert set(select(left.table, aggregation="case")["case"]) == {"second"}


def test_a_cancelled_run_keeps_what_it_has(folder, tmp_path):
    done: list[str] = []
    with pytest.raises(Cancelled):
        evaluate_pairs(
            pairs_of(folder),
            EvaluationSettings(tmp_path / "out"),
            workers=1,
            progress=lambda count, total, words: done.append(words),
            cancelled=lambda: bool(done),
        )
    assert done == ["first: measured"]
    assert (tmp_path / "out" / "studies" / "first.json").is_file()


def no_room(pair: Pair, settings: EvaluationSettings) -> None:
    """Stands in for the measuring of a study whose record cannot be written."""
    raise SaveError("The disk is full.")


class FirstOnly(Executor):
    """Does the first task given to it and leaves every other one waiting."""

    def __init__(self) -> None:
        self.given: list[Future[object]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future[object] = Future()
        self.given.append(future)
        if len(self.given) == 1:
            try:
                future.set_result(fn(*args, **kwargs))
            except SaveError as error:
                future.set_exception(error)
        return future


def many(folder: Path) -> list[Pair]:
    return [Pair(str(number), LabelFile(folder)) for number in range(10)]


def test_a_full_disk_stops_the_run(tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(measuring, "evaluate_study", no_room)
    with pytest.raises(SaveError):
        evaluate_pairs(
            many(tmp_path),
            EvaluationSettings(tmp_path),
            workers=1,
            progress=lambda count, total, words: told.append(words),
        )
    assert not told, "stopped at the first study"


def test_a_full_disk_takes_back_what_other_processes_have_not_begun(tmp_path, monkeypatch):
    executor = FirstOnly()
    monkeypatch.setattr(measuring, "evaluate_study", no_room)
    monkeypatch.setattr(measuring, "_executor", lambda count, scheduler: executor)
    with pytest.raises(SaveError):
        evaluate_pairs(many(tmp_path), EvaluationSettings(tmp_path / "out"), workers=2)
    assert [future.cancelled() for future in executor.given] == [False] + [True] * 9


def test_hashes_name_every_file(folder):
    hashes = input_hashes(pairs_of(folder)[0])
    assert {"prediction", "prediction/segmentation", "prediction/probabilities", "reference", "t1c"} <= set(hashes)
    assert all(len(sha256) == 64 for sha256 in hashes.values())


def test_confusion_and_volumes_are_kept_for_the_sanity_checks(folder, tiny_study):
    read = read_case(pairs_of(folder)[0])
    counts = np.asarray(read.checks["confusion"])
    assert counts.sum() == np.prod(tiny_study.shape)
    whole = read.checks["volumes_ml"]["reference"]["WT"]
    assert whole == pytest.approx(counts[1:].sum() * tiny_study.voxel_ml)
    assert read.checks["agreement"] == {"WT": 1.0, "TC": 1.0, "ET": 1.0}


def test_a_core_that_is_likelier_than_its_tumour_is_the_segmentation_of_its_probabilities(
    tmp_path, add_study, tiny_prediction
):
    probabilities = np.array(tiny_prediction.probabilities)
    probabilities[0], probabilities[1:] = 0.4, np.where(probabilities[1:] > 0.5, 0.9, 0.1)
    segmentation = labels_from_regions(probabilities)
    add_study(tmp_path, "first", replace(tiny_prediction, probabilities=probabilities, segmentation=segmentation))
    assert segmentation.any()
    assert read_case(pairs_of(tmp_path)[0]).checks["agreement"] == {"WT": 1.0, "TC": 1.0, "ET": 1.0}


def test_a_dask_cluster_does_the_same(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        settings = EvaluationSettings(tmp_path / "out")
        measured, failures = evaluate_pairs(pairs_of(folder), settings, scheduler=cluster.scheduler_address)
    assert not failures
    assert [(study.study, study.kept) for study in measured] == [("first", False), ("second", False)]
    directly = evaluate_study(pairs_of(folder)[0], EvaluationSettings(tmp_path / "other"))
    (here, ours), (there, theirs) = read_record(directly.path), read_record(measured[0].path)
    assert here.fingerprint == there.fingerprint
    assert all(np.array_equal(array, theirs[key][name]) for key, each in ours.items() for name, array in each.items())


def test_a_scheduler_that_does_not_answer(folder, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def refuse(*words: object, **options: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(EvaluationError, match="tcp://nowhere:1"):
        evaluate_pairs(pairs_of(folder), EvaluationSettings(tmp_path / "out"), scheduler="tcp://nowhere:1")


@pytest.mark.slow
def test_processes_do_the_same(folder, tmp_path):
    measured, failures = evaluate_pairs(pairs_of(folder), EvaluationSettings(tmp_path / "out"), workers=2)
    assert not failures
    assert [study.study for study in measured] == ["first", "second"]
    dice = by_case(merge(measured).table, metric="dice", region=Region.WT)
    assert dice["first"] == dice["second"]


def test_a_lost_process_is_told(folder, tmp_path):
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    future: Future[measuring.Measured] = Future()
    future.set_exception(BrokenProcessPool("gone"))
    lost = measuring._outcome(pairs_of(folder)[0], future.result)
    assert isinstance(lost, measuring.Failure)
    assert "--workers 1" in str(lost.error)
