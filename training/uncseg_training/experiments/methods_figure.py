"""The figure of the experiment ``methods``: how well maps rank failures, and calibration before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_uncseg.evaluation.figure_style import GREY, REGION_COLOURS, REGION_MARKERS, encode_figure
from napari_uncseg.labels import REGIONS
from napari_uncseg.study.atomic import write_files

SET = "tumour"


def draw(maps: Sequence[Mapping[str, Any]], calibration: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the rows of both tables and write them as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.27 * len(maps) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = [f"{row['method']}: {row['map']}" for row in maps]
    places = range(len(maps))
    for place, row in zip(places, maps, strict=True):
        found = row["AUROC"]
        if found["mean"] is None:
            continue
        if found["low"] is not None:
            left.plot([found["low"], found["high"]], [place, place], color=GREY, linewidth=1.5)
        left.plot(found["mean"], place, "o", color="#0072B2")
    left.set_yticks(list(places), labels)
    left.invert_yaxis()
    left.set_xlabel("AUROC of WT failures, tumour and 5 mm around it")
    left.grid(axis="x", alpha=0.3)
    names = list(dict.fromkeys(row["method"] for row in calibration))
    for row in calibration:
        region = next(known for known in REGIONS if known == row["region"])
        at = names.index(row["method"]) + 0.24 * (REGIONS.index(region) - 1)
        before, after = row[f"ECE, {SET}"], row[f"ECE, {SET}, after"]
        if before is None or after is None:
            continue
        style: dict[str, Any] = {"color": REGION_COLOURS[region], "marker": REGION_MARKERS[region], "linestyle": "none"}
        right.plot([before, after], [at, at], color=REGION_COLOURS[region], linewidth=1)
        right.plot(before, at, **style, label=f"{region} as it is" if row["method"] == names[0] else None)
        after_label = f"{region} recalibrated" if row["method"] == names[0] else None
        right.plot(after, at, **style, markerfacecolor="white", label=after_label)
    right.set_yticks(list(range(len(names))), names)
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel("class-wise ECE, tumour and 5 mm around it")
    right.grid(axis="x", alpha=0.3)
    figure.legend(fontsize="small", ncols=6, loc="outside lower center")
    write_files({path: encode_figure(figure, "png")})
