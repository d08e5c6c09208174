"""Rows that are ready to be uploaded, by customer group and by their set of fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.fingerprints import in_order
from target_nudgescribe.rows import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.fingerprints import Hashing
    from target_nudgescribe.ledger import Ledger
    from target_nudgescribe.siblings import Siblings
    from target_nudgescribe.validation import Checked


@dataclass(frozen=True)
class Ready:
    """Rows that are right and that the ledger does not have, with one set of fields.

    Attributes:
        names: Profile fields, in the order of the lines' cells.
        lines: One CSV line a row.
        cells: The same as columns, by field.
        keys: Print of each row's key.
        prints: Print of each row.
        numbers: Number of each row in the stream.
        source: The rows as they were read.
    """

    names: tuple[str, ...]
    lines: pa.StringArray
    cells: pa.Table
    keys: NDArray[np.uint64]
    prints: NDArray[np.uint64]
    numbers: NDArray[np.int64]
    source: pa.Table

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def folded_keys(self, key: Sequence[str], hashing: Hashing) -> NDArray[np.uint64]:
        """Return :meth:`Hashing.folded_keys` of each row's key: the values of some fields."""
        return hashing.folded_keys([texts_of(self.cells, name) for name in key])

    def take(self, rows: NDArray[np.intp]) -> Ready:
        """Return some of the rows."""
        return replace(
            self,
            lines=taken(self.lines, rows),
            cells=taken(self.cells, rows),
            keys=self.keys[rows],
            prints=self.prints[rows],
            numbers=self.numbers[rows],
            source=taken(self.source, rows),
        )


@dataclass(frozen=True)
class Wanted:
    """A customer to be deleted.

    Attributes:
        folded: Hash of the key without regard to case and outer white space.
        number: Number of the row that says so; 0 when it is a missing row.
    """

    folded: int
    number: int = 0


