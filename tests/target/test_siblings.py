"""Several streams that send to one group: none deletes or overwrites another's customers unseen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.lock import lock
from target_nudgescribe.storage import Storage
from target_nudgescribe.target import Errand
from tests.target.sending import Message, schema, state
from tests.target.test_delete_proof import add

if TYPE_CHECKING:
    from tests.target.sending import Sending

TRUSTED = {"mode": "mirror", "mirror_trusts_end_of_input": True}

GRADES = {"ref": {"type": "string"}, "grade": {"type": ["string", "null"]}, "birthday": {}}

PLAN = {"ref": {"type": "string"}, "tier": {"type": ["string", "null"]}}
"""Columns of subscribers: none that buyers have, apart from the key."""


@pytest.fixture(autouse=True)
def _one_column_map_for_all_streams(send: Sending) -> None:
    send.settings["column_map"] = {"Customer Ref": "ref"}


def graded(stream: str, *numbers: int, **columns: Any) -> list[Message]:
    records = [{"ref": f"r-{n}", "grade": str(n)} | columns for n in numbers]
    rows = [{"type": "RECORD", "stream": stream, "record": record} for record in records]
    return [schema(stream, **GRADES), *rows]


def refs(send: Sending) -> list[str]:
    return sorted(str(each.profile["Customer Ref"]) for each in send.group.customers.values())


def buyers(*numbers: int, **columns: Any) -> list[Message]:
    return graded("buyers", *numbers, **columns)


def subscribers(*numbers: int, tier: str = "Silver") -> list[Message]:
    rows = [
        {"type": "RECORD", "stream": "subscribers", "record": {"ref": f"r-{n}", "tier": tier}}
        for n in numbers
    ]
    return [schema("subscribers", **PLAN), *rows]


def leaves(stream: str, number: int) -> Message:
    record = {"ref": f"r-{number}", "_sdc_deleted_at": "2026-01-01"}
    return {"type": "RECORD", "stream": stream, "record": record}


# Mirror


@pytest.mark.parametrize("together", [True, False])
def test_mirror_leaves_customers_alone_whom_another_stream_contains(
    send: Sending, *, together: bool
) -> None:
    send(*buyers(1, 2, 3), *subscribers(2, 3, 4))
    others = subscribers(2, 3, 4) if together else []
    sent = send(*buyers(1), *others, state(), **TRUSTED)
    assert (sent.code, len(sent.states)) == (0, 1)
    assert sent.counts("buyers")["mirror_released"] == 2
    assert refs(send) == ["r-1", "r-2", "r-3", "r-4"]


@pytest.mark.parametrize("together", [True, False])
def test_a_customer_who_has_left_all_streams_is_deleted(send: Sending, *, together: bool) -> None:
    send(*buyers(1, 2, 3), *subscribers(1, 2, 3))
    if together:
        assert send(*buyers(1, 2), *subscribers(1), **TRUSTED).code == 0
    else:
        send(*buyers(1, 2), **TRUSTED)
        assert refs(send) == ["r-1", "r-2", "r-3"]
        send(*subscribers(1), **TRUSTED)
    assert refs(send) == ["r-1", "r-2"]
    send(*buyers(1), **TRUSTED)
    assert refs(send) == ["r-1"]


def test_a_customer_who_comes_back_is_sent_and_deleted_again(send: Sending) -> None:
    send(*buyers(1, 2), *subscribers(1, 2))
    send(*buyers(1), **TRUSTED)
    sent = send(*buyers(1, 2), **TRUSTED)
    assert sent.outcomes("buyers") == {"unchanged": 1, "sent": 1}
    send(*subscribers(1), **TRUSTED)
    assert refs(send) == ["r-1", "r-2"]
    send(*buyers(1), **TRUSTED)
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("wrong", [{"birthday": "x"}, {"grade": "ab"}])
def test_a_customer_whose_row_another_stream_could_not_send_is_contained_by_it(
    send: Sending, wrong: Any
) -> None:
    send(*buyers(1, 2))
    theirs = [*graded("customers", 2, **wrong), *graded("customers", 3)[1:]]
    assert send(*theirs).outcomes("customers") == {"invalid": 1, "sent": 1}
    assert send(*buyers(1), **TRUSTED).counts("buyers")["mirror_released"] == 1
    assert refs(send) == ["r-1", "r-2", "r-3"]
    send(*graded("customers", 3), **TRUSTED)
    send(*buyers(1, 2))
    send(*buyers(1), **TRUSTED)
    assert refs(send) == ["r-1", "r-3"]


def test_a_seeded_customer_is_contained_by_a_stream_once_its_table_has_it(send: Sending) -> None:
    send(*buyers(1, 2, 3))
    theirs = schema("customers", ref={"type": "string"}, grade={"type": "string"})
    send(theirs, errand=Errand(seed=True))
    sent = send(theirs, graded("customers", 2)[1])
    assert sent.outcomes("customers") == {"unchanged": 1}
    send(*buyers(1), **TRUSTED)
    assert refs(send) == ["r-1", "r-2"]
    send(*buyers(1, 2))
    send(theirs, graded("customers", 9)[1], **TRUSTED)
    assert refs(send) == ["r-1", "r-2", "r-9"]
    send(*buyers(1), **TRUSTED)
    assert refs(send) == ["r-1", "r-9"]


# Rows that say deleted


def test_a_row_does_not_delete_a_customer_whom_another_stream_contains(send: Sending) -> None:
    send(*buyers(1, 2), *subscribers(2))
    for _ in range(2):
        sent = send(schema("buyers", **GRADES), leaves("buyers", 1), leaves("buyers", 2), state())
        assert (sent.code, sent.states) == (3, [])
        assert sent.reasons("buyers") == {"claimed_by_another_stream": 1}
        assert refs(send) == ["r-2"]
    assert send.rejects()[-1]["code"] == "claimed_by_another_stream"
    sent = send(schema("subscribers", **PLAN), leaves("subscribers", 2))
    assert sent.outcomes("subscribers") == {"deleted": 1}
    sent = send(schema("buyers", **GRADES), leaves("buyers", 2), state())
    assert (sent.code, sent.outcomes("buyers")) == (0, {"already_gone": 1})


def test_a_customer_whom_both_streams_of_a_run_delete_is_deleted(send: Sending) -> None:
    send(*buyers(1, 2), *subscribers(1, 2))
    both = [schema("buyers", **GRADES), schema("subscribers", **PLAN)]
    sent = send(*both, leaves("buyers", 2), leaves("subscribers", 2), state())
    assert (sent.code, len(sent.states)) == (0, 1)
    assert refs(send) == ["r-1"]


def test_a_customer_whom_another_stream_of_the_run_is_about_to_send_is_kept(send: Sending) -> None:
    send(*buyers(1, 2))
    sent = send(
        schema("buyers", **GRADES),
        schema("subscribers", **PLAN),
        *subscribers(2)[1:],
        leaves("buyers", 2),
    )
    assert sent.reasons("buyers") == {"claimed_by_another_stream": 1}
    assert send.customers["r-2"].profile["Grade"] == "2"


def test_a_list_of_customers_to_delete_deletes_and_the_others_send_them_again(
    send: Sending,
) -> None:
    send(*buyers(1, 2, 3), *subscribers(2))
    named = [schema("erasures", ref={"type": "string"}), leaves("erasures", 2)]
    sent = send(*named, mode="delete")
    assert sent.outcomes("erasures") == {"deleted": 1}
    assert refs(send) == ["r-1", "r-3"]
    assert send(*buyers(1, 2, 3)).outcomes("buyers") == {"unchanged": 2, "sent": 1}
    assert send(*buyers(1, 3), **TRUSTED).code == 0
    assert refs(send) == ["r-1", "r-2", "r-3"]


def test_customers_whom_another_stream_has_deleted_are_no_drift(send: Sending) -> None:
    send(*buyers(*range(10)))
    gone = [leaves("erasures", n) | {"stream": "erasures"} for n in range(7)]
    columns = {"ref": {"type": "string"}, "grade": {}, "_sdc_deleted_at": {}}
    sent = send(schema("erasures", **columns), *gone, mode="delete")
    assert sent.outcomes("erasures") == {"deleted": 7}
    assert "overwrites" not in sent.logged
    sent = send(*buyers(*range(2, 10)))
    assert sent.outcomes("buyers") == {"sent": 5, "unchanged": 3}
    assert "overwrites" not in sent.logged
    # What nobody here has deleted still stops the run.
    send.group.customers.clear()
    sent = send(*buyers(*range(2, 10)))
    assert sent.code == 4
    assert "has 0 customers, and the ledger says that 8 are there" in sent.logged


# Rows that another stream has overwritten


def test_what_another_stream_has_overwritten_is_sent_again(send: Sending) -> None:
    send(*buyers(1, 2))
    sent = send(*graded("others", 1, grade="X"))
    assert "each overwrites the other" in sent.logged
    sent = send(*buyers(1, 2))
    assert sent.outcomes("buyers") == {"sent": 1, "unchanged": 1}
    assert sent.counts("buyers")["overwritten"] == 1
    assert send.customers["r-1"].profile["Grade"] == "1"


def test_what_was_overwritten_is_known_though_the_clocks_of_machines_differ(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for skew, stream, grade in (
        (0, "buyers", "1"),
        (-9000, "others", "X"),
        (-90_000, "buyers", "1"),
    ):
        monkeypatch.setattr("target_nudgescribe.ledger.time.time", lambda skew=skew: now + skew)
        assert send(*graded(stream, 1, grade=grade)).outcomes(stream) == {"sent": 1}
    assert send.customers["r-1"].profile["Grade"] == "1"


def test_what_another_stream_has_sent_just_the_same_is_not_sent_again(send: Sending) -> None:
    send(*buyers(1, 2))
    assert send(*graded("others", 1)).outcomes("others") == {"sent": 1}
    assert send(*buyers(1, 2)).outcomes("buyers") == {"unchanged": 2}


def test_streams_with_other_fields_leave_each_other_alone(send: Sending) -> None:
    for _ in range(2):
        sent = send(*buyers(1, 2), *subscribers(1, 2))
    assert sent.outcomes("buyers") == sent.outcomes("subscribers") == {"unchanged": 2}
    assert "overwrites" not in sent.logged


def test_a_customer_whom_another_stream_has_deleted_is_sent_again(send: Sending) -> None:
    send(*subscribers(1, 2))
    send(*buyers(1))
    send(schema("subscribers", **PLAN), leaves("subscribers", 2))
    send(*buyers(1, 2))
    assert refs(send) == ["r-1", "r-2"]


# What cannot be compared


BY_MAIL = {"mail": {"type": "string"}, "ref": {"type": ["string", "null"]}}


def by_mail(number: int) -> list[Message]:
    record = {"mail": f"{number}@example.com", "ref": f"r-{number}"}
    row_ = {"type": "RECORD", "stream": "by_mail", "record": record}
    return [schema("by_mail", key=("mail",), **BY_MAIL), row_]


@pytest.mark.parametrize("mode", ["mirror", "delete"])
def test_a_stream_with_another_identifier_keeps_others_from_deleting(
    send: Sending, mode: str
) -> None:
    send(*buyers(1, 2))
    assert send(*by_mail(2), column_map={"E-Mail:Work": "mail", "Customer Ref": "ref"}).code == 0
    before = send.sandbox.count("upload_customers")
    sent = send(*buyers(1), state(), **TRUSTED | {"mode": mode})
    assert (sent.code, sent.states) == (4, [])
    assert "by_mail" in sent.logged
    assert send.sandbox.count("upload_customers") == before
    sent = send(*buyers(3), leaves("buyers", 1), state())
    assert sent.outcomes("buyers") == {"rejected": 1, "sent": 1}
    assert sent.reasons("buyers") == {"other_identifier": 1}
    assert len(refs(send)) == 3


def test_a_stream_of_the_same_run_with_another_identifier_keeps_others_from_deleting(
    send: Sending,
) -> None:
    send(*buyers(1, 2))
    column_map = {"E-Mail:Work": "mail", "Customer Ref": "ref"}
    mine = schema("buyers", **BY_MAIL)
    rows = [
        {
            "type": "RECORD",
            "stream": "buyers",
            "record": {"mail": f"{n}@example.com", "ref": f"r-{n}"},
        }
        for n in (1, 2)
    ]
    assert send(mine, *rows, column_map=column_map).code == 0
    sent = send(mine, rows[0], *by_mail(3), column_map=column_map, **TRUSTED)
    assert sent.code == 4
    assert refs(send) == ["r-1", "r-2"]
    sent = send(mine, rows[0], leaves("buyers", 2), *by_mail(3), column_map=column_map)
    assert sent.code == 3
    assert sent.reasons("buyers") == {"other_identifier": 1}


def test_another_identifier_of_the_same_stream_keeps_mirror_from_deleting(send: Sending) -> None:
    columns = {"mail": {"type": "string"}, "ref": {"type": "string"}}
    column_map = {"E-Mail:Work": "mail", "Customer Ref": "ref"}

    def people(*numbers: int) -> list[Message]:
        records = [{"mail": f"{n}@example.com", "ref": f"r-{n}"} for n in numbers]
        rows = [{"type": "RECORD", "stream": "people", "record": record} for record in records]
        return [schema(**columns), *rows]

    send(*people(1, 2), column_map=column_map, identifier="Customer Ref")
    settings = {"column_map": column_map, "identifier": "E-Mail:Work"}
    assert send(*people(1), **settings, **TRUSTED).code == 4
    assert len(refs(send)) == 2


def test_a_ledger_that_another_run_is_writing_keeps_others_from_deleting(send: Sending) -> None:
    send(*buyers(1, 2))
    send(*subscribers(3))
    (folder,) = (send.folder / "state" / "ledgers").glob("*/*/subscribers")
    held = lock(Storage(str(folder)), "another run")
    sent = send(*buyers(1), state(), **TRUSTED)
    assert (sent.code, sent.states) == (3, [])
    assert sent.reasons("buyers") == {"group_in_use": 1}
    sent = send(schema("buyers", **GRADES), leaves("buyers", 2))
    assert sent.reasons("buyers") == {"group_in_use": 1}
    held.release()
    assert send(*buyers(1), **TRUSTED).code == 0
    assert refs(send) == ["r-1", "r-3"]


def test_a_dry_run_counts_whom_no_other_stream_contains(send: Sending) -> None:
    send(*buyers(1, 2, 3), *subscribers(2))
    sent = send(*buyers(1), errand=Errand(dry_run=True), **TRUSTED)
    assert (sent.counts("buyers")["mirror_planned"], sent.counts("buyers")["mirror_deletes"]) == (
        1,
        1,
    )
    assert len(refs(send)) == 3


def test_streams_of_other_groups_are_not_compared(send: Sending) -> None:
    another = replace(send.group, customer_group_id="another", name="Another", customers={})
    send.sandbox.account.groups["another"] = another
    send(*subscribers(1, 2), customer_group="Another")
    send(*buyers(1, 2))
    assert send(*buyers(1), **TRUSTED).counts("buyers")["mirror_deleted"] == 1
    add(send, "r-9", "theirs")
    assert refs(send) == ["r-1", "r-9"]
