"""No secret and no customer's value in anything but the data itself, whatever goes wrong.

Every secret and every value holds the word ``canary``; the two plugins run with all logs at DEBUG
and with ``http.client`` told to print. Then everything that they left is searched for the word:
stdout beyond the records, stderr, temporary files, and the target's state.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.canaries import files_below, plant, search
from tests.message_server import Content, MessageServer
from tests.sandbox import Fault, Sandbox, files, uploads
from tests.sandbox.faults import READS
from tests.target.sending import COLUMNS, MAP, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.account import Account
    from tests.sandbox.faults import Kind

PROGRAM = """
import http.client, importlib, os, sys
http.client.HTTPConnection.debuglevel = 1
if place := os.environ.get("BROKEN"):
    module, _, path = place.partition(":")
    owner = importlib.import_module(module)
    *owners, name = path.split(".")
    for each in owners:
        owner = getattr(owner, each)
    def broken(*args, **kwargs):
        raise ValueError(f"canary: {args!r} {kwargs!r}")
    setattr(owner, name, broken)
name = sys.argv.pop(1)
plugin = importlib.import_module(f"{name}_nudgescribe.{name}")
getattr(plugin, f"{name.title()}Nudgescribe").cli()
"""
"""Runs a plugin; BROKEN names a function that quotes what it is given and fails."""

TALKATIVE = (
    *("urllib3", "urllib3.connection", "urllib3.connectionpool", "requests", "smart_open"),
    *("botocore", "botocore.auth", "botocore.endpoint", "botocore.hooks", "singer_sdk.mapper"),
)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "structured", "level": "DEBUG"}
    },
    "root": {"level": "DEBUG", "handlers": ["console"]},
    "loggers": {name: {"level": "DEBUG"} for name in TALKATIVE},
}
"""What a user may set by SINGER_SDK_LOG_CONFIG: everything, of every library."""

SECRETS = {"api_code": "canary-code", "client_ip": "192.0.2.1"}
SEED = {"hash_seed": "canary-seed"}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "canary-id",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "AWS_SESSION_TOKEN": "canary-session",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=canary",
    "NO_PROXY": "127.0.0.1",
}

PASSING: tuple[Kind, ...] = (
    *("rate_limited", "server_error", "reset_before", "reset", "truncated", "invalid_json"),
    *("expired_token", "expired_url"),
)
LASTING: tuple[Kind, ...] = (
    *("refused", "missing_field", "not_found", "bad_request", "unexpected_shape"),
)


class Bench:
    """Runs a plugin in a folder of its own and searches what it left there."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        (folder / "inputs").mkdir()
        (folder / "tmp").mkdir()
        (folder / "inputs/logging.yaml").write_text(yaml.safe_dump(LOGGING))

    def start(
        self,
        plugin: str,
        *args: str,
        broken: str = "",
        env: dict[str, str] | None = None,
        **cfg: Any,
    ) -> subprocess.Popen[bytes]:
        settings = {"max_tries": 2, "stream_map_config": SEED} | self.sandbox.config | SECRETS | cfg
        if plugin == "target":
            group = next(iter(self.sandbox.account.groups.values()))
            settings = {
                "workspace_id": group.workspace_id,
                "customer_group": group.customer_group_id,
                "column_map": MAP,
                "state_uri": str(self.folder / "state"),
                "confirm_timeout_seconds": 1,
            } | settings
        path = self.folder / "inputs/config.json"
        path.write_text(json.dumps(settings))
        levels = {f"{n}_NUDGESCRIBE_LOGLEVEL": "DEBUG" for n in ("TAP", "TARGET")}
        environment = (
            os.environ
            | ENVIRONMENT
            | levels
            | (env or {})
            | {
                "SINGER_SDK_LOG_CONFIG": str(self.folder / "inputs/logging.yaml"),
                "TMPDIR": str(self.folder / "tmp"),
                "BROKEN": broken,
            }
        )
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", PROGRAM, plugin, "--config", str(path), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def run(self, plugin: str, *args: str, content: bytes = b"", **config: Any) -> str:
        """Run to the end, search, and return stderr."""
        process = self.start(plugin, *args, **config)
        output, errors = process.communicate(content, timeout=60)
        self.search(output, errors)
        return f"exit code {process.returncode}\n{errors.decode()}"

    def search(self, output: bytes, errors: bytes) -> None:
        """Look for canaries in everything but inputs and records."""
        told = b"\n".join(line for line in output.splitlines() if b'"type":"RECORD"' not in line)
        search(
            self.sandbox,
            files_below(self.folder, but={"inputs"}) | {"stdout": told, "stderr": errors},
        )


