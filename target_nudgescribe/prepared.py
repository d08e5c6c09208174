"""What can be found out about rows without asking anybody, so that any thread may do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_nudgescribe.batches import taken
from target_nudgescribe.csv_lines import csv_lines
from target_nudgescribe.rows import texts_of
from target_nudgescribe.validation import Checked, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from target_nudgescribe.fingerprints import Hashing
    from target_nudgescribe.mapping import StreamMap
    from target_nudgescribe.rows import Rows


@dataclass(frozen=True)
class Printed:
    """Rows as they would be sent.

    Attributes:
        cells: Columns by profile field.
        lines: One CSV line a row.
        prints: Print of each line.
    """

    cells: pa.Table
    lines: pa.StringArray
    prints: NDArray[np.uint64]

    @classmethod
    def of(cls, cells: pa.Table, names: Sequence[str], hashing: Hashing) -> Printed:
        """Print the rows of a table under some of its columns."""
        lines = csv_lines([texts_of(cells, name) for name in names])
        return cls(cells.select(list(names)), lines, hashing.rows(lines, names))

    def take(self, rows: NDArray[np.intp]) -> Printed:
        """Return some of the rows."""
        return Printed(taken(self.cells, rows), taken(self.lines, rows), self.prints[rows])


@dataclass(frozen=True)
class Prepared:
    """Rows and everything that follows from them and the fields alone.

    Attributes:
        rows: As they were read.
        checked: As they would be sent, and what is wrong with them.
        keys: Print of each row's key.
        printed: All rows; None when they do not all have the same fields.
    """

    rows: Rows
    checked: Checked
    keys: NDArray[np.uint64]
    printed: Printed | None


def prepare(rows: Rows, mapped: StreamMap, hashing: Hashing) -> Prepared:
    """Check rows and print them."""
    checked = check(rows, mapped)
    cells = checked.cells
    keys = hashing.keys([texts_of(cells, name) for name in mapped.key])
    alike = not checked.missing and len(rows) > 0
    printed = Printed.of(cells, cells.column_names, hashing) if alike else None
    return Prepared(rows, checked, keys, printed)
