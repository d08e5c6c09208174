"""Wrong settings, states and catalogs: said in one sentence each, before anything is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_nudgescribe.catalog_input import checked_catalog
from tap_nudgescribe.environment import environment_config
from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.input_files import parse_json_object
from tap_nudgescribe.settings import PRODUCTION_URL
from tap_nudgescribe.state_input import unwrapped_state
from tap_nudgescribe.tap import TapNudgescribe, _stream_types
from target_nudgescribe.target import TargetNudgescribe
from tests.input_attempts import Attempts
from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOMENT = "2025-05-01T00:00:00+00:00"

GOOD = {"replication_key": "updated_at", "replication_key_value": MOMENT}


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    """Run one local API for all tests of this module: hardly any of them reaches it."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def attempt(
    account: Sandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Attempts:
    """Return what runs commands in this process."""
    return Attempts(account, tmp_path, capsys, caplog)


# Files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "ends too early"),
        ('{"api_key": "canary', "a quote is open"),
        ("api_key: canary", "is not JSON (line 1, column 1)"),
        ("[]", "is a list, not a JSON object"),
        ("null", "is null"),
        ('"canary"', "is a text"),
        ('{"api_key": "canary", "api_key": "canary"}', "'api_key' twice"),
        ('{"max_tries": NaN}', "NaN"),
        ('{"max_tries": 1e999}', "too large"),
        ('{"max_tries": ' + "9" * 5000 + "}", "too large"),
        ('{"a": 1}\n{"a": 2}', "more behind its JSON value"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'{"email": "\xe9"}', "not UTF-8"),
    ],
)
def test_a_file_that_is_not_a_json_object_is_named_with_what_is_wrong(
    attempt: Attempts, content: str | bytes, words: str
) -> None:
    for name in ("configuration", "state", "catalog"):
        given_as = {"config" if name == "configuration" else name: content}
        ended = attempt.tap(**given_as)
        assert ended.is_one_clear_refusal(), (name, ended)
        assert words in ended.logged
        assert f"The {name} (" in ended.logged
        assert "canary" not in ended.logged
    assert attempt.target(config=content).is_one_clear_refusal()


