"""BATCH files, object stores, and rows of this package's own tap."""

from __future__ import annotations

import gzip
import json
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_nudgescribe.errors import UploadRefusedError
from tap_nudgescribe.object_stores import LISTERS, open_object, storage_options
from target_nudgescribe import singer
from target_nudgescribe.ledger import Ledger
from target_nudgescribe.lock import LockedError, lock
from target_nudgescribe.storage import Storage
from target_nudgescribe.target import Errand, TargetNudgescribe
from tests.object_stores import STORES
from tests.sandbox import Fault
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Run
    from tests.target.sending import Sending


def batch(path: Path, form: str, compression: str | None) -> dict[str, Any]:
    return {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": form, "compression": compression},
        "manifest": [path.as_uri()],
    }


RECORDS = [row(n, birthday="1990-02-03", total_spend=n + 0.5)["record"] for n in range(30)]


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("mapped", [False, True])
def test_batch_files_arrive_as_records_do(send: Sending, form: str, *, mapped: bool) -> None:
    path = send.folder / f"rows.{form}"
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    else:
        path.write_bytes(gzip.compress(lines) if form.endswith("gz") else lines)
    compression = "gzip" if form.endswith("gz") else None
    message = batch(path, form.removesuffix(".gz"), compression)
    maps = {"people": {"first_name": "first_name.upper()"}} if mapped else None
    before = row(3, first_name="older")
    sent = send(schema(), before, message, state(), stream_maps=maps, batch_size_rows=8)
    assert (sent.code, len(sent.states)) == (0, 1)
    assert sum(sent.outcomes().values()) == 31
    assert len(send.customers) == 30
    name = "NAME 3" if mapped else "Name 3"
    assert send.customers["r-3"].profile["First Name"] == name
    assert send.customers["r-3"].profile["Birthday"] == "03/02/1990"
    if not mapped:
        assert send(schema(), *(row(0) | {"record": r} for r in RECORDS)).outcomes() == {
            "unchanged": 30
        }


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("name", ["a b%20c", "ü#?"])
def test_a_batch_file_is_found_however_its_url_is_written(
    send: Sending, name: str, compression: str | None
) -> None:
    path = send.folder / name
    content = json.dumps(row(1)["record"]).encode()
    path.write_bytes(gzip.compress(content) if compression else content)
    message = batch(path, "jsonl", compression)
    for url in (path.as_uri(), f"file://{path}", f"file:{path}", str(path)):
        sent = send(schema(), message | {"manifest": [url]})
        assert sent.outcomes().keys() <= {"sent", "unchanged"}, sent.logged
        assert sent.outcomes()


