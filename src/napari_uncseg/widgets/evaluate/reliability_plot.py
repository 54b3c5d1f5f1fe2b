"""Reliability per region beside the number of voxels in each bin, drawn in the colours of the window.

Importing this module loads matplotlib: a panel does so when it has something to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from qtpy.QtWidgets import QSizePolicy

from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.metrics.calibration import Reliability
from napari_uncseg.reporting.plot_style import REGION_COLOURS, style
from napari_uncseg.reporting.plots import draw_reliability

_TEXT = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
_PAPER = ("figure.facecolor", "axes.facecolor")
_SIZES = {"axes.labelsize": 8, "axes.titlesize": 8.5, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}
LEAST_HEIGHT, MOST_HEIGHT = 600, 900
"""In pixels; axes that are much higher than wide distort the distance from the diagonal."""


class Ink(NamedTuple):
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


class ReliabilityPlot(FigureCanvasQTAgg):
    """The plot in a panel, a row per region; it takes the width it gets."""

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))
        self.ink: Ink | None = None
        """Colours in use."""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(LEAST_HEIGHT)
        self.setMaximumHeight(MOST_HEIGHT)
        self.setAccessibleName("Reliability per region")

    def present(self, curves: Mapping[Region, Reliability | None], ink: Ink) -> None:
        """Draw the curves of the regions; None leaves the region's axes empty and says so."""
        self.ink = ink
        rc: Any = {"grid.color": _mixed(ink.text, ink.paper, 0.15), **_SIZES}
        rc |= dict.fromkeys(_TEXT, ink.text) | dict.fromkeys(_PAPER, ink.paper)
        self.figure.clear()
        self.figure.set_facecolor(ink.paper)
        with style(), rc_context(rc):
            pairs = self.figure.subplots(len(REGIONS), 2, sharex=True, sharey="col")
            for region, (left, right) in zip(REGIONS, pairs, strict=True):
                curve = curves.get(region)
                ece = "no voxels" if curve is None else f"ECE {curve.expected_error:.3f}"
                left.set_title(f"{region} · {REGION_TITLES[region]}\n{ece}")
                colour = REGION_COLOURS[region]
                draw_reliability(left, right, region, curve, _mixed("#ffffff", colour, 0.35) if ink.dark else colour)
                right.minorticks_off()
                left.set_ylabel("share in the region")
                right.set_ylabel("voxels")
            pairs[-1][0].set_xlabel("mean probability in bin")
            pairs[-1][1].set_xlabel("probability")
        self.draw_idle()


def _mixed(one: str, other: str, share: float) -> str:
    """A colour between two, with a share of the first."""
    return to_hex(tuple(share * np.array(to_rgb(one)) + (1 - share) * np.array(to_rgb(other))))
