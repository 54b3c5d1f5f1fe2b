"""What is on the screen of a comparison, or in a printed figure, at one moment.

Nothing here draws: a :class:`Pane` names one image and what lies on it, a :class:`Cut` where all panes are cut, and a
:class:`Sheet` holds both with all settings of the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from napari_uncseg.compare.data import MapOverlay, Material, Overlay, Point, Window
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.viewer.orientation import PLANES

COMMON_COLOURS = "unc_output"
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
    """

    image: str
    overlay: str = ""
    missing: str = ""
    note: str = ""

    def title(self, material: Material) -> str:
        """Title of the pane for a reader."""
        image = MODALITY_TITLES.get(self.image, "")
        overlay = material.overlays.get(self.overlay)
        parts = [part for part in (image, overlay.title if overlay is not None else self.overlay) if part]
        return " + ".join(parts) or "Nothing"


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
        How far the middle of the picture lies from the middle of the volume, mm down and to the right.
    zoom : float
        1 when the whole volume just fits the pane.
    """

    plane: str = "axial"
    point: Point = (0.0, 0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0

    @property
    def axes(self) -> tuple[int, int, int]:
        """Axis scrolled through, axis that runs down, axis that runs to the right."""
        return PLANES[self.plane]


@dataclass(frozen=True, eq=False)
class PaneView:
    """One pane of a sheet.

    Parameters
    ----------
    pane : Pane
        What it shows.
    material : Material, optional
        From what; None for an empty place.
    origin : tuple of float
        World millimetres (I, P, L) that the sheet's points count from; zero when all panes show one study.
    heading : str
        Words in front of the title: which patient.
    """

    pane: Pane
    material: Material | None
    origin: Point = (0.0, 0.0, 0.0)
    heading: str = ""

    @property
    def title(self) -> str:
        """Title of the pane for a reader."""
        if self.material is None:
            return self.heading
        own = self.pane.title(self.material)
        return f"{self.heading} · {own}" if self.heading else own

    def place(self, cut: Cut) -> Point:
        """The crosshair in the world of this pane's study, mm."""
        i, p, l = (start + step for start, step in zip(self.origin, cut.point, strict=True))  # noqa: E741
        return i, p, l

    def slice_index(self, cut: Cut) -> int:
        """Slice on show."""
        assert self.material is not None
        axis = cut.axes[0]
        return self.material.index(axis, self.place(cut)[axis])


