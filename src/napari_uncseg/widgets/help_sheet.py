"""*Keys*: what all keys of the plugin do, read from where each is defined."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_uncseg.viewer.bindings import BARE, COMFORT_KEYS, HELP
from napari_uncseg.viewer.navigation import FINE, KEYS, NEXT, OVERLAY, PREVIOUS, REAL_ERROR, UNSURE
from napari_uncseg.widgets.common import fill_panel
from napari_uncseg.widgets.compare.base import EXPORT_KEY, FIT_KEY, HELP_KEY, OPTION_KEYS, PLANE_KEYS
from napari_uncseg.widgets.compare.window import PRESET_KEY, RESULT_KEY
from napari_uncseg.widgets.worklist.panel import NEXT_KEY, PREVIOUS_KEY

PANEL_HEIGHT = 320

_REVIEW_WORDS = {
    NEXT: "next finding",
    PREVIOUS: "previous finding",
    REAL_ERROR: "this finding is wrong: a real error",
    FINE: "this finding is fine",
    UNSURE: "unsure about this finding",
    OVERLAY: "hide and show the map",
}
_COMFORT_WORDS = {BARE: "hide and show all that lies on the images", HELP: "this list"}
_OPTION_WORDS = {
    "overlay": "overlays on or off",
    "outline": "contours on or off",
    "crosshair": "crosshair on or off",
    "common_scale": "one scale for all maps on or off",
}
_SIX_MOUSE = (
    ("wheel", "slices"),
    ("Ctrl + wheel", "zoom"),
    ("left button", "crosshair"),
    ("middle button", "move the pictures"),
    ("right button", "window and level"),
)


@dataclass(frozen=True)
class Section:
    """Keys that work at one place.

    Parameters
    ----------
    title : str
        Where they work.
    rows : tuple of (str, str)
        Key as Qt writes it, or a gesture of the mouse, and what it does.
    """

    title: str
    rows: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys alone."""
        return tuple(key for key, _ in self.rows)


def sections() -> tuple[Section, ...]:
    """All keys of the plugin, place by place."""
    return (
        Section("Case browser", ((NEXT_KEY, "next study"), (PREVIOUS_KEY, "previous study"))),
        Section("Two reviewers", (("Enter", "open the study of the row, as a double click does"),)),
        Section(
            "Findings (while the panel Threshold is open)",
            tuple((_as_qt(key), _REVIEW_WORDS[what]) for what, key in KEYS.items()),
        ),
        Section(
            "Picture",
            (
                *((_as_qt(key), _COMFORT_WORDS[what]) for what, key in COMFORT_KEYS.items()),
                ("right button", "window (sideways) and level (up and down) of the image"),
            ),
        ),
        Section(
            "Six views",
            (
                *((key, f"{plane} plane") for plane, key in PLANE_KEYS.items()),
                ("PgDown", "next slice"),
                ("PgUp", "previous slice"),
                *((key, _OPTION_WORDS[name]) for name, key in OPTION_KEYS.items()),
                (FIT_KEY, "whole volumes in their own windows"),
                (PRESET_KEY, "next set of panes"),
                (RESULT_KEY, "add a result of another method"),
                (EXPORT_KEY, "save the picture"),
                (HELP_KEY, "keys of this window"),
                *_SIX_MOUSE,
            ),
        ),
    )


class HelpSheetWidget(QWidget):
    """Panel with the list of keys.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where it is docked.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.sheet = QLabel(_table())
        self.sheet.setTextFormat(Qt.TextFormat.RichText)
        self.sheet.setWordWrap(True)
        self.sheet.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.sheet.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.addWidget(self.sheet)
        layout.addStretch(1)
        fill_panel(self, content, PANEL_HEIGHT)


def _table() -> str:
    rows = []
    for section in sections():
        rows.append(f'<tr><td colspan="2"><br><b>{escape(section.title)}</b></td></tr>')
        rows += [
            f'<tr><td style="padding-right: 14px; white-space: nowrap;">{escape(key)}</td><td>{escape(what)}</td></tr>'
            for key, what in section.rows
        ]
    return f"<table>{''.join(rows)}</table>"


def _as_qt(key: str) -> str:
    """A key as Qt writes it: napari joins with a hyphen."""
    return key.replace("-", "+")