def test_rows_that_wait_too_long_are_sent_however_many_a_block_holds(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sending takes in what waits, which asks again whether it has waited too long.
    monkeypatch.setattr(TargetNudgescribe, "_MAX_RECORD_AGE_IN_MINUTES", -1)
    monkeypatch.setattr(singer, "READ_BYTES", 20_000)
    rows = [row(number) for number in range(450)]
    sent = send(schema(), *rows, state(), errand=Errand(dry_run=True), batch_size_rows=1)
    assert (sent.code, sent.outcomes()) == (0, {"planned": 450})


def test_rows_of_a_batch_file_keep_their_order_and_their_numbers(send: Sending) -> None:
    path = send.folder / "rows.parquet"
    records = [row(n % 9, first_name=f"v{n}", birthday="1990-02-03")["record"] for n in range(60)]
    for number in (0, 33, 59):
        records[number]["birthday"] = "x"
    pq.write_table(pa.Table.from_pylist(records), path)
    sent = send(schema(), row(100), batch(path, "parquet", None), row(101), batch_size_rows=7)
    assert sum(sent.outcomes().values()) == 62
    assert [reject["row_number"] for reject in send.rejects()] == [2, 35, 61]
    names = {ref: c.profile["First Name"] for ref, c in send.customers.items() if len(ref) == 3}
    assert names == {f"r-{n % 9}": f"v{n}" for n in range(50, 59)}


@pytest.fixture(scope="module", params=STORES)
def state_uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run an object store of our own."""
    with STORES[request.param]() as (root, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"{root}/state"


LEAKY = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",  # the stores' clients leave sockets to the collector
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@LEAKY
def test_ledger_rejects_and_summaries_may_be_in_an_object_store(
    send: Sending, state_uri: str
) -> None:
    messages = [schema(), row(1), row(2, birthday="x"), row(3)]
    assert send(*messages, state_uri=state_uri).outcomes() == {"sent": 2, "invalid": 1}
    assert send(*messages, state_uri=state_uri).outcomes() == {"unchanged": 2, "invalid": 1}
    url = urlsplit(state_uri)
    options = storage_options(state_uri)
    names = list(LISTERS[url.scheme](url.netloc, f"{url.path.strip('/')}/", options))
    assert {name.partition("state/")[2].split("/")[0] for name in names} == {
        "ledgers",
        "rejects",
        "runs",
    }
    mirror = {"mode": "mirror", "mirror_trusts_end_of_input": True}
    send(schema(), row(1), state_uri=state_uri, **mirror)
    assert list(send.customers) == ["r-1"]


@LEAKY
def test_batch_files_may_be_in_an_object_store(send: Sending, state_uri: str) -> None:
    url = f"{state_uri}-files/rows.jsonl.gz"
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    with open_object(url, "wb", storage_options(url), compression="disable") as file:
        file.write(gzip.compress(lines))
    form = {"format": "jsonl", "compression": "gzip"}
    message = {"type": "BATCH", "stream": "people", "encoding": form, "manifest": [url]}
    assert send(schema(), message).outcomes() == {"sent": 30}


@LEAKY
def test_a_lock_in_an_object_store_holds_until_it_is_released(state_uri: str) -> None:
    storage = Storage(state_uri).below("locked")
    first = lock(storage, "one")
    with pytest.raises(LockedError):
        lock(storage, "two")
    first.renew()
    first.release()
    lock(storage, "two").release()
    assert len(Ledger(storage).unseen()) == 0


@LEAKY
def test_a_run_whose_ledger_is_damaged_leaves_no_lock(send: Sending, state_uri: str) -> None:
    uri = f"{state_uri}/damaged"
    place = Storage(uri).below(
        "ledgers", send.group.workspace_id, send.group.customer_group_id, "people"
    )
    place.write("ledger.json", b"[]")
    for _ in range(2):
        sent = send(schema(), row(1), state_uri=uri)
        assert (sent.code, sent.states) == (1, [])
        assert "is damaged" in sent.logged


@LEAKY
def test_of_two_runs_that_find_the_same_lock_free_one_gets_it(state_uri: str) -> None:
    storage = Storage(state_uri).below("raced")
    for _ in ("no lock is there", "one is there that is over"):
        found = storage.version("lock.json")
        looks = [found]

        class Late(Storage):
            """Has looked before the other run wrote."""

            def version(self, name: str, looks: list[Any] = looks) -> Any:
                return looks.pop() if looks else super().version(name)

        first = lock(storage, "one")
        with pytest.raises(LockedError):
            lock(Late(storage.uri), "two")
        first.until = 0
        first.renew()
        first.release()


def test_what_the_tap_reads_the_target_takes_as_it_comes(
    send: Sending, tap: Callable[..., Run]
) -> None:
    account = send.sandbox.account
    source = next(group for group in account.groups.values() if len(group.customers) > 20)
    read = tap(workspace_ids=None)
    rows = [
        message
        for message in read.messages
        if message.get("stream") == "customers"
        and (
            message["type"] == "SCHEMA"
            or message["record"]["customer_group_id"] == source.customer_group_id
        )
    ]
    for message in rows[1:]:
        # It is encrypted, and the field would take what the tap has read for its text.
        message["record"].pop("phone", None)
    sent = send(*rows, column_map=None, max_rejected_rows=20)
    assert sent.code == 0
    # The account holds values that its own fields would not take, and it refuses them.
    assert set(sent.reasons("customers")) <= {"not_a_char", "not_an_option", "not_a_number"}
    refs = {customer.profile["Customer Ref"] for customer in source.customers.values()}
    assert set(send.customers) <= refs
    assert len(send.customers) == sent.outcomes("customers")["sent"] > 20
    copies = {
        record["customer_ref"]: record
        for record in tap(workspace_ids=None).records("customers")
        if record["customer_group_id"] == send.group.customer_group_id
    }
    # Loyalty points are text, because another workspace has text there: 197.0 comes back as 197.
    own = {
        "loyalty_points",
        "customer_id",
        "customer_group_id",
        "created_at",
        "updated_at",
        "phone",
        "profile",
    }
    own |= {"_extra"}
    for message in rows[1:]:
        original = message["record"]
        copy = copies.get(original["customer_ref"])
        if copy:
            # A blank and null are one in CSV.
            told = {n: v or None for n, v in original.items() if n not in own}
            assert {n: v or None for n, v in copy.items() if n not in own} == told


@pytest.mark.parametrize(
    "chosen", ["First Name", "größe", "Total Spend", "Joined", "Grade", "Tier"]
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
            st.from_regex(r"[+-]?[0-9]{1,3}(,[0-9]{3})?(\.[0-9]{1,4})?", fullmatch=True),
            st.dates(min_value=date(1000, 1, 1)).map(str),
            st.sampled_from(["Bronze", "EUR 5.10", "5 EUR", "1e5", "A"]),
        ),
        max_size=20,
    )
)
def test_our_own_checks_never_refuse_what_the_api_takes(
    send: Sending, chosen: str, texts: list[str]
) -> None:
    column_map = {"Customer Ref": "ref", chosen: "value"}
    columns = {"ref": {"type": "string"}, "value": {"type": "string"}}
    rows = [
        {"type": "RECORD", "stream": "people", "record": {"ref": f"r-{n}", "value": text}}
        for n, text in enumerate(texts)
    ]
    sent = send(schema(**columns), *rows, column_map=column_map)
    assert sent.target
    rejects = [r for r in send.rejects() if r["run_id"] == sent.target.run_id]
    assert {reject["found_by"] for reject in rejects} <= {"check"}
    client, group = sent.target.workspace.client, send.group
    for reject in rejects:
        text = texts[reject["row_number"] - 1]
        with pytest.raises(UploadRefusedError):
            client.upload_customers(
                group.workspace_id,
                group.customer_group_id,
                [{"Customer Ref": "r", chosen: text}],
                validate_only=True,
            )


def test_two_runs_at_once_end_one_of_them(send: Sending) -> None:
    def second(_: Any) -> None:
        place = Storage(send.config["state_uri"]).below(
            "ledgers", send.group.workspace_id, send.group.customer_group_id, "people"
        )
        with pytest.raises(LockedError):
            lock(place, "another")

    send.sandbox.inject(Fault("upload_customers", "change", then=second))
    assert send(schema(), row(1)).outcomes() == {"sent": 1}
