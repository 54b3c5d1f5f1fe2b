"""Ready sets of six panes for one study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from napari_uncseg.compare.data import CHANGE, CORRECTED, REFERENCE, SEGMENTATION, ComparisonData
from napari_uncseg.compare.layout import Pane
from napari_uncseg.viewer.orientation import PLANES

BASE = "t1c"
OVERVIEW, METHODS, THREE_PLANES = "Overview", "Methods", "Three planes"

_SETS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # Figure 2 of the paper: segmentation, error, unc_output, variance, var1shot or entropy, FLAIR.
    OVERVIEW: (
        *((BASE, SEGMENTATION), (BASE, "error"), (BASE, "unc_output")),
        *((BASE, "variance"), (BASE, "var1shot"), ("t2f", "")),
    ),
    # A row with the leading map, a row without; see panes_of.
    THREE_PLANES: ((BASE, "unc_output"),) * 3 + (("t2f", ""),) * 3,
    "Modalities": (
        *((BASE, ""), ("t1n", ""), ("t2f", "")),
        *(("t2w", ""), (BASE, SEGMENTATION), (BASE, REFERENCE)),
    ),
    METHODS: ((BASE, "unc_output"), (BASE, "entropy")),
    "Before and after": (
        *((BASE, SEGMENTATION), (BASE, CORRECTED), (BASE, CHANGE)),
        *(("t2f", SEGMENTATION), ("t2f", CORRECTED), (BASE, "unc_output")),
    ),
}
"""Image and overlay of each pane; *Methods* goes on with a pane for each of :data:`_METHODS`."""

PRESETS: tuple[str, ...] = tuple(_SETS)
"""Names of the sets, as a reader sees them."""

_UNPAINTED = "no correction that is open: start one in the panel Verdict, and paint"
_LACKING: Mapping[str, str] = {
    "error": "no error map: it takes a reference segmentation beside the images",
    "unc_output": "no unc_output: its model has no uncertainty head",
    REFERENCE: "no reference segmentation beside the images",
    CORRECTED: _UNPAINTED,
    CHANGE: _UNPAINTED,
}
_SPREAD = ("mutual_information", "variance", "disagreement", "entropy")
"""Maps that show how members differ, the most telling first."""

_METHODS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "MC dropout": (("mc_dropout", "dropout_injection"), "dropout_injection:10", "mc"),
    "Flips (TTA)": (("tta",), "tta:8", "tta"),
    "Snapshots": (("snapshots",), "snapshots", "snapshots"),
    "Ensemble": (("ensemble",), "ensemble:MODEL,MODEL", "ensemble"),
}
"""Method -> words its specification begins with, what to ask for, and the end of a folder for it."""


def panes_of(preset: str, data: ComparisonData) -> tuple[Pane, ...]:
    """Six panes of a ready set; what is not there is told, with the way to get it.

    Parameters
    ----------
    preset : str
        One of :data:`PRESETS`.
    data : ComparisonData
        What there is.

    Returns
    -------
    tuple of Pane
    """
    panes = []
    planes = tuple(PLANES) * 2 if preset == THREE_PLANES else ("",) * len(_SETS[preset])
    for (image, key), plane in zip(_SETS[preset], planes, strict=True):
        wanted = "entropy" if key == "var1shot" and key not in data.overlays else key
        if preset == THREE_PLANES and key and "error_risk" in data.overlays:
            wanted = "error_risk"
        lacking = f"{data.study_id} has {_LACKING.get(wanted, f'no {wanted}')}."
        there = not wanted or wanted in data.overlays
        panes.append(Pane(image, wanted if there else "", "" if there else lacking, plane=plane))
    return (*panes, *(_methods(data) if preset == METHODS else ()))


def _methods(data: ComparisonData) -> Iterator[Pane]:
    """How members of four kinds differ, a pane each."""
    for title, (kinds, ask, folder) in _METHODS.items():
        key = _spread(data, kinds)
        sentence = (
            f"{title}: no such result is open. To make one, run\n"
            f"uncseg predict STUDY -o RESULTS-{folder} --members {ask}\nand choose Add result."
        )
        yield Pane(BASE, key) if key else Pane(BASE, missing=sentence)


def _spread(data: ComparisonData, kinds: tuple[str, ...]) -> str:
    """Key of the map that shows best how members of some kinds differ; "" without a result of theirs."""
    for prefix, method in data.methods.items():
        if method.partition(":")[0].strip() in kinds:
            for name in _SPREAD:
                key = f"{prefix}/{name}" if prefix else name
                if key in data.overlays:
                    return key
    return ""
