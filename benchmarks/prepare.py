"""Time and memory from a DICOM folder to a segmentation, with the parts, and SimpleITK's default registration beside.

    python benchmarks/prepare.py                       # the writer's head of the tests, on four clinical grids
    python benchmarks/prepare.py --folder EXAMINATION [--brain-mask FILE] [--no-peer]

Ours is what ``uncseg predict`` does with an examination after its imports. The peer registers the same three pairs as
SimpleITK's tutorial does: Mattes' mutual information, centred by geometry, gradient descent at full resolution on three
levels. Processor time tells a slow program from a busy machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np  # noqa: E402

from napari_uncseg.inference.predictor import Predictor  # noqa: E402
from napari_uncseg.io.loading import load_study  # noqa: E402
from napari_uncseg.io.saving import save_prediction  # noqa: E402
from napari_uncseg.labels import MODALITIES  # noqa: E402
from napari_uncseg.models.model import load_model  # noqa: E402
from napari_uncseg.preparation.prepare import Options, prepare_study  # noqa: E402
from napari_uncseg.preparation.scans import Scan, read_dicom  # noqa: E402
from predict import Clock, peak_gb, verdict  # noqa: E402

TARGET_SECONDS, TARGET_GB = 45.0, 4.0

GRIDS = {
    "t1n": ((1.0, 1.0, 1.2), (256, 256, 160), "sagittal", 0.0),
    "t2f": ((0.9, 0.9, 5.0), (256, 256, 34), "axial", 8.0),
    "t2w": ((0.6, 0.6, 4.0), (384, 384, 42), "axial", 8.0),
    "t1c": ((1.0, 1.0, 1.0), (256, 256, 176), "sagittal", 0.0),
}
"""Spacing, shape, plane and tilt of a usual examination, in the order of its series: contrast agent comes last."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="an examination in DICOM; made up when left out")
    parser.add_argument("--brain-mask", type=Path, help="a mask on T1c, in place of the network")
    parser.add_argument("--no-peer", action="store_true", help="measure ours alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return measure(options, Path(scratch))


def measure(options: argparse.Namespace, scratch: Path) -> int:
    """Run ours and the peer, print what they took, and give 1 when a target was missed."""
    folder, clock = options.folder or write_examination(scratch / "dicom"), Clock()
    before = peak_gb()
    with clock("read DICOM"):
        raw = read_dicom(folder)
    with clock("prepare"):
        done = prepare_study(raw, scratch / "study", Options(brain_mask=options.brain_mask))
    parts = done.record["seconds"]
    print("  of it " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items()))
    with clock("read the model"):
        model = load_model()
    with clock("read the study"):
        study = load_study(done.files)
    with clock("predict"):
        prediction = Predictor(model).predict(study)
    with clock("save"):
        save_prediction(prediction, scratch / "out")
    seconds, gb = sum(clock.wall.values()), peak_gb()
    held = [seconds <= TARGET_SECONDS, gb <= TARGET_GB]
    print(f"{'total':<16}{seconds:7.2f} s   target {TARGET_SECONDS:.0f} s: {verdict(held[0])}")
    print(f"{'peak memory':<16}{gb:7.2f} GB  target {TARGET_GB:.0f} GB: {verdict(held[1])}, {before:.2f} before")
    reasons = [reason["code"] for reason in done.record["needs_review"]]
    print(f"T1c of {'×'.join(map(str, study.shape))} voxels; needs review: {', '.join(reasons) or 'no'}")
    if not options.no_peer:
        with clock("SimpleITK"):
            for role in MODALITIES[1:]:
                register_by_default(raw.scans["t1c"], raw.scans[role])
        print(f"SimpleITK's three registrations / ours: {clock.wall['SimpleITK'] / parts['registration']:.1f}")
    return 0 if all(held) else 1


def write_examination(folder: Path) -> Path:
    """The head that the tests of DICOM have, on grids of a clinic."""
    from tests.dicom_writer import affine_of, head, write_series

    for number, (role, (spacing, shape, plane, tilt)) in enumerate(GRIDS.items(), start=2):
        affine = affine_of(spacing, shape, plane, tilt)
        write_series(folder, head(role, affine, shape), affine, role, number=number)
    return folder


def image_of(scan: Scan) -> Any:
    """A scan as SimpleITK has it."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(scan.values.T))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def register_by_default(one: Scan, other: Scan) -> Any:
    """SimpleITK's tutorial on rigid registration of images of several modalities."""
    import SimpleITK as sitk

    fixed, moving = image_of(one), image_of(other)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.01, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


if __name__ == "__main__":
    sys.exit(main())
