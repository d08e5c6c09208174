"""What is wrong with the input, the settings or the machine's files is said in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tap_nudgescribe import private_files
from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.report import ReportFile, RunReport
from target_nudgescribe.storage import MAX_NAME_BYTES, Storage, plain_path, safe_name
from target_nudgescribe.target import Errand
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.target.sending import Sending


# SCHEMA and BATCH


@pytest.mark.parametrize(
    "odd",
    [
        {"type": None},
        {"type": 5},
        {"type": []},
        {"type": ["string", None]},
        {"type": {"a": 1}},
        {"anyOf": None},
        {"anyOf": 5},
        {"anyOf": [5, None]},
        {"oneOf": {"type": "object"}},
        {"anyOf": [{"type": None}, {"type": "string"}]},
        {"type": "object", "properties": 5},
        {"type": "object", "properties": {"a": {"type": None}}},
    ],
)
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"create_missing_fields": True},
        {"flattening_enabled": True, "flattening_max_depth": 1},
        {"stream_maps": {"people": {"ref": "ref", "x": "odd"}}},
    ],
)
def test_a_schema_of_an_odd_form_is_taken_for_any_type(
    send: Sending, odd: dict[str, Any], config: dict[str, Any]
) -> None:
    sent = send(schema(ref={}, first_name={}, odd=odd), row(1, odd="x"), state(), **config)
    assert "defect" not in sent.logged
    assert (sent.code, sent.outcomes()) == (0, {"sent": 1}), sent.logged


@pytest.mark.parametrize(
    ("encoding", "manifest", "told"),
    [
        ({}, [], "encoding.format, which is jsonl or parquet"),
        ({"format": None}, [], "encoding.format"),
        ({"format": ["jsonl"]}, [], "encoding.format"),
        ({"format": "csv"}, [], "encoding.format"),
        ({"format": "jsonl", "compression": "zip"}, [], "encoding.compression"),
        ({"format": "jsonl", "compression": {}}, [], "encoding.compression"),
        ({"format": "jsonl"}, None, "manifest"),
        ({"format": "jsonl"}, "/x", "manifest"),
        ({"format": "jsonl"}, [None], "a manifest of URLs"),
        (None, [], "encoding"),
    ],
)
def test_a_batch_message_without_what_it_needs_is_named(
    send: Sending, encoding: Any, manifest: Any, told: str
) -> None:
    message = {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": manifest}
    sent = send(schema(), message, state())
    assert (sent.code, sent.states) == (1, [])
    assert "defect" not in sent.logged
    assert "Line 2 of the input, a BATCH message of the stream people, lacks" in sent.logged
    assert told in sent.logged


def test_further_keys_of_a_batch_encoding_do_no_harm(send: Sending) -> None:
    path = send.folder / "rows.jsonl"
    path.write_text(json.dumps(row(1)["record"]))
    for url in (path.as_uri(), f"file://localhost{path}"):
        message = {
            "type": "BATCH",
            "stream": "people",
            "encoding": {"format": "jsonl", "charset": "utf-8"},
            "manifest": [url],
        }
        sent = send(schema(), message)
        assert sent.code == 0, sent.logged


# Stream maps


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ({"first_name": "first_name +"}, "'first_name +'"),
        ({"first_name": ""}, "''"),
        ({"first_name": 5}, "stream_maps.people"),
        ({"ref": None}, "ref"),
        ({"__else__": "x"}, "__else__"),
        ({"__filter__": "ref =="}, "'ref =='"),
        ({"__key_properties__": ["nope"]}, "nope"),
        ({"__alias__": "1 +"}, "1 +"),
        ({"x": "y = 5"}, "y = 5"),
        ("text", "people"),
    ],
)
def test_a_stream_map_that_cannot_be_applied_is_a_wrong_setting(
    send: Sending, maps: Any, told: str
) -> None:
    sent = send(schema(), row(1, first_name="canary"), state(), stream_maps={"people": maps})
    assert "defect" not in sent.logged
    assert "canary" not in sent.logged
    if sent.code == 3:
        # The expression can be read, and fails for each record.
        assert sent.reasons() == {"stream_map_failed": 1}
    else:
        assert (sent.code, sent.states) == (1, [])
        assert "Settings: stream_maps" in sent.logged
    assert told in sent.logged


@pytest.mark.parametrize(
    "expression",
    ["int(first_name)", "first_name.nope()", "absent", "first_name / 0", "first_name[99]", "1 / 0"],
)
@pytest.mark.parametrize("option", ["x", "__filter__"])
def test_an_expression_that_fails_for_a_record_costs_that_record(
    send: Sending, expression: str, option: str
) -> None:
    good = f"1 if ref == 'r-1' else {expression}"
    maps = {"people": {"ref": "ref", option: good}}
    rows = [row(1), row(2, first_name="canary"), row(3, first_name="canary")]
    sent = send(schema(), *rows, state(), stream_maps=maps)
    assert (sent.code, sent.states) == (3, [])
    assert sent.outcomes() == {"sent": 1, "invalid": 2}
    assert sent.reasons() == {"stream_map_failed": 2}
    assert sent.logged.count("which is a reject") == 2  # as a warning, and in the summary
    assert expression in sent.logged
    assert "canary" not in sent.logged
    assert [reject["code"] for reject in send.rejects()] == ["stream_map_failed"] * 2


def test_a_record_without_a_computed_key_forbids_to_mirror(send: Sending) -> None:
    send(schema(), row(1), row(2))
    maps = {"people": {"ref": "ref if first_name == 'Name 1' else int(first_name)"}}
    mirror = {"mode": "mirror", "mirror_trusts_end_of_input": True, "max_rejected_rows": 9}
    sent = send(schema(), row(1), row(2), stream_maps=maps, **mirror)
    assert sent.reasons() == {"stream_map_failed": 1}
    assert set(send.customers) == {"r-1", "r-2"}


# Names and places


@pytest.mark.parametrize("stream", ["顧" * 40, "x" * 300, "é" * 200, "." * 120])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_stream_may_have_a_long_name(send: Sending, stream: str, form: str) -> None:
    rows = [row(1, stream), row(2, stream, birthday="x"), row(1, f"{stream}y")]
    other = schema(f"{stream}y")
    sent = send(schema(stream), *rows[:2], other, rows[2], rejects_format=form)
    assert sent.outcomes(stream) == {"sent": 1, "invalid": 1}, sent.logged
    again = send(schema(stream), *rows[:2], other, rows[2])
    assert again.outcomes(stream) == {"unchanged": 1, "invalid": 1}
    assert len(safe_name(stream)) <= MAX_NAME_BYTES
    assert safe_name(stream) != safe_name(f"{stream}y")


def test_a_state_uri_may_be_a_url_of_a_local_folder(send: Sending) -> None:
    folder = send.folder / "my state"
    folder.mkdir()
    quoted = str(folder).replace(" ", "%20")
    uris = [str(folder), f"file://{quoted}"]
    outcomes = [send(schema(), row(1), state_uri=uri).outcomes() for uri in uris]
    assert outcomes == [{"sent": 1}, {"unchanged": 1}]
    assert not [path for path in send.folder.iterdir() if "%" in path.name]
    for host in ("elsewhere", "localhost"):
        sent = send(schema(), row(1), state_uri=f"file://{host}{quoted}")
        assert sent.code == 1
        assert "Settings: state_uri" in sent.logged
        assert "file:///" in sent.logged
    assert plain_path(f"file://localhost{quoted}") == str(folder)
    literal = send.folder / "a%20b"
    literal.mkdir()
    assert plain_path(f"file://{literal}") == str(literal)
    with pytest.raises(SettingsError):
        plain_path("file://relative")


@pytest.mark.parametrize("name", ["lock", "ledger.json", "delta-{}-0.parquet"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "socket link"])
def test_what_is_no_file_where_the_ledger_is_ends_the_run_at_once(
    send: Sending, name: str, kind: str
) -> None:
    send(schema(), row(1))
    (lock,) = (send.folder / "state" / "ledgers").rglob("lock")
    generation = json.loads(lock.with_name("ledger.json").read_bytes())["generation"]
    path = lock.with_name(name.format(generation % 2))
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(send.folder / "pipe")
        path.symlink_to(send.folder / "pipe")
    sent = send(schema(), row(2), state())
    assert (sent.code, sent.states) == (1, [])
    assert "state_uri" in sent.logged
    assert "defect" not in sent.logged


@pytest.mark.parametrize("place", ["", "ledgers", "rejects", "runs"])
def test_a_file_where_a_folder_is_needed_is_named(send: Sending, place: str) -> None:
    path = send.folder / "state" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    sent = send(schema(), row(1), row(2, birthday="x"))
    assert sent.code == 1
    assert "state_uri" in sent.logged
    assert "defect" not in sent.logged


def test_a_replay_of_a_pipe_or_a_folder_ends_at_once(send: Sending) -> None:
    os.mkfifo(send.folder / "rows.jsonl")
    (send.folder / "rows.csv").mkdir()
    for name in ("rows.jsonl", "rows.csv"):
        sent = send(errand=Errand(replay=str(send.folder / name)))
        assert sent.code == 1
        assert "not a plain file" in sent.logged
        assert "defect" not in sent.logged


@pytest.mark.parametrize("plugin", ["tap_nudgescribe", "target_nudgescribe"])
def test_help_needs_no_standard_input(plugin: str) -> None:
    command = [sys.executable, "-m", plugin, "--help"]
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"--config" in done.stdout


def test_more_groups_than_open_files_end_the_run_with_one_sentence(send: Sending) -> None:
    messages = [schema(ref={}, first_name={}, customer_group={}), state()]
    messages[1:1] = [row(number, customer_group=f"Group {number}") for number in range(60)]
    config = send.config | {"create_missing_groups": True}
    del config["customer_group"]
    settings, messages_file = send.folder / "config.json", send.folder / "input"
    settings.write_text(json.dumps(config))
    messages_file.write_text("\n".join(map(json.dumps, messages)) + "\n")
    command = [sys.executable, "-m", "target_nudgescribe", "--config", str(settings)]
    command += ["--input", str(messages_file)]
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", 'ulimit -n 40 && exec "$@"', "sh", *command],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"raise the limit (ulimit -n), or send fewer groups at once" in done.stderr
    assert len(list((send.folder / "state" / "runs").iterdir())) == 1


def test_a_run_without_standard_input_says_so(send: Sending) -> None:
    path = send.folder / "config.json"
    path.write_text(json.dumps(send.config))
    command = [sys.executable, "-m", "target_nudgescribe", "--config", str(path)]
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert b"standard input is closed" in done.stderr
    assert b"defect" not in done.stderr


# What a killed run has left


def test_what_a_killed_run_left_unfinished_is_removed_and_nothing_else(
    send: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(schema(), row(1), row(2, birthday="x"))
    dead = 2**22 + 1  # more than any system gives
    folders = [path for path in (send.folder / "state").rglob("*") if path.is_dir()]
    left = [folder / f".x.json.{dead}" for folder in folders if list(folder.glob("*.*"))]
    kept = [folder / f".x.json.{os.getppid()}" for folder in folders]
    kept += [folder / f"x.json.{dead}" for folder in folders]
    for path in [*left, *kept]:
        path.write_text("")
    assert len(left) == 3
    monkeypatch.setattr(private_files, "LEFTOVER_SECONDS", 0)
    monkeypatch.setattr(private_files.remove_leftovers, "__kwdefaults__", {"seconds": 0})
    send(schema(), row(1))
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in kept)


def test_a_young_file_of_a_process_elsewhere_is_not_removed(tmp_path: Path) -> None:
    young, old = tmp_path / f".a.html.{2**22 + 1}", tmp_path / f".b.html.{2**22 + 1}.part"
    linked = tmp_path / f".c.html.{2**22 + 1}"
    for path in (young, old):
        path.write_text("")
    linked.symlink_to(tmp_path)
    os.utime(old, (0, 0))
    report = ReportFile(str(tmp_path / "report.html"), "target-nudgescribe", "1")
    report.write(0, RunReport())
    assert young.exists()
    assert linked.is_symlink()
    assert not old.exists()


def test_a_storage_below_another_keeps_its_path(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/a b").below("file:x", "c d%20")
    storage.write("e", b"1")
    assert storage.read("e") == b"1"
    assert storage.local == tmp_path / "a b" / "file%3Ax" / "c d%2520"
