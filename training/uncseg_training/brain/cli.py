"""``uncseg-train brain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncseg_training.train.sentences import plainly, seconds_of


@plainly
def brain(
    data: Annotated[
        Path, typer.Argument(help="Folder of label maps with skull and skin (FreeSurfer's codes, 500 up).")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder; gone on from when it has a checkpoint.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; brain.yaml when left out.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all, instead of the configuration's.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint after this time (90s, 8m, 2h); run again to go on.")
    ] = None,
) -> None:
    """Train the network that finds the brain in images with a skull, or go on with its training."""
    from uncseg_training.brain.export import WEIGHTS, export
    from uncseg_training.brain.heads import prepare_heads
    from uncseg_training.brain.trainer import fit as train
    from uncseg_training.brain.trainer import read_config
    from uncseg_training.train.progress import reporter
    from uncseg_training.train.state import leaving_nothing

    settings = read_config(config, **({} if steps is None else {"steps": steps}))
    seconds = None if budget is None else seconds_of(budget)
    with leaving_nothing(out), reporter(out) as report:
        heads = prepare_heads(data, out / "heads.npz", settings.tumours, settings.seed, typer.echo)
        training = train(heads, out, settings, budget=seconds, report=report)
    export(training, heads, out / WEIGHTS)
    done = "finished" if training.step == settings.steps else "stopped; run the same command to go on"
    typer.echo(f"{out}: {done} at step {training.step} of {settings.steps}; weights in {out / WEIGHTS}")
