"""``uncseg doctor``: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from napari_uncseg.cli.display import has_display, run_windowed
from napari_uncseg.cli.info import BINDINGS, package_versions
from napari_uncseg.errors import UncsegError

MEMORY_NEEDED_GIB = 4.0
"""What a study of 240×240×155 voxels takes at most on the processor."""

_APT_PACKAGES = (
    "libgl1 libegl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4 "
    "libxcb-keysyms1 libxcb-shape0"
)


class Health(StrEnum):
    """How a part of the machine is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Parameters
    ----------
    subject : str
        What was looked at.
    health : Health
        ``fail`` is for what the package cannot do without.
    detail : str
        What was found.
    advice : str
        What to do; empty when nothing has to be done.
    """

    subject: str
    health: Health
    detail: str
    advice: str = ""


def check_versions() -> Finding:
    """Python, the system, and the packages that compute."""
    versions = package_versions()
    detail = f"Python {platform.python_version()} on {platform.platform(terse=True)}; " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    )
    missing = [name for name, version in versions.items() if version == "not installed" and name != "napari-uncseg"]
    if missing:
        return Finding("versions", Health.FAIL, detail, f"Install what is missing: pip install {' '.join(missing)}")
    return Finding("versions", Health.OK, detail)


def check_torch() -> Finding:
    """Whether torch loads, and the devices it finds."""
    try:
        import torch
    except Exception as error:  # a broken build raises anything from ImportError to OSError
        return Finding(
            "torch", Health.FAIL, f"does not load: {error}", "Install it again: https://pytorch.org/get-started/locally"
        )
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} processors"
    if not torch.cuda.is_available():
        return Finding("device", Health.OK, f"cpu, {threads}; no CUDA device (a study takes longer without one)")
    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        gpus.append(f"{torch.cuda.get_device_name(number)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return Finding("device", Health.OK, f"cuda ({'; '.join(gpus)}) and cpu, {threads}")


def check_precision() -> Finding:
    """Whether the processor computes bfloat16 itself."""
    from napari_uncseg.inference.device import processor_has_bfloat16

    if processor_has_bfloat16():
        return Finding("precision", Health.OK, "the processor has bfloat16 instructions")
    return Finding("precision", Health.OK, "float32 on the processor: it has no bfloat16 instructions, so it is slower")


def available_memory_gib() -> float | None:
    """Memory that can still be taken, in GiB; ``None`` where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 2**20
        return None
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def check_memory() -> Finding:
    """Whether a study fits."""
    free = available_memory_gib()
    if free is None:
        return Finding("memory", Health.OK, f"unknown on this system; a study needs up to {MEMORY_NEEDED_GIB:.0f} GiB")
    if free < MEMORY_NEEDED_GIB:
        return Finding(
            "memory",
            Health.WARN,
            f"{free:.1f} GiB free; a study of 240×240×155 voxels needs up to {MEMORY_NEEDED_GIB:.0f} GiB",
            "Close other programs before a prediction.",
        )
    return Finding("memory", Health.OK, f"{free:.1f} GiB free")


def check_model() -> Finding:
    """Whether the bundled model is there, whole and loadable."""
    from napari_uncseg.models.model import load_model

    try:
        model = load_model()
    except UncsegError as error:
        return Finding("model", Health.FAIL, str(error), "Install napari-uncseg again, or name a model with --model.")
    return Finding("model", Health.OK, f"{model.name}, sha256 {model.sha256[:12]}…, its files are whole")


