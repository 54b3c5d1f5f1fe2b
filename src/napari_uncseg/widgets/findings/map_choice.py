"""Which map is cut, in which voxels, and the search for findings in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import QSignalThrottler, signals_blocked

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import BEST_SEEN_ON, REGION_TITLES, REGIONS, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.review.findings import Findings, find
from napari_uncseg.review.session import Session
from napari_uncseg.review.threshold_sweep import leading_map, reasons_of
from napari_uncseg.review.watershed import REVIEW_SETS, Watershed, build_watershed, review_voxels
from napari_uncseg.uncertainty.prediction_maps import maps_of
from napari_uncseg.viewer.bindings import show_modality
from napari_uncseg.viewer.layers import ensure_map_layer, find_map_layer
from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.base import Watch
from napari_uncseg.widgets.common import choice, form, offer, opacity_slider
from napari_uncseg.widgets.job import Job, Report

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
    study : Study, optional
        Of the result, while its images are open on the same grid: it knows the reference and the brain.
    """

    prediction: Prediction
    key: MapName
    voxel_set: VoxelSet
    layer: Image
    within: npt.NDArray[np.bool_] | None
    study: Study | None

    @property
    def map(self) -> tuple[Prediction, MapName, Study | None]:
        """What a watershed is made of."""
        return self.prediction, self.key, self.study

    @property
    def reference(self) -> npt.NDArray[np.uint8] | None:
        """The expert's labels, if they are known."""
        return self.study.reference if self.study is not None else None

    @property
    def brain(self) -> npt.NDArray[np.bool_] | None:
        """Voxels of the brain, if they are known."""
        return self.study.brain if self.study is not None else None


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
        self._remembered_set = VoxelSet.ALL
        self.region_box = choice(
            "Region of the tumour that the map and the numbers speak of",
            [f"{region} · {REGION_TITLES[region]}" for region in REGIONS],
            self._on_region,
        )
        tips = (
            "Map of the result that the threshold cuts; it is shown in the view",
            "Voxels that may be flagged and are counted; all others are left out",
        )
        self.map_box, self.set_box = choice(tips[0], (), self._on_map), choice(tips[1], (), self.changed)
        self.opacity = opacity_slider(self._on_opacity)
        self._opacity_watch = Watch(self, self._follow_opacity)
        self.setLayout(form(Region=self.region_box, Map=self.map_box, Look_in=self.set_box, Opacity=self.opacity))

    @property
    def region(self) -> Region:
        """The chosen region."""
        return REGIONS[max(self.region_box.currentIndex(), 0)]

    @property
    def study(self) -> str:
        """Id of the study whose map is chosen; empty while there is none."""
        return str((self.map_box.currentData() or ("",))[0])

    def refresh(self, study_id: str = "") -> bool:
        """Offer the maps of the open predictions; stay at the chosen one, or at its successor after a new run.

        Parameters
        ----------
        study_id : str
            Go to this study, if it is open.

        Returns
        -------
        bool
            Whether there is anything to choose.
        """
        # As in the layer list: what lies on top comes first.
        predictions = dict(reversed(open_predictions(self._viewer).items()))
        before, name = self.map_box.currentData() or ("", "")
        goals = (study_id, before, self._session.study, *predictions)
        goal = next((each for each in goals if each in predictions), "")
        if goal != before and goal:
            name = self._recall(predictions[goal], name)
        entries = {
            (its, str(key)): prediction.title(key) + (f" · {its}" if len(predictions) > 1 else "")
            for its, prediction in predictions.items()
            for key in maps_of(prediction, self.region)
        }
        if name and (goal, name) not in entries:  # another region: the same measure of it, if it has one
            name = str(MapName(MapName.parse(name).measure, self.region))
        offer(self.map_box, entries, (goal, name), or_first=True)
        self._offer_sets()
        return bool(entries)

    def choose(self) -> Chosen | None:
        """What the boxes say; the same object while nothing in it has changed."""
        study_id, name = self.map_box.currentData() or ("", "")
        prediction = open_predictions(self._viewer).get(study_id)
        if prediction is None:
            self._chosen = None
            return None
        key, voxel_set = MapName.parse(name), VoxelSet(self.set_box.currentData() or VoxelSet.ALL)
        study = open_studies(self._viewer).get(study_id)
        study = study if study is not None and study.shape == prediction.shape else None
        layer, now = find_map_layer(self._viewer, prediction, key), self._chosen
        if now is None or (now.map, now.voxel_set, now.layer) != ((prediction, key, study), voxel_set, layer):
            within = review_voxels(prediction, voxel_set, key.region, study.brain if study is not None else None)
            layer = ensure_map_layer(self._viewer, prediction, key)
            self._chosen = Chosen(prediction, key, voxel_set, layer, within, study)
            self._opacity_watch.follow([layer.events.opacity])
            self._follow_opacity()
        return self._chosen

    def _on_opacity(self, percent: int) -> None:
        if self._chosen is not None:
            self._chosen.layer.opacity = percent / 100

    def _follow_opacity(self) -> None:
        """Show the opacity of the map, whoever changed it."""
        if self._chosen is not None:
            with signals_blocked(self.opacity):
                self.opacity.setValue(round(100 * self._chosen.layer.opacity))

    def _recall(self, prediction: Prediction, before: str) -> str:
        """Name of the map to go on with: what was chosen of a study last, the same as before, or what is shown."""
        state, study_id = self._session.state_of(prediction.study_id), prediction.study_id
        shown = [tag.name for layer, tag in tagged(self._viewer, study_id, "map") if layer.visible]
        doubtful = bool(reasons_of(prediction))  # one that is begins with the map that leads
        name = state.map or (leading_map(prediction) if before and doubtful else before or (shown[-1] if shown else ""))
        self._remembered_set = state.voxel_set
        if name:
            with signals_blocked(self.region_box):
                self.region_box.setCurrentIndex(REGIONS.index(MapName.parse(name).region))
        return name

    def _offer_sets(self) -> None:
        """Offer the voxel sets; the brain is known only while the images are open."""
        known = self.study in open_studies(self._viewer)
        sets = {each: SET_TITLES[each] for each in REVIEW_SETS if known or each is not VoxelSet.BRAIN}
        offer(self.set_box, sets, self.set_box.currentData() or self._remembered_set, or_first=True)

    def _on_region(self) -> None:
        """Show its maps, on the image on which its edge is seen best."""
        self.refresh()
        show_modality(self._viewer, BEST_SEEN_ON[self.region])
        self._on_map()

    def _on_map(self) -> None:
        self._offer_sets()
        self.changed.emit()
        self.asked.emit()


