"""How oedema ends: ``python -m uncseg_training.experiments.outline STUDIES [STUDIES ...] -o OUT``.

For each folder of studies, FLAIR and T2w along the way out of the whole tumour: the contrast of each millimetre, where
oedema 4 mm inside the outline is 1 and tissue 8 mm outside it is 0. Only outlines of oedema count, at least 4 mm from
the core and 6 mm from the edge of the brain, and only in studies whose oedema stands out. Prints the median over
studies, writes medians and quartiles as JSON and a figure; no image of a patient is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import typer
from scipy import ndimage

from napari_uncseg.arrays import Floats64, Mask
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, Label, region_masks
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import require_studies, usable

PLACES = tuple(range(-8, 9))
"""Millimetres from the outline, negative inside."""

INSIDE, OUTSIDE = -4, 8
"""Where contrast is 1 and 0."""

FROM_CORE_MM, FROM_EDGE_MM = 4.0, 6.0

FEWEST = 50
"""Voxels below which a millimetre is not described."""

FAINTEST = 0.6
"""Least contrast of oedema, in standard deviations of the brain: of less, shares say nothing."""

MODALITIES_READ = ("t2f", "t2w")


def profiles(study: Study) -> dict[str, Floats64]:
    """Contrast along the way out of the tumour.

    Parameters
    ----------
    study : Study
        With a reference; intensities in any units.

    Returns
    -------
    dict of str to ndarray of float64, shape (17,)
        Per modality, at each of :data:`PLACES`: 1 where oedema is 4 mm deep and 0 at 8 mm outside; NaN where too few
        voxels lie. Modalities in which oedema does not stand out are left out.
    """
    assert study.reference is not None
    whole, core, _ = region_masks(study.reference)
    if not (study.reference == Label.ED).any():
        return {}
    # What lies further away than the last millimetre and the widest margin decides nothing.
    reach = [int((OUTSIDE + FROM_EDGE_MM) / size) + 2 for size in study.spacing]
    found = ndimage.find_objects(whole.astype(np.uint8))[0]
    box = tuple(slice(max(0, part.start - n), part.stop + n) for part, n in zip(found, reach, strict=True))
    whole, core, brain = whole[box], core[box], study.brain[box]

    def inside(mask: Mask) -> Floats64:
        if mask.all():
            return np.full(mask.shape, np.inf)
        distance: Floats64 = ndimage.distance_transform_edt(mask, sampling=study.spacing)
        return distance

    # From the outline itself, which lies half a voxel away from the middles of the voxels on either side.
    half = min(study.spacing) / 2
    outwards = np.where(whole, half - inside(whole), inside(~whole) - half)
    counted = brain & (inside(brain) > FROM_EDGE_MM) & (inside(~core) > FROM_CORE_MM)
    chosen = [counted & (np.abs(outwards - place) <= 0.5) for place in PLACES]
    contrasts = {}
    for name in MODALITIES_READ:
        image = study.images[MODALITIES.index(name)]
        values = np.array([np.median(image[box][where]) if where.sum() >= FEWEST else np.nan for where in chosen])
        one, zero = values[PLACES.index(INSIDE)], values[PLACES.index(OUTSIDE)]
        if one - zero > FAINTEST * image[study.brain].std():
            contrasts[name] = (values - zero) / (one - zero)
    return contrasts


def rows_of(folder: Path) -> list[harness.Row]:
    """Quartiles over the studies of a folder, a row per modality; None where no study has enough voxels."""
    found: dict[str, list[Floats64]] = {name: [] for name in MODALITIES_READ}
    for study in usable(folder):
        for name, contrast in profiles(study).items():
            found[name].append(contrast)
    rows = []
    for name, contrasts in found.items():
        quartiles = pd.DataFrame(contrasts, columns=list(PLACES), dtype=float).quantile([0.25, 0.5, 0.75])
        low, median, high = ([harness.rounded(value, 3) for value in line] for line in quartiles.to_numpy())
        head = {"folder": folder.name, "modality": name, "studies": len(contrasts)}
        rows.append(head | {"low": low, "median": median, "high": high})
    return rows


def draw(rows: list[harness.Row], path: Path) -> None:
    """Medians as lines and quartiles as bands, one panel per modality."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(MODALITIES_READ), sharey=True)
    for axes, modality in zip(panels, MODALITIES_READ, strict=True):
        for index, row in enumerate(row for row in rows if row["modality"] == modality):
            low, median, high = (np.array(row[name], float) for name in ("low", "median", "high"))
            axes.plot(PLACES, median, color=f"C{index}", marker=".", label=f"{row['folder']} ({row['studies']})")
            axes.fill_between(PLACES, low, high, color=f"C{index}", alpha=0.15, lw=0)
        axes.axvline(0, color="0.5", lw=0.8)
        axes.set(title=modality, xlabel="mm from the outline, negative inside", ylim=(-0.2, 1.5))
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    panels[0].set_ylabel("contrast of oedema")
    harness.write_figure(figure, path)


@harness.experiment
def main(studies: harness.StudyFolders, out: harness.Out) -> None:
    """Print the table, write the numbers and the figure."""
    require_studies(*studies)
    rows = [row for folder in studies for row in rows_of(folder)]
    medians = {f"{row['folder']}, {row['modality']} ({row['studies']})": row["median"] for row in rows}
    typer.echo(pd.DataFrame(medians, index=[f"{place:+d}" for place in PLACES], dtype=float).T.round(2).to_string())
    harness.write_json({"millimetres": PLACES, "rows": rows}, out / "outline.json")
    draw(rows, out / "outline.png")


if __name__ == "__main__":
    typer.run(main)
