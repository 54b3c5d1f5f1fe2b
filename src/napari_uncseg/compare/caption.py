"""What a reader of a printed comparison must know to make it again."""

from __future__ import annotations

from napari_uncseg.compare.data import MapOverlay
from napari_uncseg.compare.layout import PaneView, Sheet
from napari_uncseg.compare.pixels import edge_of
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import MODALITY_TITLES


def caption(sheet: Sheet) -> str:
    """Caption of what is on show: studies, plane, slices, windows, ranges of maps, and how results were made.

    Parameters
    ----------
    sheet : Sheet
        What is on show.

    Returns
    -------
    str
        Sentences, without line breaks.
    """
    shown = [view for view in sheet.views if view.material is not None and not view.pane.missing]
    sentences = [_where(sheet, shown)]
    windows = _windows(sheet, shown)
    sentences += [f"Windows: {'; '.join(windows)}."] if windows else []
    ranges = _ranges(sheet, shown) if sheet.overlay else []
    if ranges:
        scale = "one common scale" if sheet.common_scale else "each map on its own scale"
        sentences.append(f"Maps ({scale}, transparent below the first number): {'; '.join(ranges)}.")
    if sheet.outline and sheet.overlay:
        sentences.append("Lines: contours of the predicted segmentation (NCR red, ED green, ET yellow).")
    notes = list(dict.fromkeys(note for view in shown for note in (view.material.notes if view.material else ())))
    sentences += [f"Results: {'; '.join(notes)}."] if notes else []
    sentences.append(f"Radiological view. {RESEARCH_USE_ONLY}")
    return " ".join(sentences)


def _where(sheet: Sheet, shown: list[PaneView]) -> str:
    axis = sheet.cut.axes[0]
    places: dict[str, str] = {}
    for view in shown:
        assert view.material is not None
        index = view.slice_index(sheet.cut)
        # Indices of the display, which count from the top, the front and the right.
        places[view.material.study_id] = f"slice {index + 1} of {view.material.shape[axis]}"
    studies = "; ".join(f"{study}, {place}" for study, place in places.items())
    return f"{sheet.cut.plane.capitalize()} plane: {studies or 'nothing'}."


def _windows(sheet: Sheet, shown: list[PaneView]) -> list[str]:
    several = len({view.material.study_id for view in shown if view.material is not None}) > 1
    found: dict[str, None] = {}
    for view in shown:
        if view.material is not None and view.pane.image in view.material.images:
            low, high = sheet.window_of(view)
            name = MODALITY_TITLES.get(view.pane.image, view.pane.image)
            whose = f"{view.material.study_id} {name}" if several else name
            found[f"{whose} {low:.4g} to {high:.4g}"] = None
    return list(found)


def _ranges(sheet: Sheet, shown: list[PaneView]) -> list[str]:
    found: dict[str, None] = {}
    for view in shown:
        overlay = sheet.overlay_of(view)
        if isinstance(overlay, MapOverlay) and overlay.two_valued:
            found[f"{overlay.title} where {overlay.unit or 'there is one'}"] = None
        elif isinstance(overlay, MapOverlay):
            upper = sheet.range_of(overlay)
            lowest = edge_of(overlay, upper, sheet.thresholds.get(view.pane.overlay)) * upper
            unit = f" ({overlay.unit})" if overlay.unit else ""
            found[f"{overlay.title} {lowest:.3g} to {upper:.3g}{unit}"] = None
    return list(found)
