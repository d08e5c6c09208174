"""Fit the rows of a message file to the properties of the stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from singer_sdk.contrib.msgspec import encoder

from tap_nudgescribe.profile import (
    DECIMAL_DIGITS,
    DECIMAL_PLACES,
    bounded,
    parse_integer,
    parse_number,
)
from tap_nudgescribe.records import EXTRA, kind_of, limits
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.message_csv import Piece

ROW_NUMBER = "row_number"

ALL_FIELDS = "_row"
"""In ``_extra``: every field of a row that has too few or too many."""

FIELD_COUNT = "_fields"
"""In ``_extra``: how many fields such a row has, where all of them may not be shown."""


@dataclass(frozen=True)
class Kind:
    """A type of column.

    Attributes:
        schema: JSON schema.
        arrow: Type in a Parquet file.
        canonical: Writes a text as JSON would write its value; raises ``ValueError`` for a text
            that is no such value.
        value: Turns canonical text into the record's value.
        plain: What text is canonical already, at a glance.
        quoted: Whether JSON writes quotes around it.
    """

    schema: Mapping[str, Any]
    arrow: pa.DataType
    canonical: Callable[[str], str] | None = None
    value: Callable[[str], object] = str
    plain: str = "$.^"
    quoted: bool = True


def _integer(text: str) -> str:
    return str(parse_integer(text))


def _number(text: str) -> str:
    return str(bounded(parse_number(text)))


def _boolean(text: str) -> str:
    try:
        return BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError from None


BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes"), "true"),
    **dict.fromkeys(("false", "0", "no"), "false"),
}

TEXT = Kind({"type": ["string", "null"]}, pa.string())

KINDS = {
    "string": TEXT,
    "integer": Kind(
        {"type": ["integer", "null"]},
        pa.int64(),
        canonical=_integer,
        value=int,
        plain=r"^(0|-?[1-9]\d{0,17})$",
        quoted=False,
    ),
    "number": Kind(
        {"type": ["number", "null"]},
        pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES),
        canonical=_number,
        value=Decimal,
        plain=r"^-?(0|[1-9]\d{0,18})(\.\d{1,6})?$",
        quoted=False,
    ),
    "boolean": Kind(
        {"type": ["boolean", "null"]},
        pa.bool_(),
        canonical=_boolean,
        value=lambda text: text == "true",
        plain="^(true|false)$",
        quoted=False,
    ),
    "date": Kind(
        {"type": ["string", "null"], "format": "date"},
        pa.date32(),
        canonical=lambda text: date.fromisoformat(text).isoformat(),
        plain=r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$",
    ),
    "date-time": Kind(
        {"type": ["string", "null"], "format": "date-time"},
        pa.timestamp("us", "UTC"),
        canonical=lambda text: format_timestamp(parse_timestamp(text)),
    ),
}


def _nothing(_: str) -> str:
    raise ValueError


NOTHING = Kind({"type": ["null"]}, pa.string(), canonical=_nothing)
"""Of a column whose type in the catalog no text can have."""


def kind_for(schema: Mapping[str, Any]) -> Kind:
    """Return the kind of a column, by its schema in the SCHEMA message."""
    kind = KINDS.get(kind_of(schema) or "string", NOTHING)
    within = limits(schema)
    if within is None:
        return kind
    canonical = kind.canonical or str

    def check(text: str) -> str:
        written = canonical(text)
        if not within(kind.value(written)):
            raise ValueError
        return written

    return replace(kind, canonical=check, plain=Kind.plain)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows of a file, in its order, with the stream's properties.

    Attributes:
        constants: What all of them have in common.
        numbers: ``row_number``.
        columns: Canonical text (see :class:`Kind`) by property.
        kinds: The kind of each of them.
        extra: What has no column, by index: ``_extra``.
    """

    constants: Mapping[str, str | int | None]
    numbers: pa.Int64Array
    columns: Mapping[str, pa.StringArray]
    kinds: Mapping[str, Kind]
    extra: Mapping[int, Row]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def cut(self, length: int) -> Iterator[Rows]:
        """Yield the rows in parts of at most a length, without a copy."""
        for offset in range(0, len(self), length):
            yield self.slice(offset, length)

    def slice(self, offset: int, length: int) -> Rows:
        """Return some of the rows, without a copy."""
        if offset == 0 and length >= len(self):
            return self
        return replace(
            self,
            numbers=self.numbers.slice(offset, length),
            columns={name: text.slice(offset, length) for name, text in self.columns.items()},
            extra={
                index - offset: extra
                for index, extra in self.extra.items()
                if offset <= index < offset + length
            },
        )

    def records(self, properties: Sequence[str]) -> Iterator[Row]:
        """Yield each row as a record.

        Args:
            properties: What a record has, in this order; null where there is no column. Among
                them is ``row_number``.
        """
        blank: Row = {name: self.constants.get(name) for name in properties}
        texts = {
            name: [
                None if text is None else self.kinds[name].value(text) for text in texts.to_pylist()
            ]
            for name, texts in self.columns.items()
        }
        for index, number in enumerate(self.numbers.to_pylist()):
            record = blank.copy()
            record[ROW_NUMBER] = number
            for name, values in texts.items():
                record[name] = values[index]
            if EXTRA in record:
                record[EXTRA] = self.extra.get(index)
            yield record


