"""Phantoms beside patients: ``python -m uncseg_training.experiments.phantom_statistics STUDIES -o OUT``.

For every study and phantom, at 2 mm and in z-scores of its brain: the median of each modality in normal tissue and in
NCR, ED and ET, the spread inside each (10th to 90th percentile), the step across the outline of the whole tumour (mean
of the two voxels inside less mean of the two outside), volumes, and the sphericity of the whole tumour. Prints for each
quantity the range of the phantoms (5th, 50th, 95th percentile), the patients one by one, and how many of these lie
inside that range: what a patient has and no phantom has is what the generator lacks. Writes the numbers as JSON and a
figure; no image of a patient is written.
"""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy import ndimage

from napari_uncseg.arrays import Floats32, Labels, Mask
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, Label
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import require_studies, usable
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms
from uncseg_training.train.config_limits import LARGEST_SEED

SPACING = 2.0
FEWEST = 60
"""Voxels (about half a millilitre) below which a tissue is not described."""

VOLUMES = ("NCR mL", "ED mL", "ET mL")

Statistics = dict[str, float]


def describe(images: Floats32, labels: Labels, brain: Mask) -> Statistics:
    """Numbers of one study.

    Parameters
    ----------
    images : ndarray of float32, shape (4, x, y, z)
        z-scores at 2 mm.
    labels : ndarray of uint8, shape (x, y, z)
    brain : ndarray of bool, shape (x, y, z)

    Returns
    -------
    dict of str to float
        ``"t1c NCR median"`` and the like; what cannot be told is left out.
    """
    numbers: Statistics = {"brain mL": float(brain.sum()) * SPACING**3 / 1000}
    whole = labels > 0
    normal = brain & ~ndimage.binary_dilation(whole, iterations=4) & ndimage.binary_erosion(brain, iterations=2)
    tissues = {"normal": normal, **{label.name: labels == label for label in Label}}
    for name, mask in tissues.items():
        if name != "normal":
            numbers[f"{name} mL"] = float(mask.sum()) * SPACING**3 / 1000
        if int(mask.sum()) < FEWEST:
            continue
        for modality, image in zip(MODALITIES, images, strict=True):
            low, middle, high = np.percentile(image[mask], [10, 50, 90])
            numbers[f"{modality} {name} median"] = float(middle)
            numbers[f"{modality} {name} spread"] = float(high - low)
    if int(whole.sum()) < FEWEST:
        return numbers
    inner = whole & ~ndimage.binary_erosion(whole, iterations=2)
    outer = ndimage.binary_dilation(whole, iterations=2) & ~whole & brain
    for modality, image in zip(MODALITIES, images, strict=True):
        numbers[f"{modality} outline step"] = float(image[inner].mean() - image[outer].mean())
    # Faces of voxels overestimate a smooth surface by 3/2 (Mullikin and Verbeek, Bioimaging 1993).
    surface = sum(int(np.abs(np.diff(np.pad(whole, 1).astype(np.int8), axis=axis)).sum()) for axis in range(3)) * 2 / 3
    numbers["WT sphericity"] = float(pi ** (1 / 3) * (6 * whole.sum()) ** (2 / 3) / surface)
    return numbers


def describe_study(study: Study) -> Statistics:
    """Numbers of a study with a reference, brought to 2 mm by means over voxels."""
    assert study.reference is not None
    every = tuple(max(1, round(SPACING / size)) for size in study.spacing)
    inside = study.images[:, study.brain]
    mean, deviation = inside.mean(1), inside.std(1)
    z = (study.images - mean[:, None, None, None]) / deviation[:, None, None, None]
    pooled = np.stack([ndimage.uniform_filter(image, every)[tuple(slice(None, None, n) for n in every)] for image in z])
    sampled = tuple(slice(None, None, n) for n in every)
    return describe(pooled, study.reference[sampled], study.brain[sampled])


