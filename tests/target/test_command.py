"""The target as a user runs it: its options, its exit codes, and how it ends when it is ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import Fault
from tests.target.sending import COLUMNS, row, schema, state

if TYPE_CHECKING:
    from tests.target.sending import Sending


def command(send: Sending, *args: str, **config: Any) -> list[str]:
    path = send.folder / "config.json"
    path.write_text(json.dumps(send.config | config))
    return [sys.executable, "-m", "target_nudgescribe", "--config", str(path), *args]


def encoded(*messages: Any) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def run(
    send: Sending, *args: str, content: bytes = b"", **config: Any
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603
        command(send, *args, **config),
        input=content,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_check_tells_what_is_there_and_what_a_catalog_lacks(send: Sending) -> None:
    catalog = send.folder / "catalog.json"
    good = {"stream": "people", "tap_stream_id": "people"} | schema()
    bad = good | {"stream": "odd", "schema": {"properties": {"x": {}}}}
    catalog.write_text(json.dumps({"streams": [good]}))
    done = run(send, "--check", "--catalog", str(catalog))
    assert done.returncode == 0, done.stderr
    assert b"3 customer groups" in done.stdout
    assert b"people can be sent" in done.stdout
    catalog.write_text(json.dumps({"streams": [good, bad]}))
    done = run(send, "--check", "--catalog", str(catalog))
    assert done.returncode == 4
    assert b"odd cannot be sent" in done.stdout
    wrong = run(send, "--check", password="canary-wrong")
    assert wrong.returncode == 1
    assert b"log-in is refused" in wrong.stderr
    assert b"canary" not in wrong.stderr


def test_a_check_creates_nothing(send: Sending) -> None:
    catalog = send.folder / "catalog.json"
    stream = {"stream": "people", "tap_stream_id": "people"} | schema(**COLUMNS, brand_new={})
    catalog.write_text(json.dumps({"streams": [stream]}))
    settings = {"create_missing_fields": True, "create_missing_groups": True}
    done = run(send, "--check", "--catalog", str(catalog), customer_group="New", **settings)
    assert done.returncode == 0, done.stderr
    assert b"A run would create: field brand_new" in done.stdout
    assert b"A run would create: group New" in done.stdout
    assert send.sandbox.count("create_field") == send.sandbox.count("create_group") == 0
    assert not (send.folder / "state").exists()


def test_a_run_from_the_command_line_passes_the_state_on_verbatim(send: Sending) -> None:
    value = {"bookmarks": {"x": {"ü": 1.10, "n": 12345678901234567890}}}
    content = encoded(schema(), row(1), {"type": "STATE", "value": value})
    done = run(send, content=content)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == value
    summary = done.stderr.decode().partition("Summary: ")[2].splitlines()[0]
    assert json.loads(summary)["streams"]["people"]["sent"] == 1
    (kept,) = (send.folder / "state" / "runs").iterdir()
    assert json.loads(kept.read_text()) == json.loads(summary)


def test_a_seeded_ledger_sends_nothing_that_the_account_has(send: Sending) -> None:
    content = encoded(schema(), *(row(n, birthday="1990-02-03") for n in range(60)), state())
    assert run(send, content=content).returncode == 0
    elsewhere = str(send.folder / "elsewhere")
    config = {"column_map": {"Customer Ref": "ref", "First Name": "first_name"}}
    only = schema(ref={}, first_name={}, birthday={"format": "date", "type": "string"})
    content = encoded(only, *(row(n, birthday="1990-02-03") for n in range(60)), state())
    more = content + encoded(row(99))
    seeded = run(send, "--seed-ledger", content=more, state_uri=elsewhere, **config)
    assert (seeded.returncode, seeded.stdout) == (0, b""), seeded.stderr
    before = send.sandbox.count("upload_customers")
    assert len(send.customers) == 60
    again = run(send, content=content, state_uri=elsewhere, **config)
    assert again.returncode == 0, again.stderr
    assert send.sandbox.count("upload_customers") == before


MESSAGES = [schema(), *(row(n) for n in range(200)), state()]

STAGES = {"input": "upload_customers", "upload": "upload_customers", "read_back": "list_customers"}


@pytest.mark.parametrize(
    ("signum", "stage", "answered"),
    [
        *((signum, stage, True) for signum in (signal.SIGTERM, signal.SIGINT) for stage in STAGES),
        *((signal.SIGKILL, stage, False) for stage in STAGES),
        (signal.SIGTERM, "upload", False),
    ],
)
def test_a_run_that_is_ended_loses_nothing_and_the_next_one_completes_it(
    send: Sending, signum: signal.Signals, stage: str, *, answered: bool
) -> None:
    account = send.sandbox.account
    reached, ended = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        reached.set()
        if stage != "input":
            ended.wait(60)

    send.sandbox.inject(Fault(STAGES[stage], "change", after=stage == "upload", then=hold))
    if stage == "read_back":
        account.queue_above = 0
    with subprocess.Popen(  # noqa: S603
        command(send, batch_size_rows=20),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(encoded(*(MESSAGES[:30] if stage == "input" else MESSAGES)))
        process.stdin.flush()
        if stage != "input":
            process.stdin.close()
        assert reached.wait(60)
        process.send_signal(signum)
        if answered:
            ended.set()
        assert process.stdout.read() == b""
        assert process.wait(60) == {15: 143, 2: 130, 9: -9}[signum]
    ended.set()
    account.queue_above = 10_000
    sent = send(*MESSAGES, batch_size_rows=20)
    assert (sent.code, len(sent.states)) == (0, 1)
    assert len(send.customers) == 200
    known = sent.outcomes().get("unchanged", 0)
    if stage == "upload":
        # Only the batch that was under way may go out again.
        assert known >= 20 if answered else known == 20
