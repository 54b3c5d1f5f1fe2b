"""The window that ``uncseg view`` and ``uncseg demo`` open, and a picture of it, on a virtual display if need be."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_uncseg.errors import SaveError, UncsegError, reason_of
from napari_uncseg.io.files import is_file

if TYPE_CHECKING:
    from napari import Viewer

    from napari_uncseg.io.prediction import Prediction
    from napari_uncseg.io.study import Study

SEGMENT = "Segment with uncertainty"
PANELS: tuple[str, ...] = (SEGMENT, "Findings")
"""Widgets of the plugin that are opened beside the picture, top to bottom."""

WINDOW_SIZE: tuple[int, int] = (1600, 1000)
"""Width and height in pixels of a virtual screen, and of the window that is drawn on it."""

SYSTEM_PACKAGES = (
    "xvfb xauth libgl1 libegl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libglib2.0-0 libxcb-cursor0 "
    "libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"
)
"""What a window needs on Debian and Ubuntu."""

PICTURE_TIMEOUT_S = 300.0
"""After this long a window that was to be photographed is given up."""

_SPLASH_MARGIN, _SPLASH_LETTERS = 24, 14
"""Pixels round the words of :func:`splash`, and their size in points."""

# Qt platforms without an OpenGL context: napari opens there, but its canvas stays black.
_BLIND_PLATFORMS = ("offscreen", "minimal", "vnc")


def has_display() -> bool:
    """Whether a window with a picture in it can be expected to open here."""
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in _BLIND_PLATFORMS:
        return False
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("WAYLAND_DISPLAY")) or _x_server_answers(os.environ.get("DISPLAY", ""))


def _x_server_answers(display: str) -> bool:
    """Whether an X server takes connections; the name of one outlives it in sessions that were left open."""
    host, _, number = display.rpartition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return False
    path = f"/tmp/.X11-unix/X{number}"
    local = host in ("", "unix") or "/" in host
    for address in (f"\0{path}", path) if local else ((host, 6000 + int(number)),):
        with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as server, suppress(OSError):
            server.settimeout(5.0)
            server.connect(address)
            return True
    return False


def is_watched() -> bool:
    """Whether somebody can see the display; ``xvfb-run`` provides one that nobody looks at."""
    return has_display() and "xvfb-run" not in os.environ.get("XAUTHORITY", "")


def run_windowed(arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run this Python with some arguments on a display, a virtual one if there is no other, at most for a time.

    A window is opened in a process of its own because Qt ends the process it lives in when a library is missing.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``python`` on the command line.
    timeout : float
        Seconds after which the process is killed.

    Returns
    -------
    subprocess.CompletedProcess
        With its output as text; a negative return code names the signal that ended it.

    Raises
    ------
    UncsegError
        When it takes too long, or there is no display and no Xvfb.
    """
    command, environment = [sys.executable, *arguments], dict(os.environ)
    if not has_display():
        program = shutil.which("xvfb-run")
        if program is None:
            what = "There is no display to open a window on, and no xvfb-run, which would provide one"
            raise UncsegError(f"{what}: install it (Debian and Ubuntu: `apt-get install xvfb xauth`).")
        width, height = WINDOW_SIZE
        command = [program, "-a", "-s", f"-screen 0 {width}x{height}x24 -nolisten tcp", *command]
        environment.pop("WAYLAND_DISPLAY", None)
        environment["QT_QPA_PLATFORM"] = "xcb"
    # A session of its own: Ctrl-C in the terminal reaches us first, and the display goes with what ran on it.
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise UncsegError(f"The window did not open within {timeout:.0f} s: see `uncseg info --check`.") from error
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":  # which has no groups of processes; no virtual display runs there either
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def splash(text: str) -> Iterator[None]:
    """Show a line in the middle of the screen until the window that is opened within has its picture.

    Parameters
    ----------
    text : str
        What is being opened.
    """
    with _napari_writes():
        from napari.qt import get_qapp
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QPixmap
    from qtpy.QtWidgets import QSplashScreen

    application = get_qapp()
    screen = QSplashScreen()
    font = screen.font()
    font.setPointSize(_SPLASH_LETTERS)
    screen.setFont(font)
    line = screen.fontMetrics().boundingRect(text)
    paper = QPixmap(line.width() + 2 * _SPLASH_MARGIN, line.height() + 2 * _SPLASH_MARGIN)
    paper.fill(Qt.GlobalColor.black)
    screen.setPixmap(paper)
    screen.showMessage(text, Qt.AlignmentFlag.AlignCenter, Qt.GlobalColor.white)
    screen.show()
    application.processEvents()
    try:
        yield
    finally:
        screen.close()


