"""What an installation promises: the manifest where napari looks, and a wheel with everything in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest

import napari_uncseg

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST = REPOSITORY / "src" / "napari_uncseg" / "napari.yaml"
PROJECTS = {"napari_uncseg": (REPOSITORY, "src"), "uncseg_training": (REPOSITORY / "training", ".")}
"""Package -> folder of its distribution, and where the package lies in it."""


def test_manifest_at_the_top_is_a_relative_link_to_the_one_in_the_package():
    link = REPOSITORY / "napari.yaml"
    assert link.is_symlink()
    assert os.readlink(link) == "src/napari_uncseg/napari.yaml"
    assert link.resolve() == MANIFEST


def test_napari_finds_the_manifest():
    (entry,) = entry_points(group="napari.manifest", name="napari-uncseg")
    assert entry.value == "napari_uncseg:napari.yaml"
    assert PluginManifest.from_distribution("napari-uncseg").name == "napari-uncseg"


def test_both_commands_are_installed():
    scripts = {entry.name: entry.value for entry in entry_points(group="console_scripts") if "uncseg" in entry.name}
    assert scripts == {"uncseg": "napari_uncseg.cli.app:main", "uncseg-train": "uncseg_training.cli:main"}


def test_version_is_the_one_of_the_distribution():
    assert napari_uncseg.__version__ == metadata("napari-uncseg")["Version"]


def test_no_qt_binding_is_forced_on_an_installation():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    bindings = ("pyqt", "pyside", "napari[")
    assert not [name for name in project["dependencies"] if name.lower().startswith(bindings)]


def test_version_is_told_by_the_tag_alone():
    for folder in (REPOSITORY, REPOSITORY / "training"):
        content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        assert content["project"]["dynamic"] == ["version"]
        assert content["tool"]["hatch"]["version"]["source"] == "vcs"


def test_both_papers_are_cited():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "BSD-3-Clause"
    titles = [paper["title"] for paper in citation["references"]]
    assert [title.partition(":")[0] for title in titles] == [
        "Uncertainty-Aware nnU-Net for Self-Assessing Brain Tumor Segmentation",
        "Confidence is Not Reliability",
    ]


def test_constraints_are_exact_and_fit_every_build_of_torch():
    lines = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line and "+" not in line and "@" not in line for line in lines)
    pins = dict(line.split("==") for line in lines)
    assert pins["torch"] == "2.13.0"
    assert {"napari", "numpy", "npe2", "ruff", "mypy", "pytest"} <= set(pins)


@pytest.fixture(scope="module", params=PROJECTS)
def wheel(request, tmp_path_factory):
    """Package, its folder, and the sizes of all files of a wheel that was built of it."""
    out = tmp_path_factory.mktemp("wheel")
    project, place = PROJECTS[request.param]
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return project / place / request.param, {entry.filename: entry.file_size for entry in archive.infolist()}


@pytest.mark.slow
def test_a_wheel_holds_its_package_with_its_data_and_no_other(wheel):
    package, sizes = wheel
    expected = {
        str(Path(package.name, path.relative_to(package)))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected == {name for name in sizes if ".dist-info/" not in name}
    assert f"{package.name}/py.typed" in sizes
    if package.name == "uncseg_training":
        return
    bundled = "napari_uncseg/models/bundled/"
    weights = [name for name in sizes if name.startswith(bundled) and name.endswith(".safetensors")]
    assert weights, "no bundled weights in the wheel"
    assert sum(size for name, size in sizes.items() if name.startswith(bundled)) <= 25e6
    assert sum(sizes.values()) <= 64e6
    samples = {name: size for name, size in sizes.items() if name.endswith(".nii.gz")}
    assert samples, "no sample data in the wheel"
    assert sum(samples.values()) <= 8e6
