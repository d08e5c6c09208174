"""Publishing on request: once a run, within the quota, until the files are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.expectation import assert_stream
from tests.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run

READY = {"Ready to publish", "Ready to Publish"}


def statuses(sandbox: Sandbox) -> set[str]:
    return {campaign.status for campaign in sandbox.account.campaigns.values()}


def test_nothing_is_published_unless_asked_for(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    assert tap().code == 0
    assert sandbox.count("publish_messages") == 0
    assert statuses(sandbox) >= READY


def test_ready_campaigns_are_published_once_and_all_their_files_read(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap(publish_ready_campaigns=True)
    assert run.code == 0, run.stderr
    assert sandbox.count("publish_messages") == 2
    assert not statuses(sandbox) & READY
    assert_stream(run, sandbox.account, "published_messages")
    assert tap(state=run.state, publish_ready_campaigns=True).code == 0
    assert sandbox.count("publish_messages") == 2


def test_a_used_up_quota_ends_the_publishing_and_not_the_run(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.publish_quota = 1
    run = tap(publish_ready_campaigns=True)
    assert run.code == 1
    assert "quota is used up" in run.stderr
    assert sandbox.count("publish_messages") == 2
    assert_stream(run, sandbox.account, "published_messages")


def test_a_publication_without_an_answer_is_looked_up_and_not_sent_again(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.inject(Fault("publish_messages", "reset_before", 1))
    run = tap(publish_ready_campaigns=True)
    assert run.code == 0, run.stderr
    assert sandbox.count("publish_messages") == 2, "one for each of the two campaigns"
    assert_stream(run, sandbox.account, "published_messages")


def test_a_publication_that_was_not_done_is_reported(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.inject(Fault("publish_messages", "ignored", 1))
    run = tap(publish_ready_campaigns=True, publish_timeout_seconds=1)
    assert "have not settled in 1 s" in run.stderr
