"""What is on the screen of a comparison, or in a printed figure, at one moment, and the caption that says so.

Nothing here draws: a :class:`Pane` names one image and what lies on it, a :class:`Cut` where all panes are cut, and a
:class:`ComparisonState` holds both with all settings of the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from napari_uncseg.compare.data import ComparisonData, MapOverlay, Overlay, Point, Window
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.maps import Measure
from napari_uncseg.viewer.colormaps import TRANSPARENT_BELOW
from napari_uncseg.viewer.orientation import PLANES, slice_number

RIM = 1.08
"""Size of a picture as a multiple of the brain it is fitted to."""

COMMON_COLOURS = Measure.UNC_OUTPUT
"""Colours of all maps on a common scale."""


@dataclass(frozen=True)
class Pane:
    """What one pane shows.

    Parameters
    ----------
    image : str
        A modality, or "" for none.
    overlay : str
        Key of an overlay, or "" for none.
    missing : str
        Why the overlay is not there and how to get it, a sentence or two; shown instead of pictures.
    note : str
        What else is not there, a sentence or two; shown on the picture.
    plane : str
        Plane of its own, a key of :data:`napari_uncseg.viewer.orientation.PLANES`; "" for that of all panes.
    """

    image: str
    overlay: str = ""
    missing: str = ""
    note: str = ""
    plane: str = ""


@dataclass(frozen=True)
class Cut:
    """Where all panes are cut and how they are framed.

    Parameters
    ----------
    plane : str
        A key of :data:`napari_uncseg.viewer.orientation.PLANES`.
    point : tuple of float
        Where the crosshair stands, mm along I, P and L from each pane's own origin.
    shift : tuple of float
        How far the middle of the picture lies from the middle of the brain, mm along I, P and L.
    zoom : float
        1 when the whole brain just fits the pane.
    """

    plane: str = "axial"
    point: Point = (0.0, 0.0, 0.0)
    shift: Point = (0.0, 0.0, 0.0)
    zoom: float = 1.0


@dataclass(frozen=True, eq=False)
class PaneView:
    """One pane of a comparison.

    Parameters
    ----------
    pane : Pane
        What it shows.
    data : ComparisonData, optional
        From what; None for an empty place.
    origin : tuple of float
        World millimetres (I, P, L) that the points count from; zero when all panes show one study.
    heading : str
        Words in front of the title: which patient.
    """

    pane: Pane
    data: ComparisonData | None
    origin: Point = (0.0, 0.0, 0.0)
    heading: str = ""

    @property
    def overlay(self) -> Overlay | None:
        """What lies on the image, if it is there."""
        return None if self.data is None else self.data.overlays.get(self.pane.overlay)

    @property
    def title(self) -> str:
        """Title of the pane for a reader."""
        if self.data is None:
            return self.heading
        on_top = self.overlay.title if self.overlay is not None else self.pane.overlay
        own = " + ".join(filter(None, (MODALITY_TITLES.get(self.pane.image, ""), on_top))) or "Nothing"
        return f"{self.heading} · {own}" if self.heading else own

    def place(self, cut: Cut) -> Point:
        """The crosshair in the world of this pane's study, mm."""
        return tuple(start + step for start, step in zip(self.origin, cut.point, strict=True))

    def plane(self, cut: Cut) -> str:
        """Plane it is cut in."""
        return self.pane.plane or cut.plane

    def axes(self, cut: Cut) -> tuple[int, int, int]:
        """Axis scrolled through, axis that runs down, axis that runs to the right."""
        return PLANES[self.plane(cut)]

    def slice_index(self, cut: Cut) -> int:
        """Slice on show."""
        assert self.data is not None
        axis = self.axes(cut)[0]
        return self.data.index(axis, self.place(cut)[axis])


