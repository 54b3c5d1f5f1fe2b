#!/usr/bin/env python3
"""Build sdist and wheel into ``dist/``, and try the wheel where nothing else is.

The wheel is installed with its extra ``all`` into an empty environment, and used in an empty folder: versions and
model, the manifest as npe2 sees it, and a window with the bundled study segmented. ``TORCH_INDEX`` names an index of
smaller torches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LARGEST_MB = 64.0
PLUGIN = "napari_uncseg"

MANIFEST = """
from npe2 import PluginManager
manager = PluginManager.instance()
manager.discover()
widgets = [widget.display_name for widget in manager.iter_widgets() if widget.plugin_name == "napari-uncseg"]
assert len(widgets) >= 9, widgets
print("napari sees:", ", ".join(widgets))
"""


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Show a command and run it; the first that fails ends all."""
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=folder, check=True)


def build() -> Path:
    """Make ``dist/`` anew and return the wheel, which was built from the sdist."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (wheel,) = DIST.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    return wheel


def check_contents(wheel: Path) -> None:
    """The plugin and nothing but the plugin, in no more than :data:`LARGEST_MB`."""
    with zipfile.ZipFile(wheel) as archive:
        foreign = {name for name in archive.namelist() if not name.startswith((f"{PLUGIN}/", f"{PLUGIN}-"))}
    size = wheel.stat().st_size / 1e6
    if foreign or size > LARGEST_MB:
        sys.exit(f"error: {wheel.name} holds {sorted(foreign) or 'the plugin alone'} in {size:.1f} MB.")
    print(f"{wheel.name}: the plugin alone, {size:.1f} MB")


def use(wheel: Path, folder: Path) -> None:
    """Install the wheel into an empty environment and use it as somebody who has nothing else."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    index = os.environ.get("TORCH_INDEX")
    more = ("--extra-index-url", index) if index else ()
    run(programs / "python", "-m", "pip", "install", "-qq", *more, f"{wheel}[all]", folder=folder)
    run(programs / "python", "-m", "pip", "check", folder=folder)
    run(programs / "uncseg", "info", "--check", folder=folder)
    run(programs / "python", "-c", MANIFEST, folder=folder)
    run(programs / "uncseg", "demo", "--screenshot", "demo.png", folder=folder)


def main() -> None:
    """Build, look inside, and use."""
    wheel = build()
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        use(wheel, Path(folder))


if __name__ == "__main__":
    main()
