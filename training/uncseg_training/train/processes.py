"""The processes that train together, when ``torchrun`` started them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Process:
    """One of the processes that train together; alone by default.

    Parameters
    ----------
    rank, world : int
        Which of how many.
    device : torch.device
        Where this one trains.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes, validates and reports."""
        return self.rank == 0


@contextmanager
def joined() -> Iterator[Process]:
    """Join the other processes when ``torchrun`` started this one."""
    world, rank, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN.items())
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world == 1:
        yield Process(0, 1, device)
        return
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(rank, world, device)
    finally:
        distributed.destroy_process_group()


_TORCHRUN = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}


def agreed(wish: bool, process: Process) -> bool:
    """Whether any process is to stop: all must stop at the same step."""
    if process.world == 1:
        return wish
    flag = torch.tensor(float(wish), device=process.device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)


def meet(process: Process) -> None:
    """Wait until every process has come here."""
    if process.world > 1:
        distributed.barrier()
