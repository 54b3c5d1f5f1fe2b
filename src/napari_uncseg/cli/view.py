"""``uncseg view`` and ``uncseg demo``: the window with a study and its result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.console import note
from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug, Device, LabelCoding, ModelFolder, OnDevice, Resample, Screenshot
from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import check_writable, exists, is_dir
from napari_uncseg.labels import Coding

if TYPE_CHECKING:
    from napari_uncseg.io.prediction import Prediction
    from napari_uncseg.io.study import Study

DEMO_FOLDER = Path("demo-output")
"""Where ``uncseg demo`` saves, below the current folder; what stands there is nobody's work and may be replaced."""


@handle_errors
def view(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder or file.")],
    results: Annotated[Path | None, typer.Option(help="OUT of uncseg predict; else looked for nearby.")] = None,
    resample: Resample = False,
    coding: LabelCoding = None,
    screenshot: Screenshot = None,
    debug: Debug = False,
) -> None:
    """Open napari with a study and, if there is one, its result."""
    from napari_uncseg.cli.window import build_window, has_display, run_or_save, splash
    from napari_uncseg.io.discovery import only_study
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.results import doubt_about

    try:
        files = only_study(study)
    except StudyError:
        if (there := results_instead(study)) is None:
            raise
        what = f"{study} holds results, not images: view them with uncseg view STUDY --results {there}."
        raise StudyError(what) from None
    if not has_display():
        _take_picture(study, results, resample, coding, screenshot, Path("uncseg.png"))
        return
    with splash(f"Opening {files.id} …"):
        loaded = load_study(files, resample=resample, coding=coding)
        for warning in loaded.warnings:
            note(f"note: {loaded.id}: {warning}")
        found = result_of(loaded, results, (study, study.parent, Path(), DEMO_FOLDER))
        if found is None and screenshot is None:
            note(f"No result of {loaded.id} was found; the panel makes one, and so does `uncseg predict`.")
        if found is not None and (doubt := doubt_about(found[0].provenance, loaded.inputs, loaded.id)):
            note(f"note: {doubt}")
        viewer = build_window(loaded, *(found or (None, None)))
    if (saved := run_or_save(viewer, screenshot)) is not None:
        typer.echo(f"picture of the window saved as {saved}")


@handle_errors
def demo(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study of your own instead of the phantom.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the result.")] = DEMO_FOLDER,
    screenshot: Screenshot = None,
    device: OnDevice = Device.AUTO,
    model: ModelFolder = None,
    resample: Resample = False,
    coding: LabelCoding = None,
    debug: Debug = False,
) -> None:
    """Predict on the bundled phantom, or on STUDY, and open the window; without a display, save a picture of it."""
    from napari_uncseg._plugin.sample_data import phantom_folder
    from napari_uncseg.cli.predict import finish, run_jobs
    from napari_uncseg.cli.window import is_watched
    from napari_uncseg.inference.jobs import find_jobs
    from napari_uncseg.inference.pipeline import PredictionSettings
    from napari_uncseg.io.discovery import only_study

    path = study if study is not None else phantom_folder()
    only_study(path)
    check_writable(out)
    settings = PredictionSettings(out, out == DEMO_FOLDER, resample, coding, device=device.value, model=model)
    jobs, _ = find_jobs([path], settings.options)
    outcomes, stopped = run_jobs(jobs, settings, debug=debug)
    finish(outcomes, out, stopped=stopped)
    if screenshot is None and is_watched():
        view(path, results=out, resample=resample, coding=coding, debug=debug)
    else:
        _take_picture(path, out, resample, coding, screenshot, Path("demo.png"))


def _take_picture(
    study: Path, results: Path | None, resample: bool, coding: Coding | None, wanted: Path | None, otherwise: Path
) -> None:
    """Save a picture of the window, taken by another process, and say where it is and why when nobody asked for it."""
    from napari_uncseg.cli.window import picture_elsewhere
    from napari_uncseg.io.command import option_words

    options = {"--results": results, "--resample": resample, "--coding": coding}
    place = wanted or otherwise
    picture_elsewhere(["view", str(study), *option_words(options)], place)
    typer.echo(("" if wanted else "There is no display; ") + f"picture of the window saved as {place.resolve()}")


def result_of(study: Study, named: Path | None, nearby: Sequence[Path]) -> tuple[Prediction, Path] | None:
    """The result of a study that stands in a folder, and that folder.

    Parameters
    ----------
    study : Study
        The study it must belong to.
    named : Path, optional
        Where the user says it is: ``OUT`` or ``OUT/<id>``.
    nearby : sequence of Path
        Where to look when the user says nothing.

    Raises
    ------
    StudyError
        When there is none in the named folder, or it was made from other images or on another grid.
    """
    from napari_uncseg.io.results import JSON_SUFFIX, find_result_of, load_result_of, made_from, read_result

    found = [path for folder in ([named] if named else nearby) if (path := find_result_of(study, folder)) is not None]
    if named is None:
        found = [path for path in found if made_from(read_result(path).provenance, study.inputs)]
        if not found:
            return None
    elif not found:
        what = f"{named} holds no result of {study.id} ({study.id}{JSON_SUFFIX} is not there)"
        raise StudyError(f"{what}: name the folder given to `uncseg predict -o`, or leave out --results.")
    return load_result_of(study, found[0]), found[0].parent


def results_instead(path: Path) -> Path | None:
    """Folder of results that stands where a study is looked for and none is.

    Parameters
    ----------
    path : Path
        ``OUT``, ``OUT/<id>`` or a file in it.

    Returns
    -------
    Path or None
        What ``--results`` takes; None when there is a study, or no result either.
    """
    from napari_uncseg.io.discovery import find_studies
    from napari_uncseg.io.results import find_results

    with suppress(StudyError):
        find_studies(path)
        return None
    whole = is_dir(path)
    folder = path if whole else path.parent
    results = find_results(folder) if exists(path) else []
    return folder if any(whole or result.parent == folder for result in results) else None
