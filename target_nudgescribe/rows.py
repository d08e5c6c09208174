"""Source rows as columns of text: what every kind of input becomes first."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from tap_nudgescribe.errors import NudgescribeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Faults = dict[int, str]
"""Row index to the stable code of what is wrong there."""

MOST_DIGITS = 1000
"""Exponents beyond this stay exponents: a few characters must not become megabytes."""

_TRUE = pa.scalar(value=True)
_FALSE = pa.scalar(value=False)

_JSON = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


class InputError(NudgescribeError):
    """The input holds what is no Singer message."""

    advice = "Look at the tap: nothing that came after this was read."


@dataclass(frozen=True)
class Rows:
    """Rows of one stream, in the order in which they were read.

    Numbers are texts as the tap wrote them, digit by digit; booleans are ``true`` and ``false``,
    objects and lists are JSON.

    Attributes:
        table: String columns by source column; null where a value is null or missing.
        first: Number of the first row, counted from 1 over the whole stream.
        missing: For each column that some row lacks, which rows lack it.
        faults: For each column with values that cannot become text, where and why.
    """

    table: pa.Table
    first: int
    missing: Mapping[str, pa.BooleanArray] = field(default_factory=dict)
    faults: Mapping[str, Faults] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.table.num_rows

    def source(self, index: int) -> dict[str, str | None]:
        """Return one row as it was read, without the columns that it lacks."""
        lacking = {name for name, mask in self.missing.items() if mask[index].as_py()}
        return {
            name: column[index].as_py()
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
            if name not in lacking
        }


def faults_at(wrong: pa.BooleanArray, code: str) -> Faults:
    """Return the same fault for each row where a mask is true; null is false."""
    return dict.fromkeys(np.flatnonzero(np.asarray(wrong.fill_null(False))).tolist(), code)  # noqa: FBT003


def holds_any(texts: pa.StringArray, signs: bytes) -> bool:
    """Say whether any of some ASCII characters may be in a column; quick, and never wrongly no."""
    content = bytes_of(texts)[0].tobytes()
    return any(sign.to_bytes() in content for sign in signs)


def bytes_of(texts: pa.StringArray) -> tuple[memoryview, NDArray[np.int32]]:
    """Return the bytes of all texts as they stand side by side, and where each begins.

    The last of these places, one more than there are texts, is the end.
    """
    _, offsets, data = texts.buffers()
    if not len(texts) or not offsets or not data:
        return memoryview(b""), np.zeros(len(texts) + 1, np.int32)
    places = np.frombuffer(memoryview(offsets), np.int32)
    places = places[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[places[0] : places[-1]], places - places[0]


def texts_of(table: pa.Table, name: str) -> pa.StringArray:
    """Return a string column as one array."""
    texts: pa.StringArray = whole(table.column(name))
    return texts


def whole(column: pa.ChunkedArray[Any]) -> Any:  # noqa: ANN401 (an array of any type)
    """Return a column as one array; ``combine_chunks`` copies even what is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def loads(text: bytes) -> Any:  # noqa: ANN401 (JSON)
    """Decode JSON as the standard library does, which accepts more; numbers are exact.

    Raises:
        InputError: for what is no JSON.
    """
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        problem = "A record of the input is no JSON, or is nested too deeply"
        raise InputError(problem) from None


def record_of(text: bytes) -> dict[str, Any]:
    """Decode a record; numbers are exact.

    Raises:
        InputError: for what is no JSON object.
    """
    record = loads(text)
    if not isinstance(record, dict):
        problem = "A record of the input is no object"
        raise InputError(problem)
    return record


def from_values(
    names: Sequence[str],
    columns: Sequence[Sequence[Any]],
    count: int,
    first: int,
    again: Callable[[int, int], Any] | None = None,
) -> Rows:
    """Return rows from Python values by column; ``UNSET`` is a missing value.

    Args:
        names: Column names.
        columns: Values by column.
        count: The number of rows.
        first: Number of the first row.
        again: Decodes the value of a row and column anew: objects with fractions need it, because
            those were read as text.
    """
    arrays, missing, faults = [], {}, {}
    for number, (name, values) in enumerate(zip(names, columns or [()] * len(names), strict=True)):
        if values and values[0] is UNSET and values.count(UNSET) == count:
            missing[name] = pa.repeat(_TRUE, count)
            arrays.append(pa.nulls(count, pa.string()))
            continue
        array = _plain(values)
        if array is None:
            if again and any(isinstance(value, dict | list) for value in values):
                values = [  # noqa: PLW2901 (the same values, exactly)
                    again(index, number) if isinstance(value, dict | list) else value
                    for index, value in enumerate(values)
                ]
            array, lacking, wrong = _slowly(values)
            if lacking is not None:
                missing[name] = lacking
            if wrong:
                faults[name] = wrong
        arrays.append(array)
    if not names:
        return Rows(pa.table({"": pa.nulls(count, pa.string())}), first)
    return Rows(pa.table(arrays, names=list(names)), first, missing, faults)


