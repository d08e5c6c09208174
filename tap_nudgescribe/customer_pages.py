"""Read all customers of a group, page by page, while others change the group."""

from __future__ import annotations

import logging
from array import array
from itertools import chain
from typing import TYPE_CHECKING

from tap_nudgescribe.errors import ApiError, ContractError, LoginError, NotFoundError
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.parallel import ordered_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.envelopes import Row

logger = logging.getLogger(__name__)

OPERATION = "list_customers"

PASSES = 3
"""How often a group is read whose customers do not keep their places."""

PAGE_IGNORED = (
    "The request's key page probably has another name: run --check, and correct it with the "
    "setting wire_names."
)


def customer_pages(
    client: NudgescribeClient, workspace_id: str, group_id: str, *, counted: object = None
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

    Whether the API heeds the number is not known, so pages have to prove that they differ.

    Args:
        client: The API.
        workspace_id: Workspace of the group.
        group_id: The group.
        counted: The group's own ``customer_count``, if it has a usable one.

    Raises:
        ContractError: when customers move down again and again, a page is empty, two pages are
            equal, or there are fewer customers than there are pages or than the group counts.
        ApiError: when reading fails.
    """
    usable = counted if isinstance(counted, int) and not isinstance(counted, bool) else None
    yield from _Reading(client, workspace_id, group_id, usable).pages()


class _Pass:
    """What has been met while all pages of a group were read once."""

    def __init__(self) -> None:
        self.pages = 0
        self.malformed = 0
        self._hashes = array("q")
        self._met = 0
        self._largest = 0
        self._page_of: dict[int, int] = {}

    def add(self, page: int, rows: Listing) -> int | None:
        """Note a page; return an earlier one that has the same customers."""
        self.note(rows)
        self._met += len(rows)
        self._largest = max(self._largest, len(rows))
        earlier = self._page_of.setdefault(hash(tuple(_ids(rows))), page)
        return earlier if rows and earlier != page else None

    def note(self, rows: Listing) -> None:
        """Note customers."""
        self.malformed += len(rows.malformed)
        self._hashes.extend(map(hash, _ids(rows)))

    def distinct(self) -> int:
        """Return how many different customers there are; those without an identifier count."""
        import numpy as np  # noqa: PLC0415 (fast start-up)

        return len(np.unique(np.asarray(self._hashes))) + self.malformed

    def too_few(self) -> bool:
        """Say whether customers were met on several pages, and fewer pages would hold them all."""
        distinct = self.distinct()
        room = (self.pages - 1) * self._largest
        return distinct < self._met + self.malformed and distinct <= room


class _Reading:
    """One reading of a group."""

    def __init__(
        self, client: NudgescribeClient, workspace_id: str, group_id: str, counted: int | None
    ) -> None:
        self._client = client
        self._workspace_id = workspace_id
        self._group_id = group_id
        self._counted = counted
        self._parallel = client.options.max_parallel_requests

    def pages(self) -> Iterator[Listing]:
        """Yield all pages, again as long as something does not fit."""
        problem = advice = ""
        for number in range(PASSES):
            done = _Pass()
            moved = yield from self._pass(done)
            few = self._fewer_than_counted(done)
            if moved:
                problem = "Customers moved to later pages while their pages were read"
            elif done.too_few():
                problem, advice = "Customers are on several pages each", PAGE_IGNORED
            elif few:
                problem, advice = few, "If its customer_count is out of date, ask Nudgescribe."
                if number:  # counted and read twice
                    break
            else:
                return
            logger.info("The pages of group %s do not fit: it is read again", self._group_id)
            self._parallel = 1
        problem += ": some may be missing"
        raise ContractError(problem, operation=OPERATION, advice=advice)

    def _pass(self, done: _Pass) -> Generator[Listing, None, bool]:
        """Yield each page once; return whether customers have moved meanwhile."""
        moved = False
        while (pages := self._count()) > done.pages:
            last = self._read(pages)
            others = range(pages - 1, done.pages, -1)
            rest = ordered_map(self._read, others, parallel=self._parallel, spare=self._parallel)
            for page, rows in zip([pages, *others], chain([last], rest), strict=True):
                if not rows and not rows.malformed:
                    self._refuse_empty(pages)
                if (earlier := done.add(page, rows)) is not None:
                    self._refuse_equal(earlier, page)
                    moved = True
                yield rows
            if pages > 1:
                known = _ids(last)
                now = self._read_again(pages)
                moved |= _moved(known, _ids(now), up=self._parallel > 1)
                new = Listing(row for row in now if row["customer_id"] not in known)
                done.note(new)
                yield new
            done.pages = pages
        if not done.pages and self._counted is None:
            moved = self._have_come()
        return moved

    def _count(self) -> int:
        return self._client.count_customer_pages(self._workspace_id, self._group_id)

    def _read(self, page: int) -> Listing:
        return self._client.list_customers(self._workspace_id, self._group_id, page, partial=True)

    def _read_again(self, page: int) -> Listing:
        """Read a page that may be gone by now."""
        try:
            return self._read(page)
        except NotFoundError:
            return Listing()

    def _refuse_empty(self, pages: int) -> None:
        """Refuse an empty page, unless it is the only one of a group that may be empty.

        Raises:
            ContractError: when customers are missing.
        """
        if pages > 1:
            problem = "A page that was counted has no customers, so some may be missing"
            raise ContractError(problem, operation=OPERATION)
        if self._counted is not None:
            return  # it is compared with what was met
        try:
            before = self._read(0)
        except LoginError:
            raise
        except ApiError:
            return
        if before or before.malformed:
            problem = "Page 1 is empty and page 0 is not: the API counts its pages from 0"
            raise ContractError(problem, operation=OPERATION)

    def _have_come(self) -> bool:
        """Return whether a group of which no page was counted has got customers since.

        Raises:
            ContractError: when it has customers, and still no page is counted.
        """
        try:
            first = self._read(1)
        except LoginError:
            raise
        except ApiError:
            return False
        if not first and not first.malformed:
            return False
        if self._count():
            return True
        problem = "The API counts no pages, and page 1 has customers"
        raise ContractError(problem, operation="count_customer_pages")

    def _refuse_equal(self, one: int, other: int) -> None:
        """Look again at two pages that had the same customers.

        Raises:
            ContractError: when they have still, so that no customers have moved between them.
        """
        ids = _ids(self._read_again(one))
        if ids and ids == _ids(self._read_again(other)):
            low, high = sorted((one, other))
            problem = f"Pages {low} and {high} of customers are the same, so some are missing"
            raise ContractError(problem, operation=OPERATION, advice=PAGE_IGNORED)

    def _fewer_than_counted(self, done: _Pass) -> str:
        """Return what is wrong with the number of customers; empty when nothing is.

        The group's own count may be old, so it is asked for again where it does not fit.
        """
        met = done.distinct()
        if self._counted is None or met >= self._counted:
            return ""
        groups = self._client.list_groups(self._workspace_id, partial=True)
        found = [
            g.get("customer_count") for g in groups if g["customer_group_id"] == self._group_id
        ]
        now = found[0] if found else None
        if not isinstance(now, int):
            return ""
        before, self._counted = self._counted, now
        if met >= now:
            return ""
        return f"The group counts {min(before, now)} customers and its pages hold {met}"


def _ids(rows: list[Row]) -> list[str]:
    return [row["customer_id"] for row in rows]


def _moved(before: list[str], now: list[str], *, up: bool) -> bool:
    """Say whether customers have moved down since their page was read, or (``up``) at all."""
    first = now[0] if now else None
    return first != (before[0] if before else None) and (
        up or (first is not None and first not in before)
    )
