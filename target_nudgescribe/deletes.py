"""Delete customers: find who they are, keep within bounds, and know how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import BadRequestError, NotFoundError, OutcomeUnknownError
from target_nudgescribe import ledger as books
from target_nudgescribe.mapping import DELETED_COLUMN
from target_nudgescribe.readback import held
from target_nudgescribe.rejects import PRINT, Reject
from target_nudgescribe.validation import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.batches import GroupWork
    from target_nudgescribe.route import Route
    from target_nudgescribe.workspace import Workspace

logger = logging.getLogger("target-nudgescribe")

GONE = frozenset({"deleted", "already_gone"})
"""Outcomes of customers who are not in the group any more."""

MOST_IDS = 500
"""Customers that one request deletes."""


def doom(
    route: Route, work: GroupWork, keys: NDArray[np.uint64], numbers: NDArray[np.int64]
) -> None:
    """Note customers to delete; of several rows for one, the last counts."""
    if not len(keys):
        return
    already = (work.ledger.find(keys)["status"] == books.DELETED) & ~np.array(
        [work.waits(keys[i : i + 1]) for i in range(len(keys))], bool
    )
    route.outcomes.count("unchanged", int(already.sum()))
    for key, number in zip(keys[~already], numbers[~already], strict=True):
        if work.doomed.pop(key.tobytes(), None) is not None:
            route.outcomes.count("merged", 1)
        work.doomed[key.tobytes()] = int(number)


def withdraw(route: Route, work: GroupWork, keys: NDArray[np.uint64]) -> None:
    """Forget deletes of customers for whom a later row came."""
    if work.doomed:
        gone = [work.doomed.pop(key.tobytes(), None) for key in keys]
        route.outcomes.count("merged", sum(number is not None for number in gone))


def delete_doomed(route: Route, work: GroupWork) -> None:
    """Delete whom rows say to delete.

    Raises:
        ReadBackError: when nobody can tell who is who.
    """
    if not work.doomed:
        return
    doomed, work.doomed = work.doomed, {}
    fate = _delete(route, work, doomed, "explicit")
    _reject(route, doomed, fate)
    route.outcomes.ended.update(fate.values())


def mirror(route: Route, works: Iterable[GroupWork], doubt: str) -> None:
    """Delete the customers that a ledger sent and that the whole table no longer has.

    Args:
        route: The stream.
        works: The groups with their ledgers.
        doubt: Why nobody can say who is missing; empty when the table is known to be whole.
    """
    for work in works:
        reason = doubt or ("its ledger was lost" if work.ledger.lost else "")
        gone = work.ledger.unseen()
        if not len(gone):
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
        fate = _delete(route, work, {key.tobytes(): 0 for key in keys}, "mirror")
        route.outcomes.counts.update(f"mirror_{outcome}" for outcome in fate.values())


def _delete(
    route: Route, work: GroupWork, doomed: Mapping[bytes, int], why: str
) -> dict[bytes, str]:
    """Delete customers by key and return the outcome of each key."""
    group = route.workspace.groups.get(work.group_id, {})
    if route.workspace.dry_run:
        route.outcomes.counts[f"{why}_deletes"] += len(doomed)
        return dict.fromkeys(doomed, "planned")
    ids, total = _find_ids(route.workspace, work.group_id, route.mapped.key, doomed)
    found = [key for key in doomed if key in ids]
    work.deletes += len(found)
    logger.warning(
        "%s: %d of %d customers are to be deleted from group %s (%s)",
        route.name,
        len(found),
        total,
        group.get("name") or work.group_id,
        why,
    )
    if _too_many(work.deletes, total, route.config):
        logger.error(
            "%s: that is more than max_delete_rows or max_delete_percent allow, so nobody is "
            "deleted",
            route.name,
        )
        route.outcomes.reasons["too_many_deletes"] += len(doomed)
        return dict.fromkeys(doomed, "rejected")
    route.interruption.check()
    keys = np.frombuffer(b"".join(doomed), "<u8").reshape(-1, 2)
    work.ledger.intend(keys)
    result = _delete_ids(route.workspace, work.group_id, [ids[key] for key in found])
    fate = dict.fromkeys(doomed, "already_gone") | dict(zip(found, result, strict=True))
    status = np.full(len(doomed), books.UNCERTAIN, np.uint8)
    status[[outcome in GONE for outcome in fate.values()]] = books.DELETED
    work.ledger.record(books.new_entries(keys, keys, status))
    return fate


def _reject(route: Route, doomed: Mapping[bytes, int], fate: Mapping[bytes, str]) -> None:
    """Write down whom rows said to delete and who was not."""
    route.rejects.add(
        [
            Reject(
                run_id=route.run_id,
                stream=route.name,
                row_number=doomed[key],
                key=f"{PRINT}{key.hex()}",
                code="not_deleted",
                field=None,
                column=DELETED_COLUMN,
                message=MESSAGES["not_deleted"],
                found_by="delete",
                retryable=True,
                attempts=0,
                batch=0,
                row=None,
            )
            for key, outcome in fate.items()
            if outcome == "rejected"
        ]
    )


def _find_ids(
    workspace: Workspace, group_id: str, key: Sequence[str], wanted: Container[bytes]
) -> tuple[dict[bytes, str], int]:
    """Return the API's ids of customers by the print of their key, and the group's size.

    Raises:
        ReadBackError: when the key is encrypted.
    """
    ids: dict[bytes, str] = {}
    met = [np.empty(0, np.uint64)]
    for page in held(workspace, group_id, key, key):
        met.append(page.keys[:, 0])
        for print_, customer_id in zip(page.keys, page.customer_ids, strict=True):
            if (name := print_.tobytes()) in wanted:
                ids[name] = customer_id
    return ids, len(np.unique(np.concatenate(met)))


def _too_many(doomed: int, total: int, config: Mapping[str, Any]) -> bool:
    """Say whether so many deletes are more than the settings allow."""
    rows, percent = config.get("max_delete_rows"), config.get("max_delete_percent")
    over_rows = rows is not None and doomed > rows
    return over_rows or (percent is not None and 100 * doomed > float(percent) * total)


def _delete_ids(workspace: Workspace, group_id: str, customer_ids: Sequence[str]) -> list[str]:
    """Delete customers; return the outcome of each: ``deleted``, ``unknown`` or ``rejected``.

    An answer without a figure, or none at all, is not believed: the group is read back.
    """
    outcomes: list[str] = []
    for start in range(0, len(customer_ids), MOST_IDS):
        part = customer_ids[start : start + MOST_IDS]
        try:
            done = workspace.client.delete_customers(workspace.workspace_id, group_id, part)
        except OutcomeUnknownError:
            outcome = "unknown"
        except (BadRequestError, NotFoundError):
            outcome = "rejected"
        else:
            outcome = "deleted" if done == len(part) else "unknown"
        outcomes += [outcome] * len(part)
    if "unknown" not in outcomes:
        return outcomes
    there = _ids(workspace, group_id)
    return [
        "deleted" if outcome == "unknown" and customer_id not in there else outcome
        for outcome, customer_id in zip(outcomes, customer_ids, strict=True)
    ]


def _ids(workspace: Workspace, group_id: str) -> set[str]:
    pages = customer_pages(workspace.client, workspace.workspace_id, group_id)
    return {str(customer["customer_id"]) for page in pages for customer in page}