@dataclass(frozen=True, eq=False)
class Sheet:
    """All that is on show.

    Parameters
    ----------
    views : tuple of PaneView
        Row by row.
    cut : Cut
        Where and how.
    windows : mapping of str to (float, float)
        By modality, where black and white lie in the material's own window, (0, 1) being that window itself: patients'
        intensities have no common unit, so each keeps its own.
    thresholds : mapping of str to float
        Lowest value of a map, by key, that is drawn; where nothing was set,
        :data:`~napari_uncseg.viewer.colormaps.TRANSPARENT_BELOW` of its range.
    common_scale : bool
        Whether all maps share one range of colours.
    outline : bool
        Whether the contour of the segmentation lies on images and maps.
    crosshair : bool
        Whether the crosshair is drawn.
    overlay : bool
        Whether overlays are drawn at all.
    columns : int
        Panes of a row.
    """

    views: tuple[PaneView, ...]
    cut: Cut
    windows: Mapping[str, Window] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    common_scale: bool = False
    outline: bool = True
    crosshair: bool = True
    overlay: bool = True
    columns: int = 3

    @property
    def rows(self) -> int:
        """Rows of panes."""
        return max(1, -(-len(self.views) // self.columns))

    def overlay_of(self, view: PaneView) -> Overlay | None:
        """What lies on a pane's image, if it is there."""
        return None if view.material is None else view.material.overlays.get(view.pane.overlay)

    def window_of(self, view: PaneView) -> Window:
        """Window of a pane's image."""
        assert view.material is not None
        own = view.material.windows.get(view.pane.image, (0.0, 1.0))
        relative = self.windows.get(view.pane.image)
        if relative is None:
            return own
        width = own[1] - own[0]
        return own[0] + relative[0] * width, own[0] + relative[1] * width

    def range_of(self, overlay: MapOverlay) -> float:
        """Value that the last colour stands for. Errors are or are not: they have no part in a common scale."""
        if not self.common_scale or overlay.two_valued:
            return overlay.upper
        others = (self.overlay_of(view) for view in self.views)
        shared = (other for other in others if isinstance(other, MapOverlay) and not other.two_valued)
        return max((other.upper for other in shared), default=overlay.upper)

    def colours_of(self, overlay: MapOverlay) -> str:
        """Name of a map's colours: on a common scale, one colour stands for one value in all maps."""
        return COMMON_COLOURS if self.common_scale and not overlay.two_valued else overlay.colours

    def extent(self) -> tuple[float, float]:
        """Height and width in mm that every pane must be able to show at zoom 1."""
        _, down, right = self.cut.axes
        known = [view.material for view in self.views if view.material is not None]
        if not known:
            return 1.0, 1.0
        return (
            max(material.shape[down] * material.grid.scale[down] for material in known),
            max(material.shape[right] * material.grid.scale[right] for material in known),
        )


def scrolled(sheet: Sheet, steps: int, alone: int | None = None) -> Sheet:
    """The sheet some slices further, never beyond the volume.

    Parameters
    ----------
    sheet : Sheet
        What is on show.
    steps : int
        Slices of the first study, towards inferior, posterior or left.
    alone : int, optional
        Number of the one pane to scroll; all of them if not given.

    Returns
    -------
    Sheet
    """
    view = sheet.views[alone] if alone is not None else next((one for one in sheet.views if one.material), None)
    if view is None or view.material is None:
        return sheet
    axis, material = sheet.cut.axes[0], view.material
    here = view.slice_index(sheet.cut)
    there = min(max(here + steps, 0), material.shape[axis] - 1)
    if alone is None:
        target = material.world(axis, there) - view.origin[axis]
        return replace(sheet, cut=replace(sheet.cut, point=_with(sheet.cut.point, axis, target)))
    target = material.world(axis, there) - sheet.cut.point[axis]
    moved = replace(view, origin=_with(view.origin, axis, target))
    return replace(sheet, views=tuple(moved if one is view else one for one in sheet.views))


def pointed(sheet: Sheet, view: PaneView, down_mm: float, right_mm: float) -> Sheet:
    """The sheet with its crosshair at a place of one pane's cut plane, in that pane's world millimetres."""
    assert view.material is not None
    _, down, right = sheet.cut.axes
    point = sheet.cut.point
    for axis, world in ((down, down_mm), (right, right_mm)):
        inside = view.material.world(axis, view.material.index(axis, world))
        point = _with(point, axis, inside - view.origin[axis])
    return replace(sheet, cut=replace(sheet.cut, point=point))


def centred(sheet: Sheet) -> Sheet:
    """The sheet with the crosshair in the middle of its pictures, as far as they are zoomed in at all."""
    view = next((one for one in sheet.views if one.material is not None), None)
    if view is None or view.material is None or sheet.cut.zoom <= 1:
        return replace(sheet, cut=replace(sheet.cut, shift=(0.0, 0.0)))
    _, down, right = sheet.cut.axes
    place, middle = view.place(sheet.cut), view.material.middle
    return replace(sheet, cut=replace(sheet.cut, shift=(place[down] - middle[down], place[right] - middle[right])))


def windowed(sheet: Sheet, modality: str, brighter: float, wider: float) -> Sheet:
    """The sheet with another window of a modality, in every pane that shows it.

    Parameters
    ----------
    sheet : Sheet
        What is on show.
    modality : str
        Whose window.
    brighter, wider : float
        Change of level (down) and of width, as fractions of the material's own window.

    Returns
    -------
    Sheet
    """
    low, high = sheet.windows.get(modality, (0.0, 1.0))
    level = (low + high) / 2 - brighter
    width = max(high - low + wider, 0.02)
    return replace(sheet, windows={**sheet.windows, modality: (level - width / 2, level + width / 2)})


def values_at(material: Material, point: Point) -> dict[str, str]:
    """Values of every segmentation, map and image at a place, by title.

    Parameters
    ----------
    material : Material
        Where to look.
    point : tuple of float
        World millimetres (I, P, L).

    Returns
    -------
    dict of str to str
        Empty outside the volume.
    """
    place = tuple(
        round((world - start) / size)
        for world, start, size in zip(point, material.grid.translate, material.grid.scale, strict=True)
    )
    if any(not 0 <= index < size for index, size in zip(place, material.shape, strict=True)):
        return {}
    values: dict[str, str] = {}
    for overlay in material.overlays.values():
        if isinstance(overlay, MapOverlay):
            values[overlay.title] = f"{float(overlay.array[place]):.3f}"
        elif overlay.before is None:
            label = int(overlay.array[place])
            values[overlay.title] = overlay.names.get(label, "–" if label == 0 else str(label))
    values |= {MODALITY_TITLES[name]: f"{float(array[place]):.0f}" for name, array in material.images.items()}
    return values


def _with(point: Point, axis: int, value: float) -> Point:
    i, p, l = (value if number == axis else old for number, old in enumerate(point))  # noqa: E741 - the axes' names
    return i, p, l
