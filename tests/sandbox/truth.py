"""What a complete reader must find: the rows of every stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.sandbox import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sandbox.account import Account

    Rows = Callable[[Account, list[str]], Iterator[wire.Row]]


def _workspaces(account: Account, ids: list[str]) -> Iterator[wire.Row]:
    for workspace_id in ids:
        known = bool(account.campaigns_of(workspace_id))
        name = account.workspaces[workspace_id].name if known else None
        yield {"workspace_id": workspace_id, "workspace_name": name}


def _customer_groups(account: Account, ids: list[str]) -> Iterator[wire.Row]:
    for workspace_id in ids:
        for group in account.groups_of(workspace_id):
            yield {"workspace_id": workspace_id, **wire.group(group)}


def _profile_fields(account: Account, ids: list[str]) -> Iterator[wire.Row]:
    for workspace_id in ids:
        for field in account.fields_of(workspace_id):
            row = {"workspace_id": workspace_id, **wire.field(field)}
            if field.validation_rules is not None:
                row["validation_rules"] = msgspec.json.encode(field.validation_rules).decode()
            yield row


def _customers(account: Account, ids: list[str]) -> Iterator[wire.Row]:
    for workspace_id in ids:
        encrypted = wire.encrypted_names(account, workspace_id)
        for group in account.groups_of(workspace_id):
            for customer in group.customers.values():
                row = wire.customer(group, customer, encrypted)
                yield {"workspace_id": workspace_id, **row}


def _campaigns(account: Account, ids: list[str]) -> Iterator[wire.Row]:
    for workspace_id in ids:
        for campaign in account.campaigns_of(workspace_id):
            yield {"workspace_id": workspace_id, **wire.campaign(campaign)}


def _campaign_runs(account: Account, _: list[str]) -> Iterator[wire.Row]:
    for campaign, run in account.runs:
        yield {"campaign_id": campaign.campaign_id, **wire.run(campaign, run)}


def _run_messages(account: Account, _: list[str]) -> Iterator[wire.Row]:
    for campaign, run in account.runs:
        for message in run.messages:
            yield wire.message(campaign, run, message)


def _published_messages(account: Account, _: list[str]) -> Iterator[wire.Row]:
    for campaign, run in account.runs:
        if run.published_at is not None:
            for file in run.files[: run.revealed]:
                for position, row in enumerate(file.rows(), start=1):
                    yield {
                        "campaign_id": campaign.campaign_id,
                        "run_number": run.run_number,
                        "file_number": file.number,
                        "row_number": position,
                        "published_at": wire.timestamp(run.published_at, campaign.campaign_id),
                        **row,
                    }


STREAMS: dict[str, Rows] = {
    "workspaces": _workspaces,
    "customer_groups": _customer_groups,
    "profile_fields": _profile_fields,
    "customers": _customers,
    "campaigns": _campaigns,
    "campaign_runs": _campaign_runs,
    "run_messages": _run_messages,
    "published_messages": _published_messages,
}
"""Every stream and how to list its rows within some workspaces."""


KEYS: dict[str, tuple[str, ...]] = {
    "workspaces": ("workspace_id",),
    "customer_groups": ("customer_group_id",),
    "profile_fields": ("workspace_id", "field_id"),
    "customers": ("customer_group_id", "customer_id"),
    "campaigns": ("campaign_id",),
    "campaign_runs": ("campaign_id", "run_number"),
    "run_messages": ("campaign_id", "run_number", "message_id"),
    "published_messages": ("campaign_id", "run_number", "file_number", "row_number"),
}
"""What tells the rows of a stream apart."""


def rows(account: Account, stream: str) -> list[wire.Row]:
    """List the rows of a stream, the hidden workspace's included."""
    with account.lock:
        return list(STREAMS[stream](account, _workspace_ids(account)))


def keys(account: Account, stream: str) -> set[tuple[object, ...]]:
    """Return the keys of a stream's rows."""
    return {tuple(row[name] for name in KEYS[stream]) for row in rows(account, stream)}


def _workspace_ids(account: Account) -> list[str]:
    return [
        workspace_id
        for workspace_id in account.workspaces
        if account.campaigns_of(workspace_id) or workspace_id == account.hidden_workspace_id
    ]
