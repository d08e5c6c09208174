"""Input that means harm, files that others could read or plant, and names that lead elsewhere."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe import singer, sinks
from target_nudgescribe.customers import CustomerStream
from target_nudgescribe.rejects import masked
from target_nudgescribe.storage import safe_name
from target_nudgescribe.target import Errand
from tests.raw_server import RawServer, answer
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_nudgescribe.prepared import Prepared
    from tests.target.sending import Sending

WRONG = {"birthday": "canary"}


# Lines


@pytest.mark.parametrize(
    "line",
    [
        b"canary",
        b"canary \xff",
        b'["canary"]',
        b'"canary"',
        b'{"canary": 1}',
        b'{"type": "canary"}',
        b'{"type": ["canary"]}',
        b'{"type": "RECORD", "stream": "people", "record": "canary"}',
        b'{"type": "RECORD", "stream": "people", "record": ["canary"]}',
        b'{"type": "RECORD", "stream": "people"}',
        b'{"type": "RECORD", "stream": ["canary"], "record": {}}',
        b'{"type": "RECORD", "stream": "nobody", "record": {"x": "canary"}}',
        b'{"type": "RECORD", "stream": "people", "record": {"ref": ' + b'{"canary":' * 5000,
        b'{"type": "RECORD", "stream": "people", "record": {"ref": ' + b"[" * 5000 + b"]" * 5000,
        b'{"type": "SCHEMA", "stream": "people", "schema": "canary"}',
        b'{"type": "SCHEMA", "stream": "people", "schema": {}}',
        b'{"type": "SCHEMA", "stream": "people", "schema": {"properties": ["canary"]}}',
        b'{"type": "SCHEMA", "stream": "people", "schema": {"properties": {"a": "canary"}}}',
        b'{"type": "SCHEMA", "stream": 5, "schema": {"properties": {}}}',
        b'{"type": "SCHEMA", "stream": "p", "schema": {"properties": {}}, "key_properties": 5}',
        b'{"type": "SCHEMA", "stream": "\\ud800", "schema": {"properties": {}}}',
        b'{"type": "SCHEMA", "stream": "p", "schema": {"properties": {"\\ud800": {}}}}',
        b'{"type": "STATE", "canary": 1}',
        b'{"type": "ACTIVATE_VERSION", "canary": 1}',
        b'{"type": "BATCH", "stream": "people", "encoding": "canary", "manifest": []}',
        b'{"type": "BATCH", "stream": "people", "encoding": {}, "manifest": "canary"}',
        b'{"type": "BATCH", "stream": "people", "encoding": {}, "manifest": [5]}',
        b'{"type": "BATCH", "stream": "nobody", "encoding": {"format": "jsonl"}, "manifest": []}',
        b'{"type": "BATCH", "stream": "people", "encoding": {"format": "x"}, "manifest": ["/x"]}',
    ],
)
def test_a_line_that_is_no_message_ends_the_run_and_is_not_quoted(
    send: Sending, line: bytes
) -> None:
    sent = send(schema(), row(1), line, state())
    assert (sent.code, sent.states) == (1, [])
    assert "defect" not in sent.logged
    assert "canary" not in sent.logged
    assert "Look at the tap" in sent.logged


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_is_held_only_so_far(
    send: Sending, monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    monkeypatch.setattr(singer, "LONGEST_LINE", 2_000)
    monkeypatch.setattr(singer, "READ_BYTES", 100)
    line = json.dumps(row(2, first_name="canary" * 1000)).encode()
    sent = send(schema(), row(1), line if ended else line[:-2], state())
    assert (sent.code, sent.states) == (1, [])
    assert "Line 3 of the input is longer than 2000 bytes" in sent.logged
    assert send(schema(), row(1), row(2), state()).code == 0


def test_half_a_character_in_a_record_costs_its_row(send: Sending) -> None:
    half = (
        b'{"type": "RECORD", "stream": "people", "record": {"ref": "a", "first_name": "\\ud800"}}'
    )
    sent = send(schema(), row(1), half, rejects_rows="full")
    assert sent.outcomes() == {"sent": 1, "invalid": 1}
    group = {"type": "RECORD", "stream": "customer_groups", "record": {"description": "\ud800"}}
    columns = {"description": {"type": "string"}}
    sent = send(schema("customer_groups", (), **columns), group, rejects_rows="full")
    assert sent.outcomes("customer_groups") == {"rejected": 1}


# BATCH files


def batch(*urls: str, form: str = "jsonl", compression: str | None = None) -> dict[str, Any]:
    encoding = {"format": form, "compression": compression}
    return {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": list(urls)}


@pytest.mark.parametrize("maps", [None, {"people": {"first_name": "first_name"}}])
@pytest.mark.parametrize(
    "scheme", ["http", "https", "ftp", "ssh", "sftp", "hdfs", "webhdfs", "data", "FILE+x"]
)
def test_a_batch_file_of_another_kind_of_place_is_refused(
    send: Sending, scheme: str, maps: Any
) -> None:
    with RawServer(lambda _: [answer(b'{"ref": "canary"}\n')]) as server:
        url = f"{scheme}://127.0.0.1:{server.port}/canary"
        sent = send(schema(), batch(url), state(), stream_maps=maps)
        assert not server.requests
    assert (sent.code, sent.states) == (1, [])
    assert "no URL of file, s3, gs, az" in sent.logged
    assert "canary" not in sent.logged


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What is there, and is no file of records, or one beyond the bounds."""
    monkeypatch.setattr(singer, "LONGEST_LINE", 10_000)
    monkeypatch.setattr(sinks, "READ_BYTES", 100)
    monkeypatch.setattr(sinks, "MOST_GROUP_BYTES", 100)
    folder = tmp_path / "places"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "torn.gz").write_bytes(gzip.compress(os.urandom(9999))[:5000])
    (folder / "text").write_bytes(b"canary\n")
    (folder / "list").write_bytes(b'["canary"]\n')
    (folder / "deep").write_bytes(b'{"ref":' + b"[" * 5000 + b"\n")
    (folder / "long").write_bytes(b'{"ref": "' + b"canary" * 2000 + b'"}')
    pq.write_table(
        pa.table({"ref": [f"canary {n}" for n in range(1000)]}), folder / "large.parquet"
    )
    return {path.name: path for path in folder.iterdir()} | {
        "folder": folder,
        "device": type(folder)("/dev/zero"),
        "nowhere": folder / "nowhere",
    }


