"""Pages of customers that are read side by side while customers go."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.identities import Listing

if TYPE_CHECKING:
    from tap_nudgescribe.client import NudgescribeClient

PAGE = 10
PATIENCE = 10


class Shrinking:
    """Four pages of a group: its first customer goes between the reading of two of them."""

    options = SimpleNamespace(max_parallel_requests=4)

    def __init__(self) -> None:
        self.customers = [{"customer_id": number} for number in range(4 * PAGE - 4)]
        self._gone = threading.Event()

    def count_customer_pages(self, *_: str) -> int:
        return -(-len(self.customers) // PAGE)

    def list_customers(self, _workspace: str, _group: str, page: int, **_: object) -> Listing:
        if page == 3:
            assert self._gone.wait(PATIENCE)
        rows = self.customers[(page - 1) * PAGE : page * PAGE]
        if page == 2 and not self._gone.is_set():
            del self.customers[0]
            self._gone.set()
        return Listing(rows)


def test_a_customer_that_moves_between_two_pages_read_side_by_side_is_met_again() -> None:
    group = Shrinking()
    pages = customer_pages(cast("NudgescribeClient", group), "ws", "cg")
    met = {row["customer_id"] for page in pages for row in page}
    assert met >= {row["customer_id"] for row in group.customers}
