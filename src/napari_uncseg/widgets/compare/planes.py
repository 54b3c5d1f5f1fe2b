"""*Three planes*: axial, coronal and sagittal in the main window, with its place, windows and maps.

It lies on napari's canvas and hides it: panels, keys and sliders of the main window stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import napari
import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QVBoxLayout, QWidget
from superqt import QFlowLayout
from superqt.utils import QSignalThrottler, signals_blocked

from napari_uncseg.compare.data import ComparisonData, Point, comparison_data
from napari_uncseg.compare.layout import ComparisonState, Cut, Pane, PaneView
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.maps import MapName
from napari_uncseg.viewer.bindings import declared_key, show_modality
from napari_uncseg.viewer.colormaps import drawn_from
from napari_uncseg.viewer.layers import show_only_map
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.picture import NOTE, layer_events, model_of, shown_image, shown_study
from napari_uncseg.viewer.tags import open_predictions, open_studies, tag_of, tagged
from napari_uncseg.widgets.base import Connections, Watch
from napari_uncseg.widgets.common import button, choice, label, offer, opacity_slider, row
from napari_uncseg.widgets.compare.canvas import ComparisonCanvas
from napari_uncseg.widgets.drop import qt_viewer_of

DELAY_MS = 40
"""How long after a move of the crosshair the viewer follows: drawing it takes longer than drawing the planes."""

NARROW = 720
"""Width in pixels of a picture below which napari's lists make room for the planes: they have their own choosers."""

FOOT_POINTS = 8
"""Size of the letters below the planes, as on the picture: a narrow window has little room for them."""

OTHER = {"t2f": "t1c"}
"""What the fourth pane shows, bare, beside an image; beside any other one FLAIR."""

NO_STUDY = "Three planes need a study: open one, or run Segment with uncertainty on four open images."


class PointLink(QObject):
    """Keeps the crosshair of a comparison and the place of a viewer the same.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    canvas : ComparisonCanvas
        Owner of the link.
    """

    def __init__(self, viewer: napari.viewer.Viewer, canvas: ComparisonCanvas) -> None:
        super().__init__(canvas)
        self._viewer, self._canvas = viewer, canvas
        self._moving = False
        self._connections = Connections(canvas)
        self._soon = QSignalThrottler(parent=self)
        self._soon.setTimeout(DELAY_MS)
        self._soon.triggered.connect(self._lead)
        self._connections.connect(viewer.dims.events.point, self._on_point)
        canvas.changed.connect(self._on_canvas)

    def release(self) -> None:
        """Stop following."""
        self._soon.cancel()
        self._connections.disconnect_all()

    def _on_point(self) -> None:
        point = tuple(float(place) for place in self._viewer.dims.point)
        if not self._moving and len(point) == 3:
            self._moving = True
            self._canvas.go(point)
            self._moving = False

    def _on_canvas(self) -> None:
        if not self._moving:
            self._soon.throttle()

    def _lead(self) -> None:
        """Bring the viewer to the crosshair."""
        point = self._canvas.state.cut.point
        if self._viewer.dims.ndim == 3 and not np.allclose(point, self._viewer.dims.point):
            self._moving = True
            self._viewer.dims.point = point
            self._moving = False