@pytest.mark.parametrize("what", ["missing", "folder", "unreadable"])
def test_a_file_that_cannot_be_read_is_named(
    account: Sandbox, tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    if what == "folder":
        path.mkdir()
    elif what == "unreadable":
        path.symlink_to(path.name)  # a loop: nobody can read it, root neither
    before = len(account.requests)
    for option in ("--config", "--state", "--catalog"):
        command = [sys.executable, "-m", "tap_nudgescribe", option, str(path)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
        assert done.returncode == 1, option
        assert "cannot be read" in done.stderr.decode()
        assert str(path) in done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert done.stdout == b""
    assert len(account.requests) == before
    capfd.readouterr()


def test_a_byte_order_mark_is_no_part_of_a_file(attempt: Attempts, account: Sandbox) -> None:
    marked = b"\xef\xbb\xbf" + json.dumps(account.config | {"max_tries": 1}).encode()
    assert parse_json_object(marked, "The configuration") == account.config | {"max_tries": 1}
    assert attempt.target(config=marked).logged.count("Settings: ") == 1  # without workspace_id


def test_a_later_file_of_settings_replaces_an_earlier_one(account: Sandbox, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(account.config | {"max_tries": 0}))
    second.write_text(json.dumps({"max_tries": 1}))
    command = [sys.executable, "-m", "tap_nudgescribe", "--check"]
    for files, code in (((first, second), 0), ((second, first), 1)):
        options = [word for file in files for word in ("--config", str(file))]
        done = subprocess.run([*command, *options], capture_output=True, check=False, timeout=60)  # noqa: S603
        assert done.returncode == code, done.stderr


# Settings


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"start_date": "2025-13-01"}, "start_date is the text '2025-13-01'"),
        ({"start_date": "yesterday canary"}, "such as 2025-01-31"),
        ({"start_date": ""}, "start_date is an empty text"),
        ({"start_date": "2025-02-01", "end_date": "2025-01-01"}, "not after start_date"),
        ({"start_date": "2025-02-01", "end_date": "2025-02-01"}, "nothing lies between"),
        ({"lookback_days": 1_000_000}, "lookback_days is 1000000. Allowed: a whole number from 0"),
        ({"lookback_days": -1}, "lookback_days is -1"),
        ({"lookback_days": 10**400}, "of more than 40 digits"),
        ({"max_tries": 0}, "max_tries is 0. Allowed: a whole number from 1 to 100"),
        ({"max_tries": 1.5}, "max_tries is 1.5"),
        ({"max_tries": "6"}, "max_tries is the text '6'"),
        ({"max_tries": True}, "max_tries is true"),
        ({"request_timeout_seconds": 10**12}, "from 1 to 86400"),
        ({"max_requests_per_second": 50.5}, "max_requests_per_second is 50.5"),
        ({"max_parallel_requests": 65}, "from 1 to 64"),
        ({"message_encoding_errors": "ignore"}, "'ignore'. Allowed: fail, replace"),
        ({"message_column_types": {"a": "text"}}, "message_column_types.a is the text 'text'"),
        ({"message_column_types": {"a": 1}}, "string, integer, number, boolean, date, date-time"),
        ({"workspace_ids": "a"}, "workspace_ids is a text. Allowed: a list"),
        ({"wire_names": ["canary"]}, "wire_names is a list. Allowed: an object"),
        ({"password": "absent"}, "password is required and not set"),
        ({"password": ""}, "password is an empty text"),
        ({"password": 5555}, "password is a number. Allowed: a text"),
        ({"api_url": "https://a b.example/v1"}, "api_url"),
        ({"api_url": "https://user:canary@example.org/v1"}, "api_url"),
        ({"api_url": "ftp://example.org/v1"}, "api_url"),
        ({"api_url": ""}, "api_url"),
        ({"ca_bundle": "nowhere.pem"}, "ca_bundle"),
        ({"max_trys": 2}, "no setting 'max_trys'. Did you mean max_tries?"),
        ({"api-key": "canary"}, "Did you mean api_key?"),
        ({"qqqqq": "canary"}, "no setting 'qqqqq'"),
        ({"a\x1b[2K\nERROR": 1}, r"'a\\x1b[2K\\nERROR'"),
        ({"message_storage_root": "s3://KEY:canary@bucket/x"}, "holds credentials"),
        ({"message_storage_root": "s3://KEY:can/ary@bucket/x"}, "holds credentials"),
        ({"message_storage_root": "az://box/x?sig=canary"}, "holds credentials"),
        ({"message_storage_root": "/folder"}, "not a URL"),
        ({"message_storage_root": "https://example.org/x"}, "message_storage_root"),
        ({"message_storage_root": "file://folder"}, "three slashes"),
        ({"batch_config": {"encoding": {"format": "csv"}}}, "'csv'. Allowed: jsonl, parquet"),
        ({"batch_config": {"encoding": {"format": "jsonl"}}}, "batch_config.storage.root"),
        ({"batch_config": {"storage": {"root": "/x"}}}, "batch_config.encoding.format"),
        (
            {
                "batch_config": {
                    "encoding": {"format": "jsonl"},
                    "storage": {"root": "s3://KEY:canary@bucket/x"},
                }
            },
            "batch_config.storage.root holds credentials",
        ),
        ({"flattening_enabled": True}, "needs flattening_max_depth"),
        ({"stream_maps": {"customers": {"x": "1 +"}}}, "stream_maps.customers.x is not a Python"),
        ({"stream_maps": {"customers": {"x": "canary = 1"}}}, "is not a Python expression"),
        ({"stream_maps": {"customers": {"__filter__": ")"}}}, "customers.__filter__"),
        ({"stream_maps": {"customers": {"__key__": "x"}}}, "__key_properties__"),
        ({"stream_maps": {"customer": {"x": "1"}}}, "Did you mean customers?"),
        ({"stream_maps": {"x": {"__source__": "nothing"}}}, "a stream that this tap does not have"),
        ({"stream_maps": {"customers": {"x": 5}}}, "stream_maps.customers"),
        ({"stream_maps": {"customers": 5}}, "stream_maps.customers"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    attempt: Attempts, config: dict[str, Any], words: str
) -> None:
    ended = attempt.tap(config=config)
    assert ended.is_one_clear_refusal(), ended
    assert words in ended.logged
    assert "canary" not in ended.logged
    assert "5555" not in ended.logged


