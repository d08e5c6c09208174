"""Keep libraries and the interpreter from telling what no log may hold."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import urllib3.connection

if TYPE_CHECKING:
    from types import TracebackType

QUIET = {
    # URLs, headers and bodies: a presigned URL that got odd headers is even a warning.
    "urllib3": logging.ERROR,
    "requests": logging.ERROR,
    "azure": logging.ERROR,
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "google": logging.WARNING,
    "s3transfer": logging.WARNING,
    "smart_open": logging.WARNING,
    # What an expression of a stream map makes of a record.
    "singer_sdk.mapper": logging.INFO,
}
"""The lowest level at which a library, with all its parts, is heard."""


def quiet() -> None:
    """Raise the levels of loggers that tell of headers, URLs or values, whoever has lowered them.

    Also keeps ``http.client`` from printing requests to stdout, where its ``debuglevel`` is set.
    """
    for name in [*QUIET, *logging.root.manager.loggerDict]:
        least = next((lv for top, lv in QUIET.items() if f"{name}.".startswith(f"{top}.")), None)
        logger = logging.getLogger(name)
        if least is not None and (name in QUIET or logger.level) and logger.level < least:
            logger.setLevel(least)
    urllib3.connection.HTTPConnection.debuglevel = 0


def tell_types_only(logger: logging.Logger) -> None:
    """Let exceptions that nobody catches be told by their type only: their texts hold values."""

    def tell(kind: type[BaseException] | None) -> None:
        logger.error("A defect in this package (%s)", kind.__name__ if kind else "unknown")

    def uncaught(
        kind: type[BaseException], _error: BaseException, _trace: TracebackType | None
    ) -> None:
        tell(kind)

    def in_thread_or_finaliser(told: Any) -> None:  # noqa: ANN401 (one of two, alike in this)
        tell(told.exc_type)

    sys.excepthook = uncaught
    threading.excepthook = in_thread_or_finaliser
    sys.unraisablehook = in_thread_or_finaliser
