"""From the files of a pair to a :class:`Case`: references, predictions of ours and of other tools, and the brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.arrays import AnyFloats, Floats32, Labels, Mask
from napari_uncseg.errors import EvaluationError, StudyError
from napari_uncseg.evaluation.case import Case, case_from_arrays, case_from_prediction
from napari_uncseg.evaluation.matching import LabelFile, Pair
from napari_uncseg.io.files import sha256_of
from napari_uncseg.io.geometry import describe_grid, same_grid, spacing
from napari_uncseg.io.label_coding import labels_of
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.nifti import Volume, read_volume
from napari_uncseg.io.results import check_made_from, doubt_about, load_prediction, other_inputs, read_result
from napari_uncseg.labels import MODALITIES, REGIONS, Coding, labels_from_regions, region_masks
from napari_uncseg.metrics.overlap import confusion, dice


@dataclass(frozen=True, eq=False)
class ReadCase:
    """A case and what reading it told.

    Parameters
    ----------
    case : Case
        What is measured; without a voxel of brain the brain is not known, and nothing is measured over it.
    notes : tuple of str
        What the reader of a report should know, a sentence each.
    checks : mapping
        Plain numbers for the sanity checks: ``confusion`` (4 x 4 voxel counts, rows reference, columns prediction, in
        the order 0, NCR, ED, ET), ``volumes_ml`` (``reference`` and ``prediction`` per region), ``agreement`` (Dice of
        segmentation and probabilities above 0.5, per region), ``model``, ``settings`` and ``needs_review`` of the
        prediction.
    no_brain : str
        Why the brain is not known, to stand in a sentence; empty where it is.
    """

    case: Case
    notes: tuple[str, ...]
    checks: Mapping[str, Any]
    no_brain: str = ""


def read_case(
    pair: Pair, *, coding: Coding | None = None, prediction_coding: Coding | None = None, keep_images: bool = False
) -> ReadCase:
    """Read the files of a pair.

    Parameters
    ----------
    pair : Pair
        One without a ``problem``.
    coding, prediction_coding : Coding, optional
        How the reference, and the label file of another tool, number their labels; by default names and values tell.
    keep_images : bool
        Whether a case of ours keeps the study's images.

    Returns
    -------
    ReadCase

    Raises
    ------
    EvaluationError, StudyError
        When a file is missing or damaged, labels fit no coding, or the grids differ.
    """
    if pair.problem is not None or pair.reference is None:
        raise EvaluationError(pair.problem or f"{pair.id} has no reference; give the folder that holds it.")
    reference, volume, notes = _labels(pair.reference, coding, "reference")
    checks: dict[str, Any] = {}
    prediction = None
    if pair.foreign:
        segmentation, own, said = _labels(pair.prediction, prediction_coding, "segmentation")
        notes, shape, affine = notes + said, own.shape, own.affine
    else:
        prediction = load_prediction(pair.prediction.path)
        segmentation, shape, affine = prediction.segmentation, prediction.shape, prediction.affine
        # 1 but for components that were left out.
        written = region_masks(labels_from_regions(prediction.probabilities))
        masks = zip(REGIONS, region_masks(segmentation), written, strict=True)
        checks["agreement"] = {str(region): dice(mask, own) for region, mask, own in masks}
        checks |= {name: prediction.provenance.get(name) for name in ("model", "settings", "needs_review")}
        if other_inputs(prediction.provenance, {"reference": {"file": volume.path.name, "sha256": volume.sha256}}):
            notes.append(f"{pair.id} was predicted beside another reference than {volume.path}.")
        if pair.images is not None:
            named = {role: {"file": path.name, "sha256": "of any"} for role, path in pair.images.paths.items()}
            notes += filter(None, (doubt_about(prediction.provenance, named, pair.id),))
    if not same_grid(shape, affine, volume.shape, volume.affine):
        there, here = describe_grid(volume.shape, volume.affine), describe_grid(shape, affine)
        raise EvaluationError(
            f"{pair.id}: the reference {volume.path} has {there}, its prediction has {here}; bring both on one grid."
        )
    brain, images, no_brain = _brain(pair, shape, affine)
    if no_brain:
        notes.append(f"{pair.id}: {no_brain}; nothing is measured over the brain.")
    if prediction is None:
        case = case_from_arrays(segmentation, reference, brain=brain, spacing=spacing(affine), id=pair.id)
    else:
        kept = images if keep_images else None
        case = replace(case_from_prediction(prediction, reference, brain=brain, images=kept), id=pair.id)
    checks["confusion"] = confusion(segmentation, reference)
    checks["volumes_ml"] = {
        what: {str(region): int(mask.sum()) * case.voxel_ml for region, mask in zip(REGIONS, masks, strict=True)}
        for what, masks in (("reference", case.reference), ("prediction", case.prediction))
    }
    return ReadCase(case, tuple(dict.fromkeys(notes)), checks, no_brain)


def input_hashes(pair: Pair) -> dict[str, str]:
    """sha256 of every file that a pair is read from.

    Parameters
    ----------
    pair : Pair

    Returns
    -------
    dict of str to str
        Role -> hash: ``prediction`` (and ``prediction/<map>`` for a result of ours), ``reference``, and a modality each
        where the brain comes from images.

    Raises
    ------
    EvaluationError, StudyError
        When a file cannot be read, or a result was made from other images than those of the pair.
    """
    files: dict[str, Path] = {"prediction": pair.prediction.path}
    result = None if pair.foreign else read_result(pair.prediction.path)
    if result is not None:
        files |= {f"prediction/{what}": path for what, path in result.files.items()}
    if pair.reference is not None:
        files["reference"] = pair.reference.path
    if pair.images is not None:
        files |= pair.images.paths
    hashes = {role: sha256_of(path, EvaluationError) for role, path in files.items()}
    if result is not None:
        images = {role: {"file": files[role].name, "sha256": hashes[role]} for role in MODALITIES if role in files}
        check_made_from(result.provenance, images, pair.id, result.path, EvaluationError)
    return hashes


def _labels(file: LabelFile, asked: Coding | None, what: str) -> tuple[Labels, Volume, list[str]]:
    volume = read_volume(file.path)
    labels, _, warnings = labels_of(volume, what, implied=file.coding, asked=asked, undecided=file.undecided)
    return labels, volume, [*volume.warnings, *warnings]


def _brain(pair: Pair, shape: tuple[int, int, int], affine: AnyFloats) -> tuple[Mask, Floats32 | None, str]:
    """The brain of the study's images, and these; without them no voxel, and why it is not known."""
    why = "its four images were not found"
    try:
        if pair.images is not None:
            study = load_study(replace(pair.images, reference=None))
            if same_grid(shape, affine, study.shape, study.affine):
                return study.brain, study.images, ""
            why = "its images lie on another grid"
    except StudyError as error:
        why = f"its images cannot be read ({str(error).rstrip('.')})"
    return np.zeros(shape, dtype=bool), None, f"the brain is not known, for {why}"