@pytest.fixture
def bench(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(files, "_BODIES", ("canary-body", '"canary", twice'))
    files._content.cache_clear()  # noqa: SLF001 (its own tests know it)
    plant(sandbox.account)
    yield Bench(tmp_path, sandbox)
    files._content.cache_clear()  # noqa: SLF001


# The tap


@pytest.mark.parametrize("kinds", [PASSING, LASTING], ids=["passing", "lasting"])
def test_faults_of_the_api_tell_nothing(bench: Bench, kinds: tuple[Kind, ...]) -> None:
    for after, kind in enumerate(kinds):
        bench.sandbox.inject(*(Fault(read, kind, after=after) for read in (*READS[1:], "storage")))
    assert "exit code 1" in bench.run("tap", max_tries=1)


@pytest.mark.parametrize("secret", ["api_key", "password"])
def test_wrong_credentials_are_not_told(bench: Bench, secret: str) -> None:
    assert "log-in is refused" in bench.run("tap", **{secret: "canary@wrong"})


@pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        ("tap", {"api_key": "canary\n"}),
        ("tap", {"user_agent": "canary\r\nX: y"}),
        ("tap", {"api_url": "https://user:canary@example.org/v1"}),
        ("tap", {"max_tries": "canary@1", "password": ["canary"]}),
        ("target", {"api_key": "canary\n"}),
        ("target", {"mode": "canary@1", "api_code": {"canary": 1}}),
    ],
)
def test_wrong_settings_are_named_and_not_quoted(
    bench: Bench, plugin: str, settings: dict[str, Any]
) -> None:
    told = bench.run(plugin, content=SENT, **settings)
    assert "exit code 1" in told
    assert "Settings: " in told
    assert "defect" not in told


@pytest.mark.parametrize("option", ["--about", "--check", "--discover", "--test"])
def test_other_commands_of_the_tap_tell_nothing(bench: Bench, option: str) -> None:
    bench.sandbox.inject(Fault("list_groups", "unexpected_shape"), Fault("list_runs", "refused"))
    bench.run("tap", option)


@pytest.mark.parametrize(
    "content",
    [
        b"canary-1,canary-2\ncanary-3,canary-4\n",
        b'id,text\n1,"canary\n',
        b"id,text\n1,canary\xff\n",
        b"id,text\n1,canary,canary\n",
        b"id,text\n" + b"1,canary\n2,canary\n" * 99_999,
    ],
    ids=["no header", "quote without an end", "not UTF-8", "misfit", "too many misfits"],
)
def test_bad_message_files_are_not_quoted(bench: Bench, content: bytes) -> None:
    headers = Content(b"id,text\n1,good\n")
    if content.startswith(b"id,text\n1,canary\n2"):
        content = content.replace(b"canary\n", b"canary,x\n")
    # Discovery samples the first and the last file: of two, nobody knows which has no header.
    with MessageServer([headers, Content(content), headers]) as server:
        told = bench.run("tap", message_row_errors="keep", **server.config)
    assert "defect" not in told


def test_a_presigned_url_with_odd_headers_is_not_told(bench: Bench) -> None:
    with MessageServer([Content(b"id\n1\n")], odd_headers=True) as server:
        assert "exit code 0" in bench.run("tap", **server.config)


@pytest.mark.parametrize("expression", ["int(first_name)", "md5(config['hash_seed'] + nobody)"])
def test_a_stream_map_that_fails_quotes_no_record(bench: Bench, expression: str) -> None:
    maps = {"customers": {"first_name": expression, "__alias__": "people"}}
    told = bench.run("tap", stream_maps=maps)
    assert "exit code 1" in told
    assert "A defect" not in told


@pytest.mark.parametrize(
    "place",
    [
        "tap_nudgescribe.client:NudgescribeClient._send",
        "tap_nudgescribe.envelopes:read_list",
        "tap_nudgescribe.record_lines:lines",
        "tap_nudgescribe.message_csv:_CleanText._mended",
        "tap_nudgescribe.message_csv:_fields",
        "tap_nudgescribe.message_rows:Fitting.fit",
        "tap_nudgescribe.downloads:Download._receive",
    ],
)
def test_a_defect_of_the_tap_quotes_nothing(bench: Bench, place: str) -> None:
    content = Content(b"id,text\n1,canary\n2,canary,canary\n3,\xff\n")
    settings = {"message_encoding_errors": "replace"}
    with MessageServer([content], pages=1, page_rows=1) as server:
        told = bench.run("tap", broken=place, **settings | server.config)
    assert "exit code 1" in told


