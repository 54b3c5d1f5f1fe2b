"""The final validation of a fold: Dice as nnU-Net counts it, and whether the uncertainty lies where errors are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.evaluation.evaluate_predictions import compute_metrics, save_summary_json
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from torch import Tensor, nn

from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.evaluation.discrimination import Alignment, Discrimination
from napari_uncseg.evaluation.evaluation import Evaluation
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.table import to_records
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import Region, labels_from_regions
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.masked import get_cancer_mask
from napari_uncseg.uncertainty.measures import bernoulli_variance
from uncseg_training.data.normalise import times_four

if TYPE_CHECKING:
    from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

FOLDER, SUMMARY, UNCERTAINTY = "validation", "summary.json", "uncertainty.json"

TARGET = "error_stable"
"""Name of the error map among the maps of a case."""

MAPS = ("unc_output", "unc_output_unmasked", "variance_stable_x4", "var1shot_x4")
"""What is compared with it, and with the failure of the final network; variances are taken times four."""

VOXEL_SETS = (VoxelSet.TUMOUR, VoxelSet.BRAIN)


class Mirrored(nn.Module):
    """Mean of a network's outputs over all flips of some axes, as nnU-Net predicts.

    Parameters
    ----------
    network : nn.Module
        Any network of volumes.
    axes : sequence of int
        Spatial axes, from 0.
    """

    def __init__(self, network: nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.axes = network, axes

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, x, y, z)`` to what the network does, averaged."""
        flips = [tuple(2 + axis for axis in some) for count in range(4) for some in combinations(self.axes, count)]
        total: Tensor = torch.stack([torch.flip(self.network(torch.flip(x, flip)), flip) for flip in flips]).mean(0)
        return total


def validate(trainer: nnUNetTrainerUncertainty, *, save_probabilities: bool = False) -> None:
    """Predict the validation cases of a fold and write ``validation/``.

    Parameters
    ----------
    trainer : nnUNetTrainerUncertainty
        Trained, or with a checkpoint loaded.
    save_probabilities : bool
        Also write probabilities of regions or labels as nnU-Net does, for its ensembles.

    Notes
    -----
    Writes a segmentation per case and ``summary.json``, both in nnU-Net's form, and ``uncertainty.json``: per case,
    mean over cases and pooled, each with its voxel set and count.
    """
    folder = Path(trainer.output_folder) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.errors is None:
        trainer.open_maps()
    axes = tuple(trainer.inference_allowed_mirroring_axes or ()) if trainer.mirror_validation else ()
    network = Mirrored(trainer.network, axes) if axes else trainer.network
    metrics = list(_metrics())
    results = []
    _, cases = trainer.do_split()
    for case in sorted(cases):
        trainer.print_to_log_file(f"validating {case}")
        data, labels, properties = trainer._load(case)
        output = trainer.predict(data[:], network)
        path = str(folder / case)
        export_prediction_from_logits(
            output[: trainer.heads],
            properties,
            trainer.configuration_manager,
            trainer.plans_manager,
            trainer.dataset_json,
            path,
            save_probabilities,
        )
        results.append(_dice(trainer, case, path))
        found = _case(trainer, case, output, labels[0])
        for metric in metrics:
            if getattr(metric, "against", None) is None or TARGET in found.maps:
                metric.add(found)
    summary = _summary(results)
    save_summary_json(summary, str(folder / SUMMARY))
    write_files({folder / UNCERTAINTY: _told(trainer, metrics, axes)})
    trainer.print_to_log_file("Mean Validation Dice: ", summary["foreground_mean"]["Dice"])


def _case(trainer: nnUNetTrainerUncertainty, case: str, output: Tensor, reference: Any) -> Case:
    """A validation case on its preprocessed grid."""
    assert trainer.errors is not None
    assert trainer.variances is not None
    probabilities = trainer.probabilities(output)
    error, history = trainer.errors.read(case), trainer.variances.read(case)
    unmasked = torch.sigmoid(output[trainer.heads]).numpy()
    mask = get_cancer_mask(torch.from_numpy(probabilities[None, :1]))[0, 0].numpy()
    maps = {
        "unc_output": unmasked * mask,
        "unc_output_unmasked": unmasked,
        "variance_stable_x4": times_four(history.variance).clip(0, 1),
        "var1shot_x4": times_four(bernoulli_variance(probabilities[0])).clip(0, 1),
    }
    if error.visits.min() > 0:
        maps[TARGET] = error.error[0].clip(0, 1)
    x, y, z = (float(size) for size in trainer.configuration_manager.spacing)
    return case_from_arrays(
        labels_from_regions(probabilities),
        trainer.labelling.labels(reference),
        probabilities=probabilities,
        maps=maps,
        # nnU-Net marks what lies outside the brain in the reference.
        brain=reference >= 0,
        spacing=(x, y, z),
        id=case,
    )


def _metrics() -> Iterator[Metric]:
    """Every map against the error map and against the failure, in both voxel sets."""
    for voxel_set in VOXEL_SETS:
        for name in MAPS:
            yield Alignment(name, Region.WT, voxel_set, TARGET)
            yield Alignment(name, Region.WT, voxel_set)
            yield Discrimination(name, Region.WT, voxel_set)


def _dice(trainer: nnUNetTrainerUncertainty, case: str, path: str) -> dict[str, Any]:
    """nnU-Net's own numbers of one exported segmentation."""
    manager, ending = trainer.label_manager, trainer.dataset_json["file_ending"]
    reference = Path(trainer.preprocessed_dataset_folder_base, "gt_segmentations", f"{case}{ending}")
    regions = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    reader = trainer.plans_manager.image_reader_writer_class()
    result: dict[str, Any] = compute_metrics(str(reference), f"{path}{ending}", reader, regions)
    return result


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """``summary.json`` as nnU-Net writes it; a region that is empty everywhere has no mean."""
    regions = list(results[0]["metrics"])
    names = list(results[0]["metrics"][regions[0]])
    means = {
        region: {name: _mean([result["metrics"][region][name] for result in results]) for name in names}
        for region in regions
    }
    overall = {name: _mean([means[region][name] for region in regions]) for name in names}
    for part in (*results, means, overall):
        recursive_fix_for_json_export(part)
    return {"metric_per_case": results, "mean": means, "foreground_mean": overall}


def _mean(values: list[float]) -> float:
    known = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _told(trainer: nnUNetTrainerUncertainty, metrics: list[Metric], axes: tuple[int, ...]) -> bytes:
    table = Evaluation(tuple(metric for metric in metrics if len(metric.cases))).table
    content = {
        "fold": trainer.fold,
        "epochs": int(trainer.current_epoch),
        "mirrored_axes": list(axes),
        "settings": trainer.my_init_kwargs["uncseg"],
        "values": to_records(table),
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
