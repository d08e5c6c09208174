"""BATCH messages: whole files of a fixed schema, and a state that never claims more than they."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from pyarrow import parquet
from singer_sdk import Target
from singer_sdk.sinks import BatchSink

from campaign.plugin import World
from campaign.processes import Plugin
from tap_nudgescribe.object_stores import open_object, storage_options
from tests.message_server import Content, MessageServer
from tests.object_stores import STORES
from tests.sandbox import Fault, truth
from tests.sandbox.day import live_a_day
from tests.test_fast_path import TYPES, catalog, hard_files, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from tests.sandbox import Sandbox

FORMATS = ["parquet", "jsonl"]


def batch_config(root: str, kind: str, rows: int = 1000) -> dict[str, Any]:
    return {
        "encoding": {"format": kind},
        "storage": {"root": root, "prefix": "p-"},
        "batch_size": rows,
    }


def run(
    server: MessageServer,
    folder: Path,
    *args: str,
    env: dict[str, str] | None = None,
    **config: Any,
) -> list[dict[str, Any]]:
    (folder / "config.json").write_text(json.dumps(server.config | config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(folder / "config.json")]
    done = subprocess.run(  # noqa: S603
        [*command, *args], capture_output=True, check=False, env=os.environ | (env or {})
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def manifests(messages: list[dict[str, Any]], stream: str = "published_messages") -> list[str]:
    found = [m["manifest"] for m in messages if m["type"] == "BATCH" and m["stream"] == stream]
    return [url for manifest in found for url in manifest]


def path_of(url: str) -> str:
    return unquote(urlsplit(url).path)


def rows_in(url: str) -> list[dict[str, Any]]:
    if url.endswith(".parquet"):
        rows: list[dict[str, Any]] = parquet.read_table(path_of(url)).to_pylist()
        return rows
    with gzip.open(path_of(url)) as file:
        return [json.loads(line) for line in file]


class Collecting(BatchSink):
    """Keeps what an SDK target was given."""

    rows: list[dict[str, Any]] = []  # noqa: RUF012 (the test reads it)

    def process_batch(self, context: dict[str, Any]) -> None:
        self.rows.extend(context["records"])


class SdkTarget(Target):
    """A target as the SDK makes it."""

    name = "target-collecting"
    config_jsonschema = {"type": "object", "properties": {}}  # noqa: RUF012 (the SDK's way)
    default_sink_class = Collecting


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with each value as text that does not depend on the format."""
    result = {}
    for name, value in row.items():
        if hasattr(value, "isoformat"):
            exact = {"timespec": "microseconds"} if hasattr(value, "hour") else {}
            result[name] = value.isoformat(**exact)
        elif name == "_extra" and isinstance(value, str):
            result[name] = json.loads(value)
        elif name == "price" and value is not None:
            result[name] = float(value)
        else:
            result[name] = value
    return result


@pytest.mark.parametrize("kind", FORMATS)
def test_a_target_of_the_sdk_loads_the_rows_that_the_record_path_sends(
    kind: str, tmp_path: Path
) -> None:
    config = {"message_column_types": TYPES}
    with MessageServer(hard_files(), older=hard_files()[:1]) as server:
        path = select(catalog(server, tmp_path, **config), tmp_path, "body_2", method="INCREMENTAL")
        arguments = ("--catalog", path)
        records = [
            m["record"]
            for m in run(server, tmp_path, *arguments, **config)
            if m["type"] == "RECORD"
        ]
        out = (tmp_path / "out").as_uri()
        messages = run(
            server, tmp_path, *arguments, **config, batch_config=batch_config(out, kind, 5000)
        )
    kinds = [m["type"] for m in messages]
    assert kinds == ["SCHEMA", "BATCH", "STATE", "BATCH", "BATCH", "STATE"]
    Collecting.rows.clear()
    target = SdkTarget(config={"add_record_metadata": False})
    target.listen(io.StringIO("\n".join(map(json.dumps, messages))))
    assert len(Collecting.rows) == len(records) == 12_014
    key = ("run_number", "file_number", "row_number")
    loaded = sorted(map(comparable, Collecting.rows), key=lambda row: [row[k] for k in key])
    assert loaded == sorted(map(comparable, records), key=lambda row: [row[k] for k in key])


