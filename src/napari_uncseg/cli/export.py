"""``uncseg export``: a result goes back into an archive as DICOM."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from napari_uncseg.cli.console import print_lines
from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug
from napari_uncseg.io.files import check_writable, is_file, read_bytes, write_files
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY


@handle_errors
def export(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Folder of one study's result, or its JSON.")],
    dicom: Annotated[Path, typer.Option("--dicom", metavar="OUT", help="Folder that takes the DICOM objects.")],
    source: Annotated[Path, typer.Option("--source", metavar="FOLDER", help="The examination it was made from.")],
    debug: Debug = False,
) -> None:
    """Write a result as DICOM: a segmentation, parametric maps of the uncertainty, and the report if there is one.

    The objects carry the patient and the study of the source, which has to be named: a result does not say whose it is.
    UIDs are new at each call. Research use only.
    """
    from napari_uncseg.dicom.export import export_dicom, find_source
    from napari_uncseg.io.results import load_prediction, read_result

    check_writable(dicom)
    path = read_result(result).path
    prediction = load_prediction(path)
    report = path.with_name(f"{prediction.study_id}_review.pdf")
    objects = export_dicom(prediction, find_source(prediction, source), read_bytes(report) if is_file(report) else None)
    contents = {}
    for name, made in objects.items():
        buffer = io.BytesIO()
        made.save_as(buffer, enforce_file_format=True)
        contents[dicom / f"{prediction.study_id}_{name}"] = buffer.getvalue()
    write_files(contents)
    print_lines(*(str(written) for written in contents), RESEARCH_USE_ONLY)
