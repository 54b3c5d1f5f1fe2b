"""Volumes and diameters of the result under review, before and after its correction, and its surfaces in 3-D."""

from __future__ import annotations

import napari
from qtpy.QtWidgets import QHeaderView

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.review.corrections import Correction
from napari_uncseg.review.volumes import DIAMETERS_HOW, RegionSize, region_sizes
from napari_uncseg.viewer.bindings import PICTURE_KEYS, run_command
from napari_uncseg.widgets.common import key_button
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.table import Row, Table

_COLUMNS = {
    "": "Region",
    "mL": "Volume, millilitres; before and after a correction",
    "mm, axial": DIAMETERS_HOW,
}


class MeasuresFold(Fold):
    """Table of volumes and diameters below a title that tells the volumes, and the button of 3-D.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Shows the surfaces.
    unfolded : bool
    """

    def __init__(self, viewer: napari.viewer.Viewer, *, unfolded: bool) -> None:
        tip = "Smooth surfaces and findings as markers, or the slices again"
        surfaces = key_button("3-D", PICTURE_KEYS["surfaces"], tip)
        rows = (len(REGIONS), len(REGIONS))
        table = Table(_COLUMNS, "Volumes and diameters", QHeaderView.ResizeMode.ResizeToContents, rows)
        table.header.setStretchLastSection(True)
        super().__init__("Volumes", "Volumes, diameters and 3-D", table, surfaces, unfolded=unfolded)
        self.table, self.surfaces_button = table, surfaces
        self._viewer = viewer
        surfaces.clicked.connect(self._toggle)
        self._measured: Prediction | None = None
        self._before: dict[Region, RegionSize] = {}

    def present(self, prediction: Prediction | None, changes: Correction | None = None) -> None:
        """Tell the sizes of a result and, where something was changed, of its correction."""
        if prediction is None:
            return
        if prediction is not self._measured:
            self._measured, self._before = prediction, region_sizes(prediction.segmentation, prediction)
        before = after = self._before
        if changes is not None and changes.voxels:
            after = region_sizes(changes.labels, prediction)
        rows = []
        for region in REGIONS:
            old, new = before[region], after[region]
            volume, across = f"{old.ml:.1f}", old.across
            if after is not before:
                volume, across = f"{volume} → {new.ml:.1f}", f"{across} → {new.across}"
            where = f"; axial slice {new.diameters.slice} from below" if new.diameters is not None else ""
            rows.append(Row(region, (str(region), volume, across), f"{REGION_TITLES[region]}{where}"))
        self.table.write(rows, left=(0,))
        told = " · ".join(f"{region} {after[region].ml:.1f}" for region in REGIONS)
        self.head.setText(f"{told} mL{' (corrected)' if after is not before else ''}")

    def _toggle(self) -> None:
        run_command(self._viewer, "surfaces")
