"""One lively day of an account."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.sandbox import runs
from tests.sandbox.account import PUBLISHED, READY_FOR_REVIEW, READY_TO_PUBLISH, Campaign
from tests.sandbox.seeding import make_customer

if TYPE_CHECKING:
    from datetime import datetime

    from tests.sandbox.account import Account, Group


def live_a_day(account: Account) -> dict[str, list[str]]:
    """Change customers and campaigns, and move the clock by a day.

    Returns:
        Ids by what happened: customers_updated, customers_created, customers_deleted,
        campaigns_published, campaigns_rerun, campaigns_changed.
    """
    with account.lock:
        start = account.now
        account.now += timedelta(days=1)
        group = next(group for group in account.groups.values() if group.customers)
        touched = _change_customers(account, group, start + timedelta(hours=6))
        touched["campaigns_changed"] = _review_one(account, start + timedelta(hours=9))
        touched["campaigns_rerun"] = _rerun_one(account, group, start + timedelta(hours=12))
        touched["campaigns_published"] = _publish_one(account, group, start + timedelta(hours=18))
        return touched


def _change_customers(account: Account, group: Group, at: datetime) -> dict[str, list[str]]:
    deleted, *updated = list(group.customers)[:4]
    del group.customers[deleted]
    for customer_id in updated:
        customer = group.customers[customer_id]
        customer.profile["First Name"] = f"Renamed on {at:%d %B}"
        customer.updated_at = at
    created = []
    for _ in range(2):
        customer = make_customer(account, group, account.random.randrange(10_000_000, 99_999_999))
        customer.created_at = customer.updated_at = at
        group.customers[customer.customer_id] = customer
        created.append(customer.customer_id)
    return {
        "customers_updated": updated,
        "customers_created": created,
        "customers_deleted": [deleted],
    }


def _review_one(account: Account, at: datetime) -> list[str]:
    for campaign in account.campaigns.values():
        if campaign.status == READY_FOR_REVIEW:
            campaign.status = campaign.current_run.status = READY_TO_PUBLISH
            campaign.updated_at = at
            return [campaign.campaign_id]
    return []


def _rerun_one(account: Account, group: Group, at: datetime) -> list[str]:
    for campaign in account.campaigns_of(group.workspace_id):
        if campaign.status == PUBLISHED:
            runs.start(account, campaign, group, at, runs.Plan())
            _publish(campaign, at + timedelta(hours=1))
            return [campaign.campaign_id]
    return []


def _publish_one(account: Account, group: Group, at: datetime) -> list[str]:
    campaign = Campaign(
        account.new_id(),
        group.workspace_id,
        f"Campaign of {at:%d %B %Y}",
        READY_FOR_REVIEW,
        created_at=at,
        updated_at=at,
        published_at=None,
        runs=[],
    )
    account.campaigns[campaign.campaign_id] = campaign
    runs.start(account, campaign, group, at, runs.Plan())
    _publish(campaign, at + timedelta(hours=1))
    return [campaign.campaign_id]


def _publish(campaign: Campaign, at: datetime) -> None:
    runs.publish(campaign, at)
    campaign.current_run.revealed = len(campaign.current_run.files)
