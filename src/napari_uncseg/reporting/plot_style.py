"""How figures look: colours, axes, legends, and their bytes.

Colours are those of Okabe and Ito, told apart by colour-blind readers; regions and maps keep theirs in every figure,
and lines differ in their dashes or markers too. matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_uncseg.arrays import Floats64
from napari_uncseg.labels import REGION_TITLES, REGIONS, Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


REGION_COLOURS: Mapping[Region, str] = {Region.WT: "#0072B2", Region.TC: "#D55E00", Region.ET: "#009E73"}
REGION_MARKERS: Mapping[Region, str] = {Region.WT: "o", Region.TC: "s", Region.ET: "^"}

_LINES: Mapping[str, tuple[str, str]] = {
    "error_risk": ("#009E73", "-"),
    "unc_output": ("#CC79A7", "-"),
    "entropy": ("#0072B2", "-"),
    "variance": ("#E69F00", "--"),
    "unc_output_unmasked": ("#CC79A7", ":"),
    "mutual_information": ("#D55E00", "--"),
}
_MORE = ("#56B4E9", "#999933", "#882255", "#44AA99", "#661100", "#117733")
_DASHES = ("-", "--", "-.", ":")
GREY = "#6b6b6b"

PIXELS_PER_INCH = 144

_MOMENT = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}
"""What matplotlib writes into a file and that would differ from one machine or moment to the next."""


def encode_figure(
    figure: Figure, kind: Literal["png", "svg", "pdf"], dpi: int = PIXELS_PER_INCH, **metadata: str
) -> bytes:
    """Bytes of a figure as ``png``, ``svg`` or ``pdf``, the same for the same figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Laid out when it is first encoded, and left so.
    kind : {'png', 'svg', 'pdf'}
    dpi : int
        Pixels per inch.
    **metadata : str
        Such as ``Title``.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=dpi, metadata={_MOMENT[kind]: None, **metadata})
        figure.set_layout_engine("none")
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """White paper, thin axes, and text that stays text in an SVG, whatever a user has set."""
    import matplotlib.style

    with matplotlib.style.context(Path(__file__).with_name("figures.mplstyle"), after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, that lays itself out and opens no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def panel_title(axis: Axes, region: Region, filled: bool) -> None:
    """Name the region above a panel, and say so when there is nothing in it."""
    axis.set_title(f"{region} – {REGION_TITLES[region]}", color=REGION_COLOURS[region], fontweight="bold")
    if not filled:
        axis.text(0.5, 0.5, "nothing to show", transform=axis.transAxes, ha="center", va="center", color=GREY)


def spread(axis: Axes, x: Floats64, cases: Floats64, colour: str, *, singles: bool = True) -> None:
    """Single studies as thin lines while they are few, and the range of the middle 80 % as a band."""
    if singles and 0 < len(cases) <= 60:
        axis.plot(x, cases.T, color=colour, lw=0.5, alpha=0.25)
    enough = np.isfinite(cases).sum(axis=0) >= 3 if len(cases) else np.zeros(len(x), dtype=bool)
    enough &= np.isfinite(x)
    if enough.any():
        low, high = np.nanpercentile(cases[:, enough], (10, 90), axis=0)
        axis.fill_between(x[enough], low, high, color=colour, alpha=0.14, lw=0, label="middle 80 % of studies")


def look(name: str, names: Sequence[str] = ()) -> tuple[str, str]:
    """Colour and dash of a named map or aggregate, the same in every figure; ``names`` are all that need their own."""
    if name in _LINES:
        return _LINES[name]
    others = [other for other in names if other not in _LINES]
    place = others.index(name) if name in others else 0
    return _MORE[place % len(_MORE)], _DASHES[place % len(_DASHES)]


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels: each label once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        columns = min(len(handles), 5)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def region_panels(title: str, ylabel: str, draw: Callable[[Axes, Region], bool], **settings: Any) -> Figure:
    """A figure of one panel per region, with one legend.

    Parameters
    ----------
    title, ylabel : str
        Of the figure, and of all panels.
    draw : callable
        Draws a region into its panel; gives whether there was something to draw.
    **settings
        Of every panel, such as ``xlim`` and ``xlabel``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 4.1)
        axes = figure.subplots(1, len(REGIONS), squeeze=False, sharey=True)[0]
        for axis, region in zip(axes, REGIONS, strict=True):
            panel_title(axis, region, draw(axis, region))
        for axis in axes:  # the panels share an axis, so that the limits of one would cut the next
            axis.set(**settings)
        axes[0].set_ylabel(ylabel)
        legend_below(figure, axes)
        figure.suptitle(title)
        return figure
