"""Studies of a cohort, raw ones among them, predicted by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_uncseg.cluster import as_completed, cluster
from napari_uncseg.errors import ClusterError, reason_of
from napari_uncseg.inference import pipeline
from napari_uncseg.inference.jobs import Outcome, PredictionJob, Status, job_of_files
from napari_uncseg.inference.pipeline import PredictionSettings
from napari_uncseg.inference.progress import Progress, silent
from napari_uncseg.preparation.prepare import Options, prepare_study
from napari_uncseg.preparation.scans import read_raw

if TYPE_CHECKING:
    from napari_uncseg.inference.predictor import Predictor


@dataclass(frozen=True)
class RawJob:
    """A raw study that is prepared and then predicted.

    Parameters
    ----------
    path : Path
        Examination in DICOM, or four NIfTI files.
    study_id : str, optional
    preparation : Options
    options : mapping of str to object
        What follows the study on the command line that remakes the result.
    """

    path: Path
    study_id: str | None
    preparation: Options
    options: Mapping[str, object]


def prepare_job(
    job: RawJob,
    settings: PredictionSettings,
    *,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> PredictionJob:
    """Prepare a raw study in ``OUT/<id>/prepared``.

    Raises
    ------
    UncsegError
        As :func:`napari_uncseg.preparation.prepare.prepare_study`.
    """
    raw = read_raw(job.path, None, job.study_id, progress=progress, cancelled=cancelled)
    folder = settings.out / raw.id / "prepared"
    done = prepare_study(raw, folder, job.preparation, progress=progress, cancelled=cancelled)
    return job_of_files(done.files.paths, raw.id, job.options)


def name_of(job: PredictionJob | RawJob) -> str:
    """What a study is called before it is read."""
    return job.files.id if isinstance(job, PredictionJob) else job.study_id or str(job.path)


def predict_on_cluster(
    jobs: Sequence[PredictionJob | RawJob],
    settings: PredictionSettings,
    scheduler: str,
    *,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[list[Outcome], bool]:
    """Predict many studies on the workers of a cluster; a bad one does not stop the others.

    Each worker process loads the model once. Results are those of one process with as many threads, bit for bit; a
    study whose worker dies is begun again on another one.

    Parameters
    ----------
    jobs : sequence of PredictionJob or RawJob
    settings : PredictionSettings
    scheduler : str
        See :func:`napari_uncseg.cluster.cluster`.
    progress, cancelled : callable
        Once ``cancelled()`` is true, studies under way go on and no other is started.

    Returns
    -------
    list of Outcome
        Of the studies that ended, in the order of the jobs.
    bool
        Whether the run was stopped before all had ended.

    Raises
    ------
    ClusterError
        When the scheduler cannot be reached.
    """
    outcomes: dict[int, Outcome] = {}
    with cluster(scheduler) as executor, closing(as_completed(executor, run_on_worker, jobs, settings)) as ended:
        for end in ended:
            if end is None:
                if cancelled():
                    break
                continue
            place, future = end
            outcomes[place] = _outcome(name_of(jobs[place]), future)
            progress(len(outcomes), len(jobs), f"{outcomes[place].study_id}: {outcomes[place].status}")
    return [outcomes[place] for place in sorted(outcomes)], len(outcomes) < len(jobs)


def run_on_worker(job: PredictionJob | RawJob, settings: PredictionSettings) -> Outcome:
    """Prepare a study where it is raw, predict and save it; called on a worker.

    Returns
    -------
    Outcome
        A failure where anything went wrong.
    """
    try:
        if isinstance(job, RawJob):
            job = prepare_job(job, settings)
        return pipeline.predict_job(job, _predictor(settings), settings)
    except Exception as error:  # a bad study does not stop the ones after it
        return Outcome(name_of(job), Status.FAILED, error=error)


def _outcome(name: str, future: Future[Outcome]) -> Outcome:
    """What became of a study, also where its workers died."""
    try:
        return future.result()
    except Exception as error:
        what = f"{name} was lost with workers that died ({reason_of(error)}), perhaps for want of memory; try fewer."
        return Outcome(name, Status.FAILED, error=ClusterError(what))


@lru_cache(1)
def _predictor(settings: PredictionSettings) -> Predictor:
    """The model, loaded once in a process."""
    return pipeline.make_predictor(settings, lambda _sentence: None)