@pytest.mark.parametrize(
    ("name", "encoding", "words"),
    [
        ("nowhere", ("jsonl", None), "not there"),
        ("folder", ("jsonl", None), "no plain file"),
        ("pipe", ("jsonl", None), "no plain file"),
        ("device", ("jsonl", None), "no plain file"),
        ("device", ("parquet", None), "no plain file"),
        ("torn.gz", ("jsonl", "gzip"), "cannot be read (EOFError)"),
        ("text", ("jsonl", "gzip"), "cannot be read (BadGzipFile)"),
        ("text", ("parquet", None), "cannot be read (ArrowInvalid)"),
        ("text", ("jsonl", None), "no JSON"),
        ("list", ("jsonl", None), "no object"),
        ("deep", ("jsonl", None), "nested too deeply"),
        ("long", ("jsonl", None), "longer than 10000 bytes"),
        ("large.parquet", ("parquet", None), "row group"),
    ],
)
@pytest.mark.parametrize("maps", [None, {"people": {"first_name": "first_name"}}])
def test_a_batch_file_that_cannot_be_read_ends_the_run(  # noqa: PLR0913 (a table)
    send: Sending,
    places: dict[str, Path],
    *,
    name: str,
    encoding: tuple[str, str | None],
    words: str,
    maps: Any,
) -> None:
    message = batch(places[name].as_uri(), form=encoding[0], compression=encoding[1])
    sent = send(schema(), message, state(), stream_maps=maps)
    assert (sent.code, sent.states) == (1, [])
    assert words in sent.logged
    assert "defect" not in sent.logged
    assert "canary" not in sent.logged


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_goes_wrong_with_the_rows_of_a_batch_file_is_no_fault_of_the_file(
    send: Sending, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = send.folder / f"rows.{form}"
    if form == "jsonl":
        path.write_text('{"first_name": "canary"}\n')
    else:
        pq.write_table(pa.table({"first_name": ["canary"]}), path)
    message = batch(path.as_uri(), form=form)
    sent = send(schema(), message, state())
    assert (sent.code, sent.states) == (1, [])
    assert "lacks the key properties ref" in sent.logged

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "canary")

    monkeypatch.setattr(CustomerStream, "absorb", full)
    sent = send(schema(key=()), message, state())
    assert (sent.code, sent.states) == (1, [])
    assert "No space left on device" in sent.logged
    assert "canary" not in sent.logged


def test_a_parquet_file_is_held_only_in_pieces(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "CHUNK_ROWS", 10)
    monkeypatch.setattr(sinks, "PARQUET_ROWS", 25)
    monkeypatch.setattr(sinks, "CHUNK_BYTES", 40_000)
    chunks = []
    absorb = CustomerStream.absorb

    def seen(stream: CustomerStream, prepared: Prepared) -> None:
        chunks.append(len(prepared.rows))
        absorb(stream, prepared)

    monkeypatch.setattr(CustomerStream, "absorb", seen)
    path = send.folder / "rows.parquet"
    for text, sizes in (("x", [30, 30, 10]), ("x" * 3000, [20, 20, 20, 10])):
        # The file says how long the texts are in a dictionary, which is little.
        records = [row(number, first_name=text)["record"] for number in range(70)]
        pq.write_table(pa.Table.from_pylist(records), path)
        chunks.clear()
        send(schema(), batch(path.as_uri(), form="parquet"), errand=Errand(dry_run=True))
        assert chunks == sizes


