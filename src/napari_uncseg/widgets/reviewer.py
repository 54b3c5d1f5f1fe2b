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

    Raises
    ------
    SaveError
        When nobody tells one.
    """
    if not session.reviewer:
        question = "Your name or initials, which every verdict bears; asked once:"
        name, _ = QInputDialog.getText(parent, "Who reviews?", question, QLineEdit.EchoMode.Normal, _login())
        session.reviewer = name
    session.check_reviewer()


def _login() -> str:
    """Login name; empty where the system tells none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
