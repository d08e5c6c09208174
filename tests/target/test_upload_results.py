"""Uploads from end to end: other row numbers and envelopes, and requests that never arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_nudgescribe.upload import MOST_REFUSALS
from tests.sandbox import Fault
from tests.sandbox.dialects import ANSWERS, ROW_NUMBERS
from tests.target.sending import COLUMNS, row, schema, state
from tests.target.test_upload import most_uploads

if TYPE_CHECKING:
    from tests.sandbox.account import Field
    from tests.sandbox.faults import Kind
    from tests.target.sending import Message, Sending

MESSAGES = [schema(), *(row(n) for n in range(40)), state()]

UNREADABLE = ("without figures", "contradicting", "too many", "too few")
"""Answers that are read back."""


def field_of(send: Sending, name: str) -> Field:
    fields = send.sandbox.account.fields_of(send.group.workspace_id)
    return next(field for field in fields if field.field_name == name)


def picky(send: Sending) -> None:
    """From the first upload on let the API take first names of a single character only."""
    name = field_of(send, "First Name")
    narrow = Fault("upload_customers", "change", then=lambda _: setattr(name, "field_type", "char"))
    send.sandbox.inject(narrow)


# Row numbers and envelopes


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bad=st.sets(st.integers(0, 39), max_size=10),
    numbers=st.sampled_from(sorted(ROW_NUMBERS)),
    answers=st.sampled_from(sorted(set(ANSWERS) - {*UNREADABLE})),
    encoding=st.sampled_from(["multipart", "json"]),
    listed=st.sampled_from([1, 3, 100]),
)
def test_only_bad_rows_are_rejected_whatever_the_api_numbers_and_answers(  # noqa: PLR0913
    send: Sending, *, bad: set[int], numbers: str, answers: str, encoding: str, listed: int
) -> None:
    account = send.sandbox.account
    account.row_numbers, account.upload_answers = numbers, answers
    account.problems_listed = listed
    field_of(send, "First Name").field_type = "string"
    send.group.customers.clear()
    send.sandbox.faults.clear()
    picky(send)
    rows = [row(n, first_name="AB" if n in bad else "A") for n in range(40)]
    before = send.sandbox.count("upload_customers")
    sent = send(
        schema(), *rows, state(), upload_encoding=encoding, state_uri=str(send.folder / f"{before}")
    )
    rejected = {"rejected": len(bad)} if bad else {}
    assert sent.outcomes() == {"sent": 40 - len(bad)} | rejected
    assert send.customers.keys() == {f"r-{n}" for n in range(40) if n not in bad}
    assert send.sandbox.count("upload_customers") - before <= most_uploads(40, len(bad))
    assert "canary" not in sent.logged


@pytest.mark.parametrize("numbers", sorted(ROW_NUMBERS))
def test_a_row_that_is_rejected_waits_and_its_neighbours_never_do(
    send: Sending, numbers: str
) -> None:
    send.sandbox.account.row_numbers = numbers
    picky(send)
    rows = [row(n, first_name="AB" if n == 3 else "A") for n in range(5)]
    assert send(schema(), *rows).outcomes() == {"sent": 4, "rejected": 1}
    field_of(send, "First Name").field_type = "string"
    again = send(schema(), *rows)
    assert again.outcomes() == {"unchanged": 4, "rejected": 1}
    assert again.counts()["quarantined"] == 1
    (reject,) = send.rejects()
    assert (reject["row_number"], reject["retryable"]) == (4, False)


@pytest.mark.parametrize("kind", ["bad_request", "unprocessable", "conflict", "too_large"])
@pytest.mark.parametrize("count", [1, 8])
def test_where_nothing_is_taken_the_run_fails_and_the_next_one_sends_everything(
    send: Sending, kind: Kind, count: int
) -> None:
    messages = [schema(), *(row(n) for n in range(count)), state()]
    send.sandbox.inject(Fault("upload_customers", kind, times=100_000))
    sent = send(*messages, max_rejected_percent=100, state_on_failure="advance")
    assert (sent.code, sent.states, sent.outcomes()) == (1, [], {"failed": count})
    assert "are sent again by the next run: the API took no row" in sent.logged
    assert all(reject["retryable"] for reject in send.rejects())
    send.sandbox.faults.clear()
    assert send(*messages).outcomes() == {"sent": count}


def test_a_search_that_ends_without_a_row_taken_says_so(send: Sending) -> None:
    messages = [schema(), *(row(n) for n in range(200)), state()]
    send.sandbox.inject(Fault("upload_customers", "bad_request", times=100_000))
    sent = send(*messages)
    assert (sent.code, sent.outcomes()) == (1, {"failed": 200})
    assert sent.counts()["uploads"] <= MOST_REFUSALS + 1
    assert "200 of 200 rows of batch 1 were refused" in sent.logged


def test_three_batches_of_which_nothing_is_taken_end_the_run(send: Sending) -> None:
    send.sandbox.inject(Fault("upload_customers", "bad_request", times=100_000))
    sent = send(*MESSAGES, batch_size_rows=5)
    assert (sent.code, sent.states, sent.outcomes()) == (1, [], {"failed": 15})
    assert "refuses all rows of 3 batches in a row" in sent.logged


def test_an_api_that_begins_to_refuse_everything_rejects_nobody_for_good(send: Sending) -> None:
    send.sandbox.inject(Fault("upload_customers", "bad_request", times=100_000, after=2))
    sent = send(*MESSAGES, batch_size_rows=10)
    assert sent.code == 1
    assert sent.outcomes() == {"sent": 20, "failed": 20}
    send.sandbox.faults.clear()
    assert send(*MESSAGES).outcomes() == {"unchanged": 20, "sent": 20}


def test_a_failed_row_leaves_what_the_ledger_knew(send: Sending) -> None:
    send(schema(), row(1, first_name="old"))
    send.sandbox.inject(Fault("upload_customers", "bad_request", times=99))
    assert send(schema(), row(1, first_name="new"), row(2)).outcomes() == {"failed": 2}
    send.sandbox.faults.clear()
    assert send(schema(), row(1, first_name="old")).outcomes() == {"unchanged": 1}


# Rows with different columns


def ragged(count: int) -> list[Message]:
    """Return records with any of eight columns missing."""
    names = [f"c{n}" for n in range(8)]
    rows = [
        row(n, **{name: f"v{n}" for place, name in enumerate(names) if n >> place & 1})
        for n in range(count)
    ]
    columns = COLUMNS | {name: {"type": "string"} for name in names}
    return [schema(**columns), *rows]


def test_rows_with_different_columns_go_together_in_json(send: Sending) -> None:
    config = {"create_missing_fields": True}
    sent = send(*ragged(300), upload_encoding="json", **config)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 300})
    assert sent.counts()["uploads"] == 1
    profile = send.customers["r-5"].profile
    assert {name for name in profile if name.startswith("c")} == {"c0", "c2"}
    changed = [schema(**COLUMNS), row(5, first_name="new")]
    assert send(*changed, upload_encoding="json").outcomes() == {"sent": 1}
    assert send.customers["r-5"].profile["c0"] == "v5"


def test_rows_with_different_columns_are_read_back_at_once(send: Sending) -> None:
    send.sandbox.account.upload_answers = "without figures"
    sent = send(*ragged(64), create_missing_fields=True)
    assert sent.outcomes() == {"sent": 64}
    pages = -(-64 // send.sandbox.account.page_size)
    assert send.sandbox.count("list_customers") <= 2 * pages + 2


def test_a_csv_file_never_holds_a_blank_that_could_clear_a_value(send: Sending) -> None:
    sent = send(*ragged(64), create_missing_fields=True)
    assert sent.outcomes() == {"sent": 64}
    assert sent.counts()["uploads"] == 64
    assert "upload_encoding: json sends them together" in sent.logged


def test_a_bad_row_among_rows_with_different_columns_is_found_in_json(send: Sending) -> None:
    picky(send)
    rows = [
        row(n, first_name="A", **({"birthday": "1990-02-03"} if n % 2 else {})) for n in range(9)
    ]
    rows[4] = row(4, first_name="AB")
    sent = send(schema(), *rows, upload_encoding="json")
    assert sent.outcomes() == {"sent": 8, "rejected": 1}
    (reject,) = send.rejects()
    assert (reject["row_number"], reject["code"]) == (5, "invalid_char")


# Answers that cannot be relied on


def test_an_api_that_always_contradicts_itself_is_no_outage(send: Sending) -> None:
    send.sandbox.account.upload_answers = "too few"
    sent = send(*MESSAGES, batch_size_rows=5)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})


@pytest.mark.parametrize("answers", UNREADABLE)
def test_an_answer_that_says_too_little_or_too_much_is_read_back(
    send: Sending, answers: str
) -> None:
    send.sandbox.account.upload_answers = answers
    sent = send(*MESSAGES)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})
    assert send.sandbox.count("list_customers") > 0
    assert send.sandbox.count("upload_customers") == 1


@pytest.mark.parametrize("answers", sorted(set(ANSWERS) - {*UNREADABLE}))
def test_figures_in_any_envelope_need_no_reading_back(send: Sending, answers: str) -> None:
    send.sandbox.account.upload_answers = answers
    field_of(send, "Customer Ref").encrypted = True
    sent = send(*MESSAGES)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})
    assert send.sandbox.count("list_customers") == 0


def test_an_encrypted_identifier_without_figures_is_unknown_and_said_once(send: Sending) -> None:
    send.sandbox.account.upload_answers = "without figures"
    field_of(send, "Customer Ref").encrypted = True
    sent = send(*MESSAGES, batch_size_rows=10)
    assert (sent.code, sent.states, sent.outcomes()) == (5, [], {"unknown": 40})
    assert sent.logged.count("returns Customer Ref encrypted") == 1


def test_an_encrypted_identifier_can_be_sent_again_after_an_answer_that_did_not_come(
    send: Sending,
) -> None:
    field_of(send, "Customer Ref").encrypted = True
    send.sandbox.inject(Fault("upload_customers", "server_error", option="502"))
    sent = send(*MESSAGES, verify="sample")
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})
    assert len(send.customers) == 40


# Requests without a sound answer


def test_one_failure_among_many_uploads_is_sent_again_when_the_rows_are_not_there(
    send: Sending,
) -> None:
    def lose(_: Any) -> None:
        for n in range(5, 10):
            lost = send.customers.get(f"r-{n}")
            if lost:
                del send.group.customers[lost.customer_id]

    send.sandbox.inject(Fault("upload_customers", "server_error", option="502", after=1))
    send.sandbox.inject(Fault("count_customer_pages", "change", then=lose))
    sent = send(*MESSAGES, batch_size_rows=5)
    assert (sent.code, len(sent.states), sent.outcomes()) == (0, 1, {"sent": 40})
    assert len(send.customers) == 40
    assert send.sandbox.count("upload_customers") == 9


def test_one_failure_among_many_uploads_is_not_sent_again_when_the_rows_are_there(
    send: Sending,
) -> None:
    send.sandbox.inject(Fault("upload_customers", "server_error", option="502", after=1))
    sent = send(*MESSAGES, batch_size_rows=5)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 40})
    assert send.sandbox.count("upload_customers") == 8


def test_an_upload_that_never_arrives_in_time_is_tried_max_tries_times(send: Sending) -> None:
    send.sandbox.inject(Fault("upload_customers", "timed_out", times=99))
    sent = send(*MESSAGES, max_tries=4)
    assert (sent.code, sent.states, sent.outcomes()) == (5, [], {"unknown": 40})
    assert sent.counts()["uploads"] == 4


def test_an_upload_that_got_no_connection_fails_and_leaves_what_the_ledger_knew(
    send: Sending,
) -> None:
    send(schema(), row(1, first_name="old"))
    send.sandbox.inject(Fault("list_fields", "unreachable"))
    sent = send(schema(), row(1, first_name="new"), row(2), state())
    assert (sent.code, sent.states) == (1, [])
    assert "nothing was sent" in sent.logged
    send.sandbox.reopen()
    assert send(schema(), row(1, first_name="old")).outcomes() == {"unchanged": 1}


def test_an_upload_whose_session_cannot_be_renewed_fails_and_is_not_unknown(
    send: Sending,
) -> None:
    send.sandbox.inject(Fault("upload_customers", "expired_token"))
    send.sandbox.inject(Fault("refresh", "server_error", times=99))
    send.sandbox.inject(Fault("login", "server_error", times=99, after=1))
    sent = send(*MESSAGES)
    assert (sent.code, sent.outcomes()) == (1, {})
    send.sandbox.faults.clear()
    assert send(*MESSAGES).outcomes() == {"sent": 40}
