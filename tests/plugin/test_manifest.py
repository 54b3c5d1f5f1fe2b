"""What napari learns from the manifest, through npe2's own doors."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

import napari_uncseg
from napari_uncseg._plugin.reader import get_reader
from napari_uncseg._plugin.writer import write_layer, write_layers
from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import MODALITIES
from napari_uncseg.viewer.layers import prediction_layers, study_layers

MANIFEST = Path(napari_uncseg.__file__).with_name("napari.yaml")


@pytest.fixture
def manifest():
    return PluginManifest.from_file(MANIFEST)


def test_manifest_is_valid(manifest):
    assert manifest.name == "napari-uncseg"
    manifest.validate_imports()


def test_it_offers_what_the_user_guide_says(manifest):
    contributions = manifest.contributions
    assert [widget.display_name for widget in contributions.widgets] == [
        *("Review", "Open DICOM or raw study", "Segment with uncertainty", "Case browser", "Findings", "Verdict"),
        *("Inter-rater agreement", "Six views", "Evaluate this study", "Keys"),
    ]
    assert [sample.display_name for sample in contributions.sample_data] == ["Glioma phantom"]
    assert contributions.readers[0].accepts_directories
    assert set(contributions.configurations) == {"inference", "results"}


def test_every_command_is_there(manifest):
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_npe2_reads_a_study_folder(manifest, study_folder):
    manager = PluginManager()
    manager.register(manifest)
    readers = list(manager.iter_compatible_readers([str(study_folder)]))
    assert [reader.command for reader in readers] == ["napari-uncseg.read"]
    layers = get_reader(str(study_folder))(str(study_folder))
    assert [layer.name for layer in layers] == ["T2w", "T1n", "FLAIR (T2f)", "T1c", "Reference"]


def test_a_result_folder_opens_as_maps(tmp_path, tiny_prediction):
    saved = save_prediction(tiny_prediction, tmp_path)
    layers = get_reader(str(saved.folder))(str(saved.folder))
    assert "unc_output" in [layer.name for layer in layers]
    assert layers[-1].name == "Segmentation"


def test_a_folder_of_results_says_to_open_one(tmp_path, tiny_prediction):
    save_prediction(tiny_prediction, tmp_path)
    with pytest.raises(StudyError, match=tiny_prediction.study_id):
        get_reader(str(tmp_path))(str(tmp_path))


def test_a_parent_of_several_studies_says_to_open_one(study_folder):
    for modality in MODALITIES:
        second = study_folder.parent / "second"
        second.mkdir(exist_ok=True)
        (second / f"second-{modality}.nii.gz").write_bytes(
            (study_folder / f"{study_folder.name}-{modality}.nii.gz").read_bytes()
        )
    parent = str(study_folder.parent)
    with pytest.raises(StudyError, match="second"):
        get_reader(parent)(parent)


def test_a_folder_without_images_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(StudyError, match="no study and no result"):
        get_reader(str(tmp_path))(str(tmp_path))
    assert get_reader(str(tmp_path / "picture.png")) is None


def test_a_four_volume_file_of_the_decathlon_is_a_study(tmp_path, tiny_study):
    import json

    import nibabel as nib

    folder = tmp_path / "Task01_BrainTumour" / "imagesTr"
    folder.mkdir(parents=True)
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    order = [MODALITIES.index(modality) for modality in ("t2f", "t1n", "t1c", "t2w")]
    stacked = np.moveaxis(tiny_study.images[order], 0, -1).astype(np.int16)
    nib.Nifti1Image(stacked, tiny_study.affine).to_filename(folder / "BRATS_001.nii.gz")
    content = {"modality": names, "labels": {}, "training": []}
    (folder.parent / "dataset.json").write_text(json.dumps(content))
    path = str(folder / "BRATS_001.nii.gz")
    layers = get_reader(path)(path)
    assert [layer.name for layer in layers[:4]] == ["T2w", "T1n", "FLAIR (T2f)", "T1c"]
    assert np.array_equal(layers[3].data, study_layers(tiny_study)[3].data)


def test_a_saved_layer_has_the_shape_and_affine_of_its_study(tmp_path, study_folder, tiny_prediction):
    study = load_study(study_folder)
    for layer in [*study_layers(study), *prediction_layers(tiny_prediction)]:
        data, attributes, _ = layer.as_layer_data_tuple()
        path = tmp_path / "layer.nii.gz"
        assert write_layer(str(path), data, attributes) == [str(path)]
        volume = read_volume(path)
        assert volume.shape == study.shape
        assert np.array_equal(volume.affine, study.affine)
    labels = read_volume(path)
    assert np.array_equal(labels.values(), tiny_prediction.segmentation)


def test_layers_are_saved_into_a_folder_and_never_over_others(tmp_path, tiny_study):
    layers = [layer.as_layer_data_tuple() for layer in study_layers(tiny_study)]
    written = write_layers(str(tmp_path / "out"), layers)
    assert [Path(file).name for file in written] == [
        *("T2w.nii.gz", "T1n.nii.gz", "FLAIR_T2f.nii.gz", "T1c.nii.gz", "Reference.nii.gz"),
    ]
    with pytest.raises(SaveError, match=r"T2w\.nii\.gz"):
        write_layers(str(tmp_path / "out"), layers)


def test_a_layer_of_unknown_orientation_is_not_saved(tmp_path):
    with pytest.raises(StudyError):
        write_layer(
            str(tmp_path / "x.nii.gz"), np.zeros((3, 3, 3)), {"name": "x", "scale": (1, 1, 1), "translate": (0,) * 3}
        )
