"""The report of a cohort: one HTML file that leads with the answer, and the tables and figures beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_uncseg import __version__
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.evaluation import csv_text
from napari_uncseg.evaluation.sanity_checks import studies_in_words
from napari_uncseg.evaluation.summary import SCHEMA, Summary, summary_json
from napari_uncseg.io.files import write_files
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.reporting import evaluation_words as words
from napari_uncseg.reporting.evaluation_plots import Illustration, illustrate
from napari_uncseg.reporting.glossary import meanings_of
from napari_uncseg.reporting.grid import Grid
from napari_uncseg.reporting.html import fill_template
from napari_uncseg.reporting.plot_style import encode_figure
from napari_uncseg.reporting.tables import (
    answer,
    error_maps,
    estimate_grids,
    failure_grid,
    ranking_grid,
    strata_grid,
    study_grid,
)

CSV, JSON, HTML, FIGURES = "metrics.csv", "summary.json", "report.html", "figures"

_FIRST = 10


@dataclass(frozen=True)
class Section:
    """A table with its words."""

    title: str
    grid: Grid
    text: str = ""


@dataclass(frozen=True)
class Making:
    """How an evaluation came about.

    Parameters
    ----------
    command : str
        What makes it again.
    versions : mapping of str to str
        Package -> version.
    settings : mapping
        Plain JSON values.
    folders : mapping of str to str
        What was read from where.
    """

    command: str
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "command": self.command,
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "folders": dict(self.folders),
        }


def check_free(out: Path, studies: Collection[str], *, overwrite: bool) -> None:
    """Make sure that what would be replaced in an output folder is an evaluation of ours, and of these studies.

    Parameters
    ----------
    out : Path
        Output folder.
    studies : collection of str
        Ids of the studies that are to be evaluated.
    overwrite : bool
        Replace whatever is there.

    Raises
    ------
    EvaluationError
        When files of other origin carry our names, or the report there is of studies that these do not include, and
        ``overwrite`` is off.
    """
    there = [name for name in (CSV, JSON, HTML) if (out / name).exists()]
    if not there or overwrite:
        return
    try:
        content = json.loads((out / JSON).read_text(encoding="utf-8"))
        ours = isinstance(content, dict) and content.get("schema") == SCHEMA and "estimates" in content
        others = sorted(set(content["studies"]) - set(studies)) if ours else []
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        ours = False
    if not ours:
        raise EvaluationError(
            f"{out} holds a {there[0]} that is not of an evaluation of this version; choose another output folder, or "
            "--overwrite."
        )
    if others:
        raise EvaluationError(
            f"{out} holds an evaluation of other studies ({others[0]} is not among these); choose another output "
            "folder, or --overwrite."
        )


def write_report(summary: Summary, making: Making, out: Path) -> list[Path]:
    """Write ``metrics.csv``, ``summary.json``, ``figures/`` and, last, ``report.html``.

    Parameters
    ----------
    summary : Summary
    making : Making
    out : Path
        Output folder.

    Returns
    -------
    list of Path
        What was written, the report last.

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    illustrations = illustrate(summary)
    pictures = {each.name: encode_figure(each.figure, "png") for each in illustrations}
    figures = {out / FIGURES / f"{name}.png": data for name, data in pictures.items()}
    figures |= {out / FIGURES / f"{each.name}.svg": encode_figure(each.figure, "svg") for each in illustrations}
    if figures:
        write_files(figures)
    text = json.dumps(summary_json(summary, making.json()), indent=2) + "\n"
    files = {
        out / CSV: csv_text(summary.cohort.values).encode(),
        out / JSON: text.encode(),
        out / HTML: report_html(summary, making, illustrations, pictures).encode(),
    }
    write_files(files)
    return [*figures, *files]


def report_html(
    summary: Summary, making: Making, illustrations: Sequence[Illustration], pictures: Mapping[str, bytes]
) -> str:
    """The report as one HTML file that loads nothing.

    Parameters
    ----------
    summary : Summary
    making : Making
    illustrations : sequence of Illustration
        In the order in which they are shown.
    pictures : mapping of str to bytes
        Name of an illustration -> its PNG.

    Returns
    -------
    str
    """
    cohort = summary.cohort
    count = len(cohort.records)
    errors = sum(remark.severity == "error" for remark in summary.remarks)
    warnings = sum(remark.severity == "warning" for remark in summary.remarks)
    everyone = study_grid(summary)
    shown = min(_FIRST, len(everyone.rows))
    return fill_template(
        "napari_uncseg.evaluation",
        "report.html.j2",
        version=__version__,
        title=f"Evaluation of {studies_in_words(count)}",
        subtitle=words.subtitle(summary),
        research_use_only=RESEARCH_USE_ONLY,
        lead=words.lead(summary),
        grave=words.grave(errors, warnings),
        answer=answer(summary),
        maps=error_maps(summary),
        first_sentence=words.first_sentence(summary, shown, len(everyone.rows)),
        first=everyone.cut(shown),
        rest=everyone if len(everyone.rows) > shown else everyone.cut(0),
        failures=failure_grid(summary),
        figures=[
            {
                "name": each.name,
                "alt": each.alt,
                "caption": each.caption,
                "data": base64.b64encode(pictures[each.name]).decode(),
            }
            for each in illustrations
        ],
        sections=[section for section in _sections(summary) if section.grid.rows],
        folded=[section for section in _folded(summary) if section.grid.rows],
        remarks=summary.remarks,
        how=words.how(summary),
        making=_making_grid(making),
    )


def _sections(summary: Summary) -> list[Section]:
    in_sample = any(each.in_sample for each in summary.strata)
    source = "of these very studies (in-sample: it flatters)" if in_sample else "of the calibration studies"
    return [
        Section(
            "Sure and unsure studies",
            strata_grid(summary),
            "Studies with at least 1 mL of the region in the reference, split by the mean of the region's map in the "
            f"predicted whole tumour and 5 mm around it, at the median {source}. "
            "Shift and Cliff's δ: sure less unsure, positive where the sure studies are better; shift is "
            "the Hodges–Lehmann estimate with a 95 % bootstrap interval. p is that of a two-sided Mann–Whitney test, "
            "adjusted for all rows by Holm's method.",
        ),
        Section(
            "Scores that rank the studies",
            ranking_grid(summary, [summary.triage_map or ""]),
            "Over studies with at least 1 mL of the region in the reference. Risk is 1 − Dice. A good score has a low "
            "AURC (E-AURC: beyond the best possible order), a negative correlation with Dice, also with the predicted "
            "volume held fixed, and little correlation with the volume itself. Triage: AUROC for finding the studies "
            "of a Dice below 0.7 or 0.8, with their number.",
        ),
    ]


def _folded(summary: Summary) -> list[Section]:
    others = [each.map for each in summary.rankings if each.map != summary.triage_map]
    scores = Section("Scores of the other maps", ranking_grid(summary, others), "Columns as above.")
    names = meanings_of(each.mean.metric for each in summary.estimates)
    glossary = Section("What the names of the numbers mean", Grid.of(("metric", "meaning"), names, (0, 1)))
    return [scores, *(Section(title, grid) for title, grid in estimate_grids(summary)), glossary]


def _making_grid(making: Making) -> Grid:
    rows = [("command", making.command)]
    rows += [(name, place) for name, place in making.folders.items()]
    rows += [(name, json.dumps(value)) for name, value in making.settings.items() if value is not None]
    rows += [("versions", ", ".join(f"{name} {version}" for name, version in making.versions.items()))]
    return Grid.of(("", ""), [[name, text] for name, text in rows], words=(0, 1))
