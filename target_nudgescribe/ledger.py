"""What was sent for which key: prints and verdicts of all keys of one group and stream."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from target_nudgescribe.storage import Storage

SENT, REJECTED, DELETED, UNCERTAIN = 1, 2, 3, 4
"""Status of a key; 0 is a key that the ledger does not know."""

ENTRY = np.dtype(
    [
        ("key", "<u8"),
        ("key_2", "<u8"),
        ("row", "<u8"),
        ("row_2", "<u8"),
        ("definitions", "<u4"),
        ("time", "<u4"),
        ("batch", "<u4"),
        ("status", "u1"),
        ("code", "u1"),
        ("seen", "?"),
    ]
)
"""One key: its print, the print of its row, and how that ended.

``seen`` says whether this run has met the key; it is not kept.
"""

_KEPT = [name for name in ENTRY.names or () if name != "seen"]

MOST_CODES = 255


@dataclass(frozen=True)
class _Segment:
    """Entries in the order of their keys, with the keys once more side by side for the search."""

    keys: NDArray[np.uint64]
    entries: NDArray[np.void]

    @classmethod
    def of(cls, entries: NDArray[np.void]) -> _Segment:
        keys = np.ascontiguousarray(entries["key"])
        if len(keys) > 1 and not (keys[:-1] < keys[1:]).all():
            # A stable sort keeps the order of time; the last entry of a key is the one that holds.
            order = np.argsort(keys, kind="stable")
            entries, keys = entries[order], keys[order]
            last = np.append(keys[:-1] != keys[1:], True)
            entries, keys = entries[last], keys[last]
        return cls(keys, entries)

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where each key would be, and whether it is there."""
        places = np.searchsorted(self.keys, keys[:, 0])
        places[places == len(self.keys)] = 0
        if not len(self.keys):
            return places, np.zeros(len(keys), bool)
        same = (self.keys[places] == keys[:, 0]) & (self.entries["key_2"][places] == keys[:, 1])
        return places, same


