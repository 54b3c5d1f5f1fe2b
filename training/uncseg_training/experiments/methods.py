"""Every uncertainty method on equal terms: ``python -m uncseg_training.experiments.methods -o OUT``.

With ``--config patients --cases CASES`` the networks of :mod:`uncseg_training.experiments.networks` are trained fold by
fold, with every method predict the patients that they never saw, and are judged on what is finished; ``--first-stage``
names the release network's, which are then the first network. Else all is done on phantoms. Written are

    maps.csv/.md          what every map of every method tells of the WT failures of its own prediction
    calibration.csv/.md   calibration error per region before and after recalibration
    figure.png            both, drawn
    maps.png              all maps of one phantom side by side
    methods.json          every number, and the configurations

Temperatures are fitted on the other folds, or on phantoms of another stream; the share that injected dropout drops is
always chosen on such phantoms. What is trained or measured is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.selective import aurc
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.model import load_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.judging import Measured
from uncseg_training.experiments.methods_figure import draw, draw_maps
from uncseg_training.experiments.networks import (
    CALIBRATION,
    ENSEMBLE,
    Part,
    Plan,
    make_networks,
    measured_of,
    model_folder,
    order_of,
    parts_of,
    plan_of,
    source_of,
)
from uncseg_training.experiments.records import CALIBRATED_SETS, Task, case_of, record_of, scaled
from uncseg_training.experiments.tune_injection import tune_injection

NETWORKS = (ENSEMBLE[0], "snapshots", "dropout", *ENSEMBLE[1:], "auxiliary", "gaussian")
"""In the order in which they are trained."""

SEVERAL = ("entropy", "mutual_information", "variance")
CHANNELS = ("unc_output", "unc_output_unmasked")
SCALE = "Maps are brought to 0..1 by their largest possible value before distances are taken."


@dataclass(frozen=True)
class Way:
    """A method: a network, its members, and the maps that are judged.

    Parameters
    ----------
    name : str
        What the tables call it.
    network : str
        Of :data:`NETWORKS`; where several form an ensemble, the first.
    members : str
        As ``uncseg predict --members`` takes them; ``ensemble`` for that of all of :data:`ENSEMBLE`.
    maps : tuple of str
        Of the whole tumour.
    """

    name: str
    network: str
    members: str
    maps: tuple[str, ...]

    def task(self, out: Path, part: Part) -> Task | None:
        """It, on a part; None while a network of it is not trained."""
        names = ENSEMBLE if self.members == "ensemble" else (self.network,)
        folders = [model_folder(out, name, part.suffix) for name in names]
        if not all(folder.is_dir() for folder in folders):
            return None
        computed = [name for name in self.maps if name not in CHANNELS]
        asked = tuple(dict.fromkeys(["entropy", *computed, "entropy-tc", "entropy-et"]))
        members = self.members if len(names) == 1 else f"ensemble:{','.join(map(str, folders))}"
        return Task(folders[0], members, asked, part.source)


def ways(passes: int, injection: str) -> list[Way]:
    """The methods of the table; the first is what the others are compared with."""
    return [
        Way("one pass", "unet-1", "single", ("entropy", "var1shot", *CHANNELS)),
        Way("test-time augmentation", "unet-1", f"tta:{min(8, passes)}", SEVERAL),
        Way("dropout injection", "unet-1", injection, SEVERAL),
        Way("snapshots", "snapshots", "snapshots", SEVERAL),
        Way("ensemble", "unet-1", "ensemble", (*SEVERAL, *CHANNELS)),
        Way("one pass, trained with dropout", "dropout", "single", ("entropy", *CHANNELS)),
        Way("MC dropout", "dropout", f"mc_dropout:{passes}", SEVERAL),
        Way("Gaussian logits", "gaussian", f"logit_sampling:{2 * passes}", SEVERAL),
        Way("auxiliary head", "auxiliary", "single", ("entropy", *CHANNELS)),
    ]


def tune(plan: Plan, out: Path, device: str) -> dict[str, Any]:
    """Members of injected dropout with the share that fits the calibration phantoms best; chosen once."""

    def choose() -> dict[str, Any]:
        model = load_model(model_folder(out, ENSEMBLE[0], parts_of(plan, out)[0].suffix))
        tuned = tune_injection(model, source_of(plan, out, CALIBRATION), count=plan.passes, device=device)
        rows = [{"p": row.p, "mean_nll": row.mean_nll} for row in (tuned.one_pass, *tuned.rows)]
        return {"members": str(tuned.members), "rows": rows}

    found: dict[str, Any] = harness.kept(out / "injection.json", choose)
    return found


@dataclass(frozen=True, eq=False)
class Tried(Measured):
    """A method on the parts whose networks are trained."""

    way: Way


def map_rows(measured: Sequence[Tried]) -> list[dict[str, Any]]:
    """What every map tells of the failures of the whole tumour, one row per map."""
    first = measured[0]
    reference = _near(first, first.way.maps[0])
    rows = []
    for found in measured:
        record = found.record
        dice = record.of("dice_any_size", Region.WT)
        for name in found.way.maps:
            unit = scaled(name)
            near = _near(found, name)
            numbers = {
                "Dice WT": dice,
                "RMSD": record.of("rmsd", Region.WT, unit, VoxelSet.TUMOUR),
                "correlation": record.of("pearson", Region.WT, unit, VoxelSet.TUMOUR),
                "AUROC": near,
                "AUPRC": record.of("auprc", Region.WT, unit, VoxelSet.TUMOUR),
                "AUROC, brain": record.of("auroc", Region.WT, unit, VoxelSet.BRAIN),
                "QU-BraTS": record.of("qubrats_score", Region.WT, unit),
                "QU-BraTS gain": record.of("qubrats_gain", Region.WT, unit),
            }
            rows.append(
                {"method": found.way.name, "map": name, "passes": record.passes, "studies": len(dice)}
                | {key: harness.interval(values) for key, values in numbers.items()}
                | {
                    "AUROC beyond one pass": harness.told(paired_difference(near, reference.reindex(near.index)).mean),
                    "AURC": harness.rounded(selective_risk(dice, record.of("mean_tumour", Region.WT, unit))),
                    "seconds": harness.rounded(record.seconds),
                    "times one pass": harness.rounded(record.seconds / first.record.seconds),
                }
            )
    return rows


def _near(found: Tried, name: str) -> pd.Series:
    """AUROC of a map for WT failures near the tumour, by study."""
    values = found.record.of("auroc", Region.WT, scaled(name), VoxelSet.TUMOUR)
    return pd.Series(values, found.record.studies(), dtype=float)


def selective_risk(dice: Sequence[float], score: Sequence[float]) -> float:
    """Area under the risk–coverage curve, risk 1 − Dice; an empty prediction, without a score, is the least certain."""
    confidences = [float("-inf") if value != value else -value for value in score]
    return aurc([1 - value for value in dice], confidences)


def calibration_rows(measured: Sequence[Tried]) -> list[dict[str, Any]]:
    """Calibration error per region, voxel set and method, before and after a temperature fitted elsewhere."""
    rows = []
    for found in measured:
        for region in REGIONS:
            fitted = found.temperature(region)
            row: dict[str, Any] = {"method": found.way.name, "region": str(region)}
            row["temperature"] = None if fitted is None else harness.rounded(fitted)
            for voxels in reversed(CALIBRATED_SETS):
                before, after = (found.calibration_error(region, voxels, scaled=scale) for scale in (False, True))
                row |= {
                    f"ECE, {voxels}": harness.rounded(before[0]),
                    f"ECE, {voxels}, after": harness.rounded(after[0]),
                    f"mean ECE, {voxels}": harness.rounded(before[1]),
                    f"mean ECE, {voxels}, after": harness.rounded(after[1]),
                }
            rows.append(row)
    return rows


def write(measured: Sequence[Tried], out: Path) -> dict[str, Any]:
    """Tables and figure."""
    maps, calibration = map_rows(measured), calibration_rows(measured)
    harness.write_table(
        maps,
        out / "maps",
        "Every map against the WT failures of its own method's prediction: mean and 95 % interval over studies. RMSD, "
        "correlation (Pearson), AUROC and AUPRC over tumour, predicted or true, and 5 mm around it. `AUROC beyond one "
        "pass` is paired with the entropy of one pass of the first network. AURC: risk 1 − Dice WT, studies ordered "
        f"by the mean of the map over the predicted tumour and 5 mm around it; lower is better. {SCALE}",
    )
    harness.write_table(
        calibration,
        out / "calibration",
        "Class-wise calibration error, 15 bins, of the mean probability, before and after one temperature per region "
        "fitted on the other folds, or other phantoms (their brains' voxels). `ECE` of the voxels of all studies "
        "together, `mean ECE` per study. `tumour`: predicted or true, and 5 mm around it.",
    )
    draw(maps, calibration, out / "figure.png")
    return {"maps": maps, "calibration": calibration}


def draw_one(all_ways: Sequence[Way], part: Part, out: Path, device: str) -> None:
    """All maps of one phantom side by side: of those with a tumour the one of median volume."""
    sizes = {number: np.count_nonzero(np.asarray(study.reference)) for number, study in enumerate(part.source)}
    with_tumour = sorted((number for number, size in sizes.items() if size), key=lambda number: sizes[number])
    study = next(islice(part.source, with_tumour[len(with_tumour) // 2], None))
    cases = {}
    for way in all_ways:
        task = way.task(out, part)
        if task is not None:
            prediction = Predictor(load_model(task.model), device=device).predict(
                study, ensemble=task.members, maps=task.maps
            )
            cases[way.name] = case_of(prediction, study), [scaled(name) for name in way.maps]
    draw_maps(cases, study.images[0], out / "maps.png")


def tried(all_ways: Sequence[Way], parts: Sequence[Part], out: Path, device: str) -> list[Tried]:
    """Every method on every part whose networks are trained; measured once, then read."""
    found = []
    for way in all_ways:
        records = {}
        for part in parts:
            if (task := way.task(out, part)) is not None:
                folder = out / "records" / way.name.replace(" ", "-").replace(",", "") / part.name
                records[part.name] = record_of(task, folder, device)
        if (measured := measured_of(parts, records)) is not None:
            found.append(Tried(measured.parts, measured.judged, way))
    return found


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    cases: harness.CasesOption = None,
    anatomies: harness.AnatomiesOption = None,
    first_stage: Annotated[
        list[Path] | None, typer.Option(help="Run of a first stage of the release, for its fold; repeat for folds.")
    ] = None,
    device: harness.Device = "auto",
    minutes: harness.Minutes = None,
) -> None:
    """Train and measure what is missing, write tables and figures of what is finished."""
    plan, clock = plan_of(config, cases), harness.Clock(minutes)
    anatomies = harness.anatomies_or_template(anatomies, out)
    order = order_of(plan, NETWORKS)
    done = harness.until_cut(partial(make_networks, plan, out, order, anatomies, clock, first_stage or ()))
    parts = parts_of(plan, out)
    if model_folder(out, ENSEMBLE[0], parts[0].suffix).is_dir():
        injection = tune(plan, out, device)
        all_ways = ways(plan.passes, injection["members"])
        told = write(tried(all_ways, parts, out, device), out)
        if plan.patients is None:
            draw_one(all_ways, parts[-1], out, device)
        settings = asdict(plan)
        del settings["patients"], settings["config"]["cases"]
        harness.write_json({"plan": settings, "injection": injection, **told}, out / "methods.json")
        typer.echo("\n" + (out / "maps.md").read_text())
    if not done:
        raise harness.TimeOver


if __name__ == "__main__":
    typer.run(main)
