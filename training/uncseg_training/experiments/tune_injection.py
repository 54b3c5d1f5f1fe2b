"""How much injected dropout should drop: ``python -m uncseg_training.experiments.tune_injection STUDIES``.

Prints the negative log-likelihood and Dice of each share of channels on studies with references, which must neither
have trained the network nor test it, and the words for ``uncseg predict --members``. Writes nothing.
"""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import typer

from napari_uncseg.inference.ensemble_spec import INJECTION_CANDIDATES, MOST, Layers
from napari_uncseg.inference.injection import check_candidates, tune_injection
from napari_uncseg.models.model import load_model
from uncseg_training.experiments import harness


@harness.experiment
def main(
    folders: harness.StudyFolders,
    model: harness.ModelOption = None,
    candidates: Annotated[str, typer.Option(metavar="P[,P]", help="Shares of channels to try.")] = ",".join(
        map(str, INJECTION_CANDIDATES)
    ),
    count: Annotated[int, typer.Option(min=1, max=MOST, help="Passes of a prediction.")] = 10,
    layers: Annotated[Layers, typer.Option(help="Where dropout works.")] = Layers.DECODER,
    device: harness.Device = "auto",
) -> None:
    """Print the table and what to use."""
    shares = check_candidates([float(word) for word in candidates.split(",")])
    studies = (study for folder in folders for study in harness.usable(folder))
    found = tune_injection(
        load_model(model), studies, candidates=shares, count=count, layers=layers, device=device, notify=typer.echo
    )
    rows = [
        {"p": row.p, "NLL": row.mean_nll, **{f"Dice {region}": value for region, value in row.dice.items()}}
        for row in (found.one_pass, *found.rows)
    ]
    typer.echo(pd.DataFrame(rows).to_string(index=False))
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{len(found.studies)} studies; use: uncseg predict --members {found.members}")


if __name__ == "__main__":
    typer.run(main)
