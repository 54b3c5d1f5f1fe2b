"""Figures from made-up curves: they draw, also with nothing in them, and give the same bytes again."""

from __future__ import annotations

import numpy as np
import pytest

from napari_uncseg.labels import Region
from napari_uncseg.reporting import plots as figures
from napari_uncseg.reporting.plot_style import REGION_COLOURS, encode_figure, map_colour

X = np.linspace(0, 1, 11)
NONE = np.empty((0, 0))


def reliability() -> figures.ReliabilityCurve:
    p = np.linspace(0.03, 0.97, 15)
    count = np.arange(15)[::-1].astype(np.int64)
    cases = np.clip(p + np.array([[-0.1], [0.0], [0.1], [0.2]]), 0, 1)
    cases[0, 3] = np.nan
    return figures.ReliabilityCurve(np.where(count, p, np.nan), np.where(count, p**2, np.nan), count, cases, 0.08)


def lines(*names: str) -> dict[str, figures.Line]:
    cases = np.stack([X ** (power / 3) for power in range(1, 5)])
    return {name: figures.Line(X, X ** (1 / (number + 2)), cases) for number, name in enumerate(names)}


FULL = {
    "reliability": lambda: figures.reliability_figure(dict.fromkeys(Region, reliability()), "title"),
    "risk-coverage": lambda: figures.risk_coverage_figure(
        {Region.WT: {"mean_brain": figures.Line(X, X, NONE), "top_patch": figures.Line(X, X**2, NONE)}},
        {Region.WT: figures.Line(X, X**3, NONE)},
        {Region.WT: 0.3},
        "title",
    ),
    "errors-caught": lambda: figures.errors_caught_figure(
        {Region.WT: lines("unc_output", "entropy"), Region.ET: lines("entropy", "mine")},
        {Region.WT: 0.1, Region.ET: 0.0},
        "title",
    ),
    "qubrats": lambda: figures.qubrats_figure({Region.TC: lines("dice", "ftp", "ftn")}, "title"),
    "stratified": lambda: figures.stratified_figure(
        {Region.WT: figures.Strata(np.array([0.9, 0.8]), np.empty(0), "one half is empty")}, "title"
    ),
    "triage": lambda: figures.triage_figure({Region.ET: (X, X)}, "title", "score"),
}
EMPTY = {
    "reliability": lambda: figures.reliability_figure({}, "title"),
    "risk-coverage": lambda: figures.risk_coverage_figure({}, {}, {}, "title"),
    "errors-caught": lambda: figures.errors_caught_figure({}, {}, "title"),
    "qubrats": lambda: figures.qubrats_figure({}, "title"),
    "stratified": lambda: figures.stratified_figure({}, "title"),
    "triage": lambda: figures.triage_figure({}, "title", "score"),
}


@pytest.mark.parametrize("name", FULL)
def test_a_figure_is_drawn_for_all_regions(name):
    figure = FULL[name]()
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title[:2] for title in titles] == ["WT", "TC", "ET"]
    png = encode_figure(figure, "png")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 10_000


@pytest.mark.parametrize("name", EMPTY)
def test_a_figure_without_data_says_so(name):
    figure = EMPTY[name]()
    assert sum(text.get_text() == "nothing to show" for axis in figure.axes for text in axis.texts) == 3
    assert encode_figure(figure, "png").startswith(b"\x89PNG")


def test_svg_keeps_its_text_and_tells_no_date():
    figure = FULL["triage"]()
    first = encode_figure(figure, "svg")
    assert encode_figure(figure, "svg") == first, "once laid out, a figure stays as it is"
    assert encode_figure(FULL["triage"](), "svg") == first
    assert "enhancing tumour" in first.decode()
    assert b"<dc:date>" not in first


def test_counts_of_a_reliability_diagram_are_on_a_log_axis():
    figure = FULL["reliability"]()
    assert [axis.get_yscale() for axis in figure.axes] == ["linear"] * 3 + ["log"] * 3


def test_colours_are_fixed_and_differ():
    assert len(set(REGION_COLOURS.values())) == len(Region)
    names = ["entropy", "variance", "unc_output", "mine", "yours"]
    assert len({map_colour(name, names) for name in names}) == len(names)
    assert map_colour("entropy", ["entropy"]) == map_colour("entropy", names)
