"""Read the column that says when a record was deleted: only a timestamp means deleted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.mapping import DELETED_COLUMN
from target_nudgescribe.rows import Rows, from_dicts, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

UNREADABLE = "unreadable_delete_marker"
"""Code of a marker that is neither a timestamp nor a way to say that there is none."""

YEARS = range(1971, 2100)
"""Years of a delete. Earlier and later ones stand for "never" in databases: 0001, 1970, 9999."""

_TIMESTAMP = re.compile(
    r"""
    (\d{4})-(\d\d)-(\d\d)                                   # 2026-01-31
    (?:[T\ ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d{1,12})?)?     # T23:59:59.999
    \ ?(?:Z|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?  # +02:00
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Markers:
    """What the delete markers of some rows say.

    Attributes:
        deleted: Which rows hold a timestamp: bool, one a row.
        unreadable: Which rows hold something that means neither deleted nor not: bool, one a row.
    """

    deleted: NDArray[np.bool_]
    unreadable: NDArray[np.bool_]


def is_timestamp(text: str) -> bool:
    """Return whether a text is a date or a time of ISO 8601 at which something was deleted.

    Numbers are not: nobody can say whether one counts seconds, milliseconds, or customers.
    """
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        return False
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 (the zone does not matter)
    except ValueError:
        return False
    return moment.year in YEARS


def read_markers(rows: Rows, *, all_deleted: bool = False) -> Markers:
    """Return which rows are deleted, by the column ``_sdc_deleted_at``.

    Null, a blank and false mean that a row is not deleted.

    Args:
        rows: Any rows; they may lack the column.
        all_deleted: Whether every row names a customer to delete, as with ``mode: delete``. A null
            or blank marker says nothing then. False, and what cannot be read, contradict the mode
            and are unreadable.
    """
    count = len(rows)
    deleted, unreadable = np.full(count, all_deleted), np.zeros(count, bool)
    if DELETED_COLUMN not in rows.table.column_names:
        return Markers(deleted, unreadable)
    texts = texts_of(rows.table, DELETED_COLUMN)
    faults = list(rows.faults.get(DELETED_COLUMN, ()))
    if texts.null_count < count:
        # Most rows are not deleted, and many that are were deleted at the same time.
        encoded: Any = texts.dictionary_encode()
        places = np.asarray(pc.fill_null(encoded.indices, pa.scalar(-1, pa.int32())))
        kinds = [_kind(text) for text in encoded.dictionary.to_pylist()]
        is_marked = np.array([*(kind == "deleted" for kind in kinds), False])
        is_unreadable = np.array(
            [*(kind == "unreadable" or (all_deleted and kind == "false") for kind in kinds), False]
        )
        deleted |= is_marked[places]
        unreadable |= is_unreadable[places]
    unreadable[faults] = True
    return Markers(deleted & ~unreadable, unreadable)


def read_marker(record: Mapping[str, Any], *, all_deleted: bool = False) -> Markers:
    """Return the same for one record."""
    return read_markers(from_dicts([DELETED_COLUMN], [record], 1), all_deleted=all_deleted)


def _kind(text: str) -> str:
    plain = text.strip().lower()
    if plain in {"", "false"}:
        return plain
    return "deleted" if is_timestamp(plain) else "unreadable"
