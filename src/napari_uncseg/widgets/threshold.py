"""*Threshold*: hide a map below a value and read how much lies above it."""

from __future__ import annotations

import math

import napari
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from napari_uncseg.study.prediction import MAPS, Prediction
from napari_uncseg.view.flagged import STEPS, Flagged, count_flagged
from napari_uncseg.view.layers import upper_bound
from napari_uncseg.view.palette import TRANSPARENT_BELOW, map_colormap
from napari_uncseg.view.tags import Tag, tagged
from napari_uncseg.widgets.parts import PANEL_WIDTH, LayerWatch, heading, narrow, note_label, row_label

EMPTY = "No map is open. Run Segment with uncertainty, or open the folder that uncseg predict wrote."


class ThresholdWidget(QWidget):
    """Panel with a slider over one map: below it nothing is drawn, above it voxels count as flagged.

    Only the layer's colormap changes with the slider; the map itself is counted once, when it is chosen.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its maps are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._map: tuple[Image, Tag] | None = None
        self._flagged: Flagged | None = None
        self.map_choice = narrow(QComboBox())
        self.slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setDecimals(3)
        self.slider.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.volume = heading("")
        self.share = note_label()
        self.explanation = note_label()
        self.hint = note_label(EMPTY)
        self._form = QWidget()
        form = QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_label("Map"), self.map_choice)
        form.addRow(row_label("Threshold"), self.slider)
        layout = QVBoxLayout(self)
        for widget in (self._form, self.volume, self.share, self.explanation, self.hint):
            layout.addWidget(widget)
        layout.addStretch(1)
        self.setMinimumWidth(PANEL_WIDTH)
        self.map_choice.currentIndexChanged.connect(self._on_map)
        self.slider.valueChanged.connect(self._on_threshold)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer the open maps; stay at the chosen one, or at its successor after a new run."""
        maps = [(layer, tag) for layer, tag in tagged(self._viewer, None, "map") if isinstance(layer, Image)]
        maps.reverse()  # as in the layer list: what lies on top comes first
        several = len({tag.study_id for _, tag in maps}) > 1
        chosen = self._map
        self.map_choice.blockSignals(True)
        self.map_choice.clear()
        index = 0
        for number, (layer, tag) in enumerate(maps):
            title = f"{layer.name} · {tag.study_id}" if several else layer.name
            self.map_choice.addItem(title, (tag.study_id, tag.name))
            if chosen is not None and (tag.study_id, tag.name) == (chosen[1].study_id, chosen[1].name):
                index = number
        self.map_choice.setCurrentIndex(index if maps else -1)
        self.map_choice.blockSignals(False)
        for widget in (self._form, self.volume, self.share, self.explanation):
            widget.setVisible(bool(maps))
        self.hint.setVisible(not maps)
        self._on_map()

    @property
    def threshold(self) -> float:
        """Where the slider stands, in the map's unit."""
        return float(self.slider.value())

    def _on_map(self, _index: int = 0) -> None:
        """Count the chosen map and put the slider where the layer's colours already start."""
        key = self.map_choice.currentData()
        found = [(layer, tag) for layer, tag in tagged(self._viewer, None, "map") if (tag.study_id, tag.name) == key]
        if not found:
            self._map = self._flagged = None
            return
        layer, tag = found[0]
        before = self._map
        if before is not None and before[0] is layer:
            return
        same_map = before is not None and (before[1].study_id, before[1].name) == (tag.study_id, tag.name)
        prediction = tag.source
        assert isinstance(prediction, Prediction)  # what a map is made of
        self._map = (layer, tag)
        self._flagged = count_flagged(prediction, tag.name)
        upper = upper_bound(prediction, tag.name)
        # A new run of the same study keeps the threshold; another map starts where its colours start.
        value = self.threshold if same_map else upper * TRANSPARENT_BELOW
        self.slider.blockSignals(True)
        self.slider.setRange(0.0, upper)
        self.slider.setSingleStep(upper / STEPS)  # type: ignore[arg-type]
        self.slider.setPageStep(upper / 20)  # type: ignore[arg-type]
        self.slider.setValue(value)
        self.slider.blockSignals(False)
        unit = MAPS[tag.name].unit if tag.name in MAPS else ""
        self.explanation.setText(
            f"{layer.name}: 0 to {upper:.2f}"
            + (f" ({unit})" if unit else "")
            + ". Below the threshold nothing is drawn."
        )
        self._on_threshold(value)

    def _on_threshold(self, value: float) -> None:
        if self._map is None or self._flagged is None:
            return
        layer, _ = self._map
        flagged = self._flagged
        upper = float(flagged.thresholds[-1])
        # The number belongs to the nearest step; the colours are cut at the same one.
        step = min(max(round(value / upper * STEPS), 0), STEPS)
        layer.colormap = map_colormap(self._map[1].name, step / STEPS)
        self.volume.setText(f"Flagged: {flagged.volume_ml(step):.1f} mL at {flagged.thresholds[step]:.3f} or more")
        share = flagged.tumour_share(step)
        self.share.setText(
            "No tumour was predicted." if math.isnan(share) else f"{share:.0%} of the predicted tumour is flagged."
        )
