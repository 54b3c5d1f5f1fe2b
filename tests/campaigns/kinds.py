"""Which files the campaign damages, and what the package does with them: each is read as a user would have it read."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK  # noqa: F401 (what a library takes when it is loaded is no need of a file)

from napari_uncseg.cli import calibrate, errors, evaluate, predict  # noqa: F401 (the child forks after the imports)
from napari_uncseg.cli.prepare import print_series
from napari_uncseg.dicom.files import kind_of
from napari_uncseg.dicom.roles import choose_series
from napari_uncseg.dicom.series import read_examination
from napari_uncseg.dicom.voxels import middle_slice, read_voxels
from napari_uncseg.errors import DicomError, UncsegError
from napari_uncseg.evaluation.cache import read_record
from napari_uncseg.evaluation.matching import match
from napari_uncseg.evaluation.metric import from_npz
from napari_uncseg.evaluation.runner import EvaluationSettings, evaluate_study
from napari_uncseg.io.files import sha256
from napari_uncseg.io.label_coding import read_dataset
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, differences, made_by
from napari_uncseg.io.results import load_prediction, read_result
from napari_uncseg.io.saving import check_target, save_prediction
from napari_uncseg.models.identity import calibration_of, identify
from napari_uncseg.models.importers.nnunet import import_nnunet
from napari_uncseg.models.model import load_model
from napari_uncseg.reporting.evaluation_report import check_free
from napari_uncseg.review import state, verdicts
from napari_uncseg.review.verdict_table import csv_text
from napari_uncseg.review.worklist import list_cases
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from tests import conftest
from tests.campaigns import dicom_files, mutations
from tests.campaigns.mutations import Mutated, Random
from tests.models.test_import_nnunet import write_results
from tests.training.conftest import head
from uncseg_training.data.splits import read_splits, write_splits
from uncseg_training.experiments.patients import column, read_evaluation
from uncseg_training.phantom.anatomy import save_anatomies
from uncseg_training.train.config import read_config
from uncseg_training.train.curves import draw_curves
from uncseg_training.train.export import export_run
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit

TRAINING = (UncsegError, ValueError, OSError, EOFError)
"""What the training tells in one sentence, see ``uncseg_training.train.sentences``."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    ``family`` groups kinds; ``data`` are the bytes of a good one; ``path`` is where it stands; ``read`` is what is done
    with it; ``damage`` damages it; ``vouch`` is given the new bytes, to make whoever holds its hash vouch for them.
    """

    name: str
    family: str
    path: Path
    read: Callable[[], object]
    damage: Callable[[bytes, Random], Mutated]
    vouch: Callable[[bytes], None] = lambda _: None
    refusals: tuple[type[BaseException], ...] = (UncsegError,)
    poisoned: bool = False

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


def all_kinds(folder: Path) -> list[Kind]:
    """Make good files of every kind below a folder."""
    return [
        *(*_images(folder), *_examinations(folder), *_results(folder), *_reviews(folder), *_models(folder)),
        *_runs(folder),
    ]


def _vouch(listing: Path, key: str, data: bytes) -> None:
    """Put the hash of bytes into the JSON that holds it."""
    content = json.loads(listing.read_text())
    entry = content["files"][key]
    content["files"][key] = {**entry, "sha256": sha256(data)} if isinstance(entry, dict) else sha256(data)
    listing.write_text(json.dumps(content))


def _values(path: Path) -> None:
    volume = read_volume(path)
    for channel in range(min(volume.channels, 3)):
        volume.values(channel)


def _images(folder: Path) -> Iterable[Kind]:
    study = conftest.write_study(conftest.make_study(), folder / "images")
    packed = next(study.glob("*-t2f.nii.gz"))
    (folder / "plain.nii").write_bytes(gzip.decompress(packed.read_bytes()))
    single = folder / "packed.nii.gz"
    single.write_bytes(packed.read_bytes())
    reference = next(study.glob("*-seg.nii.gz"))
    load = partial(load_study, study, resample=True)
    yield Kind(
        "image .nii", "NIfTI", folder / "plain.nii", partial(_values, folder / "plain.nii"), mutations.damage_nifti
    )
    yield Kind("image .nii.gz", "NIfTI", single, partial(_values, single), mutations.damage_gzip)
    yield Kind("FLAIR of a study", "NIfTI", packed, load, mutations.damage_gzip)
    yield Kind("reference of a study", "NIfTI", reference, load, mutations.damage_gzip)


def _examinations(folder: Path) -> Iterable[Kind]:
    (folder / "unpacked").mkdir()

    def look(path: Path) -> None:
        tempfile.tempdir = str(folder / "unpacked")  # a child leaves without tidying up
        kind_of(path)
        found = read_examination(path)
        found.patient, print_series(found, choose_series(found))
        problems = []
        for each in found.series:
            for read in (middle_slice, read_voxels):
                try:
                    read(each)
                except DicomError as error:  # a series that cannot be read stops no other
                    problems.append(error)
        for problem in problems:
            raise problem

    for name, (path, damaged, damage) in dicom_files.write_kinds(folder / "dicom").items():
        yield Kind(f"dicom, {name}", "DICOM", damaged, partial(look, path), damage)


def _results(folder: Path) -> Iterable[Kind]:
    conftest.write_study(conftest.make_study(), folder / "studies")
    prediction = conftest.make_prediction(conftest.make_study())
    saved = save_prediction(prediction, folder / "results")
    listing = saved.files[-1]
    good = json.loads(listing.read_text())

    def use() -> None:
        listed = list_cases(folder / "results", folder / "studies")  # a damaged one is told in the list
        result = read_result(listing)
        differences(result.provenance, good), made_by(result.provenance)
        check_target(folder / "results", prediction.study_id, prediction.provenance)
        predict.print_outcomes([_outcome(result.provenance)], folder)
        load_prediction(saved.folder), listed.counts()

    yield Kind("JSON of a result", "JSON", listing, use, mutations.damage_json)
    a_map = saved.folder / f"{prediction.study_id}_entropy.nii.gz"
    load = partial(load_prediction, saved.folder)
    yield Kind("map of a result", "NIfTI", a_map, load, mutations.damage_gzip, partial(_vouch, listing, "entropy"))

    pairs = match(folder / "results", folder / "studies").pairs
    measured = evaluate_study(pairs[0], EvaluationSettings(folder / "evaluation"))
    record, npz = measured.path, measured.path.with_suffix(".npz")
    yield Kind("record of an evaluation", "JSON", record, partial(read_record, record), mutations.damage_json)
    yield Kind("statistics .npz", "logs", npz, lambda: from_npz(npz.read_bytes(), npz), mutations.damage_archive)
    summary = folder / "evaluation" / "summary.json"
    told = {"studies": {prediction.study_id: {}}, "estimates": [{"metric": "dice"}]}
    summary.write_text(json.dumps({"schema": 1, "research_use_only": RESEARCH_USE_ONLY, **told}))
    free = partial(check_free, folder / "evaluation", [prediction.study_id], overwrite=False)
    yield Kind("summary of an evaluation", "JSON", summary, free, mutations.damage_json)


def _outcome(provenance: object) -> object:
    from napari_uncseg.inference.jobs import Outcome, Status

    return Outcome("P1", next(iter(Status)), provenance=provenance)  # type: ignore[arg-type]


def _reviews(folder: Path) -> Iterable[Kind]:
    log, memory = folder / "review" / verdicts.LOG_NAME, folder / "review"
    memory.mkdir()
    for number in range(4):
        verdict = verdicts.StudyVerdict(f"P{number}", "R1", verdicts.now(), verdicts.Decision.ACCEPT, 2, "so, so")
        finding = ("unc_output", "WT", (1, 2, number), 0.5, 1.25, 0.9)
        verdicts.append(
            log, verdict, verdicts.FindingVerdict(f"P{number}", "R2", verdicts.now(), verdicts.Judgement.FINE, *finding)
        )

    def read() -> None:
        records = verdicts.read_log(log).records
        csv_text(verdicts.latest(records)), verdicts.status_of(records, "P1"), verdicts.verdict_of(records, "P2", "R1")

    yield Kind("verdict log", "logs", log, read, mutations.damage_lines)
    draft = state.Draft(verdicts.Decision.REJECT, 3, "half")
    one = state.ReviewState("entropy-et", thresholds={"entropy-et": 0.4}, voxel=(1, 2, 3), drafts={"ab": draft})
    state.write_states(memory, "R1", {"P1": one, "P2": replace(one, map="")})

    def recall() -> None:
        for each in state.read_states(memory)[1].values():
            each.draft("ab"), each.map and (each.key, each.region)

    yield Kind("drafts", "JSON", memory / state.STATE_NAME, recall, mutations.damage_json)
    state.remember_case(memory, folder, None, "P1")
    where = partial(state.recall_case, memory, folder, None)
    last = partial(state.last_folders, memory)
    yield Kind("lists", "JSON", memory / state.LISTS_NAME, lambda: (where(), last()), mutations.damage_json)
    dataset = folder / "dataset.json"
    names = {"0": "T1", "1": "T1Gd", "2": "T2", "3": "FLAIR"}
    labels = {"background": 0, "edema": 1, "non-enhancing tumor": 2, "enhancing tumour": 3}
    dataset.write_text(json.dumps({"channel_names": names, "labels": labels}))
    yield Kind("dataset.json", "JSON", dataset, partial(read_dataset, dataset), mutations.damage_json)
    calibration = folder / "calibration.json"
    calibration.write_bytes((Path(conftest.__file__).parent / "saved" / "calibration.json").read_bytes())

    def calibrate_some() -> None:
        loaded = load_calibration(calibration)
        loaded.apply(np.linspace(0, 1, 300, dtype=np.float32).reshape(3, 5, 5, 4)), loaded.sha256, loaded.content()

    yield Kind("calibration", "JSON", calibration, calibrate_some, mutations.damage_json)


def _models(folder: Path) -> Iterable[Kind]:
    model = conftest.write_model(folder / "model")
    listing, load = model / "provenance.json", partial(load_model, model)
    weights = model / "weights.safetensors"
    own = partial(partial, _vouch, listing)
    yield Kind("weights", "safetensors", weights, load, mutations.damage_safetensors, own(weights.name))
    for name in ("plans.json", "dataset.json"):
        yield Kind(f"{name} of a model", "JSON", model / name, load, mutations.damage_json, own(name))
    look = lambda: (identify(model), calibration_of(model), load())  # noqa: E731
    yield Kind("provenance of a model", "JSON", listing, look, mutations.damage_json)
    theirs = folder / "nnunet" / "Dataset137_BraTS2023" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    write_results(theirs)
    bring = partial(import_nnunet, theirs)
    for name in ("plans.json", "dataset.json"):
        yield Kind(f"nnU-Net's {name}", "JSON", theirs / name, bring, mutations.damage_json)
    path = theirs / "fold_0" / "checkpoint_final.pth"
    yield Kind("nnU-Net's checkpoint", "checkpoints", path, bring, mutations.damage_archive, poisoned=True)


def _runs(folder: Path) -> Iterable[Kind]:
    run, config = folder / "run", read_config("smoke", snapshots=1, steps=2, validation=0)
    save_anatomies([head(30)], folder / "anatomies.npz")
    fit(folder / "anatomies.npz", run, config)
    (run / "log.jsonl").write_text(
        "".join(
            json.dumps({"step": step, "of": 40, "seconds": 1.5, "segmentation": 0.5, "uncertainty": 0.1}) + "\n"
            + json.dumps({"step": step, "validation": {"WT": 0.5, "TC": 0.4, "ET": float("nan")}}) + "\n"
            for step in (20, 40)
        )
    )  # fmt: skip
    path = run / "checkpoint.pt"

    def go_on() -> None:
        Training.resume(run, config)
        export_run(run, folder / "exported")

    archive = mutations.damage_archive
    yield Kind("training checkpoint", "checkpoints", path, go_on, archive, refusals=TRAINING, poisoned=True)
    draw = partial(draw_curves, [run], folder / "curves.png")
    yield Kind("training log", "logs", run / "log.jsonl", draw, mutations.damage_lines, refusals=TRAINING)
    metrics = folder / "metrics.csv"
    rows = [f"P{n},dice,{region},case,0.{n}5" for n in range(4) for region in ("WT", "TC", "ET")]
    metrics.write_text("case,metric,region,aggregation,value\n" + "\n".join(rows) + "\n")
    from napari_uncseg.labels import Region

    table = lambda: column(read_evaluation(folder), "dice", Region.WT).mean()  # noqa: E731
    yield Kind("metrics.csv", "logs", metrics, table, mutations.damage_lines, refusals=TRAINING)
    splits = folder / "splits.json"
    write_splits([{"train": ["P1", "P2"], "val": ["P3"]}], splits)
    yield Kind("folds", "JSON", splits, partial(read_splits, splits), mutations.damage_json, refusals=TRAINING)
