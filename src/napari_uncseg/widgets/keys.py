"""*Keys*: what all keys of the plugin do, as the manifest declares them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_uncseg.viewer.bindings import key_sections
from napari_uncseg.widgets.base import Panel


class KeysWidget(Panel):
    """Panel with the list of keys.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where it is docked.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.sheet = QLabel(keys_table(key_sections()))
        self.sheet.setTextFormat(Qt.TextFormat.RichText)
        self.sheet.setWordWrap(True)
        self.sheet.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.fill(self.sheet)


def keys_table(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Keys and what they do, section by section, as HTML."""
    rows = []
    for title, keys in sections.items():
        rows.append(f'<tr><td colspan="2"><br><b>{escape(title)}</b></td></tr>')
        rows += [
            f'<tr><td style="padding-right: 14px; white-space: nowrap;">{escape(key)}</td><td>{escape(what)}</td></tr>'
            for key, what in keys.items()
        ]
    return f"<table>{''.join(rows)}</table>"
