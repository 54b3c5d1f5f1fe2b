"""``uncseg tune-injection``: finds how much injected dropout should drop, on studies with references."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.errors import report, told_plainly
from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.inference.device_name import Device
from napari_uncseg.inference.ensemble_spec import INJECTION_CANDIDATES, MOST, Layers
from napari_uncseg.labels import REGIONS, Coding

if TYPE_CHECKING:
    from napari_uncseg.inference.injection import Tuned
    from napari_uncseg.io.study import Study


@told_plainly
def tune_injection(
    studies: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY", help="Study folders, or folders of studies, with references."),
    ],
    model: Annotated[
        Path | None, typer.Option("--model", help="Model folder instead of the bundled one.", show_default=False)
    ] = None,
    candidates: Annotated[
        str, typer.Option("--candidates", metavar="P[,P]", help="Shares of channels to try.")
    ] = ",".join(map(str, INJECTION_CANDIDATES)),
    count: Annotated[int, typer.Option("--count", min=1, max=MOST, help="Passes of a prediction.")] = 10,
    layers: Annotated[Layers, typer.Option("--layers", help="Where dropout works.")] = Layers.DECODER,
    device: Annotated[
        Device, typer.Option("--device", help="auto takes a CUDA device when there is one.")
    ] = Device.AUTO,
    resample: Annotated[bool, typer.Option("--resample", help="Put modalities on another grid onto T1c's.")] = False,
    coding: Annotated[
        Coding | None, typer.Option("--coding", help="How references number their labels, where names do not tell.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Find how much injected dropout should drop, on studies with references.

    Prints the words for `uncseg predict --members` and writes nothing. Use studies that neither train nor test the
    network.
    """
    from napari_uncseg.cli.console import say, study_progress
    from napari_uncseg.inference import injection
    from napari_uncseg.inference.pipeline import stop_on_interrupt
    from napari_uncseg.io.discovery import find_studies
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.models.model import load_model

    try:
        shares = injection.check_candidates([float(word) for word in candidates.split(",")])
    except (ValueError, UncsegError) as error:
        why = str(error) if isinstance(error, UncsegError) else "name shares as in 0.02,0.05,0.1"
        raise typer.BadParameter(why, param_hint="--candidates") from error
    found = {files.id: files for path in studies for files in find_studies(path)}
    failures: list[str] = []
    place = 0, ""

    def load() -> Iterator[Study]:
        nonlocal place
        for number, (name, files) in enumerate(found.items()):
            place = number, name
            try:
                study = load_study(files, resample=resample, coding=coding)
                if study.reference is None:
                    raise StudyError(f"{name} has no reference; tune on studies with expert segmentations.")
            except Exception as error:  # a bad study does not stop the others
                report(error, debug=debug, about="" if name in str(error) else f"{name}: ")
                failures.append(name)
            else:
                yield study

    with stop_on_interrupt() as cancelled, study_progress("Tuning") as bar:

        def progress(done: int, total: int, message: str) -> None:
            number, name = place
            bar(number * total + done, len(found) * total, f"{name}: {message}")

        tuned = injection.tune_injection(
            load_model(model),
            load(),
            candidates=shares,
            count=count,
            layers=layers,
            device=device.value,
            notify=say,
            progress=progress,
            cancelled=cancelled,
        )
    print_tuned(tuned)
    if failures:
        typer.echo(f"error: {len(failures)} of {len(found)} studies failed: {', '.join(failures)}", err=True)
        raise typer.Exit(1)


def print_tuned(tuned: Tuned) -> None:
    """Print a table of the shares, what has to be known, and the words to use."""
    from rich.table import Table
    from rich.text import Text

    from napari_uncseg.cli.console import console
    from napari_uncseg.io.provenance import RESEARCH_USE_ONLY

    screen = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("p")
    for name in ("NLL, nats", *(f"NLL {region}" for region in REGIONS), *(f"Dice {region}" for region in REGIONS)):
        table.add_column(name, justify="right")
    for row in (tuned.one_pass, *tuned.rows):
        words = "one pass" if row is tuned.one_pass else f"{row.p:g} *" if row.p == tuned.p else f"{row.p:g}"
        likelihoods = (row.mean_nll, *(row.nll[region] for region in REGIONS))
        cells = [*(f"{value:.5f}" for value in likelihoods), *(f"{row.dice[region]:.3f}" for region in REGIONS)]
        table.add_row(*map(Text, (words, *cells)))
    screen.print(table)
    studies = f"{len(tuned.studies)} {'study' if len(tuned.studies) == 1 else 'studies'}"
    screen.print(
        f"Negative log-likelihood of the mean probability, over the brain's voxels of {studies} together, and its mean "
        "over regions, which decides (*). Dice: mean over studies.",
        soft_wrap=True,
    )
    for note in tuned.notes:
        screen.print(f"note: {note}", soft_wrap=True)
    screen.print(f"Use: --members {tuned.members}", soft_wrap=True)
    screen.print(RESEARCH_USE_ONLY, soft_wrap=True)
