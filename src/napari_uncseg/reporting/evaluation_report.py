"""The report of a cohort: one HTML file that leads with the answer, and the tables and figures beside it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_uncseg.errors import EvaluationError, ForeignFile
from napari_uncseg.evaluation.cache import STUDIES
from napari_uncseg.evaluation.evaluation import meanings_of
from napari_uncseg.evaluation.sanity_checks import studies_in_words
from napari_uncseg.evaluation.summary import RESAMPLES, SEED, Summary, summary_json
from napari_uncseg.evaluation.table import csv_text, select
from napari_uncseg.io.files import exists, write_files
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.labels import REGION_TITLES, REGIONS
from napari_uncseg.reporting.page import fill_template
from napari_uncseg.reporting.plot_style import REGION_COLOURS, encode_figure, look
from napari_uncseg.reporting.plots import illustrate
from napari_uncseg.reporting.tables import answer, forecast_grid, review_lines, study_grid

CSV, JSON, HTML, FIGURES = "metrics.csv", "summary.json", "report.html", "figures"


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

    def rows(self) -> list[tuple[str, str]]:
        """As names and values."""
        rows = [("command", self.command), *self.folders.items()]
        rows += [(name, json.dumps(value)) for name, value in self.settings.items() if value is not None]
        return [*rows, ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items()))]


class SummaryFile(JsonFormat):
    """What ``summary.json`` must hold to be one of ours."""

    what = "summary of an evaluation"
    error = EvaluationError

    studies: dict[str, Any]
    estimates: list[Any]


def check_free(out: Path, studies: Collection[str], *, overwrite: bool) -> None:
    """Make sure that what would be replaced in an output folder is an evaluation of ours, and of these studies.

    Parameters
    ----------
    out : Path
        Output folder.
    studies : collection of str
        Ids of the studies that are to be evaluated.
    overwrite : bool
        Replace an evaluation of other studies or of another version.

    Raises
    ------
    EvaluationError
        When the report there is of another version, or of studies that these do not include, and ``overwrite`` is off.
    ForeignFile
        When files of other origin carry our names; they are never replaced.
    """
    there = [name for name in (CSV, JSON, HTML) if exists(out / name, EvaluationError)]
    if not there:
        return
    SummaryFile.check_replaceable(out / JSON)
    if JSON not in there and not any((out / STUDIES).glob("*.json")):  # a run that was cut leaves these
        raise ForeignFile(f"{out / there[0]} is of no evaluation and is not replaced; move it away.")
    if overwrite:
        return
    try:
        others = sorted(set(SummaryFile.read(out / JSON).studies) - set(studies))
        problem = f"holds an evaluation of other studies, such as {others[0]}" if others else ""
    except EvaluationError:
        problem = f"holds a {there[0]} that is not of an evaluation of this version"
    if problem:
        raise EvaluationError(f"{out} {problem}; choose another output folder, or --overwrite.")


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
    drawn = illustrate(summary)
    pictures = {name: encode_figure(figure, "png") for name, figure in drawn.items()}
    figures = {out / FIGURES / f"{name}.png": data for name, data in pictures.items()}
    figures |= {out / FIGURES / f"{name}.svg": encode_figure(figure, "svg") for name, figure in drawn.items()}
    if figures:
        write_files(figures)
    # The JSON first: where a disk fails between two of them, it tells the next run that the rest is of these studies.
    files = {
        out / JSON: (json.dumps(summary_json(summary, asdict(making)), indent=2) + "\n").encode(),
        out / CSV: csv_text(summary.cohort.table).encode(),
        out / HTML: report_html(summary, making, pictures).encode(),
    }
    write_files(files)
    return [*figures, *files]


def report_html(summary: Summary, making: Making, pictures: Mapping[str, bytes]) -> str:
    """The report as one HTML file that loads nothing.

    Parameters
    ----------
    summary : Summary
    making : Making
    pictures : mapping of str to bytes
        Name of a figure -> its PNG, in the order in which they are shown.

    Returns
    -------
    str
    """
    models = [record.checks.get("model") for record in summary.cohort.records]
    ranked = select(summary.estimates, metric="auroc")[["region", "map"]].drop_duplicates()
    estimates = summary.estimates.assign(bins=summary.estimates["bins"].astype("string").fillna(""))
    return fill_template(
        "evaluation.html.j2",
        summary=summary,
        in_words=studies_in_words,
        models=sorted({str(each["name"]) for each in models if isinstance(each, Mapping) and each.get("name")}),
        answer=answer(summary),
        maps=sorted(ranked.to_numpy().tolist(), key=lambda each: REGIONS.index(each[0])),
        look=look,
        forecasts=forecast_grid(summary),
        review=review_lines(summary),
        rankings=summary.rankings.to_dict("records"),
        studies=study_grid(summary),
        pictures=pictures,
        titles=REGION_TITLES,
        colours=REGION_COLOURS,
        estimates={region: select(estimates, region=region).to_dict("records") for region in summary.regions},
        glossary=meanings_of(summary.estimates["metric"]),
        resamples=RESAMPLES,
        seed=SEED,
        making=making.rows(),
    )
