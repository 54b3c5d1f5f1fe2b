"""Predictions out of fold: every study once, by the model of the fold that held it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.discovery import StudyFiles, find_studies
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.models.model import Model, load_model


def predict_out_of_fold(
    models: Mapping[int, Path],
    splits: Sequence[Mapping[str, Sequence[str]]],
    sources: Sequence[Path],
    out: Path,
    *,
    members: str = "single",
    maps: Sequence[str] | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Predict what each fold held out, into one folder of results that ``uncseg evaluate`` reads.

    Parameters
    ----------
    models : mapping of int to Path
        Model folder of each fold; folds without one are left out.
    splits : sequence of mapping
        Folds, see :func:`uncseg_training.data.splits.read_splits`.
    sources : sequence of Path
        Folders of studies with references.
    out : Path
        Takes a folder per study.
    members, maps, overwrite
        As for ``uncseg predict``.
    tell : callable
        Told the name of each study that is done.

    Returns
    -------
    dict of str to int
        Fold by study.

    Raises
    ------
    ValueError
        When a study is absent, or a model was trained on a study that it is to predict.
    UncsegError
        When a study or a model cannot be read, or a result not saved.
    """
    studies: dict[str, StudyFiles] = {files.id: files for source in sources for files in find_studies(source)}
    folds: dict[str, int] = {}
    for fold, folder in models.items():
        held_out = splits[fold]["val"]
        if absent := [name for name in held_out if name not in studies]:
            raise ValueError(f"Study {absent[0]} of fold {fold} is in none of the folders; name its folder, too.")
        model = load_model(folder)
        _require_unseen(model, fold, held_out)
        predictor = Predictor(model, device="auto")
        for name in held_out:
            prediction = predictor.predict(load_study(studies[name]), members=members, maps=maps)
            save_prediction(prediction, out, overwrite=overwrite)
            folds[name] = fold
            tell(f"fold {fold}: {name}")
    return folds


def _require_unseen(model: Model, fold: int, held_out: Sequence[str]) -> None:
    """Refuse a model, or a stage of one, that says it was trained on what it is to predict."""
    stage: Model | None = model
    while stage is not None:
        seen = sorted(set(stage.provenance.get("trained_on", ())) & set(held_out))
        if seen or "trained_on" not in stage.provenance:
            what = f"was trained on {seen[0]}" if seen else "does not say what it was trained on"
            raise ValueError(f"Model {stage.name} {what}, so it cannot predict fold {fold} out of fold.")
        stage = stage.previous_stage
