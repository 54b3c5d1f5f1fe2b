# make demo [STUDY=path]   predict on the bundled phantom, or on a study of yours, and open the window (no screen: its picture)
# make test | test-slow    tests of a few seconds each | the long ones (make test-gpu: those that need a CUDA device)
# make lint                ruff, mypy, import-linter, the words of the field, the plugin manifest
# make docs                the pages as a site, in site/; fails on a warning, a broken link or a command that does not exist
# make wheel               sdist and wheel in dist/, the wheel tried in an empty environment (some minutes)
# make screenshots         the pictures of the guide, from phantoms (some minutes)
# make clean               what builds and tests leave behind (.venv stays; remove it by hand)
#
# The first target builds .venv (some minutes, 2 GB) and, as root on Debian, installs the few system libraries a Qt window needs.
# `make demo` brings the plugin alone; all others also training, tests and pages.
# PYTHON=python3.12 chooses the interpreter. TORCH_INDEX=https://download.pytorch.org/whl/cpu brings the small CPU-only torch.

PYTHON ?= python3
TORCH_INDEX ?=
STUDY ?=

VENV := .venv
PLUGIN := $(VENV)/.plugin
STAMP := $(VENV)/.complete
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip install -qq -c constraints.txt
# Tests draw real windows, on a virtual screen where Linux provides one.
SCREEN := $(shell uname -s | sed -n 's/^Linux$$/xvfb-run -a -s "-screen 0 1600x1000x24"/p')
# A file of tests stays with one process: what it prepares once is prepared once. In order of their names, the last files are
# quick ones, and no process waits long for the other.
PYTEST := $(SCREEN) $(VENV)/bin/python -m pytest
TOGETHER := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-gpu lint docs wheel screenshots clean system
.DEFAULT_GOAL := test

demo: $(PLUGIN)
	@PYTHON=$(PYTHON) scripts/system-libraries $(if $(DISPLAY)$(WAYLAND_DISPLAY),,--xvfb)
	@$(VENV)/bin/uncseg demo $(if $(STUDY),"$(STUDY)")

test: system $(STAMP)
	@OMP_NUM_THREADS=1 $(PYTEST) $(TOGETHER) -m "not slow and not gpu"

test-slow: system $(STAMP)
	@OMP_NUM_THREADS=1 $(PYTEST) $(TOGETHER) -m "slow and not gpu"

test-gpu: system $(STAMP)
	@$(PYTEST) -m gpu

lint: $(STAMP)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python scripts/check_words.py
	$(VENV)/bin/npe2 validate --imports napari-uncseg

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

wheel: system $(STAMP)
	@TORCH_INDEX=$(TORCH_INDEX) $(VENV)/bin/python scripts/check_wheel.py

screenshots: system $(STAMP)
	@$(SCREEN) $(VENV)/bin/python scripts/screenshots.py

system:
	@PYTHON=$(PYTHON) scripts/system-libraries --xvfb --dicom

# torch comes first, so that TORCH_INDEX decides which build.
$(PLUGIN): pyproject.toml constraints.txt
	@PYTHON=$(PYTHON) scripts/system-libraries
	@echo "Building $(VENV) (some minutes the first time): PyTorch, the largest part ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@echo "Building $(VENV): napari and the plugin ..."
	@$(PIP) -e ".[all]"
	@touch $@

# nnU-Net brings a torchvision that was built for CUDA: beside a torch for the processor it fails at its import, and takes with
# it what would do without.
$(STAMP): $(PLUGIN) training/pyproject.toml
	@echo "Building $(VENV): what training, tests and pages need ..."
	@$(PIP) -e ".[all,dev,docs]" -e "training[nnunet]"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip uninstall -qq -y torchvision
	@touch $@

clean:
	rm -rf build dist site demo-output demo.png .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src training tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
