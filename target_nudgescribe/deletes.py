"""Delete customers: find who they are, keep within bounds, and know how it ended."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from tap_nudgescribe.errors import BadRequestError, NotFoundError, OutcomeUnknownError
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import Wanted
from target_nudgescribe.lock import LockedError
from target_nudgescribe.mapping import DELETED_COLUMN
from target_nudgescribe.readback import held
from target_nudgescribe.rejects import PRINT, Reject
from target_nudgescribe.validation import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.batches import GroupWork
    from target_nudgescribe.route import Route
    from target_nudgescribe.workspace import Workspace

logger = logging.getLogger("target-nudgescribe")

GONE = frozenset({"deleted", "already_gone"})
"""Outcomes of customers who are not in the group any more."""

MAX_IDS = 500
"""Customers that one request deletes."""

MAX_REFUSALS = 40
"""Refused requests after which the search for the customers that cannot be deleted ends."""


def doom(
    route: Route,
    work: GroupWork,
    keys: NDArray[np.uint64],
    folded: NDArray[np.uint64],
    numbers: NDArray[np.int64],
) -> None:
    """Note customers to delete; of several rows for one, the last counts."""
    already = (work.ledger.find(keys)["status"] == books.DELETED) & ~work.waiting(keys)
    route.outcomes.count("unchanged", int(already.sum()))
    for row in np.flatnonzero(~already):
        key = keys[row].tobytes()
        if work.doomed.pop(key, None) is not None:
            route.outcomes.count("merged", 1)
        work.doomed[key] = Wanted(_folded(keys[row, 0], folded[row]), int(numbers[row]))


def withdraw(route: Route, work: GroupWork, keys: NDArray[np.uint64]) -> None:
    """Forget deletes of customers for whom a later row came."""
    if work.doomed:
        gone = [work.doomed.pop(key.tobytes(), None) for key in keys]
        route.outcomes.count("merged", sum(wanted is not None for wanted in gone))


def delete_doomed(route: Route, work: GroupWork) -> None:
    """Delete whom rows say to delete.

    Raises:
        ReadBackError: when nobody can tell who is who.
    """
    if not work.doomed:
        return
    doomed, work.doomed = work.doomed, {}
    ended = _delete(route, work, doomed, "explicit")
    _reject(route, doomed, ended.codes)
    route.outcomes.ended.update(ended.outcomes.values())


REFUSALS = {
    "mirror_incremental": "the tap sends the stream incrementally, so that a customer who is not "
    "in it may still exist: let the tap send the whole table, or set mode to upsert",
    "mirror_key_changed": "a later SCHEMA of the stream has another identifier, so that nobody can "
    "say who is missing: set identifier",
}
"""Why mirror fails for a stream, and what to do, by code."""


def mirror(route: Route, works: Iterable[GroupWork], doubt: str, refusal: str = "") -> None:
    """Delete the customers that a ledger sent and that the whole table no longer has.

    Args:
        route: The stream.
        works: The groups with their ledgers.
        doubt: Why nobody can say who is missing; empty when the table is known to be whole.
        refusal: Code of a reason for which mirroring this stream is a failure.
    """
    works = list(works)
    if doubt and not works:
        logger.warning("%s: nobody is deleted, because %s", route.name, doubt)
    for work in works:
        reason = doubt or ("its ledger was lost" if work.ledger.lost else "")
        if not (reason or refusal):
            _count_others(route, work)
        gone = work.ledger.unseen()
        if not len(gone):
            continue
        if refusal:
            logger.error(
                "%s: nobody is deleted from group %s, because %s",
                route.name,
                work.group_id,
                REFUSALS[refusal],
            )
            route.outcomes.counts["mirror_rejected"] += len(gone)
            route.outcomes.reasons[refusal] += len(gone)
            continue
        if reason:
            logger.warning(
                "%s: nobody is deleted from group %s, because %s",
                route.name,
                work.group_id,
                reason,
            )
            continue
        keys = np.stack([gone["key"], gone["key_2"]], axis=1)
        wanted = {
            key.tobytes(): Wanted(_folded(key[0], folded))
            for key, folded in zip(keys, gone["folded"], strict=True)
        }
        ended = _delete(route, work, wanted, "mirror")
        route.outcomes.counts.update(f"mirror_{outcome}" for outcome in ended.outcomes.values())


def _count_others(route: Route, work: GroupWork) -> None:
    others = work.ledger.unseen_of_others()
    if others:
        route.outcomes.counts["mirror_not_ours"] += others
        logger.warning(
            "%s: %d customers of group %s are not in the table and stay, because no upload of this "
            "stream was confirmed for them: the ledger was seeded with them, or their only upload "
            "got no sound answer",
            route.name,
            others,
            work.group_id,
        )
    if not route.workspace.dry_run:
        work.ledger.release_unseen_of_others()


@dataclass
class _Ended:
    """How deletes ended.

    Attributes:
        outcomes: By key.
        codes: By key that was rejected, why.
    """

    outcomes: dict[bytes, str] = field(default_factory=dict)
    codes: dict[bytes, str] = field(default_factory=dict)

    def reject(self, keys: Iterable[bytes], code: str) -> None:
        for key in keys:
            self.outcomes[key] = "rejected"
            self.codes[key] = code


@dataclass
class _Found:
    """What a group holds of the customers that are to be deleted.

    Attributes:
        ids: The API's ids by key: several if the group has a key several times, none if it gives
            none that can be used.
        spelled_otherwise: Keys that the group has in another case or with other white space only.
        total: How many customers the group has.
    """

    ids: dict[bytes, list[str]]
    spelled_otherwise: set[bytes]
    total: int


def _delete(route: Route, work: GroupWork, wanted: Mapping[bytes, Wanted], why: str) -> _Ended:
    """Delete customers by key, as far as no other stream contains them.

    Returns:
        How each key ended.
    """
    ended = _Ended()
    with ExitStack() as locks:
        try:
            locks.enter_context(work.siblings.locked())
        except LockedError:
            ended.reject(wanted, "group_in_use")
        else:
            _refuse_claimed(route, work, wanted, why, ended)
            free = {key: each for key, each in wanted.items() if key not in ended.outcomes}
            if route.workspace.dry_run:
                route.outcomes.counts[f"{why}_deletes"] += len(free)
                ended.outcomes.update(dict.fromkeys(free, "planned"))
            elif free:
                _delete_free(route, work, free, why, ended)
            _record(work, ended)
    for code in ended.codes.values():
        route.outcomes.reasons[code] += 1
    return ended


def _refuse_claimed(
    route: Route, work: GroupWork, wanted: Mapping[bytes, Wanted], why: str, ended: _Ended
) -> None:
    """Leave alone customers whom other streams contain; mode delete deletes them all the same."""
    key = route.mapped.key
    if work.siblings.incomparable(key) or work.ledger.keys != {key}:
        ended.reject(wanted, "other_identifier")
    elif route.config["mode"] != "delete":
        claims = work.siblings.claimed(_as_keys(wanted))
        claimed = [key for key, is_claimed in zip(wanted, claims, strict=True) if is_claimed]
        if why == "explicit":
            ended.reject(claimed, "claimed_by_another_stream")
        else:
            ended.outcomes.update(dict.fromkeys(claimed, "released"))


def _delete_free(
    route: Route, work: GroupWork, wanted: Mapping[bytes, Wanted], why: str, ended: _Ended
) -> None:
    """Delete customers by key, and make sure that they are gone."""
    ended.outcomes.update(dict.fromkeys(wanted, "already_gone"))
    found = _find(route, work, wanted)
    ended.reject(found.spelled_otherwise, "key_spelled_otherwise")
    ended.reject((key for key, each in found.ids.items() if not each), "not_deleted")
    ids = {key: each for key, each in found.ids.items() if each}
    number = sum(map(len, ids.values()))
    work.deletes += number
    logger.warning(
        "%s: %d of %d customers are to be deleted from group %s (%s)",
        route.name,
        number,
        found.total,
        route.workspace.groups.get(work.group_id, {}).get("name") or work.group_id,
        why,
    )
    if ids and _too_many(work.deletes, found.total + work.deleted, route.config):
        logger.error(
            "%s: that is more than max_delete_rows or max_delete_percent allow, so nobody is "
            "deleted",
            route.name,
        )
        ended.reject(ids, "too_many_deletes")
        ids = {}
    route.interruption.check()
    if ids:
        work.ledger.intend(_as_keys(ids))
        _delete_found(route, work, wanted, ids, ended)


def _delete_found(
    route: Route,
    work: GroupWork,
    wanted: Mapping[bytes, Wanted],
    ids: Mapping[bytes, Sequence[str]],
    ended: _Ended,
) -> None:
    """Delete customers, and read the group until they are gone or the time for it has passed."""
    key_of = {customer_id: key for key, each in ids.items() for customer_id in each}
    refused = {key_of[each] for each in _delete_ids(route.workspace, work.group_id, list(key_of))}
    deadline = route.interruption.now() + route.config["confirm_timeout_seconds"]
    for attempt in count(1):
        left = _find(route, work, {key: wanted[key] for key in ids}).ids
        if left.keys() <= refused or route.interruption.now() >= deadline:
            break
        route.workspace.client.transport.pause(min(attempt, 6))
    for key in ids.keys() - left.keys():
        ended.outcomes[key] = "already_gone" if key in refused else "deleted"
    work.deleted += len(key_of) - sum(map(len, left.values()))
    ended.reject(left.keys() & refused, "not_deleted")
    unknown = left.keys() - refused
    ended.outcomes.update(dict.fromkeys(unknown, "unknown"))
    if unknown:
        logger.error(
            "%s: %d customers are still in group %s after they were deleted",
            route.name,
            len(unknown),
            work.group_id,
        )


def _record(work: GroupWork, ended: _Ended) -> None:
    """Make durable who is gone, who is another stream's, and of whom nobody can say it."""
    claimed = [key for key, code in ended.codes.items() if code == "claimed_by_another_stream"]
    for status, outcomes in (
        (books.DELETED, GONE),
        (books.UNCERTAIN, {"unknown"}),
        (books.RELEASED, {"released"}),
    ):
        chosen = [key for key, outcome in ended.outcomes.items() if outcome in outcomes]
        keys = _as_keys(chosen + (claimed if status == books.RELEASED else []))
        work.ledger.record(books.new_entries(keys, keys, status))


