"""The report of a study: on one page, with everything that was said, whatever the study is called."""

import dataclasses
import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.render import Renderer
from napari_uncseg.errors import EvaluationError
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, fingerprint
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.diameters import axial_diameters
from napari_uncseg.models.identity import bundled_calibration
from napari_uncseg.reporting.slices import COLUMNS, cut_at, draw_findings, frame_of
from napari_uncseg.reporting.study_report import PICTURE_INCHES, Material, compose, page_figure, write_study_report
from napari_uncseg.reporting.study_report_words import calibration_notes
from napari_uncseg.review.corrections import compare
from napari_uncseg.review.findings import find
from napari_uncseg.review.verdicts import Decision, FindingVerdict, Judgement, StudyVerdict, now
from napari_uncseg.review.volumes import volume_intervals
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.viewer.orientation import to_display


@pytest.fixture
def findings(tiny_prediction):
    return find(build_watershed(tiny_prediction, MapName("unc_output_unmasked")), 0.05)


@pytest.fixture
def material(tiny_study, tiny_prediction, findings):
    assert findings.items
    result = fingerprint(tiny_prediction.provenance)
    first = findings.items[0]
    labels = tiny_prediction.segmentation.copy()
    labels[:2, :2, :2] = 1
    found = ("unc_output_unmasked", "WT", first.voxel, 0.05, first.volume_ml, first.peak, "", result)
    records = (
        StudyVerdict(tiny_study.id, "R1", now(), Decision.ACCEPT, 2, "<b>good</b> & $x$", result),
        FindingVerdict(tiny_study.id, "R1", now(), Judgement.FINE, *found),
        StudyVerdict(tiny_study.id, "R2", now(), Decision.REJECT, None, "", "of another result"),
    )
    return Material(tiny_study, tiny_prediction, findings, records, compare(tiny_prediction, labels, findings))


def test_files_are_written_whole_and_load_nothing(tmp_path, material):
    pdf, html = write_study_report(material, tmp_path)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    text = html.read_text(encoding="utf-8")
    assert text.count(RESEARCH_USE_ONLY) == 2
    assert "&lt;b&gt;good&lt;/b&gt;" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([pdf.name, html.name])


def test_the_same_material_gives_the_same_pdf(tmp_path, material):
    first = write_study_report(material, tmp_path / "a")[0].read_bytes()
    assert write_study_report(material, tmp_path / "b")[0].read_bytes() == first


def test_the_page_says_what_was_found_and_judged(material, findings):
    page = compose(material, findings)
    assert page.findings.rows[0][-1].text == "fine"
    assert any("Verdict of R1" in sentence and "difficulty 2 of 5" in sentence for sentence in page.verdicts)
    assert not any("R2" in sentence for sentence in page.verdicts), "a verdict on another result is none on this one"
    assert any("Corrected by hand" in sentence for sentence in page.verdicts)
    assert "ranked by expected error volume as the map claims" in page.findings_lead
    assert [row[0].text[:2] for row in page.volumes.rows] == list(REGIONS)


def test_volumes_and_diameters_after_the_correction_stand_beside_those_before(material, findings):
    page = compose(material, findings)
    assert [cell.text for cell in page.volumes.rows[0]][2] == f"{material.correction.regions[Region.WT].after_ml:.1f}"
    assert list(page.diameters.head) == ["region", "segmented, mm", "corrected, mm", "expert, mm"]
    longest = axial_diameters(material.prediction.segmentation > 0, material.prediction.affine)
    assert page.diameters.rows[0][1].text == f"{longest} (slice {longest.slice})"
    plain = compose(dataclasses.replace(material, correction=None), findings)
    assert len(plain.volumes.head) == 5
    assert list(plain.diameters.head) == ["region", "segmented, mm", "expert, mm"]


def test_findings_that_are_not_listed_are_counted(material, findings):
    many = dataclasses.replace(findings, items=findings.items[:1] * 10)
    assert "2 more are not" in compose(material, many).findings_lead
    few = dataclasses.replace(findings, items=findings.items[:1])
    assert "are not" not in compose(material, few).findings_lead


def test_all_of_it_stays_on_the_page(material, findings):
    long = dataclasses.replace(material.study, warnings=tuple(f"A long warning. {'word ' * 30}" for _ in range(3)))
    material = dataclasses.replace(material, study=long)
    figure = page_figure(material, findings, compose(material, findings))
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.width, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.height, text.get_text()
    tops = sorted((text.get_position()[1] for text in figure.texts), reverse=True)
    picture = figure.axes[0].get_position()
    above = [top for top in tops if top > picture.y1]
    below = [top for top in tops if top <= picture.y1]
    assert above
    assert max(below) <= picture.y0 + 0.002, "words lie on the picture"


