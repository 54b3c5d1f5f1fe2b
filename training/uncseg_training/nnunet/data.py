"""What nnU-Net's trainer is fed with besides images and labels: the error map, cut and bent as the image is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from torch import Tensor

from napari_uncseg.arrays import AnyInts, Labels
from napari_uncseg.labels import CODINGS
from napari_uncseg.models.heads import Head
from napari_uncseg.models.importers.plans import Outputs, read_outputs
from uncseg_training.data.case_manifest import preprocessing_hash
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.paper1.paper_losses import regions_of


class ErrorLoader(nnUNetDataLoader):  # type: ignore[misc]
    """nnU-Net's loader with the error map of each patch under ``regression_target``.

    The map is that of the case (by its key, never its place in the batch), cut at the patch's own box; what bends or
    flips the image bends and flips the map. Channel 0 is the error probability, channel 1 is 1 where there was a visit.

    Parameters
    ----------
    errors : ErrorMaps
        Of all cases the loader draws from.
    *arguments, **options
        As of nnU-Net's loader, with ``transforms``.
    """

    def __init__(self, errors: ErrorMaps, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors = errors

    def generate_train_batch(self) -> dict[str, Any]:
        """A batch: ``data``, ``target``, ``regression_target`` and ``keys``."""
        keys = [str(key) for key in self.get_indices()]
        with torch.no_grad():
            samples = [self._sample(key, self.get_do_oversample(place)) for place, key in enumerate(keys)]
        names = {"image": "data", "segmentation": "target", "regression_target": "regression_target"}
        return {name: torch.stack([sample[key] for sample in samples]) for key, name in names.items()} | {"keys": keys}

    def _sample(self, key: str, foreground: bool) -> dict[str, Tensor]:
        data, labels, _, properties = self._data.load_case(key)
        first, last = self.get_bbox(data.shape[1:], foreground, properties["class_locations"])
        box = [[int(start), int(stop)] for start, stop in zip(first, last, strict=True)]
        error, visited = self.errors.patch(key, [(start, stop) for start, stop in box])
        sample = {
            "image": torch.from_numpy(crop_and_pad_nd(data, box, 0)).float(),
            "segmentation": torch.from_numpy(crop_and_pad_nd(labels, box, -1, cast_cropped_to=np.int16)),
            "regression_target": torch.from_numpy(np.concatenate([error, visited.astype(np.float32)])),
        }
        if self.transforms is None:
            return sample
        sample = dict(self.transforms(**sample))
        # A transform that does not know regression targets returns None in their place.
        if sample.get("regression_target") is None:
            raise RuntimeError("An augmentation dropped the error map; leave it out or teach it regression targets.")
        if sample["regression_target"].shape[1:] != sample["image"].shape[1:]:
            raise RuntimeError("An augmentation left the error map on another grid than the image.")
        return sample


class Labelling:
    """Outputs and references of a data set in the order and numbers of this package.

    Parameters
    ----------
    dataset : mapping
        nnU-Net's ``dataset.json``.

    Raises
    ------
    ModelError
        When the labels are not those of a glioma.
    ValueError
        When some voxels are to be ignored.
    """

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        labels = dataset["labels"]
        if "ignore" in labels:
            raise ValueError(
                "The uncertainty channel is not trained where voxels are ignored; drop the label 'ignore'."
            )
        self.outputs: Outputs = read_outputs(labels, Path("dataset.json"))
        self.head: Head = self.outputs.head
        table = np.zeros(1 + max(CODINGS[self.outputs.coding]), np.uint8)
        for value, label in CODINGS[self.outputs.coding].items():
            table[value] = label
        self._table = table

    def labels(self, reference: AnyInts) -> Labels:
        """Values of :class:`napari_uncseg.labels.Label` of a reference; what lies outside (-1) is background."""
        return np.asarray(self._table[np.maximum(reference, 0)])

    def logits(self, output: Tensor) -> Tensor:
        """Segmentation logits ``(batch, head.channels, ...)`` in the order of the head."""
        return output[:, list(self.outputs.rows)]

    def regions(self, target: Tensor) -> Tensor:
        """WT, TC, ET ``(batch, 3, x, y, z)``, 0 or 1 in float32, of a batch's ``target``."""
        if self.head is Head.REGIONS:
            return target[:, list(self.outputs.rows)].float()
        table = torch.from_numpy(self._table).to(target.device)
        return regions_of(table[target[:, 0].long().clamp(min=0)].long())


def describe_preprocessing(plans: Mapping[str, Any], configuration: str) -> str:
    """Hash of all that decides which voxel of a preprocessed case is which place in the head."""
    block = plans["configurations"][configuration]
    names = ("data_identifier", "preprocessor_name", "spacing", "resampling_fn_data", "resampling_fn_data_kwargs")
    settings = {name: block.get(name) for name in (*names, "normalization_schemes", "use_mask_for_norm")}
    settings["transpose_forward"] = plans.get("transpose_forward")
    settings["image_reader_writer"] = plans.get("image_reader_writer")
    return preprocessing_hash(settings)
