"""Read all customers of a group, page by page, while others change the group."""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from tap_nudgescribe.errors import ContractError, NotFoundError
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.parallel import ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.envelopes import Row

logger = logging.getLogger(__name__)

OPERATION = "list_customers"

PASSES = 3
"""How often a group is read whose customers do not keep their places."""


def customer_pages(
    client: NudgescribeClient, workspace_id: str, group_id: str
) -> Iterator[Listing]:
    """Yield the pages of a group, the last one first; a customer may come twice.

    Customers without a usable identifier are in ``malformed`` of their page.

    A page has no other name than its number. When a customer is deleted, all behind it move up,
    and some of them from their page to the one before. Read from the last page to the first, they
    are met again there; read the other way they would be missed, and nothing would show it. New
    customers come behind all others (assumed), on pages that are read after these.

    Pages that are read side by side have no such order, so the last one is read before them, and
    looked at again after them: its first customer is another one if anybody has moved. Then the
    group is read again, one page after the other, and again if anybody has moved down, which the
    order of customers rules out.

    Raises:
        ContractError: when customers move down again and again, or a page is empty.
        ApiError: when reading fails.
    """
    read = partial(client.list_customers, workspace_id, group_id, partial=True)
    count = partial(client.count_customer_pages, workspace_id, group_id)
    parallel = client.options.max_parallel_requests
    for _ in range(PASSES):
        harm = False
        done = 0
        while (pages := count()) > done:
            last = read(pages)
            others = range(pages - 1, done, -1)
            rest = ordered_map(read, others, parallel=parallel, spare=parallel)
            for rows in chain([last], rest):
                if not rows and not rows.malformed:
                    problem = "A page that was counted has no customers, so some may be missing"
                    raise ContractError(problem, operation=OPERATION)
                yield rows
            if pages > 1:
                known = _ids(last)
                now = _read_again(read, pages)
                harm |= _moved(known, _ids(now), up=parallel > 1)
                yield Listing(row for row in now if row["customer_id"] not in known)
            done = pages
        if not harm:
            return
        logger.info("Customers moved while group %s was read: it is read again", group_id)
        parallel = 1
    problem = "Customers moved to later pages while their pages were read: some may be missing"
    raise ContractError(problem, operation=OPERATION)


def _read_again(read: Callable[[int], Listing], page: int) -> Listing:
    """Read a page that may be gone by now."""
    try:
        return read(page)
    except NotFoundError:
        return Listing()


def _ids(rows: list[Row]) -> list[object]:
    return [row["customer_id"] for row in rows]


def _moved(before: list[object], now: list[object], *, up: bool) -> bool:
    """Say whether customers have moved down since their page was read, or (``up``) at all."""
    first = now[0] if now else None
    return first != (before[0] if before else None) and (
        up or (first is not None and first not in before)
    )
