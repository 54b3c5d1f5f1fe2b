"""Small files of every naming, made of the tiny study."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES

WriteVolume = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, tiny_study: Study) -> WriteVolume:
    """Writes an array (by default the tiny study's T1c) as NIfTI below the test's folder."""

    def write_one(name: str, array: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = tiny_study.images[0].astype(np.int16) if array is None else array
        nib.Nifti1Image(data, tiny_study.affine if affine is None else affine).to_filename(path)
        return path

    return write_one


@pytest.fixture
def write_study(write: WriteVolume, tiny_study: Study) -> Callable[..., Path]:
    """Writes the tiny study with a name for each modality, and a reference if it gets a name."""

    def write_all(folder: str, names: Mapping[str, str], labels: np.ndarray | None = None) -> Path:
        for modality, name in names.items():
            if modality == "reference":
                write(f"{folder}/{name}", tiny_study.reference if labels is None else labels)
            else:
                image = tiny_study.images[MODALITIES.index(modality)]
                path = write(f"{folder}/{name}", image.astype(np.int16))
        return path.parent

    return write_all


@pytest.fixture
def write_nnunet(write: WriteVolume, tiny_study: Study, tmp_path: Path) -> Callable[..., Path]:
    """Writes an nnU-Net dataset of one case, its channels in the order given."""

    def write_dataset(order: Mapping[str, str], labels: Mapping[str, object], reference: np.ndarray) -> Path:
        root = tmp_path / "Dataset001_Glioma"
        for number, modality in enumerate(order):
            image = tiny_study.images[MODALITIES.index(modality)].astype(np.int16)
            write(f"{root.name}/imagesTr/case_7_{number:04d}.nii.gz", image)
        write(f"{root.name}/labelsTr/case_7.nii.gz", reference)
        content = {"channel_names": {str(n): name for n, name in enumerate(order.values())}, "labels": labels}
        (root / "dataset.json").write_text(json.dumps(content))
        return root

    return write_dataset


@pytest.fixture
def write_decathlon(write: WriteVolume, tiny_study: Study, tmp_path: Path) -> Path:
    """A Decathlon task of one 4-D case, with the channels and labels as Task01_BrainTumour has them."""
    root = tmp_path / "Task01_BrainTumour"
    order = ("t2f", "t1n", "t1c", "t2w")
    images = np.stack([tiny_study.images[MODALITIES.index(modality)] for modality in order], axis=-1)
    write(f"{root.name}/imagesTr/BRATS_001.nii.gz", images.astype(np.float32))
    (root / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"left by a Mac")
    assert tiny_study.reference is not None
    write(f"{root.name}/labelsTr/BRATS_001.nii.gz", np.array([0, 2, 1, 3], dtype=np.uint8)[tiny_study.reference])
    content = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root
