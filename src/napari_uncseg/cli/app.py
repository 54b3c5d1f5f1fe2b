"""The command ``uncseg`` and its commands.

What a command needs is imported inside it: ``uncseg --help`` loads neither torch nor napari.
"""

from __future__ import annotations

from typing import Annotated

import typer

from napari_uncseg import __version__
from napari_uncseg.cli.calibrate import calibrate
from napari_uncseg.cli.errors import CommandGroup, protect_streams
from napari_uncseg.cli.evaluate import evaluate
from napari_uncseg.cli.export import export
from napari_uncseg.cli.import_model import model_app
from napari_uncseg.cli.info import info
from napari_uncseg.cli.predict import predict
from napari_uncseg.cli.prepare import prepare, series
from napari_uncseg.cli.review import review
from napari_uncseg.cli.view import demo, view

RETIRED = {
    "doctor": "`uncseg doctor` is now `uncseg info --check`.",
    "tune-injection": "`uncseg tune-injection` is now an experiment of the training: "
    "python -m uncseg_training.experiments.tune_injection STUDY...",
}
"""Commands of the version before, and what to use instead; they stay for one release."""

app = typer.Typer(
    name="uncseg",
    cls=CommandGroup,
    help="Segment glioma MRI and show where not to trust the result. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-uncseg {__version__}")
        raise typer.Exit


@app.callback()
def uncseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Segment glioma MRI and show where not to trust the result. Research use only."""


app.command(short_help="Segment studies and save what came out.")(predict)
app.command(short_help="List the DICOM series of an examination and what each one is.")(series)
app.command(short_help="Register a raw study and take the skull off.")(prepare)
app.command(short_help="Write a result as DICOM for an archive.")(export)
app.command(short_help="Compare predictions with references and write a report.")(evaluate)
app.command(short_help="Fit the calibration of a model on studies with references.")(calibrate)
app.add_typer(model_app, name="model", short_help="Bring in networks trained elsewhere.")
app.command(short_help="Review saved results in napari, one after the other.")(review)
app.command(short_help="Open napari with a study and its result.")(view)
app.command(short_help="Predict on a phantom and open the window.")(demo)
app.command(short_help="Print versions and what the model is; check the installation.")(info)


def _retire(name: str, sentence: str) -> None:
    @app.command(name, hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def retired() -> None:
        typer.echo(f"error: {sentence}", err=True)
        raise typer.Exit(2)


for _name, _sentence in RETIRED.items():
    _retire(_name, _sentence)


def main() -> None:
    """Run the command line of this process."""
    protect_streams()
    app(prog_name="uncseg")


if __name__ == "__main__":
    main()
