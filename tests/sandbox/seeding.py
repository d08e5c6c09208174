"""Make an account from a seed: the same seed and size give the same account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.sandbox import runs
from tests.sandbox.account import (
    PUBLISHED,
    READY_FOR_REVIEW,
    READY_TO_PUBLISH,
    Account,
    Campaign,
    Customer,
    Field,
    Group,
    Workspace,
)
from tests.sandbox.values import value

Size = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class Scale:
    """How much of everything an account has.

    Attributes:
        customers: Customers in all.
        campaigns: Campaigns in all, at least the ten of `_STATUSES`.
        messages: Most messages a run.
        file_rows: Least and most rows of a message file.
    """

    customers: int
    page_size: int
    campaigns: int
    messages: int
    file_rows: tuple[int, int]


SCALES: dict[Size, Scale] = {
    "small": Scale(120, 25, 10, 8, (30, 180)),
    "medium": Scale(5_000, 100, 20, 30, (200, 950)),
    "large": Scale(100_000, 500, 40, 60, (7_000, 20_000)),
}

_OLDEST = datetime(2025, 3, 1, tzinfo=UTC)
_DAYS = 420
_SHARES = ((0, 55, "Newsletter"), (0, 30, "Loyal; since 2019"), (0, 0, "Nobody yet"))
_OTHER_SHARES = ((1, 25, "größte Kunden"), (2, 10, "Hidden guests"))
_STATUSES = (
    PUBLISHED,
    READY_FOR_REVIEW,
    PUBLISHED,
    READY_TO_PUBLISH,
    PUBLISHED,
    "Ready to Publish",
    PUBLISHED,
    "Awaiting moonrise",
    PUBLISHED,
    "Draft",
)
_FIELDS: tuple[tuple[str, str, str | None], ...] = (
    ("Customer Ref", "string", None),
    ("E-Mail:Work", "string", None),
    ("First Name", "string", None),
    ("first-name", "string", None),
    ("größe", "number", None),
    ("Loyalty Points", "number", None),
    ("Total Spend", "currency", "EUR"),
    ("Credit", "currency", "AED"),
    ("Birthday", "Date", "dd/MM/yyyy"),
    ("Joined", "Date", "yyyy-MM-dd"),
    ("Last Order", "Date", "MMM dd, yyyy"),
    ("Renewal", "Date", "dd MMMM yyyy"),
    ("Trial End", "Date", "MM/dd/yy"),
    ("Grade", "char", None),
    ("Tier", "enum", None),
    ("Phone", "string", None),
)
_RULES: dict[str, object] = {
    "Customer Ref": {"pattern": '^"?[0-9]+$', "max_length": 40},
    "Loyalty Points": [{"rule": "min", "value": 0}, {"rule": "max", "value": 12.5}],
    "Phone": "E.164",
    "Grade": 1,
    "Tier": False,
}
"""Of every JSON type that rules may have: their form is not documented."""

_MILESTONES = (
    "MM/dd/yyyy",
    "dd-MM-yyyy",
    "MM-dd-yyyy",
    "yyyy/MM/dd",
    "dd MMM yyyy",
    "MMMM dd, yyyy",
    "dd/MM/yy",
)
"""The date formats that no other field has."""
_ELSEWHERE: dict[str, tuple[str, str | None]] = {
    "Loyalty Points": ("string", None),
    "Total Spend": ("currency", "USD"),
    "Birthday": ("Date", "dd.MM.yyyy"),
    "Trial End": ("Date", "yy/MM/dd"),
}
"""Fields that are something else in every workspace but the first."""


def make_account(seed: int, size: Size, *, numeric_ids: bool = False) -> Account:
    """Make an account whose data are all at least 30 days older than its clock."""
    account = Account(seed=seed, account_id="", user_id="", numeric_ids=numeric_ids)
    account.account_id, account.user_id = account.new_id(), account.new_id()
    scale = SCALES[size]
    account.page_size = scale.page_size
    for name in ("Aurora Outfitters", 'Borealis, "Books" & Co', "Cellar Door"):
        workspace = Workspace(account.new_id(), name)
        account.workspaces[workspace.workspace_id] = workspace
    workspace_ids = list(account.workspaces)
    account.hidden_workspace_id = workspace_ids[-1]
    for position, workspace_id in enumerate(workspace_ids):
        _add_fields(account, workspace_id, first=position == 0)
    for position, share, name in (*_SHARES, *_OTHER_SHARES):
        _add_group(account, workspace_ids[position], name, share * scale.customers // 120)
    for position in range(scale.campaigns):
        _add_campaign(account, workspace_ids[position % 2], position, scale)
    return account


def _moment(account: Account) -> datetime:
    """Some moment of the account's past, in whole milliseconds."""
    return _OLDEST + timedelta(milliseconds=account.random.randrange(_DAYS * 86_400_000))


