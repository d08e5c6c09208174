"""The tap, run as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.local_api import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from tests.local_api import Sandbox

KEYS = {
    "workspaces": ["workspace_id"],
    "customer_groups": ["customer_group_id"],
    "profile_fields": ["workspace_id", "field_id"],
    "customers": ["customer_group_id", "customer_id"],
    "campaigns": ["campaign_id"],
    "campaign_runs": ["campaign_id", "run_number"],
    "run_messages": ["campaign_id", "run_number", "message_id"],
    "published_messages": ["campaign_id", "run_number", "file_number", "row_number"],
}


def keys(records: list[dict[str, Any]], names: list[str]) -> list[tuple[Any, ...]]:
    return [tuple(record[name] for name in names) for record in records]


def truth(sandbox: Sandbox) -> dict[str, set[tuple[Any, ...]]]:
    return sandbox.account.truth()


def assert_whole(run: Run, sandbox: Sandbox) -> None:
    for stream, expected in truth(sandbox).items():
        found = keys(run.records(stream), KEYS[stream])
        assert len(found) == len(set(found)), f"{stream} has a key twice"
        assert set(found) == expected, stream


def test_a_first_run_sends_everything_once_and_keeps_to_its_schemas(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox)
    assert sandbox.log_ins == 1
    schemas = {m["stream"]: m["schema"] for m in run.messages if m["type"] == "SCHEMA"}
    checkers = {name: jsonschema.Draft7Validator(schema) for name, schema in schemas.items()}
    for message in run.messages:
        if message["type"] == "RECORD":
            checkers[message["stream"]].validate(message["record"])
            assert message["record"].keys() <= schemas[message["stream"]]["properties"].keys()


def test_profile_columns_are_typed_and_the_raw_profile_stands_beside_them(
    tap: Callable[..., Run],
) -> None:
    customers = tap().records("customers")
    first = next(c for c in customers if c["workspace_id"] == "ws-1" and c["born"])
    raw = first["profile"]
    day, month, year = raw["Born"].split("/")
    assert first["born"] == f"{year}-{month}-{day}"
    assert first["renewal"] == "2026-02-28"
    assert first["total_spend_currency"] == "EUR"
    assert isinstance(first["total_spend"], int | float)
    assert first["secret_note"] == raw["Secret Note"]
    widened = {type(c["grosse"]) for c in customers}
    assert widened <= {str, type(None)}, "a field whose type differs between workspaces is text"
    assert any(c["born"] is None and c["profile"]["Born"] == "n/a" for c in customers)


def test_message_columns_are_the_files_own_and_hard_text_survives(tap: Callable[..., Run]) -> None:
    rows = tap().records("published_messages")
    bodies = {row["body"] for row in rows}
    assert {'say "hi", you', "line\none\r\ntwo", "emoji 🎈", "nul \ufffd inside", "=1+1"} <= bodies
    assert {row["score"] for row in rows} == {None, "", "007"}
    assert {row.get("locale") for row in rows if row["campaign_id"] == "ca-3"} == {"de"}


def test_a_second_run_over_an_unchanged_account_sends_nothing_old(tap: Callable[..., Run]) -> None:
    first = tap()
    second = tap(state=first.state)
    for stream in ("published_messages", "campaign_runs", "run_messages", "campaigns"):
        assert second.records(stream) == [], stream
    assert all(c["updated_at"] is None for c in second.records("customers"))
    assert second.state == first.state


def test_a_run_after_a_lively_day_sends_just_what_changed(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    first = tap()
    before = truth(sandbox)
    sandbox.account.live_a_day()
    after = truth(sandbox)
    second = tap(state=first.state)
    for stream in ("published_messages", "campaign_runs", "customers"):
        fresh = set(keys(second.records(stream), KEYS[stream]))
        assert after[stream] - before[stream] <= fresh, stream
    messages = keys(second.records("published_messages"), KEYS["published_messages"])
    assert set(messages) == after["published_messages"] - before["published_messages"]
    changed = {c["customer_id"] for c in second.records("customers") if c["updated_at"]}
    assert changed == {"cg-ws-1-1-c3", "cg-ws-1-1-c40"}
    third = tap(state=second.state)
    assert third.records("published_messages") == []


def test_full_table_replication_from_the_catalog_sends_everything_again(
    tap: Callable[..., Run],
) -> None:
    first = tap()
    catalog = tap("--discover").messages[0]
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
        entry["metadata"][0]["metadata"]["selected"] = True
    again = tap(state=first.state, catalog=catalog, emit_activate_version_messages=True)
    assert again.counts == first.counts
    versions = {m["stream"] for m in again.messages if m["type"] == "ACTIVATE_VERSION"}
    assert versions == set(KEYS)


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        (Fault("list_groups", "not_found", 9, match="ws-1"), "customer_groups"),
        (Fault("list_fields", "refused", 9, match="ws-1"), "profile_fields"),
        (Fault("list_customers", "unexpected_shape", 9, match="cg-ws-1-2"), "customers"),
        (Fault("list_runs", "not_found", 9, match="ca-4"), "campaign_runs"),
        (Fault("list_run_messages", "server_error", 99, match="ca-4"), "run_messages"),
        (Fault("count_message_files", "not_found", 9, match="ca-3"), "published_messages"),
    ],
)
def test_a_part_that_fails_does_not_lose_the_others_and_comes_with_the_next_run(
    tap: Callable[..., Run], sandbox: Sandbox, fault: Fault, stream: str
) -> None:
    sandbox.inject(fault)
    first = tap()
    assert first.code == 1
    found = set(keys(first.records(stream), KEYS[stream]))
    assert found, "the other parts were sent"
    assert found < truth(sandbox)[stream]
    assert "canary-body" not in first.stderr
    sandbox.faults.clear()
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    both = found | set(keys(second.records(stream), KEYS[stream]))
    assert both == truth(sandbox)[stream]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("*", "rate_limited", 3, after=4, option="0"),
        Fault("*", "server_error", 2, after=9, option="502"),
        Fault("list_customers", "truncated", 2),
        Fault("list_campaigns", "invalid_json", 1),
        Fault("list_customers", "expired_token", 1, after=3),
        Fault("storage", "truncated", 3),
        Fault("storage", "expired_url", 2),
        Fault("storage", "server_error", 1),
        Fault("list_customers", "envelope", 99, option="data"),
        Fault("list_groups", "envelope", 99, option="whatever"),
    ],
    ids=lambda fault: f"{fault.operation} {fault.kind}",
)
def test_a_passing_fault_changes_nothing(
    tap: Callable[..., Run], sandbox: Sandbox, fault: Fault
) -> None:
    sandbox.inject(fault)
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox)


def test_renamed_wire_keys_are_corrected_by_a_setting(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.inject(Fault("*", "renamed_key", 9999, option="customer_group_id=cg_id"))
    run = tap(wire_names={"customer_group_id": "cg_id"})
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox)


def test_an_account_without_reruns_skips_those_streams_and_reads_current_messages(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.rerun_enabled = False
    run = tap()
    assert run.code == 0, run.stderr
    assert "does not have the rerun operations" in run.stderr
    assert not run.records("campaign_runs")
    assert run.records("published_messages")


def test_publishing_waits_for_the_files_and_respects_the_quota(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.publish_quota = 1
    run = tap(publish_ready_campaigns=True)
    assert run.code == 1, "the second ready campaign is over the quota"
    assert "quota is used up" in run.stderr
    assert sandbox.count("publish_messages") == 2
    assert_whole_messages = set(keys(run.records("published_messages"), KEYS["published_messages"]))
    assert assert_whole_messages == sandbox.account.published_rows()
    sandbox.account.publish_quota = 0
    again = tap(state=run.state, publish_ready_campaigns=False)
    assert again.records("published_messages") == []


def test_no_secret_and_no_customer_value_reaches_a_log(
    tap: Callable[..., Run], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAP_NUDGESCRIBE_LOGLEVEL", "DEBUG")
    sandbox.inject(
        Fault("list_customers", "unexpected_shape", 1),
        Fault("list_groups", "refused", 9, match="ws-2"),
        Fault("storage", "expired_url", 1),
        Fault("list_run_messages", "server_error", 1),
    )
    run = tap()
    assert run.code == 1
    assert "canary" not in run.stderr
    assert "canary" not in json.dumps(run.state)
    assert "example.com" not in run.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "canary-wrong"}, "The log-in is refused"),
        ({"password": 5}, "'password' does not have the type"),
        ({"api_url": "http://192.0.2.1/v1"}, "http:// to another machine"),
        ({"ca_bundle": "nowhere.pem"}, "ca_bundle"),
        ({"api_url": "http://127.0.0.1:9/v1", "max_tries": 1}, "No whole answer"),
    ],
)
def test_what_cannot_work_ends_with_one_clear_line(
    tap: Callable[..., Run], change: dict[str, Any], words: str
) -> None:
    run = tap(**change)
    assert run.code == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert "canary" not in run.stderr
    assert not run.counts


def test_discovery_needs_no_credentials_and_types_columns_with_them(
    tap: Callable[..., Run],
) -> None:
    bare = tap("--discover", api_key=None).messages[0]["streams"]
    full = tap("--discover").messages[0]["streams"]
    assert [s["tap_stream_id"] for s in bare] == sorted(KEYS)
    assert {s["tap_stream_id"]: s["key_properties"] for s in full} == KEYS
    columns = {s["tap_stream_id"]: s["schema"]["properties"].keys() for s in full}
    assert "total_spend" in columns["customers"]
    assert "message_id" in columns["published_messages"]
    assert all("total_spend" not in s["schema"]["properties"] for s in bare)


def test_check_walks_every_read_and_shows_no_value(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap("--check")
    assert run.code == 0, run.stderr
    for operation in ("login", "list_campaigns", "list_customers", "fetch_message_file"):
        assert operation in run.stderr
    assert "canary" not in run.stderr
    sandbox.inject(Fault("list_runs", "not_found", 9))
    assert tap("--check").code == 1


def test_the_older_status_codes_work_as_well(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    sandbox.older = True
    sandbox.inject(Fault("list_customers", "expired_token", 1, after=2))
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox)
