"""*Review*: one panel for a whole list of results: where to look, what becomes of the study, and which one is next."""

from __future__ import annotations

import napari

from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.verdict.panel import VerdictWidget

_ROOMY = 800
"""Height in pixels at which the list may stay unfolded."""


class ReviewWidget(Panel):
    """Panel that holds *Findings*, *Verdict* and *Case browser*, with what is not needed for each study folded away.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where cases are opened and judged.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._session = session_of(viewer)
        self.findings = FindingsWidget(viewer, self)
        self.verdict = VerdictWidget(viewer, self)
        self.cases = CaseBrowserWidget(viewer, self)
        self.studies = Fold("Studies", "The list of studies, what to review first at the top", self.cases)
        self.fill(self.findings, self.verdict, self.studies, stretched=self.findings)
        self.cases.summary.setFixedHeight(0)  # the title of the list says it
        self.cases.counted.connect(self._on_counted)
        self._connections.connect(self._session.study_changed, self._on_study)
        self._on_counted(self.cases.summary.text())

    def release(self) -> None:
        """Let all parts go."""
        super().release()
        for part in (self.findings, self.verdict, self.cases):
            part.release()

    def _on_study(self, _study_id: str) -> None:
        """Fold the list away where it would push the verdict out of sight."""
        self.studies.unfold(self.height() >= _ROOMY)

    def _on_counted(self, summary: str) -> None:
        self.studies.head.setText(summary or "Studies")
