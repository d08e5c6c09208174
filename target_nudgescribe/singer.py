"""Read Singer messages: records of plain streams in bulk, and everything else one by one."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from typing_extensions import override

from target_nudgescribe.canonical import InputError, loads, raw_member
from target_nudgescribe.json_records import UNFIT, JsonRecords, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LONGEST_LINE = 64 * 2**20
"""Bytes of one message: a longer one would have to be held whole, and again when it is decoded."""

READ_BYTES = 32 * 1024
"""Most that is read at once: what is made of more leaves the processor's cache."""

NEEDED: dict[str, dict[str, type]] = {
    "SCHEMA": {"stream": str, "schema": dict},
    "RECORD": {"stream": str, "record": dict},
    "BATCH": {"stream": str, "encoding": dict, "manifest": list},
    "ACTIVATE_VERSION": {"stream": str},
    "STATE": {},
}
"""What a message of a type must have to be handed on."""


class BulkReader(GenericSingerReader[bytes]):
    """Hands each message to its callback, but records of streams in :attr:`plain` to their buffer.

    Attributes:
        plain: Buffers by stream. The target adds a stream that has no stream map.
    """

    default_input = sys.stdin.buffer
    _decode = msgspec.json.Decoder(Message).decode

    def __init__(self) -> None:
        """Know no stream yet."""
        super().__init__()
        self.plain: dict[str, JsonRecords] = {}
        self._latest = ""
        self._line = 0

    @override
    def process_lines(
        self,
        file_input: IO[Any] | None,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
    ) -> Counter[str]:
        """Read all lines.

        Raises:
            InputError: for a line that is no message; it names the line's number only.
        """
        counts: Counter[str] = Counter()
        source = file_input or self.default_input
        for lines in line_blocks(lambda: self.read(source), self._next_line):
            # Most blocks hold records of one stream alone.
            if not self._records(self._latest, lines, counts):
                for line in io.BytesIO(lines):
                    self._take(line, callbacks, counts)
        return counts

    @staticmethod
    def read(source: IO[Any]) -> bytes:
        """Return what there is to read, or wait for it.

        Args:
            source: Binary, or (as in the SDK's tests) text.
        """
        binary: IO[Any] = getattr(source, "buffer", source)
        if isinstance(binary, io.TextIOBase):
            return binary.read(READ_BYTES).encode("utf-8", "surrogatepass")
        data: bytes = binary.read1(READ_BYTES)  # type: ignore[attr-defined]
        return data

    def _next_line(self) -> str:
        return f"Line {self._line + 1} of the input"

    def _records(self, stream: str, lines: bytes, counts: Counter[str]) -> int:
        """Take lines that hold nothing but records of a plain stream, and return their number."""
        records = self.plain.get(stream)
        taken = records.add_messages(lines) if records else 0
        self._line += taken
        counts["RECORD"] += taken
        return taken

    def _take(
        self,
        line: bytes,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
        counts: Counter[str],
    ) -> None:
        if self._records(self._latest, line, counts):
            return
        try:
            message = self._decode(line)
        except UNFIT:
            pass
        else:
            if message.type == "RECORD" and message.stream in self.plain:
                self._latest = message.stream
                if self._records(self._latest, line, counts):
                    return
        self._line += 1
        self._slow(line, callbacks, counts)

    @override
    def deserialize_json(self, line: bytes) -> dict[str, Any]:
        """Decode one line.

        Raises:
            InputError: for a line that is no object.
        """
        try:
            message = loads(line)
        except InputError:
            raise self._not_a_message from None
        if not isinstance(message, dict):
            raise self._not_a_message
        return message

    def _slow(
        self,
        line: bytes,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
        counts: Counter[str],
    ) -> None:
        if not line.strip():
            return
        message = self.deserialize_json(line)
        kind = message.get("type")
        callback = callbacks.get(str(kind))
        if callback is None:
            raise self._not_a_message
        if not _has_what_it_needs(message):
            problem = f"Line {self._line} of the input lacks what its type needs"
            raise InputError(problem)
        counts[str(kind)] += 1
        records = self.plain.get(str(message.get("stream")))
        if kind == "RECORD" and records:
            records.add(message["record"], len(line))
            return
        if kind == "STATE":
            message["value"] = raw_member(line, "value")
        # Only records need exact numbers.
        callback(message if kind in {"RECORD", "STATE"} else json.loads(line))

    @property
    def _not_a_message(self) -> InputError:
        return InputError(f"Line {self._line} of the input is no Singer message")


def _has_what_it_needs(message: dict[str, Any]) -> bool:
    needed = NEEDED.get(str(message["type"]), {})
    if not all(isinstance(message.get(name), kind) for name, kind in needed.items()):
        return False
    if "stream" in needed and not _is_unicode(message["stream"]):
        return False
    if message["type"] == "BATCH":
        return all(isinstance(url, str) for url in message["manifest"])
    if message["type"] != "SCHEMA":
        return True
    properties = message["schema"].get("properties")
    keys = message.get("key_properties") or []
    return (
        isinstance(properties, dict)
        and all(map(_is_unicode, properties))
        and all(isinstance(schema, dict) for schema in properties.values())
        and isinstance(keys, list)
        and all(isinstance(key, str) for key in keys)
    )


def _is_unicode(name: str) -> bool:
    """Say whether a name can be written: JSON can escape half of a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def line_blocks(read: Callable[[], bytes], named: Callable[[], str]) -> Iterator[bytes]:
    """Yield what is read as blocks of whole lines; the last line may lack its end.

    Args:
        read: Returns some bytes, or none at the end.
        named: Says which line comes after those that were yielded, for the error.

    Raises:
        InputError: for a line that is too long.
    """
    parts: list[bytes] = []
    held = 0
    while data := read():
        end = data.rfind(b"\n") + 1
        if held + (data.find(b"\n") if end else len(data)) > LONGEST_LINE:
            problem = f"{named()} is longer than {LONGEST_LINE} bytes"
            raise InputError(problem)
        if end:
            yield b"".join([*parts, data[:end]])
            parts, held = [], 0
        parts.append(data[end:])
        held += len(data) - end
    if held:
        yield b"".join(parts)
