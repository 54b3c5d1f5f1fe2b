"""The same patients in nnU-Net v2: ``python -m uncseg_training.experiments.nnunet_patients STUDIES ... -o OUT``.

Writes studies with references as a raw data set of nnU-Net, with the folds of the release network, plans and
preprocesses it, trains one fold with the uncertainty channel and without it, makes models of both, and writes in
``dice.csv/.md`` the Dice of the patients that the fold held out beside that of other networks on the same patients
(``--beside NAME=MODEL``: a model folder, or a run of ``uncseg-train fit``). What is done is kept; ``--minutes`` stops
at the end of an epoch, and the same command goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.models.importers.nnunet import import_nnunet
from napari_uncseg.models.model import DATASET_JSON, load_model, save_model
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.splits import SPLITS, read_splits, write_splits
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import region_dice
from uncseg_training.train.export import export_run
from uncseg_training.train.state import CHECKPOINT

NUMBER, NAME = 146, "Dataset146_gliomas"
CONFIGURATION, PLANS = "3d_fullres", "nnUNetPlans"
TRAINERS: Mapping[str, str] = {
    "with the channel": "nnUNetTrainerUncertainty",
    "without": "nnUNetTrainerNoDeepSupervision",
}
ORIENTATION = "RAS"
"""How the written images lie."""


def write_raw(sources: Sequence[Path], raw: Path, splits: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Write studies as nnU-Net's raw data, their labels in the coding of BraTS 2023; those that are there are kept.

    Raises
    ------
    ValueError
        When the splits are of other studies.
    """
    import nibabel as nib

    studies, folder = labelled_studies(sources), raw / NAME
    for fold in splits:
        if sorted([*fold["train"], *fold["val"]]) != sorted(studies):
            raise ValueError("The splits are of other studies; name the file of their folds with --splits.")
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, read in studies.items():
        label = folder / "labelsTr" / f"{name}.nii.gz"
        if label.is_file():
            continue
        study = read()
        assert study.reference is not None  # it would not be among these otherwise
        upright = [nib.as_closest_canonical(nib.Nifti1Image(each, study.affine)) for each in study.images]
        for channel, image in enumerate(upright):
            nib.save(image, folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        reference = nib.as_closest_canonical(nib.Nifti1Image(study.reference.astype(np.uint8), study.affine))
        nib.save(reference, label)  # last: it vouches for the images
        typer.echo(f"{name}: written")
    write_splits(splits, folder / "splits_final.json")
    dataset = {**DATASET_JSON, "numTraining": len(studies), "name": NAME}
    write_files({folder / "dataset.json": (json.dumps(dataset, indent=1) + "\n").encode()})


def prepare(preprocessed: Path, spacing: float, memory: float) -> None:
    """Plan and preprocess, once."""
    done = preprocessed / NAME / "prepared"
    if done.is_file():
        return
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([NUMBER], num_processes=1, check_dataset_integrity=True)
    plan_experiments([NUMBER], gpu_memory_target_in_gb=memory, overwrite_target_spacing=(spacing,) * 3)
    preprocess([NUMBER], PLANS, [CONFIGURATION], [1])
    done.touch()


def rows_of(dice: Mapping[str, Mapping[str, Mapping[str, float]]], first: str) -> list[harness.Row]:
    """Mean Dice of every network on the same patients, and the paired difference from the first.

    Parameters
    ----------
    dice : mapping
        Network -> patient -> region -> Dice.
    first : str
        What the others are compared with.
    """
    rows = []
    for name, each in dice.items():
        found, base = (pd.DataFrame.from_dict(rows_, orient="index") for rows_ in (each, dice[first]))
        row: harness.Row = {"network": name, "patients": len(found)}
        row |= {str(region): harness.interval(found[str(region)]) for region in REGIONS}
        for region in REGIONS if name != first else ():
            difference = paired_difference(found[str(region)], base[str(region)].reindex(found.index)).mean
            row[f"{region} beyond {first}"] = harness.told(difference)
        rows.append({**dict.fromkeys([f"{region} beyond {first}" for region in REGIONS], ""), **row})
    keys = ["network", "patients", *map(str, REGIONS), *(f"{region} beyond {first}" for region in REGIONS)]
    return [{key: row[key] for key in keys} for row in rows]


def dice_of(model: Path, sources: Sequence[Path], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Dice of every patient on the grid of its study, by one pass of a model."""
    predictor, studies, found = Predictor(load_model(model)), labelled_studies(sources), {}
    for name in names:
        study = studies[name]()
        assert study.reference is not None  # it would not be among these otherwise
        dice = region_dice(predictor.predict(study).segmentation, study.reference, study.voxel_ml)
        found[name] = {str(region): value for region, value in dice.items()}
    return found


def model_of(source: Path, folder: Path) -> Path:
    """A model folder: that one, or what is exported of a run."""
    if (source / CHECKPOINT).is_file():
        if not folder.is_dir():
            export_run(source, folder)
        return folder
    return source


@harness.experiment
def main(
    sources: harness.StudyFolders,
    out: harness.Out,
    fold: Annotated[int, typer.Option(help="Which fold of the release network.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs of each of both trainings.")] = 30,
    iterations: Annotated[int, typer.Option(help="Steps of an epoch; its validation has a fifth.")] = 250,
    spacing: Annotated[float, typer.Option(help="Voxel size in millimetres to train at.")] = 2.0,
    memory: Annotated[float, typer.Option(help="GB of a GPU to plan for; less means smaller patches.")] = 8.0,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another network, as NAME=FOLDER; repeat for several.")
    ] = None,
    splits: Annotated[Path, typer.Option(help="File of the folds.")] = SPLITS,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cpu",
    minutes: harness.Minutes = None,
) -> None:
    """Train nnU-Net with and without the channel on the patients of a fold, and compare."""
    clock, folds = harness.Clock(minutes), read_splits(splits)
    others = dict(word.split("=", 1) for word in beside or () if "=" in word)
    if len(others) < len(beside or ()) or fold not in range(len(folds)):
        raise ValueError("Write --beside as NAME=FOLDER, and take a fold that the splits have.")
    places = {name: out / name for name in ("raw", "preprocessed", "results")}
    os.environ |= {f"nnUNet_{name}": str(place.absolute()) for name, place in places.items()}
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    places["preprocessed"].mkdir(parents=True, exist_ok=True)
    write_raw(sources, places["raw"], folds)
    prepare(places["preprocessed"], spacing, memory)
    from uncseg_training.nnunet.run import train

    settings: dict[str, Any] = {"num_epochs": epochs, "num_iterations_per_epoch": iterations, "save_every": 1}
    settings |= {"num_val_iterations_per_epoch": max(1, iterations // 5), "mirror_validation": False}
    models: dict[str, Path] = {}
    for title, trainer in TRAINERS.items():
        model = out / "models" / trainer
        if not model.is_dir():
            clock.check()
            left = None if clock.left is None else clock.left / 60
            how: dict[str, Any] = {
                "device": device,
                "settings": settings,
                "channel": title != "without",
                "minutes": left,
            }
            run = train(str(NUMBER), CONFIGURATION, str(fold), **how)
            if run is None:
                raise harness.TimeOver
            save_model(import_nnunet(run.parent, fold, orientation=ORIENTATION), model, half=True)
        models[f"nnU-Net, {title}"] = model
    models |= {name: model_of(Path(folder), out / "models" / name) for name, folder in others.items()}
    names = folds[fold]["val"]
    dice = {
        name: harness.kept(out / "records" / f"{name}.json", partial(dice_of, model, sources, names))
        for name, model in models.items()
    }
    first = "nnU-Net, without"
    rows = rows_of(dice, first)
    harness.write_table(
        rows,
        out / "dice",
        f"Dice of the {len(names)} patients that fold {fold} held out, on the grid of their studies (regions of at "
        f"least 1 mL): mean and 95 % interval over patients, and the paired difference from {first}.",
    )
    harness.write_json({"settings": settings, "fold": fold, "spacing": spacing, "dice": rows}, out / "nnunet.json")
    typer.echo("\n" + (out / "dice.md").read_text())


if __name__ == "__main__":
    typer.run(main)