def test_a_long_batch_file_is_held_only_in_pieces(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "READ_BYTES", 100)
    path = send.folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row(number)["record"]) for number in range(50)))
    assert send(schema(), batch(path.as_uri()), state()).outcomes() == {"sent": 50}


# Names


def within(folder: Path) -> Iterator[Path]:
    for found in folder.rglob("*"):
        assert found.resolve().is_relative_to(folder.resolve())
        yield found


@pytest.mark.parametrize(
    "stream",
    ["../../outside", "/outside", "..", ".", "a/b", "a\\b", "a\nb", "ü", "a:b", "", "~"],
)
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_stream_leads_to_no_folder_but_the_targets_own(
    send: Sending, stream: str, form: str
) -> None:
    before = {path for path in send.folder.parent.rglob("*") if "state" not in path.parts}
    sent = send(schema(stream), row(1, stream), row(2, stream, **WRONG), rejects_format=form)
    assert sent.code == 3, sent.logged
    after = {path for path in send.folder.parent.rglob("*") if "state" not in path.parts}
    assert after == before
    kinds = {
        found.relative_to(send.folder / "state").parts[0]
        for found in within(send.folder)
        if found.is_file()
    }
    assert kinds == {"ledgers", "rejects", "runs"}


def test_a_group_leads_to_no_folder_but_the_targets_own(send: Sending) -> None:
    account, group = send.sandbox.account, send.group
    del account.groups[group.customer_group_id]
    group.customer_group_id = "../../../outside"
    account.groups[group.customer_group_id] = group
    assert send(schema(), row(1)).outcomes() == {"sent": 1}
    assert list(within(send.folder))


def test_a_name_that_no_file_can_have_is_an_error_that_says_so(send: Sending) -> None:
    sent = send(schema(), row(1), state_uri=str(send.folder / ("x" * 300)))
    assert sent.code == 1
    assert "state_uri" in sent.logged
    assert "defect" not in sent.logged


@given(st.text())
def test_a_safe_name_is_one_part_of_a_path_and_says_which(name: str) -> None:
    safe = safe_name(name)
    assert safe not in {"", ".", ".."}
    assert not set(safe) & set("/\\\0\n.")
    assert safe.isascii()


# Files


def modes(folder: Path) -> set[tuple[str, str]]:
    return {
        ("folder" if path.is_dir() else "file", oct(stat.S_IMODE(path.stat().st_mode)))
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_only_their_owner_can_open_the_targets_files(send: Sending, mask: int) -> None:
    before = os.umask(mask)
    try:
        place = send.folder / "new" / "state"
        send(schema(), row(1), row(2, **WRONG), state_uri=str(place), rejects_rows="full")
    finally:
        os.umask(before)
    assert modes(send.folder / "new") == {("folder", "0o700"), ("file", "0o600")}
    assert {path.name for path in place.iterdir()} == {"ledgers", "rejects", "runs"}


def test_a_folder_that_is_there_may_be_a_link_and_keeps_its_mode(send: Sending) -> None:
    elsewhere = send.folder / "elsewhere"
    elsewhere.mkdir(0o750)
    (send.folder / "state").symlink_to(elsewhere)
    assert send(schema(), row(1)).outcomes() == {"sent": 1}
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o750
    assert send(schema(), row(1)).outcomes() == {"unchanged": 1}


def test_nothing_is_written_through_a_link_that_somebody_planted(send: Sending) -> None:
    victim = send.folder / "victim"
    victim.write_text("mine")
    send(schema(), row(1))
    ledger = next((send.folder / "state/ledgers").rglob("ledger.json"))
    for name in ("ledger.json", f".ledger.json.{os.getpid()}"):
        (ledger.parent / name).unlink(missing_ok=True)
        (ledger.parent / name).symlink_to(victim)
        send(schema(), row(2))
        assert victim.read_text() == "mine"
    (ledger.parent / "lock").unlink()
    (ledger.parent / "lock").symlink_to(victim)
    sent = send(schema(), row(3))
    assert sent.code == 1
    assert "state_uri" in sent.logged
    assert victim.read_text() == "mine"


@given(st.text())
def test_a_masked_text_shows_ascii_signs_and_nothing_else(text: str) -> None:
    shown = masked(text)
    assert len(shown) == min(len(text), 200)
    assert all(sign in "x9" or not sign.isalnum() for sign in shown)
    assert shown.isascii()


def test_text_that_a_spreadsheet_would_run_arrives_as_it_is(send: Sending) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"]
    rows = [row(number, first_name=text) for number, text in enumerate(texts)]
    assert send(schema(), *rows).outcomes() == {"sent": len(texts)}
    assert [send.customers[f"r-{n}"].profile["First Name"] for n in range(len(texts))] == texts
