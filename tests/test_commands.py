"""The tap's other commands: discovery, checks, and what it says of itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tap_nudgescribe.contract import operations
from tap_nudgescribe.naming import propose
from tests.sandbox import Fault, Sandbox
from tests.sandbox.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run


READS_IN_ORDER = [
    "list_campaigns",
    "list_groups",
    "list_fields",
    "count_customer_pages",
    "list_customers",
    "list_runs",
    "list_run_messages",
    "count_message_files",
    "fetch_message_file",
]


def test_discovery_needs_no_credentials(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    run = tap("--discover", api_key=None, email=None, password=None)
    assert run.code == 0, run.stderr
    streams = run.messages[0]["streams"]
    assert {s["tap_stream_id"]: tuple(s["key_properties"]) for s in streams} == KEYS
    assert sandbox.requests == []


def test_discovery_with_credentials_types_the_profile_and_names_the_message_columns(
    tap: Callable[..., Run],
) -> None:
    streams = {s["tap_stream_id"]: s for s in tap("--discover").messages[0]["streams"]}
    customers = streams["customers"]["schema"]["properties"]
    assert customers["loyalty_points"]["type"] == ["string", "null"]
    assert customers["birthday"]["format"] == "date"
    assert "coupon_code" in streams["published_messages"]["schema"]["properties"]


def test_test_reads_one_record_of_every_stream(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    run = tap("--test")
    assert run.code == 0, run.stderr
    assert sandbox.count("publish_messages") == 0


@pytest.mark.parametrize("operation", ["list_groups", "list_customers", "list_runs"])
def test_test_fails_when_a_part_cannot_be_read(
    tap: Callable[..., Run], sandbox: Sandbox, operation: str
) -> None:
    sandbox.inject(Fault(operation, "bad_request", 99))
    run = tap("--test")
    assert run.code == 1
    assert "The test failed" in run.stderr


def test_check_walks_every_read_and_shows_no_value(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    """The table is a report, so it is on stdout; log lines are on stderr."""
    run = tap("--check")
    assert run.code == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["login", *READS_IN_ORDER]
    assert all(line.split()[1] == "works" for line in lines)
    for text in (run.stdout, run.stderr):
        assert "canary" not in text
        assert "example.com" not in text
    assert "works" not in run.stderr
    sandbox.inject(Fault("list_runs", "not_found", 9))
    run = tap("--check")
    assert run.code == 1
    assert re.search(r"^list_runs +FAILS ", run.stdout, re.MULTILINE)


def proposed(run: Run) -> dict[str, str]:
    """Return the value of wire_names that --check proposes: its last line."""
    assert "Set wire_names to this" in run.stdout, run.stdout
    names: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize(
    ("theirs", "names"),
    [
        (["id", "title", "type"], {"field_name": "title"}),
        (["id", "label", "kind"], {"field_name": "label"}),
        (["id", "name", "title", "type"], {"field_name": "name", "display_name": "title"}),
        (["id", "key", "title", "type"], {"field_name": "key", "display_name": "title"}),
        (["id", "slug", "label", "type"], {"field_name": "slug", "display_name": "label"}),
    ],
)
def test_a_name_is_proposed_for_the_key_without_which_nothing_works(
    theirs: list[str], names: dict[str, str]
) -> None:
    shape = operations()["list_fields"].answer.items
    assert shape
    found = propose(shape, shape.properties, {key: ["string"] for key in theirs})
    assert set(shape.schema["required"]) <= found.keys()
    assert found | names == found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("customer_group_id", "cg_id"),
        ("updated_at", "modified_at"),
        ("run_number", "no"),
        ("campaign_id", "id"),
        ("workspace_id", "workspaceId"),
    ],
)
def test_check_proposes_one_name_for_a_key_that_is_called_otherwise_everywhere(
    tap: Callable[..., Run], sandbox: Sandbox, ours: str, theirs: str
) -> None:
    """In requests as well: they are tried with the names that answers have."""
    sandbox.inject(Fault("*", "renamed_key", 9999, option=f"{ours}={theirs}"))
    names = proposed(tap("--check"))
    assert names == {ours: theirs}
    again = tap("--check", wire_names=names)
    assert again.code == 0, again.stdout
    assert "wire_names" not in again.stdout


def test_check_leads_to_a_whole_sync_of_an_account_with_other_names(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    plain = tap()
    sandbox.inject(Fault("*", "dialect", 99_999))
    first = tap("--check")
    assert first.code == 1
    assert re.search(r"^list_campaigns +FAILS ", first.stdout, re.MULTILINE)
    assert "unknown id, name" in first.stdout
    names = proposed(first)
    assert names["campaign.campaign_id"] == names["workspace.workspace_id"] == "id"
    assert names["count_customer_pages.pages"] == "page_count"
    assert names["count_message_files.pages"] == "file_count"
    again = tap("--check", wire_names=names)
    assert again.code == 0, again.stdout
    assert "wire_names" not in again.stdout
    assert all(line.split()[1] == "works" for line in again.stdout.splitlines())
    run = tap(wire_names=names)
    assert run.code == 0, run.stderr
    assert run.counts == plain.counts
    for stream in plain.counts:
        assert run.records(stream) == plain.records(stream)


def test_check_names_what_it_could_not_try(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    sandbox.inject(Fault("list_groups", "refused", 9))
    run = tap("--check")
    assert run.code == 1
    assert re.search(r"^list_customers +not tried +there is nothing", run.stdout, re.MULTILINE)


def test_check_proposes_no_key_for_another_kind_of_value() -> None:
    """And none for what the account may simply lack."""
    shape = operations()["list_groups"].answer.items
    assert shape
    unknown = {"title_id": ["string"], "tags": ["array"], "size": ["object"], "zip": ["string"]}
    assert propose(shape, {"name", "customer_count", "description"}, unknown) == {}