def test_an_interrupted_tap_tells_nothing(bench: Bench) -> None:
    process = bench.start("tap")
    bench.sandbox.inject(
        Fault("list_runs", "change", then=lambda _: process.send_signal(signal.SIGTERM))
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    bench.search(output, errors)


# The target


def encoded(*messages: Any) -> bytes:
    return b"".join(
        (message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n"
        for message in messages
    )


def person(number: int, **columns: Any) -> dict[str, Any]:
    record = {"ref": f"canary-ref-{number}", "first_name": f"canary {number}"} | columns
    return {"type": "RECORD", "stream": "people", "record": record}


SENT = encoded(
    schema(),
    *(person(number) for number in range(5)),
    person(6, birthday="canary"),
    person(7, total_spend="canary"),
    person(8, total_spend={"canary": ["canary"]}),
    state(),
)


@pytest.mark.parametrize(
    ("rows", "form"), [("masked", "jsonl"), ("masked", "parquet"), ("none", "csv")]
)
def test_rejects_without_values_hold_none(bench: Bench, rows: str, form: str) -> None:
    told = bench.run("target", content=SENT, rejects_rows=rows, rejects_format=form)
    assert "exit code 3" in told
    assert list((bench.folder / "state/rejects").rglob(f"*.{form}"))


@pytest.mark.parametrize(("kinds", "encoding"), [(PASSING, "json"), (LASTING, "multipart")])
def test_faults_at_the_upload_tell_nothing(
    bench: Bench, kinds: tuple[Kind, ...], encoding: str
) -> None:
    bench.sandbox.inject(*(Fault("upload_customers", kind) for kind in kinds))
    bench.sandbox.inject(Fault("count_customer_pages", "unexpected_shape", after=1))
    bench.run("target", content=SENT, batch_size_rows=1, upload_encoding=encoding)


def test_reasons_of_the_api_that_quote_values_are_not_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quoting(row: int | None, field: str | None, code: str) -> dict[str, object]:
        return {"row": row, "field": f"canary {field}", "code": f"canary is {code}", "message": "x"}

    monkeypatch.setattr(uploads, "_problem", quoting)

    def want_one_sign(account: Account) -> None:
        for field in account.fields.values():
            if field.field_name == "First Name":
                field.field_type = "char"

    bench.sandbox.inject(Fault("upload_customers", "change", then=want_one_sign))
    fitting = person(3, first_name="x")
    told = bench.run("target", content=encoded(schema(), person(1), person(2), fitting))
    assert "exit code 3" in told


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "RECORD", "stream": "people", "record": {"ref": "canary"',
        b'{"type": "RECORD", "stream": "people", "record": {"first_name": "canary"}}',
        b'{"type": "SCHEMA", "stream": "people", "schema": {"properties": ["canary"]}}',
    ],
)
def test_lines_that_are_no_messages_are_not_quoted(bench: Bench, line: bytes) -> None:
    told = bench.run("target", content=encoded(schema(), person(1), line))
    assert "exit code 1" in told
    assert "defect" not in told


def test_a_refused_preflight_quotes_nothing(bench: Bench) -> None:
    columns = COLUMNS | {"surname": {"type": "string", "enum": ["canary"], "default": "canary"}}
    content = encoded(schema(**columns), person(1))
    config = {"unknown_columns": "refuse", "column_map": MAP | {"Nobody": {"constant": "canary"}}}
    assert "exit code 4" in bench.run("target", content=content, **config)


@pytest.mark.parametrize("expression", ["int(first_name)", "md5(config['hash_seed'] + nobody)"])
def test_a_stream_map_that_fails_in_the_target_quotes_nothing(
    bench: Bench, expression: str
) -> None:
    maps = {"people": {"first_name": expression}}
    told = bench.run("target", content=SENT, stream_maps=maps)
    assert "exit code 3" in told
    assert "A defect" not in told


@pytest.mark.parametrize(
    "place",
    [
        "tap_nudgescribe.client:NudgescribeClient.upload_customers",
        "target_nudgescribe.prepared:check",
        "target_nudgescribe.prepared:csv_lines",
        "target_nudgescribe.json_records:from_values",
        "target_nudgescribe.customers:written_row",
    ],
)
def test_a_defect_of_the_target_quotes_nothing(bench: Bench, place: str) -> None:
    assert "exit code 1" in bench.run("target", content=SENT, broken=place)


@pytest.mark.parametrize("option", ["--about", "--check", "--dry-run", "--seed-ledger"])
def test_other_commands_of_the_target_tell_nothing(bench: Bench, option: str) -> None:
    bench.run("target", option, content=SENT)


def test_a_replay_quotes_nothing(bench: Bench) -> None:
    bench.run("target", content=SENT, rejects_rows="masked")
    (file,) = (bench.folder / "state/rejects").rglob("*.jsonl")
    assert "do not hold the rows" in bench.run("target", "--replay", str(file))
    bad = bench.folder / "inputs/bad.jsonl"
    bad.write_text('{"canary": 1\n')
    assert "exit code 1" in bench.run("target", "--replay", str(bad))


def test_an_interrupted_target_tells_nothing(bench: Bench) -> None:
    process = bench.start("target", batch_size_rows=1)
    bench.sandbox.inject(
        Fault("upload_customers", "change", then=lambda _: process.send_signal(signal.SIGTERM))
    )
    output, errors = process.communicate(SENT, timeout=60)
    assert process.returncode == 143
    bench.search(output, errors)


def test_credentials_of_a_cloud_are_not_told(bench: Bench) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        env = {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        told = bench.run("target", content=SENT, env=env, state_uri="s3://nowhere/state")
        assert "exit code 1" in told
        assert "StorageError" not in told
    finally:
        server.stop()