def test_without_findings_or_reference_there_is_a_report_too(tmp_path, tiny_study, tiny_prediction):
    nothing = np.zeros_like(tiny_prediction.maps["unc_output"])
    silent = dataclasses.replace(tiny_prediction, maps={"unc_output": nothing})
    material = Material(dataclasses.replace(tiny_study, reference=None), silent)
    html = write_study_report(material, tmp_path)[1].read_text(encoding="utf-8")
    assert "flags no place to check" in html
    assert "No verdict was given yet." in html
    assert "<img" not in html


def test_another_grid_is_refused(tmp_path, tiny_study, tiny_prediction):
    moved = dataclasses.replace(tiny_prediction, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(EvaluationError):
        write_study_report(Material(tiny_study, moved), tmp_path)


def test_cuts_hang_as_radiologists_hang_them(tiny_study, tiny_prediction, findings):
    """BraTS voxels run to the left and to the back: small x is the patient's right, small y the front."""
    finding = findings.items[0]
    x, y, z = finding.voxel

    def bright(marked):
        images = np.where(marked & tiny_study.brain, 500.0, 0.0).astype(np.float32)
        study = dataclasses.replace(tiny_study, images=np.stack([images] * 4))
        data = comparison_data(study, tiny_prediction)
        state = cut_at(data, study, findings, finding)
        brain = to_display(study.brain, study.affine)
        return Renderer().image(state, state.views[0])[frame_of(data, brain, state.cut.point)] > 127

    index = np.indices(tiny_study.shape)
    right, front, level = (bright(marked) for marked in (index[0] < x, index[1] < y, index[2] == z))
    for picture, axis in ((right, 0), (front, 1)):
        lines = np.flatnonzero(picture.any(axis=axis))
        others = np.flatnonzero((level & ~picture).any(axis=axis))
        assert lines.size
        assert lines.max() < others[others > lines.min()].max()
        # Where both are seen, what is marked lies nearer to the left border, or to the top.
        seen = np.flatnonzero(level.any(axis=axis))
        assert np.array_equal(lines, seen[: lines.size])
    assert level.sum() > right.sum()


def test_titles_of_cuts_stand_clear_of_each_other(material, findings):
    place = "far from WT, right, anterior-superior, in the necrotic core of the largest component"
    chosen = [dataclasses.replace(findings.items[0], place=place)] * COLUMNS
    figure = Figure(figsize=PICTURE_INCHES, layout="constrained")
    draw_findings(figure, material.study, material.prediction, findings, chosen)
    FigureCanvasAgg(figure).draw()
    boxes = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    assert len(boxes) == COLUMNS
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert boxes[0].x0 >= 0


def test_volumes_of_the_interval_enclose_the_segmented_one(tiny_prediction):
    wt, *_ = found = volume_intervals(tiny_prediction)
    assert all(each.low_ml <= each.expected_ml <= each.high_ml > each.low_ml for each in found)
    p = tiny_prediction.probabilities[0]
    assert wt.low_ml == pytest.approx((p > 0.9).sum() * 0.01)
    assert wt.high_ml == pytest.approx((p > 0.1).sum() * 0.01)
    assert wt.low_ml <= wt.segmented_ml <= wt.high_ml


def test_calibration_is_told_of_the_bundled_model_and_its_members_alone(tiny_prediction):
    notes = calibration_notes(tiny_prediction)
    assert set(notes.values()) == {"The calibration of this model was not measured."}
    known = bundled_calibration()
    assert known is not None
    model = {**tiny_prediction.provenance, "model": {"sha256": known.model_sha256}}
    settings = {"members": 2, "method": known.ensemble}
    own = calibration_notes(dataclasses.replace(tiny_prediction, provenance={**model, "settings": settings}))
    figures = known.provenance["figures"]["regions"]["WT"]["before"]
    assert own[Region.WT].startswith(f"ECE {figures['ece_classwise']:.3f} over")
    assert f"{known.controls[Region.WT].threshold:.3g}" in own[Region.WT]
    assert known.controls[Region.ET].words()[1:] in own[Region.ET], "from its second letter on: it begins a sentence"
    others = {"members": 8, "method": "tta:8"}
    several = calibration_notes(dataclasses.replace(tiny_prediction, provenance={**model, "settings": others}))
    assert "not for this run" in several[Region.ET]
