"""What the output channels of nnU-Net's network mean, by the labels of its ``dataset.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.errors import ModelError
from napari_uncseg.io.label_coding import coding_of_names
from napari_uncseg.labels import CODINGS, REGION_LABELS, REGIONS, Coding, Label
from napari_uncseg.models.heads import Head


@dataclass(frozen=True)
class Outputs:
    """What a network's output channels mean.

    Parameters
    ----------
    head : Head
        Regions or labels.
    rows : tuple of int
        nnU-Net's channel behind each channel of the head.
    count : int
        How many segmentation channels nnU-Net's network has.
    coding : Coding
        How its references number the labels.
    """

    head: Head
    rows: tuple[int, ...]
    count: int
    coding: Coding


def read_outputs(labels: object, path: Path) -> Outputs:
    """What the output channels of nnU-Net's network mean.

    Parameters
    ----------
    labels : mapping
        ``labels`` of its ``dataset.json``: regions in the order they are named in, or labels by their number.
    path : Path
        The file, for messages.

    Raises
    ------
    ModelError
        When they are not those of a glioma.
    """
    spelt = _spelt_out(labels)
    coding = coding_of_names(spelt)
    if coding is None:
        raise ModelError(f"The labels in {path} ({labels}) are neither the labels nor the regions of a glioma.")
    meant = CODINGS[coding]
    regions = [{meant.get(int(number), 0) for number in value} for value in spelt.values() if isinstance(value, list)]
    if any(len(region) > 1 for region in regions):
        wanted = [set(map(int, REGION_LABELS[region])) for region in REGIONS]
        return Outputs(Head.REGIONS, tuple(regions.index(region) for region in wanted), len(regions), coding)
    # Names and numbers may stand either way round.
    values = sorted(int(str(key if isinstance(value, str) else value)) for key, value in spelt.items())
    if len(values) != 1 + len(Label):
        raise ModelError(f"{path} has {len(values)} labels; a network of labels has background, NCR, ED and ET alone.")
    number_of = {label: number for number, label in {0: 0, **meant}.items()}
    rows = tuple(values.index(number_of[label]) for label in (0, *Label))
    return Outputs(Head.LABELS4, rows, len(values), coding)


def _spelt_out(labels: object) -> dict[object, object]:
    """Labels without the ignored one; where there are regions, one of a single value is a list too."""
    plain = {key: value for key, value in labels.items() if key != "ignore"} if isinstance(labels, dict) else {}
    if not any(isinstance(value, list) and len(value) > 1 for value in plain.values()):
        return plain
    return {key: [value] if isinstance(value, int) and value else value for key, value in plain.items()}
