"""What was sent for which key: prints and verdicts of all keys of one group and stream."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tap_nudgescribe.errors import NudgescribeError
from target_nudgescribe.fingerprints import in_order
from target_nudgescribe.storage import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.storage import Storage

SENT, REJECTED, DELETED, UNCERTAIN, OUTDATED, SEEDED, CLAIMED, RELEASED = 1, 2, 3, 4, 5, 6, 7, 8
"""Status of a key; 0 is a key that the ledger does not know.

An outdated one was sent, and a later row of it was rejected: the account still has the earlier one.
A seeded one was read from the account: it is there, and nobody knows who sent it. A claimed one was
seeded, and the stream has the same row for it. A released one has left the stream while another
stream of the group contained it.
"""

PRESENT = (SENT, OUTDATED, SEEDED, CLAIMED)
"""Statuses of a key that the account has."""

UNCHANGED_STATUSES = (SENT, SEEDED, CLAIMED)
"""Statuses of a key whose row the account has as the entry says."""

ENTRY = np.dtype(
    [
        ("key", "<u8"),
        ("key_2", "<u8"),
        ("row", "<u8"),
        ("row_2", "<u8"),
        ("folded", "<u8"),
        ("definitions", "<u4"),
        ("time", "<u4"),
        ("batch", "<u4"),
        ("status", "u1"),
        ("code", "u1"),
        ("ours", "?"),
        ("seen", "?"),
    ]
)
"""One key: its print, the print of its row, and how that ended.

