"""The report of a study: one page as PDF, and the same as one HTML file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from napari_uncseg.errors import EvaluationError
from napari_uncseg.io.files import write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Region
from napari_uncseg.reporting.page import fill_template
from napari_uncseg.reporting.plot_style import style
from napari_uncseg.reporting.slices import COLUMNS
from napari_uncseg.reporting.study_report_page import PICTURE_INCHES, encode_cuts, page_figure
from napari_uncseg.reporting.study_report_words import CONTOURS, START, Material, Page, compose
from napari_uncseg.review.findings import Findings, find
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.uncertainty.prediction_maps import maps_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Material", "Page", "compose", "page_figure", "report_html", "write_study_report"]


def write_study_report(material: Material, folder: Path) -> list[Path]:
    """Write ``<id>_review.pdf`` and ``<id>_review.html``; earlier ones of that name are replaced.

    Parameters
    ----------
    material : Material
    folder : Path
        Folder of the study's result.

    Returns
    -------
    list of Path
        The PDF and the HTML file.

    Raises
    ------
    EvaluationError
        When study and result do not lie on one grid, or the result has no map.
    SaveError
        When the disk cannot take it.
    """
    study, prediction = material.study, material.prediction
    if not same_grid(study.shape, study.affine, prediction.segmentation.shape, prediction.affine):
        raise EvaluationError(f"The images of {study.id} do not lie on the grid of the result; open those it is of.")
    findings = material.findings if material.findings is not None else _default_findings(prediction, study)
    page = compose(material, findings)
    chosen = findings.items[:COLUMNS]
    stem = folder / f"{prediction.study_id}_review"
    pdf, html = stem.with_name(stem.name + ".pdf"), stem.with_name(stem.name + ".html")
    picture = encode_cuts(material, findings, chosen, PICTURE_INCHES) if chosen else None
    contents = {pdf: _pdf(page_figure(material, findings, page)), html: report_html(page, picture).encode()}
    write_files(contents)
    return [pdf, html]


def report_html(page: Page, picture: bytes | None) -> str:
    """The report as one HTML file that loads nothing.

    Parameters
    ----------
    page : Page
    picture : bytes, optional
        PNG of the cuts.

    Returns
    -------
    str
    """
    return fill_template("study.html.j2", page=page, contours=CONTOURS, picture=picture)


def _default_findings(prediction: Prediction, study: Study) -> Findings:
    keys = maps_of(prediction, Region.WT)
    if not keys:
        raise EvaluationError(f"The result of {prediction.study_id} holds no map; predict the study again.")
    watershed = build_watershed(prediction, keys[0], study.brain)
    return find(watershed, START * watershed.upper)


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="pdf", dpi=200, metadata={"CreationDate": None, "Title": "Review of a study"})
    return buffer.getvalue()
