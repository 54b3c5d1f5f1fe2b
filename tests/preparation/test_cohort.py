"""A cohort on the workers of a cluster: the same results, no study stops another, a dead worker costs a retry."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

distributed = pytest.importorskip("distributed")

from napari_uncseg.errors import ClusterError  # noqa: E402
from napari_uncseg.inference.jobs import Status, find_jobs  # noqa: E402
from napari_uncseg.inference.pipeline import PredictionSettings, make_predictor, predict_job  # noqa: E402
from napari_uncseg.io.results import load_prediction  # noqa: E402
from napari_uncseg.preparation import cohort  # noqa: E402
from napari_uncseg.preparation.cohort import RawJob, predict_on_cluster  # noqa: E402
from napari_uncseg.preparation.prepare import Options  # noqa: E402


def jobs_of(folder: Path, settings: PredictionSettings):
    jobs, failures = find_jobs([folder.absolute()], settings.options)
    assert not failures
    return jobs


def cluster_of(**options):
    return distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, protocol="tcp", **options
    )


def test_scheduler_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*words: object, **options: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(ClusterError, match="tcp://nowhere:1"):
        predict_on_cluster([], PredictionSettings(tmp_path), "tcp://nowhere:1")


def test_bad_study_stops_no_other_and_is_told(tmp_path, study_folder, monkeypatch, quick_network):
    settings = PredictionSettings(tmp_path / "out", device="cpu")
    (tmp_path / "raw").mkdir()
    raw = RawJob(tmp_path / "raw", None, Options(), settings.options)
    jobs = [raw, *jobs_of(study_folder, settings)]
    with cluster_of(processes=False) as local:
        outcomes, stopped = predict_on_cluster(jobs, settings, local.scheduler_address)
    assert not stopped
    assert [outcome.status for outcome in outcomes] == [Status.FAILED, Status.SAVED]
    assert outcomes[0].error is not None
    assert outcomes[1].folder is not None
    assert load_prediction(outcomes[1].folder).study_id == jobs[1].files.id


def test_a_study_whose_workers_all_died_is_a_failure_with_a_reason(tmp_path, study_folder, monkeypatch):
    settings = PredictionSettings(tmp_path / "out", device="cpu")
    lost: Future[None] = Future()
    lost.set_exception(distributed.KilledWorker("run_on_worker-1", SimpleNamespace(address="tcp://w:1"), 4))
    monkeypatch.setattr(cohort, "cluster", lambda scheduler: nullcontext())
    monkeypatch.setattr(cohort, "as_completed", lambda *words: (each for each in [(0, lost)]))
    (outcome,), _ = predict_on_cluster(jobs_of(study_folder, settings), settings, "2")
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.error, ClusterError)


@pytest.fixture
def quick_network(monkeypatch, tiny_prediction):
    from tests.cli.conftest import QuickPredictor

    from napari_uncseg.inference import pipeline

    monkeypatch.setattr(pipeline, "make_predictor", lambda settings, notify: QuickPredictor(tiny_prediction))
    cohort._predictor.cache_clear()
    yield
    cohort._predictor.cache_clear()


@pytest.mark.slow
def test_results_are_those_of_one_process_bit_for_bit_though_a_worker_died(tmp_path, study_folder, tiny_model_folder):
    settings = PredictionSettings(tmp_path / "out", device="cpu")
    (job,) = jobs_of(study_folder, settings)
    settings = replace(settings, model=tiny_model_folder)
    with cluster_of(processes=True) as local, distributed.Client(local, set_as_default=False) as client:
        (process,) = client.run(os.getpid).values()
        with ThreadPoolExecutor(1) as thread:
            predicted = thread.submit(predict_on_cluster, [job], settings, local.scheduler_address)
            os.kill(process, signal.SIGKILL)
            assert not predicted.done()
            (outcome,), stopped = predicted.result()
        assert process not in client.run(os.getpid).values()
    assert not stopped
    assert outcome.error is None, outcome.error
    threads = torch.get_num_threads()
    torch.set_num_threads(int(outcome.provenance["run"]["threads"]))
    try:
        predictor, other = make_predictor(settings, print), replace(settings, out=tmp_path / "other")
        here = predict_job(job, predictor, other)
    finally:
        torch.set_num_threads(threads)
    theirs, ours = load_prediction(outcome.folder), load_prediction(here.folder)
    np.testing.assert_array_equal(theirs.probabilities, ours.probabilities)
    for name, values in ours.maps.items():
        np.testing.assert_array_equal(theirs.maps[name], values)
