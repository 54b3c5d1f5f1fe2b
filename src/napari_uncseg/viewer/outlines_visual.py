"""The outlines as vispy draws them; importing this tells napari, which finds the visual of an overlay by its class."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari._vispy.overlays.base import ViewerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from vispy.scene.visuals import Compound, Line

from napari_uncseg.viewer.outlines import FINDING_WIDTH, REGION_WIDTH, OutlinesOverlay


class VispyOutlines(ViewerOverlayMixin, VispySceneOverlay):
    """Antialiased lines: a node for each width, which a line has as a whole."""

    overlay: OutlinesOverlay

    def __init__(self, **kwargs: Any) -> None:
        self._nodes = {width: Line(antialias=True, width=width) for width in (REGION_WIDTH, FINDING_WIDTH)}
        super().__init__(node=Compound(list(self._nodes.values())), **kwargs)
        self.overlay.events.lines.connect(self._on_lines)
        self.reset()
        self._on_lines()

    def _on_lines(self) -> None:
        for width, node in self._nodes.items():
            lines = [each for each in self.overlay.lines if each.width == width]
            node.visible = bool(lines)
            if lines:
                node.set_data(
                    pos=np.concatenate([each.points for each in lines]),
                    color=np.concatenate([each.colours for each in lines]),
                    connect=np.concatenate([each.connect for each in lines]),
                )
        self.node.update()

    def close(self) -> None:
        """Draw nothing any more."""
        self.overlay.events.lines.disconnect(self._on_lines)
        super().close()


overlay_to_visual[OutlinesOverlay] = VispyOutlines
