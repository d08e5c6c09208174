"""Source rows as columns of text: what every kind of input becomes first."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from msgspec import UNSET

from target_nudgescribe.arrow_text import array_texts, is_scalar_type
from target_nudgescribe.canonical import InputError, ValueFaultError, is_scalar, loads, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.arrow_text import Faults

_TRUE = pa.scalar(value=True)
_FALSE = pa.scalar(value=False)


@dataclass(frozen=True)
class Rows:
    """Rows of one stream, in the order in which they were read.

    Each value has its canonical text (see :mod:`target_nudgescribe.canonical`).

    Attributes:
        table: String columns by source column; null where a value is null or missing.
        first: Number of the first row, counted from 1 over the whole stream.
        missing: For each column that some row lacks, which rows lack it.
        faults: For each column with values that cannot become text, where and why.
        nameless: For each column with booleans, objects or lists, which can name nothing, the
            places of those rows.
    """

    table: pa.Table
    first: int
    missing: Mapping[str, pa.BooleanArray] = field(default_factory=dict)
    faults: Mapping[str, Faults] = field(default_factory=dict)
    nameless: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.table.num_rows

    def record(self, index: int) -> dict[str, Any]:
        """Return one row as it was read, with booleans, objects and lists as such."""
        record: dict[str, Any] = dict(self.source(index))
        for name, places in self.nameless.items():
            if index in places and record.get(name) is not None:
                record[name] = json.loads(record[name])
        return record

    def source(self, index: int) -> dict[str, str | None]:
        """Return one row as it was read, without the columns that it lacks."""
        lacking = {name for name, mask in self.missing.items() if mask[index].as_py()}
        return {
            name: column[index].as_py()
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
            if name not in lacking
        }


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
    arrays, missing, faults, nameless = [], {}, {}, {}
    for number, (name, values) in enumerate(zip(names, columns or [()] * len(names), strict=True)):
        if values and values[0] is UNSET and values.count(UNSET) == count:
            missing[name] = pa.repeat(_TRUE, count)
            arrays.append(pa.nulls(count, pa.string()))
            continue
        array, places = _plain(values)
        if array is None:
            if again and any(isinstance(value, dict | list) for value in values):
                values = [  # noqa: PLW2901 (the same values, exactly)
                    again(index, number) if isinstance(value, dict | list) else value
                    for index, value in enumerate(values)
                ]
            array, lacking, wrong, places = _slowly(values)
            if lacking is not None:
                missing[name] = lacking
            if wrong:
                faults[name] = wrong
        if places is not None:
            nameless[name] = places
        arrays.append(array)
    if not names:
        return Rows(pa.table({"": pa.nulls(count, pa.string())}), first)
    return Rows(pa.table(arrays, names=list(names)), first, missing, faults, nameless)


def from_dicts(names: Sequence[str], records: Sequence[Mapping[str, Any]], first: int) -> Rows:
    """Return rows from decoded records; a column that a record lacks is missing."""
    columns = [[record.get(name, UNSET) for record in records] for name in names]
    return from_values(names, columns, len(records), first)


def from_table(names: Sequence[str], table: pa.Table, first: int) -> Rows:
    """Return rows from typed Arrow columns; a column that the table lacks is missing."""
    arrays, missing, faults, nameless = [], {}, {}, {}
    count = table.num_rows
    for name in names:
        if table.column_names.count(name) != 1:
            missing[name] = pa.repeat(_TRUE, count)
            arrays.append(pa.nulls(count, pa.string()))
            continue
        column = whole(table.column(name))
        array, wrong = array_texts(column)
        arrays.append(array)
        if wrong:
            faults[name] = wrong
        if not is_scalar_type(column.type):
            nameless[name] = _places(column.is_valid())
    return Rows(pa.table(arrays, names=list(names)), first, missing, faults, nameless)


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
    nameless: dict[str, list[NDArray[np.intp]]] = {}
    offset = 0
    for part in parts:
        for name, places in part.nameless.items():
            nameless.setdefault(name, []).append(places + offset)
        for name, found in part.faults.items():
            moved = {index + offset: code for index, code in found.items()}
            faults.setdefault(name, {}).update(moved)
        offset += len(part)
    table = pa.concat_tables([part.table for part in parts]).combine_chunks()
    together = {name: np.concatenate(places) for name, places in nameless.items()}
    return Rows(table, first, missing, faults, together)


def _places(mask: pa.BooleanArray) -> NDArray[np.intp]:
    """Return where a mask is true."""
    return np.flatnonzero(np.asarray(mask))


def _plain(values: Sequence[Any]) -> tuple[pa.StringArray | None, NDArray[np.intp] | None]:
    """Return a column of texts, integers or booleans alone, and where booleans are.

    Of any other kind of column it returns None.
    """
    try:
        return pa.array(values, pa.string()), None
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        pass
    try:
        array = pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
        return None, None
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None, None
    texts: pa.StringArray = array.cast(pa.string())
    return texts, _places(array.is_valid()) if pa.types.is_boolean(kind) else None


def _slowly(
    values: Sequence[Any],
) -> tuple[pa.StringArray, pa.BooleanArray | None, Faults, NDArray[np.intp] | None]:
    texts: list[str | None] = []
    faults: Faults = {}
    nameless: list[int] = []
    for index, value in enumerate(values):
        if not is_scalar(value):
            nameless.append(index)
        try:
            texts.append(text_of(value))
        except ValueFaultError as fault:
            faults[index] = fault.code
            texts.append(None)
    lacking = [value is UNSET for value in values]
    return (
        pa.array(texts, pa.string()),
        pa.array(lacking, pa.bool_()) if any(lacking) else None,
        faults,
        np.array(nameless, np.intp) if nameless else None,
    )
