"""Decode the JSON records of one stream, many at once."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET

from target_nudgescribe.canonical import InputError, number_text
from target_nudgescribe.rows import Rows, from_values, joined, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

AT_ONCE = 1000
"""Records whose values are Python objects at once: more leave the processor's cache."""

UNFIT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON that it does not take."""

_REFUSED = re.compile(r'[\x00-\x1f"\\]')

_RECORD: Callable[[Any], Any] = attrgetter("record")


class Message(msgspec.Struct, gc=False):
    """What of a Singer message tells where it goes; its record stays as it is written."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")


@dataclass
class _Origin:
    """The lines that records came from, kept until the records are columns.

    Attributes:
        begin: How many records came before.
        lines: Whole lines.
        are_messages: Whether a line is a message, or a record by itself.
    """

    begin: int
    lines: bytes
    are_messages: bool

    @cached_property
    def records(self) -> list[msgspec.Raw]:
        """Each record as it is written."""
        if self.are_messages:
            return list(map(_RECORD, msgspec.json.Decoder(Message).decode_lines(self.lines)))
        return msgspec.json.Decoder(msgspec.Raw).decode_lines(self.lines)


class JsonRecords:
    """Records of one stream, until there are enough of them to be looked at together.

    Lines that hold nothing but records of this stream are decoded in one call. The values are
    Python objects only for the time of :data:`AT_ONCE` records; what waits are columns of text.

    Args:
        stream: Its name.
        properties: The stream's JSON schema properties.
        most: How many records may wait.
        most_bytes: How many bytes of lines may wait.
        flush: Called when they are enough, to take them.
    """

    def __init__(
        self,
        stream: str,
        properties: Mapping[str, Any],
        *,
        most: int,
        most_bytes: int,
        flush: Callable[[], object],
    ) -> None:
        """Prepare decoders that are as fast as the schema allows."""
        self.names = list(properties)
        self.most = most
        self._most_bytes = most_bytes
        self._flush = flush
        record = _record_type(properties)
        kinds: list[tuple[str, Any]] = [
            ("type", Literal["RECORD"]),
            ("stream", Literal[stream]),
            ("record", record),
        ]
        message = msgspec.defstruct("Message", kinds, gc=False)
        self._records = msgspec.json.Decoder(record, float_hook=number_text)
        self._messages = msgspec.json.Decoder(message, float_hook=number_text)
        self._values: list[Any] = []
        """Values of the records that are no columns yet, one record after the other."""
        self._origins: list[_Origin] = []
        self._parts: list[Rows] = []
        self._before = self._raw = self._ready = self._bytes = 0
        self.undeclared: set[str] = set()
        """Names of columns that records have and the schema does not."""

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return self._ready + self._raw

    def add_messages(self, lines: bytes) -> int:
        """Take whole lines, each a message with a record of this stream, and return their number.

        Of other lines none is taken, and 0 is returned.
        """
        try:
            messages = self._messages.decode_lines(lines)
        except UNFIT:
            return 0
        if len(messages) != _count(lines):
            return 0
        self._add(map(_RECORD, messages), _Origin(self._position, lines, are_messages=True))
        return len(messages)

    def add_records(self, lines: bytes) -> None:
        """Take whole lines of records.

        Raises:
            InputError: for a line that is no JSON object.
        """
        try:
            records = self._records.decode_lines(lines)
        except UNFIT:
            records = []
        if len(records) == _count(lines):
            self._add(records, _Origin(self._position, lines, are_messages=False))
            return
        # One line must not change how its neighbours are read.
        for line in filter(bytes.strip, io.BytesIO(lines)):
            try:
                record = self._records.decode(line)
            except UNFIT:
                self.add(record_of(line), len(line))
            else:
                self._add([record], _Origin(self._position, line, are_messages=False))

    def add(self, record: Mapping[str, Any], size: int) -> None:
        """Take what msgspec refuses: NaN, lone surrogates, and columns without a schema.

        Args:
            record: With exact numbers, as :func:`record_of` returns it.
            size: Bytes of its line.
        """
        self.undeclared |= record.keys() - set(self.names)
        self._values += self._in_order(record)
        self._raw += 1
        self._bytes += size
        self._convert_enough()

    def take(self, first: int) -> Rows:
        """Return what waits, :attr:`most` at most, and begin anew.

        Args:
            first: Number of the first row.
        """
        if rest := min(self._raw, self.most - self._ready):
            self._convert(rest)
        parts, self._parts = self._parts, []
        self._ready = self._bytes = 0
        return joined(parts or [from_values(self.names, [], 0, first)], first)

    @property
    def _position(self) -> int:
        """How many records have come so far."""
        return self._before + self._raw

    def _add(self, records: Iterable[Any], origin: _Origin) -> None:
        self._origins.append(origin)
        values, values_of = self._values, msgspec.structs.astuple
        for record in records:
            values += values_of(record)
            self._raw += 1
        self._bytes += len(origin.lines)
        self._convert_enough()

    def _convert_enough(self) -> None:
        while self._raw >= (count := min(AT_ONCE, self.most - self._ready)):
            self._convert(count)
            if self._ready >= self.most:
                self._flush()
        if self._bytes >= self._most_bytes:
            self._flush()

    def _convert(self, count: int) -> None:
        """Turn the oldest records into columns."""
        width = len(self.names)
        values = self._values[: count * width]
        columns = [values[place::width] for place in range(width)]
        self._parts.append(from_values(self.names, columns, count, 1, self._exactly))
        del self._values[: count * width]
        self._raw -= count
        self._ready += count
        self._before += count
        # The newest may still have records that wait.
        while len(self._origins) > 1 and self._origins[1].begin <= self._before:
            del self._origins[0]
        if not self._raw:
            self._origins.clear()

    def _exactly(self, index: int, column: int) -> Any:  # noqa: ANN401 (JSON)
        """Return a value with exact numbers: those with a fraction had become text.

        One that only this decoder takes, because it is nested too deeply, is returned as it is.
        """
        position = self._before + index
        place = bisect_right(self._origins, position, key=attrgetter("begin")) - 1
        origin = self._origins[place] if place >= 0 else None
        as_read = self._values[index * len(self.names) + column]
        if origin is None or position - origin.begin >= len(origin.records):
            # It came by itself, with exact numbers.
            return as_read
        record = origin.records[position - origin.begin]
        try:
            return self._in_order(record_of(bytes(record)))[column]
        except InputError:
            return as_read

    def _in_order(self, record: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(record.get(name, UNSET) for name in self.names)


def _count(lines: bytes) -> int:
    """Return the number of lines: ``bytes.count`` takes four times as long."""
    return len(io.BytesIO(lines).readlines())


def _record_type(properties: Mapping[str, Any]) -> type[msgspec.Struct]:
    """Return a type whose decoder accepts the declared columns alone."""
    # Attributes have names of their own: a column may be called anything.
    kinds = [
        (f"c{number}", msgspec.Raw if _may_nest(schema) else Any, UNSET)
        for number, schema in enumerate(properties.values())
    ]
    # Some signs msgspec cannot have in a name: then no record fits, and each is read leniently.
    renamed = {
        f"c{number}": f"\uffff{number}" if _REFUSED.search(name) else name
        for number, name in enumerate(properties)
    }
    return msgspec.defstruct("Record", kinds, rename=renamed, gc=False, forbid_unknown_fields=True)


def _may_nest(schema: object) -> bool:
    """Say whether a JSON schema allows objects or lists."""
    if not isinstance(schema, dict):
        return False
    branches = [schema.get(name) for name in ("anyOf", "oneOf", "allOf")]
    listed = [branch for each in branches if isinstance(each, list) for branch in each]
    return bool(kinds_of(schema) & {"object", "array"}) or any(map(_may_nest, listed))


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without what is not JSON schema: a ``type`` or branches of another form.

    The SDK takes these parts for valid.
    """
    plain = dict(schema)
    kinds = plain.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    if "type" in plain and not (listed and all(isinstance(kind, str) for kind in listed)):
        del plain["type"]
    for name in ("anyOf", "oneOf", "allOf"):
        branches = plain.get(name)
        if isinstance(branches, list) and all(isinstance(each, dict) for each in branches):
            plain[name] = [plain_schema(each) for each in branches]
        else:
            plain.pop(name, None)
    if "properties" in plain:
        properties = plain["properties"]
        plain["properties"] = {
            name: plain_schema(each)
            for name, each in (properties.items() if isinstance(properties, dict) else ())
            if isinstance(each, dict)
        }
    return plain


def kinds_of(schema: Mapping[str, Any]) -> set[str]:
    """Return the types that a JSON schema names; none if it has no valid ``type``."""
    kinds = schema.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    return {kind for kind in listed if isinstance(kind, str)}
