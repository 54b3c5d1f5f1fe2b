"""Figures of made-up cases: they draw, say where there is nothing, and give the same bytes again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg.evaluation import Case, evaluate
from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.cohort import Cohort
from napari_uncseg.evaluation.summary import Summary, summarise
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.reporting import plots
from napari_uncseg.reporting.plot_style import REGION_COLOURS, encode_figure, look, region_panels


def summary_of(cases: tuple[Case, ...]) -> Summary:
    records = tuple(Record(study=case.id, brain="images") for case in cases)
    return summarise(Cohort(evaluate(cases).metrics, records))


@pytest.fixture(scope="module")
def summary(cases: tuple[Case, ...]) -> Summary:
    return summary_of(cases)


def test_every_figure_is_drawn_for_all_regions(summary):
    figures = plots.illustrate(summary)
    assert list(figures) == ["reliability", "errors-caught", "qubrats", "risk-coverage", "stratified-dice", "triage"]
    for figure in figures.values():
        titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
        assert [title[:2] for title in titles] == ["WT", "TC", "ET"]
        png = encode_figure(figure, "png")
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000


def test_without_data_there_is_no_figure(cases):
    plain = tuple(replace(case, probabilities=None, maps={}) for case in cases)
    assert plots.illustrate(summary_of(plain)) == {}


@pytest.mark.parametrize(
    "draw", [lambda: plots.reliability_figure({}, "title"), lambda: region_panels("title", "y", lambda *_: False)]
)
def test_a_panel_without_data_says_so(draw):
    figure = draw()
    assert sum(text.get_text() == "nothing to show" for axis in figure.axes for text in axis.texts) == 3
    assert encode_figure(figure, "png").startswith(b"\x89PNG")


def test_an_empty_half_is_drawn_and_counted(summary):
    strata = [replace(each, below=each.below[:0]) for each in summary.strata]
    figure = plots.stratified_dice(replace(summary, strata=tuple(strata)))
    assert figure is not None
    assert figure.axes[0].get_xticklabels()[0].get_text() == "certain\n(n = 0)"
    assert encode_figure(figure, "png").startswith(b"\x89PNG")


def test_svg_keeps_its_text_and_tells_no_date(summary):
    figure = plots.triage(summary)
    assert figure is not None
    first = encode_figure(figure, "svg")
    assert encode_figure(figure, "svg") == first, "once laid out, a figure stays as it is"
    assert encode_figure(plots.triage(summary), "svg") == first
    assert "enhancing tumour" in first.decode()
    assert b"<dc:date>" not in first


def test_counts_of_a_reliability_diagram_are_on_a_log_axis():
    p, count = np.linspace(0.03, 0.97, 15), np.arange(15)[::-1].astype(np.int64)
    curve = plots.ReliabilityCurve(p, p**2, count, np.empty((0, 15)), 0.08)
    figure = plots.reliability_figure(dict.fromkeys(REGIONS, curve), "title")
    assert [axis.get_yscale() for axis in figure.axes] == ["linear"] * 3 + ["log"] * 3


def test_colours_are_fixed_and_differ():
    assert len(set(REGION_COLOURS.values())) == len(Region)
    names = ["entropy", "variance", "unc_output", "mine", "yours"]
    assert len({look(name, names)[0] for name in names}) == len(names)
    assert look("entropy", ["entropy"]) == look("entropy", names)