``folded`` is :meth:`Hashing.folded_keys` of the key. ``ours`` says whether an upload of this
ledger's stream was once confirmed for the key, and the customer was not deleted since: only such
customers may be deleted because they are missing. ``seen`` says whether this run has met the key;
it is not kept.
"""

_BYTES = np.dtype(f"V{ENTRY.itemsize}")
"""An entry as mere bytes: NumPy copies fields one by one, and bytes many times as fast."""

_KEPT = [name for name in ENTRY.names or () if name != "seen"]

_SCHEMA = pa.schema([(name, pa.from_numpy_dtype(ENTRY[name])) for name in _KEPT])

MOST_CODES = 255

FILTER_BITS = 24
"""First bits of a print, at most, by which most unknown keys are told without a search."""

FILTER_ROOM = 16
"""Places of the filter, at least, for each key, up to the most bits."""

MOST_ALIKE = 4
"""Segments of like size that are searched one after the other before they become one."""

AT_ONCE = 25_000
"""Entries that are copied at once."""


LISTING = "ledger.json"
"""The file that says what a ledger describes and which of its files hold."""

LEFTOVERS = ("base-0.parquet", "base-1.parquet", "delta-0-0.parquet", "delta-1-0.parquet")
"""Files that a ledger cannot have without :data:`LISTING`, unless that was lost."""

VERSION = 1
"""Of the form of the files. A ledger of another version is refused."""


@dataclass(frozen=True, kw_only=True)
class LedgerOwner:
    """What a ledger describes: it holds for one account at one address, and for one hash key.

    Attributes:
        hash_check: :attr:`Hashing.check_value` of the key that its hashes were made with.
        api: Host, port and path of the API.
        account: The account's id.

    What is empty is not known, and is not compared.
    """

    hash_check: str = ""
    api: str = ""
    account: str = ""

    def check(self, found: Mapping[str, str], uri: str) -> None:
        """Make sure that a ledger may be used.

        Args:
            found: What the ledger says of itself, as :meth:`asdict`.
            uri: Its place.

        Raises:
            LedgerMismatchError: when it describes something else.
        """
        if self.hash_check and self.hash_check != found["hash_check"]:
            problem = f"The ledger at {uri} was written with another hash_key, or without one"
            advice = (
                "Set the hash_key that it was written with. To change the key, set another "
                "state_uri and run with --seed-ledger."
            )
            raise LedgerMismatchError(problem, advice=advice)
        for name, here in (("api", self.api), ("account", self.account)):
            there = found[name]
            if here and there and here != there:
                problem = (
                    f"The ledger at {uri} describes the {name} {there}, and this run is for "
                    f"{here}: what it calls sent is not there"
                )
                advice = (
                    "Set another state_uri for each account. If this is the same account, remove "
                    "the ledger's folder: all rows are then sent again."
                )
                raise LedgerMismatchError(problem, advice=advice)


ANY_OWNER = LedgerOwner()


class LedgerMismatchError(NudgescribeError):
    """A ledger describes another account, or was written in another way; nothing was sent."""

    exit_code = 4


@dataclass(frozen=True)
class _Segment:
    """Entries in the order of their keys, with the keys once more side by side for the search."""

    keys: NDArray[np.uint64]
    entries: NDArray[np.void]

    @classmethod
    def of(cls, entries: NDArray[np.void]) -> _Segment:
        keys = np.ascontiguousarray(entries["key"])
        if len(keys) > 1 and not (keys[:-1] < keys[1:]).all():
            # The last entry of a key is the one that holds.
            order = in_order(keys)
            keys = keys[order]
            last = np.append(keys[:-1] != keys[1:], True)
            entries, keys = _chosen(entries, order[last]), keys[last]
        return cls(keys, entries)

    @classmethod
    def joined(cls, parts: Sequence[NDArray[np.void]]) -> _Segment:
        """Return entries of several segments, the older ones first, as one."""
        parts = [part for part in parts if len(part)] or [np.zeros(0, ENTRY)]
        if len(parts) == 1:
            return cls.of(parts[0])
        return cls.of(np.concatenate([part.view(_BYTES) for part in parts]).view(ENTRY))

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
    ``ledger.json`` is there before all of them. It names the base that holds, and each delta the
    generation of the base that it follows. Each is replaced as a whole, so that a run that dies at
    any moment leaves the last checkpoint. Names are used again, so that nothing piles up.

    Args:
        storage: The ledger's own folder.
        owner: What the ledger must describe.
        writable: Whether what is recorded is kept, and not in memory alone.
        hold: Called before each write; raises when another run may write here.
    """

    def __init__(
        self,
        storage: Storage,
        owner: LedgerOwner = ANY_OWNER,
        *,
        writable: bool = True,
        hold: Callable[[], object] = lambda: None,
    ) -> None:
        """Read the ledger.

        Raises:
            StorageError: when it is damaged or cannot be read.
            LedgerMismatchError: when it describes something else.
        """
        self._storage = storage
        self._owner = owner
        self._writable = writable
        self.hold = hold
        self._base = _Segment.of(np.zeros(0, ENTRY))
        self._filter = np.zeros(2**10, bool)
        self._fresh: list[_Segment] = []
        # Deltas that are left of an earlier ledger in the same place are of another generation.
        self._generation = int(time.time())
        self._listed = False
        self._deltas = 0
        self.codes: list[str] = [""]
        self.keys: set[tuple[str, ...]] = set()
        """Fields by which customers were found: one tuple, unless the identifier has changed."""
        self.fields: set[str] = set()
        """Fields that were ever sent; none in a file of an earlier version."""
        self.earliest = 0
        """No entry of this run is older, whatever the machine's clock says: Unix time."""
        self._has_news = False
        self.lost = False
        """Whether files that the ledger needs are gone: nothing is known then."""
        try:
            self._load()
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            problem = f"The ledger at {storage.uri} is damaged ({type(error).__name__})"
            advice = "Restore it, or remove its folder: everything is then sent again."
            raise StorageError(problem, advice=advice) from None

    def find(self, keys: NDArray[np.uint64], *, mark: bool = True) -> NDArray[np.void]:
        """Return the entry of each key, of status 0 for an unknown one, and mark it as seen."""
        found = np.zeros(len(keys), ENTRY)
        todo = np.flatnonzero(self._filter[self._places(keys[:, 0])])
        # A search in order finds its way in the processor's cache.
        todo = todo[np.argsort(keys[todo, 0])]
        for segment in [self._base, *reversed(self._fresh)]:
            if not len(todo):
                break
            places, same = segment.find(keys[todo])
            found.view(_BYTES)[todo[same]] = segment.entries.view(_BYTES)[places[same]]
            if mark:
                segment.entries["seen"][places[same]] = True
            todo = todo[~same]
        return found

    def intend(self, keys: NDArray[np.uint64]) -> None:
        """Make durable that keys which are known may soon hold something else in the account.

        If the run dies before :meth:`record`, the next one sends their rows whatever they are.

        Raises:
            LockedError: when another run has taken the ledger.
        """
        self.hold()
        known = keys[self.find(keys)["status"] != 0]
        if self._writable and len(known):
            self._write_delta(self._with_history(new_entries(known, known, UNCERTAIN)))

    def record(self, entries: NDArray[np.void]) -> None:
        """Make the outcome of some keys durable: when this returns, it is.

        A key that comes twice keeps its last entry.
        """
        if not len(entries):
            return
        segment = self._with_history(entries)
        if self._writable:
            self.hold()
            self._write_delta(segment)
            self._deltas += 1
        self._take_in(segment)

    def _with_history(self, entries: NDArray[np.void]) -> _Segment:
        """Return entries that keep what was known of their keys before.

        A key that was once confirmed as sent stays so, however a later upload ends, until its
        customer is deleted.
        """
        segment = _Segment.of(entries)
        entries = segment.entries
        before = self.find(np.stack([entries["key"], entries["key_2"]], axis=1))
        entries["ours"] |= before["ours"] & ~np.isin(entries["status"], (DELETED, RELEASED))
        entries["time"] = np.maximum(entries["time"], self.earliest)
        entries["folded"] = np.where(entries["folded"], entries["folded"], before["folded"])
        return segment

    def _write_delta(self, segment: _Segment) -> None:
        if not self._listed:
            self._write_listing()
        told = {
            "generation": str(self._generation),
            "codes": json.dumps(self.codes),
            "facts": json.dumps(self._facts),
        }
        with self._storage.writing(self._delta_name(self._deltas)) as file:
            _write(file, [segment.entries], told)

    def code(self, name: str) -> int:
        """Return the number of a reason's code."""
        if name not in self.codes:
            if len(self.codes) > MOST_CODES - 1:
                name = "other"
            if name not in self.codes:
                self.codes.append(name)
        return self.codes.index(name)

    def unseen(self) -> NDArray[np.void]:
        """Return the entries of keys that the account has from here and that this run has not met.

        What is uncertain may be there, too, if an earlier upload of it was confirmed: a later one
        without an answer, or a delete that a run began and did not live to record.
        """
        return self._select(lambda part: part["ours"] & ~part["seen"])

    def _select(self, mask: Callable[[NDArray[np.void]], NDArray[np.bool_]]) -> NDArray[np.void]:
        """Return the entries that a mask chooses; it is given some of them at a time."""
        parts = [_chosen(part, np.flatnonzero(mask(part))) for part in self._in_order()]
        return _Segment.joined(parts).entries

    def unseen_of_others(self) -> int:
        """Return how many keys the account has or may have, not from here, that were not met."""
        present = SEEDED, CLAIMED, UNCERTAIN
        return sum(
            int((np.isin(part["status"], present) & ~part["ours"] & ~part["seen"]).sum())
            for part in self._in_order()
        )

    def release_unseen_of_others(self) -> None:
        """Note that the stream no longer contains the keys, not from here, that were not met."""
        held = CLAIMED, UNCERTAIN, REJECTED
        entries = self._select(
            lambda part: np.isin(part["status"], held) & ~part["ours"] & ~part["seen"]
        )
        was_rejected = entries["status"] == REJECTED
        for name in ("row", "row_2"):
            entries[name] = np.where(entries["status"] == CLAIMED, entries[name], 0)
        entries["status"] = np.where(was_rejected, RELEASED, SEEDED)
        self.record(entries)

    @property
    def size(self) -> int:
        """How many keys there are, at most."""
        return sum(len(segment.keys) for segment in self._segments)

    @property
    def latest(self) -> int:
        """When the last entry was made: Unix time; 0 without entries."""
        times = [
            int(segment.entries["time"].max()) for segment in self._segments if segment.keys.size
        ]
        return max(times, default=0)

    def describe(self, key: Iterable[str], fields: Iterable[str]) -> None:
        """Note the fields by which a stream finds customers, and those that it sends."""
        before = len(self.keys), len(self.fields)
        self.keys.add(tuple(key))
        self.fields.update(fields)
        self._has_news |= before != (len(self.keys), len(self.fields))

    @property
    def _facts(self) -> dict[str, Any]:
        return {"keys": sorted(map(list, self.keys)), "fields": sorted(self.fields)}

    def _learn(self, facts: Mapping[str, Any]) -> None:
        self.keys |= {tuple(key) for key in facts.get("keys", ())}
        self.fields |= set(facts.get("fields", ()))

    def present(self) -> int:
        """Return how many customers the account has, as far as the ledger knows."""
        return sum(int(np.isin(part["status"], PRESENT).sum()) for part in self._in_order())

    def present_entries(self) -> NDArray[np.void]:
        """Return the entries of the customers that the account has, as far as it knows."""
        return self._select(lambda part: np.isin(part["status"], PRESENT))

    def mark_absent(self) -> int:
        """Record that the account does not have the customers that this run has not met.

        Returns:
            How many of them the ledger had taken for present.
        """
        there = (*PRESENT, UNCERTAIN)
        gone = self._select(lambda part: np.isin(part["status"], there) & ~part["seen"])
        keys = np.stack([gone["key"], gone["key_2"]], axis=1)
        self.record(new_entries(keys, keys, DELETED))
        return len(gone)

    def forget(self, keys: NDArray[np.uint64]) -> int:
        """Remove the entries of keys, and all files that may hold them; return how many there were.

        Args:
            keys: ``uint64, (n, 2)``.

        Raises:
            StorageError: when files cannot be written or removed. A second call makes that good.
        """
        wanted = {key.tobytes() for key in keys}
        parts, found = [], 0
        for part in self._in_order():
            both = np.stack([part["key"], part["key_2"]], axis=1)
            kept = np.array([key.tobytes() not in wanted for key in both], bool)
            found += int((~kept).sum())
            parts.append(_chosen(part, np.flatnonzero(kept)))
        if found:
            self._base, self._fresh = _Segment.joined(parts), []
            self._deltas = max(self._deltas, 1)
            self.compact()
        if self._listed:
            self._remove_outdated()
        return found

    def _remove_outdated(self) -> None:
        """Remove the files that do not hold any more: their names would be used again."""
        for file in list(self._storage.files()):
            outdated = file.name.startswith("base-") and file.name != self._base_name()
            if outdated or (file.name.startswith("delta-") and not self._deltas):
                self._storage.remove(file.name)

    def compact(self) -> None:
        """Write one base instead of base and deltas."""
        if not self._writable or not (self._deltas or (self._has_news and len(self._base.keys))):
            return
        self.hold()
        self._generation += 1
        with self._storage.writing(self._base_name()) as file:
            _write(file, self._in_order(), {"generation": str(self._generation)})
        self._deltas, self._has_news = 0, False
        self._write_listing(base=True)

    def _write_listing(self, *, base: bool = False) -> None:
        told = {
            "version": VERSION,
            "owner": asdict(self._owner),
            "generation": self._generation,
            "base": base,
            "codes": self.codes,
            "facts": self._facts,
        }
        self._storage.write(LISTING, json.dumps(told).encode())
        self._listed = True

    @property
    def _segments(self) -> list[_Segment]:
        """All segments, the older ones first."""
        return [self._base, *self._fresh]

    def _in_order(self) -> Iterator[NDArray[np.void]]:
        """Yield all entries in the order of their keys, not too many at once."""
        segments = self._segments
        number = max(1, sum(len(segment.keys) for segment in segments) // AT_ONCE)
        # Keys are prints: equal parts of their range hold about as many.
        bounds = np.array([(part << 64) // number for part in range(1, number)], np.uint64)
        places = [
            [0, *np.searchsorted(segment.keys, bounds).tolist(), len(segment.keys)]
            for segment in segments
        ]
        for part in range(number):
            yield _Segment.joined(
                [
                    segment.entries[place[part] : place[part + 1]]
                    for segment, place in zip(segments, places, strict=True)
                ]
            ).entries

    def _take_in(self, segment: _Segment) -> None:
        """Change the entries of known keys in place, and keep new ones beside the base."""
        both = np.stack([segment.keys, segment.entries["key_2"]], axis=1)
        places, same = self._base.find(both)
        known = _chosen(segment.entries, np.flatnonzero(same))
        self._base.entries.view(_BYTES)[places[same]] = known.view(_BYTES)
        if not same.all():
            new = np.flatnonzero(~same)
            self._fresh.append(_Segment(segment.keys[new], _chosen(segment.entries, new)))
            self._mark(self._fresh[-1])
        # Some segments of like size become one, so that there are few, and each is copied rarely.
        while len(alike := self._fresh[-MOST_ALIKE:]) == MOST_ALIKE:
            if len(alike[0].keys) >= 2 * len(alike[-1].keys):
                break
            self._fresh[-MOST_ALIKE:] = [_Segment.joined([part.entries for part in alike])]

    def _mark(self, segment: _Segment) -> None:
        """Let the filter pass the keys of a new segment; it grows with them."""
        marked, segments = [segment], self._segments
        number = sum(len(each.keys) for each in segments)
        if len(self._filter) < min(number * FILTER_ROOM, 2**FILTER_BITS):
            bits = (4 * number * FILTER_ROOM).bit_length()
            self._filter = np.zeros(2 ** min(bits, FILTER_BITS), bool)
            marked = segments
        for each in marked:
            self._filter[self._places(each.keys)] = True

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return where the filter tells of keys: by their first bits."""
        bits = len(self._filter).bit_length() - 1
        return (keys >> np.uint64(64 - bits)).astype(np.intp)

    def _load(self) -> None:
        """Read the base and the deltas that hold.

        When a run died between an intent and its outcome, the last delta is that intent. Files
        that are missing are noted in ``lost``: nothing of the ledger is believed then.
        """
        listing = self._storage.read(LISTING)
        if listing is None:
            self.lost = any(map(self._storage.exists, LEFTOVERS))
            return
        told: dict[str, Any] = json.loads(listing)
        if told.get("version") != VERSION:
            problem = f"The ledger at {self._storage.uri} was written by another version"
            advice = "Set another state_uri and run with --seed-ledger, or use that version."
            raise LedgerMismatchError(problem, advice=advice)
        self._owner.check(told["owner"], self._storage.uri)
        self._generation, self.codes, self._listed = told["generation"], told["codes"], True
        self._learn(told["facts"])
        if told["base"] and not self._load_base():
            self._lose()
            return
        while (file := self._storage.open(self._delta_name(self._deltas))) is not None:
            entries, told = _read(file)
            if int(told["generation"]) != self._generation:
                break
            self.codes = json.loads(told["codes"])
            self._learn(json.loads(told.get("facts", "{}")))
            self._take_in(_Segment.of(entries))
            self._deltas += 1
        following = self._storage.open(self._delta_name(self._deltas + 1))
        if following is not None and int(_read(following)[1]["generation"]) == self._generation:
            self._lose()

    def _load_base(self) -> bool:
        """Read the base, and return whether the one that is there is the one that holds."""
        file = self._storage.open(self._base_name())
        if file is None:
            return False
        entries, told = _read(file)
        if told.get("generation") != str(self._generation):
            return False
        self._base = _Segment.of(entries)
        self._mark(self._base)
        return True

    def _lose(self) -> None:
        """Believe nothing of what was read, and begin a new ledger."""
        self.lost = True
        self._base, self._fresh = _Segment.of(np.zeros(0, ENTRY)), []
        self._filter = np.zeros(2**10, bool)
        self._generation, self._deltas, self._listed = self._generation + 2, 0, False
        self._generation = max(self._generation, int(time.time()))

    def _base_name(self) -> str:
        return f"base-{self._generation % 2}.parquet"

    def _delta_name(self, number: int) -> str:
        return f"delta-{self._generation % 2}-{number}.parquet"


def is_kept(storage: Storage) -> bool:
    """Say whether there is a ledger in a folder, or files that are left of one."""
    return any(map(storage.exists, (LISTING, *LEFTOVERS)))


def new_entries(  # noqa: PLR0913 (what an entry is made of)
    keys: NDArray[np.uint64],
    rows: NDArray[np.uint64],
    status: NDArray[np.uint8] | int,
    *,
    definitions: int = 0,
    batch: int = 0,
    codes: NDArray[np.uint8] | int = 0,
    folded: NDArray[np.uint64] | int = 0,
) -> NDArray[np.void]:
    """Return entries of keys that this run has met, as of now."""
    entries = np.zeros(len(keys), ENTRY)
    entries["key"], entries["key_2"] = keys[:, 0], keys[:, 1]
    entries["row"], entries["row_2"] = rows[:, 0], rows[:, 1]
    entries["definitions"], entries["batch"] = definitions, batch
    entries["time"], entries["status"], entries["code"] = int(time.time()), status, codes
    entries["folded"] = folded
    entries["ours"] = entries["status"] == SENT
    entries["seen"] = True
    return entries


def _chosen(entries: NDArray[np.void], places: NDArray[np.intp]) -> NDArray[np.void]:
    """Return the entries at some places."""
    return entries.view(_BYTES)[places].view(ENTRY)


def _write(file: IO[bytes], parts: Iterable[NDArray[np.void]], told: Mapping[str, str]) -> None:
    # Prints do not compress, and everything else is little, or the same for almost all keys.
    schema = _SCHEMA.with_metadata(dict(told))
    alike: Any = ["folded", "ours"]  # its stub knows no lists
    with pq.ParquetWriter(
        file, schema, compression="none", use_dictionary=alike, write_statistics=False
    ) as writer:
        for entries in parts:
            columns = [pa.array(np.ascontiguousarray(entries[name])) for name in _KEPT]
            writer.write_table(pa.table(columns, schema=schema))


def _read(file: IO[bytes]) -> tuple[NDArray[np.void], dict[str, str]]:
    # Buffering ahead would hold the whole file.
    with file, pq.ParquetFile(file, pre_buffer=False) as parquet:
        entries = np.zeros(parquet.metadata.num_rows, ENTRY)
        start = 0
        for batch in parquet.iter_batches(AT_ONCE):
            end = start + batch.num_rows
            for name in _KEPT:
                entries[name][start:end] = batch.column(name).to_numpy(zero_copy_only=False)
            start = end
        told = parquet.schema_arrow.metadata or {}
    return entries, {name.decode(): value.decode() for name, value in told.items()}
