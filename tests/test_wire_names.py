"""The setting ``wire_names``: names by key, object and operation, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.errors import ContractError, SettingsError
from tap_nudgescribe.records import EXTRA, EXTRA_PROPERTY, RecordReader
from tap_nudgescribe.wire import Wire
from tests.raw_server import RawServer, answer
from tests.test_hostile_api import client_of

if TYPE_CHECKING:
    from tests.sandbox import Sandbox

IDS = {"workspace.workspace_id": "id", "campaign.campaign_id": "id"}


def test_one_key_means_one_thing_by_object_in_one_answer() -> None:
    campaigns = [{"id": "c", "name": "n", "profile": {"id": 1}, "other": {"id": 2}}]
    read = Wire(IDS).answer("list_campaigns", {"data": [{"id": "w", "campaigns": campaigns}]})
    campaign = {"campaign_id": "c", "name": "n", "profile": {"id": 1}, "other": {"id": 2}}
    assert read == {"data": [{"workspace_id": "w", "campaigns": [campaign]}]}


def test_a_list_inside_an_object_may_have_an_envelope() -> None:
    sent = [{"id": "w", "campaigns": {"data": {"items": [{"id": "c"}]}}}]
    read = Wire(IDS).answer("list_campaigns", sent)
    inner = {"data": {"items": [{"campaign_id": "c"}]}}
    assert read == [{"workspace_id": "w", "campaigns": inner}]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"run_number": "a"}, ("a", "a")),
        ({"run_number": "a", "run_message.run_number": "b"}, ("a", "b")),
        ({"run_number": "a", "list_run_messages.run_number": "c"}, ("c", "c")),
        ({"run_message.run_number": "b", "list_run_messages.run_number": "c"}, ("c", "c")),
        (
            {
                "list_run_messages.run_number": "c",
                "list_run_messages.run_message.run_number": "run_number",
            },
            ("c", "run_number"),
        ),
        ({"list_runs.run_number": "d", "run.run_number": "e"}, ("run_number", "run_number")),
    ],
)
def test_the_most_specific_name_holds(names: dict[str, str], expected: tuple[str, str]) -> None:
    request, reply = expected
    wire = Wire(names)
    assert wire.request("list_run_messages", {"campaign_id": "c", "run_number": 3}) == {
        "campaign_id": "c",
        request: 3,
    }
    assert wire.answer("list_run_messages", [{reply: 3}]) == [{"run_number": 3}]


def test_an_object_s_names_hold_in_what_creates_and_changes_it_but_not_its_id() -> None:
    wire = Wire({"profile_field.field_name": "key", "profile_field.field_id": "id"})
    body = {"workspace_id": "w", "field_name": "n", "field_type": "string"}
    assert wire.request("create_field", body) == body | {"key": body.pop("field_name")}
    assert wire.request("update_field", {"field_id": "f"}) == {"field_id": "f"}
    assert wire.request("delete_field", {"field_id": "f"}) == {"field_id": "f"}
    assert wire.answer("create_field", {"id": "f"}) == {"field_id": "f"}


def test_names_of_refusals_and_of_a_data_file_can_be_corrected() -> None:
    wire = Wire({"upload_problem.row": "line", "upload_customers.file": "upload"})
    read = wire.refusal("upload_customers", {"message": "m", "errors": [{"line": 3}]})
    assert read == {"message": "m", "errors": [{"row": 3}]}
    assert wire.request_key("upload_customers", "file") == "upload"


def test_an_envelope_s_own_id_is_not_the_object_s() -> None:
    wire = Wire({"customer_group.customer_group_id": "id"})
    sent = {"id": "request-1", "data": {"id": "g", "name": "n"}}
    read = wire.answer("create_group", sent)
    assert read == {"id": "request-1", "data": {"customer_group_id": "g", "name": "n"}}


def test_a_key_of_ours_that_means_something_else_is_kept_in_extra() -> None:
    """Both keys, and ours alone: nothing is dropped, and one column never mixes two fields."""
    wire = Wire({"campaign.name": "title"})
    sent = [{"campaigns": [{"title": "T", "name": "code"}, {"name": "code"}, {"wire_name": 1}]}]
    (workspace,) = wire.answer("list_campaigns", sent)
    first, second, third = workspace["campaigns"]
    assert first == {"name": "T", "wire_name": "code"}
    assert second == {"wire_name": "code"}
    assert third == {"wire_name": 1}
    properties = {"name": {"type": ["string", "null"]}, EXTRA: EXTRA_PROPERTY}
    reader = RecordReader(properties, keys=[], operation="o")
    assert reader.read(first) == {"name": "T", "_extra": {"wire_name": "code"}}
    (workspace,) = wire.answer(
        "list_campaigns", [{"campaigns": [{"name": "x", "title": "T", "wire_name": "y"}]}]
    )
    assert workspace["campaigns"] == [{"name": "T", "wire_name": "y", "wire_wire_name": "x"}]


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "unknown key": ({"custmer_group_id": "x"}, r"did you mean 'customer_group_id'"),
    "unknown object": ({"campain.campaign_id": "id"}, r"did you mean 'campaign\.campaign_id'"),
    "key of another object": ({"run.message_id": "id"}, r"'run_message\.message_id'"),
    "unknown everything": ({"zzz.qqq": "id"}, r"'zzz\.qqq' is not a name of the contract;? ?"),
    "no component of ours": ({"error.message": "m"}, r"not a name of the contract"),
    "inside a free-form object": ({"profile.age": "a"}, r"not a name of the contract"),
    "empty name": ({"campaign_id": ""}, r"'campaign_id' is empty"),
    "blank name": ({"campaign_id": " "}, r"'campaign_id' is empty"),
    "spaces around": ({"campaign_id": " id"}, r"spaces around"),
    "empty key": ({"": "id"}, r"'' is not a name"),
    "two keys, one name": (
        {"campaign_id": "id", "customer_group_id": "id"},
        r"campaign_id and customer_group_id would both be 'id'",
    ),
    "two keys by object and key": (
        {"campaign.campaign_id": "id", "customer_group_id": "id"},
        r"campaign: campaign_id and customer_group_id would both be 'id'",
    ),
    "a request's two keys": (
        {"list_customers.workspace_id": "id", "list_customers.customer_group_id": "id"},
        r"list_customers: workspace_id and customer_group_id",
    ),
    "another key of ours": ({"campaign.name": "status"}, r"'status', which is a key of its own"),
    "a cycle by key": (
        {"campaign_id": "customer_group_id", "customer_group_id": "campaign_id"},
        r"campaign_id → customer_group_id → campaign_id is a cycle",
    ),
    "a cycle by operation": (
        {"list_campaigns.name": "status", "list_campaigns.status": "name"},
        r"name → status → name is a cycle",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_that_cannot_hold_are_refused_before_anything_is_sent(
    sandbox: Sandbox, case: str
) -> None:
    names, problem = REFUSED[case]
    with pytest.raises(SettingsError, match=problem) as caught:
        NudgescribeClient.from_config(sandbox.config | {"wire_names": names})
    assert "wire_names" in str(caught.value)
    assert sandbox.requests == []


def test_many_wrong_names_are_listed_in_bounds() -> None:
    names = {f"wrong_{'x' * 1000}_{number}": "x" for number in range(1000)}
    with pytest.raises(SettingsError, match="and 995 more") as caught:
        Wire(names)
    assert len(str(caught.value)) < 1500


def test_an_exchange_within_one_object_is_clear() -> None:
    wire = Wire({"campaign.name": "status", "campaign.status": "name"})
    (workspace,) = wire.answer("list_campaigns", [{"campaigns": [{"name": "n", "status": "s"}]}])
    assert workspace["campaigns"] == [{"status": "n", "name": "s"}]


def test_a_chain_of_names_is_clear() -> None:
    wire = Wire({"campaign.name": "status", "campaign.status": "state"})
    (workspace,) = wire.answer("list_campaigns", [{"campaigns": [{"status": "n", "state": "s"}]}])
    assert workspace["campaigns"] == [{"name": "n", "status": "s"}]


def test_a_row_with_our_key_where_the_account_has_another_is_an_error() -> None:
    content = json.dumps([{"customer_group_id": "g"}]).encode()
    with RawServer(lambda _: [answer(content)]) as server:
        client = client_of(server, wire_names={"customer_group.customer_group_id": "id"})
        with pytest.raises(ContractError):
            client.list_groups("w")
