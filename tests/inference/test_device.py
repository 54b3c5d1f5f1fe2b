"""Which device, which precision, and what happens when memory is short."""

import pytest
import torch

from napari_uncseg.errors import DeviceError
from napari_uncseg.inference import device as device_module
from napari_uncseg.inference.device import (
    precision_of,
    resolve_device,
    run_within_memory,
    smaller_tile,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
def test_without_a_gpu():
    assert resolve_device("auto") == CPU
    with pytest.raises(DeviceError):
        resolve_device("cuda")


def test_with_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == CUDA
    assert resolve_device("cuda:1").index == 1
    assert resolve_device("cpu") == CPU
    with pytest.raises(DeviceError):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["tpu", "mps", "", "cpu:x", "cuda:-3"])
def test_unknown_devices_are_named(name):
    with pytest.raises(DeviceError):
        resolve_device(name)


def test_precision_follows_the_hardware(monkeypatch):
    assert precision_of(CUDA) == torch.float16
    monkeypatch.setattr(device_module, "processor_has_bfloat16", lambda: True)
    assert precision_of(CPU) == torch.bfloat16
    monkeypatch.setattr(device_module, "processor_has_bfloat16", lambda: False)
    assert precision_of(CPU) == torch.float32


def test_tiles_shrink_by_their_longest_axis_in_steps_the_network_accepts():
    assert smaller_tile((128, 128, 96), (16, 16, 16)) == (64, 128, 96)
    assert smaller_tile((80, 96, 80), (8, 8, 8)) == (80, 48, 80)
    assert smaller_tile((40, 32, 32), (16, 16, 16)) == (32, 32, 32)
    assert smaller_tile((32, 32, 32), (16, 16, 16)) is None


def test_out_of_memory_goes_to_smaller_tiles_then_to_the_processor_and_tells(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    tried, said = [], []

    def run(place, tile):
        tried.append((place.type, tile))
        if place.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "done"

    assert run_within_memory(run, CUDA, (64, 64, 64), (8, 8, 8), said.append) == "done"
    assert tried == [("cuda", (64,) * 3), ("cuda", (32, 64, 64)), ("cuda", (32, 32, 64)), ("cpu", (64,) * 3)]
    assert len(said) == 3
    assert "tiles of 32×64×64 voxels" in said[0]
    assert said[2].endswith("64×64×64 voxels on cpu.")


def test_no_memory_anywhere_is_one_sentence():
    def run(place, tile):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(DeviceError):
        run_within_memory(run, CPU, (64, 64, 64), (8, 8, 8), lambda _: None)


def test_other_errors_pass():
    def run(place, tile):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        run_within_memory(run, CPU, (64, 64, 64), (8, 8, 8), lambda _: None)
