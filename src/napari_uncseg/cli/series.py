"""``uncseg series``: what lies in a folder straight from the scanner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug
from napari_uncseg.labels import MODALITIES

if TYPE_CHECKING:
    from napari_uncseg.dicom.roles import Chosen
    from napari_uncseg.dicom.series import Examination

T1c = Annotated[str | None, typer.Option("--t1c", metavar="SERIES", help="Series that is T1 with contrast.")]
T1n = Annotated[str | None, typer.Option("--t1n", metavar="SERIES", help="Series that is T1 without contrast.")]
T2f = Annotated[str | None, typer.Option("--t2f", metavar="SERIES", help="Series that is T2 FLAIR.")]
T2w = Annotated[str | None, typer.Option("--t2w", metavar="SERIES", help="Series that is T2.")]


@handle_errors
def series(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder, DICOMDIR or zip of one examination.")],
    t1c: T1c = None,
    t1n: T1n = None,
    t2f: T2f = None,
    t2w: T2w = None,
    debug: Debug = False,
) -> None:
    """List the series of an examination: which modality each one is, or why it is left out.

    Ends with an error when one of the four modalities is missing. A series is named by its number in the list.
    """
    from napari_uncseg.dicom.roles import choose_series
    from napari_uncseg.dicom.series import read_examination

    examination = read_examination(path)
    asked = {role: name for role, name in zip(MODALITIES, (t1c, t1n, t2f, t2w), strict=True) if name is not None}
    chosen = choose_series(examination, asked)
    print_series(examination, chosen)
    chosen.complete()


def print_series(examination: Examination, chosen: Chosen) -> None:
    """Print a line per series, and what was passed over."""
    from napari_uncseg.cli.console import note, print_table

    rows = []
    for verdict in chosen.verdicts:
        each = verdict.series
        geometry = each.problem is None or each.missing > 0
        size = "×".join(map(str, each.shape))
        spacing = "×".join(f"{side:.3g}" for side in each.spacing) if geometry else "–"
        missing = str(each.missing or "–")
        rows.append([each.label, verdict.role or "none", size, spacing, missing, each.description, verdict.why])
    print_table(["series", "role", "size", "spacing, mm", "missing", "name", "why"], rows, words=(1, 5, 6))
    for verdict in chosen.verdicts:
        for sentence in verdict.series.notes if verdict.role else ():
            note(f"note: series {verdict.series.label}: {sentence}")
    if examination.damaged:
        some = ", ".join(file.name for file in examination.damaged[:3])
        note(f"note: {len(examination.damaged)} DICOM file(s) cannot be read and were passed over: {some}.")
