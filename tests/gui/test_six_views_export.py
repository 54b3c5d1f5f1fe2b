"""What is seen, as a figure for print."""

import dataclasses

import numpy as np
import pytest
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QFileDialog, QMessageBox
from superqt.utils import qimage_to_array

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.layout import ComparisonState, Cut, PaneView, caption
from napari_uncseg.compare.presets import panes_of
from napari_uncseg.errors import SaveError
from napari_uncseg.widgets.compare.export import export_figure
from napari_uncseg.widgets.compare.six_views import SixViewsWindow


@pytest.fixture
def state(qapp, tiny_study, tiny_prediction):
    data = comparison_data(tiny_study, tiny_prediction)
    panes = panes_of("Overview", data)
    return ComparisonState(tuple(PaneView(pane, data) for pane in panes), Cut(point=data.best_point), crosshair=False)


def read(path):
    image = QImage(str(path))
    return image, qimage_to_array(image)[..., :3].astype(float)


def test_a_png_has_print_resolution_panes_and_a_caption(state, tmp_path):
    export_figure(state, tmp_path / "figure.png", aspect=1.5)
    image, pixels = read(tmp_path / "figure.png")
    width = round(180 / 25.4 * 300)
    assert abs(image.width() - width) <= 1
    assert image.dotsPerMeterX() == pytest.approx(300 / 0.0254, rel=1e-3)
    assert QImage(str(tmp_path / "figure.png")).text("Description") == caption(state)
    panes = pixels[: round(width / 1.5)]
    words = pixels[round(width / 1.5) :]
    colour = (np.ptp(panes, axis=2) > 60).mean()
    assert 0.002 < colour < 0.2
    # Dark letters on white paper, with no line cut off at the lower edge.
    assert 0.5 < (words > 250).all(axis=2).mean() < 0.99
    assert (words < 60).all(axis=2).any()
    assert (words[-6:] > 250).all()


def test_what_is_switched_off_is_not_printed(state, tmp_path):
    bare = dataclasses.replace(state, overlays=False)
    export_figure(bare, tmp_path / "bare.png", dpi=100)
    _, pixels = read(tmp_path / "bare.png")
    height = pixels.shape[1] / 1.5 / 2
    picture = pixels[20 : round(height) - 20, 20 : pixels.shape[1] // 3 - 60]
    assert (np.ptp(picture, axis=2) > 40).mean() == 0


def test_a_pdf_is_one_page_of_the_same_size(state, tmp_path):
    export_figure(state, tmp_path / "figure.pdf", aspect=1.5)
    data = (tmp_path / "figure.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") == 1
    box = data.split(b"/MediaBox [")[1].split(b"]")[0].split()
    assert float(box[2]) == pytest.approx(180 / 25.4 * 72, abs=1)


def test_letters_keep_their_size_at_any_resolution(state, tmp_path):
    shares = []
    for dpi in (150, 300):
        export_figure(state, tmp_path / f"{dpi}.png", dpi=dpi)
        image, _ = read(tmp_path / f"{dpi}.png")
        shares.append(image.height() / image.width())
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_other_endings_and_places_are_refused(state, tmp_path):
    with pytest.raises(SaveError):
        export_figure(state, tmp_path / "figure.tiff")
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        export_figure(state, tmp_path / "file" / "figure.png")


@pytest.fixture
def window(qtbot, tiny_study, tiny_prediction):
    window = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(window)
    return window


@pytest.mark.parametrize(
    ("typed", "kind", "written"),
    [
        ("figure", "PDF (*.pdf)", "figure.pdf"),
        ("figure", "PNG (*.png)", "figure.png"),
        ("fig.v2", "PDF (*.pdf)", "fig.v2.pdf"),
        ("fig.v2", "PNG (*.png)", "fig.v2.png"),
        ("fig.PDF", "PNG (*.png)", "fig.PDF"),
        ("fig.png", "PDF (*.pdf)", "fig.png"),
    ],
)
def test_a_name_is_completed_with_the_suffix_of_the_chosen_kind(window, tmp_path, monkeypatch, typed, kind, written):
    def answer(_parent, _title, _name, kinds):
        assert kind in kinds.split(";;")
        return str(tmp_path / typed), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    window._ask_export()
    assert window.readout.text() == f"Saved {tmp_path / written}"
    assert [path.name for path in tmp_path.iterdir()] == [written]
    start = (tmp_path / written).read_bytes()[:4]
    assert start == (b"%PDF" if written.lower().endswith("pdf") else b"\x89PNG")


@pytest.mark.parametrize("may", [True, False])
def test_a_completed_name_that_is_taken_is_asked_about(window, tmp_path, monkeypatch, may):
    taken = tmp_path / "figure.pdf"
    taken.write_text("mine")
    buttons = QMessageBox.StandardButton
    asked = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "figure"), "PDF (*.pdf)"))
    monkeypatch.setattr(
        QMessageBox, "question", lambda *args: (asked.append(args[-1]), buttons.Yes if may else buttons.No)[1]
    )
    window._ask_export()
    assert "figure.pdf" in asked[0]
    assert (taken.read_bytes() == b"mine") is not may
