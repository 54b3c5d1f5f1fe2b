"""Who reviews: asked once, where it is first needed."""

from __future__ import annotations

import getpass

from qtpy.QtWidgets import QInputDialog, QLineEdit, QWidget

from napari_uncseg.review.session import Session


def ask_reviewer(session: Session, parent: QWidget) -> None:
    """Ask for name or initials when nobody has told them; proposes the login name, and remembers what is told.

    Parameters
    ----------
    session : Session
        Whose verdicts bear the name.
    parent : QWidget
        In whose window it is asked.
    """
    if session.reviewer:
        return
    question = "Your name or initials, which every verdict bears; asked once:"
    name, told = QInputDialog.getText(parent, "Who reviews?", question, QLineEdit.EchoMode.Normal, _login())
    if told:
        session.reviewer = name


def _login() -> str:
    """Login name; empty where the system tells none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