@harness.experiment
def main(
    studies: Annotated[Path, typer.Argument(help="Folder of studies with references.")],
    out: harness.Out,
    anatomies: Annotated[Path, typer.Option(help="File of 'uncseg-train anatomies'.")] = Path("cache/anatomies.npz"),
    count: Annotated[int, typer.Option("-n", min=10, help="Number of phantoms.")] = 120,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the phantoms.")] = 99,
    prior: Annotated[str, typer.Option(help="What their tumours are drawn from.")] = "clinical",
) -> None:
    """Print the table, write the numbers and the figure."""
    stream = Phantoms(load_anatomies(anatomies), seed=seed, prior=prior)
    require_studies(studies)
    made = [stream[index] for index in range(count)]
    phantoms = pd.DataFrame(
        [describe(phantom.normalised().numpy(), phantom.labels.numpy(), phantom.brain.numpy()) for phantom in made]
    )
    patients = pd.DataFrame({study.id: describe_study(study) for study in usable(studies)}).sort_index()
    ranges = phantoms.reindex(columns=patients.index).quantile([0.05, 0.5, 0.95]).T
    within = patients.ge(ranges[0.05], axis=0) & patients.le(ranges[0.95], axis=0)
    typer.echo(pd.concat([ranges.add_prefix("p "), patients], axis=1).round(2).to_string())
    known = int(patients.notna().to_numpy().sum())
    inside = int(within.to_numpy().sum())
    typer.echo(f"{inside} of {known} numbers of patients lie between the 5th and 95th percentile of {count} phantoms")
    numbers = [
        {
            "quantity": name,
            "count": int(phantoms[name].count()) if name in phantoms else 0,
            **{f"p{share * 100:.0f}": harness.rounded(value) for share, value in ranges.loc[name].items()},
            "patients": {study: harness.rounded(value) for study, value in patients.loc[name].dropna().items()},
        }
        for name in patients.index
    ]
    harness.write_json({"phantoms": count, "seed": seed, "prior": prior, "numbers": numbers}, out / "statistics.json")
    draw(phantoms, patients, out / "statistics.png")


def draw(phantoms: pd.DataFrame, patients: pd.DataFrame, path: Path) -> None:
    """Phantoms as grey dots, patients as coloured ones, for medians and steps of every modality."""
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    kinds = ["normal median", "NCR median", "ED median", "ET median", "ED spread", "NCR spread", "outline step"]
    figure = Figure(figsize=(13, 7), layout="constrained")
    rows = figure.subplots(2, 4)
    random = np.random.default_rng(0)
    palette = colormaps["tab10"]

    def scatter(axes: Axes, names: list[str], labels: list[str]) -> None:
        for place, name in enumerate(names):
            values = phantoms.get(name, pd.Series(dtype=float)).dropna()
            axes.scatter(place + random.uniform(-0.22, 0.22, len(values)), values, s=6, color="0.72", lw=0)
            found = patients.loc[name].dropna() if name in patients.index else pd.Series(dtype=float)
            for study, value in found.items():
                colour = palette(patients.columns.get_loc(study))
                label = str(study) if place == 0 else None
                axes.scatter(place + 0.33, value, s=26, color=colour, label=label, zorder=3)
        axes.set_xticks(range(len(names)), labels, rotation=40, ha="right")
        axes.grid(axis="y", alpha=0.25)

    for axes, modality in zip(rows[0], MODALITIES, strict=True):
        scatter(axes, [f"{modality} {kind}" for kind in kinds], kinds)
        axes.set_title(modality)
    rows[0][0].set_ylabel("z-score within the brain")
    scatter(rows[1][0], list(VOLUMES), ["NCR", "ED", "ET"])
    rows[1][0].set(title="volume", ylabel="mL", yscale="symlog")
    # Linear up to 1 mL, which leaves 0 a place; room above for the largest.
    largest = max(float(each.reindex(list(VOLUMES)).max().max()) for each in (phantoms.T, patients))
    rows[1][0].set_ylim(-0.15, 1.6 * max(largest, 1.0))
    ticks = [tick for tick in (0, 1, 10, 100, 1000) if tick <= 1.6 * largest]
    rows[1][0].set_yticks(ticks, [str(tick) for tick in ticks])
    scatter(rows[1][1], ["brain mL"], ["brain"])
    rows[1][1].set(title="brain", ylabel="mL", xlim=(-1, 1))
    scatter(rows[1][2], ["WT sphericity"], ["WT"])
    rows[1][2].set(title="sphericity", ylabel="1 is a ball", xlim=(-1, 1))
    rows[1][3].axis("off")
    handles, labels = rows[1][0].get_legend_handles_labels()
    rows[1][3].legend(handles, labels, loc="center left", title="patients (coloured); phantoms (grey)")
    harness.write_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