def from_dicts(names: Sequence[str], records: Sequence[Mapping[str, Any]], first: int) -> Rows:
    """Return rows from decoded records; a column that a record lacks is missing."""
    columns = [[record.get(name, UNSET) for record in records] for name in names]
    return from_values(names, columns, len(records), first)


def from_table(names: Sequence[str], table: pa.Table, first: int) -> Rows:
    """Return rows from typed Arrow columns; a column that the table lacks is missing."""
    arrays, missing, faults = [], {}, {}
    count = table.num_rows
    for name in names:
        if name not in table.column_names:
            missing[name] = pa.repeat(_TRUE, count)
            arrays.append(pa.nulls(count, pa.string()))
            continue
        array, wrong = _from_arrow(whole(table.column(name)))
        arrays.append(array)
        if wrong:
            faults[name] = wrong
    return Rows(pa.table(arrays, names=list(names)), first, missing, faults)


def joined(parts: Sequence[Rows], first: int) -> Rows:
    """Return rows that follow one another as one.

    Args:
        parts: Their own numbers do not count.
        first: Number of the first row.
    """
    if len(parts) == 1:
        return replace(parts[0], first=first)
    missing = {
        name: pa.concat_arrays(
            [part.missing.get(name, pa.repeat(_FALSE, len(part))) for part in parts]
        )
        for name in dict.fromkeys(name for part in parts for name in part.missing)
    }
    faults: dict[str, dict[int, str]] = {}
    offset = 0
    for part in parts:
        for name, found in part.faults.items():
            moved = {index + offset: code for index, code in found.items()}
            faults.setdefault(name, {}).update(moved)
        offset += len(part)
    table = pa.concat_tables([part.table for part in parts]).combine_chunks()
    return Rows(table, first, missing, faults)


def _plain(values: Sequence[Any]) -> pa.StringArray | None:
    """Return a column of texts, integers or booleans alone; None for any other."""
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        pass
    try:
        array = pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
        return None
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    texts: pa.StringArray = array.cast(pa.string())
    return texts


def _slowly(
    values: Sequence[Any],
) -> tuple[pa.StringArray, pa.BooleanArray | None, Faults]:
    texts: list[str | None] = []
    faults: Faults = {}
    for index, value in enumerate(values):
        try:
            texts.append(_text(value))
        except _FaultyError as fault:
            faults[index] = fault.code
            texts.append(None)
    lacking = [value is UNSET for value in values]
    return (
        pa.array(texts, pa.string()),
        pa.array(lacking, pa.bool_()) if any(lacking) else None,
        faults,
    )


class _FaultyError(Exception):
    def __init__(self, *, code: str) -> None:
        super().__init__(code)
        self.code = code


def _text(value: Any) -> str | None:  # noqa: ANN401, C901, PLR0911, PLR0912 (a table of types)
    """Return a value as text, exactly."""
    match value:
        case None | msgspec.UnsetType():
            return None
        case bool():
            return "true" if value else "false"
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _FaultyError(code="not_unicode") from None
            return value
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise _FaultyError(code="not_finite")
            return repr(value)
        case Decimal():
            if not value.is_finite():
                raise _FaultyError(code="not_finite")
            return format(value, "f") if abs(value.adjusted()) < MOST_DIGITS else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case msgspec.Raw():
            text = bytes(value)
            try:
                return text.decode() if text[:1] in b"{[" else _text(loads(text))
            except UnicodeDecodeError:
                raise _FaultyError(code="not_unicode") from None
        case dict() | list():
            if not _is_finite(value):
                raise _FaultyError(code="not_finite")
            try:
                return _JSON.encode(value).decode()
            except (UnicodeEncodeError, ValueError):
                raise _FaultyError(code="not_unicode") from None
        case bytes():
            raise _FaultyError(code="not_unicode")
        case _:
            return str(value)


def _is_finite(value: Any) -> bool:  # noqa: ANN401 (JSON)
    """Say whether no number in a value is NaN or infinite, which JSON cannot say."""
    match value:
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case float():
            return math.isfinite(value)
        case _:
            return True


def _from_arrow(array: Any) -> tuple[pa.StringArray, Faults]:  # noqa: ANN401 (any Arrow type)
    kind = array.type
    types = pa.types
    if types.is_dictionary(kind):
        return _from_arrow(array.dictionary_decode())
    if types.is_floating(kind):
        wrong = pc.and_kleene(array.is_valid(), pc.invert(pc.is_finite(array)))
        faults = faults_at(wrong, "not_finite")
        if faults:
            array = pc.if_else(wrong, pa.scalar(None, kind), array)
        return array.cast(pa.string()), faults
    if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        texts, _, faults = _slowly(array.to_pylist())
        return texts, faults
    return array.cast(pa.string()), {}
