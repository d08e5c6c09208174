"""Show how far the message files are: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

LOG_INTERVAL_SECONDS = 60.0
"""As often as the SDK logs its own counters."""


class Progress:
    """Files, rows, bytes and their rate.

    Args:
        logger: For everything that is no terminal.
    """

    def __init__(self, logger: logging.Logger) -> None:
        """Show nothing yet."""
        self._logger = logger
        self._files = 0
        self._rows = 0
        self._bytes = 0
        self._bytes_of_file = 0
        self._began = self._logged = time.monotonic()
        self._shown = False

    def add(self, *, rows: int, bytes_read: int) -> None:
        """Count rows, and how many bytes of this file have been read by now."""
        self._rows += rows
        added = bytes_read - self._bytes_of_file
        self._bytes_of_file = bytes_read
        self._bytes += added
        if self._bar is not None:
            self._shown = True
            self._describe()
            self._bar.update(rows)
        elif time.monotonic() - self._logged > LOG_INTERVAL_SECONDS:
            self._log("Reading message files")

    def file_done(self) -> None:
        """Count a file."""
        self._files += 1
        self._bytes_of_file = 0

    def close(self) -> None:
        """Say how much it was in all."""
        if self._shown:
            self._describe()
            self._bar.close()
        if self._files:
            self._log("Message files read")

    def _describe(self) -> None:
        done = f"{self._files} files, {self._bytes / 1e6:,.0f} MB"
        self._bar.set_postfix_str(done, refresh=False)

    def _log(self, words: str) -> None:
        self._logged = time.monotonic()
        seconds = max(self._logged - self._began, 1e-3)
        self._logger.info(
            "%s: files=%d rows=%d bytes=%d rows_per_second=%d",
            words,
            self._files,
            self._rows,
            self._bytes,
            self._rows / seconds,
        )

    @cached_property
    def _bar(self) -> Any:  # noqa: ANN401 (tqdm has no types)
        if not sys.stderr.isatty():
            return None
        from tqdm import tqdm  # noqa: PLC0415 (fast start-up)

        return tqdm(desc="published_messages", unit=" rows", unit_scale=True, file=sys.stderr)
