"""Customers: what is sent, what is not, and what the run says of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_nudgescribe.target import Errand
from tests.sandbox import Fault
from tests.target.sending import COLUMNS, row, schema, state

if TYPE_CHECKING:
    from tests.sandbox import Sandbox
    from tests.target.sending import Sending


def test_rows_arrive_in_the_formats_of_their_fields(send: Sending) -> None:
    born = {"birthday": "1990-02-03", "total_spend": 12.5}
    sent = send(schema(), row(1, **born), row(2, first_name='a "b", c\r\nd'), state())
    assert (sent.code, sent.states) == (0, [{"bookmark": 1}])
    assert sent.outcomes() == {"sent": 2}
    assert send.customers["r-1"].profile == {
        "Customer Ref": "r-1",
        "First Name": "Name 1",
        "Birthday": "03/02/1990",
        "Total Spend": "12.50",
    }
    assert send.customers["r-2"].profile["First Name"] == 'a "b", c\r\nd'


@pytest.mark.parametrize("encoding", ["multipart", "json"])
def test_what_has_not_changed_is_not_sent_again(send: Sending, encoding: str) -> None:
    messages = [schema(), *(row(n) for n in range(50)), state()]
    assert send(*messages, upload_encoding=encoding).outcomes() == {"sent": 50}
    before = send.sandbox.count("upload_customers")
    again = send(*messages, upload_encoding=encoding)
    assert again.outcomes() == {"unchanged": 50}
    assert send.sandbox.count("upload_customers") == before
    messages[7] = row(6, first_name="Another")
    assert send(*messages).outcomes() == {"sent": 1, "unchanged": 49}
    assert send.customers["r-6"].profile["First Name"] == "Another"


def test_every_error_of_every_row_is_reported_and_the_others_are_sent(send: Sending) -> None:
    bad = row(2, birthday="canary-date", total_spend="canary-amount")
    sent = send(schema(), row(1), bad, row(3, ref=None), state())
    assert sent.code == 3
    assert sent.states == []
    assert sent.outcomes() == {"sent": 1, "invalid": 2}
    told = [(r["row_number"], r["column"], r["code"]) for r in send.rejects()]
    assert told == [
        (2, "birthday", "not_a_date"),
        (2, "total_spend", "not_an_amount"),
        (3, "ref", "required"),
        (3, None, "no_identifier"),
    ]
    assert "canary" not in sent.logged
    assert "canary" not in json.dumps(send.rejects())


@pytest.mark.parametrize(
    ("config", "code", "states"),
    [
        ({"max_rejected_rows": 1}, 0, 1),
        ({"max_rejected_percent": 50}, 0, 1),
        ({"max_rejected_percent": "49.9"}, 3, 0),
        ({"max_rejected_rows": 1, "max_rejected_percent": 10}, 3, 0),
        ({"state_on_failure": "advance"}, 3, 1),
    ],
)
def test_the_threshold_decides_on_exit_code_and_state(
    send: Sending, config: dict[str, Any], code: int, states: int
) -> None:
    sent = send(schema(), row(1), row(2, birthday="x"), state(), **config)
    assert (sent.code, len(sent.states)) == (code, states)


def test_a_column_that_is_missing_clears_nothing_and_null_does_as_set(send: Sending) -> None:
    full = {"birthday": "1990-02-03", "total_spend": 1}
    send(schema(), *(row(n, **full) for n in (1, 2, 3)))
    nulls = {"birthday": None, "total_spend": None}
    policy = {"null_policy": {"Birthday": "keep", "*": "overwrite"}}
    assert send(schema(), row(1), row(2, **nulls), **policy).outcomes() == {"sent": 2}
    assert send.customers["r-1"].profile["Birthday"] == "03/02/1990"
    assert send.customers["r-2"].profile["Birthday"] == "03/02/1990"
    assert send.customers["r-2"].profile["Total Spend"] is None
    refused = send(schema(), row(3, **nulls), null_policy={"*": "fail"})
    assert refused.reasons() == {"null_refused": 2}
    assert send.customers["r-3"].profile["Total Spend"] == "1.00"


def test_of_several_rows_for_one_customer_the_last_wins_in_and_across_batches(
    send: Sending,
) -> None:
    rows = [row(n % 3, first_name=f"v{n}") for n in range(9)]
    sent = send(schema(), *rows, batch_size_rows=4)
    assert sum(sent.outcomes().values()) == 9
    assert {c.profile["First Name"] for c in send.customers.values()} == {"v6", "v7", "v8"}
    assert len(send.customers) == 3


def test_a_later_row_with_fewer_columns_does_not_lose_those_of_an_earlier_one(
    send: Sending,
) -> None:
    sent = send(schema(), row(1, birthday="1990-02-03"), row(1, first_name="Later"))
    assert sent.outcomes() == {"merged": 1, "sent": 1}
    assert send.customers["r-1"].profile["Birthday"] == "03/02/1990"
    assert send.customers["r-1"].profile["First Name"] == "Later"


def test_odd_values_cost_their_row_alone(send: Sending) -> None:
    digits = b"2345678901234567890123"
    odd = [
        b'{"type":"RECORD","stream":"people","record":{"ref":"r-1","total_spend":NaN}}',
        b'{"type":"RECORD","stream":"people","record":{"ref":"r-2","first_name":"\\ud83d"}}',
        b'{"type":"RECORD","stream":"people","record":{"ref":"r-3","first_name":"a\\u0000b"}}',
        b'{"type":"RECORD","stream":"people","record":{"ref":"r-4","total_spend":1%s}}' % digits,
        b'{"type":"RECORD","stream":"people","record":{"ref":"r-5","total_spend":"12.10"}}',
    ]
    sent = send(schema(), *odd)
    assert sent.outcomes() == {"invalid": 3, "sent": 2}
    assert sent.reasons() == {"not_finite": 1, "not_unicode": 1, "nul_character": 1}
    assert send.customers["r-4"].profile["Total Spend"] == "12345678901234567890123.00"
    assert send.customers["r-5"].profile["Total Spend"] == "12.10"


def test_a_preflight_reports_every_problem_and_nothing_is_sent(send: Sending) -> None:
    config = {
        "column_map": {"Nope": "ref", "Customer Ref": "nope"},
        "null_policy": {"Odd": "keep"},
        "customer_group": "Strangers",
        "unknown_columns": "refuse",
    }
    sent = send(schema(), row(1), state(), **config)
    assert (sent.code, sent.states) == (4, [])
    for told in ("'Nope'", "'nope'", "'Odd'", "'Strangers'", "'first_name'", "identifier"):
        assert told in sent.logged
    assert send.sandbox.count("upload_customers") == 0


def test_groups_and_fields_are_created_where_that_is_allowed(send: Sending) -> None:
    columns = COLUMNS | {"score": {"type": "integer"}, "customer_group": {"type": "string"}}
    new = {"score": 5, "customer_group": "Fresh ones"}
    config = {"create_missing_fields": True, "create_missing_groups": True, "customer_group": None}
    sent = send(schema(**columns), row(1, **new), **config)
    assert sent.outcomes() == {"sent": 1}
    groups = {group.name: group for group in send.sandbox.account.groups.values()}
    (customer,) = groups["Fresh ones"].customers.values()
    assert customer.profile["score"] == 5
    assert send(
        schema(**columns), row(1, **new | {"customer_group": "?"}), customer_group=None
    ).reasons() == {"unknown_group": 1}


def test_a_dry_run_tells_everything_and_does_nothing(send: Sending) -> None:
    send(schema(), row(1), row(2))
    before = len(send.sandbox.requests), sorted(send.folder.rglob("*"))
    messages = [schema(), row(1), row(2, first_name="x"), row(3), row(4, birthday="x"), state()]
    sent = send(*messages, errand=Errand(dry_run=True), create_missing_groups=True)
    assert sent.outcomes() == {"unchanged": 1, "planned": 2, "invalid": 1}
    assert (sent.counts()["new"], sent.counts()["changed"]) == (1, 1)
    assert sent.states == []
    changing = ("upload_customers", "create", "delete", "update")
    assert not [n for n, _ in send.sandbox.requests[before[0] :] if n.startswith(changing)]
    assert sorted(send.folder.rglob("*")) == before[1]


def test_what_the_api_rejects_is_quarantined_until_row_or_definitions_change(
    send: Sending, sandbox: Sandbox
) -> None:
    tier = next(
        f for f in sandbox.account.fields_of(send.group.workspace_id) if f.field_name == "Tier"
    )
    columns = COLUMNS | {"tier": {"type": "string"}}
    messages = [schema(**columns), row(1, tier="Gold, 24 ct"), row(2, tier="Silver")]
    options = tier.options
    less = Fault("upload_customers", "change", then=lambda _: setattr(tier, "options", ["Silver"]))
    sandbox.inject(less)
    first = send(*messages)
    assert first.outcomes() == {"sent": 1, "rejected": 1}
    assert first.reasons() == {"not_an_option": 1}
    (reject,) = send.rejects()
    assert (reject["field"], reject["row_number"], reject["found_by"]) == ("Tier", 1, "upload")
    tier.options = options
    uploads = sandbox.count("upload_customers")
    second = send(*messages)
    assert second.outcomes() == {"unchanged": 1, "rejected": 1}
    assert second.counts()["quarantined"] == 1
    assert sandbox.count("upload_customers") == uploads
    tier.options = [*(options or []), "Iron"]
    assert send(*messages).outcomes() == {"unchanged": 1, "sent": 1}
    assert send(*messages).outcomes() == {"unchanged": 2}


def test_rejects_in_full_can_be_sent_again(send: Sending) -> None:
    send(schema(), row(1, birthday="03 02 1990"), row(2), rejects_rows="full")
    (file,) = (send.folder / "state" / "rejects").rglob("*.jsonl")
    told = json.loads(file.read_text())
    assert json.loads(told["row"])["birthday"] == "03 02 1990"
    mended = told | {"row": json.dumps(json.loads(told["row"]) | {"birthday": "1990-02-03"})}
    file.write_text(json.dumps(mended) + "\n")
    assert send(errand=Errand(replay=str(file))).outcomes() == {"sent": 1}
    assert send.customers["r-1"].profile["Birthday"] == "03/02/1990"
    send(schema(), row(3, birthday="x"))
    masked = max(
        (send.folder / "state" / "rejects").rglob("*.jsonl"), key=lambda f: f.stat().st_mtime_ns
    )
    refused = send(errand=Errand(replay=str(masked)))
    assert refused.code == 1
    assert "rejects_rows=full" in refused.logged


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_rejects_come_in_every_format(send: Sending, form: str) -> None:
    send(schema(), row(1, birthday="x"), rejects_format=form, rejects_rows="full")
    (file,) = (send.folder / "state" / "rejects").rglob(f"*.{form}")
    sent = send(errand=Errand(replay=str(file)))
    assert sent.reasons() == {"not_a_date": 1}
    if form == "parquet":
        assert pq.read_table(file).column("code").to_pylist() == ["not_a_date"]


def test_a_schema_change_in_mid_stream_sends_the_older_rows_first(send: Sending) -> None:
    wider = COLUMNS | {"grade": {"type": "string"}}
    sent = send(
        schema(), row(1, first_name="old"), schema(**wider), row(1, first_name="new", grade="A")
    )
    assert sent.outcomes() == {"sent": 2}
    assert send.customers["r-1"].profile["First Name"] == "new"
    assert send.customers["r-1"].profile["Grade"] == "A"


def test_stream_maps_take_the_slower_path_to_the_same_end(send: Sending) -> None:
    maps = {
        "people": {"ref": "ref", "first_name": "first_name.upper()", "__filter__": "ref != 'r-2'"}
    }
    sent = send(schema(), row(1), row(2), state(), stream_maps=maps)
    assert (sent.code, sent.outcomes()) == (0, {"sent": 1})
    assert send.customers["r-1"].profile["First Name"] == "NAME 1"


def test_what_is_wrong_with_the_input_is_said_without_a_value(send: Sending) -> None:
    keyless = {"type": "RECORD", "stream": "people", "record": {"first_name": "canary"}}
    for message, told in (
        (keyless, "lacks the key properties ref"),
        (row(1, stream="strangers"), "before a corresponding schema"),
        ({"type": "SCHEMA", "stream": "x", "canary": "canary"}, "lacks what its type needs"),
        (b"canary", "Line 3 of the input"),
    ):
        sent = send(schema(), row(1), message, state())
        assert (sent.code, sent.states) == (1, [])
        assert told in sent.logged
        assert "canary" not in sent.logged
        assert "defect" not in sent.logged


def test_rounded_amounts_and_ambiguous_years_are_counted(send: Sending) -> None:
    columns = COLUMNS | {"trial_end": {"type": "string"}}
    rows = [row(1, total_spend="1.005", trial_end="1950-01-02"), row(2, trial_end="2001-01-02")]
    counts = send(schema(**columns), *rows).counts()
    assert (counts["rounded"], counts["ambiguous_years"]) == (1, 1)


REFS = st.integers(0, 6)
RECORDS = st.builds(
    lambda ref, columns: row(ref, **columns),
    REFS,
    st.fixed_dictionaries(
        {},
        optional={
            "ref": st.sampled_from([None, "", "r-1"]),
            "first_name": st.one_of(st.none(), st.text(max_size=3)),
            "birthday": st.sampled_from(["2020-02-02", "x", None]),
            "total_spend": st.one_of(
                st.floats(), st.integers(), st.text(max_size=2), st.booleans()
            ),
            "_sdc_deleted_at": st.sampled_from([None, "2026-01-01"]),
        },
    ),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(RECORDS, max_size=25),
    size=st.integers(1, 12),
    faults=st.lists(
        st.sampled_from(["ignored", "server_error", "reset", "bad_request", "rate_limited"]),
        max_size=2,
    ),
)
def test_the_outcomes_of_a_run_add_up_to_the_rows_it_read(
    send: Sending, records: list[Any], size: int, faults: list[Any]
) -> None:
    send.sandbox.faults[:] = [Fault("upload_customers", kind) for kind in faults]
    limits = {"batch_size_rows": size, "max_delete_rows": 100, "max_tries": 4}
    sent = send(schema(), *records, state(), **limits)
    assert sum(sent.outcomes().values() if records else [0]) == len(records)
    assert "defect" not in sent.logged
    refused = sent.outcomes().get("invalid", 0) + sent.outcomes().get("rejected", 0)
    unknown = sent.outcomes().get("unknown", 0)
    failed = sent.outcomes().get("failed", 0)
    assert sent.code == (5 if unknown else 1 if failed else 3 if refused else 0)
    assert len(sent.states) == (sent.code == 0)
