"""The sample that ships with the plugin: a glioma phantom, made by rule from a healthy anatomy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PHANTOM = "UNCSEG-phantom"


def phantom_folder() -> Path:
    """Study folder of the glioma phantom."""
    return Path(__file__).with_name("sample") / PHANTOM


def glioma_phantom() -> list[tuple[Any, dict[str, Any], str]]:
    """Layers of the glioma phantom, for *File > Open Sample*."""
    from napari_uncseg.study.load import load_study
    from napari_uncseg.view.layers import study_layers

    return [layer.as_layer_data_tuple() for layer in study_layers(load_study(phantom_folder()))]