def test_all_wrong_settings_are_said_at_once(attempt: Attempts) -> None:
    ended = attempt.tap(config={"max_tries": 0, "start_dat": "x", "lookback_days": -1})
    assert ended.is_one_clear_refusal()
    assert ended.logged.count("Settings: ") == 3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"state_uri": "s3://KEY:canary@bucket/x"}, "state_uri holds credentials"),
        ({"state_uri": "az://box/x?sig=canary"}, "state_uri holds credentials"),
        ({"state_uri": "ftp://host/x"}, "state_uri"),
        ({"mode": "replace"}, "'replace'. Allowed: upsert, delete, mirror"),
        ({"max_rejected_percent": 101}, "from 0 to 100"),
        ({"max_rejected_percent": "many canary"}, "max_rejected_percent is a text"),
        ({"workspace": "canary"}, "Did you mean workspace_id?"),
        ({"column_map": {"a": {"constant": "canary", "x": 1}}}, "column_map.a"),
        ({"api_url": "https://user:canary@example.org/v1"}, "api_url"),
        ({"stream_maps": {"people": "x"}}, '"__NULL__" or an object'),
    ],
)
def test_a_wrong_setting_of_the_target_is_named_with_what_is_allowed(
    attempt: Attempts, config: dict[str, Any], words: str
) -> None:
    ended = attempt.target(config=config)
    assert ended.is_one_clear_refusal(), ended
    assert words in ended.logged
    assert "canary" not in ended.logged


def test_settings_of_meltano_and_of_the_sdk_are_accepted(attempt: Attempts) -> None:
    given_as = {
        "_catalog": "x",
        "_select": ["*.*"],
        "flattening_max_key_length": 60,
        "faker_config": {"seed": 1},
        "stream_maps": {},
        "add_record_metadata": True,
        "max_requests_per_second": None,
        "batch_file_mib": None,
        "max_tries": 2.0,
    }
    ended = attempt.tap(config=given_as, check=True)
    assert ended.code == 0, ended.logged
    assert "add_record_metadata has no effect" in ended.logged


def test_discovery_reports_wrong_settings_and_works_without_credentials(attempt: Attempts) -> None:
    assert attempt.discovery({"max_tries": 0}).is_one_clear_refusal()
    absent = dict.fromkeys(("api_key", "email", "password"), "absent")
    ended = attempt.discovery(absent)
    assert (ended.code, ended.requests) == (0, 0)


# Environment


def environment(plugin: Any = TapNudgescribe, **variables: str) -> dict[str, Any]:
    """Return the settings that variables stand for."""
    prefix = plugin._env_var_prefix  # noqa: SLF001
    schema = deepcopy(plugin.config_jsonschema)
    plugin.append_builtin_config(schema)
    return environment_config(schema, prefix, {prefix + k: v for k, v in variables.items()})


def test_an_empty_variable_is_not_set() -> None:
    assert environment(MAX_TRIES="", START_DATE=" ", STREAM_MAPS="", ALLOW_PRIVATE_STORAGE="") == {}