class PlanesView(QWidget):
    """Three planes of the study on show, and one of them in another sequence, over the canvas of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    qt_viewer : napari.qt.QtViewer
        Its picture.
    """

    def __init__(self, viewer: ViewerModel, qt_viewer: QtViewer) -> None:
        super().__init__(qt_viewer.canvas.native)
        self._viewer = viewer
        self._data: ComparisonData | None = None
        self._sources: tuple[object, ...] = ()
        self._lists = (qt_viewer.dockLayerList, qt_viewer.dockLayerControls)
        self._hidden: list[QWidget] = []
        self.canvas = ComparisonCanvas(headings=True, separate=False, enlarges=True, inside=True)
        self.canvas.setMinimumSize(1, 1)
        self.image = choice("Image of the planes", {name: MODALITY_TITLES[name] for name in MODALITIES}, least=8)
        self.map = choice("Map that lies on the planes", least=10)
        self.opacity = opacity_slider(self._choose_opacity)
        self.name, self.values, note = label(), label(), QLabel(NOTE)
        for small in (self.values, note):
            small.setStyleSheet(f"font-size: {FOOT_POINTS}pt;")
        key, words = declared_key("planes", "picture")
        close = button("One plane", f"{words.capitalize()} ({key})", self.hide)
        bar, foot = QWidget(), QWidget()
        flow = QFlowLayout(bar)  # in a narrow window a second line, sooner than cut words
        flow.setContentsMargins(2, 2, 2, 2)
        flow.setSpacing(4)
        for each in (self.name, self.image, self.map, self.opacity, close):
            flow.addWidget(each)
        foot.setLayout(row(self.values, note, stretch=(1, 0)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for widget, stretch in ((bar, 0), (self.canvas, 1), (foot, 0)):
            layout.addWidget(widget, stretch)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet("PlanesView { background: black; }")
        self.image.activated.connect(self._choose_image)
        self.map.activated.connect(self._choose_map)
        self.canvas.changed.connect(self._on_windows)
        self.canvas.hovered.connect(self._tell)
        self._link = PointLink(viewer, self.canvas)
        self._layers, self._looks = Watch(self, self.refresh), Watch(self, self.refresh)
        self._layers.follow(layer_events(viewer))
        qt_viewer.canvas.native.installEventFilter(self)
        self.setGeometry(qt_viewer.canvas.native.rect())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Cover the canvas whatever its size."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(watched, QWidget):
            self.setGeometry(watched.rect())
        return super().eventFilter(watched, event)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Put away napari's lists where the planes would be small beside them."""
        super().showEvent(event)
        if event is not None and not event.spontaneous() and self.width() < NARROW:
            self._hidden = [dock for dock in self._lists if self._takes_room(dock)]
            for dock in self._hidden:
                dock.hide()

    def _takes_room(self, dock: QDockWidget) -> bool:
        """Whether a list is seen beside the picture; as a tab behind a panel it is in nobody's way."""
        window = self.window()
        return dock.isVisible() and not (isinstance(window, QMainWindow) and window.tabifiedDockWidgets(dock))

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Show them again, but not when the window itself is hidden."""
        super().hideEvent(event)
        if self.isHidden():
            hidden, self._hidden = self._hidden, []
            for dock in hidden:
                dock.show()

    def refresh(self) -> None:
        """Show what the main window shows."""
        if self.isHidden():
            return
        study_id = shown_study(self._viewer)
        study, prediction = open_studies(self._viewer).get(study_id), open_predictions(self._viewer).get(study_id)
        if study is None:
            self.hide()
            return
        looked_at = ("visible", "opacity", "contrast_limits", "colormap")
        layers = [layer for layer, _ in tagged(self._viewer, study_id)]
        self._looks.follow(
            [getattr(layer.events, name) for layer in layers for name in looked_at if hasattr(layer.events, name)]
        )
        if self._sources != (study, prediction):
            self._sources, self._data = (study, prediction), comparison_data(study, prediction)
            self.canvas.forget()
            state = ComparisonState(cut=Cut(point=tuple(self._viewer.dims.point)), columns=2)
            self.canvas.show_state(state)
        assert self._data is not None
        overlays = self._data.overlays
        shown = shown_image(self._viewer)
        tag = tag_of(shown) if shown is not None else None
        image = tag.name if tag is not None and tag.role == "image" else MODALITIES[0]
        maps = {tag.name: layer for layer, tag in tagged(self._viewer, study_id, "map") if tag.name in overlays}
        top = next((name for name, layer in reversed(maps.items()) if layer.visible), "")
        offer(self.image, {name: MODALITY_TITLES[name] for name in MODALITIES}, image)
        offer(self.map, {"": "No map", **{name: overlays[name].title for name in maps}}, top)
        self.name.setText(f" {study_id} ")
        self.opacity.setMinimumHeight(self.image.sizeHint().height())  # in the middle of its line
        panes = [Pane(image, top, plane=plane) for plane in PLANES]
        panes.append(Pane(OTHER.get(image, "t2f"), plane="axial"))
        windows = {}
        for layer, tag in tagged(self._viewer, study_id, "image"):
            low, high = self._data.windows[tag.name]
            windows[tag.name] = tuple((limit - low) / (high - low) for limit in layer.contrast_limits)
        outline, reference = (
            any(layer.visible for layer, _ in tagged(self._viewer, study_id, role))
            for role in ("segmentation", "reference")
        )
        state = replace(
            self.canvas.state,
            windows=windows,
            thresholds={name: drawn_from(layer) for name, layer in maps.items()},
            outline=outline,
            reference=reference,
            opacity=maps[top].opacity if top else self.canvas.state.opacity,
        )
        with signals_blocked(self.opacity):
            self.opacity.setValue(round(100 * state.opacity))
        self.canvas.show_views(state, tuple(PaneView(pane, self._data) for pane in panes))

    def _choose_image(self, _index: int) -> None:
        show_modality(self._viewer, self.image.currentData())

    def _choose_map(self, _index: int) -> None:
        prediction, name = self._sources[1], self.map.currentData()
        if isinstance(prediction, Prediction):
            show_only_map(self._viewer, prediction, MapName.parse(name)) if name else self._hide_maps()

    def _hide_maps(self) -> None:
        for layer, _ in tagged(self._viewer, shown_study(self._viewer), "map"):
            layer.visible = False

    def _choose_opacity(self, percent: int) -> None:
        for layer, tag in tagged(self._viewer, shown_study(self._viewer), "map"):
            if tag.name == self.map.currentData():
                layer.opacity = percent / 100

    def _on_windows(self) -> None:
        """Give the layers of the main window the windows that were set here."""
        if self._data is None:
            return
        for layer, tag in tagged(self._viewer, self._data.study_id, "image"):
            low, high = self._data.windows[tag.name]
            share = self.canvas.state.windows.get(tag.name, (0.0, 1.0))
            limits = [low + part * (high - low) for part in share]
            if not np.allclose(limits, layer.contrast_limits):
                layer.contrast_limits = limits

    def _tell(self, view: PaneView, point: Point) -> None:
        if view.data is not None:
            self.values.setText(" · ".join(f"{name} {value}" for name, value in view.data.values_at(point).items()))


def toggle_planes(viewer: napari.viewer.Viewer) -> PlanesView | None:
    """Show three planes in the place of the picture, or the picture again.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        With a window.

    Returns
    -------
    PlanesView or None
        None without a window or a study.
    """
    model = model_of(viewer)
    qt_viewer = qt_viewer_of(model)
    if qt_viewer is None:
        return None
    if shown_study(model) not in open_studies(model):
        show_warning(NO_STUDY)
        return None
    view = qt_viewer.canvas.native.findChild(PlanesView) or PlanesView(model, qt_viewer)
    view.setVisible(view.isHidden())
    if view.isVisible():
        view.raise_()
        view.refresh()
        view.canvas.setFocus()
    return view
