"""``uncseg model``: networks trained elsewhere become models that run here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_uncseg.errors import ModelError
from napari_uncseg.exits import told_plainly

model_app = typer.Typer(help="Bring in networks trained elsewhere.", no_args_is_help=True, rich_markup_mode=None)


@model_app.callback()
def model() -> None:
    """Bring in networks trained elsewhere."""


@model_app.command("import", short_help="Make a model of an nnU-Net v2 result folder.")
@told_plainly
def import_model(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="NNUNET_MODEL_FOLDER",
            help="What nnU-Net v2 trained: the folder with plans.json, dataset.json and fold_0.",
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
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="File in a fold's folder.")] = "checkpoint_final.pth",
    orientation: Annotated[
        str | None,
        typer.Option(
            "--orientation",
            help="Axis codes of the images it was trained on (BraTS: LPS), for studies that lie otherwise.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands in the model folder.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Make a model that runs here of a network that nnU-Net v2 trained.

    The checkpoint is read as data: nothing in it is executed. A network of labels or of regions will do, with the
    uncertainty channel of `uncseg-train nnunet` or without it; then the entropy shows where not to trust the result.
    """
    from napari_uncseg.network.importers.nnunet import find_folds, import_nnunet
    from napari_uncseg.network.model import save_model
    from napari_uncseg.study.provenance import RESEARCH_USE_ONLY
    from napari_uncseg.terminal import say

    axes = None if orientation is None else _checked_orientation(orientation)
    folder = folder.resolve()
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; give the one that nnU-Net trained into.")
    # A folder called fold_all is one fold, trained on all studies; `all` means every fold there is.
    wanted = find_folds(folder, checkpoint) if fold in (None, "all") else [f"fold_{fold}"]
    place = out if out is not None else Path(f"{folder.parent.name}-{folder.name.rsplit('__', 1)[-1]}")
    targets = {name: place if len(wanted) == 1 else place / name for name in wanted}
    for target in targets.values():
        if target.exists() and any(target.iterdir()) and not overwrite:
            raise ModelError(f"{target} is not empty; name another folder with -o, or replace it with --overwrite.")
    for name, target in targets.items():
        made = import_nnunet(folder, name.removeprefix("fold_"), checkpoint=checkpoint, orientation=axes)
        saved = save_model(made, target)
        kind = f"{saved.head}, {'with' if saved.has_uncertainty else 'without'} an uncertainty channel"
        typer.echo(f"{target}: {saved.name}, {kind}, sha256 {saved.sha256}")
    say(f"Run it with: uncseg predict STUDY -o OUT --model {targets[wanted[0]]}. {RESEARCH_USE_ONLY}")


def _checked_orientation(text: str) -> str:
    """Axis codes in capital letters, when they name each axis once."""
    codes = text.upper()
    if len(codes) != 3 or not all(sum(code in pair for code in codes) == 1 for pair in ("LR", "AP", "IS")):
        raise typer.BadParameter(
            f"{text} is no orientation; write three axis codes such as LPS", param_hint="--orientation"
        )
    return codes
