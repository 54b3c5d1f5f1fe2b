"""*Uncertainty-Aware nnU-Net* inside nnU-Net v2: one output more, which learns where the segmentation fails.

Nothing of nnU-Net changes but this: the network has one output more and no deep supervision, the loss has three terms
more, and between epochs a part of the cases is predicted whole, to keep the error maps that are the target. All cases
of a fold have such a map, those of the validation too: their reference makes their map, so what is measured against it
is said apart from what is measured against the failure of the final network.

The class is found by ``nnUNetv2_train -tr nnUNetTrainerUncertainty`` in the folder ``nnunet/ext``, and is started by
``uncseg-train nnunet`` without any search.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import Tensor, nn

from napari_uncseg.inference.sliding_window import sliding_window_logits
from napari_uncseg.labels import labels_from_regions
from napari_uncseg.models.heads import region_probabilities
from napari_uncseg.models.importers.checkpoint import read_checkpoint
from napari_uncseg.models.masked import MaskedUncertaintyNetwork
from uncseg_training.data.case_manifest import MANIFEST
from uncseg_training.nnunet.data import ErrorLoader, Labelling, describe_preprocessing
from uncseg_training.nnunet.loss import count_voxels, split_target
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.paper1.paper_losses import PaperLoss
from uncseg_training.paper1.variance import VarianceMaps
from uncseg_training.train.refresh import ERRORS, VARIANCES, Inference, open_maps, refresh_sweep

LOG = "uncertainty.jsonl"

TERMS = ("segmentation", "unc", "rmsd", "correlation")
"""Of the loss, as logged."""

SWEEPS = 20
"""How often each case is visited in a run."""

FIRST_ERROR = 0.02
"""Error rate the new output begins at."""


class nnUNetTrainerUncertainty(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with an uncertainty channel.

    Parameters
    ----------
    plans : dict
        nnU-Net's plans.
    configuration : str
        Such as ``3d_fullres``.
    fold : int or str
        Of ``splits_final.json``, or ``all``.
    dataset_json : dict
        With the labels or regions of a glioma.
    device : torch.device
        One device; several are refused.

    Raises
    ------
    ValueError
        When the data set or the way it is started is not served.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the signature nnU-Net calls
    ) -> None:
        super().__init__({"continue_training": False, **plans}, configuration, fold, dataset_json, device)
        if self.is_ddp:
            raise ValueError("Error maps are written by one process; train on one GPU, and folds beside one another.")
        if self.is_cascaded or len(self.configuration_manager.patch_size) != 3:
            raise ValueError(f"{configuration} is a cascade or not in 3-D; take 3d_fullres.")
        self.enable_deep_supervision = False
        self.num_epochs = 500
        self.save_every = 10
        self.mirror_validation = True
        self.labelling = Labelling(dataset_json)
        self.uncertainty_loss = PaperLoss()
        self.errors: ErrorMaps | None = None
        self.variances: VarianceMaps | None = None
        self.skipped_steps = 0
        self._terms: dict[str, dict[str, float]] = {}
        # init_args travel with every checkpoint, and from there into the provenance of an imported model.
        self.my_init_kwargs["uncseg"] = {"loss": json.loads(json.dumps(asdict(self.uncertainty_loss))), "channels": 1}

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """The network of the plans with one output more, whose bias says that few voxels fail."""
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels + 1, False
        )
        with torch.no_grad():
            for layer in network.decoder.seg_layers:  # type: ignore[union-attr]
                layer.bias[num_output_channels:] = math.log(FIRST_ERROR / (1 - FIRST_ERROR))
        return network

    def initialize(self) -> None:
        """Build the network, and wrap it as the paper does."""
        super().initialize()
        # The wrapper shares the network's weights, so that checkpoints stay those of nnU-Net. In training the loss has
        # a mask of its own, with the reference in it: the channel is to learn of what was missed, too.
        self.masked = MaskedUncertaintyNetwork(self.network, self.labelling.head)
        self.masked.masking = False

    @property
    def heads(self) -> int:
        """How many of the outputs are segmentation."""
        return int(self.label_manager.num_segmentation_heads)

    # What the training is fed with.

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Open the maps and feed with them."""
        return self.get_feeds(self.open_maps())

    def get_feeds(self, errors: ErrorMaps) -> tuple[Any, Any]:
        """nnU-Net's loaders and augmentations for training and validation, with the error map beside the image."""
        manager, labels = self.configuration_manager, self.label_manager
        rotation, dummy_2d, initial, mirror = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        told = {
            "is_cascaded": False,
            "foreground_labels": labels.foreground_labels,
            "regions": labels.foreground_regions if labels.has_regions else None,
            "ignore_label": None,
        }
        train = self.get_training_transforms(
            manager.patch_size, rotation, None, mirror, dummy_2d, use_mask_for_norm=manager.use_mask_for_norm, **told
        )
        validation = self.get_validation_transforms(None, **told)
        loaders = [
            ErrorLoader(
                errors,
                dataset,
                self.batch_size,
                size,
                manager.patch_size,
                labels,
                oversample_foreground_percent=self.oversample_foreground_percent,
                probabilistic_oversampling=self.probabilistic_oversampling,
                transforms=transforms,
            )
            for dataset, size, transforms in zip(
                self.get_tr_and_val_datasets(), (initial, manager.patch_size), (train, validation), strict=True
            )
        ]
        workers = get_allowed_n_proc_DA()
        feeds = [
            SingleThreadedAugmenter(loader, None)
            if workers == 0
            else NonDetMultiThreadedAugmenter(
                loader, None, count, num_cached=count + 2, pin_memory=self.device.type == "cuda", wait_time=0.002
            )
            for loader, count in zip(loaders, (workers, max(1, workers // 2)), strict=True)
        ]
        for feed in feeds:
            next(feed)
        return feeds[0], feeds[1]

    def open_maps(self) -> ErrorMaps:
        """Error maps and variances of the fold's cases: gone on with, or begun when the training begins.

        Raises
        ------
        ValueError
            When they were made with another preprocessing or other settings.
        """
        folder = Path(self.output_folder)
        hashed = describe_preprocessing(self.plans_manager.plans, self.configuration_name)
        cases: set[str] = set()
        if self.current_epoch == 0 or not any((folder / name / MANIFEST).is_file() for name in (ERRORS, VARIANCES)):
            cases = {case for part in self.do_split() for case in part}
        shapes = {case: self._load(case)[0].shape[1:] for case in sorted(cases)}
        self.errors, self.variances = open_maps(folder, hashed, shapes, {"fold": self.fold})
        return self.errors

    def _load(self, case: str) -> Any:
        """Images, labels and properties of a preprocessed case."""
        data, labels, _, properties = self.dataset_class(self.preprocessed_dataset_folder, [case]).load_case(case)
        return data, labels, properties

    # One step.

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step of the optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        _, _, terms = self._forward(batch)
        total = terms["loss"]
        if not bool(torch.isfinite(total)):
            raise RuntimeError(f"The loss is {float(total)} in epoch {self.current_epoch} for {batch['keys']}.")
        parameters = self.network.parameters()
        if self.grad_scaler is None:
            total.backward()
            nn.utils.clip_grad_norm_(parameters, 12)
            self.optimizer.step()
        else:
            scale = self.grad_scaler.get_scale()
            self.grad_scaler.scale(total).backward()
            self.grad_scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, 12)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
            # The scaler shrinks where it left a step out, and says nothing.
            self.skipped_steps += self.grad_scaler.get_scale() < scale
        return {name: value.detach().cpu().numpy() for name, value in terms.items()}

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss and counts of one batch; the counts are of the segmentation's channels alone."""
        segmentation, target, terms = self._forward(batch)
        values = terms | count_voxels(segmentation, target, regions=self.label_manager.has_regions)
        return {name: value.detach().cpu().numpy() for name, value in values.items()}

    def _forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Segmentation logits, target, and the loss with its terms."""
        images, target, extra = (
            batch[name].to(self.device, non_blocking=True) for name in ("data", "target", "regression_target")
        )
        cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type) if cuda else nullcontext():
            segmentation, uncertainty = self.masked(images)
        if segmentation.shape[1] != self.heads or segmentation.shape[2:] != target.shape[2:]:
            raise RuntimeError(f"The network gave {tuple(segmentation.shape)} for a target of {tuple(target.shape)}.")
        segmentation = segmentation.float()
        found = self.uncertainty_loss.compare(
            uncertainty,
            self.labelling.logits(segmentation),
            self.labelling.regions(target),
            *split_target(extra),
            self.labelling.head,
        ).with_segmentation(self.loss(segmentation, target))
        terms = {name: getattr(found, name) for name in TERMS} | {"loss": found.total}
        return segmentation, target, terms

    # Between the epochs.

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Remember the terms of the loss."""
        self._terms["train"] = _means(train_outputs)
        super().on_train_epoch_end(train_outputs)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Remember the terms of the loss."""
        self._terms["validation"] = _means(val_outputs)
        super().on_validation_epoch_end(val_outputs)

    def on_epoch_end(self) -> None:
        """Refresh the maps of the cases whose turn it is, then log and save as nnU-Net does.

        The maps come first: a checkpoint is never ahead of them, and a sweep that was done is not done again.
        """
        done = self.refresh()
        line = {"epoch": self.current_epoch, "refreshed": len(done), "skipped_steps": int(self.skipped_steps)}
        with (Path(self.output_folder) / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line | self._terms) + "\n")
        super().on_epoch_end()

    def refresh(self) -> list[str]:
        """Predict the cases whose turn it is, un-augmented, and update their maps."""
        assert self.errors is not None  # opened with the loaders
        every = max(1, self.num_epochs // SWEEPS)
        cases = self.errors.store.cases
        return refresh_sweep(self._infer, cases, self.errors, every, self.current_epoch, self.variances)

    def _infer(self, case: str) -> Inference:
        data, labels, _ = self._load(case)
        probabilities = self.probabilities(self.predict(data[:]))
        return Inference(labels_from_regions(probabilities), self.labelling.labels(labels[0]), probabilities[0])

    def predict(self, images: Any, network: nn.Module | None = None) -> Tensor:
        """Raw output ``(heads + 1, x, y, z)`` for a preprocessed volume, tile by tile, on the processor."""
        network = (self.network if network is None else network).eval()
        volume = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.device)
        precision = torch.float16 if self.device.type == "cuda" else torch.float32
        return sliding_window_logits(network, volume, self.configuration_manager.patch_size, precision=precision).cpu()

    def probabilities(self, output: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
        """WT, TC, ET ``(3, x, y, z)`` of a raw output."""
        logits = self.labelling.logits(output[None, : self.heads])
        return np.asarray(region_probabilities(logits, self.labelling.head)[0].numpy())

    # Checkpoints.

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint under another name and rename it: a killed process leaves the last one whole."""
        if self.disable_checkpointing:
            return
        temporary = f"{filename}.part"
        super().save_checkpoint(temporary)
        os.replace(temporary, filename)

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Go on from a checkpoint, when it was trained with the same loss.

        Raises
        ------
        ModelError
            When the file would have to be executed.
        ValueError
            When it was trained otherwise.
        """
        found = read_checkpoint(filename_or_checkpoint)["init_args"].get("uncseg")
        own = self.my_init_kwargs["uncseg"]
        if found != own:
            raise ValueError(f"{filename_or_checkpoint} was trained with {found}, not {own}; begin in another folder.")
        super().load_checkpoint(str(filename_or_checkpoint))

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases whole, and measure segmentation and uncertainty."""
        from uncseg_training.nnunet.validation import validate

        validate(self, save_probabilities=save_probabilities)


def _means(outputs: list[dict[str, Any]]) -> dict[str, float]:
    """Mean of each term over the steps of an epoch."""
    names = ("loss", *TERMS)
    return {name: round(float(np.mean([output[name] for output in outputs])), 6) for name in names}
