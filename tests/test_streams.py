"""What the tap sends: all of it, once, typed, and only what changed the next time."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from campaign.extraction import READ_BY_RUNS
from tests.conftest import selecting
from tests.expectation import assert_stream, assert_whole, key_of, titles
from tests.sandbox import Fault, Sandbox, make_account, runs, truth
from tests.sandbox.account import PUBLISHED, Account, Customer, Group
from tests.sandbox.day import live_a_day
from tests.sandbox.formats import is_date, write_date
from tests.sandbox.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from tests.sandbox.faults import Kind

INCREMENTAL = ("customers", "campaigns", "campaign_runs", "run_messages", "published_messages")


def test_a_first_run_sends_everything_once_and_keeps_to_its_schemas(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap()
    assert run.code == 0, run.stderr
    assert_whole(run, sandbox.account)
    assert sandbox.sessions.log_ins == 1
    checkers = {name: jsonschema.Draft7Validator(schema) for name, schema in run.schemas.items()}
    for message in run.messages:
        if message["type"] == "RECORD":
            checkers[message["stream"]].validate(message["record"])
            assert message["record"].keys() <= run.schemas[message["stream"]]["properties"].keys()


def test_a_workspace_without_campaigns_is_read_once_its_id_is_set(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    hidden = sandbox.account.hidden_workspace_id
    assert hidden not in {w["workspace_id"] for w in tap(workspace_ids=[]).records("workspaces")}
    assert hidden in {c["workspace_id"] for c in tap().records("customers")}


def test_profile_fields_of_every_date_format_become_dates(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    run = tap()
    columns = {
        schema["title"]: name
        for name, schema in run.schemas["customers"]["properties"].items()
        if schema.get("format") == "date"
    }
    fields = {
        (field.workspace_id, field.field_name): field.field_format
        for field in sandbox.account.fields.values()
        if field.field_type == "Date"
    }
    assert len(set(fields.values())) == 14
    seen = set()
    for record in run.records("customers"):
        for name, value in (record["profile"] or {}).items():
            pattern = fields.get((record["workspace_id"], name))
            if pattern is None:
                continue
            column = record[columns[name]]
            if value and is_date(value, pattern):
                assert write_date(date.fromisoformat(column), pattern) == value
                seen.add(pattern)
            else:
                assert column is None
    assert len(seen) == 14


def test_amounts_are_exact_and_have_their_fields_currency(tap: Callable[..., Run]) -> None:
    codes = set()
    for record in tap().records("customers"):
        raw = record["profile"].get("Total Spend")
        if record["total_spend"] is not None:
            amount = str(raw).split(" ")[-1].replace(",", "")
            assert Decimal(str(record["total_spend"])) == Decimal(amount)
            codes.add(record["total_spend_currency"])
    assert codes == {"EUR", "USD"}


def test_a_field_whose_type_differs_between_workspaces_is_text(tap: Callable[..., Run]) -> None:
    run = tap()
    assert run.schemas["customers"]["properties"]["loyalty_points"]["type"] == ["string", "null"]
    values = [customer["loyalty_points"] for customer in run.records("customers")]
    assert {type(value) for value in values} == {str, type(None)}


def test_a_value_that_does_not_parse_stays_in_the_profile_and_is_reported_once(
    tap: Callable[..., Run],
) -> None:
    run = tap()
    dirty = [c for c in run.records("customers") if c["profile"].get("Joined") == "n/a"]
    assert dirty
    assert all(customer["joined"] is None for customer in dirty)
    reports = [line for line in run.stderr.splitlines() if "profile field 'Joined'" in line]
    assert len(reports) == 1
    assert "n/a" not in run.stderr


def test_encrypted_fields_are_opaque_text(tap: Callable[..., Run]) -> None:
    for record in tap().records("customers"):
        assert record["phone"] == record["profile"].get("Phone")


def test_names_that_meet_in_a_warehouse_get_columns_of_their_own(tap: Callable[..., Run]) -> None:
    properties = tap().schemas["customers"]["properties"]
    named = {name: schema["title"] for name, schema in properties.items() if "title" in schema}
    both = [name for name, title in named.items() if title in {"First Name", "first-name"}]
    assert len(both) == 2
    assert len({name.lower() for name in properties}) == len(properties)


def test_hard_text_of_message_files_arrives_as_it_was_written(tap: Callable[..., Run]) -> None:
    run = tap()
    bodies = {row["body"] for row in run.records("published_messages")}
    assert {"Windows\r\nline ends", "lone\rreturn", "nul\ufffdbyte", "", None} <= bodies
    assert any(body and len(body) > 200_000 for body in bodies)
    assert {"00123", "=SUM(A1:A9)"} <= {r["subject"] for r in run.records("published_messages")}
    assert "characters U+0000 in message files were replaced" in run.stderr


def test_a_message_column_unknown_to_the_catalog_is_kept_and_reported_once(
    tap: Callable[..., Run],
) -> None:
    catalog = selecting(tap("--discover").messages[0], "published_messages")
    entry = next(e for e in catalog["streams"] if e["tap_stream_id"] == "published_messages")
    del entry["schema"]["properties"]["coupon_code"]
    run = tap(catalog=catalog)
    kept = [row for row in run.records("published_messages") if row["_extra"]]
    assert kept
    assert {key for row in kept for key in row["_extra"]} == {"Coupon Code"}
    advice = 'add their names to the setting message_columns: ["Coupon Code"]'
    assert sum(advice in x for x in run.stderr.splitlines()) == 1
    again = tap(catalog=catalog, message_columns=["Coupon Code"])
    assert {row["coupon_code"] for row in again.records("published_messages")} == {
        (row["_extra"] or {}).get("Coupon Code") for row in run.records("published_messages")
    }
    assert "message_columns" not in again.stderr


def test_message_columns_take_the_types_that_are_set(tap: Callable[..., Run]) -> None:
    types = {"score": "number", "send_at": "date-time", "subject": "integer"}
    run = tap(message_column_types=types)
    rows = run.records("published_messages")
    assert {type(row["score"]) for row in rows} == {float, type(None)}
    assert all(row["send_at"].endswith("+00:00") for row in rows)
    assert 123 in {row["subject"] for row in rows}
    misfits = [row["_extra"] for row in rows if row["subject"] is None and row["_extra"]]
    assert all(set(extra) == {"Subject"} for extra in misfits)
    assert "message column 'Subject' do not have the type" in run.stderr


def test_a_second_run_over_an_unchanged_account_sends_nothing_old(tap: Callable[..., Run]) -> None:
    first = tap()
    second = tap(state=first.state)
    for stream in ("published_messages", "campaign_runs", "run_messages", "campaigns"):
        without_time = [r for r in second.records(stream) if stamp(stream, r) is not None]
        assert without_time == [], stream
    assert all(customer["updated_at"] is None for customer in second.records("customers"))
    assert second.state == first.state


def stamp(stream: str, record: dict[str, Any]) -> Any:
    """Return the replication key of a record."""
    key = {"campaign_runs": "campaign_updated_at", "run_messages": "campaign_updated_at"}
    return record[key.get(stream, "published_at" if "published" in stream else "updated_at")]


def test_a_run_after_a_lively_day_sends_just_what_changed(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    account = sandbox.account
    first = tap()
    before = {stream: truth.keys(account, stream) for stream in KEYS}
    touched = live_a_day(account)
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    changed = {c["customer_id"] for c in second.records("customers") if c["updated_at"]}
    assert changed == {*touched["customers_updated"], *touched["customers_created"]}
    fresh = truth.keys(account, "published_messages") - before["published_messages"]
    assert second.keys("published_messages") == fresh
    campaigns = {c["campaign_id"] for c in second.records("campaigns") if c["updated_at"]}
    assert campaigns == {
        *touched["campaigns_changed"],
        *touched["campaigns_rerun"],
        *touched["campaigns_published"],
    }
    for stream in ("campaign_runs", "run_messages"):
        read = {r["campaign_id"] for r in second.records(stream) if r["campaign_updated_at"]}
        assert read == campaigns, stream
    third = tap(state=second.state)
    assert third.records("published_messages") == []


def test_files_that_appear_after_a_run_come_with_the_next_one(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    touched = live_a_day(sandbox.account)
    latest = sandbox.account.campaigns[touched["campaigns_published"][0]].current_run
    late = latest.files.pop()
    latest.revealed -= 1
    first = tap()
    assert_stream(first, sandbox.account, "published_messages")
    latest.files.append(late)
    latest.revealed += 1
    second = tap(state=first.state)
    keys = {(late.campaign_id, late.run_number, late.number, n + 1) for n in range(late.row_count)}
    assert second.keys("published_messages") == keys


def test_files_that_appear_after_a_newer_run_has_begun_come_as_well(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    account = sandbox.account
    campaign = account.campaigns[live_a_day(account)["campaigns_published"][0]]
    older = campaign.current_run
    group = account.groups[older.customer_group_id or ""]
    runs.start(account, campaign, group, account.now, runs.Plan(files=2))
    runs.publish(campaign, account.now)
    campaign.current_run.revealed = 2
    late = older.files.pop()
    older.revealed -= 1
    first = tap()
    assert_stream(first, account, "published_messages")
    older.files.append(late)
    older.revealed += 1
    second = tap(state=first.state)
    found = first.keys("published_messages") | second.keys("published_messages")
    assert found == truth.keys(account, "published_messages")


def test_full_table_replication_from_the_catalog_sends_everything_again(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    first = tap()
    catalog = selecting(tap("--discover").messages[0], *KEYS)
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
    again = tap(state=first.state, catalog=catalog, emit_activate_version_messages=True)
    assert_whole(again, sandbox.account)
    versions = {m["stream"] for m in again.messages if m["type"] == "ACTIVATE_VERSION"}
    assert versions == set(KEYS)


def test_start_and_end_date_bound_a_backfill(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    start, end = "2025-09-01T00:00:00Z", "2026-01-01T00:00:00Z"
    run = tap(start_date=start, end_date=end)
    since, until = (datetime.fromisoformat(text) for text in (start, end))
    for stream in INCREMENTAL:
        stamps = [stamp(stream, record) for record in run.records(stream)]
        moments = [datetime.fromisoformat(text) for text in stamps if text]
        assert moments, stream
        assert all(since <= moment < until for moment in moments), stream
    expected = {
        customer_id
        for customer_id, customer in sandbox.account.customers.items()
        if customer.updated_at is None or since <= customer.updated_at < until
    }
    assert {c["customer_id"] for c in run.records("customers")} == expected


def test_backfills_by_parts_send_every_message_once(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    bounds = [None, "2025-09-01T00:00:00Z", "2025-12-15T00:00:00Z", "2026-02-01T00:00:00Z", None]
    sent: list[tuple[object, ...]] = []
    for start, end in pairwise(bounds):
        run = tap(start_date=start, end_date=end)
        assert run.code == 0, run.stderr
        sent += run.keys("published_messages")
        bookmark = run.state["bookmarks"]["published_messages"]["replication_key_value"]
        assert end is None or datetime.fromisoformat(bookmark) <= datetime.fromisoformat(end)
    assert len(sent) == len(set(sent))
    assert set(sent) == truth.keys(sandbox.account, "published_messages")


def test_lookback_days_read_again_what_is_recent(tap: Callable[..., Run], sandbox: Sandbox) -> None:
    first = tap()
    latest = max(c.updated_at for c in sandbox.account.customers.values() if c.updated_at)
    again = tap(state=first.state, lookback_days=30)
    expected = {
        customer_id
        for customer_id, customer in sandbox.account.customers.items()
        if customer.updated_at is None or customer.updated_at >= latest - timedelta(days=30)
    }
    assert {c["customer_id"] for c in again.records("customers")} == expected


def test_a_customer_that_appears_while_pages_are_read_is_sent(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    group = next(g for g in sandbox.account.groups.values() if len(g.customers) > 50)

    def appear(account: Account) -> None:
        for number in range(30):
            moment = account.now
            group.customers[f"late-{number}"] = Customer(f"late-{number}", {}, moment, moment)

    sandbox.inject(Fault("list_customers", "change", match=group.customer_group_id, then=appear))
    run = tap()
    assert run.code == 0, run.stderr
    assert_stream(run, sandbox.account, "customers")


@pytest.mark.parametrize(("after", "gone"), [(1, 1), (1, 30), (2, 1), (2, 3)])
def test_customers_deleted_while_pages_are_read_hide_nobody_else(
    tap: Callable[..., Run], sandbox: Sandbox, after: int, gone: int
) -> None:
    group = next(g for g in sandbox.account.groups.values() if len(g.customers) > 50)

    def vanish(account: Account) -> None:
        for customer_id in list(group.customers)[:gone]:
            del group.customers[customer_id]
            group.customers[f"new-{customer_id}"] = Customer("", {}, account.now, account.now)
            group.customers[f"new-{customer_id}"].customer_id = f"new-{customer_id}"

    sandbox.inject(
        Fault("list_customers", "change", after=after, match=group.customer_group_id, then=vanish)
    )
    run = tap(max_parallel_requests=1)
    assert run.code == 0, run.stderr
    sent = {(c["customer_group_id"], c["customer_id"]) for c in run.records("customers")}
    assert {key for key in truth.keys(sandbox.account, "customers") if "new-" not in key[1]} <= sent


def put_first(group: Group, account: Account) -> None:
    """Let a customer come before all others."""
    number = f"first-{len(group.customers)}"
    first = Customer(number, {}, account.now, account.now)
    group.customers = {number: first, **group.customers}


@pytest.mark.parametrize(("times", "code"), [(1, 0), (9, 1)])
def test_a_group_whose_customers_move_to_later_pages_is_read_again_or_stays_unfinished(
    tap: Callable[..., Run], sandbox: Sandbox, times: int, code: int
) -> None:
    group = next(g for g in sandbox.account.groups.values() if len(g.customers) > 50)
    named = group.customer_group_id
    sandbox.inject(
        Fault("list_customers", "change", times, 1, match=named, then=partial(put_first, group))
    )
    run = tap(max_parallel_requests=1)
    assert run.code == code, run.stderr
    unfinished = run.state["bookmarks"]["customers"].get("unfinished", {})
    assert set(unfinished) == ({named} if code else set())
    again = tap(state=run.state)
    sent = {
        (c["customer_group_id"], c["customer_id"])
        for c in [*run.records("customers"), *again.records("customers")]
    }
    assert truth.keys(sandbox.account, "customers") <= sent


def test_a_page_that_was_counted_and_is_empty_makes_the_group_unfinished(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    group = next(g for g in sandbox.account.groups.values() if len(g.customers) > 50)
    nobody: dict[str, Customer] = {}
    everybody = group.customers

    def show(customers: dict[str, Customer], _: Account) -> None:
        group.customers = customers

    named = group.customer_group_id
    sandbox.inject(
        Fault("count_customer_pages", "change", match=named, then=partial(show, everybody)),
        Fault("list_customers", "change", match='"page": 1', then=partial(show, nobody)),
    )
    run = tap(max_parallel_requests=1)
    group.customers = everybody
    assert run.code == 1
    assert "A page that was counted has no customers" in run.stderr
    assert named in run.state["bookmarks"]["customers"]["unfinished"]


def test_a_rerun_that_begins_while_files_are_read_does_not_pass_for_the_run_before(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    account = sandbox.account
    campaign = next(c for c in account.campaigns.values() if c.status == PUBLISHED)
    group = account.groups[campaign.current_run.customer_group_id or ""]

    def rerun(_: Account) -> None:
        runs.start(account, campaign, group, account.now, runs.Plan(files=3))
        runs.publish(campaign, account.now)
        campaign.current_run.revealed = 3

    known = truth.keys(account, "published_messages")
    named = f'"{campaign.campaign_id}"'
    # The first request for a file is discovery's, which reads a header.
    sandbox.inject(Fault("fetch_message_file", "change", after=1, match=named, then=rerun))
    first = tap(max_parallel_requests=1)
    assert campaign.runs[-1].published_at == account.now, "the rerun has begun"
    assert first.keys("published_messages") <= known
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    sent = {
        key_of("published_messages", record): record
        for run in (first, second)
        for record in run.records("published_messages")
    }
    columns = titles(second, "published_messages")
    for row in truth.rows(account, "published_messages"):
        record = sent[key_of("published_messages", row)]
        assert record[columns["Message ID"]] == row["Message ID"]


def test_keys_and_values_that_the_contract_does_not_know_are_kept(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    def change(account: Account) -> None:
        for group in account.groups.values():
            group.description = {"odd": 1}  # type: ignore[assignment]

    sandbox.inject(
        Fault("list_groups", "change", then=change),
        Fault("list_campaigns", "renamed_key", 9999, option="name=title"),
    )
    run = tap()
    assert run.code == 0, run.stderr
    groups = run.records("customer_groups")
    assert {str(group["description"]) for group in groups[1:]} == {"None"}
    assert groups[-1]["_extra"] == {"description": {"odd": 1}}
    assert "values of description do not have the property's type" in run.stderr
    campaigns = run.records("campaigns")
    assert all(campaign["name"] is None for campaign in campaigns)
    assert {campaign["_extra"]["title"] for campaign in campaigns} == {
        campaign.name for campaign in sandbox.account.campaigns.values()
    }


def test_a_campaign_that_is_gone_leaves_the_state(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    live_a_day(sandbox.account)
    first = tap()
    recent = first.state["bookmarks"]["published_messages"]["unfinished"]
    assert len(recent) == 2, "published within the last day"
    for campaign_id in recent:
        del sandbox.account.campaigns[campaign_id]
    second = tap(state=first.state)
    assert second.code == 0
    assert "unfinished" not in second.state["bookmarks"]["published_messages"]


def test_state_does_not_grow_with_the_account(tap: Callable[..., Run]) -> None:
    bookmarks = tap().state["bookmarks"]
    assert all(set(b) <= {"replication_key", "replication_key_value"} for b in bookmarks.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_account_is_sent_whole_as_well(tap: Callable[..., Run], seed: int) -> None:
    with Sandbox(make_account(seed, "small")) as other:
        run = tap(**other.config)
        assert run.code == 0, run.stderr
        assert_whole(run, other.account)


def test_an_account_without_reruns_skips_those_streams_and_reads_current_messages(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.rerun_enabled = False
    run = tap()
    assert run.code == 0, run.stderr
    assert run.stderr.count("does not have the rerun operations") == 2
    assert not run.records("campaign_runs")
    assert not run.records("run_messages")
    current = {
        (campaign.campaign_id, campaign.current_run.run_number)
        for campaign in sandbox.account.campaigns.values()
        if campaign.published_at
    }
    assert {key[:2] for key in run.keys("published_messages")} == current


@pytest.mark.parametrize("kind", ["not_found", "refused"])
def test_an_account_that_has_had_reruns_does_not_pass_for_one_without_them(
    tap: Callable[..., Run], sandbox: Sandbox, kind: Kind
) -> None:
    first = tap()
    for _ in range(2):  # the same campaign is run again twice
        live_a_day(sandbox.account)
    sandbox.inject(Fault("list_runs", kind, 9999))
    second = tap(state=first.state)
    assert second.code == 1
    assert all(stream in second.stderr.splitlines()[-1] for stream in READ_BY_RUNS)
    sandbox.faults.clear()
    third = tap(state=second.state)
    assert third.code == 0, third.stderr
    for stream in READ_BY_RUNS:
        sent = first.keys(stream) | second.keys(stream) | third.keys(stream)
        assert sent == truth.keys(sandbox.account, stream)


def test_messages_alone_remember_that_the_account_has_had_reruns(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    catalog = selecting(tap("--discover").messages[0], "published_messages")
    first = tap(catalog=catalog)
    for _ in range(2):
        live_a_day(sandbox.account)
    sandbox.inject(Fault("list_runs", "not_found", 9999))
    second = tap(catalog=catalog, state=first.state)
    assert second.code == 1
    sandbox.faults.clear()
    third = tap(catalog=catalog, state=second.state)
    assert third.code == 0, third.stderr
    sent = {key for run in (first, second, third) for key in run.keys("published_messages")}
    assert sent == truth.keys(sandbox.account, "published_messages")


def test_an_account_that_gets_reruns_is_read_whole(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.rerun_enabled = False
    first = tap()
    for _ in range(2):
        live_a_day(sandbox.account)
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    assert second.stderr.count("does not have the rerun operations") == 2
    sandbox.account.rerun_enabled = True
    third = tap(state=second.state)
    assert third.code == 0, third.stderr
    for stream in READ_BY_RUNS:
        assert third.keys(stream) == truth.keys(sandbox.account, stream)
    assert set(third.state["bookmarks"]["published_messages"]) <= {
        "replication_key",
        "replication_key_value",
        "unfinished",
    }


def test_a_run_that_could_not_tell_whether_there_are_reruns_says_nothing_to_the_next(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    sandbox.account.rerun_enabled = False
    sandbox.inject(Fault("list_runs", "server_error"))
    first = tap(max_tries=1)
    assert first.code == 1
    second = tap(state=first.state)
    assert second.code == 0, second.stderr
    assert second.stderr.count("does not have the rerun operations") == 2
    assert second.records("published_messages")


def test_validation_rules_of_any_json_type_are_json_text_in_one_column(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    rules = {field.field_id: field.validation_rules for field in sandbox.account.fields.values()}
    run = tap()
    assert run.schemas["profile_fields"]["properties"]["validation_rules"]["type"] == [
        "string",
        "null",
    ]
    seen = set()
    for record in run.records("profile_fields"):
        expected = rules[record["field_id"]]
        text = record["validation_rules"]
        assert (text if text is None else json.loads(text)) == expected
        assert record["_extra"] is None
        seen.add(type(expected))
    assert seen == {dict, list, str, int, bool, type(None)}


def test_a_stream_that_failed_lets_targets_delete_nothing(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    streams = ("workspaces", "customer_groups", "profile_fields", "campaigns")
    catalog = selecting(tap("--discover").messages[0], *streams)
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
    settings = {"catalog": catalog, "emit_activate_version_messages": True, "max_tries": 1}
    sandbox.inject(
        Fault("list_groups", "reported_failure", 9999),
        Fault("list_fields", "error_page", 9999, match=list(sandbox.account.workspaces)[1]),
    )
    run = tap(**settings)
    assert run.code == 1, run.stderr
    kinds = [(m["type"], m["stream"]) for m in run.messages if m["type"] != "STATE"]
    activated = [stream for kind, stream in kinds if kind == "ACTIVATE_VERSION"]
    assert sorted(activated) == ["campaigns", "workspaces"]
    assert run.counts["profile_fields"]
    for stream in activated:
        last = max(i for i, found in enumerate(kinds) if found == ("RECORD", stream))
        assert kinds.index(("ACTIVATE_VERSION", stream)) == last + 1
    assert run.stderr.count("no ACTIVATE_VERSION") == 2
    sandbox.faults.clear()
    whole = tap(**settings)
    activated = [m["stream"] for m in whole.messages if m["type"] == "ACTIVATE_VERSION"]
    assert sorted(activated) == sorted(streams)
