"""Every fault that the local API knows, at every operation that the tap uses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import selecting
from tests.expectation import assert_whole, key_of
from tests.sandbox import Fault, Sandbox, truth
from tests.sandbox.faults import PAGES, READS
from tests.sandbox.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from tests.sandbox.faults import Kind


def everywhere(kind: Kind, *, option: str = "", times: int = 1) -> list[Fault]:
    """Return one fault for each read and for the storage."""
    return [Fault(read, kind, times, option=option) for read in (*READS, "storage")]


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("latency", "0.01"),
        ("rate_limited", "0"),
        ("rate_limited", "date"),
        ("server_error", "500"),
        ("server_error", "502"),
        ("server_error", "503"),
        ("reset_before", ""),
        ("reset", ""),
        ("truncated", ""),
        ("invalid_json", ""),
        ("expired_token", ""),
        ("expired_url", ""),
        ("truncated_gzip", ""),
    ],
)
def test_a_fault_that_passes_changes_nothing(
    tap: Callable[..., Run], sandbox: Sandbox, kind: Kind, option: str
) -> None:
    sandbox.inject(*everywhere(kind, option=option), Fault("login", kind, option=option))
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox.account)


@pytest.mark.parametrize("option", ["data", "results", "bare"])
def test_any_envelope_will_do(tap: Callable[..., Run], sandbox: Sandbox, option: str) -> None:
    sandbox.inject(Fault("*", "envelope", 9999, option=option))
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox.account)


@pytest.mark.parametrize(
    "name", ["customer_group_id", "access_token", "pages", "profile", "run_number", "url"]
)
def test_a_renamed_key_is_corrected_by_a_setting(
    tap: Callable[..., Run], sandbox: Sandbox, name: str
) -> None:
    sandbox.inject(Fault("*", "renamed_key", 9999, option=f"{name}=other_name"))
    run = tap(wire_names={name: "other_name"})
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox.account)


def test_the_older_status_codes_work_as_well(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    sandbox.account.status_codes = "older"
    sandbox.inject(*everywhere("expired_token"))
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox.account)


@pytest.mark.parametrize(
    "kind",
    ["refused", "missing_field", "not_found", "bad_request", "unexpected_shape", "server_error"],
)
def test_parts_that_fail_do_not_lose_the_others_and_come_with_the_next_run(
    tap: Callable[..., Run], sandbox: Sandbox, kind: Kind
) -> None:
    account = sandbox.account
    _, second_workspace, hidden = account.workspaces
    groups = {group.name: group.customer_group_id for group in account.groups.values()}
    no_runs, no_messages, no_count, no_file, *_ = (
        campaign.campaign_id for campaign in account.campaigns.values() if campaign.published_at
    )
    failing = {
        "list_groups": hidden,
        "list_fields": second_workspace,
        "count_customer_pages": groups["Nobody yet"],
        "list_customers": groups["Loyal; since 2019"],
        "list_runs": no_runs,
        "list_run_messages": no_messages,
        "count_message_files": no_count,
        "fetch_message_file": no_file,
    }
    if kind == "unexpected_shape":  # no URL: the raw CSV is read
        del failing["fetch_message_file"]
    lost: dict[str, set[object]] = {
        "customer_groups": {hidden},
        "profile_fields": {second_workspace},
        "customers": {hidden, second_workspace, groups["Loyal; since 2019"]},
        "campaign_runs": {no_runs},
        "run_messages": {no_runs, no_messages},
        "published_messages": {no_runs, no_count, failing.get("fetch_message_file", no_count)},
    }
    sandbox.inject(*(Fault(name, kind, 9999, match=part) for name, part in failing.items()))
    first = tap(max_tries=1)
    assert first.code == 1, first.stderr
    for stream in KEYS:
        assert first.keys(stream) == {
            key_of(stream, row)
            for row in truth.rows(account, stream)
            if not lost.get(stream, set()) & {value for value in row.values() if is_id(value)}
        }, stream
    assert all(part in first.stderr for part in failing.values())
    assert "canary" not in first.stderr
    sandbox.faults.clear()
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    for stream in KEYS:
        assert first.keys(stream) | second.keys(stream) == truth.keys(account, stream)


def is_id(value: object) -> bool:
    return isinstance(value, str)


def test_an_api_that_is_gone_is_not_asked_for_every_campaign(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.inject(
        Fault("list_run_messages", "server_error", 9999),
        Fault("list_campaigns", "server_error", 9999, after=1),
    )
    run = tap(max_tries=1)
    assert run.code == 1
    assert "list_campaigns: The API has failed (500)" in run.stderr
    asked = {body["campaign_id"] for name, body in sandbox.requests if name == "list_run_messages"}
    assert len(asked) == 3


def test_no_secret_and_no_customer_value_reaches_a_log_an_error_or_the_state(
    tap: Callable[..., Run], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAP_NUDGESCRIBE_LOGLEVEL", "DEBUG")
    for customer in sandbox.account.customers.values():
        customer.profile["First Name"] = "canary-customer"
    kinds: tuple[Kind, ...] = ("refused", "unexpected_shape", "not_found", "bad_request")
    sandbox.inject(*everywhere("expired_url"), *everywhere("reset"), *everywhere("server_error"))
    sandbox.inject(*(Fault(read, kind, after=6) for read in READS[1:] for kind in kinds))
    run = tap(api_code="canary-code")
    assert run.code == 1
    assert "canary-customer" in json.dumps(run.records("customers"))
    assert "canary" not in run.stderr
    assert "canary" not in json.dumps(run.state)
    assert "example.com" not in run.stderr
    for secret in ("api_key", "password"):
        assert str(sandbox.config[secret]) not in run.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "canary-wrong"}, "The log-in is refused"),
        ({"api_key": "canary-wrong"}, "The log-in is refused"),
        ({"password": 5}, "password is a number"),
        ({"api_url": "http://192.0.2.1/v1"}, "http:// to another machine"),
        ({"ca_bundle": "nowhere.pem"}, "ca_bundle"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"api_url": "http://127.0.0.1:9/v1", "max_tries": 1}, "connection refused"),
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


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_place_of_a_file_fails_its_campaign_and_comes_with_the_next_run(
    tap: Callable[..., Run], sandbox: Sandbox, page: str
) -> None:
    account = sandbox.account
    catalog = selecting(tap("--discover").messages[0], "published_messages")
    sandbox.inject(Fault("storage", "error_page", 1, option=page))
    first = tap(catalog=catalog)
    assert first.code == 1, first.stderr
    assert "published_messages, campaign" in first.stderr
    assert "canary" not in first.stderr
    assert not any("canary" in str(record) for record in first.records("published_messages"))
    second = tap(catalog=catalog, state=first.state)
    assert second.code == 0, second.stderr
    keys = first.keys("published_messages") | second.keys("published_messages")
    assert keys == truth.keys(account, "published_messages")


def test_a_page_makes_no_columns(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    pages = ("html", "text")
    sandbox.inject(*(Fault("storage", "error_page", 1, option=page) for page in pages))
    found = tap("--discover")
    properties = next(
        entry["schema"]["properties"]
        for entry in found.messages[0]["streams"]
        if entry["tap_stream_id"] == "published_messages"
    )
    names = json.dumps(list(properties))
    assert not any(word in names for word in ("canary", "html", "doctype", "error", "upstream"))
    assert "message_id" in names
    assert found.stderr.count("is left out of the sample") == 1
    assert "none of their columns is in any other file" in found.stderr
