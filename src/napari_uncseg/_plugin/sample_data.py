"""The sample that ships with the plugin: a glioma phantom, made by rule from a healthy anatomy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import is_dir

PHANTOM = "UNCSEG-phantom-00026"
"""Written by ``uncseg-train phantom -o src/napari_uncseg/sample --seed 2023 --first 26 --spacing 1.5``."""


def phantom_folder() -> Path:
    """Study folder of the glioma phantom.

    Raises
    ------
    StudyError
        When the installation lacks it.
    """
    folder = Path(__file__).parents[1] / "sample" / PHANTOM
    if not is_dir(folder):
        raise StudyError(f"The bundled phantom is missing at {folder}: install napari-uncseg again, or name a study.")
    return folder


def glioma_phantom() -> list[tuple[Any, dict[str, Any], str]]:
    """Layers of the glioma phantom, for *File > Open Sample*."""
    from napari_uncseg._plugin.reader import study_layers_to_open
    from napari_uncseg.io.loading import load_study

    return [layer.as_layer_data_tuple() for layer in study_layers_to_open(load_study(phantom_folder()))]
