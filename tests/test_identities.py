"""Identifiers are text and run numbers whole numbers, whatever form the API gives them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.errors import ContractError
from tap_nudgescribe.identities import listing
from tests.expectation import assert_whole
from tests.sandbox import Fault, Sandbox, make_account, truth
from tests.tap_run import in_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Run
    from tests.sandbox.account import Campaign

NO_IDS = [501.0, 1.5, True, False, None, {"id": 501}, [501], "", "  ", "\t\n", "x" * 2000, 10**2000]
NO_RUN_NUMBERS = [1.5, True, None, {"n": 1}, [1], "", "one", "1.0", "-1", -1, "\u0661"]


@pytest.fixture
def read(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> Callable[..., Run]:
    """Return a function that runs the tap in this process."""

    return in_process(sandbox, caplog)


@pytest.fixture
def published(sandbox: Sandbox) -> list[Campaign]:
    return [campaign for campaign in sandbox.account.campaigns.values() if campaign.published_at]


# An account whose ids are numbers


class TestNumbers:
    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        with Sandbox(make_account(7, "small", numeric_ids=True)) as running:
            yield running

    def test_every_stream_has_text_ids_and_keeps_to_its_schema(
        self, read: Callable[..., Run], sandbox: Sandbox
    ) -> None:
        run = read()
        assert run.code == 0, run.stderr
        assert_whole(run, sandbox.account)
        for message in run.messages:
            for name, value in message.get("record", {}).items():
                if name.endswith("_id"):
                    assert isinstance(value, str | None), (message["stream"], name)

    def test_what_failed_is_read_by_the_next_run(
        self, read: Callable[..., Run], sandbox: Sandbox
    ) -> None:
        account = sandbox.account
        failing = next(c for c in account.campaigns.values() if c.published_at).campaign_id
        group = next(g for g in account.groups.values() if g.customers).customer_group_id
        sandbox.inject(
            Fault("count_message_files", "not_found", 999, match=failing),
            Fault("list_run_messages", "not_found", 999, match=failing),
            Fault("list_customers", "not_found", 999, match=group),
        )
        first = read()
        assert first.code == 1
        for stream, part in {
            "published_messages": failing,
            "run_messages": failing,
            "customers": group,
        }.items():
            assert list(first.state["bookmarks"][stream]["unfinished"]) == [part]
        sandbox.faults.clear()
        second = read(state=first.state)
        assert second.code == 0, second.stderr
        for stream in truth.KEYS:
            assert first.keys(stream) | second.keys(stream) == truth.keys(account, stream)

    def test_a_state_with_keys_from_numbers_is_understood(
        self, read: Callable[..., Run], sandbox: Sandbox
    ) -> None:
        """Older versions wrote the number itself as key, which JSON makes text of."""
        first = read()
        campaign = next(c for c in sandbox.account.campaigns.values() if c.published_at)
        state = first.state
        since = {"since": None, "run_number": 0, "file_number": 0}
        unfinished = json.loads(json.dumps({int(campaign.campaign_id): since}))
        state["bookmarks"]["published_messages"]["unfinished"] = unfinished
        second = read(state=state)
        assert second.code == 0
        assert second.keys("published_messages") == {
            key
            for key in truth.keys(sandbox.account, "published_messages")
            if key[0] == campaign.campaign_id
        }

    def test_a_workspace_that_is_named_by_number_is_the_same(
        self, read: Callable[..., Run], sandbox: Sandbox
    ) -> None:
        first = next(iter(sandbox.account.workspaces))
        hidden = sandbox.account.hidden_workspace_id
        run = read(workspace_ids=[hidden, first, hidden])
        assert run.code == 0
        assert_whole(run, sandbox.account)

    def test_a_second_run_without_changes_sends_no_message_again(
        self, read: Callable[..., Run]
    ) -> None:
        state = read().state
        second = read(state=state)
        assert second.code == 0
        assert not second.records("published_messages")


# One row without a usable id


def edited(operation: str, spoil: Callable[[list[dict[str, Any]]], object]) -> Fault:
    def edit(answer: Any) -> Any:
        spoil(answer)
        return answer

    return Fault(operation, "edited", 999, edit=edit)


def without(account_rows: set[tuple[Any, ...]], value: object) -> set[tuple[Any, ...]]:
    return {key for key in account_rows if value not in key}


@pytest.mark.parametrize("bad", NO_IDS, ids=lambda value: repr(value)[:12])
def test_what_is_not_an_id_is_named_without_its_value(bad: object) -> None:
    found = listing("list_groups", "CustomerGroup", [{"customer_group_id": bad}])
    assert not found
    with pytest.raises(ContractError, match=r"list_groups: .* as its customer_group_id") as caught:
        found.whole()
    assert not str(bad).strip() or str(bad) not in str(caught.value).replace("null", "")


@pytest.mark.parametrize("bad", NO_RUN_NUMBERS, ids=repr)
def test_what_is_not_a_run_number_is_named(bad: object) -> None:
    found = listing("list_runs", "Run", [{"run_number": bad}, {"run_number": "7"}])
    assert [row["run_number"] for row in found] == [7]
    with pytest.raises(ContractError, match=r"list_runs: .* as its run_number"):
        found.whole()


@pytest.mark.parametrize("bad", [None, 501.0])
def test_a_campaign_without_a_usable_id_fails_alone_and_comes_once_it_has_one(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign], bad: object
) -> None:
    account, lost = sandbox.account, published[0].campaign_id

    def spoil(workspaces: list[dict[str, Any]]) -> None:
        for campaign in (c for w in workspaces for c in w["campaigns"]):
            if campaign["campaign_id"] == lost:
                campaign["campaign_id"] = bad

    sandbox.inject(edited("list_campaigns", spoil))
    first = read()
    assert first.code == 1
    assert "list_campaigns: A row has" in first.stderr
    assert "as its campaign_id" in first.stderr
    for stream in truth.KEYS:
        assert first.keys(stream) == without(truth.keys(account, stream), lost), stream
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    for stream in truth.KEYS:
        assert first.keys(stream) | second.keys(stream) == truth.keys(account, stream), stream


@pytest.mark.parametrize("operation", ["list_groups", "list_fields"])
def test_a_group_or_field_without_a_usable_id_fails_alone(
    read: Callable[..., Run], sandbox: Sandbox, operation: str
) -> None:
    account = sandbox.account
    stream, key = {
        "list_groups": ("customer_groups", "customer_group_id"),
        "list_fields": ("profile_fields", "field_id"),
    }[operation]
    lost = truth.rows(account, stream)[0][key]

    def spoil(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row[key] == lost:
                row[key] = None
        rows.append(None)  # type: ignore[arg-type]
        rows.append("nonsense")  # type: ignore[arg-type]

    sandbox.inject(edited(operation, spoil))
    first = read()
    assert first.code == 1
    assert f"as its {key}" in first.stderr
    for name in truth.KEYS:
        expected = without(truth.keys(account, name), lost)
        assert first.keys(name) == expected, name
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    for name in truth.KEYS:
        assert first.keys(name) | second.keys(name) == truth.keys(account, name)


@pytest.mark.parametrize("bad", [None, {"x": 1}])
def test_a_customer_without_a_usable_id_fails_its_group_and_no_other_row(
    read: Callable[..., Run], sandbox: Sandbox, bad: object
) -> None:
    account = sandbox.account
    group = next(g for g in account.groups.values() if g.customers)
    lost = list(group.customers)[3]

    def spoil(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["customer_id"] == lost:
                row["customer_id"] = bad

    sandbox.inject(edited("list_customers", spoil))
    first = read()
    assert first.code == 1
    assert f"customer group {group.customer_group_id}: list_customers: A row has" in first.stderr
    assert first.keys("customers") == without(truth.keys(account, "customers"), lost)
    assert group.customer_group_id in first.state["bookmarks"]["customers"]["unfinished"]
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    assert first.keys("customers") | second.keys("customers") == truth.keys(account, "customers")


@pytest.mark.parametrize("bad", [None, "one"])
def test_a_run_without_a_usable_number_fails_its_campaign_alone(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign], bad: object
) -> None:
    account, campaign = sandbox.account, published[0]

    def spoil(runs: list[dict[str, Any]]) -> None:
        runs[0]["run_number"] = bad

    fault = edited("list_runs", spoil)
    fault.match = campaign.campaign_id
    sandbox.inject(fault)
    first = read()
    assert first.code == 1
    assert "as its run_number" in first.stderr
    for stream in truth.KEYS:
        expected = truth.keys(account, stream)
        if stream in {"campaign_runs", "run_messages", "published_messages"}:
            expected = without(expected, campaign.campaign_id)
            unfinished = first.state["bookmarks"][stream]["unfinished"]
            assert list(unfinished) == [campaign.campaign_id]
        assert first.keys(stream) == expected, stream
    sandbox.faults.clear()
    second = read(state=first.state)
    assert second.code == 0
    for stream in truth.KEYS:
        assert first.keys(stream) | second.keys(stream) == truth.keys(account, stream)


def test_the_campaigns_number_of_its_run_may_be_text_and_garbage_fails_it_alone(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign]
) -> None:
    account = sandbox.account
    account.rerun_enabled = False
    good, bad = published[0], published[1]

    def spoil(workspaces: list[dict[str, Any]]) -> None:
        for campaign in (c for w in workspaces for c in w["campaigns"]):
            campaign["run_number"] = str(campaign["run_number"])
            if campaign["campaign_id"] == bad.campaign_id:
                campaign["run_number"] = {"number": 1}

    sandbox.inject(edited("list_campaigns", spoil))
    run = read()
    assert run.code == 1
    numbers = {(key[0], key[1]) for key in run.keys("published_messages")}
    assert (good.campaign_id, good.current_run.run_number) in numbers
    assert not any(campaign_id == bad.campaign_id for campaign_id, _ in numbers)
    unfinished = run.state["bookmarks"]["published_messages"]["unfinished"]
    assert list(unfinished) == [bad.campaign_id]
    records = {record["campaign_id"]: record for record in run.records("campaigns")}
    assert records[bad.campaign_id]["run_number"] is None
    assert records[bad.campaign_id]["_extra"] == {"run_number": {"number": 1}}


@pytest.mark.parametrize("campaigns", [None, "none", {"campaign_id": "x"}])
def test_what_a_workspace_has_instead_of_campaigns_concerns_it_alone(
    read: Callable[..., Run], sandbox: Sandbox, campaigns: object
) -> None:
    account = sandbox.account
    first, second, _ = account.workspaces
    gone = {campaign.campaign_id for campaign in account.campaigns_of(first)}

    def spoil(workspaces: list[dict[str, Any]]) -> None:
        workspaces[0]["campaigns"] = campaigns

    sandbox.inject(edited("list_campaigns", spoil))
    run = read()
    assert run.code == (0 if not campaigns else 1)
    assert run.keys("workspaces") == truth.keys(account, "workspaces")
    assert run.keys("customers") == truth.keys(account, "customers")
    assert (
        run.keys("campaigns")
        == {(each.campaign_id,) for each in account.campaigns_of(second)}
        == {key for key in truth.keys(account, "campaigns") if key[0] not in gone}
    )
    if campaigns:
        assert "replication_key_value" not in run.state["bookmarks"].get("campaigns", {})


def test_values_between_the_rows_are_reported_and_cost_no_row(
    read: Callable[..., Run], sandbox: Sandbox
) -> None:
    def spoil(workspaces: list[Any]) -> None:
        workspaces[0]["campaigns"] += [None, 5, "text", []]
        workspaces += [None, "text"]

    sandbox.inject(edited("list_campaigns", spoil))
    run = read()
    assert run.code == 1
    for stream in truth.KEYS:
        assert run.keys(stream) == truth.keys(sandbox.account, stream)


def test_an_unfinished_campaign_is_not_forgotten_while_a_row_has_no_id(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign]
) -> None:
    lost = published[0].campaign_id
    sandbox.inject(Fault("count_message_files", "not_found", 999, match=lost))
    first = read()
    assert lost in first.state["bookmarks"]["published_messages"]["unfinished"]
    sandbox.faults.clear()

    def spoil(workspaces: list[dict[str, Any]]) -> None:
        for campaign in (c for w in workspaces for c in w["campaigns"]):
            if campaign["campaign_id"] == lost:
                campaign["campaign_id"] = None

    sandbox.inject(edited("list_campaigns", spoil))
    second = read(state=first.state)
    assert second.code == 1
    sandbox.faults.clear()
    third = read(state=second.state)
    assert third.code == 0
    sent = [run.keys("published_messages") for run in (first, second, third)]
    assert set().union(*sent) == truth.keys(sandbox.account, "published_messages")


# Rows with the same id


def test_a_row_that_comes_twice_counts_once_and_different_rows_with_one_id_fail() -> None:
    rows = [
        {"campaign_id": 501, "name": "a"},
        {"campaign_id": "501", "name": "a"},
        {"campaign_id": 502, "name": "b"},
        {"campaign_id": "502", "name": "c"},
        {"campaign_id": "502", "name": "d"},
        {"campaign_id": "x", "name": "e"},
    ]
    found = listing("list_campaigns", "Campaign", rows)
    assert [row["campaign_id"] for row in found] == ["501", "x"]
    assert len(found.malformed) == 3
    with pytest.raises(ContractError, match="list_campaigns: Several different rows"):
        found.whole()


def test_a_campaign_that_is_listed_in_two_ways_fails_alone(
    read: Callable[..., Run], sandbox: Sandbox, published: list[Campaign]
) -> None:
    lost = published[0].campaign_id

    def spoil(workspaces: list[dict[str, Any]]) -> None:
        for workspace in workspaces:
            for campaign in list(workspace["campaigns"]):
                if campaign["campaign_id"] == lost:
                    workspace["campaigns"].append(campaign | {"name": "another"})

    sandbox.inject(edited("list_campaigns", spoil))
    run = read()
    assert run.code == 1
    expected = without(truth.keys(sandbox.account, "published_messages"), lost)
    assert run.keys("published_messages") == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)


@given(st.lists(st.tuples(json_values, json_values), max_size=6))
def test_any_value_as_an_id_costs_no_other_row(values: list[tuple[Any, Any]]) -> None:
    rows: list[Any] = [{"message_id": one, "run_number": other} for one, other in values]
    good = {"message_id": "good", "run_number": "3"}
    found = listing("list_run_messages", "RunMessage", [*rows, dict(good)])
    assert {"message_id": "good", "run_number": 3} in found or any(
        one == "good" for one, _ in values
    )
    ids = Counter(row["message_id"] for row in found)
    assert all(isinstance(each, str) and each.strip() for each in ids)
    assert not ids or max(ids.values()) == 1
    assert len(found) + len(found.malformed) <= len(rows) + 1
    for malformed in found.malformed:
        assert malformed.error.operation == "list_run_messages"
        assert "message_id" in str(malformed.error)
