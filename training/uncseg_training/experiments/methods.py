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

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.inference.injection import tune_injection
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.bootstrap import bootstrap_bca
from napari_uncseg.metrics.selective import aurc
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.models.model import load_model
from uncseg_training.experiments.judging import (
    CALIBRATED_SETS,
    Record,
    Source,
    Task,
    calibration_error,
    case_of,
    peak_memory_mb,
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
from uncseg_training.experiments.runs import CUT, Clock, Size, anatomies_or_template
from uncseg_training.experiments.studies import require_studies
from uncseg_training.experiments.tables import told_interval, write_table
from uncseg_training.train.sentences import run_plainly

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


def tune(plan: Plan, out: Path, device: str) -> str:
    """Members of injected dropout with the share that fits the calibration phantoms best; chosen once."""
    file = out / "injection.json"
    if not file.is_file():
        model = load_model(model_folder(out, "unet-1"))
        tuned = tune_injection(model, source_of(plan, out, CALIBRATION), count=plan.passes, device=device)
        rows = [{"p": row.p, "mean_nll": row.mean_nll} for row in (tuned.one_pass, *tuned.rows)]
        write_files({file: json.dumps({"members": str(tuned.members), "rows": rows}).encode()})
    return str(json.loads(file.read_text())["members"])


@dataclass(frozen=True, eq=False)
class Measured:
    """A method on the phantoms its calibration is fitted on, and on the studies it is judged on; its memory, MB."""

    way: Way
    calibration: Record
    judged: Record
    peak_mb: float


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
                | {key: told_interval(bootstrap_bca(values)) for key, values in numbers.items()}
                | {
                    "AUROC beyond one pass": told_interval(paired_difference(near, reference).mean),
                    "AURC": _round(selective_risk(dice, record.of("mean_tumour", Region.WT, unit))),
                    "seconds": _round(record.seconds),
                    "times one pass": _round(record.seconds / first.judged.seconds),
                    "MB": _round(found.peak_mb, 0),
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
                "temperature": _round(fitted[region].content()["temperature"]),
            }
            for voxels in reversed(CALIBRATED_SETS):
                before, after = (
                    calibration_error(found.judged, region, voxels, *change) for change in ((), (fitted[region],))
                )
                row |= {
                    f"ECE, {voxels}": _round(before[0]),
                    f"ECE, {voxels}, after": _round(after[0]),
                    f"mean ECE, {voxels}": _round(before[1]),
                    f"mean ECE, {voxels}, after": _round(after[1]),
                }
            rows.append(row)
    return rows


def write(measured: Sequence[Measured], out: Path, studies: str) -> dict[str, Any]:
    """Tables and figure of one set of studies."""
    maps, calibration = map_rows(measured), calibration_rows(measured)
    write_table(
        maps,
        out / f"maps-{studies}",
        "Every map against the WT failures of its own method's prediction: mean and 95 % interval over studies. RMSD, "
        "correlation (Pearson), AUROC and AUPRC over tumour, predicted or true, and 5 mm around it. `AUROC beyond one "
        "pass` is paired with the entropy of one pass of the first network. AURC: risk 1 − Dice WT, studies ordered "
        f"by the mean of the map over the predicted tumour and 5 mm around it; lower is better. {SCALE}",
    )
    write_table(
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


def _round(value: float, digits: int = 4) -> float | None:
    return round(value, digits) if value == value else None


def main(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for cohorts, runs, tables and figures.")],
    config: Annotated[Size, typer.Option(help="How much to spend.")] = Size.CPU,
    anatomies: Annotated[
        Path | None, typer.Option(help="File of 'uncseg-train anatomies'; the ICBM152 template when left out.")
    ] = None,
    studies: Annotated[Path | None, typer.Option(help="Folder of studies with references, judged beside.")] = None,
    device: Annotated[str, typer.Option(help="Where to predict: auto, cpu or cuda.")] = "auto",
    minutes: Annotated[float | None, typer.Option(help="Stop after this time; run again to go on.")] = None,
) -> None:
    """Train and measure what is missing, write tables and figures."""
    require_studies(studies)
    plan, clock = plan_of(config), Clock(minutes)
    if not make_networks(plan, out, NETWORKS, anatomies_or_template(anatomies, out), clock, typer.echo):
        return
    sources = {"phantoms": source_of(plan, out, UNSEEN)}
    sources |= {"studies": Source(studies)} if studies is not None else {}
    all_ways = ways(out, plan.passes, tune(plan, out, device))
    found: dict[str, list[Measured]] = {name: [] for name in sources}
    for way in all_ways:
        records = out / "records" / way.name.replace(" ", "-").replace(",", "")
        calibrating = way.task(out, source_of(plan, out, CALIBRATION))
        calibration = record_of(calibrating, records / CALIBRATION, device)
        for name, source in sources.items():
            if clock.over:
                typer.echo(CUT)
                return
            task = way.task(out, source)
            judged = record_of(task, records / name, device)
            # A process for each takes longer than all else of the smallest size.
            tell = config is not Size.SMOKE
            peak = peak_memory_mb(task, records / f"memory-{name}.json", device) if tell else math.nan
            found[name].append(Measured(way, calibration, judged, peak))
            typer.echo(f"{way.name}, {name}: {judged.seconds:.1f} s each, {judged.passes} passes")
    told = {name: write(measured, out, name) for name, measured in found.items()}
    draw_one(all_ways, sources["phantoms"], out, device)
    content = {
        "plan": asdict(plan),
        "torch": torch.__version__,
        "injection": json.loads((out / "injection.json").read_text()),
        **told,
    }
    content["plan"]["config"].pop("cases")
    write_files({out / "methods.json": (json.dumps(content, indent=1) + "\n").encode()})
    for name in sources:
        typer.echo("\n" + (out / f"maps-{name}.md").read_text())


if __name__ == "__main__":
    run_plainly(main)
