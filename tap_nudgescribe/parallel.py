"""Run calls side by side and hand the results out in order, with bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out],
    items: Iterable[In],
    *,
    parallel: int,
    spare: int = 0,
    discard: Callable[[Out], object] = lambda _: None,
) -> Generator[Out]:
    """Yield ``function(item)`` for each item, in the items' order.

    At most ``parallel`` calls are under way, and with those that have finished and were not yet
    yielded ``parallel + spare``, so that as many results are held at once. The first exception
    ends the iteration; calls not begun are dropped, and ``discard`` is given each result that
    nobody has taken.
    """
    if parallel == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="nudgescribe")
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == parallel + spare:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for future in waiting:
            future.add_done_callback(partial(_discard, discard))


def ahead(items: Iterator[Out], *, depth: int) -> Generator[Out]:
    """Yield the items while a thread already fetches the next ones.

    Args:
        items: Used in that thread only.
        depth: How many items are held at most.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nudgescribe")
    coming = deque(pool.submit(_first, items) for _ in range(depth))
    try:
        while item := coming.popleft().result():
            coming.append(pool.submit(_first, items))
            yield item[0]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _first(items: Iterator[Out]) -> list[Out]:
    """Return a list with the next item, or an empty one when there is none."""
    return list(islice(items, 1))


def _discard(discard: Callable[[Out], object], done: Future[Out]) -> None:
    if not done.cancelled() and done.exception() is None:
        discard(done.result())
