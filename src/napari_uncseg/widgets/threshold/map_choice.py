"""The form that chooses a region, a map of it, and the voxels that count."""

from __future__ import annotations

from dataclasses import dataclass

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import signals_blocked

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.review.session import Session
from napari_uncseg.review.watershed import REVIEW_SETS, review_voxels
from napari_uncseg.uncertainty.prediction_maps import maps_of
from napari_uncseg.viewer.layers import ensure_map_layer, find_map_layer
from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.common import choice, form, offer

SET_TITLES = {**VOXEL_SET_TITLES, VoxelSet.PREDICTION: "predicted region", VoxelSet.TUMOUR: "predicted tumour + 5 mm"}


@dataclass(frozen=True, eq=False)
class Chosen:
    """What the slider cuts.

    Parameters
    ----------
    prediction : Prediction
    key : MapName
    voxel_set : VoxelSet
    layer : napari.layers.Image
        Shows the map.
    within : ndarray of bool, shape (x, y, z), optional
        Voxels of the set; None for all.
    reference : ndarray of uint8, shape (x, y, z), optional
    brain : ndarray of bool, shape (x, y, z), optional
        Known while the images are open.
    """

    prediction: Prediction
    key: MapName
    voxel_set: VoxelSet
    layer: Image
    within: npt.NDArray[np.bool_] | None
    reference: npt.NDArray[np.uint8] | None
    brain: npt.NDArray[np.bool_] | None


class MapChoice(QWidget):
    """Three boxes: region, map, where to look.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its predictions are offered.
    session : Session
        Tells what was chosen last time.

    Attributes
    ----------
    changed : Signal
        Something else may be chosen.
    asked : Signal
        The user chose another map, which wants to be seen.
    """

    changed = Signal()
    asked = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session
        self._chosen: Chosen | None = None
        self._remembered: tuple[str, str, VoxelSet] = ("", "", VoxelSet.ALL)
        self.region_box = choice(
            "Region of the tumour that the map and the numbers speak of",
            [f"{region} · {REGION_TITLES[region]}" for region in REGIONS],
        )
        self.map_box = choice("Map of the result that the threshold cuts; it is shown in the view")
        self.set_box = choice("Voxels that may be flagged and are counted; all others are left out")
        self.setLayout(form(Region=self.region_box, Map=self.map_box, Look_in=self.set_box))
        self.region_box.currentIndexChanged.connect(self._on_region)
        self.map_box.currentIndexChanged.connect(self._on_map)
        self.set_box.currentIndexChanged.connect(self._on_set)

    @property
    def region(self) -> Region:
        """The chosen region."""
        return REGIONS[max(self.region_box.currentIndex(), 0)]

    def refresh(self) -> bool:
        """Offer the maps of the open predictions; stay at the chosen one, or at its successor after a new run.

        Returns
        -------
        bool
            Whether there is anything to choose.
        """
        # As in the layer list: what lies on top comes first.
        predictions = dict(reversed(open_predictions(self._viewer).items()))
        if self.map_box.count() == 0 and predictions:
            self._restore(next(iter(predictions)))
        entries = {}
        for prediction in predictions.values():
            for key in maps_of(prediction, self.region):
                title = prediction.title(key)
                entries[prediction.study_id, str(key)] = (
                    f"{title} · {prediction.study_id}" if len(predictions) > 1 else title
                )
        chosen = self.map_box.currentData()
        wanted = chosen or self._remembered[:2]
        if chosen is not None and wanted not in entries:  # another region: the same measure of it, if it has one
            wanted = (chosen[0], str(MapName(MapName.parse(chosen[1]).measure, self.region)))
        offer(self.map_box, entries, wanted, or_first=True)
        self._offer_sets()
        return bool(entries)

    def go_to_study(self, study_id: str) -> None:
        """Choose a map of another study: the one chosen there last, or the same as here."""
        data = self.map_box.currentData()
        if data is None or data[0] == study_id:
            return
        offered = [self.map_box.itemData(number) for number in range(self.map_box.count())]
        wanted = [(study_id, self._session.state.map), (study_id, data[1])]
        found = [each for each in (*wanted, *offered) if each in offered and each[0] == study_id]
        if found:
            self.map_box.setCurrentIndex(offered.index(found[0]))

    def choose(self) -> Chosen | None:
        """What the boxes say; the same object while nothing in it has changed."""
        self._chosen = self._choose(self._chosen)
        return self._chosen

    def _choose(self, now: Chosen | None) -> Chosen | None:
        data = self.map_box.currentData()
        prediction = open_predictions(self._viewer).get(data[0]) if data is not None else None
        if data is None or prediction is None:
            return None
        key = MapName.parse(data[1])
        voxel_set = VoxelSet(self.set_box.currentData() or VoxelSet.ALL)
        study = open_studies(self._viewer).get(prediction.study_id)
        fits = study is not None and study.shape == prediction.segmentation.shape
        reference = study.reference if study is not None and fits else None
        brain = study.brain if study is not None and fits else None
        if (
            now is not None
            and now.prediction is prediction
            and (now.key, now.voxel_set) == (key, voxel_set)
            and now.reference is reference
            and now.brain is brain
            and find_map_layer(self._viewer, prediction, key) is now.layer
        ):
            return now
        within = review_voxels(prediction, voxel_set, key.region, brain)
        layer = ensure_map_layer(self._viewer, prediction, key)
        return Chosen(prediction, key, voxel_set, layer, within, reference, brain)

    def _restore(self, study_id: str) -> None:
        """Choose what was chosen when a study was looked at last, or what is shown of it."""
        place = self._session.state_of(study_id)
        shown = [tag.name for layer, tag in tagged(self._viewer, study_id, "map") if layer.visible]
        name = place.map or (shown[-1] if shown else "")
        self._remembered = (study_id, name, place.voxel_set)
        if name:
            with signals_blocked(self.region_box):
                self.region_box.setCurrentIndex(REGIONS.index(MapName.parse(name).region))

    def _offer_sets(self) -> None:
        """Offer the voxel sets; the brain is known only while the images are open."""
        data = self.map_box.currentData()
        known = data is not None and data[0] in open_studies(self._viewer)
        sets = {each: SET_TITLES[each] for each in REVIEW_SETS if known or each is not VoxelSet.BRAIN}
        offer(self.set_box, sets, self.set_box.currentData() or self._remembered[2], or_first=True)

    def _on_region(self, _index: int = 0) -> None:
        self.refresh()
        self._on_map()

    def _on_map(self, _index: int = 0) -> None:
        self._offer_sets()
        self.changed.emit()
        self.asked.emit()

    def _on_set(self, _index: int = 0) -> None:
        self.changed.emit()