class Fitting:
    """Fits the pieces of one file.

    Args:
        header: The file's column names by position.
        columns: Property for each name that has one, for those that are wanted.
        kinds: Kind by property; text where none is given.
        dropped: Whether the file has columns that nobody wants. All fields of a misfit row are
            not shown then, because it cannot be told which of them are which.
        keeps_extra: Whether ``_extra`` is kept.
        constants: What all rows have in common.

    Attributes:
        keeps_misfits: Whether all fields of a misfit row are kept.
        only_extra: Names that have no property: they go to ``_extra``.
        unconverted: How many values were not of their property's kind, by name.
    """

    def __init__(  # noqa: PLR0913 (what there is to know)
        self,
        header: Sequence[str],
        columns: Mapping[str, str],
        *,
        kinds: Mapping[str, Kind],
        unknown: Sequence[str],
        dropped: bool,
        keeps_extra: bool = True,
        constants: Mapping[str, str | int | None],
    ) -> None:
        """Plan which position goes where."""
        self._columns = {header.index(name): column for name, column in columns.items()}
        self._unknown = {header.index(name): name for name in unknown}
        self._header = header
        self._kinds = {column: kinds.get(column, TEXT) for column in columns.values()}
        self._dropped = dropped
        self.keeps_misfits = keeps_extra and not dropped
        self._constants = constants
        self.unconverted: Counter[str] = Counter()

    @property
    def positions(self) -> set[int]:
        """The columns of the file that are needed."""
        return self._columns.keys() | self._unknown.keys()

    def fit(self, piece: Piece) -> Rows:
        """Return a piece's rows."""
        import pyarrow.compute as pc  # noqa: PLC0415 (fast start-up)

        extra: dict[int, Row] = {}
        columns = {}
        for position, column in self._columns.items():
            text = piece.columns[position]
            columns[column] = mended = _canonical(text, self._kinds[column])
            if mended.null_count > text.null_count:
                name = self._header[position]
                odd = pc.and_(pc.is_null(mended), pc.is_valid(text))
                indices: Any = pc.indices_nonzero(odd)
                for index in indices.to_pylist():
                    extra.setdefault(index, {})[name] = text[index].as_py()
                    self.unconverted[name] += 1
        for position, name in self._unknown.items():
            for index, value in enumerate(piece.columns[position].to_pylist()):
                if value is not None:
                    extra.setdefault(index, {})[name] = value
        for index, fields in piece.misfits.items():
            shown = {} if self._dropped else {ALL_FIELDS: fields}
            extra.setdefault(index, {}).update({FIELD_COUNT: len(fields)} | shown)
        return Rows(
            constants=self._constants,
            numbers=piece.numbers,
            columns=columns,
            kinds=self._kinds,
            extra=extra,
        )


def _canonical(text: pa.StringArray, kind: Kind) -> pa.StringArray:
    """Return text in its kind's canonical form, null where it is no value of the kind."""
    if kind.canonical is None:
        return text
    import pyarrow.compute as pc  # noqa: PLC0415 (fast start-up)

    plain = pc.match_substring_regex(text, kind.plain)
    if pc.all(plain).as_py() is not False:  # nulls do not count
        return text
    encoded: Any = text.dictionary_encode()
    values = pa.array(
        [_converted(value, kind.canonical) for value in encoded.dictionary.to_pylist()],
        pa.string(),
    )
    return values.take(encoded.indices)


def _converted(text: str, canonical: Callable[[str], str]) -> str | None:
    try:
        return canonical(text)
    except ValueError:
        return None


def record_batch(rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as a record batch of a schema (see ``batch_files.arrow_schema``)."""
    columns: list[Any] = []
    for arrow_field in schema:
        name, kind = arrow_field.name, arrow_field.type
        if name == ROW_NUMBER:
            columns.append(rows.numbers)
        elif name == EXTRA:
            columns.append(extra_texts(rows))
        elif name in rows.columns:
            columns.append(rows.columns[name].cast(kind))
        else:
            constant: Any = rows.constants.get(name)
            columns.append(pa.repeat(pa.scalar(constant).cast(kind), len(rows)))
    return pa.record_batch(columns, schema=schema)


def extra_texts(rows: Rows) -> pa.StringArray:
    """Return ``_extra`` as JSON text."""
    if not rows.extra:
        return pa.nulls(len(rows), pa.string())
    texts: list[str | None] = [None] * len(rows)
    for index, extra in rows.extra.items():
        texts[index] = encoder.encode(extra).decode()
    return pa.array(texts, pa.string())
