"""Every write of a run, counted: something can be done at the n-th, such as a kill or an error of a full disk.

What counts is what changes a disk: files opened for writing, writes to them, renames, links, removals, folders made,
and syncs.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.campaigns.harness import Outcome, in_child

Strike = Callable[[int, str], None]
"""Is given the number of a write, from 1, and what it is, before it happens."""

_CALLS = ("replace", "rename", "link", "fsync", "unlink", "remove", "mkdir", "rmdir")


class _Watched:
    """A file whose writes are told before they happen."""

    def __init__(self, file: Any, tell: Callable[[str], None]) -> None:
        self._file, self._tell = file, tell

    def write(self, data: Any) -> Any:
        self._tell("write")
        half = len(data) // 2
        if isinstance(self._file, io.BufferedIOBase) and half:  # a disk may be full in the middle of a write
            self._file.write(data[:half])
            self._file.flush()
            self._tell("write, second half")
            return half + self._file.write(data[half:])
        return self._file.write(data)

    def __enter__(self) -> Any:
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def on_write(strike: Strike) -> Iterator[None]:
    """Call ``strike`` before every write of what runs inside."""
    number = 0

    def tell(what: str) -> None:
        nonlocal number
        number += 1
        strike(number, what)

    def opened(real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+") or str(file) in (os.devnull, "/dev/tty") or isinstance(file, int):
                return real(file, mode, *args, **kwargs)
            tell(f"open {Path(str(file)).name}")
            return _Watched(real(file, mode, *args, **kwargs), tell)

        return open_

    def called(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            tell(name)
            return real(*args, **kwargs)

        return call

    fakes = [mock.patch.object(os, name, called(name)) for name in _CALLS]
    fakes += [
        mock.patch.object(builtins, "open", opened(builtins.open)),
        mock.patch.object(io, "open", opened(io.open)),
    ]
    for fake in fakes:
        fake.start()
    try:
        yield
    finally:
        for fake in fakes:
            fake.stop()


def counted(save: Callable[[], object]) -> tuple[int, Outcome]:
    """How many writes a run does, and how it ends, in a child; its time is that of a run without counting."""
    reading, writing = os.pipe()

    def count() -> None:
        def note(_number: int, _what: str) -> None:
            os.write(writing, b".")

        with on_write(note):
            save()

    def timed() -> None:
        save()

    first = in_child(count, seconds=60, refusals=())
    os.close(writing)
    writes = len(os.read(reading, 65536))
    os.close(reading)
    return (writes, in_child(timed, seconds=60, refusals=()) if first.fine else first)
