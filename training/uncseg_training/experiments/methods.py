"""Every uncertainty method on equal terms: ``python -m uncseg_training.experiments.methods --config cpu -o OUT``.

Trains the networks of :mod:`uncseg_training.experiments.networks`, predicts phantoms that none of them has seen, and
studies with references when they are named, with every method, and writes for each of the two

    maps-<studies>.csv/.md          what every map of every method tells of the WT failures of its own prediction
    calibration-<studies>.csv/.md   calibration error per region before and after recalibration
    figure-<studies>.png            both, drawn
    maps.png                        all maps of one phantom side by side
    methods.json                    every number, and the configurations

Temperatures, and the share that injected dropout drops, are chosen on phantoms of a third stream. What is trained or
measured is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.selective import aurc
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.model import load_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.judging import (
    CALIBRATED_SETS,
    Record,
    Source,
    Task,
    calibration_error,
    case_of,
    record_of,
    scaled,
    temperatures,
)
from uncseg_training.experiments.methods_figure import draw, draw_maps
from uncseg_training.experiments.networks import (
    CALIBRATION,
    ENSEMBLE,
    UNSEEN,
    Plan,
    make_networks,
    model_folder,
    plan_of,
    source_of,
)
from uncseg_training.experiments.tune_injection import tune_injection

NETWORKS = (*ENSEMBLE, "dropout", "gaussian", "auxiliary")
SEVERAL = ("entropy", "mutual_information", "variance")
CHANNEL = "unc_output"
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
        As ``uncseg predict --members`` takes them.
    maps : tuple of str
        Of the whole tumour.
    """

    name: str
    network: str
    members: str
    maps: tuple[str, ...]

    def task(self, out: Path, source: Source) -> Task:
        """It, on studies."""
        computed = [name for name in self.maps if name != CHANNEL]
        asked = tuple(dict.fromkeys(["entropy", *computed, "entropy-tc", "entropy-et"]))
        return Task(model_folder(out, self.network), self.members, asked, source)


def ways(out: Path, passes: int, injection: str) -> list[Way]:
    """The methods of the table; the first is what the others are compared with."""
    folders = ",".join(str(model_folder(out, name)) for name in ENSEMBLE)
    return [
        Way("one pass", "unet-1", "single", ("entropy", CHANNEL)),
        Way("test-time augmentation", "unet-1", f"tta:{min(8, passes)}", SEVERAL),
        Way("dropout injection", "unet-1", injection, SEVERAL),
        Way("snapshots", "unet-1", "snapshots", SEVERAL),
        Way("ensemble", "unet-1", f"ensemble:{folders}", (*SEVERAL, CHANNEL)),
        Way("one pass, trained with dropout", "dropout", "single", ("entropy", CHANNEL)),
        Way("MC dropout", "dropout", f"mc_dropout:{passes}", SEVERAL),
        Way("Gaussian logits", "gaussian", f"logit_sampling:{2 * passes}", SEVERAL),
        Way("auxiliary head", "auxiliary", "single", ("entropy", CHANNEL)),
    ]


def tune(plan: Plan, out: Path, device: str) -> dict[str, Any]:
    """Members of injected dropout with the share that fits the calibration phantoms best; chosen once."""

    def choose() -> dict[str, Any]:
        model = load_model(model_folder(out, "unet-1"))
        tuned = tune_injection(model, source_of(plan, out, CALIBRATION), count=plan.passes, device=device)
        rows = [{"p": row.p, "mean_nll": row.mean_nll} for row in (tuned.one_pass, *tuned.rows)]
        return {"members": str(tuned.members), "rows": rows}

    found: dict[str, Any] = harness.kept(out / "injection.json", choose)
    return found


@dataclass(frozen=True, eq=False)
class Measured:
    """A method on the phantoms its calibration is fitted on, and on the studies it is judged on."""

    way: Way
    calibration: Record
    judged: Record


def map_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """What every map tells of the failures of the whole tumour, one row per map."""
    first = measured[0]
    reference = first.judged.of("auroc", Region.WT, scaled(first.way.maps[0]), VoxelSet.TUMOUR)
    rows = []
    for found in measured:
        record = found.judged
        dice = record.of("dice_any_size", Region.WT)
        for name in found.way.maps:
            unit = scaled(name)
            near = record.of("auroc", Region.WT, unit, VoxelSet.TUMOUR)
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
                    "AUROC beyond one pass": harness.told(paired_difference(near, reference).mean),
                    "AURC": harness.rounded(selective_risk(dice, record.of("mean_tumour", Region.WT, unit))),
                    "seconds": harness.rounded(record.seconds),
                    "times one pass": harness.rounded(record.seconds / first.judged.seconds),
                }
            )
    return rows


