"""Which model a folder holds, told by its provenance and its calibration alone; torch is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_uncseg.errors import CalibrationError, ModelError
from napari_uncseg.io.files import is_file, read_json, sha256
from napari_uncseg.uncertainty.recalibration.io import Calibration, load_calibration

WEIGHTS, PLANS, DATASET, PROVENANCE = "weights.safetensors", "plans.json", "dataset.json", "provenance.json"
SNAPSHOT = "snapshot-{}.safetensors"
"""Weights of an earlier moment of the same training, numbered from 1; ``WEIGHTS`` is the last of the run."""

PREVIOUS_STAGE = "previous_stage"
"""Folder, inside that of a cascade, of the model that runs before it."""

FORMAT = "napari-uncseg model 1"

MEND = "copy the model folder again"
"""What a user is to do about a damaged file of a model."""

CALIBRATION = "calibration.json"
"""File of a model folder that tells how good its predictions are, with the members it was fitted for."""

BUNDLED = "bundled"
"""Stands for the calibration that comes with the package, where a file could be named."""

NO_BUNDLED = "This version comes without a calibration; fit one with uncseg calibrate, or go without."

PREVIOUS_PROVENANCE = f"{PREVIOUS_STAGE}/{PROVENANCE}"
"""File by whose hash a cascade holds its previous stage: it names the hashes of all others."""


@dataclass(frozen=True)
class Identity:
    """What a model calls itself.

    Parameters
    ----------
    name : str
    sha256 : str
        Hash over weights, plans, data set description and snapshots.
    snapshots : int
        How many networks of its run it holds, the last one included.
    ensemble : str
        Ensembling method that it was judged with, and is run with when nobody chooses.
    """

    name: str
    sha256: str
    snapshots: int = 1
    ensemble: str = "single"


def bundled_model_folder() -> Path:
    """Folder of the network that comes with the package."""
    return Path(__file__).parent / "bundled"


def identify(folder: Path | None = None) -> Identity:
    """Tell which model a folder holds; whether its files are the ones it names is found out when it is loaded.

    Parameters
    ----------
    folder : Path, optional
        The bundled model when left out.

    Raises
    ------
    ModelError
        When it is no model folder.
    """
    folder = bundled_model_folder() if folder is None else folder
    provenance = read_provenance(folder)
    try:
        sha256 = model_sha256(provenance["files"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / PROVENANCE} does not name the model's files; {MEND}.") from error
    ensemble = str(provenance.get("members", "single"))
    return Identity(str(provenance.get("name", folder.name)), sha256, 1 + len(snapshot_names(provenance)), ensemble)


def calibration_of(folder: Path) -> Calibration | None:
    """The calibration that a model folder brings along; None when there is none.

    Raises
    ------
    CalibrationError
        When it is damaged.
    """
    path = folder / CALIBRATION
    return load_calibration(path) if is_file(path) else None


def bundled_calibration() -> Calibration | None:
    """The calibration of the network that comes with the package, see :func:`calibration_of`."""
    return calibration_of(bundled_model_folder())


def find_calibration(named: str | Path) -> Calibration:
    """Read a calibration by the name a user gives it: a file, or :data:`BUNDLED`.

    Raises
    ------
    CalibrationError
        When there is none of this name.
    """
    calibration = load_calibration(named) if str(named) != BUNDLED else bundled_calibration()
    if calibration is None:
        raise CalibrationError(NO_BUNDLED)
    return calibration


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read how the weights of a model folder came to be, and the hashes of its files.

    Raises
    ------
    ModelError
        When the file is missing, damaged or foreign.
    """
    path = folder / PROVENANCE
    provenance = read_json(path, ModelError, MEND)
    if provenance.get("format") != FORMAT:
        raise ModelError(f"{path} does not say '{FORMAT}': this is no model of napari-uncseg.")
    return provenance


def snapshot_names(provenance: Mapping[str, Any]) -> list[str]:
    """Files of earlier snapshots, the earliest first."""
    names = [SNAPSHOT.format(number) for number in range(1, 1 + len(provenance.get("files", {})))]
    return [name for name in names if name in provenance.get("files", {})]


def model_sha256(hashes: Mapping[str, str]) -> str:
    """Hash of a model, of the hashes of its files."""
    names = [WEIGHTS, PLANS, DATASET, *snapshot_names({"files": hashes})]
    names += [name for name in (PREVIOUS_PROVENANCE,) if name in hashes]
    return joint_sha256(hashes[name] for name in names)


def joint_sha256(hashes: Iterable[str]) -> str:
    """Hash of several hashes in their order: of the files of a model, or of the models of an ensemble."""
    return sha256("".join(hashes).encode())
