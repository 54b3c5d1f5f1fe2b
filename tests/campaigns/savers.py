"""What writes: each saver runs into a folder, and knows what must stand there before, after a failure, at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer

from napari_uncseg.cli import app as cli
from napari_uncseg.errors import UncsegError
from napari_uncseg.evaluation import matching, runner, summary  # noqa: F401 (the child forks after the imports)
from napari_uncseg.inference import pipeline
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Label
from napari_uncseg.reporting import evaluation_report
from napari_uncseg.review import state, verdicts
from napari_uncseg.review.corrections import corrections_in, load_correction, save_correction
from tests import conftest
from tests.campaigns.harness import hashes
from tests.training.conftest import head
from uncseg_training.phantom.anatomy import save_anatomies
from uncseg_training.train.config import read_config
from uncseg_training.train.sentences import sentence_of
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit

TRAINING = (ValueError, OSError, EOFError, ImportError, MemoryError, RuntimeError, UncsegError)
"""Errors that ``uncseg_training.train.sentences.plainly`` looks at."""


class Told(UncsegError):
    """A command ended with an exit code; what it printed is its sentence."""

    code = "campaign"


@dataclass(frozen=True)
class Saver:
    """Something that writes into a folder.

    ``prepare`` puts there what exists before; ``standing`` tells what that is; ``check`` is given it after a failure
    and raises when something of it is lost or half-written; ``finished`` raises when a run did not end as it should.
    """

    name: str
    save: Callable[[Path], object]
    finished: Callable[[Path], object]
    prepare: Callable[[Path], object] | None = None
    standing: Callable[[Path], Any] = hashes
    check: Callable[[Path, Any], object] = lambda out, before: _keeps(out, before)


def _keeps(out: Path, before: dict[str, str]) -> None:
    now = hashes(out)
    lost = [name for name, digest in before.items() if now.get(name) != digest]
    if lost:
        raise AssertionError(f"lost or changed: {', '.join(lost)}")


def command(*words: object) -> None:
    """Run the command line in this process; an exit code other than 0 becomes an error that holds what it printed."""
    printed: list[str] = []
    real = typer.echo
    typer.echo = lambda text="", **_: printed.append(str(text))  # type: ignore[assignment]
    try:
        cli.app(args=[str(word) for word in words], prog_name="uncseg", standalone_mode=False)
    except (typer.Exit, SystemExit) as end:
        code = getattr(end, "exit_code", getattr(end, "code", 1))
        _judge(int(code or 0), printed)
    finally:
        typer.echo = real


def _judge(code: int, printed: list[str]) -> None:
    told = [line for line in printed if line.startswith("error: ")]
    if code == 0:
        return
    if not told or any("unexpected " in line or "Traceback" in line for line in printed):
        raise AssertionError(f"exit code {code}: {' | '.join(printed[-3:])}")
    raise Told(told[0])


def all_savers(folder: Path) -> list[Saver]:
    """Make what the savers need below a folder."""
    study = conftest.make_study()
    images = conftest.write_study(study, folder / "studies")
    model = conftest.write_model(folder / "model")
    prediction = conftest.make_prediction(study)
    save_prediction(prediction, folder / "results")
    save_anatomies([head(30)], folder / "anatomies.npz")
    evaluation_report.illustrate = lambda _: {}  # figures take most of the time and are written like the rest
    summary.RESAMPLES = 20
    return [
        _predict(images, model),
        _overwrite(images, model),
        _evaluate(folder),
        _train(folder / "anatomies.npz"),
        _correct(prediction),
        _judge_studies(),
        _remember(),
    ]


def _predict(images: Path, model: Path) -> Saver:
    save = lambda out: command("predict", images, "-o", out, "--model", model, "--device", "cpu")  # noqa: E731
    return Saver("predict", save, lambda out: load_prediction(out / images.name), _something_else)


def _overwrite(images: Path, model: Path) -> Saver:
    """Replace another result: it may be the old one or the new one, or be told to be neither; never taken for whole."""
    words = ("predict", images, "--model", model, "--device", "cpu")

    def check(out: Path, before: dict[str, str]) -> None:
        _keeps(out, {name: digest for name, digest in before.items() if "/" not in name})
        try:
            load_prediction(out / images.name)
        except UncsegError:
            now = hashes(out)
            if {name for name in before if name not in now and "entropy" not in name}:
                raise AssertionError("a file is gone") from None

    return Saver(
        "predict --overwrite",
        lambda out: command(*words, "-o", out, "--overwrite"),
        lambda out: load_prediction(out / images.name),
        lambda out: (_something_else(out), command(*words, "-o", out, "--members", "tta:2")),
        check=check,
    )


def _something_else(out: Path) -> None:
    (out / "mine.txt").write_text("a user's own file\n")


def _evaluate(folder: Path) -> Saver:
    words = ("evaluate", folder / "results", "--reference", folder / "studies", "--workers", "1")

    def finished(out: Path) -> None:
        content = json.loads((out / "summary.json").read_text())
        assert content["studies"]
        assert (out / "report.html").read_text().rstrip().endswith("</html>")

    return Saver("evaluate", lambda out: command(*words, "-o", out), finished, _something_else)


def _train(anatomies: Path) -> Saver:
    config = read_config("smoke", snapshots=1, steps=4, validation=0, checkpoint_every=1)

    def standing(out: Path) -> int:
        return Training.of_run(out).step

    def check(out: Path, before: int) -> None:
        if Training.of_run(out).step < before:
            raise AssertionError("steps are lost")

    def finished(out: Path) -> None:
        assert Training.of_run(out).step == config.steps

    first = replace(config, steps=2)

    def save(out: Path) -> None:
        try:
            fit(anatomies, out, config)
        except Exception as error:
            sentence = sentence_of(error) if isinstance(error, TRAINING) else None
            if not sentence:
                raise
            raise Told(sentence) from error

    return Saver("training", save, finished, lambda out: fit(anatomies, out, first), standing, check)


def _correct(prediction: Any) -> Saver:
    earlier, later = np.array(prediction.segmentation), np.array(prediction.segmentation)
    earlier[20:22, 20:22, 20:22] = Label.ET
    later[10:14, 20:22, 20:22] = Label.ED
    save = partial(save_correction, prediction, reviewer="R1")

    def finished(out: Path) -> None:
        found = corrections_in(out, prediction.study_id)
        if not (load_correction(found[-1], prediction) == later).all():
            raise AssertionError("the last correction is another one")
        for path in found:
            told = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
            assert told["file"]["file"] == path.name

    return Saver("correction", lambda out: save(later, out), finished, lambda out: save(earlier, out))


def _judge_studies() -> Saver:
    verdict = verdicts.StudyVerdict("P1", "R1", verdicts.now(), verdicts.Decision.ACCEPT, 2, "x" * 3000)

    def standing(out: Path) -> int:
        return len(verdicts.read_log(out / verdicts.LOG_NAME).records)

    def check(out: Path, before: int) -> None:
        if standing(out) < before:
            raise AssertionError("verdicts are lost")

    def save(out: Path) -> None:
        for number in range(5):
            verdicts.append(out / verdicts.LOG_NAME, replace(verdict, study=f"P{number}"))

    def finished(out: Path) -> None:
        # Two at once write between one another's lines, and a killed one wrote the first of its five: none is lost
        # where each study was judged as often as the next, or once more.
        judged = Counter(each.study for each in verdicts.read_log(out / verdicts.LOG_NAME).records)
        times = [judged[f"P{number}"] for number in range(5)]
        assert times == sorted(times, reverse=True)
        assert times[-1] >= max(2, times[0] - 1)

    return Saver("verdict log", save, finished, save, standing, check)


def _remember() -> Saver:
    states = {f"P{number}": state.ReviewState("entropy", thresholds={"entropy": 0.4}) for number in range(50)}

    def finished(out: Path) -> None:
        assert state.read_states(out)[1] == states

    def check(out: Path, _before: object) -> None:
        assert len(state.read_states(out)[1]) in (1, 50)

    first = lambda out: state.write_states(out, "R1", {"P0": states["P0"]})  # noqa: E731
    return Saver("drafts", lambda out: state.write_states(out, "R1", states), finished, first, check=check)


assert pipeline  # imported before the fork