def test_variables_are_read_as_their_settings_need() -> None:
    assert environment(
        MAX_TRIES=" 7 ",
        ALLOW_PRIVATE_STORAGE="No",
        PUBLISH_READY_CAMPAIGNS="TRUE",
        WORKSPACE_IDS='["a", "b"]',
        WIRE_NAMES='{"a": "b"}',
        API_KEY="5",
    ) == {
        "max_tries": 7,
        "allow_private_storage": False,
        "publish_ready_campaigns": True,
        "workspace_ids": ["a", "b"],
        "wire_names": {"a": "b"},
        "api_key": "5",
    }
    assert environment(WORKSPACE_IDS="a, b") == {"workspace_ids": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("MAX_REQUESTS_PER_SECOND", "50.5", "is the text '50.5'. Allowed: a whole number"),
        ("MAX_TRIES", "1_0", "MAX_TRIES"),
        ("MAX_TRIES", "9" * 5000, "MAX_TRIES"),
        ("ALLOW_PRIVATE_STORAGE", "ture", "Allowed: true, 1, yes, on, false, 0, no, off"),
        ("WORKSPACE_IDS", '["canary"', "a list"),
        ("WIRE_NAMES", "canary", "JSON, an object"),
        ("WIRE_NAMES", '{"a": "b"} canary', "JSON, an object"),
        ("STREAM_MAP_CONFIG", '{"salt": "canary"', "STREAM_MAP_CONFIG is a text"),
        ("MAX_TRYS", "3", "Did you mean TAP_NUDGESCRIBE_MAX_TRIES?"),
    ],
)
def test_a_variable_that_does_not_hold_what_its_setting_needs_is_named(
    name: str, text: str, words: str
) -> None:
    with pytest.raises(SettingsError) as told:
        environment(**{name: text})
    assert words in str(told.value)
    assert "canary" not in str(told.value)


def test_the_environment_ends_a_command_as_files_do(tmp_path: Path) -> None:
    for module, prefix in (("tap", "TAP_NUDGESCRIBE_"), ("target", "TARGET_NUDGESCRIBE_")):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", f"{module}_nudgescribe", "--config", "ENV"],
            env=os.environ | {f"{prefix}MAX_REQUESTS_PER_SECOND": "50.5"},
            input=b"",
            capture_output=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
        )
        assert done.returncode == 1
        assert b"MAX_REQUESTS_PER_SECOND is the text '50.5'" in done.stderr
        assert b"Traceback" not in done.stderr


# State


@pytest.mark.parametrize(
    "state",
    [
        [],
        "x",
        5,
        {"customers": {}},
        {"bookmarks": []},
        {"bookmarks": None},
        {"bookmarks": {"customers": None}},
        {"bookmarks": {"customers": []}},
        {"bookmarks": {"customers": MOMENT}},
        {"bookmarks": {"customers": GOOD, "orders": None}},
        {"bookmarks": {"orders": GOOD, "lines": GOOD}},
        {"bookmarks": {"customers": GOOD | {"replication_key": "id"}}},
        {"bookmarks": {"customers": GOOD | {"replication_key": 5}}},
        {"bookmarks": {"customers": GOOD | {"replication_key_value": 5}}},
        {"bookmarks": {"customers": GOOD | {"replication_key_value": None}}},
        {"bookmarks": {"customers": GOOD | {"replication_key_value": ""}}},
        {"bookmarks": {"customers": GOOD | {"replication_key_value": "2025-13-01"}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": []}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": None}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": {"g": None}}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": {"g": {}}}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": {"g": {"since": 5}}}}},
        {"bookmarks": {"customers": GOOD | {"unfinished": {"g": {"since": "x"}}}}},
        {
            "bookmarks": {
                "published_messages": {"unfinished": {"c": {"since": None, "run_number": "x"}}}
            }
        },
        {"singer_state": []},
        {"singer_state": {"customers": {}}},
        {"completed": {"singer_state": {"bookmarks": {}}}, "partial": {}},
        {"type": "RECORD", "stream": "customers", "record": {}},
        {"type": "STATE", "value": None},
        {"type": "STATE", "value": {"x": 1}},
    ],
)
def test_a_state_that_is_not_understood_never_passes_for_none(
    attempt: Attempts, state: Any
) -> None:
    ended = attempt.tap(state=state)
    assert ended.is_one_clear_refusal(), ended
    assert "state" in ended.logged


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"singer_state": state},
        lambda state: {"type": "STATE", "value": state},
        lambda state: {"singer_state": {"type": "STATE", "value": state}},
        lambda state: state | {"currently_syncing": None},
    ],
)
def test_a_state_is_read_in_each_form_that_its_writers_give_it(wrap: Any) -> None:
    state = {"bookmarks": {"customers": GOOD}}
    found = unwrapped_state(wrap(state))
    assert found["bookmarks"] == state["bookmarks"]


