"""The workers of a ``dask.distributed`` scheduler, for whole cohorts: what prediction and evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from napari_uncseg.errors import ClusterError, reason_of

Result = TypeVar("Result")

POLL_SECONDS = 0.2
"""How often a run that waits may be stopped."""


@contextmanager
def cluster(scheduler: str) -> Iterator[Executor]:
    """The workers of a scheduler; work of a worker that dies goes to another one.

    Parameters
    ----------
    scheduler : str
        Address, such as ``tcp://host:8786``. Its workers need the same version of the package, and must see the same
        folders under the same names.

    Raises
    ------
    ClusterError
        When dask.distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError('--scheduler needs dask.distributed: pip install ".[cluster]" in the clone.') from error
    connect: Any = Client  # untyped
    try:
        client: Any = connect(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        sentence = f"No dask scheduler answers at {scheduler} ({reason_of(error)}); check the address."
        raise ClusterError(sentence) from error
    with client, client.get_executor() as executor:
        yield executor


def as_completed(
    executor: Executor, work: Callable[..., Result], items: Sequence[Any], *rest: Any
) -> Generator[tuple[int, Future[Result]] | None, None, None]:
    """Have work done on items; the place of each item with its future, in the order in which they end.

    Parameters
    ----------
    executor : Executor
    work : callable
        Takes an item, and the rest.
    items : sequence
    *rest : object

    Yields
    ------
    tuple or None
        None whenever a run may be stopped; what has not begun when the generator is closed is taken back.
    """
    waiting = {executor.submit(work, item, *rest): place for place, item in enumerate(items)}
    try:
        while waiting:
            yield None
            for future in wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future
    finally:
        for future in waiting:
            future.cancel()
