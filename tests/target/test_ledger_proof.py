"""The ledger is believed only where it describes this account, and nobody else wrote it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.target import Errand
from tests.sandbox import Sandbox
from tests.target.sending import row, schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.target.sending import Sending

ROWS = [schema(), *(row(number) for number in range(20))]

SEED = Errand(seed=True)


def ledger_of(send: Sending) -> Path:
    return next((send.folder / "state/ledgers").rglob("ledger.json")).parent


def test_rows_for_another_host_are_never_unchanged(send: Sending) -> None:
    assert send(*ROWS).outcomes() == {"sent": 20}
    with Sandbox() as twin:
        assert twin.account.account_id == send.sandbox.account.account_id
        sent = send(*ROWS, api_url=twin.config["api_url"])
    assert (sent.code, sent.states) == (4, [])
    assert "describes the api 127.0.0.1:" in sent.logged
    assert "state_uri" in sent.logged


def test_rows_for_another_account_are_never_unchanged(send: Sending) -> None:
    send(*ROWS)
    before = send.sandbox.account.account_id
    send.sandbox.account.account_id = "another"
    sent = send(*ROWS)
    assert sent.code == 4
    assert f"describes the account {before}, and this run is for another" in sent.logged
    assert send(*ROWS, errand=Errand(dry_run=True)).code == 4


@pytest.mark.parametrize("counted", [True, False])
def test_an_emptied_group_stops_the_run_and_seeding_heals_it(
    send: Sending, *, counted: bool
) -> None:
    send(*ROWS)
    send.group.customers.clear()
    send.sandbox.account.count_dialect = "exact" if counted else "absent"
    sent = send(*ROWS)
    assert (sent.code, sent.states) == (4, [])
    assert "has 0 customers, and the ledger says that 20 are there" in sent.logged
    assert send(schema(ref={}, first_name={}), errand=SEED).code == 0
    assert send(*ROWS).outcomes() == {"sent": 20}
    assert len(send.customers) == 20


def test_a_few_customers_that_others_have_deleted_are_told(send: Sending) -> None:
    send(*ROWS)
    for customer in list(send.group.customers.values())[:3]:
        del send.group.customers[customer.customer_id]
    sent = send(*ROWS)
    assert sent.outcomes() == {"unchanged": 20}
    assert "3 customers that were sent" in sent.logged
    sent = send(*ROWS, verify="full")
    assert sent.outcomes() == {"sent": 3, "unchanged": 17}
    assert sent.counts()["drifted"] == 3
    assert "that were sent" not in send(*ROWS).logged


def test_verify_full_looks_at_unchanged_rows_too(send: Sending) -> None:
    send(*ROWS)
    send.customers["r-4"].profile["First Name"] = "Of somebody else"
    assert send(*ROWS, verify="sample").outcomes() == {"unchanged": 20}
    assert send(*ROWS, verify="full").outcomes() == {"sent": 1, "unchanged": 19}
    assert send.customers["r-4"].profile["First Name"] == "Name 4"
    assert send(*ROWS, verify="full").outcomes() == {"unchanged": 20}


def test_a_count_of_the_api_that_is_too_low_stops_nothing(send: Sending) -> None:
    send(*ROWS)
    send.sandbox.account.count_dialect = "zero"
    assert send(*ROWS).outcomes() == {"unchanged": 20}


@pytest.mark.parametrize("lost", ["ledger.json", "base-*"])
def test_a_ledger_that_lacks_a_file_is_lost(send: Sending, lost: str) -> None:
    mirror: dict[str, Any] = {"mode": "mirror", "mirror_trusts_end_of_input": True}
    send(*ROWS)
    folder = ledger_of(send)
    for path in folder.glob(lost):
        path.unlink()
    sent = send(*ROWS[:11], **mirror)
    assert sent.outcomes() == {"sent": 10}
    assert "files of the ledger" in sent.logged
    assert len(send.customers) == 20
    assert send(*ROWS[:11], **mirror).outcomes() == {"unchanged": 10}


def test_a_ledger_of_another_version_is_refused(send: Sending) -> None:
    send(*ROWS)
    listing = ledger_of(send) / "ledger.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"version": 99}))
    sent = send(*ROWS)
    assert sent.code == 4
    assert "written by another version" in sent.logged
    assert send.sandbox.count("upload_customers") == 1


@pytest.mark.parametrize("what", ["file", "folder", "folder above", "link", "owner"])
def test_a_ledger_that_others_own_or_may_write_is_refused(send: Sending, what: str) -> None:
    send(*ROWS)
    folder = ledger_of(send)
    base = next(folder.glob("base-*"))
    if what == "file":
        base.chmod(0o666)
    elif what == "folder":
        folder.chmod(0o770)
    elif what == "folder above":
        folder.parent.chmod(0o702)
    elif what == "link":
        base.rename(send.folder / "base")
        base.symlink_to(send.folder / "base")
    elif os.geteuid():
        pytest.skip("only root can give a file away")
    else:
        os.chown(base, 12345, -1)
    sent = send(*ROWS)
    assert (sent.code, sent.states) == (1, [])
    assert "so what it says is not believed" in sent.logged
    assert send.sandbox.count("upload_customers") == 1


def test_a_field_that_was_deleted_and_created_anew_is_filled_again(send: Sending) -> None:
    send(*ROWS)
    field = next(f for f in send.sandbox.account.fields.values() if f.field_name == "First Name")
    for customer in send.group.customers.values():
        customer.profile.pop("First Name", None)
    del send.sandbox.account.fields[field.field_id]
    field.field_id = send.sandbox.account.new_id()
    send.sandbox.account.fields[field.field_id] = field
    assert send(*ROWS).outcomes() == {"sent": 20}
    assert send.customers["r-4"].profile["First Name"] == "Name 4"
    assert send(*ROWS).outcomes() == {"unchanged": 20}
