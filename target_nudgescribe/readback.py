"""Read back what a customer group holds, and compare it with what was sent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import NudgescribeError, SettingsError
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import joined, taken
from target_nudgescribe.csv_lines import csv_lines
from target_nudgescribe.mapping import MappedField, StreamMap
from target_nudgescribe.rows import from_dicts, texts_of
from target_nudgescribe.validation import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.identities import Malformed
    from target_nudgescribe.batches import GroupWork, Ready
    from target_nudgescribe.fingerprints import Hashing
    from target_nudgescribe.ledger import Ledger
    from target_nudgescribe.route import Route
    from target_nudgescribe.workspace import Workspace

logger = logging.getLogger("target-nudgescribe")

SAMPLE = 100
"""Rows of a batch that are read back when verify is ``sample``."""


class ReadBackError(NudgescribeError):
    """What a group holds cannot be compared with what was sent."""


@dataclass(frozen=True)
class HeldPage:
    """One page of a group's customers.

    Attributes:
        keys: Print of each customer's key.
        folded: :meth:`Hashing.folded_keys` of each customer's key.
        prints: Print of each customer's comparable fields.
        customer_ids: The API's id of each customer; blank where it has no usable one.
        cells: Their fields in the form in which they would be sent.
    """

    keys: NDArray[np.uint64]
    folded: NDArray[np.uint64]
    prints: NDArray[np.uint64]
    customer_ids: list[str]
    cells: pa.Table

    @cached_property
    def key_bytes(self) -> list[bytes]:
        """Print of each customer's key, as bytes."""
        return [key.tobytes() for key in self.keys]


def comparable_prints(
    cells: pa.Table, names: Sequence[str], hashing: Hashing
) -> NDArray[np.uint64]:
    """Return prints of some fields by which what was sent and what is held can be compared.

    CSV has no difference between null and a blank that every reader sees, so they count as one.
    """
    columns = [texts_of(cells, name) for name in names]
    blanks = [pc.equal(column, pa.scalar("")) for column in columns]
    nothing = pa.scalar(None, pa.string())
    filled = [pc.if_else(b, nothing, c) for b, c in zip(blanks, columns, strict=True)]
    return hashing.rows(csv_lines(filled), names)


def held(route: Route, group_id: str, names: Sequence[str]) -> Iterator[HeldPage]:
    """Yield all pages of a group; a customer may come twice.

    Args:
        route: The stream, whose key says who a customer is.
        group_id: The group.
        names: Fields whose values are printed, in this order.

    Raises:
        ReadBackError: when a field of the key is encrypted, so that nobody can tell who is who.
        ApiError: when reading fails.
    """
    workspace, key, hashing = route.workspace, route.mapped.key, route.hashing
    secret = _encrypted_key(workspace, key)
    if secret:
        problem = f"The API returns {', '.join(secret)} encrypted, which is the customers' key"
        advice = "Use another identifier, or delete these customers in Nudgescribe."
        raise ReadBackError(problem, advice=advice)
    wanted = list(dict.fromkeys([*key, *names]))
    mapped = StreamMap(
        tuple(
            MappedField(replace(workspace.fields[name], required=False), name) for name in wanted
        ),
        tuple(key),
        None,
        (),
    )
    for page in customer_pages(workspace.client, workspace.workspace_id, group_id):
        customers = [*page, *map(_without_id, page.malformed)]
        profiles = [customer.get("profile") or {} for customer in customers]
        cells = check(from_dicts(wanted, profiles, 1), mapped).cells
        keys = [texts_of(cells, name) for name in key]
        yield HeldPage(
            hashing.keys(keys),
            hashing.folded_keys(keys),
            comparable_prints(cells, names, hashing),
            [customer["customer_id"] for customer in customers],
            cells,
        )


def _without_id(malformed: Malformed) -> Row:
    """Return a customer whose id cannot be used; it is held all the same.

    Raises:
        ContractError: for what is not a customer: anybody may be missing then.
    """
    if not isinstance(malformed.row, dict):
        raise malformed.error
    return {**malformed.row, "customer_id": ""}