def selective_risk(dice: Sequence[float], score: Sequence[float]) -> float:
    """Area under the risk–coverage curve, risk 1 − Dice; an empty prediction, without a score, is the least certain."""
    confidences = [float("-inf") if value != value else -value for value in score]
    return aurc([1 - value for value in dice], confidences)


def calibration_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Calibration error per region, voxel set and method, before and after a temperature fitted elsewhere."""
    rows = []
    for found in measured:
        fitted = temperatures(found.calibration)
        for region in REGIONS:
            row: dict[str, Any] = {
                "method": found.way.name,
                "region": str(region),
                "temperature": harness.rounded(fitted[region].content()["temperature"]),
            }
            for voxels in reversed(CALIBRATED_SETS):
                before, after = (
                    calibration_error(found.judged, region, voxels, *change) for change in ((), (fitted[region],))
                )
                row |= {
                    f"ECE, {voxels}": harness.rounded(before[0]),
                    f"ECE, {voxels}, after": harness.rounded(after[0]),
                    f"mean ECE, {voxels}": harness.rounded(before[1]),
                    f"mean ECE, {voxels}, after": harness.rounded(after[1]),
                }
            rows.append(row)
    return rows


def write(measured: Sequence[Measured], out: Path, studies: str) -> dict[str, Any]:
    """Tables and figure of one set of studies."""
    maps, calibration = map_rows(measured), calibration_rows(measured)
    harness.write_table(
        maps,
        out / f"maps-{studies}",
        "Every map against the WT failures of its own method's prediction: mean and 95 % interval over studies. RMSD, "
        "correlation (Pearson), AUROC and AUPRC over tumour, predicted or true, and 5 mm around it. `AUROC beyond one "
        "pass` is paired with the entropy of one pass of the first network. AURC: risk 1 − Dice WT, studies ordered "
        f"by the mean of the map over the predicted tumour and 5 mm around it; lower is better. {SCALE}",
    )
    harness.write_table(
        calibration,
        out / f"calibration-{studies}",
        "Class-wise calibration error, 15 bins, of the mean probability, before and after one temperature per region "
        "fitted on other phantoms (their brains' voxels). `ECE` of the voxels of all studies together, `mean ECE` per "
        "study. `tumour`: predicted or true, and 5 mm around it.",
    )
    draw(maps, calibration, out / f"figure-{studies}.png")
    return {"maps": maps, "calibration": calibration}


def draw_one(all_ways: Sequence[Way], source: Source, out: Path, device: str) -> None:
    """All maps of one phantom side by side: of those with a tumour the one of median volume."""
    sizes = {number: np.count_nonzero(np.asarray(study.reference)) for number, study in enumerate(source)}
    with_tumour = sorted((number for number, size in sizes.items() if size), key=lambda number: sizes[number])
    study = next(islice(source, with_tumour[len(with_tumour) // 2], None))
    cases = {}
    for way in all_ways:
        task = way.task(out, source)
        prediction = Predictor(load_model(task.model), device=device).predict(
            study, members=task.members, maps=task.maps
        )
        cases[way.name] = case_of(prediction, study), [scaled(name) for name in way.maps]
    draw_maps(cases, study.images[0], out / "maps.png")


@harness.experiment
def main(
    out: harness.Out,
    config: harness.SizeOption = harness.Size.CPU,
    anatomies: harness.AnatomiesOption = None,
    studies: harness.StudiesOption = None,
    device: harness.Device = "auto",
    minutes: harness.Minutes = None,
) -> None:
    """Train and measure what is missing, write tables and figures."""
    harness.require_studies(studies)
    plan, clock = plan_of(config), harness.Clock(minutes)
    make_networks(plan, out, NETWORKS, harness.anatomies_or_template(anatomies, out), clock)
    sources = {"phantoms": source_of(plan, out, UNSEEN)}
    sources |= {"studies": Source(studies)} if studies is not None else {}
    injection = tune(plan, out, device)
    all_ways = ways(out, plan.passes, injection["members"])
    found: dict[str, list[Measured]] = {name: [] for name in sources}
    for way in all_ways:
        records = out / "records" / way.name.replace(" ", "-").replace(",", "")
        calibration = record_of(way.task(out, source_of(plan, out, CALIBRATION)), records / CALIBRATION, device)
        for name, source in sources.items():
            clock.check()
            judged = record_of(way.task(out, source), records / name, device)
            found[name].append(Measured(way, calibration, judged))
            typer.echo(f"{way.name}, {name}: {judged.seconds:.1f} s each, {judged.passes} passes")
    told = {name: write(measured, out, name) for name, measured in found.items()}
    draw_one(all_ways, sources["phantoms"], out, device)
    settings = asdict(plan)
    settings["config"].pop("cases")
    harness.write_json({"plan": settings, "injection": injection, **told}, out / "methods.json")
    for name in sources:
        typer.echo("\n" + (out / f"maps-{name}.md").read_text())


if __name__ == "__main__":
    typer.run(main)
