"""Parts of a run that failed while the rest goes on: collected, reported, counted."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_nudgescribe.errors import ApiError, LoginError, NetworkError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("tap-nudgescribe")

PROBE_AFTER = 3
"""After so many parts in a row without any sound answer, the API is asked whether it is there."""


@dataclass(frozen=True)
class Failure:
    """A part that failed."""

    stream: str
    part: str
    """What it was, by kind and id: ``campaign 7f…``."""
    error: ApiError


class Failures:
    """The failures of one run.

    Args:
        probe: Sends a request that works if the API works at all; raises an ``ApiError``.
    """

    def __init__(self, probe: Callable[[], object]) -> None:
        """Begin with none."""
        self._probe = probe
        self._failures: list[Failure] = []
        self._unanswered = 0

    def __len__(self) -> int:
        """Return how many parts failed."""
        return len(self._failures)

    def count(self, stream: str) -> int:
        """Return how many parts of a stream failed."""
        return sum(failure.stream == stream for failure in self._failures)

    def answered(self) -> None:
        """Note that the API has answered, so that it is not gone."""
        self._unanswered = 0

    @contextmanager
    def part(self, stream: str, part: str) -> Iterator[None]:
        """Report an API error of a part and go on with the next one.

        Raises:
            LoginError: at once, because nothing else can work.
            ApiError: when the API is gone, so that the rest of the parts need not be tried.
        """
        try:
            yield
        except LoginError:
            raise
        except ApiError as error:
            self._failures.append(Failure(stream, part, error))
            logger.error("%s, %s: %s", stream, part, error)  # noqa: TRY400 (no traceback)
            if isinstance(error, NetworkError | ServerError):
                self._unanswered += 1
                if self._unanswered >= PROBE_AFTER:
                    self._unanswered = 0
                    self._probe()

    def report(self) -> None:
        """Log one closing line that counts the failures by stream."""
        streams = sorted({failure.stream for failure in self._failures})
        logger.error(
            "%d parts failed in %s; everything else was sent. The state has not moved past them: "
            "the next run tries them again",
            len(self),
            ", ".join(streams),
        )
