"""No customer is deleted without proof, and "deleted" means that the account has them no more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe import deletes
from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.ledger import DELETED, REJECTED, SENT, UNCERTAIN, Ledger, new_entries
from target_nudgescribe.storage import Storage
from target_nudgescribe.target import Errand
from tests.sandbox import Fault
from tests.target.sending import row, schema, state
from tests.target.test_ledger import prints

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox import Account
    from tests.target.sending import Sending

MIRROR = {"mode": "mirror", "mirror_trusts_end_of_input": True}

HASHING = Hashing()


def refs(send: Sending) -> list[str]:
    return sorted(str(each.profile["Customer Ref"]) for each in send.group.customers.values())


def gone(ref: str) -> Any:
    return row(0, ref=ref, _sdc_deleted_at="2026-01-01T00:00:00Z")


def add(send: Sending, ref: str, customer_id: str) -> None:
    """Let somebody else create a customer."""
    now = send.sandbox.account.now
    profile = {"Customer Ref": ref, "First Name": "Theirs"}
    some = next(c for g in send.sandbox.account.groups.values() for c in g.customers.values())
    send.group.customers[customer_id] = replace(
        some, customer_id=customer_id, profile=profile, created_at=now, updated_at=now
    )


# Sent by us, known, present


def test_mirror_does_not_delete_customers_that_the_ledger_was_seeded_with(send: Sending) -> None:
    for number in range(5):
        add(send, f"r-{number}", f"id-{number}")
    assert send(schema(), errand=Errand(seed=True)).counts()["seeded"] == 5
    sent = send(schema(), row(0), row(9), state(), **MIRROR)
    assert (sent.code, sent.counts()["mirror_not_ours"]) == (0, 4)
    assert "no upload of this stream was confirmed" in sent.logged
    assert refs(send) == ["r-0", "r-1", "r-2", "r-3", "r-4", "r-9"]


def test_a_seeded_customer_is_ours_once_the_stream_has_sent_a_row(send: Sending) -> None:
    add(send, "r-1", "id-1")
    add(send, "r-2", "id-2")
    columns = {"ref": {"type": "string"}, "first_name": {"type": "string"}}
    send(schema(**columns), errand=Errand(seed=True))
    same = row(1, first_name="Theirs")
    sent = send(schema(**columns), same, row(2), **MIRROR)
    assert sent.outcomes() == {"unchanged": 1, "sent": 1}
    sent = send(schema(**columns), row(3), **MIRROR)
    assert (sent.counts()["mirror_deleted"], sent.counts()["mirror_not_ours"]) == (1, 1)
    assert refs(send) == ["r-1", "r-3"]


def test_seeding_again_does_not_forget_what_was_sent(send: Sending) -> None:
    send(schema(), row(1), row(2))
    send(schema(), errand=Errand(seed=True))
    assert send(schema(), row(1), **MIRROR).counts()["mirror_deleted"] == 1
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("kind", ["ignored", "server_error"])
def test_mirror_does_not_delete_a_key_whose_only_upload_was_never_confirmed(
    send: Sending, kind: Any
) -> None:
    send(schema(), row(1))
    send.sandbox.inject(Fault("upload_customers", kind))
    if kind == "server_error":
        send.sandbox.inject(Fault("count_customer_pages", kind, times=10))
    assert send(schema(), row(1), row(2), state(), **MIRROR).code in {1, 5}
    send.sandbox.faults.clear()
    if kind != "ignored":
        del send.group.customers[send.customers["r-2"].customer_id]
    add(send, "r-2", "theirs")
    assert send(schema(), row(1), **MIRROR).code == 0
    assert refs(send) == ["r-1", "r-2"]


def test_a_customer_who_was_sent_stays_ours_though_a_later_upload_is_uncertain(
    send: Sending,
) -> None:
    send(schema(), row(1), row(2))
    send.sandbox.inject(Fault("upload_customers", "ignored"))
    assert send(schema(), row(1), row(2, first_name="new")).code == 5
    assert send(schema(), row(1), **MIRROR).counts()["mirror_deleted"] == 1
    assert refs(send) == ["r-1"]


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([SENT, REJECTED, DELETED, UNCERTAIN])),
        max_size=20,
    ),
    compacted=st.booleans(),
)
def test_only_keys_that_were_confirmed_and_not_deleted_since_may_be_deleted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]], *, compacted: bool
) -> None:
    place = Storage(str(tmp_path_factory.mktemp("ledger")))
    books, ours = Ledger(place), set()
    for key, status in steps:
        if status == UNCERTAIN:
            books.intend(prints(key))
        books.record(new_entries(prints(key), prints(key), status))
        ours = ours | {key} if status == SENT else ours - {key} if status == DELETED else ours
    if compacted:
        books.compact()
    assert set(Ledger(place).unseen()["key"].tolist()) == ours


def test_a_run_that_died_before_it_knew_an_outcome_leaves_a_key_ours(tmp_path: Path) -> None:
    books = Ledger(Storage(str(tmp_path)))
    books.record(new_entries(prints(1), prints(1), SENT, folded=np.array([7], np.uint64)))
    books.intend(prints(1, 2))
    unseen = Ledger(Storage(str(tmp_path))).unseen()
    assert (unseen["key"].tolist(), unseen["folded"].tolist()) == ([1], [7])


# Verified as gone


@pytest.mark.parametrize(("dialect", "ref"), [("trimmed", " r-1 "), ("lower", "R-1")])
@pytest.mark.parametrize("why", ["explicit", "mirror"])
def test_a_key_that_the_account_spells_otherwise_is_a_reject(
    send: Sending, dialect: Any, ref: str, why: str
) -> None:
    send.sandbox.account.key_dialect = dialect
    send(schema(), row(0, ref=ref), row(2))
    assert refs(send) == ["r-1", "r-2"]
    for _ in range(2):
        if why == "explicit":
            sent = send(schema(), gone(ref), state())
            assert sent.outcomes() == {"rejected": 1}
            assert send.rejects()[-1]["code"] == "key_spelled_otherwise"
        else:
            sent = send(schema(), row(2), state(), **MIRROR)
            assert sent.counts()["mirror_rejected"] == 1
        assert (sent.code, sent.states) == (3, [])
        assert sent.reasons() == {"key_spelled_otherwise": 1}
        assert refs(send) == ["r-1", "r-2"]


def test_another_customer_whose_key_differs_in_case_alone_does_not_stand_in_the_way(
    send: Sending,
) -> None:
    send(schema(), row(1), row(0, ref="R-1"))
    assert send(schema(), gone("R-1")).outcomes() == {"deleted": 1}
    assert refs(send) == ["r-1"]
    add(send, "R-2", "theirs")
    send(schema(), row(1), row(2))
    del send.group.customers[send.customers["r-2"].customer_id]
    assert send(schema(), gone("r-2"), gone("R-2")).outcomes() == {"already_gone": 1, "deleted": 1}
    send(schema(), row(1), row(0, ref="R-1"))
    del send.group.customers[send.customers["R-1"].customer_id]
    assert send(schema(), row(1), **MIRROR).counts()["mirror_already_gone"] == 1
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("why", ["explicit", "mirror"])
def test_all_customers_of_a_key_are_deleted_and_count(send: Sending, why: str) -> None:
    send.sandbox.account.page_size = 2
    send(schema(), row(1), row(2), row(3))
    add(send, "r-1", "second")
    add(send, "r-1", "third")
    messages: list[Any] = [schema(), gone("r-1")]
    settings: dict[str, Any] = {}
    if why == "mirror":
        messages, settings = [schema(), row(2), row(3)], MIRROR
    sent = send(*messages, **settings, max_delete_rows=2)
    assert (sent.code, len(refs(send))) == (3, 5)
    sent = send(*messages, **settings, max_delete_rows=3)
    assert sent.code == 0
    assert refs(send) == ["r-2", "r-3"]


@pytest.mark.parametrize("why", ["explicit", "mirror"])
def test_a_customer_who_is_still_there_is_unknown_and_deleted_by_the_next_run(
    send: Sending, why: str
) -> None:
    send(schema(), row(1), row(2))
    messages: list[Any] = [schema(), gone("r-1"), row(2)]
    settings: dict[str, Any] = {}
    if why == "mirror":
        messages, settings = [schema(), row(2)], MIRROR
    # The API says that it has deleted one, with a figure.
    kept = send.group.customers[send.customers["r-1"].customer_id]

    def restore(_: Account) -> None:
        send.group.customers[kept.customer_id] = kept

    send.sandbox.inject(Fault("list_customers", "change", after=1, times=99, then=restore))
    sent = send(*messages, state(), **settings)
    assert (sent.code, sent.states) == (5, [])
    assert "still in group" in sent.logged
    send.sandbox.faults.clear()
    assert send(*messages, state(), **settings).code == 0
    assert refs(send) == ["r-2"]


def test_a_delete_that_takes_its_time_is_waited_for(send: Sending) -> None:
    send(schema(), row(1), row(2))
    kept = send.group.customers[send.customers["r-1"].customer_id]
    looks = 0

    def restore(_: Account) -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            send.group.customers[kept.customer_id] = kept
        else:
            send.group.customers.pop(kept.customer_id, None)

    send.sandbox.inject(Fault("list_customers", "change", after=1, times=99, then=restore))
    sent = send(schema(), gone("r-1"), state(), confirm_timeout_seconds=20)
    assert (sent.code, sent.outcomes()) == (0, {"deleted": 1})


@pytest.mark.parametrize("kind", ["bad_request", "not_found"])
def test_a_customer_who_cannot_be_deleted_does_not_save_the_others(
    send: Sending, kind: Any
) -> None:
    send(schema(), *(row(n) for n in range(9)))
    protected = send.customers["r-4"].customer_id
    send.sandbox.inject(Fault("delete_customers", kind, times=99, match=protected))
    sent = send(schema(), *(gone(f"r-{n}") for n in range(9)), state())
    assert (sent.code, sent.outcomes()) == (3, {"deleted": 8, "rejected": 1})
    assert sent.reasons() == {"not_deleted": 1}
    assert refs(send) == ["r-4"]
    assert send.sandbox.count("delete_customers") < 10


def test_the_search_for_customers_that_cannot_be_deleted_is_bounded(send: Sending) -> None:
    send(schema(), *(row(n) for n in range(200)))
    send.sandbox.inject(Fault("delete_customers", "bad_request", times=10_000))
    sent = send(schema(), *(gone(f"r-{n}") for n in range(200)))
    assert sent.outcomes() == {"rejected": 200}
    assert send.sandbox.count("delete_customers") <= 2 * deletes.MAX_REFUSALS


def test_bounds_hold_over_all_flushes_of_a_run(send: Sending) -> None:
    send(schema(), *(row(n) for n in range(10)))
    version = {"type": "ACTIVATE_VERSION", "stream": "people", "version": 1}
    flushes = [m for n in range(4) for m in (gone(f"r-{n}"), version)]
    sent = send(schema(), *flushes, max_delete_percent=30)
    assert sent.outcomes() == {"deleted": 3, "rejected": 1}
    assert len(refs(send)) == 7


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_a_folded_key_is_the_key_of_its_plain_spelling(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    folded = HASHING.folded_keys([column])
    for text, hash_, key in zip(texts, folded, HASHING.keys([column])[:, 0], strict=True):
        upper = pa.array([f" {text} "], pa.string())
        assert (hash_ or key) == (HASHING.folded_keys([upper])[0] or HASHING.keys([upper])[0, 0])