class HeldCustomers:
    """What the groups of a stream held when this run first asked, to compare rows with it.

    Args:
        route: The stream.
    """

    def __init__(self, route: Route) -> None:
        """Read nothing yet."""
        self._route = route
        self._groups: dict[
            tuple[str, tuple[str, ...]], tuple[NDArray[np.uint64], NDArray[np.uint64]]
        ] = {}

    def has(self, group_id: str, keys: NDArray[np.uint64], cells: pa.Table) -> NDArray[np.bool_]:
        """Return which rows a group held with the same values; encrypted fields are not compared.

        Args:
            group_id: The group, which is read once for each set of fields.
            keys: Hashes of the rows' keys, (n, 2).
            cells: The rows as they would be sent, columns by profile field.

        Raises:
            ReadBackError: when a field of the key is encrypted.
            ApiError: when the group cannot be read.
        """
        fields = self._route.workspace.fields
        names = tuple(name for name in cells.column_names if not fields[name].encrypted)
        if (group_id, names) not in self._groups:
            self._groups[group_id, names] = self._read(group_id, names)
        held_keys, held_rows = self._groups[group_id, names]
        if not len(held_keys):
            return np.zeros(len(keys), bool)
        places = np.searchsorted(held_keys[:, 0], keys[:, 0])
        places[places == len(held_keys)] = 0
        rows = comparable_prints(cells, names, self._route.hashing)
        there: NDArray[np.bool_] = (held_keys[places] == keys).all(axis=1)
        there &= (held_rows[places] == rows).all(axis=1)
        return there

    def _read(
        self, group_id: str, names: tuple[str, ...]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        nothing = np.empty((0, 2), np.uint64)
        pages = list(held(self._route, group_id, names))
        keys = np.concatenate([nothing, *(page.keys for page in pages)])
        rows = np.concatenate([nothing, *(page.prints for page in pages)])
        order = np.argsort(keys[:, 0], kind="stable")
        return keys[order], rows[order]


def seed(route: Route, group_id: str, ledger: Ledger) -> None:
    """Note what a group holds, so that rows which it holds already are not sent.

    Nobody knows who sent it, so that mirror never deletes it unless this stream sends it as well.
    What the ledger has besides is not in the account, so that its rows are sent when they come.

    Raises:
        SettingsError: when the API returns fields encrypted.
    """
    secret = [name for name in route.names if route.workspace.fields[name].encrypted]
    if secret:
        problem = f"The ledger cannot be seeded: the API returns {', '.join(secret)} encrypted"
        raise SettingsError(problem)
    for page in held(route, group_id, route.names):
        ledger.record(
            books.new_entries(
                page.keys,
                page.prints,
                books.SEEDED,
                definitions=route.definitions,
                folded=page.folded,
            )
        )
        route.outcomes.counts["seeded"] += len(page.keys)
    route.outcomes.counts["absent"] += ledger.mark_absent()


def parted_for_reading(
    confirmed: NDArray[np.intp], verify: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Part rows that the API has confirmed into those believed and those to be read back."""
    most = {"none": 0, "sample": SAMPLE, "full": len(confirmed)}[verify]
    chosen = np.zeros(len(confirmed), bool)
    if most and len(confirmed):
        chosen[np.linspace(0, len(confirmed) - 1, min(most, len(confirmed)), dtype=int)] = True
    return confirmed[~chosen], confirmed[chosen]


def verifying(route: Route) -> str:
    """Return the setting verify, as far as what was sent can be read back at all."""
    verify: str = route.config["verify"]
    if verify != "none" and _encrypted_key(route.workspace, route.mapped.key):
        _tell_unreadable(route)
        return "none"
    return verify


def confirm(route: Route, work: GroupWork) -> list[Ready]:
    """Read back what the API has queued until it is there, and once what nobody knows of.

    What is queued and does not come is of unknown outcome. Nothing can be read back when the
    customers' key is encrypted: what is queued is of unknown outcome then, too.

    Returns:
        What got no sound answer and is not there: it may be sent again.
    """
    waiting, work.queued = work.queued, []
    doubted, work.doubted = work.doubted, []
    if _encrypted_key(route.workspace, route.mapped.key):
        _tell_unreadable(route)
        tell_unknown(route, work, waiting)
        return doubted
    doubted = _look(route, work, doubted)
    deadline = route.interruption.now() + route.config["confirm_timeout_seconds"]
    for attempt in count(1):
        waiting = _look(route, work, waiting)
        if not waiting or route.interruption.now() >= deadline:
            break
        route.workspace.client.transport.pause(min(attempt, 6))
    tell_unknown(route, work, waiting)
    return doubted


def tell_unknown(route: Route, work: GroupWork, parts: Sequence[Ready]) -> None:
    """Count rows whose outcome stays unknown, and say so."""
    rows = sum(map(len, parts))
    route.outcomes.count("unknown", rows)
    if rows:
        logger.error(
            "%s: %d rows that were uploaded are not in group %s as they were sent, as far as that "
            "can be seen",
            route.name,
            rows,
            work.group_id,
        )


def _tell_unreadable(route: Route) -> None:
    """Say once a stream that nothing of it can be read back."""
    if not route.outcomes.counts["not_readable"]:
        route.outcomes.counts["not_readable"] = 1
        logger.warning(
            "%s: the API returns %s encrypted, which identifies the customers, so no row can be "
            "read back. Rows that the API confirms with figures count as sent, all others as "
            "unknown. Choose another identifier for the key to be certain of them",
            route.name,
            ", ".join(_encrypted_key(route.workspace, route.mapped.key)),
        )


def _encrypted_key(workspace: Workspace, key: Sequence[str]) -> list[str]:
    return [name for name in key if workspace.fields[name].encrypted]


def _look(route: Route, work: GroupWork, waiting: Sequence[Ready]) -> list[Ready]:
    """Return what of some batches the account does not show yet; read the group once for all."""
    sought = [
        _Sought(joined([part for part in waiting if part.names == names]), route)
        for names in dict.fromkeys(part.names for part in waiting)
    ]
    if not sought:
        return []
    names = list(dict.fromkeys(name for each in sought for name in each.names))
    for page in held(route, work.group_id, names):
        route.interruption.check()
        for each in sought:
            each.compare(page, names)
    left = [_unconfirmed(route, work, each) for each in sought]
    return [part for part in left if len(part)]


class _Sought:
    """Rows with one set of fields, and which of them the account shows as they were sent."""

    def __init__(self, part: Ready, route: Route) -> None:
        self.part = part
        self.names = tuple(n for n in part.names if not route.workspace.fields[n].encrypted)
        self.there = np.zeros(len(part), bool)
        # Of several rows for one customer the last was sent last.
        self.place_of = {key.tobytes(): place for place, key in enumerate(part.keys)}
        self._hashing = route.hashing
        self._expected = comparable_prints(part.cells, self.names, self._hashing)

    def compare(self, page: HeldPage, names: Sequence[str]) -> None:
        """Look for the rows on a page whose prints are of some fields."""
        places = [self.place_of.get(key) for key in page.key_bytes]
        found = np.flatnonzero([place is not None for place in places])
        if not len(found):
            return
        prints = page.prints[found]
        if tuple(names) != self.names:
            cells = taken(page.cells, found)
            prints = comparable_prints(cells, self.names, self._hashing)
        for at, print_ in zip(found.tolist(), prints, strict=True):
            place = places[at]
            self.there[place] = (print_ == self._expected[place]).all()


def _unconfirmed(route: Route, work: GroupWork, sought: _Sought) -> Ready:
    """Record the rows that the account shows as they were sent, and return the others."""
    part, there = sought.part, sought.there
    last = np.array([sought.place_of[key.tobytes()] for key in part.keys], np.intp)
    done = part.take(np.flatnonzero(there))
    work.ledger.record(
        books.new_entries(
            done.keys,
            done.prints,
            books.SENT,
            definitions=route.definitions,
            folded=done.folded_keys(route.mapped.key, route.hashing),
        )
    )
    route.outcomes.count("sent", int(there[last].sum()))
    return part.take(np.flatnonzero(~there[last]))
