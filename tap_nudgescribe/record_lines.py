"""Write Arrow columns as lines of JSON, byte for byte as the SDK's writer writes records.

A line is the concatenation of constant text and columns, so Arrow joins whole columns at once;
a column is escaped only if it holds something to escape. Compared with a msgspec struct for each
row this takes a third of the time (``python -m benchmarks.stages``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from singer_sdk.contrib.msgspec import encoder

from tap_nudgescribe.message_rows import ROW_NUMBER, extra_texts
from tap_nudgescribe.records import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_nudgescribe.message_rows import Rows

SPACE = 32
"""The first character that JSON does not escape for being a control character."""

ESCAPES = {"\\": "\\\\", '"': '\\"'} | {
    chr(code): encoder.encode(chr(code))[1:-1].decode() for code in range(SPACE)
}
"""In the order to replace them: the backslash first."""


def lines(rows: Rows, properties: Sequence[str], *, before: str, after: str) -> pa.StringArray:
    """Return each row as a JSON object; :func:`content` is what has to be written.

    Args:
        rows: At least one.
        properties: What each object has, in this order; null where there is no column.
        before: What comes before each object: the begin of a RECORD message.
        after: What comes after it: the end of the message and of the line.
    """
    parts: list[Any] = [before, "{"]
    for number, name in enumerate(properties):
        comma = "," if number else ""
        parts += [f"{comma}{encoder.encode(name).decode()}:", *_value(rows, name)]
    parts += ["}", after]
    joined: pa.StringArray = pc.binary_join_element_wise(
        *_merged(parts), "", null_handling="replace", null_replacement="null"
    )
    return joined


def _value(rows: Rows, name: str) -> Iterator[Any]:
    """Yield the parts of one property's values. In a column, null stands for ``null``."""
    if name == ROW_NUMBER:
        yield rows.numbers.cast(pa.string())
    elif name == EXTRA:
        yield extra_texts(rows) if rows.extra else "null"
    elif name in rows.columns:
        column = rows.columns[name]
        if not rows.kinds[name].quoted:
            yield column
        elif column.null_count:
            quoted: list[Any] = ['"', escaped(column), '"', ""]
            yield pc.binary_join_element_wise(*quoted)
        else:
            yield '"'
            yield escaped(column)
            yield '"'
    else:
        yield encoder.encode(rows.constants.get(name)).decode()


def escaped(column: pa.StringArray) -> pa.StringArray:
    """Return text as it stands between the quotes of a JSON string."""
    if len(column) == column.null_count:
        return column
    data = content(column)
    text = data.to_pybytes()
    least = pc.min(pa.Array.from_buffers(pa.uint8(), data.size, [None, data])).as_py()
    if least is None or (least >= SPACE and b'"' not in text and b"\\" not in text):
        return column
    for character, escape in ESCAPES.items():
        if character.encode() in text:
            column = pc.replace_substring(column, character, escape)
    return column


def content(column: pa.StringArray) -> pa.Buffer:
    """Return all text of a column in one piece."""
    _, offsets, data = column.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(column) + 1, [None, offsets], offset=column.offset)
    begin, end = ends[0].as_py(), ends[-1].as_py()
    return pa.py_buffer(b"") if data is None else data.slice(begin, end - begin)


def _merged(parts: Sequence[Any]) -> Iterator[Any]:
    """Yield the parts with neighbouring constants joined: each part costs time for each row."""
    constant = ""
    for part in parts:
        if isinstance(part, str):
            constant += part
            continue
        if constant:
            yield constant
            constant = ""
        yield part
    if constant:
        yield constant
