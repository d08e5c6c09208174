"""Show text of others so that it cannot forge a line of a log or steer a terminal."""

from __future__ import annotations

import logging
import traceback
from typing import Any


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with every unprintable character escaped as in Python: ``\n``, ``\x1b``.

    Unprintable are control characters, line and paragraph separators, characters that change the
    direction of the text or have no width, spaces other than U+0020, and lone surrogates.

    Args:
        text: Any text.
        keep: Unprintable characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()
        for sign in text
    )


class Lines(str):
    """A text of this package for a log, whose line breaks are meant."""

    __slots__ = ()


class PrintableRecord(logging.LogRecord):
    """A log record whose text is one line of printable characters, whatever its arguments hold.

    Only an argument that is :class:`Lines` keeps line breaks, and so does a traceback.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (those of a record)
        """Escape the text of an exception that the record carries."""
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*self.exc_info))
            self.exc_text = printable(lines.rstrip("\n"), keep="\n")

    def getMessage(self) -> str:  # noqa: N802 (of the base class)
        """Return the text with its arguments."""
        arguments = self.args if isinstance(self.args, tuple) else ()
        lines = any(isinstance(argument, Lines) for argument in arguments)
        return printable(super().getMessage(), keep="\n" if lines else "")


def log_printable_text() -> None:
    """Let all log records of this process be :class:`PrintableRecord`, those of libraries too."""
    logging.setLogRecordFactory(PrintableRecord)
