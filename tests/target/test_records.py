"""Groups, fields, publications and reruns, record by record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.target import Errand
from tests.sandbox import Fault

if TYPE_CHECKING:
    from tests.sandbox.account import Campaign
    from tests.target.sending import Sending


def messages(stream: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    columns = {name: {} for record in records for name in record}
    schema = {"type": "SCHEMA", "stream": stream, "schema": {"properties": columns}}
    return [
        schema | {"key_properties": []},
        *({"type": "RECORD", "stream": stream, "record": record} for record in records),
    ]


def rerunnable(send: Sending, each: Campaign) -> bool:
    return each.workspace_id == send.group.workspace_id


def campaign(send: Sending, status: str) -> Campaign:
    return next(
        each
        for each in send.sandbox.account.campaigns.values()
        if each.status == status and (status != "Published" or rerunnable(send, each))
    )


def test_groups_are_created_changed_and_deleted(send: Sending) -> None:
    records = [{"name": "Fresh", "description": "d"}, {"name": "Nobody yet", "description": "d"}]
    assert send(*messages("customer_groups", *records)).outcomes("customer_groups") == {"sent": 2}
    again = send(*messages("customer_groups", *records))
    assert again.outcomes("customer_groups") == {"unchanged": 2}
    groups = {group.name: group for group in send.sandbox.account.groups.values()}
    assert groups["Nobody yet"].description == "d"
    renamed = {"customer_group_id": groups["Fresh"].customer_group_id, "name": "Old"}
    send(*messages("customer_groups", renamed))
    assert groups["Fresh"].name == "Old"
    gone = messages("customer_groups", {"name": "Old", "_sdc_deleted_at": "2026-01-01"})
    assert send(*gone).outcomes("customer_groups") == {"deleted": 1}
    unknown = send(*messages("customer_groups", {"customer_group_id": "?", "name": "a"}, {}))
    assert unknown.reasons("customer_groups") == {"unknown_group": 1, "no_id": 1}


def test_fields_are_created_and_changed_and_deleted_only_if_that_is_allowed(
    send: Sending,
) -> None:
    account, workspace_id = send.sandbox.account, send.group.workspace_id
    records = [
        {"field_name": "Born", "field_type": "Date", "field_format": "yyyy-MM-dd"},
        {"field_name": "Tier", "options": ["A", "B"], "field_type": "enum"},
        {"field_name": "Grade", "field_type": "number"},
    ]
    sent = send(*messages("profile_fields", *records))
    assert sent.outcomes("profile_fields") == {"sent": 2, "rejected": 1}
    assert sent.reasons("profile_fields") == {"field_type_differs": 1}
    fields = {field.field_name: field for field in account.fields_of(workspace_id)}
    assert (fields["Born"].field_format, fields["Tier"].options) == ("yyyy-MM-dd", ["A", "B"])
    again = send(*messages("profile_fields", *records[:2]))
    assert again.outcomes("profile_fields") == {"unchanged": 2}
    gone = messages("profile_fields", {"field_name": "Born", "_sdc_deleted_at": "2026-01-01"})
    assert send(*gone).reasons("profile_fields") == {"field_delete_not_allowed": 1}
    assert send(*gone, allow_field_delete=True).outcomes("profile_fields") == {"deleted": 1}
    assert "Born" not in {field.field_name for field in account.fields_of(workspace_id)}


@pytest.mark.parametrize("fault", [None, "reset"])
def test_a_campaign_is_published_once_whatever_the_answer(send: Sending, fault: Any) -> None:
    ready = campaign(send, "Ready to Publish")
    if fault:
        send.sandbox.inject(Fault("publish_messages", fault))
    record = messages("campaign_publications", {"campaign_id": ready.campaign_id})
    assert send(*record).outcomes("campaign_publications") == {"sent": 1}
    assert ready.status == "Published"
    assert send(*record).outcomes("campaign_publications") == {"unchanged": 1}
    assert send.sandbox.count("publish_messages") == 1


def test_an_exceeded_quota_and_an_unknown_campaign_are_rejects(send: Sending) -> None:
    send.sandbox.account.publish_quota = 0
    ready = campaign(send, "Ready to Publish")
    ids = [{"campaign_id": ready.campaign_id}, {"campaign_id": "?"}]
    sent = send(*messages("campaign_publications", *ids))
    assert sent.code == 3
    assert sent.reasons("campaign_publications") == {"quota": 1, "unknown_campaign": 1}


def test_a_rerun_is_started_once_and_waited_for(send: Sending) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    runs = len(published.runs)
    assert send(*messages("campaign_reruns", record)).outcomes("campaign_reruns") == {"sent": 1}
    again = send(*messages("campaign_reruns", record))
    assert again.outcomes("campaign_reruns") == {"unchanged": 1}
    assert len(published.runs) == runs + 1


def test_a_rerun_without_an_answer_is_never_started_again(send: Sending) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    send.sandbox.inject(Fault("initiate_rerun", "reset"))
    sent = send(*messages("campaign_reruns", record))
    assert (sent.code, sent.outcomes("campaign_reruns")) == (5, {"unknown": 1})
    again = send(*messages("campaign_reruns", record))
    assert again.reasons("campaign_reruns") == {"begun_before": 1}
    assert send.sandbox.count("initiate_rerun") == 1


def test_a_dry_run_changes_nothing(send: Sending) -> None:
    ready, published = campaign(send, "Ready to Publish"), campaign(send, "Published")
    before = len(send.sandbox.account.groups)
    for stream, record in (
        ("customer_groups", {"name": "Fresh"}),
        ("profile_fields", {"field_name": "Born", "field_type": "string"}),
        ("campaign_publications", {"campaign_id": ready.campaign_id}),
        (
            "campaign_reruns",
            {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"},
        ),
    ):
        sent = send(*messages(stream, record), errand=Errand(dry_run=True))
        assert sent.outcomes(stream) == {"planned": 1}
    assert len(send.sandbox.account.groups) == before
    assert ready.status == "Ready to Publish"
