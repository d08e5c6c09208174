"""The tap's other commands: discovery, checks, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox import Fault, Sandbox
from tests.sandbox.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run


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


def test_check_walks_every_read_and_shows_no_value(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap("--check")
    assert run.code == 0, run.stderr
    for operation in ("login", "list_campaigns", "list_customers", "fetch_message_file"):
        assert f"{operation} " in run.stderr
    assert "canary" not in run.stderr
    assert "example.com" not in run.stderr
    sandbox.inject(Fault("list_runs", "not_found", 9))
    assert tap("--check").code == 1


def test_check_proposes_the_wire_names_that_mend_an_account(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    for ours, theirs in (("customer_group_id", "cg_id"), ("updated_at", "modified_at")):
        sandbox.faults.clear()
        sandbox.inject(Fault("*", "renamed_key", 9999, option=f"{ours}={theirs}"))
        run = tap("--check")
        assert f"wire_names {{'{ours}': '{theirs}'}}" in run.stderr
        assert tap("--check", wire_names={ours: theirs}).code == 0
