"""A draft of a correction that was never saved, offered with its study."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_uncseg.review.drafts import CorrectionDraft
from napari_uncseg.widgets.common import DOUBT_COLOUR, Note, button, column, row


class DraftOffer(QWidget):
    """Words on a draft, and buttons to go on with it or to discard it; hidden while there is none.

    Attributes
    ----------
    taken, discarded : Signal
        The draft.
    """

    taken = Signal(object)
    discarded = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.draft: CorrectionDraft | None = None
        """The one on offer."""
        self.note = Note()
        self.take_button = button("Go on with it", "Open the draft to paint on", self._take)
        self.discard_button = button("Discard", "Delete the draft; what was painted is lost", self._discard)
        self.setLayout(column(self.note, row(self.take_button, self.discard_button)))
        self.hide()

    @property
    def words(self) -> str:
        """What is told of the draft."""
        return self.note.text()

    def present(self, drafts: Sequence[CorrectionDraft]) -> None:
        """Offer the first of some drafts, the latest."""
        self.draft = drafts[0] if drafts else None
        self.setVisible(self.draft is not None)
        if self.draft is not None:
            self.note.warn((_words(self.draft, len(drafts)),))
            self.note.setStyleSheet(f"color: {DOUBT_COLOUR};")

    def _take(self) -> None:
        if self.draft is not None:
            self.taken.emit(self.draft)

    def _discard(self) -> None:
        if self.draft is not None:
            self.discarded.emit(self.draft)


def _words(draft: CorrectionDraft, count: int) -> str:
    try:
        when = f"{datetime.fromisoformat(draft.time).astimezone():%d %B %Y, %H:%M}"
    except ValueError:
        when = draft.time
    whose = f" by {draft.reviewer}" if draft.reviewer else ""
    more = f" {count - 1} older {'one' if count == 2 else 'ones'} will be offered after it." if count > 1 else ""
    return f"A correction of {when}{whose} was not saved ({draft.voxels} voxels changed).{more}"
