"""Write Singer messages to stdout: RECORDs in blocks, everything else at once and in order."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib.encoding.base import GenericSingerWriter, SingerMessageType
from singer_sdk.singerlib.encoding.simple import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

BLOCK_BYTES = 256 * 1024

SMALL_STATE_BYTES = 4 * 1024
"""So long a STATE may be written at any time."""

NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""U+0000 as JSON escapes it, not preceded by an odd number of backslashes."""

REPLACEMENT = rb"\1\\ufffd"


class BlockWriter(GenericSingerWriter[bytearray, Message]):
    """Gathers RECORD lines and writes them in blocks; any other message flushes at once.

    U+0000, which Postgres and other warehouses refuse, becomes U+FFFD; ``replaced`` counts it.

    Attributes:
        taken: How many bytes have come.
        safe_point: Called after each write, when whatever is on stdout is whole.
        cut: Whether a write was stopped midway, so that nothing may follow it.
    """

    def __init__(self) -> None:
        """Begin with an empty block."""
        super().__init__()
        self.replaced = 0
        self.taken = 0
        self.cut = False
        self.safe_point: Callable[[], None] = lambda: None
        self._state_bytes = 0
        self._taken_at_state = 0
        self._block = bytearray()

    @property
    def state_is_due(self) -> bool:
        """Whether a STATE amid a stream is worth its length.

        It is if the last one was short, or if as much as that has been written since. So all STATE
        messages together are no longer than everything else, plus one; and whoever loses what was
        written since the last one reads no more than a STATE's length, and one file, again.
        """
        since = self.taken - self._taken_at_state
        return self._state_bytes <= SMALL_STATE_BYTES or since >= self._state_bytes

    def serialize_message(self, message: Message) -> bytearray:
        """Return a message as one line of JSON."""
        return bytearray(self.without_nul(encoder.encode(message.to_dict())) + b"\n")

    def without_nul(self, line: bytes) -> bytes:
        """Return JSON with U+0000 replaced, and count it."""
        if b"\\u0000" in line:
            line, count = NUL.subn(REPLACEMENT, line)
            self.replaced += count
        return line

    def write_message(self, message: Message) -> None:
        """Add a message to the block, and write the block when it is time."""
        line = self.serialize_message(message)
        self.taken += len(line)
        if message.type is SingerMessageType.STATE:
            self._state_bytes = len(line)
            self._taken_at_state = self.taken
        self._block += line
        if message.type is not SingerMessageType.RECORD or len(self._block) >= BLOCK_BYTES:
            self.flush()

    def write_lines(self, lines: Buffer) -> None:
        """Write whole RECORD lines that are JSON already, after what has been gathered."""
        self.taken += memoryview(lines).nbytes
        self._write(self._taken(), lines)

    def flush(self) -> None:
        """Write what has been gathered."""
        self._write(self._taken())

    def _taken(self) -> bytearray:
        self.cut = True  # from here on, until it is written
        block, self._block = self._block, bytearray()
        return block

    def _write(self, *blocks: Buffer) -> None:
        for block in blocks:
            write_block(block)
        self.cut = False
        self.safe_point()


def write_block(block: Buffer) -> None:
    """Write lines to stdout, whole.

    The descriptor is written to directly: nothing is kept in a buffer of Python's that an end
    could drop. A stdout without one, as in tests, is a buffer in memory.
    """
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        sys.stdout.buffer.write(memoryview(block))
        sys.stdout.flush()
        return
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