def check_display() -> Finding:
    """Whether a window has somewhere to open."""
    if has_display():
        names = [f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
        return Finding("display", Health.OK, ", ".join(names) or f"the screen of {platform.system()}")
    if shutil.which("Xvfb"):
        return Finding("display", Health.OK, "none; Xvfb is there, so `uncseg demo` saves a picture of the window")
    return Finding(
        "display",
        Health.WARN,
        "none, and no Xvfb: predicting works, windows and pictures do not",
        "Run where there is a screen, or install Xvfb (Debian and Ubuntu: apt-get install xvfb).",
    )


def qt_platform_plugin() -> Path | None:
    """File with which Qt opens X11 windows, of the first binding installed; ``None`` when there is none."""
    for binding, plugins in BINDINGS:
        spec = importlib.util.find_spec(binding)
        for place in (spec.submodule_search_locations or []) if spec else []:
            path = Path(place) / plugins / "platforms" / "libqxcb.so"
            if path.exists():
                return path
    return None


def missing_libraries(ldd_output: str) -> list[str]:
    """Names of the shared libraries that ``ldd`` did not find, each once."""
    return list(dict.fromkeys(line.split("=>")[0].strip() for line in ldd_output.splitlines() if "not found" in line))


def has_binding() -> bool:
    """Whether a Qt binding is installed."""
    return any(importlib.util.find_spec(binding) for binding, _ in BINDINGS)


def check_libraries() -> Finding:
    """Whether the system libraries are there that Qt loads on Linux; without them it ends the program."""
    if not has_binding():
        advice = 'Install one: pip install ".[all]" in the folder of the clone'
        return Finding("Qt", Health.WARN, "no Qt binding: no window", advice)
    plugin, ldd = qt_platform_plugin(), shutil.which("ldd")
    if not sys.platform.startswith("linux") or plugin is None or ldd is None:
        return Finding("Qt", Health.OK, "a Qt binding is installed")
    result = subprocess.run([ldd, str(plugin)], capture_output=True, text=True, timeout=30, check=False)
    missing = missing_libraries(result.stdout)
    if missing:
        return Finding(
            "Qt",
            Health.FAIL,
            f"system libraries are missing: {', '.join(missing)}",
            f"Debian and Ubuntu: apt-get install {_APT_PACKAGES}",
        )
    return Finding("Qt", Health.OK, "the system libraries of a Qt window are there")


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
    made = context.create() and context.makeCurrent(surface)
    found = {"platform": application.platformName(), "made": bool(made)}
    if made:
        # vispy, which draws napari's canvas, asks this same context for its strings.
        from vispy.gloo import gl

        found["renderer"] = str(gl.glGetParameter(gl.GL_RENDERER))
        found["version"] = str(gl.glGetParameter(gl.GL_VERSION))
    print(json.dumps(found), flush=True)


def check_window() -> Finding:
    """Whether a Qt window with an OpenGL context opens, on this display or on a virtual one."""
    advice = f"Look at the lines above; Debian and Ubuntu: apt-get install {_APT_PACKAGES}"
    if not has_binding():
        return Finding("window", Health.WARN, "not tried, for there is no Qt binding")
    if not has_display() and shutil.which("Xvfb") is None:
        return Finding("window", Health.WARN, "not tried, for there is no display")
    try:
        result = run_windowed(["-c", "from napari_uncseg.cli.doctor import probe_window; probe_window()"], timeout=60.0)
    except UncsegError as error:
        return Finding("window", Health.FAIL, str(error), advice)
    lines = result.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        reason = next(iter(reversed(result.stderr.strip().splitlines())), "no reason given")
        return Finding("window", Health.FAIL, f"Qt could not open one ({reason})", advice)
    if not found["made"]:
        return Finding("window", Health.FAIL, f"Qt opens one ({found['platform']}), but OpenGL does not work", advice)
    detail = f"opens ({found['platform']}); OpenGL {found['version']} by {found['renderer']}"
    return Finding("window", Health.OK, detail)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_versions,
    check_torch,
    check_precision,
    check_memory,
    check_model,
    check_display,
    check_libraries,
    check_window,
)
"""In the order of the report: what computes first, what shows after."""


def examine() -> Iterator[Finding]:
    """Look at everything, one finding at a time; a check that itself fails is a finding too."""
    for check in CHECKS:
        try:
            yield check()
        except Exception as error:
            subject = check.__name__.removeprefix("check_")
            yield Finding(subject, Health.FAIL, f"could not be looked at ({type(error).__name__}: {error})")
