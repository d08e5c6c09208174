"""Deletes: only whom somebody named, only within bounds, never by guessing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.target import Errand
from tests.sandbox import Fault
from tests.target.sending import COLUMNS, MAP, row, schema, state

if TYPE_CHECKING:
    from tests.sandbox import Account
    from tests.target.sending import Sending

MIRROR = {"mode": "mirror", "mirror_trusts_end_of_input": True}


def refs(send: Sending) -> list[str]:
    return sorted(send.customers)


def gone(number: int) -> Any:
    return row(number, _sdc_deleted_at="2026-01-01T00:00:00Z")


def test_a_row_that_says_deleted_deletes_its_customer(send: Sending) -> None:
    send(schema(), row(1), row(2), row(3))
    sent = send(schema(), gone(1), gone(9), row(2, first_name="x"), state())
    assert (sent.code, len(sent.states)) == (0, 1)
    assert sent.outcomes() == {"deleted": 1, "already_gone": 1, "sent": 1}
    assert refs(send) == ["r-2", "r-3"]
    assert send(schema(), gone(1)).outcomes() == {"unchanged": 1}


def test_the_column_need_not_be_in_the_schema_nor_the_row_be_whole(send: Sending) -> None:
    send(schema(), row(1))
    bare = {"type": "RECORD", "stream": "people", "record": {"ref": "r-1", "birthday": "canary"}}
    bare["record"] |= {"_sdc_deleted_at": "2026-01-01"}  # type: ignore[operator]
    assert send(schema(), bare).outcomes() == {"deleted": 1}
    assert refs(send) == []


def test_a_delete_may_name_one_of_two_identifiers_alone(send: Sending) -> None:
    both = schema(ref={"type": "string"}, mail={"type": "string"}, first_name={"type": "string"})
    config = {"column_map": MAP | {"E-Mail:Work": "mail"}}
    send(both, row(1, mail="a@example.com"), row(2, mail="b@example.com"), **config)
    record = {"ref": "r-1", "_sdc_deleted_at": "2026-01-01"}
    bare = {"type": "RECORD", "stream": "people", "record": record}
    sent = send(both, bare, **config)
    assert sent.outcomes() == {"deleted": 1}
    assert refs(send) == ["r-2"]


def test_the_last_row_of_a_customer_decides_whether_there_is_one(send: Sending) -> None:
    sent = send(schema(), gone(1), row(1), row(2), gone(2), batch_size_rows=1)
    assert sum(sent.outcomes().values()) == 4
    assert refs(send) == ["r-1"]


def test_in_mode_delete_every_row_names_whom_to_delete(send: Sending) -> None:
    send(schema(), row(1), row(2))
    only = schema(ref={"type": "string"})
    named = {"type": "RECORD", "stream": "people", "record": {"ref": "r-2"}}
    column_map = {"Customer Ref": "ref"}
    assert send(only, named, mode="delete", column_map=column_map).outcomes() == {"deleted": 1}
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("bound", [{"max_delete_rows": 1}, {"max_delete_percent": "60"}])
def test_more_deletes_than_allowed_delete_nobody(send: Sending, bound: Any) -> None:
    send(schema(), row(1), row(2), row(3))
    sent = send(schema(), gone(1), gone(2), state(), **bound)
    assert (sent.code, sent.states) == (3, [])
    assert sent.reasons() == {"too_many_deletes": 2}
    assert [(r["row_number"], r["code"]) for r in send.rejects()] == [
        (1, "not_deleted"),
        (2, "not_deleted"),
    ]
    assert len(refs(send)) == 3
    mirrored = send(schema(), row(1), state(), **MIRROR, **bound)
    assert (mirrored.code, mirrored.states) == (3, [])
    assert len(refs(send)) == 3


def test_a_dry_run_counts_deletes_and_deletes_nobody(send: Sending) -> None:
    send(schema(), row(1), row(2))
    sent = send(schema(), gone(1), errand=Errand(dry_run=True))
    assert sent.outcomes() == {"planned": 1}
    assert len(refs(send)) == 2


def test_a_delete_that_was_done_without_an_answer_is_found_done(send: Sending) -> None:
    send(schema(), row(1))
    send.sandbox.inject(Fault("delete_customers", "reset"))
    sent = send(schema(), gone(1), state())
    assert (sent.code, len(sent.states), sent.outcomes()) == (0, 1, {"deleted": 1})
    assert refs(send) == []


def test_a_delete_that_did_nothing_is_never_taken_for_done(send: Sending) -> None:
    send(schema(), row(1))
    send.sandbox.inject(Fault("delete_customers", "ignored"))
    sent = send(schema(), gone(1), state())
    assert (sent.code, sent.states, sent.outcomes()) == (5, [], {"unknown": 1})
    assert send(schema(), gone(1)).outcomes() == {"deleted": 1}
    assert refs(send) == []


def test_mirror_deletes_in_the_next_run_whom_it_could_not_delete_in_this(send: Sending) -> None:
    send(schema(), row(1), row(2))
    send.sandbox.inject(Fault("delete_customers", "ignored"))
    assert send(schema(), row(1), state(), **MIRROR).code == 5
    assert refs(send) == ["r-1", "r-2"]
    assert send(schema(), row(1), state(), **MIRROR).counts()["mirror_deleted"] == 1
    assert refs(send) == ["r-1"]


def test_a_customer_to_delete_is_found_though_another_one_vanishes_meanwhile(send: Sending) -> None:
    send.sandbox.account.page_size = 2
    send(schema(), *map(row, range(1, 6)))

    def vanish(_: Account) -> None:
        del send.group.customers[send.customers["r-1"].customer_id]

    send.sandbox.inject(Fault("list_customers", "change", after=1, then=vanish))
    sent = send(schema(), gone(3), state(), max_parallel_requests=1)
    assert sent.outcomes() == {"deleted": 1}
    assert refs(send) == ["r-2", "r-4", "r-5"]


def test_mirror_deletes_whom_it_sent_and_nobody_else(send: Sending) -> None:
    send(schema(), row(1), row(2), row(3))
    other = send.customers["r-1"]
    send.group.customers["x"] = type(other)(
        "x", {"Customer Ref": "theirs"}, other.created_at, other.updated_at
    )
    sent = send(schema(), row(1), row(2, first_name="new"), state(), **MIRROR)
    assert sent.code == 0
    assert sent.outcomes() == {"unchanged": 1, "sent": 1}
    assert sent.counts()["mirror_deleted"] == 1
    assert refs(send) == ["r-1", "r-2", "theirs"]


def test_mirror_deletes_whom_it_sent_though_a_later_row_was_refused(send: Sending) -> None:
    fields = send.sandbox.account.fields_of(send.group.workspace_id)
    first_name = next(field for field in fields if field.field_name == "First Name")
    send(schema(), row(1), row(2))
    theirs = send.customers["r-1"]
    send.group.customers["x"] = replace(theirs, customer_id="x", profile={"Customer Ref": "r-3"})
    refused = [row(2, first_name="AB"), row(3, first_name="AB")]
    refusing = [schema(), row(1), *refused, row(4, first_name="A")]
    for outcomes in (
        {"unchanged": 1, "sent": 1, "rejected": 2},
        {"unchanged": 2, "rejected": 2},
    ):
        late = Fault(
            "upload_customers", "change", then=lambda _: setattr(first_name, "field_type", "char")
        )
        send.sandbox.faults[:] = [late]
        sent = send(*refusing, **MIRROR)
        assert sent.outcomes() == outcomes
        first_name.field_type = "string"
    assert sent.counts()["quarantined"] == 2
    assert refs(send) == ["r-1", "r-2", "r-3", "r-4"]
    assert send(schema(), row(1), **MIRROR).counts()["mirror_deleted"] == 2
    assert refs(send) == ["r-1", "r-3"]


@pytest.mark.parametrize(
    "case", ["bare_end", "empty", "invalid", "keyless", "lost_ledger", "dry_run"]
)
def test_mirror_deletes_nobody_in_doubt(send: Sending, case: str) -> None:
    send(schema(), row(1), row(2))
    messages, config, errand = [schema(), row(1)], dict(MIRROR), None
    if case == "bare_end":
        config["mirror_trusts_end_of_input"] = False
    elif case == "empty":
        messages.pop()
    elif case == "invalid":
        messages.append(row(2, birthday="x"))
    elif case == "keyless":
        messages.append(row(2, ref=None))
    elif case == "dry_run":
        errand = Errand(dry_run=True)
    else:
        for file in (send.folder / "state" / "ledgers").rglob("base-*.parquet"):
            file.unlink()
    send(*messages, errand=errand, **config)
    assert refs(send) == ["r-1", "r-2"]


@pytest.mark.parametrize(
    ("config", "code", "left"),
    [
        ({}, 0, []),
        ({"max_delete_rows": 0}, 3, ["r-2"]),
        ({"max_delete_percent": 99}, 3, ["r-2"]),
        ({"mirror_trusts_end_of_input": False}, 0, ["r-2"]),
        ({"mode": "upsert"}, 0, ["r-2"]),
        ({"customer_group": "Another"}, 0, ["r-2"]),
    ],
)
def test_mirror_empties_a_group_that_the_column_of_groups_names_no_more(
    send: Sending, config: Any, code: int, left: list[str]
) -> None:
    ours = send.group
    another = replace(ours, customer_group_id="another", name="Another", customers={})
    send.sandbox.account.groups["another"] = another
    columns = schema(**COLUMNS | {"customer_group": {"type": "string"}})
    first = row(1, customer_group="Another")
    settings = {"customer_group": None}
    assert send(columns, first, row(2, customer_group="Nobody yet"), **settings).code == 0
    sent = send(columns, first, state(), **settings | MIRROR | config)
    assert (sent.code, len(sent.states)) == (code, code == 0)
    assert refs(send) == left
    assert [c.profile["Customer Ref"] for c in another.customers.values()] == ["r-1"]


def test_mirror_is_refused_for_an_incremental_stream(send: Sending) -> None:
    incremental = schema() | {"bookmark_properties": ["birthday"]}
    sent = send(incremental, row(1), **MIRROR)
    assert sent.code == 4
    assert "incrementally" in sent.logged


@pytest.mark.parametrize("trusted", [True, False])
def test_an_activate_version_behind_the_last_row_proves_that_the_table_is_whole(
    send: Sending, *, trusted: bool
) -> None:
    send(schema(), row(1), row(2))
    version = {"type": "ACTIVATE_VERSION", "stream": "people", "version": 1}
    messages = [schema(), row(1), version] if trusted else [schema(), version, row(1)]
    send(*messages, mode="mirror")
    assert refs(send) == (["r-1"] if trusted else ["r-1", "r-2"])


def test_a_tap_that_crashed_with_mirror_on_deletes_nobody(send: Sending) -> None:
    send(schema(), *(row(n) for n in range(30)))
    version = {"type": "ACTIVATE_VERSION", "stream": "people", "version": 2}
    sent = send(schema(), version, *(row(n) for n in range(3)), mode="mirror")
    assert sent.code == 0
    assert len(refs(send)) == 30


def test_an_encrypted_key_deletes_nobody_and_says_why(send: Sending) -> None:
    fields = send.sandbox.account.fields_of(send.group.workspace_id)
    next(field for field in fields if field.field_name == "Customer Ref").encrypted = True
    send(schema(), row(1))
    sent = send(schema(), gone(1), state())
    assert (sent.code, sent.states) == (1, [])
    assert "encrypted" in sent.logged
    assert refs(send) == ["r-1"]
