"""A display for a window: the user's own, or a virtual one. Knows neither Qt nor napari."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from napari_uncseg.errors import UncsegError

WINDOW_SIZE: tuple[int, int] = (1600, 1000)
"""Width and height in pixels of a virtual screen, and of the window that is drawn on it."""

# Qt platforms without an OpenGL context: napari opens there, but its canvas stays black.
_BLIND_PLATFORMS = ("offscreen", "minimal", "vnc")


def has_display() -> bool:
    """Whether a window with a picture in it can be expected to open here."""
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in _BLIND_PLATFORMS:
        return False
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def is_watched() -> bool:
    """Whether somebody can see the display; ``xvfb-run`` provides one that nobody looks at."""
    return has_display() and "xvfb-run" not in os.environ.get("XAUTHORITY", "")


@contextmanager
def virtual_display(size: tuple[int, int] = WINDOW_SIZE) -> Iterator[str]:
    """Start an X server without a screen; stop it on leaving.

    Parameters
    ----------
    size : tuple of int
        Width and height in pixels.

    Yields
    ------
    str
        The server's name for the environment variable ``DISPLAY``.

    Raises
    ------
    UncsegError
        When Xvfb is not installed or does not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise UncsegError(
            "There is no display to open a window on, and Xvfb, which would provide one, is not installed: install it "
            "(Debian and Ubuntu: `apt-get install xvfb`), or run this where there is a screen."
        )
    read, write = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Its own session: Ctrl-C in the terminal reaches us first, and we stop it in order.
        start_new_session=True,
    )
    os.close(write)
    try:
        # The server writes its number once it accepts windows, and closes the pipe when it cannot start.
        ready, _, _ = select.select([read], [], [], 20.0)
        number = os.read(read, 16).decode().strip() if ready else ""
        if not number:
            raise UncsegError("Xvfb did not start, so no window can be drawn here: run `uncseg doctor` to see why.")
        yield f":{number}"
    finally:
        os.close(read)
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def any_display() -> Iterator[dict[str, str]]:
    """Environment in which a child process finds a display: this one, or one with a virtual display of its own.

    Yields
    ------
    dict of str to str
        Environment for :func:`run_windowed`.

    Raises
    ------
    UncsegError
        As :func:`virtual_display`.
    """
    environment = dict(os.environ)
    if has_display():
        yield environment
        return
    with virtual_display() as name:
        environment["DISPLAY"] = name
        environment.pop("WAYLAND_DISPLAY", None)
        environment["QT_QPA_PLATFORM"] = "xcb"
        yield environment


def run_windowed(arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run this Python with some arguments on a display, at most for a time.

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
        When it takes too long, or as :func:`virtual_display`.
    """
    with any_display() as environment:
        try:
            return subprocess.run(
                [sys.executable, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UncsegError(
                f"The window did not open within {timeout:.0f} s: run `uncseg doctor` to see what stops it."
            ) from error
