"""Figures of made-up cases: they draw, say where there is nothing, and give the same bytes again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.reporting.conftest import cohort_of, forecast

from napari_uncseg.evaluation import Case
from napari_uncseg.evaluation.summary import Summary, summarise
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import Reliability
from napari_uncseg.reporting import plots
from napari_uncseg.reporting.plot_style import REGION_COLOURS, encode_figure, look, region_panels


def summary_of(cases: tuple[Case, ...]) -> Summary:
    return summarise(cohort_of(cases), bound=0.8)


@pytest.fixture(scope="module")
def summary(cases: tuple[Case, ...]) -> Summary:
    return summary_of(tuple(map(forecast, cases)))


def test_every_figure_is_drawn_for_all_regions(summary):
    figures = plots.illustrate(summary)
    assert list(figures) == ["reliability", "errors-caught", "qubrats", "expected-dice", "risk-coverage"]
    for figure in figures.values():
        titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
        assert [title[:2] for title in titles] == ["WT", "TC", "ET"]
        png = encode_figure(figure, "png")
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000


def test_of_plain_segmentations_the_volume_alone_orders_studies(cases):
    plain = tuple(replace(case, probabilities=None, maps={}) for case in cases)
    assert list(plots.illustrate(summary_of(plain))) == ["risk-coverage"]
    assert plots.illustrate(summary_of(plain[:1])) == {}


@pytest.mark.parametrize(
    "draw", [lambda: plots.reliability_figure({}, "title"), lambda: region_panels("title", "y", lambda *_: False)]
)
def test_a_panel_without_data_says_so(draw):
    figure = draw()
    assert sum(text.get_text() == "nothing to show" for axis in figure.axes for text in axis.texts) == 3
    assert encode_figure(figure, "png").startswith(b"\x89PNG")


def test_svg_keeps_its_text_and_tells_no_date(summary):
    figure = plots.expected_dice(summary)
    assert figure is not None
    first = encode_figure(figure, "svg")
    assert encode_figure(figure, "svg") == first, "once laid out, a figure stays as it is"
    assert encode_figure(plots.expected_dice(summary), "svg") == first
    assert "enhancing tumour" in first.decode()
    assert b"<dc:date>" not in first


def test_counts_of_a_reliability_diagram_are_on_a_log_axis():
    p, count = np.linspace(0.03, 0.97, 15), np.arange(15)[::-1].astype(np.int64)
    curve = Reliability(np.linspace(0, 1, 16), p, p**2, count)
    figure = plots.reliability_figure(dict.fromkeys(REGIONS, curve), "title")
    assert [axis.get_yscale() for axis in figure.axes] == ["linear"] * 3 + ["log"] * 3


def test_colours_are_fixed_and_differ():
    assert len(set(REGION_COLOURS.values())) == len(Region)
    names = ["entropy", "variance", "unc_output", "mine", "yours"]
    assert len({look(name, names)[0] for name in names}) == len(names)
    assert look("entropy", ["entropy"]) == look("entropy", names)
