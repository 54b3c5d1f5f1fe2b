"""The report of a study: one page as PDF, lines, tables and cuts placed from the top down, and the same as HTML."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_uncseg.errors import EvaluationError
from napari_uncseg.io.files import write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Region
from napari_uncseg.reporting.page import Grid, fill_template
from napari_uncseg.reporting.plot_style import encode_figure, style
from napari_uncseg.reporting.slices import COLUMNS, draw_findings
from napari_uncseg.reporting.study_report_words import CONTOURS, Material, Page, compose
from napari_uncseg.review.findings import Finding, Findings, find
from napari_uncseg.review.threshold_sweep import START
from napari_uncseg.review.volumes import DIAMETERS_HOW, HOW
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.uncertainty.prediction_maps import maps_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Material", "Page", "compose", "page_figure", "report_html", "write_study_report"]

INK, SOFT, WARNING = "#1b1b1f", "#5c5f66", "#8a5a00"

PAGE_INCHES = (8.27, 11.69)
"""A4."""

TOP, LEFT = 0.97, 0.05
"""Where the first line begins, as fractions of the page."""

WIDTHS = {5: (0.27, 0.15, 0.15, 0.22, 0.15), 6: (0.26, 0.14, 0.14, 0.14, 0.18, 0.12)}
"""Shares of the width that the columns of the table of volumes have, by their number."""

LETTER_EM = 0.535
"""Width of a letter of DejaVu Sans on average, in its size."""

LEAST_PICTURE = 0.12
"""Least height of the cuts, as a fraction of the page."""

PICTURE_INCHES = (7.44, 3.95)
"""Width and largest height of the cuts."""

PIXELS_PER_INCH = 220


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
    encoded = encode_figure(page_figure(material, findings, page), "pdf", PIXELS_PER_INCH, Title="Review of a study")
    write_files({pdf: encoded, html: report_html(page, picture).encode()})
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
    texts = {"contours": CONTOURS, "volumes_how": HOW, "diameters_how": DIAMETERS_HOW}
    return fill_template("study.html.j2", page=page, picture=picture, **texts)


def page_figure(material: Material, findings: Findings, page: Page) -> Figure:
    """The page as a figure of A4 size."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    with style():
        figure = Figure(figsize=PAGE_INCHES)
        writer = _Writer(figure)
        writer.line(page.title, size=15, weight="bold")
        writer.line(page.subtitle, size=8.5, colour=SOFT)
        writer.line(RESEARCH_USE_ONLY, size=8.5, weight="bold", colour=WARNING)
        for sentence in page.verdicts:
            writer.line(sentence, size=8.5, most=3)
        writer.title("Volumes")
        writer.table(page.volumes, WIDTHS[len(page.volumes.head)])
        writer.line(HOW, size=7, colour=SOFT)
        writer.title("Diameters")
        writer.table(page.diameters, (0.27, 0.21, 0.21, 0.21)[: len(page.diameters.head)])
        writer.line(DIAMETERS_HOW, size=7, colour=SOFT)
        writer.title("Findings")
        writer.line(page.findings_lead, size=8)
        writer.table(page.findings, (0.04, 0.56, 0.06, 0.11, 0.07, 0.07, 0.09))
        chosen = findings.items[:COLUMNS]
        measure = _Writer(figure, measure=True)
        _write_foot(measure, page)
        below = 0.03 + TOP - measure.y  # where the end of the page begins
        height = min(writer.y - below - 0.04, PICTURE_INCHES[1] / PAGE_INCHES[1])
        if chosen and height < LEAST_PICTURE:
            writer.line("There is no room for pictures on this page; the HTML report has them.", size=8)
        elif chosen:
            cuts = encode_cuts(material, findings, chosen, (PICTURE_INCHES[0], PAGE_INCHES[1] * height))
            picture = imread(io.BytesIO(cuts))
            rows, columns = picture.shape[:2]
            shape = rows / columns * PAGE_INCHES[0] / PAGE_INCHES[1]
            axis = figure.add_axes((0.05, writer.y - shape * 0.9 - 0.005, 0.9, shape * 0.9))
            axis.imshow(picture, aspect="auto", interpolation="none")
            axis.set_axis_off()
            writer.y -= shape * 0.9 + 0.012
            writer.line(CONTOURS, size=7, colour=SOFT)
        writer.y = below
        _write_foot(writer, page)
    return figure


def _write_foot(writer: _Writer, page: Page) -> None:
    writer.title("Calibration")
    for row in page.calibration.rows:
        writer.line(f"{row[0].text}: {row[1].text}", size=7.5)
    writer.title("How it was made")
    for sentence in page.making:
        writer.line(sentence, size=7, most=3)
    writer.line(RESEARCH_USE_ONLY, size=7.5, weight="bold", colour=WARNING)


def encode_cuts(material: Material, findings: Findings, chosen: Sequence[Finding], size: tuple[float, float]) -> bytes:
    """PNG of the cuts through findings, of a size in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with style():
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01))
        draw_findings(figure, material.study, material.prediction, findings, chosen)
    return encode_figure(figure, "png", PIXELS_PER_INCH)


class _Writer:
    """Writes lines and tables down a page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    measure : bool
        Only move on, and write nothing.
    """

    def __init__(self, figure: Figure, *, measure: bool = False) -> None:
        self.figure = figure
        self.y = TOP
        self._measure = measure

    def title(self, text: str) -> None:
        """Title of a part."""
        self.y -= 0.006
        self.line(text, size=10.5, weight="bold")

    def line(self, text: str, size: float, weight: str = "normal", colour: str = INK, most: int | None = None) -> None:
        """A paragraph, broken into as many lines as it needs, or cut off after `most`."""
        # 7.4 inches of 72 points are there.
        width = int(7.4 * 72 / (LETTER_EM * size * (1.07 if weight == "bold" else 1.0)))
        for row in textwrap.wrap(text, width, max_lines=most, placeholder=" …") or [""]:
            self._put(LEFT, row, size, weight, colour)
            self.y -= 1.32 * size / 72 / PAGE_INCHES[1]
        self.y -= 0.002

    def table(self, grid: Grid, widths: Sequence[float], size: float = 8.0) -> None:
        """A table; columns are shares of the width."""
        rows = [("bold", grid.head), *(("normal", [cell.text for cell in row]) for row in grid.rows)]
        for weight, texts in rows:
            left = LEFT
            for column, (text, width) in enumerate(zip(texts, widths, strict=True)):
                left += 0.9 * width
                if column in grid.words or column == 0:
                    room = 0.9 * width * PAGE_INCHES[0] * 72 / LETTER_EM
                    self._put(left - 0.9 * width, text, min(size, room / max(len(text), 1)), weight, INK)
                else:
                    self._put(left - 0.01, text, size, weight, INK, "right")
            self.y -= 1.45 * size / 72 / PAGE_INCHES[1]
        self.y -= 0.004

    def _put(self, x: float, text: str, size: float, weight: str, colour: str, align: str = "left") -> None:
        if not self._measure:
            # A dollar sign would start a formula.
            font: dict[str, Any] = {"fontsize": size, "fontweight": weight, "color": colour, "parse_math": False}
            self.figure.text(x, self.y, text, ha=align, va="top", **font)


def _default_findings(prediction: Prediction, study: Study) -> Findings:
    keys = maps_of(prediction, Region.WT)
    if not keys:
        raise EvaluationError(f"The result of {prediction.study_id} holds no map; predict the study again.")
    watershed = build_watershed(prediction, keys[0], study.brain)
    return find(watershed, START * watershed.upper)
