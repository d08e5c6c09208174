"""What the API may do wrong: nothing is lost, nothing is believed without proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import Fault
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from tests.sandbox.faults import Kind
    from tests.target.sending import Sending

MESSAGES = [schema(), *(row(n) for n in range(40)), state()]


def names(send: Sending) -> set[Any]:
    return {customer.profile["First Name"] for customer in send.customers.values()}


@pytest.mark.parametrize("kind", ["rate_limited", "expired_token", "latency"])
def test_what_passes_is_waited_for(send: Sending, kind: Kind) -> None:
    send.sandbox.inject(Fault("upload_customers", kind))
    sent = send(*MESSAGES)
    assert (sent.code, len(sent.states)) == (0, 1)
    assert sent.outcomes() == {"sent": 40}
    assert len(send.customers) == 40


@pytest.mark.parametrize(
    "kind", ["reset", "reset_before", "truncated", "server_error", "invalid_json"]
)
def test_an_upload_that_was_done_without_a_sound_answer_is_found_there(
    send: Sending, kind: Kind
) -> None:
    send.sandbox.inject(Fault("upload_customers", kind))
    sent = send(*MESSAGES)
    assert (sent.code, len(sent.states)) == (0, 1)
    assert sent.outcomes() == {"sent": 40}
    assert send(*MESSAGES).outcomes() == {"unchanged": 40}
    assert send.sandbox.count("upload_customers") == 1


@pytest.mark.parametrize(("kind", "code"), [("ignored", 5), ("not_found", 1)])
def test_an_upload_that_did_nothing_is_never_taken_for_done(
    send: Sending, kind: Kind, code: int
) -> None:
    send.sandbox.inject(Fault("upload_customers", kind))
    sent = send(*MESSAGES)
    assert (sent.code, sent.states) == (code, [])
    assert not send.customers
    again = send(*MESSAGES)
    assert (again.code, again.outcomes()) == (0, {"sent": 40})
    assert len(send.customers) == 40


def test_three_uploads_without_a_sound_answer_end_the_run(send: Sending) -> None:
    send.sandbox.inject(Fault("upload_customers", "server_error", times=100))
    sent = send(*MESSAGES, batch_size_rows=5)
    assert (sent.code, sent.states) == (5, [])
    assert send.sandbox.count("upload_customers") == 3


def test_a_batch_refused_without_reasons_is_halved_until_the_culprit_stands_alone(
    send: Sending,
) -> None:
    send.sandbox.inject(Fault("upload_customers", "bad_request", times=100, match="Name 23\r"))
    sent = send(*MESSAGES)
    assert sent.outcomes() == {"sent": 39, "rejected": 1}
    assert sent.code == 3
    (reject,) = send.rejects()
    assert (reject["row_number"], reject["code"]) == (24, "refused")
    assert send.sandbox.count("upload_customers") < 20


def test_an_upload_that_is_too_large_is_halved_and_the_next_ones_are_smaller(
    send: Sending,
) -> None:
    send.sandbox.account.upload_bytes = 1500
    rows = [row(n, first_name="x" * 40) for n in range(80)]
    sent = send(schema(), *rows, state(), batch_size_rows=40)
    assert (sent.code, len(sent.states), sent.outcomes()) == (0, 1, {"sent": 80})
    sizes = [len(body["file"]) for name, body in send.sandbox.requests if "upload" in name]
    assert [size > 1200 for size in sizes] == [True, False, False, False, False]


@pytest.mark.parametrize("encoding", ["multipart", "json"])
def test_a_row_that_is_too_large_by_itself_costs_that_row(send: Sending, encoding: str) -> None:
    send.sandbox.account.upload_bytes = 2000
    messages = [schema(), *(row(n) for n in range(9)), row(9, first_name="x" * 2000), row(10)]
    sent = send(*messages, upload_encoding=encoding)
    assert (sent.code, sent.outcomes()) == (3, {"sent": 10, "rejected": 1})
    (reject,) = send.rejects()
    assert (reject["row_number"], reject["code"]) == (10, "too_large")
    assert send(*messages, upload_encoding=encoding).counts()["quarantined"] == 1


def test_the_api_may_name_its_reasons_a_few_at_a_time(send: Sending) -> None:
    send.sandbox.account.problems_listed = 2
    fields = send.sandbox.account.fields_of(send.group.workspace_id)
    grade = next(field for field in fields if field.field_name == "First Name")
    late = Fault("upload_customers", "change", then=lambda _: setattr(grade, "field_type", "char"))
    send.sandbox.inject(late)
    sent = send(schema(), *(row(n, first_name="A" if n % 5 else "AB") for n in range(20)))
    assert sent.outcomes() == {"sent": 16, "rejected": 4}
    assert sent.reasons() == {"invalid_char": 4}


@pytest.mark.parametrize("wait", [2, 4])
def test_queued_rows_count_as_sent_only_when_they_are_there(send: Sending, wait: int) -> None:
    send.sandbox.account.queue_above, send.sandbox.account.queue_wait = 10, wait
    sent = send(*MESSAGES, confirm_timeout_seconds=20)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})
    assert len(send.customers) == 40


def test_a_job_that_never_ends_leaves_its_rows_unknown_and_they_are_sent_again(
    send: Sending,
) -> None:
    send.sandbox.account.queue_above, send.sandbox.account.queue_wait = 10, 10_000
    sent = send(*MESSAGES)
    assert (sent.code, sent.states, sent.outcomes()) == (5, [], {"unknown": 40})
    send.sandbox.account.jobs.clear()
    send.sandbox.account.queue_above = 100
    assert send(*MESSAGES).outcomes() == {"sent": 40}
    assert len(send.customers) == 40


def test_a_job_that_was_done_by_half_counts_by_half(send: Sending) -> None:
    account = send.sandbox.account
    account.queue_above, account.queue_wait = 10, 2

    def lose_half(_: Any) -> None:
        for job in account.jobs:
            job.rows = job.rows[:20]

    send.sandbox.inject(Fault("count_customer_pages", "change", then=lose_half))
    sent = send(*MESSAGES, confirm_timeout_seconds=3)
    assert sent.code == 5
    assert sent.outcomes() == {"sent": 20, "unknown": 20}


def test_a_newer_row_never_overtakes_an_older_one_that_is_queued(send: Sending) -> None:
    send.sandbox.account.queue_above, send.sandbox.account.queue_wait = 3, 3
    rows = [row(n, first_name="old") for n in range(5)]
    sent = send(schema(), *rows, row(1, first_name="new"), batch_size_rows=5)
    assert sent.outcomes() == {"sent": 6}
    assert send.customers["r-1"].profile["First Name"] == "new"


def test_a_doubt_about_a_row_outlives_a_source_that_goes_back(send: Sending) -> None:
    send(schema(), row(1, first_name="A"))
    send.sandbox.inject(Fault("upload_customers", "reset"))
    send.sandbox.inject(Fault("count_customer_pages", "server_error", times=10))
    assert send(schema(), row(1, first_name="B")).code == 1
    assert send.customers["r-1"].profile["First Name"] == "B"
    send.sandbox.faults.clear()
    assert send(schema(), row(1, first_name="A")).outcomes() == {"sent": 1}
    assert send.customers["r-1"].profile["First Name"] == "A"


def test_the_api_may_check_before_each_upload(send: Sending) -> None:
    sent = send(*MESSAGES, server_validation="before_upload")
    assert sent.outcomes() == {"sent": 40}
    bodies = [body for name, body in send.sandbox.requests if name == "upload_customers"]
    assert [bool(body.get("validate_only")) for body in bodies] == [True, False]


@pytest.mark.parametrize("verify", ["sample", "full"])
def test_what_arrived_otherwise_is_found_when_it_is_read_back(send: Sending, verify: str) -> None:
    assert send(*MESSAGES, verify=verify).outcomes() == {"sent": 40}

    def spoil(_: Any) -> None:
        send.customers["r-0"].profile["First Name"] = "Somebody else"

    send.sandbox.inject(Fault("count_customer_pages", "change", times=99, then=spoil))
    changed = [schema(), *(row(n, first_name="v2") for n in range(40))]
    sent = send(*changed, verify=verify)
    assert (sent.code, sent.outcomes()) == (5, {"sent": 39, "unknown": 1})
    send.sandbox.faults.clear()
    assert send(*changed).outcomes() == {"sent": 1, "unchanged": 39}
    assert names(send) == {"v2"}
