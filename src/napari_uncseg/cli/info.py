"""What ``uncseg info`` tells: the versions that decide what comes out, and the model."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_uncseg.models.model import Model

PACKAGES: tuple[str, ...] = (
    "napari-uncseg",
    "torch",
    "napari",
    "numpy",
    "scipy",
    "nibabel",
    "SimpleITK",
    "safetensors",
)
"""Packages whose versions decide what comes out."""

BINDINGS: tuple[tuple[str, str], ...] = (("PyQt6", "Qt6/plugins"), ("PySide6", "Qt/plugins"))
"""Qt bindings napari works with, and where each keeps its plugins."""


def package_versions() -> dict[str, str]:
    """Versions of :data:`PACKAGES` and of the Qt bindings that are there; ``"not installed"`` for what is missing."""
    versions = {}
    for name in (*PACKAGES, *(binding for binding, _ in BINDINGS)):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in PACKAGES:
                versions[name] = "not installed"
    return versions


def describe_model(model: Model) -> dict[str, str]:
    """A model in a few lines, by what each line is about."""
    architecture = model.configuration["architecture"]
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    lines = {
        "model": model.name,
        "sha256": model.sha256,
        "folder": str(model.folder),
        "model card": _card(model.folder),
        "network": f"{architecture['network_class_name'].rsplit('.', 1)[-1]}, {parameters / 1e6:.2f} M parameters",
        "tile": f"{' × '.join(str(size) for size in model.patch_size)} voxels",
        "spacing": f"{' × '.join(f'{size:g}' for size in model.spacing)} mm",
        "head": f"{model.head}, {'with' if model.has_uncertainty else 'without'} an uncertainty channel",
        "orientation": model.orientation or "as the study lies",
    }
    return lines | {
        name.replace("_", " "): str(value)
        for name, value in model.provenance.items()
        if name not in ("name", "format") and isinstance(value, str | int | float)
    }


def _card(folder: Path | None) -> str:
    """Where the model card is: the Markdown file in the model's folder."""
    cards = sorted(folder.glob("*.md")) if folder is not None else []
    return str(cards[0]) if cards else "none"
