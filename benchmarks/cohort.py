"""Studies an hour: one process with all cores, and the workers of a local cluster with a core each.

    python benchmarks/cohort.py [--study FOLDER] [--studies 8] [--workers 2] [--members single]

The same study is predicted so many times under other names, after one that loads the model and is not counted. The
efficiency is the throughput of all workers over that of one worker alone, times the number of workers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.inference.jobs import PredictionJob
from napari_uncseg.inference.pipeline import PredictionSettings, make_predictor, predict_job
from napari_uncseg.io.discovery import study_files
from napari_uncseg.labels import MODALITIES
from napari_uncseg.preparation.cohort import predict_on_cluster

SAMPLE = Path(__file__).parents[1] / "src" / "napari_uncseg" / "sample"


def jobs_of(folder: Path, count: int, copies: Path) -> list[PredictionJob]:
    """The same study under so many names."""
    from napari_uncseg.io.discovery import only_study

    source = only_study(folder)
    jobs = []
    for number in range(count):
        name = f"study-{number:03}"
        (copies / name).mkdir(parents=True)
        files = {role: copies / name / f"{name}-{role}.nii.gz" for role in MODALITIES}
        for role, path in files.items():
            shutil.copyfile(source.paths[role], path)
        jobs.append(PredictionJob(study_files(**files, id=name), f"benchmark {name}"))
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=SAMPLE)
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--members", default="auto")
    options = parser.parse_args()
    members = parse_ensemble(options.members)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        jobs = jobs_of(options.study, options.studies + 1, root / "studies")
        settings = PredictionSettings(root / "alone", ensemble=members, device="cpu")
        predictor = make_predictor(settings, print)
        alone = timed(lambda each: predict_job(each, predictor, settings), jobs)
        print(f"one process, {os.cpu_count()} cores: {alone:7.0f} studies an hour")
        rates = {}
        for workers in sorted({1, options.workers}):
            settings = PredictionSettings(root / f"workers-{workers}", ensemble=members, device="cpu")
            rates[workers] = on_cluster(jobs, settings, workers)
            print(f"{workers} worker(s), a core each: {rates[workers]:7.0f} studies an hour")
        most = options.workers
        print(f"efficiency of {most} workers: {rates[most] / (rates[1] * most):.2f}")


def timed(predict: Any, jobs: list[PredictionJob]) -> float:
    """Studies an hour, after the first one."""
    predict(jobs[0])
    start = time.perf_counter()
    for job in jobs[1:]:
        predict(job)
    return 3600 * (len(jobs) - 1) / (time.perf_counter() - start)


def on_cluster(jobs: list[PredictionJob], settings: PredictionSettings, workers: int) -> float:
    """Studies an hour on so many workers, after one study on each."""
    from distributed import LocalCluster

    make: Any = LocalCluster
    with make(n_workers=workers, threads_per_worker=1, dashboard_address=None, protocol="tcp") as cluster:
        first = [PredictionJob(job.files, job.command) for job in jobs[:1] * workers]
        predict_on_cluster(first, settings, cluster.scheduler_address)
        start = time.perf_counter()
        outcomes, _ = predict_on_cluster(jobs[1:], settings, cluster.scheduler_address)
        seconds = time.perf_counter() - start
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed:
        raise failed[0]
    return 3600 * len(outcomes) / seconds


if __name__ == "__main__":
    main()
