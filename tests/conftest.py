"""What tests share: a home of their own, and one small study with its files and its prediction."""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# napari reads its configuration path when it is imported, so tests get their own home before anything else is.
_HOME = tempfile.mkdtemp(prefix="uncseg-tests-")
os.environ["HOME"] = _HOME
for _name in ("CONFIG", "DATA", "CACHE", "STATE"):
    os.environ[f"XDG_{_name}_HOME"] = str(Path(_HOME, _name.lower()))
os.environ["NAPARI_CONFIG"] = str(Path(_HOME, "config", "napari", "settings.yaml"))
os.environ["MPLCONFIGDIR"] = str(Path(_HOME, "config", "matplotlib"))

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from napari_uncseg.io.prediction import Prediction  # noqa: E402
from napari_uncseg.io.saving import save_prediction  # noqa: E402
from napari_uncseg.io.study import Study  # noqa: E402
from napari_uncseg.labels import MODALITIES, Label, labels_from_regions, region_masks  # noqa: E402
from tests.plans import make_plans  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]

STUDY_ID = "BraTS-GLI-00000-000"
SHAPE = (40, 44, 36)
# As BraTS files: voxels run to the left and to the back. Slices are thicker, so that no axis can stand for another.
AFFINE = np.array([[-2.0, 0, 0, 40], [0, -2.0, 0, 45], [0, 0, 2.5, -42], [0, 0, 0, 1]])
# Off the centre on every axis, so that a flipped or swapped axis shows.
TUMOUR_CENTRE = (14, 25, 20)
# Intensities of background brain, necrotic core, oedema and enhancing tumour.
CONTRASTS = {
    "t1c": (300, 180, 260, 700),
    "t1n": (320, 200, 250, 230),
    "t2f": (280, 330, 620, 450),
    "t2w": (260, 560, 520, 400),
}


def pytest_sessionfinish() -> None:
    """Remove the home of the tests."""
    shutil.rmtree(_HOME, ignore_errors=True)


def _distances_mm(centre: tuple[float, float, float]) -> np.ndarray:
    """Distance of every voxel from a voxel, in millimetres."""
    spacing = np.linalg.norm(AFFINE[:3, :3], axis=0)
    grid = np.indices(SHAPE, dtype=np.float64)
    offsets = (grid - np.reshape(centre, (3, 1, 1, 1))) * spacing.reshape(3, 1, 1, 1)
    return np.sqrt((offsets**2).sum(axis=0))


def _tiny_reference() -> np.ndarray:
    """A necrotic core (6.5 mm) in an enhancing shell (10 mm) in oedema (16 mm); every region is above 1 mL."""
    distance = _distances_mm(TUMOUR_CENTRE)
    reference = np.zeros(SHAPE, dtype=np.uint8)
    reference[distance < 16] = Label.ED
    reference[distance < 10] = Label.ET
    reference[distance < 6.5] = Label.NCR
    return reference


