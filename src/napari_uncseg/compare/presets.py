"""Ready sets of six panes for one study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from napari_uncseg.compare.data import CHANGE, CORRECTED, REFERENCE, SEGMENTATION, Material
from napari_uncseg.compare.layout import Pane

BASE = "t1c"

_SPREAD = ("mutual_information", "variance", "disagreement", "entropy")
"""Maps that show how members differ, the most telling first."""

_METHODS: Mapping[str, tuple[tuple[str, ...], str, str]] = MappingProxyType(
    {
        "MC dropout": (("mc_dropout", "dropout_injection"), "dropout_injection:10", "mc"),
        "Flips (TTA)": (("tta",), "tta:8", "tta"),
        "Snapshots": (("snapshots",), "snapshots", "snapshots"),
        "Ensemble": (("ensemble",), "ensemble:MODEL,MODEL", "ensemble"),
    }
)
"""Method -> words its members begin with, members to ask for, and the end of a folder for them."""


def paper(material: Material) -> tuple[Pane, ...]:
    """As figure 2 of the paper has it: segmentation, error, unc_output, variance, var1shot or entropy, FLAIR."""
    last = "var1shot" if "var1shot" in material.overlays else "entropy"
    return (
        _pane(material, SEGMENTATION, "no segmentation"),
        _pane(material, "error", "no error map: it takes a reference segmentation beside the images"),
        _pane(material, "unc_output", "no unc_output: its model has no uncertainty head"),
        _pane(material, "variance", "no variance"),
        _pane(material, last, "no entropy"),
        Pane("t2f"),
    )


def modalities(material: Material) -> tuple[Pane, ...]:
    """The four images, the segmentation and the reference."""
    return (
        *(Pane(modality) for modality in ("t1c", "t1n", "t2f")),
        Pane("t2w"),
        _pane(material, SEGMENTATION, "no segmentation"),
        _pane(material, REFERENCE, "no reference segmentation beside the images"),
    )


def methods(material: Material) -> tuple[Pane, ...]:
    """One way to uncertainty per pane: head, entropy, and how members of four kinds differ."""
    panes = [
        _pane(material, "unc_output", "no unc_output: its model has no uncertainty head"),
        _pane(material, "entropy", "no entropy map"),
    ]
    for title, (kinds, ask, folder) in _METHODS.items():
        key = _spread(material, kinds)
        sentence = (
            f"{title}: no such result is open. To make one, run\n"
            f"uncseg predict STUDY -o RESULTS-{folder} --members {ask}\nand choose Add result."
        )
        panes.append(Pane(BASE, key) if key else Pane(BASE, missing=sentence))
    return tuple(panes)


def correction(material: Material) -> tuple[Pane, ...]:
    """Before, after and what changed, on T1c and on FLAIR."""
    sentence = "no correction that is open: start one in the panel Verdict, and paint"
    return (
        _pane(material, SEGMENTATION, "no segmentation"),
        _pane(material, CORRECTED, sentence),
        _pane(material, CHANGE, sentence),
        _pane(material, SEGMENTATION, "no segmentation", "t2f"),
        _pane(material, CORRECTED, sentence, "t2f"),
        _pane(material, "unc_output", "no unc_output: its model has no uncertainty head"),
    )


PRESETS: Mapping[str, Callable[[Material], tuple[Pane, ...]]] = MappingProxyType(
    {"Paper": paper, "Modalities": modalities, "Methods": methods, "Before and after": correction}
)
"""By the name a reader sees."""


def _pane(material: Material, key: str, lacking: str, image: str = BASE) -> Pane:
    if key in material.overlays:
        return Pane(image, key)
    return Pane(image, missing=f"{material.study_id} has {lacking}.")


def _spread(material: Material, kinds: tuple[str, ...]) -> str:
    """Key of the map that shows best how members of some kinds differ; "" without a result of theirs."""
    for prefix, members in material.members.items():
        if members.partition(":")[0].strip() in kinds:
            keys = (f"{prefix}/{name}" if prefix else name for name in _SPREAD)
            found = next((key for key in keys if key in material.overlays), "")
            if found:
                return found
    return ""
