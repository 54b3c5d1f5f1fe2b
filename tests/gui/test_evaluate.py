"""The panel *Evaluate this study*: what it asks for, what it shows, and when that no longer holds."""

import csv
import dataclasses
import json
import threading

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtGui import QGuiApplication

from napari_uncseg.errors import EvaluationError, SaveError
from napari_uncseg.evaluation import Region, VoxelSet, case_from_prediction, evaluate
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.volumes import volume_layers
from napari_uncseg.widgets.evaluate.measure import inputs_of, references_of
from napari_uncseg.widgets.evaluate.panel import EvaluateWidget
from napari_uncseg.widgets.evaluate.table import COLUMNS, DASH

PATIENCE = 60000
TITLES = [f"{column.title} {column.second}".strip() for column in COLUMNS]


@pytest.fixture
def panel(viewer, dock):
    return dock(EvaluateWidget(viewer))


def run(qtbot, panel):
    panel.refresh()
    assert panel.bar.run_button.isEnabled(), panel.hint.text()
    panel.run()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert not panel.bar.failure.isVisibleTo(panel), panel.bar.failure.text()


def choose(panel, voxel_set):
    panel.results.set_choice.setCurrentIndex(panel.results.set_choice.findData(voxel_set))


def cell(panel, region, title):
    return panel.results.table.item(list(Region).index(region), TITLES.index(title))


def test_it_says_what_to_load(viewer, panel, tiny_study, tiny_prediction):
    assert not panel.bar.run_button.isEnabled()
    assert panel.hint.text().startswith("No study is open")
    add_study(viewer, tiny_study)
    panel.refresh()
    assert panel.hint.text().startswith(f"No result of {tiny_study.id} is open")
    viewer.layers.clear()
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    assert panel.hint.text().startswith(f"No reference of {tiny_study.id} is open")
    assert not panel.bar.run_button.isEnabled()
    add_study(viewer, tiny_study)
    panel.refresh()
    assert panel.bar.run_button.isEnabled()
    assert not panel.hint.isVisibleTo(panel)


