"""CSV as the API takes it: RFC 4180, UTF-8, one line a row."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.rows import bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SPECIAL = '",\r\n'
"""What must stand in quotes. An empty text does too, so that it differs from null."""

LINE_END = "\r\n"

# Their stubs allow no scalars among the arrays.
_join: Any = partial(pc.binary_join_element_wise, null_handling="replace", null_replacement="")
_choose: Any = pc.if_else


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
    content, places = bytes_of(column)
    signs = content.tobytes()
    tests = [pc.match_substring(column, sign) for sign in SPECIAL if sign.encode() in signs]
    if not np.diff(places).all():
        tests.append(pc.equal(column, pa.scalar("")))
    if not tests:
        return column
    marked: Any = reduce(pc.or_, tests).fill_null(False)  # noqa: FBT003 (a value)
    some = column.filter(marked)
    if b'"' in signs:
        some = pc.replace_substring(some, '"', '""')
    quoted: pa.StringArray = pc.replace_with_mask(column, marked, _join('"', some, '"', ""))
    return quoted


def _alone(cells: pa.StringArray) -> pa.StringArray:
    """Return the cells of lines that have no other: one without anything would be no row."""
    blank: Any = pc.equal(cells, pa.scalar("")).fill_null(True)  # noqa: FBT003 (a value)
    filled: pa.StringArray = _choose(blank, pa.scalar('""'), cells)
    return filled
