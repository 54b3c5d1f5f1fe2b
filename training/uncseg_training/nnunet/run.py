"""Run nnU-Net with or without the uncertainty channel from folders, going on where a run was cut."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EPOCHS = 500
"""Of a run, when nobody says."""

FINAL, RUNNING = "checkpoint_final.pth", ("checkpoint_latest.pth", "checkpoint_best.pth")


def train(
    dataset: str,
    configuration: str,
    fold: str,
    *,
    plans: str = "nnUNetPlans",
    device: str = "cuda",
    settings: Mapping[str, object] | None = None,
    restart: bool = False,
    channel: bool = True,
    minutes: float | None = None,
) -> Path | None:
    """Train a fold to its end and validate it.

    Parameters
    ----------
    dataset : str
        Name or number of the data set. nnU-Net's folders are read from its environment variables.
    configuration : str
        Such as ``3d_fullres``.
    fold : str
        A number, or ``all``.
    plans : str
        Name of the plans file.
    device : str
        ``cuda`` or ``cpu``.
    settings : mapping, optional
        Attributes of the trainer -> values instead of its own, such as ``num_epochs``; None leaves one as it is.
    restart : bool
        Begin anew although there is a checkpoint.
    channel : bool
        Without it nnU-Net's own trainer without deep supervision is run: all else is the same.
    minutes : float, optional
        Stop at the end of the epoch after so many.

    Returns
    -------
    Path or None
        The fold's folder; None when it was stopped before the last epoch.

    Raises
    ------
    ValueError
        When folders, plans or fold are not there, or the run was begun otherwise.
    """
    base = _preprocessed(dataset)
    content, described = _read(base / f"{plans}.json"), _read(base / "dataset.json")
    if configuration not in content.get("configurations", {}):
        raise ValueError(f"{base / plans}.json has no configuration {configuration}.")
    number = _fold(fold, base)
    # Beyond this line torch and nnU-Net are loaded, which takes seconds.
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device; take --device cpu, or a machine with one.")
    trainer = _trainer(channel)(
        {"continue_training": False, **content}, configuration, number, described, torch.device(device)
    )
    for name, value in ({"num_epochs": EPOCHS, "save_every": 10} | dict(settings or {})).items():
        if value is not None:
            setattr(trainer, name, value)
    folder = Path(trainer.output_folder)
    checkpoint = None if restart else newest_checkpoint(folder)
    if checkpoint is not None:
        trainer.print_to_log_file(f"going on from {checkpoint.name}")
        trainer.load_checkpoint(str(checkpoint))
    if minutes is not None:
        _stop_after(trainer, time.monotonic() + 60 * minutes)
    try:
        if checkpoint is None or checkpoint.name != FINAL:
            trainer.run_training()
    except _Stopped:
        return None
    if not channel and (settings or {}).get("mirror_validation") is False:
        trainer.inference_allowed_mirroring_axes = None  # nnU-Net's own validation asks nobody
    trainer.perform_actual_validation()
    return folder


class _Stopped(Exception):
    """The time is over at the end of an epoch."""


def _trainer(channel: bool) -> Any:
    if channel:
        from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

        return nnUNetTrainerUncertainty
    from nnunetv2.training.nnUNetTrainer.variants.network_architecture import nnUNetTrainerNoDeepSupervision as plain

    return plain.nnUNetTrainerNoDeepSupervision


def _stop_after(trainer: Any, end: float) -> None:
    """Let a trainer save and stop at the end of the first epoch after a moment of the monotonic clock."""
    finish = trainer.on_epoch_end

    def on_epoch_end() -> None:
        finish()
        if time.monotonic() > end and trainer.current_epoch < trainer.num_epochs:
            trainer.current_epoch -= 1  # nnU-Net counts on when it saves
            trainer.save_checkpoint(str(Path(trainer.output_folder) / RUNNING[0]))
            raise _Stopped

    trainer.on_epoch_end = on_epoch_end


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from: the final one, or else the one written last."""
    if (folder / FINAL).is_file():
        return folder / FINAL
    found = [folder / name for name in RUNNING if (folder / name).is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns) if found else None


def settle_splits(raw: Path, preprocessed: Path) -> Path:
    """Put the splits of a raw data set where nnU-Net looks for them.

    Parameters
    ----------
    raw, preprocessed : Path
        The data set's folders.

    Returns
    -------
    Path
        The splits that hold.

    Raises
    ------
    ValueError
        When there are none, or others than the raw data set's; nnU-Net would make some that part patients.
    """
    source, target = raw / "splits_final.json", preprocessed / "splits_final.json"
    if source.is_file() and not target.is_file():
        target.write_bytes(source.read_bytes())
    if not target.is_file():
        raise ValueError(f"{target} is not there; write it with uncseg-train brats, or put your own splits there.")
    if source.is_file() and json.loads(source.read_text()) != json.loads(target.read_text()):
        raise ValueError(f"{target} and {source} are different splits; remove the one you do not mean.")
    return target


def _preprocessed(dataset: str) -> Path:
    """Folder of a preprocessed data set, with the splits in place."""
    places: dict[str, Path] = {}
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        if not os.environ.get(name):
            raise ValueError(f"{name} is not set; set nnU-Net's variable or give the folder as an option.")
        places[name] = Path(os.environ[name])
    wanted = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = sorted(path for path in places["nnUNet_preprocessed"].glob(wanted) if path.is_dir())
    if len(found) != 1:
        raise ValueError(
            f"{places['nnUNet_preprocessed']} holds {len(found) or 'no'} folders {wanted}; preprocess the data set "
            f"with nnUNetv2_plan_and_preprocess -d {dataset.removeprefix('Dataset')[:3]}."
        )
    settle_splits(places["nnUNet_raw"] / found[0].name, found[0])
    return found[0]


def _fold(text: str, base: Path) -> int | str:
    """A fold that the splits have; nnU-Net would split at random for one they have not."""
    if text == "all":
        return text
    count = len(json.loads((base / "splits_final.json").read_text()))
    if not text.isdecimal() or int(text) >= count:
        raise ValueError(f"There is no fold {text}: the splits have 0 to {count - 1}, and `all` trains on every case.")
    return int(text)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is not there; run nnUNetv2_plan_and_preprocess first.")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