def test_every_parquet_file_has_the_same_schema_whatever_is_null_in_it(tmp_path: Path) -> None:
    files = [Content(b"a,b\n1,\n2,\n"), Content(b"b\nx\n")]
    out = tmp_path / "out"
    with MessageServer(files) as server:
        messages = run(
            server,
            tmp_path,
            batch_config=batch_config(str(out), "parquet", 1),
            message_column_types={"a": "integer"},
        )
    schemas = [parquet.read_schema(path_of(url)) for url in manifests(messages)]
    assert len(schemas) == 3
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].field("a").type == pa.int64()
    assert sorted(path.name for path in out.iterdir() if "published" in path.name) == sorted(
        path_of(url).rsplit("/")[-1] for url in manifests(messages)
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_the_state_after_a_run_is_that_of_the_record_path_and_the_next_run_sends_nothing_old(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    by_record = tap()
    config = batch_config((tmp_path / "out").as_uri(), kind, 100)
    first = tap(batch_config=config)
    assert first.code == 0, first.stderr
    assert first.state == by_record.state
    for stream, count in by_record.counts.items():
        loaded = [row for url in manifests(first.messages, stream) for row in rows_in(url)]
        assert len(loaded) == count, stream
    second = tap(batch_config=config, state=first.state)
    for stream in ("published_messages", "campaign_runs", "run_messages", "campaigns"):
        assert manifests(second.messages, stream) == [], stream
    assert second.state == first.state
    live_a_day(sandbox.account)
    assert manifests(tap(batch_config=config, state=second.state).messages)


def test_a_run_that_fails_leaves_no_part_of_a_file_and_no_state_beyond_its_manifests(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    whole = {
        tuple(row[k] for k in ("campaign_id", "run_number", "file_number", "row_number"))
        for row in tap().records("published_messages")
    }
    out = tmp_path / "out"
    config = batch_config(out.as_uri(), "parquet", 40)
    # Every log-in is refused after some files: the whole run ends at once.
    sandbox.inject(
        Fault("fetch_message_file", "expired_token", 99, after=9),
        Fault("login", "refused", 99, after=1),
        Fault("refresh", "refused", 99),
    )
    first = tap(batch_config=config)
    assert first.code == 1
    listed = {
        path_of(url)
        for s in ("published_messages", "customers", "campaigns")
        for url in manifests(first.messages, s)
    }
    assert {str(path) for path in out.iterdir() if "published" in path.name} <= listed
    assert not list(out.glob(".*"))
    sandbox.faults.clear()
    second = tap(batch_config=config, state=first.state)
    assert second.code == 0, second.stderr
    found = {
        tuple(row[k] for k in ("campaign_id", "run_number", "file_number", "row_number"))
        for r in (first, second)
        for url in manifests(r.messages)
        for row in rows_in(url)
    }
    assert found == whole


@pytest.mark.parametrize("kind", STORES)
def test_files_go_to_object_stores(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MessageServer(hard_files()[3:]) as server, STORES[kind]() as (root, env):
        messages = run(
            server, tmp_path, env=env, batch_config=batch_config(f"{root}/out", "parquet", 7000)
        )
        urls = manifests(messages)
        assert len(urls) == 2
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        rows = 0
        for url in urls:
            with open_object(url, "rb", storage_options(url)) as file:
                rows += len(parquet.read_table(pa.BufferReader(file.read())))
    assert rows == 12_000


@pytest.mark.parametrize(
    ("kind", "compression"),
    [
        *(("jsonl", name) for name in ("gzip", "none")),
        *(("parquet", name) for name in ("gzip", "none", "snappy", "zstd", "lz4")),
    ],
)
def test_a_file_is_compressed_as_the_settings_and_its_manifest_say(
    tmp_path: Path, kind: str, compression: str
) -> None:
    config = batch_config((tmp_path / "out").as_uri(), kind)
    config["encoding"]["compression"] = compression
    with MessageServer([Content(b"a\n" + 100 * b"12\n")]) as server:
        messages = run(server, tmp_path, batch_config=config)
    (url,) = manifests(messages)
    encoding = next(m["encoding"] for m in messages if m["type"] == "BATCH")
    content = Path(path_of(url)).read_bytes()
    if kind == "jsonl":
        assert encoding.get("compression") == (None if compression == "none" else "gzip")
        content = gzip.decompress(content) if encoding.get("compression") else content
        assert len(content.splitlines()) == 100
    else:
        told = parquet.ParquetFile(path_of(url)).metadata.row_group(0).column(0).compression
        assert told == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())
        assert len(rows_in(url)) == 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stream_maps": {"published_messages": {"body": "None"}}}, b"stream maps"),
        ({"flattening_enabled": True, "flattening_max_depth": 1}, b"flattening"),
        ({"batch_config": {"encoding": {"format": "avro"}}}, b"encoding"),
        ({"batch_config": {"storage": {"params": {"key": "canary"}}}}, b"storage.params"),
    ],
)
def test_what_would_have_no_effect_on_batches_is_refused(
    change: dict[str, Any], words: bytes, tmp_path: Path
) -> None:
    base = batch_config((tmp_path / "out").as_uri(), "parquet")
    base |= {k: base[k] | v for k, v in change.pop("batch_config", {}).items()}
    with MessageServer([Content(b"a\n1\n")]) as server:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(server.config | {"batch_config": base} | change))
        command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(path)]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert words in done.stderr
    assert b"canary" not in done.stderr
    assert b"BATCH" not in done.stdout


@pytest.mark.parametrize(("kind", "file"), [("parquet", 2), ("jsonl", 6)])
def test_a_disk_that_is_full_leaves_no_part_of_a_file_and_no_state_beyond_its_manifests(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path, kind: str, file: int
) -> None:
    out = tmp_path / "out"
    settings = sandbox.config | {"batch_config": batch_config(out.as_uri(), kind, 40)}
    world = World(step=4 * file - 3, full=True)  # when that file is to be made durable
    plugin = Plugin("tap_nudgescribe", tmp_path, settings, world=world)
    plugin.start()
    messages = [json.loads(line) for line in plugin.lines]
    ended = plugin.wait()
    assert ended.code == 1
    assert "A batch file cannot be written (No space left on device)" in ended.stderr
    told = {s: manifests(messages, s) for s in ("customers", "campaigns", "campaign_runs")}
    files = [path_of(url).rsplit("/")[-1] for m in messages for url in m.get("manifest", ())]
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    assert len(files) == file - 1
    again = tap(state=[m["value"] for m in messages if m["type"] == "STATE"][-1])
    for stream, urls in told.items():
        loaded = [row for url in urls for row in rows_in(url)] + again.records(stream)
        names = truth.KEYS[stream]
        assert {tuple(row[n] for n in names) for row in loaded} == truth.keys(
            sandbox.account, stream
        )
