"""Reliability per region over the number of voxels in each bin, drawn in the colours of the window.

Importing this module loads matplotlib: a panel does so when it has something to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSizePolicy

from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.metrics.calibration import Reliability
from napari_uncseg.reporting.plot_style import REGION_COLOURS
from napari_uncseg.reporting.plots import draw_reliability

Curves = Mapping[Region, Reliability | None]

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
            draw_regions(self.figure, self._curves, self.ink, wide=self._wide)
        self.draw_idle()


def draw_regions(figure: Figure, curves: Curves, ink: Ink, *, wide: bool) -> None:
    """Draw into an empty figure: a column per region, reliability over counts, or a row per region when narrow.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    curves : mapping of Region to Reliability or None
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
            curve = curves.get(region)
            ece = "no voxels" if curve is None else f"ECE {curve.expected_error:.3f}"
            upper.set_title(f"{region} · {REGION_TITLES[region]}\n{ece}")
            draw_reliability(upper, lower, region, curve, ink.of(region))
            lower.minorticks_off()
            if region is REGIONS[0] or not wide:
                upper.set_ylabel("share in the region")
                lower.set_ylabel("voxels")
            if region is REGIONS[-1] or wide:
                upper.set_xlabel("" if wide else "mean probability in bin")
                lower.set_xlabel("mean probability in the bin" if wide else "probability")


def _mixed(one: str, other: str, share: float) -> str:
    """A colour between two, with a share of the first."""
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(to_rgb(one), to_rgb(other), strict=True))
    return to_hex((red, green, blue))
