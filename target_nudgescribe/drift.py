"""Compare a ledger with its group before the first row: does it still describe the account?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import NudgescribeError

if TYPE_CHECKING:
    from target_nudgescribe.batches import GroupWork
    from target_nudgescribe.workspace import Workspace

MAX_MISSING_SHARE = 0.5
"""Share of a ledger's customers that may be missing in the account before the run is refused."""


class DriftError(NudgescribeError):
    """The account has far fewer customers than its ledger says; nothing was sent."""

    advice = (
        "If they were removed on purpose, run once with --seed-ledger: the ledger then describes "
        "what the account holds, and the next run sends what is missing. If not, look at the "
        "group first."
    )
    exit_code = 4


def missing_customers(workspace: Workspace, work: GroupWork) -> int:
    """Return how many customers at least are missing in a group that its ledger calls present.

    The group's own count, or its number of pages, is compared first. Only where that says that
    some are missing, the group is read, because the count is not documented to be current.
    Customers whom another stream of the group has deleted are not missing: their rows are sent
    again anyway.

    Raises:
        DriftError: when more than half of them are missing.
        ApiError: when the group cannot be read.
    """
    group_id, present = work.group_id, work.ledger.present()
    if not present or present <= (at_most := _at_most(workspace, group_id)):
        return 0
    entries = work.ledger.present_entries()
    present -= int(work.siblings.deleted(entries).sum())
    if present <= at_most:
        return 0
    pages = customer_pages(workspace.client, workspace.workspace_id, group_id)
    there = len({customer["customer_id"] for page in pages for customer in page})
    missing = max(0, present - there)
    if missing > MAX_MISSING_SHARE * present:
        name = workspace.groups.get(group_id, {}).get("name") or group_id
        problem = (
            f"Group {name} has {there} customers, and the ledger says that {present} are there. "
            "Nothing was sent"
        )
        raise DriftError(problem)
    return missing


def _at_most(workspace: Workspace, group_id: str) -> float:
    """Return how many customers a group can have, by what is cheap to ask."""
    count = workspace.groups.get(group_id, {}).get("customer_count")
    if isinstance(count, int) and not isinstance(count, bool):
        return count
    pages = workspace.client.count_customer_pages(workspace.workspace_id, group_id)
    return float("inf") if pages else 0
