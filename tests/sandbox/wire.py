"""How the account's state looks on the wire."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections import Counter
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from tests.sandbox.account import (
        Account,
        Campaign,
        Customer,
        Field,
        Group,
        Message,
        Run,
        Value,
        Workspace,
    )

Row = dict[str, object]

_ABROAD = timezone(timedelta(hours=2))


def in_numbers(answer: object) -> object:
    """Return an answer with identifiers as whole numbers, and run numbers as text."""
    if isinstance(answer, list):
        return [in_numbers(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        name: _FORMS[name](value) if value is not None and name in _FORMS else in_numbers(value)
        for name, value in answer.items()
    }


_FORMS: dict[str, Callable[[Any], object]] = dict.fromkeys(
    (
        "workspace_id",
        "campaign_id",
        "customer_group_id",
        "customer_id",
        "field_id",
        "message_id",
        "job_id",
    ),
    int,
) | {"run_number": str}


def timestamp(moment: datetime | None, owner: str) -> str | None:
    """Write a moment in one of the forms seen, always the same one for an owner's id."""
    if moment is None:
        return None
    match zlib.crc32(owner.encode()) % 5:
        case 0:
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        case 1:
            return moment.astimezone(_ABROAD).isoformat(timespec="seconds")
        case 2:
            return moment.replace(tzinfo=None).isoformat(timespec="seconds")
        case 3:
            return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        case _:
            return moment.isoformat(timespec="microseconds")


def encrypt(value: Value) -> str | None:
    """Turn a value into opaque text, the same one for the same value; null stays null."""
    if value is None:
        return None
    return base64.b64encode(hashlib.sha512(f"sealed {value}".encode()).digest()[:48]).decode()


def workspace(workspace: Workspace, campaigns: list[Campaign]) -> Row:
    """A workspace with its campaigns."""
    return {
        "workspace_id": workspace.workspace_id,
        "workspace_name": workspace.name,
        "campaigns": [campaign(each) for each in campaigns],
    }


def campaign(campaign: Campaign) -> Row:
    """A campaign without its runs."""
    return {
        "campaign_id": campaign.campaign_id,
        "name": campaign.name,
        "status": campaign.status,
        "created_at": timestamp(campaign.created_at, campaign.campaign_id),
        "updated_at": timestamp(campaign.updated_at, campaign.campaign_id),
        "published_at": timestamp(campaign.published_at, campaign.campaign_id),
        "run_number": campaign.current_run.run_number,
        "customer_group_id": campaign.current_run.customer_group_id,
    }


def run(campaign: Campaign, run: Run) -> Row:
    """A run, with its messages counted by how they were handled."""
    outcomes = Counter(message.review_status.lower() for message in run.messages)
    return {
        "run_number": run.run_number,
        "status": run.status,
        "customer_group_id": run.customer_group_id,
        "customer_group_name": run.customer_group_name,
        "segment_count": len({message.segment["segment_id"] for message in run.messages}),
        "message_summary": {"total": len(run.messages), **dict(sorted(outcomes.items()))},
        "started_at": timestamp(run.started_at, campaign.campaign_id),
        "published_at": timestamp(run.published_at, campaign.campaign_id),
    }


def message(campaign: Campaign, run: Run, message: Message) -> Row:
    """A message of a run."""
    return {
        "message_id": message.message_id,
        "campaign_id": campaign.campaign_id,
        "run_number": run.run_number,
        "segment": dict(message.segment),
        "content": message.content,
        "channel": message.channel,
        "review_status": message.review_status,
        "approval_stage": message.approval_stage,
        "archived": message.archived,
        "created_at": timestamp(message.created_at, message.message_id),
        "updated_at": timestamp(message.updated_at, message.message_id),
    }


def group(group: Group) -> Row:
    """A customer group."""
    return {
        "customer_group_id": group.customer_group_id,
        "name": group.name,
        "description": group.description,
        "customer_count": len(group.customers),
        "created_at": timestamp(group.created_at, group.customer_group_id),
        "updated_at": timestamp(group.updated_at, group.customer_group_id),
    }


def encrypted_names(account: Account, workspace_id: str) -> set[str]:
    """Names of the fields whose values leave encrypted."""
    return {field.field_name for field in account.fields_of(workspace_id) if field.encrypted}


def customer(group: Group, customer: Customer, encrypted: Collection[str]) -> Row:
    """A customer; values of the fields named in `encrypted` become opaque text."""
    row: Row = {
        "customer_id": customer.customer_id,
        "customer_group_id": group.customer_group_id,
        "profile": {
            name: encrypt(value) if name in encrypted else value
            for name, value in customer.profile.items()
        },
        "created_at": timestamp(customer.created_at, customer.customer_id),
    }
    if customer.updated_at is not None:
        row["updated_at"] = timestamp(customer.updated_at, customer.customer_id)
    return row


def field(field: Field) -> Row:
    """The definition of a profile field."""
    return {
        "field_id": field.field_id,
        "field_name": field.field_name,
        "display_name": field.display_name or field.field_name,
        "field_type": field.field_type,
        "field_format": field.field_format,
        "required": field.required,
        "unique_identifier": field.unique_identifier,
        "encrypted": field.encrypted,
        "options": field.options,
        "validation_rules": field.validation_rules,
    }
