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

from tap_nudgescribe.errors import SettingsError
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

BATCH_FORMATS = ("jsonl", "parquet")
BATCH_COMPRESSIONS = (None, "none", "gzip")


class BulkReader(GenericSingerReader[bytes]):
    """Hands each message to its callback, but records of streams in :attr:`plain` to their buffer.

    Attributes:
        plain: Buffers by stream. The target adds a stream that has no stream map.
    """

    # It is None if the process was started with a closed standard input.
    default_input: IO[bytes] = getattr(sys.stdin, "buffer", None)  # type: ignore[assignment]
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
        if source is None:
            problem = "There is nothing to read: standard input is closed"
            raise SettingsError(problem, advice="Pipe messages in, or name a file with --input.")
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
        lacking = _lacking(message)
        if lacking:
            stream = message.get("stream")
            of = (
                f" of the stream {stream}"
                if isinstance(stream, str) and _is_unicode(stream)
                else ""
            )
            problem = (
                f"Line {self._line} of the input, a {kind} message{of}, lacks what its type needs: "
                f"{lacking}"
            )
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


def _lacking(message: dict[str, Any]) -> str:
    """Return what a message does not have, or has in another form; empty if nothing."""
    for name, kind in NEEDED.get(str(message["type"]), {}).items():
        if not isinstance(message.get(name), kind):
            return name
    if "stream" in message and not _is_unicode(str(message["stream"])):
        return "a stream name that is valid Unicode"
    if message["type"] == "BATCH":
        return _lacking_in_batch(message)
    return _lacking_in_schema(message) if message["type"] == "SCHEMA" else ""


def _lacking_in_batch(message: dict[str, Any]) -> str:
    encoding = message["encoding"]
    if encoding.get("format") not in BATCH_FORMATS:
        return f"encoding.format, which is {' or '.join(BATCH_FORMATS)}"
    if encoding.get("compression") not in BATCH_COMPRESSIONS:
        return "encoding.compression, which is gzip or none"
    if not all(isinstance(url, str) for url in message["manifest"]):
        return "a manifest of URLs"
    return ""


def _lacking_in_schema(message: dict[str, Any]) -> str:
    properties = message["schema"].get("properties")
    keys = message.get("key_properties") or []
    if not isinstance(properties, dict):
        return "schema.properties"
    if not all(map(_is_unicode, properties)):
        return "names of columns that are valid Unicode"
    if not all(isinstance(schema, dict) for schema in properties.values()):
        return "a schema for each column"
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        return "key_properties, which is a list of names"
    return ""


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
