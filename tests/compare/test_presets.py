"""Ready sets of panes: six each, and what is missing is said with the way to get it."""

import dataclasses

import pytest

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.presets import METHODS, OVERVIEW, PRESETS, panes_of


def with_members(prediction, method, **maps):
    provenance = {**prediction.provenance, "settings": {"method": method, "members": 8}}
    return dataclasses.replace(prediction, provenance=provenance, maps={**prediction.maps, **maps})


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_has_six_panes_that_show_or_say_something(tiny_study, tiny_prediction, name):
    data = comparison_data(tiny_study, tiny_prediction)
    panes = panes_of(name, data)
    assert len(panes) == 6
    for pane in panes:
        assert pane.image in data.images
        assert not pane.overlay or pane.overlay in data.overlays
        assert not (pane.overlay and pane.missing)


def test_paper_is_figure_two(tiny_study, tiny_prediction):
    panes = panes_of(OVERVIEW, comparison_data(tiny_study, tiny_prediction))
    assert [pane.overlay for pane in panes] == ["segmentation", "error", "unc_output", "variance", "entropy", ""]
    assert panes[-1].image == "t2f"
    with_var1shot = with_members(tiny_prediction, "tta:8", var1shot=tiny_prediction.maps["variance"])
    assert panes_of(OVERVIEW, comparison_data(tiny_study, with_var1shot))[4].overlay == "var1shot"


def test_without_a_reference_the_panes_say_so(tiny_study, tiny_prediction):
    maps = {name: array for name, array in tiny_prediction.maps.items() if name != "error"}
    study = dataclasses.replace(tiny_study, reference=None)
    data = comparison_data(study, dataclasses.replace(tiny_prediction, maps=maps))
    assert "reference" in panes_of(OVERVIEW, data)[1].missing
    assert "reference" in panes_of("Modalities", data)[5].missing


def test_methods_take_what_results_there_are_and_tell_the_command_for_the_others(tiny_study, tiny_prediction):
    alone = panes_of(METHODS, comparison_data(tiny_study, tiny_prediction))
    assert [pane.overlay for pane in alone[:2]] == ["unc_output", "entropy"]
    for pane, words in zip(alone[2:], ("dropout_injection:10", "tta:8", "snapshots", "ensemble:"), strict=True):
        assert f"--members {words}" in pane.missing
    flips = with_members(tiny_prediction, "tta:8", mutual_information=tiny_prediction.maps["variance"])
    injected = with_members(tiny_prediction, "dropout_injection:10,p=0.1")
    panes = panes_of(METHODS, comparison_data(tiny_study, injected, others=(flips,)))
    assert panes[2].overlay == "variance"
    assert panes[3].overlay == "tta:8/mutual_information"
    assert panes[4].missing
    assert panes[5].missing


def test_before_and_after_need_a_correction(tiny_study, tiny_prediction):
    assert "paint" in panes_of("Before and after", comparison_data(tiny_study, tiny_prediction))[1].missing
    corrected = tiny_prediction.segmentation.copy()
    panes = panes_of("Before and after", comparison_data(tiny_study, tiny_prediction, corrected=corrected))
    assert [pane.overlay for pane in panes[:3]] == ["segmentation", "corrected", "change"]
