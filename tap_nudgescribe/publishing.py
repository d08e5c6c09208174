"""Publish campaigns that are ready, where the user has asked for it, and wait for their files."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tap_nudgescribe.errors import OutcomeUnknownError, QuotaError

if TYPE_CHECKING:
    from tap_nudgescribe.account import Account
    from tap_nudgescribe.failures import Failures

logger = logging.getLogger("tap-nudgescribe")

READY = "ready to publish"

STREAM = "published_messages"


def publish_ready_campaigns(account: Account, failures: Failures, *, timeout: int) -> None:
    """Publish each campaign in "Ready to publish" once, and wait until its files settle.

    A used-up quota ends the publishing, not the run. After an answer that did not come, the
    campaign's status is asked: published or not, it is not published again in this run.

    Args:
        account: The account; its campaigns are read anew afterwards.
        failures: Where failed campaigns are reported.
        timeout: Seconds to wait for the files of one campaign. Files that come later are read
            by the next run.
    """
    published = []
    for campaign in account.campaigns():
        if str(campaign.get("status") or "").lower() != READY:
            continue
        campaign_id = campaign["campaign_id"]
        refused = False
        with failures.part(STREAM, f"publishing campaign {campaign_id}"):
            try:
                account.client.publish_messages(campaign_id)
            except QuotaError:
                refused = True
                raise
            except OutcomeUnknownError:
                account.forget_campaigns()
                if _is_ready(account, campaign_id):
                    raise
            published.append(campaign_id)
        if refused:
            break
    if published:
        account.forget_campaigns()
    for campaign_id in published:
        with failures.part(STREAM, f"waiting for the files of campaign {campaign_id}"):
            _wait_for_files(account, campaign_id, timeout)


def _is_ready(account: Account, campaign_id: str) -> bool:
    return any(
        campaign["campaign_id"] == campaign_id
        and str(campaign.get("status") or "").lower() == READY
        for campaign in account.campaigns()
    )


def _wait_for_files(account: Account, campaign_id: str, timeout: int) -> None:
    """Ask for the number of files until it is above 0 and the same twice, or time is up."""
    deadline = time.monotonic() + timeout
    before = 0
    tries = 0
    while time.monotonic() < deadline:
        count = account.client.count_message_files(campaign_id)
        if count and count == before:
            logger.info("Campaign %s is published: %d files", campaign_id, count)
            return
        before = count
        tries += 1
        account.client.transport.pause(min(tries, 6))
    logger.warning(
        "The files of campaign %s have not settled in %d s; the next run reads what comes later",
        campaign_id,
        timeout,
    )
