"""CSV as the API takes it: RFC 4180, UTF-8, one line a row."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.rows import bytes_of, holds_any

if TYPE_CHECKING:
    from collections.abc import Sequence

SPECIAL = '",\r\n'
"""What must stand in quotes. An empty text does too, so that it differs from null."""

LINE_END = "\r\n"

# Their stubs allow no scalars among the arrays.
_join: Any = pc.binary_join_element_wise
_choose: Any = pc.if_else
_fill: Any = pc.fill_null


def csv_lines(columns: Sequence[pa.StringArray]) -> pa.StringArray:
    """Return each row of some columns as a CSV line with its end; null is an empty cell."""
    cells = [_cells(column) for column in columns]
    if len(cells) == 1:
        cells = [_alone(cells[0])]
    cells[-1] = _join(cells[-1], LINE_END, "")
    lines: pa.StringArray = _join(*cells, ",")
    return lines


def csv_bytes(names: Sequence[str], lines: pa.StringArray) -> bytes:
    """Return a whole file: the header and some lines."""
    header = csv_lines([pa.array([name], pa.string()) for name in names])
    return b"".join([bytes_of(header)[0], bytes_of(lines)[0]])


def _cells(column: pa.StringArray) -> pa.StringArray:
    tests = [
        pc.match_substring(column, sign) for sign in SPECIAL if holds_any(column, sign.encode())
    ]
    if pc.min(pc.binary_length(column)).as_py() == 0:
        tests.append(pc.equal(column, pa.scalar("")))
    if tests:
        doubled = pc.replace_substring(column, '"', '""') if holds_any(column, b'"') else column
        column = pc.if_else(reduce(pc.or_, tests), _join('"', doubled, '"', ""), column)
    filled: pa.StringArray = _fill(column, "") if column.null_count else column
    return filled


def _alone(cells: pa.StringArray) -> pa.StringArray:
    """Return the cells of lines that have no other: one without anything would be no row."""
    blank: Any = pc.equal(cells, pa.scalar(""))
    filled: pa.StringArray = _choose(blank, pa.scalar('""'), cells)
    return filled
