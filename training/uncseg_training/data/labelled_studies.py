"""What can be learnt from: studies with a reference, and results whose segmentation was corrected in a review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_uncseg.errors import StudyError
from napari_uncseg.io.command import find_inputs
from napari_uncseg.io.discovery import StudyFiles, find_studies
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.results import find_results, load_result_of, read_result
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Coding
from napari_uncseg.review.corrections import corrections_in, load_correction


def labelled_studies(sources: Sequence[str | Path], coding: Coding | None = None) -> dict[str, Callable[[], Study]]:
    """What can be learnt from, by id: studies with a reference, and results whose segmentation was corrected.

    Raises
    ------
    StudyError
        When a folder holds neither studies nor results.
    ValueError
        When two have one name.
    """
    studies: dict[str, Callable[[], Study]] = {}
    for place in map(Path, sources):
        results = {read_result(path).study_id: path for path in find_results(place)}
        corrected = {name: path for name, path in results.items() if corrections_in(path.parent, name)}
        found: dict[str, Callable[[], Study]] = {name: partial(_corrected, path) for name, path in corrected.items()}
        found = found or {files.id: partial(_referenced, files, coding) for files in find_studies(place)}
        if both := sorted(set(found) & set(studies)):
            raise ValueError(f"{place} holds another study {both[0]}; rename the folder of one of them.")
        studies |= found
    return studies


def _corrected(result: Path) -> Study:
    """The images of a result, and its last correction as their reference."""
    name = read_result(result).study_id
    files = find_inputs(name, result, {})
    if files is None:
        raise ValueError(f"The images of {result} are not where they were; move them back, or predict {name} again.")
    study = load_study(files)
    labels = load_correction(corrections_in(result.parent, name)[-1], load_result_of(study, result))
    return replace(study, reference=labels)


def _referenced(files: StudyFiles, coding: Coding | None) -> Study:
    """A study with its reference; the coding that was asked for decides where nothing else does."""
    try:
        study = load_study(files)
    except StudyError:
        if coding is None or files.problem is not None:
            raise
        study = load_study(files, coding=coding)
    if study.reference is None:
        raise ValueError(f"{study.id} has no reference to learn from; add its segmentation or take it out.")
    return study
