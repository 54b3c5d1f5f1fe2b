"""Single files as layers, and layers as studies."""

import dataclasses
import shutil

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_uncseg.errors import StudyError
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import LABEL_COLOURS, MODALITIES, Label
from napari_uncseg.viewer.layers import add_study, adopt_layers, study_layers
from napari_uncseg.viewer.orientation import to_display
from napari_uncseg.viewer.tags import open_studies, tag_of
from napari_uncseg.viewer.volumes import layer_volume, study_from_layers, volume_layers


def opened(path):
    return volume_layers(read_volume(path))


@pytest.fixture
def file_layers(study_folder):
    """The four images of `study_folder`, opened one by one."""
    return {m: opened(study_folder / f"{study_folder.name}-{m}.nii.gz")[0] for m in MODALITIES}


def test_an_image_is_hung_radiologically(file_layers, tiny_study):
    layer = file_layers["t1c"]
    assert isinstance(layer, Image)
    assert layer.name == f"{tiny_study.id}-t1c"
    assert np.array_equal(layer.data, to_display(tiny_study.images[0], tiny_study.affine))
    assert tuple(layer.scale) == (2.5, 2.0, 2.0)


def test_a_segmentation_becomes_labels(study_folder, tiny_study):
    (layer,) = opened(study_folder / f"{study_folder.name}-seg.nii.gz")
    assert isinstance(layer, Labels)
    assert layer.colormap.map(int(Label.ET)) == pytest.approx(LABEL_COLOURS[Label.ET])
    assert np.array_equal(layer.data, to_display(tiny_study.reference, tiny_study.affine))


def test_an_image_with_seg_in_its_name_but_fractions_stays_an_image(tmp_path):
    path = tmp_path / "case_seg.nii.gz"
    nib.Nifti1Image(np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), np.eye(4)).to_filename(path)
    assert isinstance(opened(path)[0], Image)


def test_a_saved_map_has_its_colours(tmp_path, tiny_prediction):
    saved = save_prediction(tiny_prediction, tmp_path)
    (layer,) = opened(saved.folder / f"{tiny_prediction.study_id}_unc_output.nii.gz")
    assert layer.colorbar.visible
    assert layer.contrast_limits == [0, 1]
    assert layer.colormap.map(np.array([0.0]))[0, 3] == 0


def test_a_file_of_several_volumes_is_a_layer_each(tmp_path, tiny_prediction):
    saved = save_prediction(tiny_prediction, tmp_path)
    layers = opened(saved.folder / f"{tiny_prediction.study_id}_probabilities.nii.gz")
    assert [layer.name for layer in layers] == ["p(WT)", "p(TC)", "p(ET)"]


def test_a_time_series_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "bold.nii.gz"
    nib.Nifti1Image(np.zeros((4, 5, 6, 30), np.int16), np.eye(4)).to_filename(path)
    with pytest.raises(StudyError, match=r"bold\.nii\.gz holds 30 volumes"):
        opened(path)


def test_four_file_layers_make_a_study(file_layers, tiny_study):
    study = study_from_layers(file_layers)
    assert study.id == tiny_study.id
    assert np.array_equal(study.images, tiny_study.images)
    assert np.array_equal(study.affine, tiny_study.affine)
    assert [source.role for source in study.sources] == list(MODALITIES)


def test_the_layers_become_those_of_the_study(file_layers):
    viewer = ViewerModel()
    viewer.layers.extend(file_layers.values())
    study = study_from_layers(file_layers)
    adopt_layers(file_layers, study)
    assert open_studies(viewer) == {study.id: study}
    assert study_from_layers(file_layers) is study


def test_layers_of_a_study_give_that_study_back(tiny_study):
    viewer = ViewerModel()
    images = add_study(viewer, tiny_study)[:4]
    chosen = dict(zip(("t2w", "t1n", "t2f", "t1c"), images, strict=True))
    assert study_from_layers(chosen) is tiny_study


def test_layers_in_one_anothers_place_or_of_another_study_are_told(tiny_study):
    other = dataclasses.replace(tiny_study, id="other", images=tiny_study.images + 1)
    chosen, others = ({tag_of(each).name: each for each in study_layers(study)[:4]} for study in (tiny_study, other))
    swapped = {**chosen, "t1c": chosen["t2w"], "t2w": chosen["t1c"]}
    assert sum("opened as" in warning for warning in study_from_layers(swapped).warnings) == 2
    mixed = study_from_layers({**chosen, "t1c": others["t1c"]})
    assert any("other" in warning for warning in mixed.warnings)


def test_files_of_another_study_are_told(file_layers, study_folder):
    path = study_folder / "another-t2w.nii.gz"
    shutil.copy(study_folder / f"{study_folder.name}-t2w.nii.gz", path)
    (layer,) = opened(path)
    assert any(path.name in warning for warning in study_from_layers({**file_layers, "t2w": layer}).warnings)


def test_a_missing_modality_is_named(file_layers):
    del file_layers["t2f"]
    with pytest.raises(StudyError, match=r"No layer is chosen for FLAIR \(T2f\)"):
        study_from_layers(file_layers)


def test_a_layer_chosen_twice_is_named(file_layers):
    file_layers["t1n"] = file_layers["t1c"]
    with pytest.raises(StudyError, match="-t1c is chosen for both T1c and T1n"):
        study_from_layers(file_layers)


def test_other_grids_are_named(file_layers, tmp_path):
    path = tmp_path / "small-t2w.nii.gz"
    nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)).to_filename(path)
    file_layers["t2w"] = opened(path)[0]
    with pytest.raises(StudyError, match="small-t2w lie on different grids"):
        study_from_layers(file_layers)


def test_a_layer_of_unknown_orientation_is_refused():
    with pytest.raises(StudyError, match="Layer noise does not say how it is oriented"):
        layer_volume(Image(np.zeros((3, 4, 5)), name="noise"))


def test_a_layer_the_user_moved_is_not_taken_for_the_file(file_layers):
    layer = file_layers["t1c"]
    layer.translate = (0, 0, 0)
    data, affine = layer_volume(layer)
    assert data.shape == layer.data.shape
    assert affine[:3, 3] == pytest.approx((0, 0, 0))


def test_what_is_not_finite_is_background(tmp_path):
    path = tmp_path / "nan.nii.gz"
    values = np.full((12, 12, 12), np.nan, np.float32)
    values[3:9, 3:9, 3:9] = np.random.default_rng(0).uniform(50, 200, (6, 6, 6))
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    (layer,) = volume_layers(read_volume(path))
    assert np.isfinite(layer.data).all()
    assert 50 < np.ptp(layer.contrast_limits) <= 200
