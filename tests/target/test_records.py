"""Groups, fields, publications and reruns, record by record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.target import Errand
from tests.sandbox import Fault, runs

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


def test_validation_rules_of_a_field_are_sent_as_the_tap_gives_them(send: Sending) -> None:
    """As JSON text or as JSON; rules that differ in their order only are the same."""
    account, workspace_id = send.sandbox.account, send.group.workspace_id
    text = '{"pattern":"^[a-z]+$","max_length":40}'
    records = [
        {"field_name": "Code", "field_type": "string", "validation_rules": text},
        {"field_name": "Tier", "validation_rules": ["A", {"b": 1.5}]},
        {"field_name": "Grade", "validation_rules": "{not JSON"},
    ]
    sent = send(*messages("profile_fields", *records))
    assert sent.outcomes("profile_fields") == {"sent": 2, "rejected": 1}
    assert sent.reasons("profile_fields") == {"not_json": 1}
    fields = {field.field_name: field for field in account.fields_of(workspace_id)}
    assert fields["Code"].validation_rules == json.loads(text)
    assert fields["Tier"].validation_rules == ["A", {"b": 1.5}]
    assert fields["Grade"].validation_rules == 1
    turned = {"field_name": "Code", "validation_rules": '{"max_length": 40, "pattern": "^[a-z]+$"}'}
    again = send(*messages("profile_fields", turned, records[1]))
    assert again.outcomes("profile_fields") == {"unchanged": 2}


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


@pytest.mark.parametrize(
    "fault", ["refused", "rate_limited", "bad_request", "conflict", "unprocessable"]
)
def test_a_rerun_that_the_api_soundly_refuses_is_started_by_the_next_run(
    send: Sending, fault: Any
) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    send.sandbox.inject(Fault("initiate_rerun", fault, times=1000))
    assert send(*messages("campaign_reruns", record)).code in {1, 3}
    send.sandbox.faults.clear()
    assert send(*messages("campaign_reruns", record)).outcomes("campaign_reruns") == {"sent": 1}


def test_a_rerun_that_got_no_connection_is_started_by_the_next_run(send: Sending) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    send.sandbox.inject(Fault("list_runs", "unreachable"))
    sent = send(*messages("campaign_reruns", record))
    assert (sent.code, sent.outcomes("campaign_reruns")) == (1, {})
    assert "nothing was sent" in sent.logged
    send.sandbox.reopen()
    assert send.sandbox.count("initiate_rerun") == 0
    assert send(*messages("campaign_reruns", record)).outcomes("campaign_reruns") == {"sent": 1}


def test_a_rerun_whose_session_cannot_be_renewed_is_started_by_the_next_run(
    send: Sending,
) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    send.sandbox.inject(Fault("initiate_rerun", "expired_token"))
    send.sandbox.inject(Fault("refresh", "server_error", times=99))
    send.sandbox.inject(Fault("login", "server_error", times=99, after=1))
    assert send(*messages("campaign_reruns", record)).code == 1
    send.sandbox.faults.clear()
    assert send(*messages("campaign_reruns", record)).outcomes("campaign_reruns") == {"sent": 1}


def test_a_rerun_that_was_started_is_known_as_such_though_waiting_for_it_fails(
    send: Sending,
) -> None:
    published = campaign(send, "Published")
    record = {"campaign_id": published.campaign_id, "customer_group": "Loyal; since 2019"}
    send.sandbox.inject(Fault("list_runs", "server_error", times=1000, after=1))
    assert send(*messages("campaign_reruns", record)).code == 1
    send.sandbox.faults.clear()
    again = send(*messages("campaign_reruns", record))
    assert (again.code, again.outcomes("campaign_reruns")) == (0, {"unchanged": 1})
    assert send.sandbox.count("initiate_rerun") == 1


@pytest.mark.parametrize(
    ("stream", "operation", "status"),
    [
        ("campaign_reruns", "initiate_rerun", "Published"),
        ("campaign_publications", "publish_messages", "Ready to Publish"),
    ],
)
def test_an_answer_that_says_done_is_not_believed_when_nothing_is_done(
    send: Sending, stream: str, operation: str, status: str
) -> None:
    named = {"customer_group": "Loyal; since 2019"} if stream == "campaign_reruns" else {}
    record = {"campaign_id": campaign(send, status).campaign_id} | named
    send.sandbox.inject(Fault(operation, "ignored"))
    sent = send(*messages(stream, record))
    assert (sent.code, sent.outcomes(stream)) == (5, {"unknown": 1})


@pytest.mark.parametrize("lost", [False, True])
def test_a_record_that_has_published_a_run_does_not_publish_the_next_one(
    send: Sending, *, lost: bool
) -> None:
    account, ready = send.sandbox.account, campaign(send, "Ready to Publish")
    record = messages("campaign_publications", {"campaign_id": ready.campaign_id})
    if lost:
        # Nor does the run hear that it was done: what asks for it afterwards fails, too.
        send.sandbox.inject(Fault("publish_messages", "reset"))
        send.sandbox.inject(Fault("list_campaigns", "server_error", times=1000, after=1))
    assert send(*record).code == int(lost)
    send.sandbox.faults.clear()
    known = account.groups[str(ready.current_run.customer_group_id)]
    runs.start(account, ready, known, account.now, runs.Plan())
    assert ready.status == "Ready to publish"
    assert send(*record).outcomes("campaign_publications") == {"unchanged": 1}
    assert ready.status == "Ready to publish"
    other = {"campaign_id": ready.campaign_id, "asked": "for the second run"}
    sent = send(*messages("campaign_publications", other))
    assert sent.outcomes("campaign_publications") == {"sent": 1}
    assert ready.status == "Published"


def test_a_record_that_found_its_campaign_published_does_not_publish_the_next_run(
    send: Sending,
) -> None:
    account, ready = send.sandbox.account, campaign(send, "Ready to Publish")
    runs.publish(ready, account.now)
    record = messages("campaign_publications", {"campaign_id": ready.campaign_id})
    assert send(*record).outcomes("campaign_publications") == {"unchanged": 1}
    known = account.groups[str(ready.current_run.customer_group_id)]
    runs.start(account, ready, known, account.now, runs.Plan())
    assert send(*record).outcomes("campaign_publications") == {"unchanged": 1}
    assert ready.status == "Ready to publish"


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
