"""``uncseg model``: networks trained elsewhere become models that run here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_uncseg.cli.console import note
from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug
from napari_uncseg.errors import ModelError
from napari_uncseg.io.files import entries, exists, is_dir
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.models.identity import read_provenance
from napari_uncseg.models.importers import CHECKPOINT

if TYPE_CHECKING:
    from napari_uncseg.models.model import Model

Makers = dict[Path, Callable[[], "Model"]]
"""What makes the models that are to be written, by their folders."""

model_app = typer.Typer(help="Bring in networks trained elsewhere.", no_args_is_help=True, rich_markup_mode=None)


@model_app.callback()
def model() -> None:
    """Bring in networks trained elsewhere."""


@model_app.command("import", short_help="Make a model of an nnU-Net v2 result folder or a MONAI bundle.")
@handle_errors
def import_model(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of plans.json and fold_0; with --monai a bundle, or a .pt file."),
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Model folder, or with several folds theirs.")] = None,
    fold: Annotated[str | None, typer.Option(metavar="N|all", help="One fold.", show_default="all")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="File of a fold.", show_default=CHECKPOINT)] = None,
    orientation: Annotated[str | None, typer.Option(help="Axis codes of its images, as LPS for BraTS.")] = None,
    monai: Annotated[bool, typer.Option("--monai", help="A SegResNet, UNet or SwinUNETR of MONAI.")] = False,
    arch: Annotated[str | None, typer.Option(help="Of a .pt file: brats_mri_segmentation, or a definition.")] = None,
    inputs: Annotated[str | None, typer.Option(help="Modality of each channel, as t1c,t1n,t2w,t2f.")] = None,
    outputs: Annotated[str | None, typer.Option(help="As tc,wt,et or background,ncr,ed,et.")] = None,
    tile: Annotated[str | None, typer.Option(help="Voxels of a tile, such as 128,128,128.")] = None,
    spacing: Annotated[str | None, typer.Option(help="Voxel size in mm it was trained with, such as 1,1,1.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another model.")] = False,
    debug: Debug = False,
) -> None:
    """Make a model that runs here of a network that was trained elsewhere.

    The checkpoint is read as data: nothing in it is executed. A network of labels or of regions will do, nnU-Net's with
    the uncertainty channel of `uncseg-train nnunet` or without it; without, the entropy shows where not to trust the
    result. A bundle holds the order of its channels and the size of its tiles; a file of weights does not.
    """
    source, axes = source.resolve(), None if orientation is None else _checked_orientation(orientation)
    own = {"--fold": fold, "--checkpoint": checkpoint}
    theirs = {"--arch": arch, "--inputs": inputs, "--outputs": outputs, "--tile": tile, "--spacing": spacing}
    foreign = next((name for name, value in (own if monai else theirs).items() if value is not None), None)
    if foreign is not None:
        raise typer.BadParameter("it is for nnU-Net's folders" if monai else "it needs --monai", param_hint=foreign)
    if monai:
        from napari_uncseg.models.importers.monai import import_monai

        said: dict[str, Any] = {"inputs": _named(inputs, "--inputs"), "outputs": _named(outputs, "--outputs")}
        said |= {"tile": _three(tile, "--tile", int), "spacing": _three(spacing, "--spacing", float)}
        made = partial(import_monai, source, arch=arch, orientation=axes, **said)
        makers: Makers = {out or Path(f"{source.stem}-model"): made}
    else:
        makers = _nnunet_makers(source, out, fold, checkpoint or CHECKPOINT, axes)
    _write(makers, overwrite)


def _nnunet_makers(folder: Path, out: Path | None, fold: str | None, checkpoint: str, axes: str | None) -> Makers:
    """What makes the model of each fold, by its folder."""
    from napari_uncseg.models.importers.monai_bundle import find_bundle_config
    from napari_uncseg.models.importers.nnunet import find_folds, import_nnunet

    if not is_dir(folder, ModelError):
        raise ModelError(f"{folder} is not a folder; give the one that nnU-Net trained into.")
    if find_bundle_config(folder) is not None:
        raise ModelError(f"{folder} is a MONAI bundle; add --monai.")
    # A folder called fold_all is one fold, trained on all studies; `all` means every fold there is.
    names = find_folds(folder, checkpoint) if fold in (None, "all") else [f"fold_{fold}"]
    place = out or Path(f"{folder.parent.name}-{folder.name.rsplit('__', 1)[-1]}")
    how: dict[str, Any] = {"checkpoint": checkpoint, "orientation": axes}
    return {
        place if len(names) == 1 else place / name: partial(import_nnunet, folder, name.removeprefix("fold_"), **how)
        for name in names
    }


def _write(makers: Makers, overwrite: bool) -> None:
    """Make the models and write them, once it is sure that all their folders are free; and say how to run one."""
    from napari_uncseg.models.model import save_model

    for target in makers:
        if exists(target, ModelError) and not is_dir(target, ModelError):
            raise ModelError(f"{target} is a file where a model folder is to be written; name another one with -o.")
        if exists(target, ModelError) and entries(target, ModelError) and not overwrite:
            raise ModelError(f"{target} is not empty; name another folder with -o, or replace it with --overwrite.")
        if exists(target, ModelError) and entries(target, ModelError):
            read_provenance(target)  # an error where there is no model to replace, but files of somebody's
    for target, make in makers.items():
        saved = save_model(make(), target)
        kind = f"{saved.head}, {'with' if saved.has_uncertainty else 'without'} an uncertainty channel"
        typer.echo(f"{target}: {saved.name}, {kind}, sha256 {saved.sha256}")
    note(f"Run it with: uncseg predict STUDY -o OUT --model {next(iter(makers))}. {RESEARCH_USE_ONLY}")


def _named(text: str | None, option: str) -> tuple[str, ...] | None:
    """Modalities, regions or labels by their own names."""
    from napari_uncseg.io.naming import modality_of_name
    from napari_uncseg.models.importers.monai_bundle import meaning_of_name

    read = modality_of_name if option == "--inputs" else meaning_of_name
    words = text.split(",") if text is not None else []
    for word in words:
        if read(word.strip()) is None:
            raise typer.BadParameter(f"{word.strip() or 'nothing'} is not known", param_hint=option)
    return None if text is None else tuple(str(read(word.strip())) for word in words)


def _three(text: str | None, option: str, kind: type[int] | type[float]) -> tuple[Any, ...] | None:
    numbers: tuple[Any, ...] = ()
    with suppress(ValueError):
        numbers = tuple(kind(word) for word in (text or "").split(","))
    if text is not None and (len(numbers) != 3 or min(numbers) <= 0):
        raise typer.BadParameter(f"{text} is not three positive numbers", param_hint=option)
    return None if text is None else numbers


def _checked_orientation(text: str) -> str:
    """Axis codes in capital letters, when they name each axis once."""
    codes = text.upper()
    if len(codes) != 3 or not all(sum(code in pair for code in codes) == 1 for pair in ("LR", "AP", "IS")):
        raise typer.BadParameter(f"{text} is no orientation; write three axis codes as LPS", param_hint="--orientation")
    return codes
