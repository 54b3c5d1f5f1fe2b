"""The check of a raw study in a real window: two images alternate at one place."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_uncseg.widgets.raw_study.check import CheckBox, Compare


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(900, 700)
    return viewer


@pytest.fixture
def check(qtbot, viewer):
    """T1c is bright on the left of the picture, T1n on the right."""
    images = np.full((4, 24, 24, 24), 100, dtype=np.float32)
    images[0, 14:], images[1, :10] = 400, 400
    brain = np.zeros(images.shape[1:], dtype=bool)
    brain[4:20, 4:20, 4:20] = True
    scan = SimpleNamespace(affine=np.eye(4), shape=brain.shape)
    box = CheckBox(viewer)
    qtbot.addWidget(box)
    box.begin(
        SimpleNamespace(
            raw=SimpleNamespace(scans={"t1c": scan}), registered=SimpleNamespace(images=images), brain=brain
        )
    )
    yield box
    box.end()


def brightness(viewer) -> tuple[float, float]:
    """Of the left and the right of the canvas as it is painted."""
    picture = viewer.screenshot(flash=False)[..., :3].mean(axis=2)
    middle = picture.shape[1] // 2
    return float(picture[:, :middle].mean()), float(picture[:, middle:].mean())


def test_frames_of_the_flicker_alternate_and_end_with_it(viewer, check):
    check.how.setCurrentText(Compare.FLICKER)
    assert check._timer.isActive()
    check._timer.stop()  # a busy machine is slower than its ticks
    frames = [brightness(viewer)]
    for _ in range(3):
        check._timer.timeout.emit()
        frames.append(brightness(viewer))
    lit = ["left" if left > 5 * right else "right" if right > 5 * left else "both" for left, right in frames]
    assert lit == ["right", "left", "right", "left"]
    check.how.setCurrentText(Compare.ALONE)
    left, right = brightness(viewer)
    assert right > 5 * left, "T1n is seen once the flicker is over"
    assert not check._timer.isActive()
