"""The command that remakes a result which was made in the window."""

from __future__ import annotations

import shlex
from pathlib import Path

from napari_uncseg.errors import UncsegError
from napari_uncseg.inference.ensemble_spec import SINGLE, EnsembleSpec
from napari_uncseg.inference.pipeline import Settings
from napari_uncseg.io.discovery import StudyFiles, find_studies
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES

FROM_LAYERS = "napari: Segment with uncertainty, on open layers without files of their own"
"""What stands for a command when there is none."""


def predict_command(
    study: Study,
    out: Path,
    device: str,
    model_folder: Path | None,
    members: EnsembleSpec = SINGLE,
    calibration: Path | None = None,
) -> str:
    """Command line that does what the panel did.

    Parameters
    ----------
    study : Study
        The study of the run.
    out : Path
        Folder the results go to.
    device : str
        As chosen in the panel.
    model_folder : Path or None
        Folder of a model; None for the bundled one.
    members : EnsembleSpec
        Ensembling or test-time augmentation method.
    calibration : Path, optional
        File of a calibration, or :data:`~napari_uncseg.models.identity.BUNDLED`.

    Returns
    -------
    str
        ``uncseg predict …``, or :data:`FROM_LAYERS` for a study that was not read from files.
    """
    files = {source.role: source.path.absolute() for source in study.sources}
    if not set(MODALITIES) <= set(files):
        return FROM_LAYERS
    settings = Settings(out, members=members, calibration=calibration, resample=study.resampled)
    return shlex.join(["uncseg", "predict", *_study_words(study, files), *settings.options(device, model_folder)])


def _study_words(study: Study, files: dict[str, Path]) -> list[str]:
    """The folder or file that holds the study and no other, or else its files one by one."""
    if len({files[modality] for modality in MODALITIES}) == 1:  # volumes of one file cannot be named one by one
        return [str(files["t1c"])]
    folder = files["t1c"].parent
    try:
        found = find_studies(folder)
    except UncsegError:
        found = []
    if len(found) == 1 and found[0].id == study.id and _paths(found[0]) == files:
        return [str(folder)]
    return [*(word for role, path in files.items() for word in (f"--{role}", str(path))), "--id", study.id]


def _paths(files: StudyFiles) -> dict[str, Path]:
    named = {**files.modalities, **({"reference": files.reference} if files.reference is not None else {})}
    return {role: (path if isinstance(path, Path) else path[0]).absolute() for role, path in named.items()}
