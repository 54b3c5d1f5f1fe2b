"""Reliability per region over the number of voxels in each bin, drawn in the colours of the window.

Importing this module loads matplotlib: a panel does so when it has something to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSizePolicy

from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.reporting.plot_style import REGION_COLOURS, REGION_MARKERS
from napari_uncseg.reporting.plots import ReliabilityCurve

Curves = Mapping[Region, ReliabilityCurve | None]

SIDE_BY_SIDE = 460
"""Narrower than this, in pixels, the regions stand one below the other."""


@dataclass(frozen=True)
class Ink:
    """Colours that are not those of the regions.

    Parameters
    ----------
    paper, text : str
        Background and foreground.
    dark : bool
        Whether the background is dark, where the regions' colours are lightened to be seen.
    """

    paper: str
    text: str
    dark: bool

    def of(self, region: Region) -> str:
        """Colour of a region on this paper."""
        colour = REGION_COLOURS[region]
        return _mixed("#ffffff", colour, 0.35) if self.dark else colour

    def rc(self) -> Any:
        """Settings of matplotlib."""
        text = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), self.text)
        paper = dict.fromkeys(("figure.facecolor", "axes.facecolor"), self.paper)
        sizes = {"axes.labelsize": 8, "axes.titlesize": 8.5, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}
        lines: dict[str, Any] = {"axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.7}
        lines |= {"grid.color": _mixed(self.text, self.paper, 0.15), "axes.edgecolor": self.faint}
        return text | paper | sizes | lines | {"axes.spines.top": False, "axes.spines.right": False}

    @property
    def faint(self) -> str:
        """Words and lines that come second."""
        return _mixed(self.text, self.paper, 0.65)


class ReliabilityPlot(FigureCanvasQTAgg):
    """The plot in a panel; it takes the width it gets, and a height that goes with it."""

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))
        self.ink: Ink | None = None
        """Colours in use."""
        self._curves: Curves = {}
        self._wide = False
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Reliability per region")
        self._fit()

    def present(self, curves: Curves, ink: Ink) -> None:
        """Draw the curves of the regions."""
        self._curves, self.ink = curves, ink
        self._draw_all()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put the regions side by side or one below the other, as the width allows."""
        super().resizeEvent(event)
        # Last, because a new limit may resize the canvas on the spot.
        if event is not None and event.size().width() != event.oldSize().width():
            self._fit()

    def _fit(self) -> None:
        before, self._wide = self._wide, self.width() >= SIDE_BY_SIDE
        least = 250 if self._wide else 600
        self.setMinimumHeight(least)
        # Axes that are much higher than wide distort the distance from the diagonal.
        self.setMaximumHeight(max(least, round((0.62 if self._wide else 2.0) * self.width())))
        if self._wide != before:
            self._draw_all()

    def _draw_all(self) -> None:
        self.figure.clear()
        if self.ink is not None:
            draw_reliability(self.figure, self._curves, self.ink, wide=self._wide)
        self.draw_idle()


def draw_reliability(figure: Figure, curves: Curves, ink: Ink, *, wide: bool) -> None:
    """Draw into an empty figure: a column per region, reliability over counts, or a row per region when narrow.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    curves : mapping of Region to ReliabilityCurve or None
        None leaves the region's axes empty and says so.
    ink : Ink
    wide : bool
    """
    figure.set_facecolor(ink.paper)
    with rc_context(ink.rc()):
        if wide:
            rows = figure.subplots(2, len(REGIONS), sharex=True, sharey="row", gridspec_kw={"height_ratios": (3, 1)})
            pairs = list(zip(*rows, strict=True))
        else:
            pairs = list(figure.subplots(len(REGIONS), 2, sharex=True, sharey="col"))
        for region, (upper, lower) in zip(REGIONS, pairs, strict=True):
            _draw_region(upper, lower, region, curves.get(region), ink)
            upper.set(ylabel="share in the region", xlabel="" if wide else "mean probability in bin")
            lower.set(ylabel="voxels", xlabel="mean probability in the bin" if wide else "probability")
            upper.label_outer()
            lower.label_outer()


def _draw_region(upper: Axes, lower: Axes, region: Region, curve: ReliabilityCurve | None, ink: Ink) -> None:
    colour = ink.of(region)
    ece = "" if curve is None else f"\nECE {curve.ece:.3f}"
    upper.set_title(f"{region} · {REGION_TITLES[region]}{ece}")
    upper.plot((0, 1), (0, 1), color=ink.faint, lw=1, ls=":")
    upper.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    lower.set_yscale("log")
    if curve is None:
        upper.text(0.5, 0.5, "no voxels", transform=upper.transAxes, ha="center", va="center", color=ink.faint)
        return
    filled = curve.count > 0
    marks: dict[str, Any] = {"marker": REGION_MARKERS[region], "ms": 4, "lw": 1.6}
    upper.plot(curve.mean_p[filled], curve.mean_y[filled], color=colour, clip_on=False, **marks)
    edges = np.linspace(0, 1, len(curve.count) + 1)
    counts = np.where(filled, curve.count, np.nan)
    lower.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colour, ec=ink.paper, lw=0.5)
    lower.set_ylim(bottom=0.8)
    lower.minorticks_off()


def _mixed(one: str, other: str, share: float) -> str:
    """A colour between two, with a share of the first."""
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(to_rgb(one), to_rgb(other), strict=True))
    return to_hex((red, green, blue))
