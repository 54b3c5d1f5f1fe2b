"""What a reader of a printed comparison must know to make it again."""

from __future__ import annotations

from napari_uncseg.compare.data import MapOverlay
from napari_uncseg.compare.layout import ComparisonState, PaneView
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import MODALITY_TITLES


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
    # Indices of the display, which count from the top, the front and the right.
    places, windows, ranges, notes = (dict[str, None]() for _ in range(4))
    for view in shown:
        data = view.data
        assert data is not None
        of = data.shape[state.cut.axes[0]]
        places[f"{data.study_id}, slice {view.slice_index(state.cut) + 1} of {of}"] = None
        notes |= dict.fromkeys(data.notes)
        if view.pane.image in data.images:
            low, high = map(_number, state.window_of(view))
            whose = f"{data.study_id} " if several else ""
            windows[f"{whose}{MODALITY_TITLES.get(view.pane.image, view.pane.image)} {low} to {high}"] = None
        if isinstance(view.overlay, MapOverlay) and state.overlays:
            ranges[_range(state, view, view.overlay)] = None
    scale = "one common scale" if state.common_scale else "each map on its own scale"
    contours = "Lines: contours of the predicted segmentation (NCR red, ED green, ET yellow)."
    sentences = (
        f"{state.cut.plane.capitalize()} plane: {'; '.join(places) or 'nothing'}.",
        f"Windows: {'; '.join(windows)}." if windows else "",
        f"Maps ({scale}, transparent below the first number): {'; '.join(ranges)}." if ranges else "",
        contours if state.outline and state.overlays else "",
        f"Results: {'; '.join(notes)}." if notes else "",
        f"Radiological view. {RESEARCH_USE_ONLY}",
    )
    return " ".join(filter(None, sentences))


def _range(state: ComparisonState, view: PaneView, overlay: MapOverlay) -> str:
    if overlay.two_valued:
        return f"{overlay.title} where {overlay.unit or 'there is one'}"
    upper = state.range_of(overlay)
    unit = f" ({overlay.unit})" if overlay.unit else ""
    return f"{overlay.title} {state.edge_of(view, overlay) * upper:.3g} to {upper:.3g}{unit}"


def _number(value: float) -> str:
    """An intensity without an exponent, thousands set apart."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.4g}"