def test_a_state_in_meltanos_envelope_spares_reading_everything_again(attempt: Attempts) -> None:
    whole = attempt.tap()
    state = [m["value"] for m in whole.messages if m["type"] == "STATE"][-1]
    again = attempt.tap(state={"singer_state": state})
    assert again.code == 0
    customers = [m for m in again.messages if m["type"] == "RECORD" and m["stream"] == "customers"]
    assert len(customers) < sum(m.get("stream") == "customers" for m in whole.messages) / 2


def test_an_empty_state_is_that_of_the_first_run(attempt: Attempts) -> None:
    assert unwrapped_state({}) == {}
    assert attempt.tap(state={}, check=True).code == 0


def test_bookmarks_of_unknown_streams_beside_known_ones_are_warned_of(attempt: Attempts) -> None:
    state = {"bookmarks": {"customers": GOOD, "orders\x1b": GOOD}}
    ended = attempt.tap(state=state, check=True)
    assert ended.code == 0
    assert r"unknown streams: orders\x1b" in ended.logged


# Catalog


def entry(name: str = "workspaces", **changes: Any) -> dict[str, Any]:
    """Return an entry of a catalog that can be used."""
    selected = {"breadcrumb": [], "metadata": {"selected": True}}
    properties = {"workspace_id": {"type": "string"}, "_extra": {"type": ["object", "null"]}}
    schema = {"type": "object", "properties": properties}
    return {"tap_stream_id": name, "schema": schema, "metadata": [selected]} | changes


