"""Read Singer lines in bulk: records of plain streams stay raw until a whole batch is decoded."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from typing_extensions import override

from target_nudgescribe.rows import InputError, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


LONGEST_LINE = 64 * 2**20
"""Bytes of one message: a longer one would have to be held whole, and again when it is decoded."""

READ_BYTES = 256 * 1024
"""Most that is read from standard input at once."""

BLOCK_BYTES = 4 * 2**20
"""Bytes of a file that are read at once."""

NEEDED: dict[str, dict[str, type]] = {
    "SCHEMA": {"stream": str, "schema": dict},
    "RECORD": {"stream": str, "record": dict},
    "BATCH": {"stream": str, "encoding": dict, "manifest": list},
    "ACTIVATE_VERSION": {"stream": str},
    "STATE": {},
}
"""What a message of a type must have to be handed on."""


class RawRecords:
    """Records of one stream that wait to be decoded together.

    Args:
        most: How many rows may wait.
        most_bytes: How many bytes of lines may wait.
        flush: Called when they are enough.
    """

    def __init__(self, most: int, most_bytes: int, flush: Callable[[], None]) -> None:
        """Begin with none."""
        self.waiting: list[msgspec.Raw | dict[str, Any]] = []
        self.bytes = 0
        self.most = most
        self.most_bytes = most_bytes
        self.flush = flush

    def take(self) -> list[msgspec.Raw | dict[str, Any]]:
        """Return what has waited and begin anew."""
        taken, self.waiting, self.bytes = self.waiting, [], 0
        return taken


class _Envelope(msgspec.Struct, gc=False):
    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")


class BulkReader(GenericSingerReader[bytes]):
    """Hands each message to its callback, but records of streams in :attr:`plain` to their buffer.

    Attributes:
        plain: Buffers by stream. The target adds a stream that has no stream map.
    """

    default_input = sys.stdin.buffer

    def __init__(self) -> None:
        """Know no stream yet."""
        super().__init__()
        self.plain: dict[str, RawRecords] = {}
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
        plain, decode = self.plain, msgspec.json.Decoder(_Envelope).decode
        records = 0
        for number, line in enumerate(_lines(file_input or self.default_input), 1):
            try:
                envelope = decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._line = number
                self._slow(line, callbacks, counts)
                continue
            if envelope.type == "RECORD" and (buffer := plain.get(envelope.stream)):
                record = envelope.record
                if not record:
                    self._line = number
                    raise self._not_a_message
                buffer.waiting.append(record)
                buffer.bytes += len(line)
                records += 1
                if len(buffer.waiting) >= buffer.most or buffer.bytes >= buffer.most_bytes:
                    buffer.flush()
            else:
                self._line = number
                self._slow(line, callbacks, counts)
        counts["RECORD"] += records
        return counts

    @override
    def deserialize_json(self, line: bytes) -> dict[str, Any]:
        """Decode one line.

        Raises:
            InputError: for a line that is no object.
        """
        if len(line) > LONGEST_LINE:
            problem = f"Line {self._line} of the input is longer than {LONGEST_LINE} bytes"
            raise InputError(problem)
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
        buffer = self.plain.get(str(message.get("stream")))
        if kind == "RECORD" and buffer:
            buffer.waiting.append(message["record"])
            buffer.bytes += len(line)
            if len(buffer.waiting) >= buffer.most:
                buffer.flush()
            return
        # The state and the schemas pass as they are; only records need exact numbers.
        callback(message if kind == "RECORD" else json.loads(line))

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


def _lines(source: IO[Any]) -> Iterable[bytes]:
    """Return lines as bytes, whether the input is binary or (as in the SDK's tests) text.

    One that is too long is cut off there, so that it is no JSON any more.
    """
    binary: IO[Any] = getattr(source, "buffer", source)
    if isinstance(binary, io.TextIOBase):
        return (line.encode("utf-8", "surrogatepass") for line in binary)
    if isinstance(binary, io.BufferedReader) and isinstance(binary.raw, io.FileIO):
        binary = io.BufferedReader(io.FileIO(binary.fileno(), closefd=False), READ_BYTES)
    return iter(partial(binary.readline, LONGEST_LINE + 1), b"")


def line_blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a file of records, some at once, those that are blank left out.

    Raises:
        InputError: for a line that is too long.
    """
    rest = b""
    while block := file.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            problem = f"A line of a BATCH file is longer than {LONGEST_LINE} bytes"
            raise InputError(problem)
        yield [line for line in lines if line.strip()]
    if rest.strip():
        yield [rest]