@dataclass(frozen=True, eq=False)
class ComparisonState:
    """All that is on show.

    Parameters
    ----------
    views : tuple of PaneView
        Row by row.
    cut : Cut
        Where and how.
    windows : mapping of str to (float, float)
        By modality, where black and white lie in the data's own window, (0, 1) being that window itself: patients'
        intensities have no common unit, so each keeps its own.
    thresholds : mapping of str to float
        Lowest value of a map, by key, that is drawn; where nothing was set,
        :data:`~napari_uncseg.viewer.colormaps.TRANSPARENT_BELOW` of its range.
    common_scale : bool
        Whether all maps share one range of colours.
    outline : bool
        Whether the contours of the segmentation lie on images and maps.
    reference : bool
        Whether the contours of the reference lie on them.
    crosshair : bool
        Whether the crosshair is drawn.
    overlays : bool
        Whether overlays are drawn at all.
    columns : int
        Panes of a row.
    opacity : float
        Of maps, 0 to 1.
    ruler : tuple of tuple of float, optional
        Where the ruler begins and ends, as :attr:`Cut.point`.
    """

    views: tuple[PaneView, ...] = ()
    cut: Cut = field(default_factory=Cut)
    windows: Mapping[str, Window] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    common_scale: bool = False
    outline: bool = True
    reference: bool = False
    crosshair: bool = True
    overlays: bool = True
    columns: int = 3
    opacity: float = 0.85
    ruler: tuple[Point, Point] | None = None

    @property
    def rows(self) -> int:
        """Rows of panes."""
        return max(1, -(-len(self.views) // self.columns))

    def window_of(self, view: PaneView) -> Window:
        """Window of a pane's image."""
        assert view.data is not None
        low, high = view.data.windows.get(view.pane.image, (0.0, 1.0))
        black, white = self.windows.get(view.pane.image, (0.0, 1.0))
        return low + black * (high - low), low + white * (high - low)

    def range_of(self, overlay: MapOverlay) -> float:
        """Value that the last colour stands for."""
        if not self.common_scale:
            return overlay.upper
        others = (view.overlay for view in self.views)
        return max((other.upper for other in others if isinstance(other, MapOverlay)), default=overlay.upper)

    def edge_of(self, view: PaneView, overlay: MapOverlay) -> float:
        """Fraction of the range on show below which a pane's map is transparent, 0 to 1."""
        lowest = self.thresholds.get(view.pane.overlay, overlay.upper * TRANSPARENT_BELOW)
        return min(max(lowest / self.range_of(overlay), 0.0), 1.0)

    def colours_of(self, overlay: MapOverlay) -> str:
        """Name of a map's colours: on a common scale, one colour stands for one value in all maps."""
        return COMMON_COLOURS if self.common_scale else overlay.colours

    def extent(self) -> tuple[float, float]:
        """Height and width in mm that every pane must be able to show at zoom 1: the brain and a rim."""
        known = [(view.axes(self.cut)[1:], view.data.ends) for view in self.views if view.data is not None]
        sizes = [[ends[axis][1] - ends[axis][0] for axis in axes] for axes, ends in known]
        tall, wide = (RIM * max(size) for size in zip(*(sizes or [[1.0, 1.0]]), strict=True))
        return tall, wide

    def at(self, **changes: Any) -> ComparisonState:
        """The same with another :class:`Cut`; `changes` are fields of it."""
        return replace(self, cut=replace(self.cut, **changes))

    def scrolled(self, steps: int, alone: int | None = None, within: int | None = None) -> ComparisonState:
        """The state some slices further, never beyond the volume.

        Parameters
        ----------
        steps : int
            Slices of the first study, towards inferior, posterior or left.
        alone : int, optional
            Number of the one pane to scroll; all of them if not given.
        within : int, optional
            Number of the pane in whose plane all are scrolled; the first one if not given.

        Returns
        -------
        ComparisonState
        """
        number = alone if alone is not None else within
        view = self.views[number] if number is not None else self._first()
        if view is None or view.data is None:
            return self
        axis, point = view.axes(self.cut)[0], self.cut.point
        world = view.data.world(axis, view.data.clipped(axis, view.slice_index(self.cut) + steps))
        if alone is None:
            return self.at(point=_with(point, axis, world - view.origin[axis]))
        moved = replace(view, origin=_with(view.origin, axis, world - point[axis]))
        return replace(self, views=tuple(moved if one is view else one for one in self.views))

    def pointed(self, view: PaneView, place: Point) -> ComparisonState:
        """The state with its crosshair at a place of that pane's world, as far as it lies in the cut plane."""
        assert view.data is not None
        point = self.cut.point
        for axis in view.axes(self.cut)[1:]:
            inside = view.data.world(axis, view.data.index(axis, place[axis]))
            point = _with(point, axis, inside - view.origin[axis])
        return self.at(point=point)

    def centred(self) -> ComparisonState:
        """The state with the crosshair in the middle of its pictures, as far as they are zoomed in at all."""
        view = self._first()
        if view is None or view.data is None or self.cut.zoom <= 1:
            return self.at(shift=(0.0, 0.0, 0.0))
        ends = zip(view.place(self.cut), view.data.middle, strict=True)
        return self.at(shift=tuple(place - middle for place, middle in ends))

    def windowed(self, modality: str, brighter: float, wider: float) -> ComparisonState:
        """The state with another window of a modality, in every pane that shows it.

        Parameters
        ----------
        modality : str
            Whose window.
        brighter, wider : float
            Change of level (down) and of width, as fractions of the data's own window.

        Returns
        -------
        ComparisonState
        """
        low, high = self.windows.get(modality, (0.0, 1.0))
        level, half = (low + high) / 2 - brighter, max(high - low + wider, 0.02) / 2
        return replace(self, windows={**self.windows, modality: (level - half, level + half)})

    def _first(self) -> PaneView | None:
        """The first pane that shows a study."""
        return next((one for one in self.views if one.data is not None), None)


def _with(point: Point, axis: int, value: float) -> Point:
    return (*point[:axis], value, *point[axis + 1 :])


def caption(state: ComparisonState) -> str:
    """Caption of what is on show: studies, plane, slices, windows, ranges of maps, and how results were made.

    Parameters
    ----------
    state : ComparisonState
        What is on show.

    Returns
    -------
    str
        Sentences, without line breaks.
    """
    shown = [view for view in state.views if view.data is not None and not view.pane.missing]
    several = len({view.data.study_id for view in shown if view.data is not None}) > 1
    places, windows, ranges, notes = (dict[str, None]() for _ in range(4))
    for view in shown:
        data = view.data
        assert data is not None
        axis = view.axes(state.cut)[0]
        of = data.shape[axis]
        own = f"{view.pane.plane} " if view.pane.plane else ""
        places[f"{data.study_id}, {own}slice {slice_number(axis, view.slice_index(state.cut), of)} of {of}"] = None
        notes |= dict.fromkeys(data.notes)
        if view.pane.image in data.images:
            low, high = map(_number, state.window_of(view))
            whose = f"{data.study_id} " if several else ""
            windows[f"{whose}{MODALITY_TITLES.get(view.pane.image, view.pane.image)} {low} to {high}"] = None
        if isinstance(view.overlay, MapOverlay) and state.overlays:
            ranges[_range(state, view, view.overlay)] = None
    one = not any(view.pane.plane for view in shown)
    planes = f"{state.cut.plane.capitalize()} plane" if one else "Three planes"
    scale = "one common scale" if state.common_scale else "each map on its own scale"
    lines = (
        "the predicted segmentation (WT green, TC orange, ET yellow)" if state.outline else "",
        "the reference (white, dashed)" if state.reference else "",
    )
    sentences = (
        f"{planes}: {'; '.join(places) or 'nothing'}.",
        f"Windows: {'; '.join(windows)}." if windows else "",
        f"Maps ({scale}, transparent below the first number): {'; '.join(ranges)}." if ranges else "",
        f"Lines: contours of {' and '.join(filter(None, lines))}." if any(lines) and state.overlays else "",
        f"Results: {'; '.join(notes)}." if notes else "",
        f"Radiological view. {RESEARCH_USE_ONLY}",
    )
    return " ".join(filter(None, sentences))


def _range(state: ComparisonState, view: PaneView, overlay: MapOverlay) -> str:
    upper = state.range_of(overlay)
    unit = f" ({overlay.unit})" if overlay.unit else ""
    return f"{overlay.title} {state.edge_of(view, overlay) * upper:.3g} to {upper:.3g}{unit}"


def _number(value: float) -> str:
    """An intensity without an exponent, thousands set apart."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.4g}"
