"""``uncseg info``: the versions that decide what comes out, the model, and whether all works on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug, ModelFolder
from napari_uncseg.errors import UncsegError
from napari_uncseg.io.files import versions

if TYPE_CHECKING:
    from napari_uncseg.models.model import Model

PACKAGES: tuple[str, ...] = ("torch", "napari", "numpy", "scipy", "nibabel", "SimpleITK", "safetensors")
"""Packages whose versions decide what comes out."""

BINDINGS: tuple[str, ...] = ("PyQt6", "PySide6")
"""Qt bindings napari works with."""

MEMORY_NEEDED_GIB = 4.0
"""What a study of 240×240×155 voxels takes at most on the processor."""


@handle_errors
def info(
    model: ModelFolder = None,
    check: Annotated[bool, typer.Option("--check", help="Check device, memory and whether a window opens.")] = False,
    debug: Debug = False,
) -> None:
    """Print versions, and the model: its name, hash, making, card and plans in short."""
    for name, version in package_versions().items():
        typer.echo(f"{name:<14}{version}")
    from napari_uncseg.models.model import load_model

    for name, value in describe_model(load_model(model)).items():
        typer.echo(f"{name:<14}{value}")
    if not check:
        return
    broken = False
    for found in check_machine():
        typer.echo(f"{found.subject:<14}{'ok: ' if found.works else 'PROBLEM: '}{found.detail}")
        broken |= not found.works
    if broken:
        raise typer.Exit(1)


def package_versions() -> dict[str, str]:
    """Versions of :data:`PACKAGES` and of the Qt bindings that are there; ``"not installed"`` for what is missing."""
    found = versions("python", *PACKAGES, *BINDINGS)
    return {name: version for name, version in found.items() if name not in BINDINGS or version != "not installed"}


def describe_model(model: Model) -> dict[str, str]:
    """A model in a few lines, by what each line is about."""
    network = model.configuration["architecture"]["network_class_name"].rsplit(".", 1)[-1]
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    cards = sorted(model.folder.glob("*.md")) if model.folder is not None else []
    lines = {
        "model": model.name,
        "sha256": model.sha256,
        "folder": str(model.folder),
        "model card": str(cards[0]) if cards else "none",
        "network": f"{network}, {parameters / 1e6:.2f} M parameters",
        "tile": f"{' × '.join(map(str, model.patch_size))} voxels",
        "spacing": f"{' × '.join(f'{size:g}' for size in model.spacing)} mm",
        "head": f"{model.head}, {'with' if model.has_uncertainty else 'without'} an uncertainty channel",
        "orientation": model.orientation or "as the study lies",
    }
    return lines | {
        name.replace("_", " "): str(value)
        for name, value in model.provenance.items()
        if name not in ("name", "format") and isinstance(value, str | int | float)
    }


class Check(NamedTuple):
    """Whether a part of the machine works, and what to do where it does not."""

    subject: str
    works: bool
    detail: str


def check_machine() -> Iterator[Check]:
    """Look at the device, the memory and the window, one after the other."""
    import torch

    from napari_uncseg.inference.device import processor_has_bfloat16

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    precision = "bfloat16" if processor_has_bfloat16() else "float32, which is slower than bfloat16"
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} processors, {precision}"
    yield Check("device", True, f"{'cuda (' + '; '.join(gpus) + ') and ' if gpus else ''}cpu, {threads}")
    free = available_memory_gib()
    enough = free is None or free >= MEMORY_NEEDED_GIB
    amount = "unknown on this system" if free is None else f"{free:.1f} GiB free"
    advice = "" if enough else ": close other programs, or use a CUDA device"
    yield Check("memory", enough, f"{amount}, a study needs up to {MEMORY_NEEDED_GIB:.0f} GiB{advice}")
    yield check_window()


def available_memory_gib() -> float | None:
    """Memory that can still be taken, in GiB; ``None`` where the system does not say."""
    import psutil  # not for a help text

    with suppress(OSError, psutil.Error):
        return float(psutil.virtual_memory().available) / 2**30
    return None


def check_window() -> Check:
    """Whether a Qt window with an OpenGL context opens, on this display or on a virtual one."""
    from napari_uncseg.cli.window import SYSTEM_PACKAGES, run_windowed

    if not any(importlib.util.find_spec(binding) for binding in BINDINGS):
        return Check("window", False, 'there is no Qt binding; install one: pip install "napari-uncseg[all]"')
    try:
        result = run_windowed(["-c", "from napari_uncseg.cli.info import probe_window; probe_window()"], timeout=60.0)
        found = json.loads(result.stdout.strip().splitlines()[-1])
    except UncsegError as error:
        return Check("window", False, str(error))
    except (IndexError, ValueError):
        reason = next(iter(reversed(result.stderr.strip().splitlines())), "no reason given")
        advice = f"; Debian and Ubuntu: apt-get install {SYSTEM_PACKAGES}" if sys.platform.startswith("linux") else ""
        return Check("window", False, f"Qt opens none ({reason}){advice}")
    if "renderer" not in found:
        return Check("window", False, f"one opens ({found['platform']}), but OpenGL does not work; install its driver")
    return Check("window", True, f"one opens ({found['platform']}); OpenGL {found['version']} by {found['renderer']}")


def probe_window() -> None:
    """Open a window with an OpenGL context and print, as JSON, what draws in it. Runs in a process of its own."""
    from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
    from qtpy.QtWidgets import QApplication, QWidget

    application = QApplication([])
    window = QWidget()
    window.show()
    application.processEvents()
    context, surface = QOpenGLContext(), QOffscreenSurface()
    surface.create()
    found = {"platform": application.platformName()}
    if context.create() and context.makeCurrent(surface):
        # vispy, which draws napari's canvas, asks this same context for its strings.
        from vispy.gloo import gl

        found["renderer"] = str(gl.glGetParameter(gl.GL_RENDERER))
        found["version"] = str(gl.glGetParameter(gl.GL_VERSION))
    print(json.dumps(found), flush=True)
