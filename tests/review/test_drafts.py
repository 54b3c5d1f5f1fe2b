"""Drafts of corrections: whole or not at all, bound to their result, never one over another."""

import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.errors import SaveError
from napari_uncseg.labels import Label
from napari_uncseg.review.drafts import delete_draft, draft_path, drafts_of, token_of, write_draft


@pytest.fixture
def painted(shell_prediction):
    labels = shell_prediction.segmentation.copy()
    labels[3:6, 4:9, 5:7] = Label.ET
    return labels


def keep(prediction, labels, folder, token="0a0a0a0a"):
    path = draft_path(folder, prediction.study_id, token)
    write_draft(path, prediction, labels, "R1")
    return path


def test_a_draft_comes_back_as_it_was(tmp_path, shell_prediction, painted):
    path = keep(shell_prediction, painted, tmp_path)
    (draft,) = drafts_of(tmp_path, shell_prediction)
    assert (draft.path, draft.reviewer, draft.voxels) == (path, "R1", 30)
    assert (draft.labels == painted).all()
    assert token_of(path) == "0a0a0a0a"
    assert path.stat().st_size < 2000, "only what differs is kept"
    delete_draft(path)
    delete_draft(path)
    assert drafts_of(tmp_path, shell_prediction) == []


def test_what_was_painted_and_undone_again_is_a_draft_without_voxels(tmp_path, shell_prediction):
    keep(shell_prediction, shell_prediction.segmentation, tmp_path)
    (draft,) = drafts_of(tmp_path, shell_prediction)
    assert draft.voxels == 0


def test_the_latest_comes_first_and_none_is_written_over(tmp_path, shell_prediction, painted, monkeypatch):
    for number, token in enumerate(("ffffffff", "00000000")):
        monkeypatch.setattr("napari_uncseg.review.drafts.now", lambda number=number: f"2026-01-0{number + 1}T00:00:00")
        keep(shell_prediction, painted, tmp_path, token)
    assert [token_of(draft.path) for draft in drafts_of(tmp_path, shell_prediction)] == ["00000000", "ffffffff"]


@pytest.mark.parametrize("what", ["segmentation", "model", "study"])
def test_a_draft_of_another_result_stays_aside(tmp_path, shell_prediction, painted, what):
    path = keep(shell_prediction, painted, tmp_path)
    other = {
        "segmentation": {"segmentation": painted},
        "model": {"provenance": {**shell_prediction.provenance, "model": {"name": "other", "sha256": "9" * 64}}},
        "study": {"study_id": "other"},
    }[what]
    assert drafts_of(tmp_path, dataclasses.replace(shell_prediction, **other)) == []
    assert path.is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": "AAAA"},
        {"labels": "no base64 ä"},
        {"box": [[0, 99999], [0, 1], [0, 1]]},
        {"box": [[-3, 3], [0, 1], [0, 1]]},
        {"box": "x"},
        {"schema": 9},
    ],
)
def test_damaged_drafts_are_not_offered(tmp_path, shell_prediction, painted, change):
    path = keep(shell_prediction, painted, tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert drafts_of(tmp_path, shell_prediction) == []
    path.write_bytes(path.read_bytes()[:40])
    assert drafts_of(tmp_path, shell_prediction) == []


def test_a_name_may_hold_what_a_pattern_does(tmp_path, shell_prediction, painted):
    odd = dataclasses.replace(shell_prediction, study_id="case[1]*")
    keep(odd, painted, tmp_path)
    assert len(drafts_of(tmp_path, odd)) == 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path, shell_prediction, painted):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        keep(shell_prediction, painted, tmp_path / "file")
    assert drafts_of(tmp_path / "file", shell_prediction) == []


def test_a_label_that_is_no_tissue_is_kept_for_its_painter_to_mend(tmp_path, shell_prediction, painted):
    keep(shell_prediction, np.where(painted == Label.ET, 7, painted), tmp_path)
    (draft,) = drafts_of(tmp_path, shell_prediction)
    assert (draft.labels == 7).any()


def test_a_draft_that_is_not_there_is_deleted_on_a_read_only_disk_too(tmp_path, monkeypatch):
    """Whose system says so before it looks."""

    def refuse(path, **_asked):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    delete_draft(draft_path(tmp_path, "study", "0123abcd"))