def _reject(route: Route, doomed: Mapping[bytes, Wanted], codes: Mapping[bytes, str]) -> None:
    """Write down whom rows said to delete and who was not."""
    route.rejects.add(
        [
            Reject(
                run_id=route.run_id,
                stream=route.name,
                row_number=doomed[key].number,
                key=f"{PRINT}{key.hex()}",
                code="not_deleted" if code == "too_many_deletes" else code,
                field=None,
                column=DELETED_COLUMN,
                message=MESSAGES.get(code, MESSAGES["not_deleted"]),
                found_by="delete",
                retryable=True,
                attempts=0,
                batch=0,
                row=None,
            )
            for key, code in codes.items()
        ]
    )


def _find(route: Route, work: GroupWork, wanted: Mapping[bytes, Wanted]) -> _Found:
    """Return what a group holds of some customers.

    Raises:
        ReadBackError: when the key is encrypted.
    """
    ids: dict[bytes, dict[str, None]] = {}
    folded = {each.folded for each in wanted.values()}
    similar: set[int] = set()
    everybody: set[str] = set()
    key = route.mapped.key
    for page in held(route, work.group_id, key):
        everybody.update(page.customer_ids)
        spellings = np.where(page.folded, page.folded, page.keys[:, 0]).tolist()
        # A customer whom the stream has sent under that very key is not another one's spelling.
        others = ~work.ledger.find(page.keys, mark=False)["ours"]
        for print_, spelling, customer_id, other in zip(
            page.keys, spellings, page.customer_ids, others, strict=True
        ):
            if (name := print_.tobytes()) in wanted:
                known = ids.setdefault(name, {})
                if customer_id:
                    known[customer_id] = None
            elif other and spelling in folded:
                similar.add(spelling)
    otherwise = {name for name, each in wanted.items() if each.folded in similar} - ids.keys()
    return _Found({name: list(each) for name, each in ids.items()}, otherwise, len(everybody))


