"""Delete customers: find who they are, keep within bounds, and know how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import BadRequestError, NotFoundError, OutcomeUnknownError
from target_nudgescribe.readback import held

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from target_nudgescribe.workspace import Workspace

MOST_IDS = 500
"""Customers that one request deletes."""


def find_ids(
    workspace: Workspace, group_id: str, key: Sequence[str], wanted: Container[bytes]
) -> tuple[dict[bytes, str], int]:
    """Return the API's ids of customers by the print of their key, and the group's size.

    Raises:
        ReadBackError: when the key is encrypted.
    """
    ids: dict[bytes, str] = {}
    total = 0
    for page in held(workspace, group_id, key, key):
        total += len(page.customer_ids)
        for print_, customer_id in zip(page.keys, page.customer_ids, strict=True):
            if (name := print_.tobytes()) in wanted:
                ids[name] = customer_id
    return ids, total


def too_many(doomed: int, total: int, config: Mapping[str, Any]) -> bool:
    """Say whether so many deletes are more than the settings allow."""
    rows, percent = config.get("max_delete_rows"), config.get("max_delete_percent")
    over_rows = rows is not None and doomed > rows
    return over_rows or (percent is not None and 100 * doomed > percent * total)


def delete_ids(workspace: Workspace, group_id: str, customer_ids: Sequence[str]) -> list[str]:
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
