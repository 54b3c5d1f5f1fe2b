"""Settings of the plugin, as the user sets them in napari's preferences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari.settings import get_plugin_settings

from napari_uncseg.widgets.common import path_of

DEVICES: tuple[str, ...] = ("auto", "cuda", "cpu")
"""What the manifest offers; whether a device is there is found out when a model runs."""


@dataclass(frozen=True)
class Preferences:
    """Values of the manifest's configurations, with its defaults.

    Parameters
    ----------
    device : str
        One of :data:`DEVICES`.
    model_folder : str
        Folder of a model; empty for the bundled one.
    output_folder : str
        Where results are proposed to go; empty for next to the study.
    """

    device: str = "auto"
    model_folder: str = ""
    output_folder: str = ""

    @property
    def results(self) -> Path | None:
        """Where results are proposed to go; None for next to the study."""
        return path_of(self.output_folder)


def read_preferences() -> Preferences:
    """Preferences of the user; the defaults when the plugin runs without its manifest, as in a script."""
    try:
        settings = get_plugin_settings("napari-uncseg")
    except KeyError:
        return Preferences()
    inference, results = settings.inference, settings.results
    return Preferences(str(inference.device), str(inference.model_folder), str(results.output_folder))