@dataclass(frozen=True)
class Batch:
    """Rows that are uploaded together; those of each part have one set of fields.

    A row's place counts over all parts, in their order.
    """

    parts: tuple[Ready, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(map(len, self.parts))

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Print of each row's key: uint64, (n, 2)."""
        return _side_by_side([part.keys for part in self.parts])

    @property
    def prints(self) -> NDArray[np.uint64]:
        """Print of each row: uint64, (n, 2)."""
        return _side_by_side([part.prints for part in self.parts])

    def folded_keys(self, key: Sequence[str], hashing: Hashing) -> NDArray[np.uint64]:
        """:meth:`Hashing.folded_keys` of each row's key: uint64, (n,)."""
        return _side_by_side([part.folded_keys(key, hashing) for part in self.parts])

    @property
    def shapes(self) -> NDArray[np.intp]:
        """Number of each row's part: intp, (n,)."""
        return np.repeat(np.arange(len(self.parts)), [len(part) for part in self.parts])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each row's CSV line: int64, (n,)."""
        return _side_by_side([np.asarray(pc.binary_length(p.lines)) for p in self.parts])

    def take(self, rows: NDArray[np.intp]) -> list[Ready]:
        """Return some of the rows, in ascending order of their places, by part."""
        taken_parts, start = [], 0
        for part in self.parts:
            own = rows[(rows >= start) & (rows < start + len(part))] - start
            if len(own):
                taken_parts.append(part.take(own))
            start += len(part)
        return taken_parts

    def locate(self, row: int) -> tuple[Ready, int]:
        """Return the part that a row is in, and its place there."""
        for part in self.parts:
            if row < len(part):
                return part, row
            row -= len(part)
        raise IndexError


def _side_by_side(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


@dataclass
class GroupWork:
    """What waits for one customer group.

    Attributes:
        group_id: The group.
        ledger: What was sent to it.
        siblings: The other streams of the group.
        ready: Rows to be uploaded, by their set of fields.
        queued: Rows that the API says it will have, to be read back until they are there.
        doubted: Rows whose upload got no sound answer, to be read back once.
        doomed: Keys to be deleted, and what is known of each.
        deletes: How many customers this run was to delete so far.
        deleted: How many customers this run has deleted.
    """

    group_id: str
    ledger: Ledger
    siblings: Siblings
    ready: dict[tuple[str, ...], list[Ready]] = field(default_factory=dict)
    queued: list[Ready] = field(default_factory=list)
    doubted: list[Ready] = field(default_factory=list)
    doomed: dict[bytes, Wanted] = field(default_factory=dict)
    deletes: int = 0
    deleted: int = 0

    @property
    def rows(self) -> int:
        """How many rows wait to be uploaded."""
        return sum(len(part) for parts in self.ready.values() for part in parts)

    @property
    def bytes(self) -> int:
        """How many bytes they have."""
        return sum(part.lines.nbytes for parts in self.ready.values() for part in parts)

    def waits(self, keys: NDArray[np.uint64]) -> bool:
        """Say whether a row with one of these keys waits to be uploaded or confirmed."""
        return any(np.isin(keys[:, 0], part.keys[:, 0]).any() for part in self._parts)

    def waiting(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return for each key whether a row of it waits to be uploaded or confirmed."""
        found = np.zeros(len(keys), bool)
        for part in self._parts:
            found |= np.isin(keys[:, 0], part.keys[:, 0])
        return found

    @property
    def _parts(self) -> list[Ready]:
        return [*chain.from_iterable(self.ready.values()), *self.queued, *self.doubted]


def _indices(places: NDArray[np.intp]) -> pa.Int64Array:
    return pa.array(places, pa.int64())


def taken(values: Any, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 (an array or a table)
    """Return some rows; neighbours, as most often, without a copy."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return values.slice(int(rows[0]), len(rows))
    return values.take(_indices(rows))


def joined(parts: Sequence[Ready]) -> Ready:
    """Return several batches of one set of fields as one."""
    if len(parts) == 1:
        return parts[0]
    return Ready(
        parts[0].names,
        pa.concat_arrays([part.lines for part in parts]),
        pa.concat_tables([part.cells for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.prints for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        pa.concat_tables([part.source for part in parts]),
    )


def by_fields(
    checked: Checked, rows: NDArray[np.intp]
) -> list[tuple[tuple[str, ...], NDArray[np.intp]]]:
    """Part rows by the set of fields that they have."""
    names = tuple(checked.cells.column_names)
    if not checked.missing or not len(rows):
        return [(names, rows)] if len(rows) else []
    masks = np.stack([mask[rows] for mask in checked.missing.values()], axis=1)
    sets, place_of = np.unique(masks, axis=0, return_inverse=True)
    result = []
    for number, lacking in enumerate(sets):
        absent = {name for name, off in zip(checked.missing, lacking, strict=True) if off}
        present = tuple(name for name in names if name not in absent)
        result.append((present, rows[place_of.reshape(-1) == number]))
    return result


def last_of_each_key(
    checked: Checked, keys: NDArray[np.uint64], rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], Checked]:
    """Return the last row of each key; what it leaves alone comes from the rows before it."""
    order = rows[in_order(keys[rows, 0])]
    new = np.append(True, (keys[order[1:]] != keys[order[:-1]]).any(axis=1))
    if new.all():
        return rows, checked
    starts = np.flatnonzero(new)
    last = order[np.append(starts[1:], len(order)) - 1]
    if not checked.missing:
        return np.sort(last), checked
    cells, missing = checked.cells, dict(checked.missing)
    for name, lacking in checked.missing.items():
        given = np.maximum.reduceat(np.where(lacking[order], -1, np.arange(len(order))), starts)
        place_of = np.arange(cells.num_rows)
        place_of[last] = np.where(given < 0, last, order[given])
        column = texts_of(cells, name).take(_indices(place_of))
        cells = cells.set_column(cells.column_names.index(name), name, column)
        missing[name] = lacking[place_of]
    return np.sort(last), replace(checked, cells=cells, missing=missing)