@contextmanager
def _napari_writes() -> Iterator[None]:
    """Say what to do where napari finds no place for its settings or its icons: importing it writes both."""
    try:
        yield
    except OSError as error:
        what = f"napari cannot write to {error.filename} ({reason_of(error)})"
        raise UncsegError(f"{what}; name folders for it with XDG_CONFIG_HOME and XDG_CACHE_HOME.") from error


def make_viewer(title: str) -> Viewer:
    """Open an empty window of napari; an UncsegError when it cannot write its settings."""
    with _napari_writes():
        import napari

        return napari.Viewer(title=title)


def build_window(study: Study, prediction: Prediction | None, folder: Path | None) -> Viewer:
    """Open napari with a study, its result if there is one, and the plugin's panels.

    Parameters
    ----------
    study : Study
        What is shown.
    prediction : Prediction, optional
        What is laid over it.
    folder : Path, optional
        Where the prediction was read from.

    Returns
    -------
    napari.Viewer
        On the axial slice with the most tumour.
    """
    if prediction is not None:  # its images may be called otherwise when they are searched for by themselves
        study = dataclasses.replace(study, id=prediction.study_id)
    viewer = make_viewer(f"napari-uncseg: {study.id}")
    from napari_uncseg.viewer.layers import add_prediction, add_study
    from napari_uncseg.viewer.picture import fit_to_brain
    from napari_uncseg.widgets.segment.run import Outcome

    add_study(viewer, study)
    if prediction is not None:
        add_prediction(viewer, prediction)
    for panel in PANELS:
        _, widget = viewer.window.add_plugin_dock_widget("napari-uncseg", panel)
        if panel == SEGMENT and prediction is not None and folder is not None:
            widget.results.folder.line.setText(str(folder.parent))
            widget.results.present(Outcome(study, prediction))
    viewer.window.resize(*WINDOW_SIZE)
    # Docks take their size and the canvas its own over several turns of the event loop; only then does the view fit.
    settle(1.0)
    fit_to_brain(viewer)
    return viewer


def settle(seconds: float) -> None:
    """Let the window work off what it has to draw."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def run_or_save(viewer: Viewer, screenshot: Path | None) -> Path | None:
    """Leave a window to its user until it is closed; or save its picture, close it and tell where the picture is.

    Raises
    ------
    SaveError
        When the file cannot be written.
    """
    if screenshot is None:
        import napari

        napari.run()
        return None
    try:
        save_picture(viewer, screenshot)
    finally:
        viewer.close()
    return screenshot.resolve()


def save_picture(viewer: Viewer, path: Path) -> None:
    """Save the whole window, menus and panels included, once it stopped changing.

    Parameters
    ----------
    viewer : napari.Viewer
        An open one.
    path : Path
        A ``.png`` file; it is replaced.

    Raises
    ------
    SaveError
        When the file cannot be written.
    """
    from napari.utils.io import imsave

    settle(1.0)
    image = viewer.screenshot(canvas_only=False, flash=False)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.png")
    try:
        imsave(str(temporary), image)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        temporary.unlink(missing_ok=True)
        raise SaveError(f"The picture cannot be saved as {path} ({reason_of(error)}): choose another place.") from error


def picture_elsewhere(arguments: Sequence[str], path: Path) -> None:
    """Have a picture taken by a process of its own, on a virtual display when there is no other.

    Parameters
    ----------
    arguments : sequence of str
        A command of ``uncseg`` that opens a window, and its arguments without ``--screenshot``.
    path : Path
        The ``.png`` file to write.

    Raises
    ------
    UncsegError
        When no window can be opened; the message says why as far as it is known.
    """
    path = path.resolve()
    command = ["-m", "napari_uncseg.cli.app", *arguments, "--screenshot", str(path)]
    result = run_windowed(command, timeout=PICTURE_TIMEOUT_S)
    if result.returncode == 0 and is_file(path):
        return
    reason = next(iter(reversed(result.stderr.strip().splitlines())), f"it ended with code {result.returncode}")
    if reason.startswith("error: "):
        raise UncsegError(reason.removeprefix("error: "))
    raise UncsegError(f"No picture of the window could be taken ({reason}): see `uncseg info --check`.")
