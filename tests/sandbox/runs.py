"""The life of a campaign's run: started, published, followed by the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sandbox.account import (
    PUBLISHED,
    READY_FOR_REVIEW,
    READY_TO_PUBLISH,
    Account,
    Campaign,
    Group,
    Message,
    Run,
)
from tests.sandbox.files import COLUMNS, LATER_COLUMN, MessageFile

if TYPE_CHECKING:
    from datetime import datetime

_CHANNELS = ("email", "sms", "push")
_REVIEWS = ("Approved", "Edited", "Pending")


@dataclass(frozen=True)
class Plan:
    """What a run is to hold.

    Attributes:
        rows: Least and most rows of a file.
        extra_column: Whether the files have the column that came later.
        notable: Whether the first file passes 1000 rows and holds a very long body.
    """

    messages: int = 6
    files: int = 2
    rows: tuple[int, int] = (30, 180)
    extra_column: bool = True
    line_end: str = "\n"
    notable: bool = False


def start(account: Account, campaign: Campaign, group: Group, at: datetime, plan: Plan) -> Run:
    """Add a run and make it the current one; messages of the last run are put aside."""
    number = len(campaign.runs) + 1
    known = {run.customer_group_id for run in campaign.runs}
    for message in campaign.runs[-1].messages if campaign.runs else []:
        message.archived = True
        message.updated_at = at
    run = Run(
        number,
        READY_TO_PUBLISH if group.customer_group_id in known else READY_FOR_REVIEW,
        group.customer_group_id,
        group.name,
        started_at=at,
        published_at=None,
        messages=[_message(account, position, at) for position in range(plan.messages)],
        files=_files(account, campaign, number, group, at, plan),
    )
    campaign.runs.append(run)
    campaign.status = run.status
    campaign.updated_at = at
    return run


def publish(campaign: Campaign, at: datetime) -> None:
    """Publish the current run with its active messages; its files are yet to be exported."""
    run = campaign.current_run
    for message in run.messages:
        if not message.archived:
            message.review_status = "Approved"
            message.approval_stage = PUBLISHED
            message.updated_at = at
    run.status = campaign.status = PUBLISHED
    run.published_at = campaign.published_at = campaign.updated_at = at


def _message(account: Account, position: int, at: datetime) -> Message:
    source = account.random
    return Message(
        message_id=account.new_id(),
        segment={
            "segment_id": f"segment-{position // 2 + 1}",
            "name": f"Segment {position // 2 + 1}",
            "size": source.randrange(1, 400),
        },
        content=None if position % 5 == 4 else f'Dear "{{First Name}}",\nmessage {position} 💌',
        channel=source.choice(_CHANNELS),
        review_status=source.choice(_REVIEWS),
        approval_stage="In review",
        created_at=at,
        updated_at=None if position % 4 == 3 else at,
        archived=position == 2,
    )


def _files(  # noqa: PLR0913, PLR0917 - a file is about all of these
    account: Account, campaign: Campaign, run_number: int, group: Group, at: datetime, plan: Plan
) -> list[MessageFile]:
    customer_ids = tuple(group.customers)
    return [
        MessageFile(
            campaign.campaign_id,
            run_number,
            number,
            row_count=(
                max(1500, plan.rows[0])
                if plan.notable and number == 1
                else account.random.randint(*plan.rows)
            ),
            columns=(*COLUMNS, LATER_COLUMN) if plan.extra_column else COLUMNS,
            line_end=plan.line_end,
            seed=account.seed,
            customer_ids=customer_ids,
            day=at,
            long_body=plan.notable and number == 1,
        )
        for number in range(1, plan.files + 1)
    ]
