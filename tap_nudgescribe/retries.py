"""Count the tries of a request: one budget for the request and for the log-in that it needs."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Tries:
    """How many tries of one request have failed, those of its log-in included."""

    failed: int = 0


_current: ContextVar[Tries | None] = ContextVar("tries", default=None)


@contextmanager
def one_budget() -> Iterator[Tries]:
    """Yield the budget of the request under way in this thread, or begin a new one.

    A log-in happens while the request that needs it is being sent. It takes from the same budget,
    so that ``max_tries`` bounds both together and not their product.
    """
    under_way = _current.get()
    if under_way is not None:
        yield under_way
        return
    tries = Tries()
    token = _current.set(tries)
    try:
        yield tries
    finally:
        _current.reset(token)
