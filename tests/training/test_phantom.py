"""Phantoms: reproducible, anatomically plausible, written as BraTS studies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_uncseg.io.loading import load_study
from napari_uncseg.labels import region_masks
from tests.training.conftest import head, uncseg_train
from uncseg_training.phantom.anatomy import Tissue, build_anatomies, load_anatomies, read_freesurfer, save_anatomies
from uncseg_training.phantom.appearance import BASE_CONTRAST
from uncseg_training.phantom.appearance_priors import APPEARANCE_PRIORS, AppearancePrior
from uncseg_training.phantom.cohort import STEPS_PER_UNIT, Phantoms, write_phantom
from uncseg_training.phantom.fields import Rng, blur, slabs
from uncseg_training.phantom.fronts import NEVER, arrival_time, first_to_arrive
from uncseg_training.phantom.growth import Tumour, cut, displacement, grow
from uncseg_training.phantom.kinds import Kind
from uncseg_training.phantom.lesion import T1N, T2F, T2W, _faded, _wet_patches, add_tumour, draw_relaxation
from uncseg_training.phantom.placement import Grid, Pose, Source, identity_grid, warp
from uncseg_training.phantom.scanner import OFFSET, scan

CLINICAL = APPEARANCE_PRIORS["clinical"]


@pytest.fixture(scope="module")
def stream() -> Phantoms:
    return Phantoms([head()], shape=(40, 40, 40), spacing=4.0, seed=11)


def test_a_seed_makes_the_same_phantom_in_any_order(stream: Phantoms) -> None:
    again = Phantoms([head()], shape=(40, 40, 40), spacing=4.0, seed=11)
    wanted = [stream[index] for index in (0, 3)]
    assert torch.equal(again[3].images, wanted[1].images)
    assert torch.equal(again[0].labels, wanted[0].labels)
    assert not torch.equal(wanted[0].images, wanted[1].images)


def test_phantoms_are_finite_and_labelled_inside_the_brain(stream: Phantoms) -> None:
    kinds = set()
    for index in range(12):
        phantom = stream[index]
        kinds.add(phantom.kind)
        assert bool(torch.isfinite(phantom.images).all())
        assert float(phantom.images[:, ~phantom.brain].abs().max()) == 0
        assert float(phantom.images[:, phantom.brain].min()) >= 0
        assert set(phantom.labels.unique().tolist()) <= {0, 1, 2, 3}
        assert not bool((phantom.labels.bool() & ~phantom.brain).any())
        assert bool(phantom.labels.any()) == (phantom.kind is not Kind.NONE)
        z = phantom.normalised()[:, phantom.brain]
        assert torch.allclose(z.mean(1), torch.zeros(4), atol=1e-3)
        assert torch.allclose(z.std(1), torch.ones(4), atol=1e-3)
    assert len(kinds) > 2


def test_front_travels_at_the_speed_of_fisher() -> None:
    # Fisher 1937: a front moves at 2 sqrt(D rho), approached from below as it forms.
    line = torch.zeros(120, 3, 3)
    line[:4] = 1
    diffusion, rate = torch.full_like(line, 1.0), torch.full_like(line, 0.3)
    arrival = arrival_time(line, diffusion, rate, volume=float("inf"), steps=500)[:, 1, 1]
    speed = 30 / (float(arrival[70] - arrival[40]) * 0.15)
    assert speed == pytest.approx(2 * 0.3**0.5, rel=0.1)


def test_front_does_not_cross_what_does_not_diffuse() -> None:
    start = torch.zeros(20, 5, 5)
    start[2] = 1
    diffusion = torch.ones_like(start)
    diffusion[10] = 0
    arrival = arrival_time(start, diffusion, torch.full_like(start, 0.5), volume=float("inf"), steps=300)
    assert bool(torch.isfinite(arrival[:10]).all())
    assert bool(torch.isinf(arrival[10:]).all())


def test_volume_decides_the_outline() -> None:
    arrival = torch.arange(1.0, 28.0).view(3, 3, 3)
    mask, lateness = first_to_arrive(arrival, 10)
    assert int(mask.sum()) == 10
    assert float(lateness[mask].max()) == 1
    assert float(lateness[~mask].min()) > 1


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.NONE])
def test_every_kind_has_its_parts(kind: Kind) -> None:
    fractions = head().fractions(4.0)
    volumes = np.zeros(4)
    for seed in range(4):
        rng = Rng(seed)
        tumour = cut(grow(fractions, 4.0, CLINICAL, rng, kind), fractions, 4.0, CLINICAL, rng)
        volumes += np.bincount(tumour.labels.flatten().numpy(), minlength=4) * 0.064
        assert not bool((tumour.labels.bool() & (fractions[0] > 0.9)).any())
    assert volumes[1:].sum() > 1
    if kind is Kind.NON_ENHANCING:
        assert volumes[1] > 5 * volumes[3]
    if kind is Kind.OEDEMATOUS:
        assert volumes[2] > volumes[1] + volumes[3]
    if kind is Kind.RIM:
        assert volumes[3] > 0


def test_reused_geometry_keeps_the_labels_and_changes_the_appearance() -> None:
    stream = Phantoms([head()], shape=(32, 32, 32), spacing=5.0, seed=2, reuse=2)
    first, second, third = stream[2], stream[3], stream[4]
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(second.labels, third.labels)


@pytest.mark.parametrize("name", APPEARANCE_PRIORS)
def test_every_prior_draws_every_kind(name: str) -> None:
    prior = APPEARANCE_PRIORS[name]
    assert sum(prior.kinds.values()) == pytest.approx(1.0)
    fractions = head().fractions(6.0)
    drawn = [grow(fractions, 6.0, prior, Rng(seed)).kind for seed in range(60)]
    assert len(set(drawn)) == len(Kind)
    assert (drawn.count(Kind.RIM) > drawn.count(Kind.NONE)) == (name != "rare")


STREAMS = {
    "broad": [([0, 0, 0], 6.05029), ([15, 481, 9], 6.11738), ([21, 1636, 372], 6.0113)],
    "clinical": [([0, 0, 0], 6.02227), ([15, 481, 9], 6.26777), ([2, 869, 358], 5.98729)],
    "matched": [([0, 0, 0], 6.0429), ([0, 481, 24], 6.29276), ([2, 869, 358], 5.95903)],
    "rare": [([0, 0, 0], 6.02227), ([0, 39, 0], 6.18755), ([0, 0, 0], 5.83858)],
}


@pytest.mark.parametrize("name", APPEARANCE_PRIORS)
def test_streams_stay_what_they_were(name: str) -> None:
    """Voxels of NCR, ED and ET, and mean intensity in the brain, of the first phantoms of a seed."""
    stream = Phantoms([head()], shape=(40, 40, 40), spacing=4.0, seed=11, prior=name)
    for number, (labels, mean) in enumerate(STREAMS[name]):
        phantom = stream[number]
        assert np.bincount(phantom.labels.flatten().numpy(), minlength=4)[1:].tolist() == labels
        assert float(phantom.images[:, phantom.brain].mean()) == pytest.approx(mean, rel=1e-4)


def test_the_rare_prior_draws_what_the_others_lack() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    stream = Phantoms([head()], shape=(40, 40, 40), spacing=4.0, seed=5, prior="rare")
    empty = coreless = cavities = apart = small = 0
    for number in range(40):
        tumour = stream.geometry(number).tumour
        labels = tumour.labels.numpy()
        empty += tumour.kind is Kind.NONE
        cavities += tumour.cavity is not None
        if tumour.kind is Kind.NONE:
            continue
        coreless += bool((labels == 2).any() and not np.isin(labels, (1, 3)).any())
        places, count = ndimage.label(labels > 0, np.ones((3, 3, 3)))
        apart += bool((ndimage.sum(labels > 0, places, range(1, count + 1)) * 0.064 > 0.5).sum() > 1)
        small += bool((labels > 0).sum() * 0.064 < 5)
    assert 4 <= empty <= 14
    assert min(coreless, cavities, apart, small) >= 2, (coreless, cavities, apart, small)


def test_a_tumour_without_core_looks_like_oedema() -> None:
    fractions = head().fractions(4.0)
    prior = replace(CLINICAL, coreless=1.0)
    rng = Rng(3)
    tumour = cut(grow(fractions, 4.0, prior, rng, Kind.OEDEMATOUS), fractions, 4.0, prior, rng)
    assert set(tumour.labels.unique().tolist()) == {0, 2}
    healthy = torch.einsum("mt,txyz->mxyz", BASE_CONTRAST, fractions)
    drawn = add_tumour(healthy, BASE_CONTRAST, tumour, 4.0, prior, rng)
    assert bool(torch.isfinite(drawn).all())
    assert not torch.equal(drawn[T2F], healthy[T2F])


def half_a_box_of_oedema(spacing: float) -> Tumour:
    """Oedema at x < 20 mm, its outline plane."""
    labels = torch.zeros(40, 24, 24, dtype=torch.uint8)
    labels[: round(20 / spacing)] = 2
    return Tumour(Kind.OEDEMATOUS, labels, torch.full(labels.shape, NEVER), (labels > 0).float())


def oedema_along_x(prior: AppearancePrior, seeds: range) -> torch.Tensor:
    """Mean share of the FLAIR contrast of oedema, millimetre by millimetre."""
    tumour = half_a_box_of_oedema(1.0)
    healthy = torch.zeros(4, *tumour.labels.shape)
    means = BASE_CONTRAST.clone()
    lines = [add_tumour(healthy, means, tumour, 1.0, prior, Rng(seed))[T2F].mean((1, 2)) for seed in seeds]
    return torch.stack([line / line[:8].mean() for line in lines]).mean(0)


def test_mixed_oedema_ends_within_its_outline() -> None:
    plain = replace(CLINICAL, edge=(1.0, 1.0), mottle=(0.0, 0.0))
    sharp = oedema_along_x(plain, range(12))
    faded = oedema_along_x(replace(plain, fade=(2.0, 2.0), margin=(2.0, 2.0)), range(12))
    assert float(sharp[17]) > 0.95, "3 mm within its outline it is as bright as anywhere"
    assert float(sharp[23]) < 0.05
    # A slope of 2 mm whose middle lies 2 mm inside: the share is that of a normal distribution, here not quite, for
    # FLAIR is that of the tissue there and not of its water.
    expected = torch.special.ndtr((18 - (torch.arange(12, 28) + 0.5)) / 2)
    assert torch.allclose(faded[12:28], expected, atol=0.06)


def test_core_beside_healthy_tissue_does_not_fade() -> None:
    tumour = replace(half_a_box_of_oedema(1.0), kind=Kind.SOLID)
    tumour = replace(tumour, labels=(tumour.labels > 0).to(torch.uint8), lateness=torch.zeros(tumour.labels.shape))
    healthy = torch.zeros(4, *tumour.labels.shape)
    faded = replace(CLINICAL, fade=(3.0, 3.0), margin=(2.0, 2.0))
    # The fade draws two more numbers, so that what is drawn after them differs; what is drawn is compared on its own.
    masks = torch.stack([tumour.labels == value for value in (1, 2, 3)]).float()
    soft = blur(masks, 0.8)
    assert faded.fade is not None
    assert float(_faded(masks, soft, 1.0, faded.fade, faded.margin, Rng(0)).max()) == 0
    drawn = add_tumour(healthy, BASE_CONTRAST, tumour, 1.0, faded, Rng(1))
    assert bool(torch.isfinite(drawn).all())


def test_wet_patches_are_of_parts_of_the_oedema() -> None:
    depth = torch.linspace(0, 1, 40)[:, None, None].expand(40, 24, 24)
    drawn = torch.stack([_wet_patches(depth, 2.0, Rng(seed)) for seed in range(20)])
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 0.8
    assert float(drawn[:, 30:].mean()) > 1.3 * float(drawn[:, :10].mean()), "most of them deep"
    assert float(drawn.flatten(1).std(1).median()) > 0.05, "and not everywhere"


def test_mass_effect_points_away_from_the_core() -> None:
    fractions = head().fractions(4.0)
    seed = next(s for s in range(20) if grow(fractions, 4.0, CLINICAL, Rng(s), Kind.SOLID).core_ml > 60)
    rng = Rng(seed)
    fronts = grow(fractions, 4.0, CLINICAL, rng, Kind.SOLID)
    core = fronts.core <= 1
    middle = core.nonzero().float().mean(0)
    outwards = identity_grid(core.shape) - middle[:, None, None, None]
    push = displacement(fronts, 4.0, rng)
    shell = blur(core[None].float(), 1.5)[0]
    shell = (shell > 0.2) & (shell < 0.6)
    along = (push * outwards).sum(0)[shell]
    assert float((along > 0).float().mean()) > 0.8
    assert float(push.square().sum(0).max().sqrt()) <= 10.001


def test_water_relates_the_modalities() -> None:
    relaxation = draw_relaxation(BASE_CONTRAST, CLINICAL, Rng(4))
    water = torch.linspace(0, 1, 11)[:, None, None]
    signal = relaxation.signal(water)[:, :, 0, 0]
    assert torch.allclose(signal[:, 0], torch.zeros(4), atol=1e-6)
    assert bool((signal[T2W].diff() > 0).all()), "more water is brighter in T2"
    assert bool((signal[T1N].diff() < 0).all()), "and darker in T1"
    assert float(signal[T2F, 5]) > 1, "and brighter in FLAIR, before suppression"


def test_tumour_changes_its_own_voxels_only() -> None:
    fractions = head().fractions(4.0)
    rng = Rng(3)
    tumour = cut(grow(fractions, 4.0, CLINICAL, rng, Kind.RIM), fractions, 4.0, CLINICAL, rng)
    healthy = torch.einsum("mt,txyz->mxyz", BASE_CONTRAST, fractions)
    drawn = add_tumour(healthy, BASE_CONTRAST, tumour, 4.0, CLINICAL, rng)
    far = blur((tumour.labels > 0)[None].float(), 2.0)[0] == 0
    assert torch.equal(drawn[:, far], healthy[:, far])
    enhancing = tumour.labels == 3
    assert float((drawn - healthy)[0][enhancing].median()) > 0.3


def test_scan_is_a_positive_magnitude_and_may_lose_a_slab() -> None:
    lost = 0
    for seed in range(60):
        image = scan(torch.zeros(12, 12, 24), 1.0, Rng(seed))
        assert float(image.min()) >= 0
        inside = image[:, :, 12]
        assert float(inside.median()) == pytest.approx(OFFSET, rel=0.5)
        lost += bool((image[:, :, 0] == 0).all() or (image[:, :, -1] == 0).all())
    assert 0 < lost < 15


def test_slabs_average_and_keep_a_ramp() -> None:
    volume = torch.arange(24.0).expand(1, 3, 3, 24)
    thick = slabs(volume, 2, 4.0)
    assert torch.allclose(thick[..., 2:-2], volume[..., 2:-2], atol=1e-4)
    assert torch.allclose(thick[..., 0], torch.full((1, 3, 3), 1.5), atol=1e-4)


def test_smooth_noise_has_unit_variance_at_any_length() -> None:
    for length in (2.0, 7.5, 30.0):
        field = Rng(1).smooth((64, 60, 56), length, 6)
        assert field.shape == (6, 64, 60, 56)
        assert float(field.var()) == pytest.approx(1.0, abs=0.05 if length < 20 else 0.4)


def test_own_resolution_agrees_with_fractions() -> None:
    grid, bend = Grid((36, 36, 36), 4.0), torch.zeros(3, 36, 36, 36)
    pose = Pose(torch.eye(3), torch.zeros(3))
    fine = Source.of(head(), 1.0, torch.device("cpu")).place(Grid((144, 144, 144), 1.0), pose, bend)
    coarse = Source.of(head(), 4.0, torch.device("cpu")).place(grid, pose, bend)
    pooled = torch.nn.functional.avg_pool3d(fine[None], 4)[0]
    assert float((pooled - coarse).abs().mean()) < 0.02


def test_warp_by_whole_voxels_is_a_shift() -> None:
    volume = torch.rand(2, 6, 7, 8)
    moved = warp(volume, identity_grid((6, 7, 8)) + torch.tensor([1.0, 0.0, -2.0])[:, None, None, None])
    assert torch.allclose(moved[:, :5, :, 2:], volume[:, 1:, :, :6], atol=1e-5)
    assert float(moved[:, 5].abs().max()) < 1e-5


def test_blur_matches_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    volume = torch.rand(1, 15, 16, 17)
    expected = ndimage.gaussian_filter(volume[0].numpy(), (1.0, 0.0, 2.0), mode="nearest", truncate=3.0)
    assert np.allclose(blur(volume, (1.0, 0.0, 2.0))[0].numpy(), expected, atol=2e-3)


def test_fractions_keep_the_volume() -> None:
    anatomy = head()
    for spacing in (1.0, 2.0, 4.0):
        fractions = anatomy.fractions(spacing)
        assert torch.allclose(fractions.sum(0), torch.ones(fractions.shape[1:]), atol=1e-5)
        volume = float(fractions[Tissue.WHITE].sum()) * spacing**3
        assert volume == pytest.approx(float((anatomy.tissues == Tissue.WHITE).sum()), rel=0.05)


def test_freesurfer_maps_are_read_in_any_orientation(tmp_path: Path) -> None:
    codes = np.zeros((80, 90, 100), np.int16)
    codes[4:76, 4:86, 4:96] = 3
    codes[8:72, 8:82, 8:92] = 2
    codes[0, 0, 0] = 507
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(codes, affine), tmp_path / "a.nii.gz")
    nib.save(
        nib.Nifti1Image(codes[::-1].transpose(2, 0, 1), affine[[2, 0, 1, 3]].T @ np.diag([1, -1, 1, 1])),
        tmp_path / "b.nii.gz",
    )
    first = read_freesurfer(tmp_path / "a.nii.gz")
    assert first.tissues.shape == (72, 82, 92)
    assert int((first.tissues == Tissue.WHITE).sum()) == 64 * 74 * 84
    assert sorted(read_freesurfer(tmp_path / "b.nii.gz").tissues.shape) == [72, 82, 92]
    found = build_anatomies(tmp_path, icbm=False)
    save_anatomies(found, tmp_path / "cache.npz")
    assert [anatomy.name for anatomy in load_anatomies(tmp_path / "cache.npz")] == ["a", "b"]


def test_written_phantom_is_a_brats_study(stream: Phantoms, tmp_path: Path) -> None:
    index = next(index for index in range(20) if stream[index].kind is Kind.RIM)
    phantom = stream[index]
    folder = write_phantom(phantom, tmp_path, "UNCSEG-phantom-00000", 4.0)
    study = load_study(folder)
    assert nib.aff2axcodes(study.affine) == ("L", "P", "S")
    assert study.spacing == (4.0, 4.0, 4.0)
    assert study.reference is not None
    assert np.array_equal(study.reference[::-1, ::-1], phantom.labels.numpy())
    assert np.allclose(
        study.images[:, ::-1, ::-1] / STEPS_PER_UNIT, phantom.images.numpy(), atol=0.5 / STEPS_PER_UNIT + 1e-4
    )
    truth = json.loads((folder / "UNCSEG-phantom-00000-truth.json").read_text())
    volumes = region_masks(study.reference).sum((1, 2, 3)) * study.voxel_ml
    assert [truth["volumes_ml"][region] for region in ("WT", "TC", "ET")] == pytest.approx(volumes.tolist(), abs=1e-3)


def test_command_keeps_the_field_of_view_whatever_the_voxel(tmp_path: Path) -> None:
    save_anatomies([head()], tmp_path / "anatomies.npz")
    uncseg_train("phantom", "-o", tmp_path, "--anatomy", tmp_path / "anatomies.npz", "--spacing", 4)
    study = load_study(tmp_path / "UNCSEG-phantom-00000")
    assert study.spacing == pytest.approx((4, 4, 4))
    assert study.shape == (40, 48, 40)