def not_selected(**changes: Any) -> dict[str, Any]:
    """Return an entry that is not selected."""
    return entry(metadata=[{"breadcrumb": [], "metadata": {"selected": False}}], **changes)


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ({}, "needs a list of streams"),
        ({"streams": None}, "null"),
        ({"streams": {}}, "needs a list"),
        ({"streams": []}, "has no streams"),
        ({"streams": [None]}, "a stream that is null"),
        ({"streams": [{}]}, "without tap_stream_id"),
        ({"streams": [entry(5)]}, "without tap_stream_id"),  # type: ignore[arg-type]
        ({"streams": [entry("workspace")]}, "did you mean workspaces?"),
        ({"streams": [entry("orders")]}, "this tap has workspaces"),
        ({"streams": [entry(), entry()]}, "twice"),
        ({"streams": [entry(schema=None)]}, "it is missing"),
        ({"streams": [entry(schema=[])]}, "a list"),
        ({"streams": [entry(schema={})]}, "without properties"),
        ({"streams": [entry(schema={"properties": {}})]}, "without properties"),
        ({"streams": [entry(schema={"properties": {"workspace_id": 5}})]}, "a number"),
        ({"streams": [entry(key_properties=["nothing"])]}, "no property nothing"),
        ({"streams": [entry(key_properties="workspace_id")]}, "not a list of texts"),
        ({"streams": [entry(metadata={})]}, "not a list"),
        ({"streams": [entry(metadata=[{}])]}, "without breadcrumb"),
        ({"streams": [entry(metadata=[{"breadcrumb": [], "metadata": None}])]}, "without"),
        (
            {"streams": [entry(metadata=[{"breadcrumb": [], "metadata": {"selected": "yes"}}])]},
            "selected is not true or false",
        ),
        ({"streams": [entry(replication_method="LOG_BASED")]}, "INCREMENTAL, FULL_TABLE"),
        ({"streams": [entry(replication_key="workspace_id")]}, "replication_key"),
        ({"streams": [entry(stream="spaces")]}, "otherwise"),
        ({"streams": [not_selected()]}, "selects no stream"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_refused(
    attempt: Attempts, catalog: Any, words: str
) -> None:
    ended = attempt.tap(catalog=catalog)
    assert ended.is_one_clear_refusal(), ended
    assert words in ended.logged


def test_a_catalog_that_says_nothing_of_keys_has_those_of_discovery(attempt: Attempts) -> None:
    ended = attempt.tap(catalog={"streams": [entry(metadata=[])]})
    assert ended.code == 0, ended.logged
    schema = next(m for m in ended.messages if m["type"] == "SCHEMA")
    assert schema["key_properties"] == ["workspace_id"]
    completed = checked_catalog({"streams": [entry()]}, _stream_types())["streams"][0]
    assert completed["key_properties"] == ["workspace_id"]
    customers = {"customer_id": {"type": "string"}, "customer_group_id": {"type": "string"}}
    customers |= {"workspace_id": {"type": "string"}}
    incremental = entry("customers", schema={"type": "object", "properties": customers})
    completed = checked_catalog({"streams": [incremental]}, _stream_types())["streams"][0]
    assert completed["replication_key"] == "updated_at"


def test_the_targets_check_refuses_a_catalog_that_is_none(attempt: Attempts) -> None:
    path = attempt.folder / "given.json"
    for content in ("", "{}", "[]", '{"streams": [{}]}'):
        path.write_text(content)
        assert attempt.target(only_check=True, catalog=str(path)).code == 1
        assert "The catalog" in attempt.log.text


# Stream maps that fail only for a record


@pytest.mark.parametrize(
    ("expression", "kind"),
    [("1 / 0", "ZeroDivisionError"), ("no_such_property + 1", "NameNotDefined"), ("int('x')", "V")],
)
def test_a_stream_map_that_fails_for_a_record_fails_its_stream_only(
    attempt: Attempts, expression: str, kind: str
) -> None:
    maps = {"workspaces": {"computed": expression}}
    ended = attempt.tap(config={"stream_maps": maps})
    assert ended.code == 1
    assert "workspaces, the whole stream: stream_maps for computed: the expression" in ended.logged
    assert kind in ended.logged
    assert "defect" not in ended.logged
    streams = {m["stream"] for m in ended.messages if m["type"] == "RECORD"}
    assert "customers" in streams
    assert "workspaces" not in streams


def test_a_stream_map_without_its_key_is_refused(attempt: Attempts, account: Sandbox) -> None:
    for mapped in ({"__key_properties__": ["nothing"]}, {"workspace_id": None}):
        ended = attempt.tap(config={"stream_maps": {"workspaces": mapped}})
        assert ended.code == 1
        assert "Settings: stream_maps: " in ended.logged
        assert "key propert" in ended.logged
        assert not ended.out
    del account


# Standard output


@pytest.mark.parametrize("module", ["tap_nudgescribe", "target_nudgescribe"])
def test_a_closed_standard_output_is_said_before_anything_is_sent(
    account: Sandbox, tmp_path: Path, module: str
) -> None:
    config = tmp_path / "config.json"
    workspace = next(iter(account.account.groups.values())).workspace_id
    settings_of = account.config | ({"workspace_id": workspace} if module[1] == "a" else {})
    if module == "tap_nudgescribe":
        settings_of = account.config
    config.write_text(json.dumps(settings_of))
    before = len(account.requests)
    command = f'exec "{sys.executable}" -m {module} --config "{config}" >&- </dev/null'
    shell = ["/bin/sh", "-c", command]
    done = subprocess.run(shell, stderr=subprocess.PIPE, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 1
    assert b"Standard output is closed" in done.stderr
    assert b"Traceback" not in done.stderr
    assert len(account.requests) == before


def test_a_reader_that_has_ended_is_said(account: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(account.config))
    reader, writer = os.pipe()
    os.close(reader)
    for options in ([], ["--discover"]):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tap_nudgescribe", "--config", str(config), *options],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1, done.stderr
        assert b"reads the standard output has ended" in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"defect" not in done.stderr
    os.close(writer)


# Any input

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([MOMENT, "2025-13-01", "s3://b/x", "customers", "1/0", "\x1b", "é" * 99]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def names_of(plugin: Any) -> list[str]:
    """Return the names of a plugin's settings."""
    plugin.append_builtin_config(plugin.config_jsonschema)
    return sorted(plugin.config_jsonschema["properties"])


CREDENTIALS = {"api_url": PRODUCTION_URL, "api_key": "k", "email": "e", "password": "p"}


@fuzzed
@given(data=st.data())
@pytest.mark.parametrize("plugin", [TapNudgescribe, TargetNudgescribe])
def test_any_settings_are_used_or_refused_by_name(plugin: Any, data: st.DataObject) -> None:
    names = st.sampled_from(names_of(plugin)) | st.text(max_size=5)
    config = CREDENTIALS | data.draw(st.dictionaries(names, JSON, max_size=4))
    try:
        checked = object.__new__(plugin)
        checked._config = config
        checked._validate_config()
    except SettingsError as error:
        text = str(error)
    else:
        return
    assert any(name in text for name in names_of(plugin)) or "no setting" in text, text


def mutated(value: Any, data: st.DataObject) -> Any:
    """Return a JSON value in which something was replaced, removed or added."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 3)):
        name = data.draw(st.sampled_from(sorted(value)))
        if data.draw(st.integers(0, 4)):
            return value | {name: mutated(value[name], data)}
        return {key: item for key, item in value.items() if key != name} | data.draw(
            st.just({}) | st.dictionaries(st.text(max_size=4), JSON, max_size=1)
        )
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutated(value[place], data), *value[place + 1 :]]
    return data.draw(JSON)


STATE = {
    "bookmarks": {
        "customers": GOOD | {"unfinished": {"g": {"since": MOMENT}}},
        "published_messages": {
            "replication_key": "published_at",
            "replication_key_value": MOMENT,
            "unfinished": {"c": {"since": None, "run_number": 1, "file_number": 2}},
        },
    }
}


@fuzzed
@given(data=st.data())
def test_any_state_is_used_or_refused(data: st.DataObject) -> None:
    state = mutated(STATE, data)
    try:
        tap = TapNudgescribe(
            config=dict(CREDENTIALS), state=unwrapped_state(state), setup_mapper=False
        )
        tap._reset_state_progress_markers()  # noqa: SLF001
    except SettingsError as error:
        text = str(error)
    else:
        return
    assert text.startswith("The state ")


@fuzzed
@given(data=st.data())
def test_any_catalog_is_used_or_refused(data: st.DataObject) -> None:
    good = {"streams": [entry(), entry("customer_groups", key_properties=["workspace_id"])]}
    catalog = mutated(good, data)
    if not isinstance(catalog, dict):
        return
    try:
        TapNudgescribe(config=dict(CREDENTIALS), catalog=catalog)
    except SettingsError as error:
        text = str(error)
    else:
        return
    assert text.startswith(("The catalog ", "stream_maps: "))


@fuzzed
@given(content=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_of_a_file_are_an_object_or_refused(content: bytes) -> None:
    try:
        found = parse_json_object(content, "The file")
    except SettingsError as error:
        text = str(error)
    else:
        assert isinstance(found, dict)
        return
    assert text.startswith("The file ")


@fuzzed
@given(data=st.data())
def test_any_environment_is_read_or_refused(data: st.DataObject) -> None:
    names = st.sampled_from([name.upper() for name in names_of(TapNudgescribe)])
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    texts |= JSON.map(json.dumps)
    variables = data.draw(st.dictionaries(names | st.text(max_size=5), texts, max_size=4))
    try:
        environment(**variables)
    except SettingsError as error:
        text = str(error)
    else:
        return
    assert "TAP_NUDGESCRIBE_" in text