def test_the_table_is_that_of_the_evaluation_room(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    run(qtbot, panel)
    found = evaluate(case_from_prediction(tiny_prediction, tiny_study.reference, brain=tiny_study.brain))
    for voxel_set in (VoxelSet.TUMOUR, VoxelSet.BRAIN):
        choose(panel, voxel_set)
        over = {"voxel_set": voxel_set, "aggregation": "case"}
        for region in Region:
            expected = {
                "Dice": found.value("dice_any_size", region=region, aggregation="case").value,
                "AUROC entropy": found.value("auroc", map="entropy", region=region, **over).value,
                "ECE": found.value("ece_classwise", region=region, **over).value,
            }
            for title, number in expected.items():
                assert cell(panel, region, title).text() == f"{number:.3f}", (region, title)
        expected = found.value("auroc", map="unc_output", region=Region.WT, **over).value
        assert cell(panel, Region.WT, "AUROC unc_output").text() == f"{expected:.3f}"
        assert f"({voxel_set})" in panel.results.table.horizontalHeaderItem(TITLES.index("ECE")).toolTip()
    assert cell(panel, Region.ET, "AUROC unc_output").text() == DASH
    assert "whole tumour alone" in cell(panel, Region.ET, "AUROC unc_output").toolTip()
    curve = panel.results.evaluated.curves(VoxelSet.BRAIN)[Region.ET]
    assert curve.counts.sum() == tiny_study.brain.sum()
    assert len(panel.results.plot.figure.axes) == 6


def test_painting_makes_it_stale_and_undoing_does_not(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    run(qtbot, panel)
    stale = panel.results.stale
    assert not stale.isVisibleTo(panel)
    labels = viewer.layers["Segmentation"]
    labels.paint((18, 20, 20), 3)
    qtbot.waitUntil(lambda: stale.isVisibleTo(panel), timeout=PATIENCE)
    labels.undo()
    qtbot.waitUntil(lambda: not stale.isVisibleTo(panel), timeout=PATIENCE)
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    qtbot.waitUntil(lambda: stale.isVisibleTo(panel), timeout=PATIENCE)
    run(qtbot, panel)
    assert not stale.isVisibleTo(panel)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not panel.results.isVisibleTo(panel), timeout=PATIENCE)


def test_a_reference_whose_result_was_closed_has_nothing_to_be_held_against(viewer, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    reference = references_of(viewer, tiny_study.id)[0]
    assert inputs_of(viewer, tiny_study.id, reference) is not None
    viewer.layers.clear()
    assert inputs_of(viewer, tiny_study.id, reference) is None


def test_a_label_file_of_its_own_is_a_reference(qtbot, viewer, panel, tiny_study, tiny_prediction, tmp_path):
    """Without the images the brain is not known; labels are decoded, and another patient's file is not taken."""
    for name in ("another-seg", f"{tiny_study.id}-seg"):
        labels = np.where(tiny_study.reference == 3, 4, tiny_study.reference)
        nib.Nifti1Image(labels.astype(np.uint8), tiny_study.affine).to_filename(tmp_path / f"{name}.nii.gz")
    add_prediction(viewer, tiny_prediction)
    viewer.add_layer(volume_layers(read_volume(tmp_path / "another-seg.nii.gz"))[0])
    panel.refresh()
    assert panel.hint.text().startswith("Choose the label file")
    viewer.add_layer(volume_layers(read_volume(tmp_path / f"{tiny_study.id}-seg.nii.gz"))[0])
    run(qtbot, panel)
    dice = evaluate(case_from_prediction(tiny_prediction, tiny_study.reference), metrics=[Overlap(Region.ET)])
    assert cell(panel, Region.ET, "Dice").text() == f"{dice.value('dice_any_size', aggregation='case').value:.3f}"
    assert "nothing is measured over the brain" in panel.results.remarks.text()
    assert panel.results.set_choice.findData(VoxelSet.BRAIN) < 0


def test_undefined_numbers_copy_and_save(qtbot, viewer, panel, tiny_study, tiny_prediction, tmp_path):
    perfect = dataclasses.replace(tiny_prediction, segmentation=tiny_study.reference.copy())
    add_study(viewer, tiny_study)
    add_prediction(viewer, perfect)
    run(qtbot, panel)
    auroc = cell(panel, Region.WT, "AUROC entropy")
    assert (auroc.text(), auroc.toolTip()) == (DASH, "Undefined: no errors.")
    assert "the same in every voxel" in panel.results.remarks.text()
    panel.results.copy()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0].split("\t") == ["Region", *TITLES]
    assert "Research use only" in lines[-1]
    panel.results.save(tmp_path / "found.csv")
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert {row["voxel_set"] for row in rows} >= {"tumour", "brain", "union"}
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "found.json").read_text())
    assert record["prediction"]["model"] == tiny_prediction.provenance["model"]
    (tmp_path / "found.csv").unlink()
    panel.results.save(tmp_path / "found.csv")
    assert panel.results.message.code == SaveError.code


def test_cancel_and_failure(qtbot, viewer, panel, tiny_study, tiny_prediction, monkeypatch):
    started, go = threading.Event(), threading.Event()

    def measure(self, case):
        started.set()
        assert go.wait(60)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(Overlap, "measure", measure)
        add_study(viewer, tiny_study)
        add_prediction(viewer, tiny_prediction)
        panel.refresh()
        panel.run()
        qtbot.waitUntil(started.is_set, timeout=PATIENCE)
        panel.bar.cancel()
        go.set()
        qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert panel.bar.status.text().startswith("Stopped")
    assert panel.results.evaluated is None
    viewer.layers["Reference"].data[0, 0, 0] = 9
    panel.run()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert panel.bar.failure.code == EvaluationError.code
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=PATIENCE)