def _folded(key: np.uint64, folded: np.uint64) -> int:
    """Return the hash of a key without regard to its spelling."""
    return int(folded) or int(key)


def _as_keys(keys: Iterable[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)


def _too_many(doomed: int, total: int, config: Mapping[str, Any]) -> bool:
    """Say whether so many deletes are more than the settings allow."""
    rows, percent = config.get("max_delete_rows"), config.get("max_delete_percent")
    over_rows = rows is not None and doomed > rows
    return over_rows or (percent is not None and 100 * doomed > float(percent) * total)


def _delete_ids(workspace: Workspace, group_id: str, customer_ids: Sequence[str]) -> list[str]:
    """Delete customers and return the ids that the API refuses; what it confirms is not believed.

    A request that is refused is halved, so that one customer does not save the others.
    """
    refused: list[str] = []
    refusals = 0
    waiting = [
        customer_ids[start : start + MAX_IDS] for start in range(0, len(customer_ids), MAX_IDS)
    ]
    while waiting:
        part = waiting.pop(0)
        try:
            workspace.client.delete_customers(workspace.workspace_id, group_id, part)
        except OutcomeUnknownError:
            continue
        except (BadRequestError, NotFoundError):
            refusals += 1
            half = len(part) // 2
            if half and refusals <= MAX_REFUSALS:
                waiting[:0] = [part[:half], part[half:]]
            else:
                refused += part
    return refused
