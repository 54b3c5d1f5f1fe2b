"""``uncseg model``: networks trained elsewhere become models that run here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug
from napari_uncseg.errors import ModelError

if TYPE_CHECKING:
    from napari_uncseg.models.model import Model

model_app = typer.Typer(help="Bring in networks trained elsewhere.", no_args_is_help=True, rich_markup_mode=None)


@model_app.callback()
def model() -> None:
    """Bring in networks trained elsewhere."""


@model_app.command("import", short_help="Make a model of an nnU-Net v2 result folder or a MONAI bundle.")
@handle_errors
def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="What nnU-Net v2 trained: the folder with plans.json, dataset.json and fold_0. With --monai, the "
            "folder of a bundle, or a .pt or .pth file of weights.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Model folder to write; with several folds, one below it for each."),
    ] = None,
    fold: Annotated[
        str | None, typer.Option("--fold", metavar="N|all", help="One fold, or all that are there.", show_default="all")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", help="File in a fold's folder.", show_default="checkpoint_final.pth"),
    ] = None,
    orientation: Annotated[
        str | None,
        typer.Option(
            "--orientation",
            help="Axis codes of the images it was trained on (BraTS: LPS), for studies that lie otherwise.",
        ),
    ] = None,
    monai: Annotated[
        bool, typer.Option("--monai", help="A network of MONAI (SegResNet, UNet or SwinUNETR) instead of nnU-Net's.")
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            help="Of a file of weights: the bundle it is of (brats_mri_segmentation), or a JSON or YAML file with the "
            "network's _target_ and arguments.",
        ),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", help="Modality of each input channel, such as t1c,t1n,t2w,t2f.")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option("--outputs", help="What each output channel is: tc,wt,et, or background,ncr,ed,et."),
    ] = None,
    tile: Annotated[str | None, typer.Option("--tile", help="Voxels of a tile, such as 128,128,128.")] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="Voxel size in mm it was trained with, such as 1,1,1.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands in the model folder.")] = False,
    debug: Debug = False,
) -> None:
    """Make a model that runs here of a network that was trained elsewhere.

    The checkpoint is read as data: nothing in it is executed. A network of labels or of regions will do, nnU-Net's with
    the uncertainty channel of `uncseg-train nnunet` or without it; without, the entropy shows where not to trust the
    result. A bundle holds the order of its channels and the size of its tiles; a file of weights does not.
    """
    axes = None if orientation is None else _checked_orientation(orientation)
    source = source.resolve()
    own = {"--fold": fold, "--checkpoint": checkpoint}
    theirs = {"--arch": arch, "--inputs": inputs, "--outputs": outputs, "--tile": tile, "--spacing": spacing}
    foreign = next((name for name, value in (own if monai else theirs).items() if value is not None), None)
    if foreign is not None:
        what = "is for nnU-Net's folders" if monai else "needs --monai"
        raise typer.BadParameter(f"it {what}", param_hint=foreign)
    if not monai:
        _import_nnunet(source, out, fold, checkpoint or "checkpoint_final.pth", axes, overwrite)
        return
    from napari_uncseg.models.importers.monai import import_monai

    target = out if out is not None else Path(f"{source.stem}-model")
    _check_free(target, overwrite)
    made = import_monai(
        source,
        arch=arch,
        inputs=_named(inputs, "--inputs"),
        outputs=_named(outputs, "--outputs"),
        tile=_three(tile, "--tile", int),
        spacing=_three(spacing, "--spacing", float),
        orientation=axes,
    )
    _write(made, target)
    _say_how(target)


def _import_nnunet(
    folder: Path, out: Path | None, fold: str | None, checkpoint: str, axes: str | None, overwrite: bool
) -> None:
    from napari_uncseg.io.files import is_dir
    from napari_uncseg.models.importers.monai_bundle import find_bundle_config
    from napari_uncseg.models.importers.nnunet import find_folds, import_nnunet

    if not is_dir(folder, ModelError):
        raise ModelError(f"{folder} is not a folder; give the one that nnU-Net trained into.")
    if find_bundle_config(folder) is not None:
        raise ModelError(f"{folder} is a MONAI bundle; add --monai.")
    # A folder called fold_all is one fold, trained on all studies; `all` means every fold there is.
    wanted = find_folds(folder, checkpoint) if fold in (None, "all") else [f"fold_{fold}"]
    place = out if out is not None else Path(f"{folder.parent.name}-{folder.name.rsplit('__', 1)[-1]}")
    targets = {name: place if len(wanted) == 1 else place / name for name in wanted}
    for target in targets.values():
        _check_free(target, overwrite)
    for name, target in targets.items():
        _write(import_nnunet(folder, name.removeprefix("fold_"), checkpoint=checkpoint, orientation=axes), target)
    _say_how(targets[wanted[0]])


def _check_free(target: Path, overwrite: bool) -> None:
    from napari_uncseg.io.files import entries, exists, is_dir

    if not is_dir(target, ModelError) and exists(target, ModelError):
        raise ModelError(f"{target} is a file where a model folder is to be written; name another one with -o.")
    if exists(target, ModelError) and entries(target, ModelError) and not overwrite:
        raise ModelError(f"{target} is not empty; name another folder with -o, or replace it with --overwrite.")


def _write(model: Model, target: Path) -> None:
    from napari_uncseg.models.model import save_model

    saved = save_model(model, target)
    kind = f"{saved.head}, {'with' if saved.has_uncertainty else 'without'} an uncertainty channel"
    typer.echo(f"{target}: {saved.name}, {kind}, sha256 {saved.sha256}")


def _say_how(target: Path) -> None:
    from napari_uncseg.cli.console import note
    from napari_uncseg.io.provenance import RESEARCH_USE_ONLY

    note(f"Run it with: uncseg predict STUDY -o OUT --model {target}. {RESEARCH_USE_ONLY}")


def _named(text: str | None, option: str) -> tuple[str, ...] | None:
    """Modalities, regions or labels by their own names."""
    if text is None:
        return None
    from napari_uncseg.io.naming import modality_of_name
    from napari_uncseg.models.importers.monai_bundle import meaning_of_name

    read = modality_of_name if option == "--inputs" else meaning_of_name
    found = [(word.strip(), read(word)) for word in text.split(",")]
    for word, meant in found:
        if meant is None:
            raise typer.BadParameter(f"{word or 'nothing'} is not known", param_hint=option)
    return tuple(str(meant) for _, meant in found)


def _three(text: str | None, option: str, kind: type[int] | type[float]) -> tuple[Any, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(kind(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or min(numbers) <= 0:
        raise typer.BadParameter(f"{text} is not three positive numbers", param_hint=option)
    return numbers


def _checked_orientation(text: str) -> str:
    """Axis codes in capital letters, when they name each axis once."""
    codes = text.upper()
    if len(codes) != 3 or not all(sum(code in pair for code in codes) == 1 for pair in ("LR", "AP", "IS")):
        raise typer.BadParameter(
            f"{text} is no orientation; write three axis codes such as LPS", param_hint="--orientation"
        )
    return codes
