"""Other streams that send to the same customer group: who else contains a customer, and wrote it.

Each stream has a ledger of its own. A stream that is about to delete a customer, or to leave one
alone as unchanged, looks into those of the others. It costs a listing of the group's folder, and
reading the ledgers found there; a group of one stream costs the listing alone.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np

from target_nudgescribe import ledger as books
from target_nudgescribe.ledger import is_kept
from target_nudgescribe.lock import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.batches import GroupWork
    from target_nudgescribe.ledger import Ledger
    from target_nudgescribe.storage import Storage

CLAIMS = (books.SENT, books.REJECTED, books.UNCERTAIN, books.OUTDATED, books.CLAIMED)
"""Statuses of a key that is in a stream's table, as far as that stream's ledger tells."""

WRITES = (books.SENT, books.OUTDATED)
"""Statuses of a key whose fields a stream has written."""

REMOVALS = (books.DELETED, books.UNCERTAIN)
"""Statuses of a key whose customer a stream has removed or may have removed."""


@dataclass(frozen=True)
class Sibling:
    """Another stream of a group.

    Attributes:
        name: The stream.
        ledger: What it has sent to the group.
        work: What it is about to send, if it is a stream of this run.
    """

    name: str
    ledger: Ledger
    work: GroupWork | None = None

    def claims(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which customers the stream contains: bool, one a key."""
        claimed: NDArray[np.bool_] = np.isin(self.ledger.find(keys, mark=False)["status"], CLAIMS)
        if self.work:
            claimed |= self.work.waiting(keys)
            # It is about to delete them, too.
            claimed &= ~np.array([key.tobytes() in self.work.doomed for key in keys], bool)
        return claimed


class Siblings:
    """The other streams of a group.

    Args:
        group: The folder of the group's ledgers.
        own: Name of this stream's folder there.
        in_run: Returns what the streams of this run are about to send to the group, by folder.
        read: Opens a ledger to be read only.
        run_id: Names this run.
        writable: Whether locks may be taken.

    Attributes:
        own: Name of this stream's folder.
    """

    def __init__(  # noqa: PLR0913 (what there is to know)
        self,
        group: Storage,
        own: str,
        in_run: Callable[[], Mapping[str, GroupWork]],
        read: Callable[[Storage], Ledger],
        *,
        run_id: str,
        writable: bool,
    ) -> None:
        """Read nothing yet."""
        self._group = group
        self.own = own
        self._in_run = in_run
        self._read = read
        self._run_id = run_id
        self._writable = writable
        self._stored: dict[str, Ledger] | None = None

    def __iter__(self) -> Iterator[Sibling]:
        """Yield all other streams that have a ledger for the group or are about to have one."""
        works = {name: work for name, work in self._in_run().items() if name != self.own}
        for name, work in works.items():
            yield Sibling(unquote(name), work.ledger, work)
        if self._stored is None:
            self._stored = {place.name: self._read(place) for place in self._places()}
        for name, ledger in self._stored.items():
            if name not in works and (ledger.lost or ledger.size):
                yield Sibling(unquote(name), ledger)

    @property
    def uri(self) -> str:
        """The folder of the group's ledgers."""
        return self._group.uri

    @property
    def exist(self) -> bool:
        """Whether there is another stream."""
        return any(True for _ in self)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other streams' ledgers as they are, and read what they hold now.

        Raises:
            LockedError: when another run is writing one.
        """
        with ExitStack() as locks:
            if self._writable:
                for place in self._places():
                    if place.name not in self._in_run():
                        locks.callback(lock(place, self._run_id).release)
            self._stored = None
            yield

    @property
    def latest(self) -> int:
        """When the last entry of another stream was made: Unix time; 0 if there is none."""
        return max((each.ledger.latest for each in self), default=0)

    def incomparable(self, key: tuple[str, ...]) -> list[str]:
        """Return the streams of which nobody can say which customers they contain.

        Args:
            key: The fields by which this stream finds customers.
        """
        return [
            each.name
            for each in self
            if each.ledger.lost or (each.ledger.keys != {key} and (each.ledger.size or each.work))
        ]

    def claimed(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which customers another stream contains: bool, one a key."""
        claimed = np.zeros(len(keys), bool)
        for each in self:
            claimed |= each.claims(keys)
        return claimed

    def shared_fields(self, names: Sequence[str], key: tuple[str, ...]) -> dict[str, list[str]]:
        """Return which of some fields, the key's apart, other streams send as well, by stream."""
        shared = {
            each.name: [name for name in names if name in each.ledger.fields and name not in key]
            for each in self
        }
        return {name: fields for name, fields in shared.items() if fields}

    def overwrote(
        self, known: NDArray[np.void], names: Sequence[str], key: tuple[str, ...]
    ) -> NDArray[np.bool_]:
        """Return which customers another stream has written or removed since: bool, one an entry.

        Args:
            known: This stream's entries.
            names: The fields that they have.
            key: Those by which customers are found, which are the same for both.
        """
        overwritten = np.zeros(len(known), bool)
        fields = set(names) - set(key)
        keys = np.stack([known["key"], known["key_2"]], axis=1)
        for each in self:
            theirs = each.ledger.find(keys, mark=False)
            same = (theirs["row"] == known["row"]) & (theirs["row_2"] == known["row_2"])
            # Times are whole seconds: of two in one second of a run nobody knows the later one.
            later = theirs["time"] >= known["time"]
            changed = np.isin(theirs["status"], REMOVALS)
            if not each.ledger.fields or fields & each.ledger.fields:
                changed |= np.isin(theirs["status"], WRITES) & ~same
            overwritten |= later & changed
        return overwritten

    def deleted(self, known: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which customers another stream has deleted since: bool, one an entry.

        Args:
            known: This stream's entries.
        """
        deleted = np.zeros(len(known), bool)
        keys = np.stack([known["key"], known["key_2"]], axis=1)
        for each in self:
            theirs = each.ledger.find(keys, mark=False)
            deleted |= (theirs["status"] == books.DELETED) & (theirs["time"] >= known["time"])
        return deleted

    def _places(self) -> list[Storage]:
        places = [place for place in self._group.folders() if place.name != self.own]
        return [place for place in places if is_kept(place)]