def _add_fields(account: Account, workspace_id: str, *, first: bool) -> None:
    milestones = (
        (f"Milestone {number}", "Date", pattern)
        for number, pattern in enumerate(_MILESTONES, start=1)
    )
    for name, field_type, field_format in (*_FIELDS, *milestones):
        if not first:
            field_type, field_format = _ELSEWHERE.get(name, (field_type, field_format))  # noqa: PLW2901
        field_id = account.new_id()
        account.fields[field_id] = Field(
            field_id,
            workspace_id,
            name,
            field_type,
            field_format,
            display_name=name.title(),
            required=name == "Customer Ref",
            unique_identifier=name in {"Customer Ref", "E-Mail:Work"},
            encrypted=name == "Phone",
            options=["Bronze", "Silver", "Gold, 24 ct"] if field_type == "enum" else None,
            validation_rules=_RULES.get(name),
        )


def _add_group(account: Account, workspace_id: str, name: str, customers: int) -> None:
    created_at = _moment(account)
    description = None if customers else "Empty so far"
    group = Group(account.new_id(), workspace_id, name, description, created_at, None)
    account.groups[group.customer_group_id] = group
    for position in range(customers):
        customer = make_customer(account, group, position)
        group.customers[customer.customer_id] = customer


def make_customer(account: Account, group: Group, position: int) -> Customer:
    """Invent a customer; some lack keys of their profile, or the time of their last change."""
    source = account.random
    profile = {
        field.field_name: value(field, source, position)
        for field in account.fields_of(group.workspace_id)
        if field.unique_identifier or source.random() > 0.04
    }
    created_at = _moment(account)
    last = _OLDEST + timedelta(days=_DAYS)
    updated_at = created_at + (last - created_at) * source.random()
    return Customer(
        account.new_id(),
        profile,
        created_at,
        None if position % 9 == 4 else _whole_milliseconds(updated_at),
    )


def _add_campaign(account: Account, workspace_id: str, position: int, scale: Scale) -> None:
    status = _STATUSES[position % len(_STATUSES)]
    created_at = _moment(account)
    campaign = Campaign(
        account.new_id(),
        workspace_id,
        f"Campaign {position + 1:02d}: {'spring' if position % 3 else 'süße Träume 🍰'}",
        status,
        created_at,
        updated_at=None if position % 7 == 5 else created_at,
        published_at=None,
        runs=[],
    )
    account.campaigns[campaign.campaign_id] = campaign
    groups = [group for group in account.groups_of(workspace_id) if group.customers]
    published = (position // 2) % 3 + 1 if status == PUBLISHED else 0
    last = _OLDEST + timedelta(days=_DAYS)
    for number in range(max(published, 1)):
        moment = _whole_milliseconds(created_at + (last - created_at) * ((number + 1) / 4))
        plan = runs.Plan(
            messages=account.random.randint(3, scale.messages),
            files=(position + number) % 3 + 1,
            rows=scale.file_rows,
            extra_column=position >= 4,
            line_end="\r\n" if position == 2 else "\n",
            notable=position == 0 and number == 0,
        )
        runs.start(account, campaign, groups[number % len(groups)], moment, plan)
        campaign.status = campaign.current_run.status = status
        if published:
            runs.publish(campaign, moment + timedelta(hours=1))
            campaign.current_run.revealed = len(campaign.current_run.files)


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
