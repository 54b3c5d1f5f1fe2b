"""A case of the list with its images and its result, read from their files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_uncseg.errors import StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import doubt_about, load_prediction, made_from, other_inputs
from napari_uncseg.io.study import Study
from napari_uncseg.maps import Derivation, MapName
from napari_uncseg.review.worklist import ListedCase


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case with its volumes.

    Parameters
    ----------
    case : ListedCase
    study : Study, optional
        None where the images were not found.
    prediction : Prediction, optional
        None without a result.
    notes : tuple of str
        What the reviewer should know, a sentence each.
    """

    case: ListedCase
    study: Study | None
    prediction: Prediction | None
    notes: tuple[str, ...] = ()

    @property
    def blind(self) -> OpenedCase:
        """The same without its reference, and without maps that were made with it: nobody sees the truth by it."""
        study, prediction = self.study, self.prediction
        if study is not None:
            study = replace(study, reference=None)
        if prediction is not None:
            derived = {name: MapName.parse(name).info for name in prediction.maps}
            known = {name for name, info in derived.items() if info and info.derivation is Derivation.REFERENCE}
            prediction = replace(
                prediction, maps={name: values for name, values in prediction.maps.items() if name not in known}
            )
        return replace(self, study=study, prediction=prediction)


def open_case(case: ListedCase) -> OpenedCase:
    """Read the images and the result of a case; torch is not needed.

    Parameters
    ----------
    case : ListedCase

    Raises
    ------
    StudyError
        When there is nothing to open, or a file is damaged.
    """
    if case.files is None and case.result is None:
        raise StudyError(case.problem or f"{case.id} has neither images nor a result; check the folders.")
    study = load_study(case.files) if case.files is not None and case.files.problem is None else None
    prediction = load_prediction(case.result) if case.result is not None and not case.problem else None
    if study is None and prediction is None:
        raise StudyError(case.problem or f"{case.id} cannot be opened; check the folders.")
    notes = [sentence for sentence in (case.note, case.problem) if sentence]
    if study is None:
        notes.append(f"The images of {case.id} were not found; choose the folder that holds them.")
    elif prediction is not None:
        other = other_inputs(prediction.provenance, study.inputs)
        if other:
            gone = "" if made_from(prediction.provenance, study.inputs) else ", which are not shown"
            notes.append(f"The result of {case.id} was made from other files than these{gone} ({', '.join(other)}).")
            study = None if gone else study
        elif doubt := doubt_about(prediction.provenance, study.inputs, case.id):
            notes.append(doubt)
    return OpenedCase(case, study, prediction, tuple(notes))