def _tiny_header() -> nib.Nifti1Header:
    image = nib.Nifti1Image(np.zeros(SHAPE, dtype=np.int16), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    return image.header


def make_study() -> Study:
    """A study of 40x44x36 voxels with whole-numbered intensities: a tumour in a round brain on a background of zero."""
    generator = np.random.default_rng(20211206)
    reference = _tiny_reference()
    brain = _distances_mm(tuple((size - 1) / 2 for size in SHAPE)) < 36
    images = np.empty((len(MODALITIES), *SHAPE), dtype=np.float32)
    for image, modality in zip(images, MODALITIES, strict=True):
        background, ncr, ed, et = CONTRASTS[modality]
        image[:] = np.choose(reference, (background, ncr, ed, et))
        image += generator.normal(0, 15, SHAPE)
    images = np.where(brain, np.clip(images.round(), 1, None), 0).astype(np.float32)
    return Study(
        id=STUDY_ID,
        images=images,
        affine=AFFINE.copy(),
        brain=brain,
        reference=reference,
        header=_tiny_header(),
    )


_made_once = functools.cache(make_study)


@pytest.fixture
def tiny_study() -> Study:
    """What :func:`make_study` makes, a copy of the test's own."""
    return copy.deepcopy(_made_once())


def write_study(study: Study, folder: Path) -> Path:
    """A study on disk, in a folder named and filled as BraTS 2023 does it."""
    (folder / study.id).mkdir(parents=True)
    for name, data in _tiny_files(study).items():
        (folder / study.id / f"{study.id}-{name}.nii.gz").write_bytes(data)
    return folder / study.id


@pytest.fixture
def study_folder(tmp_path: Path, tiny_study: Study) -> Path:
    """`tiny_study` on disk."""
    return write_study(tiny_study, tmp_path)


def _tiny_files(study: Study) -> dict[str, bytes]:
    """Content of the files of `tiny_study`, the same at every call."""
    volumes = dict(zip(MODALITIES, study.images, strict=True)) | {"seg": study.reference}
    images = {name: nib.Nifti1Image(v.astype(np.int16), study.affine, study.header) for name, v in volumes.items()}
    return {name: gzip.compress(image.to_bytes(), 1, mtime=0) for name, image in images.items()}


def make_prediction(tiny_study: Study) -> Prediction:
    """A good but imperfect prediction for `tiny_study`: the tumour 2 voxels off and soft at its border."""
    x, y, z = TUMOUR_CENTRE
    distance = _distances_mm((x + 2, y, z))
    probabilities = np.stack([1 / (1 + np.exp((distance - radius) / 1.5)) for radius in (15.5, 9.5, 9.0)])
    # The necrotic core is no enhancing tumour.
    probabilities[2] *= 1 / (1 + np.exp((6.0 - distance) / 1.0))
    probabilities = (probabilities * tiny_study.brain).astype(np.float32)

    segmentation = labels_from_regions(probabilities)
    p = probabilities[0]
    q = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    entropy = (-(q * np.log(q) + (1 - q) * np.log(1 - q))).astype(np.float32)
    unmasked = (0.6 * entropy / np.log(2)).astype(np.float32)
    assert tiny_study.reference is not None
    error = region_masks(segmentation)[0] ^ region_masks(tiny_study.reference)[0]
    volumes = region_masks(segmentation).sum(axis=(1, 2, 3)) * tiny_study.voxel_ml
    return Prediction(
        study_id=tiny_study.id,
        probabilities=probabilities,
        segmentation=segmentation,
        maps={
            "unc_output": np.where(distance < 21, unmasked, 0).astype(np.float32),
            "unc_output_unmasked": unmasked,
            "entropy": entropy,
            "variance": p * (1 - p),
            "error": error.astype(np.float32),
        },
        affine=tiny_study.affine,
        provenance={
            "schema": 1,
            "study": tiny_study.id,
            "model": {"name": "made for tests", "sha256": "0" * 64},
            "inputs": {
                name: {"file": f"{STUDY_ID}-{name}.nii.gz", "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in _tiny_files(tiny_study).items()
                if name in MODALITIES
            },
            "settings": {
                "device": "cpu",
                "precision": "float32",
                "members": 1,
                "mask_dilation_mm": 5.0,
                "resampled": False,
            },
            "versions": {},
            "command": f"uncseg predict {STUDY_ID} -o out",
            "warnings": [],
            "volumes_ml": dict(zip(("WT", "TC", "ET"), volumes.round(3).tolist(), strict=True)),
            "triage_score": round(float(entropy[distance < 21].mean()), 4),
            "research_use_only": "For research use only. Not for diagnosis or treatment.",
        },
        header=tiny_study.header,
    )


CopyStudy = Callable[..., Path]


@pytest.fixture
def copy_study(study_folder: Path) -> CopyStudy:
    """Copies `study_folder` under another name, its files renamed too."""

    def copy(name: str, into: Path) -> Path:
        (into / name).mkdir(parents=True)
        for file in study_folder.iterdir():
            shutil.copy(file, into / name / file.name.replace(study_folder.name, name))
        return into / name

    return copy


@pytest.fixture
def add_study(copy_study: CopyStudy, tiny_prediction: Prediction) -> Callable[..., None]:
    """Puts a study under another name into `FOLDER/ref`, and its prediction into `FOLDER/pred`."""

    def add(folder: Path, name: str, prediction: Prediction = tiny_prediction, **provenance: object) -> None:
        copy_study(name, folder / "ref")
        told = {**prediction.provenance, "study": name, **provenance}
        save_prediction(replace(prediction, study_id=name, provenance=told), folder / "pred")

    return add


@functools.cache
def _predicted_once() -> Prediction:
    return make_prediction(_made_once())


@pytest.fixture
def tiny_prediction() -> Prediction:
    """What :func:`make_prediction` makes of `tiny_study`, a copy of the test's own."""
    return copy.deepcopy(_predicted_once())


def write_model(folder: Path) -> Path:
    """Folder of a network of two levels with random weights."""
    import torch

    from napari_uncseg.models.model import Model, output_channels, save_model
    from napari_uncseg.models.unet import build_network

    plans = make_plans(patch=(24, 24, 24), spacing=(3.0, 3.0, 3.0))
    torch.manual_seed(0)
    network = build_network(plans, len(MODALITIES), output_channels(plans))
    save_model(Model(network, plans, name="tiny"), folder)
    return folder


@pytest.fixture
def tiny_model_folder(tmp_path: Path) -> Path:
    """What :func:`write_model` writes."""
    return write_model(tmp_path / "model")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real studies, never part of the repository; a test that needs it says when it is not there."""
    named = os.environ.get("UNCSEG_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "brats2021").is_dir():
        if named:
            pytest.fail(f"UNCSEG_REAL_DATA is {named}, which holds no folder brats2021.")
        pytest.skip("No real studies here: set UNCSEG_REAL_DATA to a folder that holds brats2021/<study>/.")
    return folder
