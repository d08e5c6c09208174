"""What a privacy officer asks for: retention, erasure, and hashes that nobody else can compute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.forget import read_keys
from target_nudgescribe.rejects import read_rows
from target_nudgescribe.retention import DAY_SECONDS, remove_expired
from target_nudgescribe.storage import Storage
from target_nudgescribe.target import Errand
from tests.object_stores import STORES
from tests.target.sending import row, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.target.sending import Sending


DRY_RUN = Errand(dry_run=True)


def forget(send: Sending, content: bytes, **config: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``--forget`` on a file."""
    settings = {name: value for name, value in (send.config | config).items() if value is not None}
    (send.folder / "config.json").write_text(json.dumps(settings))
    (send.folder / "keys").write_bytes(content)
    command = [sys.executable, "-m", "target_nudgescribe", "--config", send.folder / "config.json"]
    return subprocess.run(  # noqa: S603
        [*command, "--forget", send.folder / "keys"], capture_output=True, timeout=60, check=False
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def age(folder: Path, *, days: float) -> None:
    """Let all files of a folder have been written some days ago."""
    then = time.time() - days * DAY_SECONDS
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


@pytest.fixture(params=STORES)
def state_uri(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a place of each kind."""
    with STORES[request.param]() as (uri, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"{uri}/state"


def test_a_successful_run_removes_rejects_and_summaries_after_their_days(send: Sending) -> None:
    bad = row(1, birthday="soon")
    settings = {"max_rejected_rows": 10, "rejects_keep_days": 30, "runs_keep_days": 7}
    rejects, runs = send.folder / "state/rejects", send.folder / "state/runs"
    send(schema(), bad, row(2), **settings)
    old = files(runs)
    age(send.folder / "state", days=29)
    send(schema(), bad, row(2), **settings)
    assert len(list(rejects.iterdir())) == 2
    assert not old & files(runs)
    assert len(files(runs)) == 1
    age(send.folder / "state", days=31)
    send(schema(), row(2), **settings)
    assert list(rejects.iterdir()) == []
    assert send(schema(), row(2)).outcomes() == {"unchanged": 1}, "the ledger stays"


def test_nothing_is_removed_unless_set_nor_by_a_run_that_fails(send: Sending) -> None:
    bad = row(1, birthday="soon")
    send(schema(), bad)
    age(send.folder / "state", days=5000)
    send(schema(), row(2))
    assert send(schema(), bad, rejects_keep_days=1).code == 3
    assert send(schema(), row(3), rejects_keep_days=1, errand=DRY_RUN).code == 0
    assert len(send.rejects()) == 2


LEAKY = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",  # the stores' clients leave sockets to the collector
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@LEAKY
def test_expired_files_are_removed_wherever_they_are(state_uri: str) -> None:
    storage = Storage(state_uri)
    storage.below("rejects", "a").write("x-1.jsonl", b"{}")
    storage.below("runs").write("a.json", b"{}")
    storage.below("ledgers").write("ledger.json", b"{}")
    config: dict[str, Any] = {"rejects_keep_days": 2, "runs_keep_days": 3}
    now = time.time()
    assert remove_expired(storage, config, now=now + 1.9 * DAY_SECONDS) == {"rejects": 0, "runs": 0}
    assert remove_expired(storage, config, now=now + 2.9 * DAY_SECONDS) == {"rejects": 1, "runs": 0}
    assert remove_expired(storage, config, now=now + 9 * DAY_SECONDS) == {"rejects": 0, "runs": 1}
    assert [file.name for file in storage.files()] == ["ledgers/ledger.json"]


def test_a_store_that_cannot_be_cleaned_is_a_warning_of_a_successful_run(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(schema(), row(1, birthday="soon"), max_rejected_rows=1)
    age(send.folder / "state", days=5)

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "denied", str(self))

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    sent = send(schema(), rejects_keep_days=1)
    assert sent.code == 0
    assert "Expired files below state_uri were not all removed" in sent.logged


def test_forgetting_removes_a_customer_from_all_ledgers_and_rejects(send: Sending) -> None:
    both = {"rejects_rows": "full", "max_rejected_rows": 10}
    bad = row(3, birthday="soon")
    send(schema(), row(1), row(2), bad, **both)
    send(schema("more"), row(1, "more"), row(3, "more"), row(1, "more", birthday="x"), **both)
    masked = both | {"rejects_rows": "masked", "rejects_format": "parquet"}
    send(schema(), bad, **masked)
    assert len(send.rejects()) == 2
    done = forget(send, b"r-1\nr-3\r\n\nr-77\n")
    assert done.returncode == 0, done.stderr
    assert b"3 identifiers: 4 entries removed from 2 ledgers, 3 rows removed from 3 files" in (
        done.stdout
    )
    assert b"Not reached: the account itself" in done.stdout
    assert b"r-1" not in done.stdout + done.stderr
    assert send.rejects() == []
    assert b"0 entries removed from 2 ledgers, 0 rows" in forget(send, b"r-1\nr-3").stdout
    assert send(schema(), row(1), row(2)).outcomes() == {"sent": 1, "unchanged": 1}


def test_forgetting_leaves_other_rows_of_a_file_as_they_are(send: Sending) -> None:
    rows = [row(number, birthday="soon") for number in range(4)]
    for form in ("csv", "jsonl", "parquet"):
        send(schema(), *rows, rejects_rows="full", rejects_format=form, max_rejected_rows=9)
    assert b"3 rows removed from 3 files" in forget(send, b"r-2\n").stdout
    kept = [reject["key"] for reject in send.rejects()]
    assert kept == ["r-0", "r-1", "r-3"]
    for path in (send.folder / "state/rejects").rglob("*.*"):
        assert [stream for stream, _ in read_rows(str(path))] == ["people"] * 3


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_identifiers_is_refused(send: Sending, content: bytes) -> None:
    done = forget(send, content)
    assert done.returncode == 1
    assert b"must be UTF-8 text with one identifier a line" in done.stderr


def test_a_damaged_file_of_rejects_is_named_and_all_others_are_done(send: Sending) -> None:
    send(schema(), row(1), row(2, birthday="soon"), max_rejected_rows=1, rejects_rows="full")
    damaged = send.folder / "state/rejects/damaged"
    damaged.mkdir(0o700)
    (damaged / "people-00001.jsonl").write_text("{")
    done = forget(send, b"r-1\nr-2")
    assert done.returncode == 1
    assert b"damaged/people-00001.jsonl" in done.stderr
    assert b"1 entries removed from 1 ledgers, 1 rows removed" in done.stderr


def test_keys_of_several_fields_are_json_arrays() -> None:
    lines = ['["a", "b"]\n', "[1]\n", "plain\r\n", "plain\n", "[x\n", ' "q" \n']
    assert read_keys(lines) == [("a", "b"), ("[1]",), ("plain",), ("[x",), (' "q" ',)]


def test_with_a_hash_key_nobody_can_test_who_is_in_a_ledger(send: Sending) -> None:
    key = {"hash_key": "a secret of sixteen characters"}
    bad = row(2, birthday="soon")
    send(schema(), row(1), bad, max_rejected_rows=1, **key)
    ids = pa.array(["r-1", "r-2"])
    open_, secret = Hashing().keys([ids]), Hashing(key["hash_key"]).keys([ids])
    files = [path.read_bytes() for path in (send.folder / "state").rglob("*") if path.is_file()]
    held = b"".join(files)
    assert secret[0, 0].tobytes() in held
    assert secret[1].tobytes().hex().encode() in held
    assert not any(one[0].tobytes() in held for one in open_)
    assert not any(one.tobytes().hex().encode() in held for one in open_)
    assert send(schema(), row(1), **key).outcomes() == {"unchanged": 1}
    assert b"1 entries removed" in forget(send, b"r-1", **key).stdout


@pytest.mark.parametrize("later", [None, "another secret of more than 16"])
def test_another_hash_key_is_refused_and_seeding_elsewhere_is_the_way(
    send: Sending, later: str | None
) -> None:
    send(schema(), row(1), hash_key="a secret of sixteen characters")
    sent = send(schema(), row(1), hash_key=later)
    assert sent.code == 4
    assert "written with another hash_key, or without one" in sent.logged
    assert "--seed-ledger" in sent.logged
    assert forget(send, b"r-1", hash_key=later).returncode == 4
    elsewhere = {"state_uri": str(send.folder / "elsewhere"), "hash_key": later}
    columns: dict[str, Any] = {"ref": {}, "first_name": {}}
    assert send(schema(**columns), errand=Errand(seed=True), **elsewhere).code == 0
    assert send(schema(**columns), row(1), **elsewhere).outcomes() == {"unchanged": 1}
