"""The trained network as the one small file that the plugin ships."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from napari_uncseg.io.files import write_files
from napari_uncseg.models.model import pack_weights
from napari_uncseg.preparation.brain_network import HEADER
from uncseg_training.brain.heads import SPACING, Head
from uncseg_training.brain.trainer import UNIT_MM, Training, architecture_of

WEIGHTS = "brain.safetensors"


def export(training: Training, heads: Sequence[Head], path: Path) -> None:
    """Write the averaged weights in half precision; what the file says of itself is in its header.

    Parameters
    ----------
    training : Training
    heads : sequence of Head
        Those it was given.
    path : Path

    Raises
    ------
    SaveError
        When the file cannot be written.
    """
    config, held_out = training.config, training.config.held_out
    told = {
        "name": config.name,
        "architecture": architecture_of(config),
        "spacing_mm": SPACING,
        "unit_mm": UNIT_MM,
        "step": training.step,
        "steps": config.steps,
        "hours": round(training.seconds / 3600, 2),
        "seed": config.seed,
        "trained_on": [head.name for head in heads[: len(heads) - held_out]],
    }
    packed = pack_weights(training.averaged.state_dict(), half=True, told={HEADER: json.dumps(told)})
    write_files({path: packed})
