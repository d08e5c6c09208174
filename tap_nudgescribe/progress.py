"""Show how far a long stream is: a bar on a terminal, log lines elsewhere."""

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
    """Rows and their rate, the parts that they came in, and bytes where somebody counts them.

    Args:
        logger: For everything that is no terminal.
        stream: Whose rows they are.
        parts: What they come in: ``files`` or ``pages``.
    """

    def __init__(self, logger: logging.Logger, stream: str, *, parts: str) -> None:
        """Show nothing yet."""
        self._logger = logger
        self._stream = stream
        self.parts = parts
        self.parts_done = 0
        self._rows = 0
        self.bytes = 0
        self._bytes_of_part = 0
        self._began = self._logged = time.monotonic()
        self._shown = False

    def add(self, *, rows: int, bytes_read: int = 0) -> None:
        """Count rows, and how many bytes of this part have been read by now."""
        self._rows += rows
        self.bytes += bytes_read - self._bytes_of_part
        self._bytes_of_part = bytes_read
        if self._bar is not None:
            self._shown = True
            self._describe()
            self._bar.update(rows)
        elif time.monotonic() - self._logged > LOG_INTERVAL_SECONDS:
            self._log("so far")

    def part_done(self) -> None:
        """Count a part."""
        self.parts_done += 1
        self._bytes_of_part = 0

    def close(self) -> None:
        """Say how much it was in all."""
        if self._shown:
            self._describe()
            self._bar.close()
        if self.parts_done:
            self._log("done")

    def _describe(self) -> None:
        done = f"{self.parts_done} {self.parts}"
        if self.bytes:
            done += f", {self.bytes / 1e6:,.0f} MB"
        self._bar.set_postfix_str(done, refresh=False)

    def _log(self, stage: str) -> None:
        self._logged = time.monotonic()
        seconds = max(self._logged - self._began, 1e-3)
        figures = {self.parts: self.parts_done, "rows": self._rows}
        if self.bytes:
            figures["bytes"] = self.bytes
        figures["rows_per_second"] = int(self._rows / seconds)
        text = " ".join(f"{name}={value}" for name, value in figures.items())
        self._logger.info("Read %s of %s: %s", stage, self._stream, text)

    @cached_property
    def _bar(self) -> Any:  # noqa: ANN401 (tqdm has no types)
        if not sys.stderr.isatty():
            return None
        from tqdm import tqdm  # noqa: PLC0415 (fast start-up)

        return tqdm(desc=self._stream, unit=" rows", unit_scale=True, file=sys.stderr)