class Ledger:
    """The entries of one workspace, group and stream, in memory and at a URI.

    On storage there is a base, sorted by key, and a delta for each checkpoint since. The file
    ``ledger.json`` names those that hold; it is replaced as a whole, so that a run that dies at
    any moment leaves the last checkpoint. Names are used again, so that nothing piles up.

    Args:
        storage: The ledger's own folder.
        writable: Whether what is recorded is kept, and not in memory alone.
    """

    def __init__(self, storage: Storage, *, writable: bool = True) -> None:
        """Read the ledger."""
        self._storage = storage
        self._writable = writable
        self._segments: list[_Segment] = []
        self._generation = 0
        self._based = False
        self._deltas = 0
        self.codes: list[str] = [""]
        self.lost = False
        """Whether files that the ledger needs are gone: nothing is known then."""
        self._load()

    def __len__(self) -> int:
        """Return an upper bound of the number of keys."""
        return sum(len(segment.keys) for segment in self._segments)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.void]:
        """Return the entry of each key, of status 0 for an unknown one, and mark it as seen."""
        found = np.zeros(len(keys), ENTRY)
        todo = np.arange(len(keys))
        for segment in reversed(self._segments):
            if not len(todo):
                break
            places, same = segment.find(keys[todo])
            found[todo[same]] = segment.entries[places[same]]
            segment.entries["seen"][places[same]] = True
            todo = todo[~same]
        return found

    def intend(self, keys: NDArray[np.uint64]) -> None:
        """Make durable that keys which are known may soon hold something else in the account.

        If the run dies before :meth:`record`, the next one sends their rows whatever they are.
        """
        known = keys[self.find(keys)["status"] != 0]
        if self._writable and len(known):
            doubtful = new_entries(known, known, UNCERTAIN)
            self._write_delta(_Segment.of(doubtful), self._deltas)

    def record(self, entries: NDArray[np.void]) -> None:
        """Make the outcome of some keys durable: when this returns, it is.

        A key that comes twice keeps its last entry.
        """
        if not len(entries):
            return
        segment = _Segment.of(entries)
        if self._writable:
            self._write_delta(segment, self._deltas)
            self._deltas += 1
        self._add(segment)

    def _write_delta(self, segment: _Segment, number: int) -> None:
        self._storage.write(self._delta_name(number), _encode(segment.entries))
        self._commit(number + 1)

    def code(self, name: str) -> int:
        """Return the number of a reason's code."""
        if name not in self.codes:
            if len(self.codes) > MOST_CODES - 1:
                name = "other"
            if name not in self.codes:
                self.codes.append(name)
        return self.codes.index(name)

    def unseen(self) -> NDArray[np.void]:
        """Return the entries of keys that were sent and that this run has not met."""
        entries = self._merged()
        unseen: NDArray[np.void] = entries[(entries["status"] == SENT) & ~entries["seen"]]
        return unseen

    def sent(self) -> int:
        """Return how many keys are in the account because of this ledger."""
        return int((self._merged()["status"] == SENT).sum())

    def compact(self) -> None:
        """Write one base instead of base and deltas."""
        if not self._writable or not self._deltas:
            return
        entries = self._merged()
        self._generation += 1
        self._storage.write(self._base_name(), _encode(entries))
        self._based, self._deltas = True, 0
        self._commit(0)

    def _add(self, segment: _Segment) -> None:
        """Add a segment; segments of like size become one, so that there are few."""
        self._segments.append(segment)
        while len(self._segments) > 1 and len(self._segments[-2].keys) < 2 * len(
            self._segments[-1].keys
        ):
            newer, older = self._segments.pop(), self._segments.pop()
            merged = np.concatenate([older.entries, newer.entries])
            self._segments.append(_Segment.of(merged))

    def _merged(self) -> NDArray[np.void]:
        if len(self._segments) > 1:
            merged = np.concatenate([segment.entries for segment in self._segments])
            self._segments = [_Segment.of(merged)]
        return self._segments[0].entries if self._segments else np.zeros(0, ENTRY)

    def _load(self) -> None:
        """Read the base and the deltas that hold.

        When a run died between an intent and its outcome, the last delta is that intent.
        """
        listing = self._storage.read("ledger.json")
        if listing is None:
            return
        told: dict[str, Any] = json.loads(listing)
        self._generation, self._deltas = told["generation"], told["deltas"]
        self._based = told["based"]
        self.codes = told["codes"]
        for entries in self._files():
            if entries is None:
                self._segments, self.codes, self.lost = [], [""], True
                self._generation, self._based, self._deltas = self._generation + 1, False, 0
                return
            self._add(_Segment.of(entries))

    def _files(self) -> Iterator[NDArray[np.void] | None]:
        names = [self._delta_name(number) for number in range(self._deltas)]
        if self._based:
            names.insert(0, self._base_name())
        for name in names:
            content = self._storage.read(name)
            yield None if content is None else _decode(content)

    def _commit(self, deltas: int) -> None:
        told = {
            "generation": self._generation,
            "based": self._based,
            "deltas": deltas,
            "codes": self.codes,
        }
        self._storage.write("ledger.json", json.dumps(told).encode())

    def _base_name(self) -> str:
        return f"base-{self._generation % 2}.parquet"

    def _delta_name(self, number: int) -> str:
        return f"delta-{self._generation % 2}-{number}.parquet"


def new_entries(  # noqa: PLR0913 (what an entry is made of)
    keys: NDArray[np.uint64],
    rows: NDArray[np.uint64],
    status: NDArray[np.uint8] | int,
    *,
    definitions: int = 0,
    batch: int = 0,
    codes: NDArray[np.uint8] | int = 0,
) -> NDArray[np.void]:
    """Return entries of keys that this run has met, as of now."""
    entries = np.zeros(len(keys), ENTRY)
    entries["key"], entries["key_2"] = keys[:, 0], keys[:, 1]
    entries["row"], entries["row_2"] = rows[:, 0], rows[:, 1]
    entries["definitions"], entries["batch"] = definitions, batch
    entries["time"], entries["status"], entries["code"] = int(time.time()), status, codes
    entries["seen"] = True
    return entries


def _encode(entries: NDArray[np.void]) -> bytes:
    table = pa.table({name: pa.array(np.ascontiguousarray(entries[name])) for name in _KEPT})
    sink = io.BytesIO()
    # Prints do not compress; the rest is few different values.
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    return sink.getvalue()


def _decode(content: bytes) -> NDArray[np.void]:
    table = pq.read_table(pa.BufferReader(content))
    entries = np.zeros(table.num_rows, ENTRY)
    for name in _KEPT:
        entries[name] = table.column(name).to_numpy()
    return entries