THROTTLE_MS = 25
"""How long the slider may go on before a search starts."""


class Finder(QObject):
    """Searches for findings, one question at a time; questions that were overtaken are not answered.

    Attributes
    ----------
    found : Signal
        The :class:`Chosen` that was searched, and its :class:`Findings`.
    failed : Signal
        The exception of a search.
    """

    found = Signal(object, object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: tuple[Chosen, float] | None = None
        self._known: tuple[Chosen, Watershed] | None = None
        self._job = Job(self, "a search for findings")
        self._job.returned.connect(self._on_found)
        self._job.failed.connect(self.failed)
        self._job.finished.connect(self.start)
        self._soon = QSignalThrottler(parent=self)
        self._soon.setTimeout(THROTTLE_MS)
        self._soon.triggered.connect(self.start)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._job.running or self._wanted is not None

    def ask(self, chosen: Chosen, threshold: float) -> None:
        """Ask for what a map flags at a threshold; an earlier question that is not yet answered is dropped."""
        self._wanted = chosen, threshold
        self._soon.throttle()

    def drop(self) -> None:
        """Drop what was asked and what was kept of the last study; what is being searched is not told."""
        self._wanted = None
        self._known = None  # it holds its prediction
        self._job.drop()

    def start(self) -> None:
        """Search for what was asked last, unless a search still goes on."""
        if self._wanted is not None and not self._job.running:
            (chosen, threshold), self._wanted = self._wanted, None
            watershed = self._known[1] if self._known is not None and self._known[0].map == chosen.map else None
            self._job.start(partial(_search, chosen, threshold, watershed))

    def _on_found(self, answer: tuple[Chosen, Watershed, Findings]) -> None:
        chosen, watershed, findings = answer
        self._known = chosen, watershed
        if self._wanted is None or self._wanted[0] is chosen:
            self.found.emit(chosen, findings)


def _search(
    chosen: Chosen, threshold: float, watershed: Watershed | None, _report: Report
) -> tuple[Chosen, Watershed, Findings]:
    """Find; builds the watershed when there is none."""
    watershed = watershed or build_watershed(chosen.prediction, chosen.key, chosen.brain)
    return chosen, watershed, find(watershed, threshold, chosen.within)
