"""CSV as the API takes it: RFC 4180, UTF-8, one line a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.rows import holds_any

if TYPE_CHECKING:
    from collections.abc import Sequence

SPECIAL = r'^$|[",\r\n]'
"""What must stand in quotes. An empty text does too, so that it differs from null."""

LINE_END = "\r\n"

# Their stubs allow no scalars among the arrays.
_join: Any = pc.binary_join_element_wise
_choose: Any = pc.if_else
_fill: Any = pc.fill_null


def csv_lines(columns: Sequence[pa.StringArray]) -> pa.StringArray:
    """Return each row of some columns as a CSV line without its end; null is an empty cell."""
    cells = [_cells(column) for column in columns]
    lines: pa.StringArray = _join(*cells, ",") if len(cells) > 1 else _alone(cells[0])
    return lines


def csv_bytes(names: Sequence[str], lines: pa.StringArray) -> bytes:
    """Return a whole file: the header and some lines."""
    header = csv_lines([pa.array([name], pa.string()) for name in names])
    whole = pa.concat_arrays([header, lines, pa.array([""])])
    # One list of all lines: joining it copies bytes and makes no Python object of a line.
    together: Any = pa.ListArray.from_arrays(pa.array([0, len(whole)], pa.int32()), whole)
    joined: Any = pc.binary_join(together, LINE_END)
    content: bytes = joined[0].as_buffer().to_pybytes()
    return content


def _cells(column: pa.StringArray) -> pa.StringArray:
    blank = pc.min(pc.binary_length(column)).as_py() == 0
    if blank or holds_any(column, b'",\r\n'):
        special = pc.match_substring_regex(column, SPECIAL)
        doubled = pc.replace_substring(column, '"', '""')
        column = pc.if_else(special, _join('"', doubled, '"', ""), column)
    filled: pa.StringArray = _fill(column, "") if column.null_count else column
    return filled


def _alone(cells: pa.StringArray) -> pa.StringArray:
    """Return lines of one cell: one without anything would be no row."""
    blank: Any = pc.equal(cells, pa.scalar(""))
    lines: pa.StringArray = _choose(blank, pa.scalar('""'), cells)
    return lines
