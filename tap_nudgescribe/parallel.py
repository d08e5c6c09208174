"""Run calls side by side and hand the results out in order, with bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out], items: Iterable[In], *, parallel: int
) -> Iterator[Out]:
    """Yield ``function(item)`` for each item, in the items' order.

    At most ``parallel`` calls are under way or finished and not yet yielded, so that as many
    results are held at once. The first exception ends the iteration; calls not begun are dropped.
    """
    if parallel == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="nudgescribe")
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == parallel:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
