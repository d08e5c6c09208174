"""Responses with a status of success that report a failure, or hold no content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.envelopes import find_failure
from tap_nudgescribe.errors import (
    AccessError,
    ApiError,
    BadRequestError,
    ConflictError,
    ContractError,
    LoginError,
    NotFoundError,
    OutcomeUnknownError,
    QuotaError,
    ReportedFailureError,
)
from tests.raw_server import RawServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES: list[dict[str, Any]] = [
    {"success": False, "error": "canary", "data": []},
    {"success": False, "data": []},
    {"success": "false", "data": []},
    {"success": 0, "data": []},
    {"ok": False, "data": []},
    {"isSuccess": False, "data": []},
    {"status": "error", "data": []},
    {"status": "FAILED", "data": []},
    {"status": "fail", "data": {"title": "canary"}},
    {"status": False, "data": []},
    {"status": "internal_server_error", "data": []},
    {"result": "failure", "data": []},
    {"error": {"message": "canary"}, "data": []},
    {"errors": [{"message": "canary"}], "data": None},
    {"errors": ["canary"]},
    {"error": True, "data": []},
    {"failed": True, "data": []},
    {"data": {"success": False, "rows": []}},
    {"meta": {"error": "canary"}, "data": []},
    {"errorMessage": "canary", "errorType": "canary", "data": []},
    {"message": "Internal server error"},
    {"message": "Endpoint request timed out"},
]

CODES: list[tuple[dict[str, Any], type[ApiError]]] = [
    ({"code": 404, "message": "canary"}, NotFoundError),
    ({"statusCode": "403", "data": []}, AccessError),
    ({"error": {"code": 400, "message": "canary"}}, BadRequestError),
    ({"error": "file not ready", "code": 409}, ConflictError),
    ({"status": 500, "data": []}, ApiError),
]

SUCCESSES: list[Any] = [
    {"data": []},
    {"data": None},
    {"data": None, "message": "No groups yet"},
    {"groups": None},
    {"success": True, "error": None, "data": []},
    {"success": "true", "errors": [], "data": []},
    {"ok": 1, "error": "", "data": []},
    {"status": "success", "code": 200, "data": []},
    {"status": 0, "data": []},
    {"status": "ok", "statusCode": "200", "errors": {}, "data": []},
    {"error": False, "errors": {"groups": []}, "data": []},
    {"warnings": ["canary"], "data": []},
    {"results": [], "errors": [], "warnings": []},
    {"message": "Groups listed, 0 errors", "data": []},
    [],
]


def client_of(server: RawServer, **config: Any) -> NudgescribeClient:
    client = NudgescribeClient.from_config(server.config | config)
    client.transport._sleep = lambda _: None  # noqa: SLF001 (tests do not wait)
    return client


def serving(response: Any) -> RawServer:
    return RawServer(lambda _: [answer(json.dumps(response).encode())])


READS: dict[str, Callable[[NudgescribeClient], object]] = {
    "list_campaigns": lambda client: client.list_campaigns(),
    "list_groups": lambda client: client.list_groups("w"),
    "list_fields": lambda client: client.list_fields("w"),
    "list_customers": lambda client: client.list_customers("w", "g", 1),
    "list_runs": lambda client: client.list_runs("c"),
    "list_run_messages": lambda client: client.list_run_messages("c", 1),
    "count_customer_pages": lambda client: client.count_customer_pages("w", "g"),
    "count_message_files": lambda client: client.count_message_files("c"),
    "message_file_url": lambda client: client.message_file_url("c", 1),
    "open_message_file": lambda client: client.open_message_file("c", 1),
}

CHANGES: dict[str, Callable[[NudgescribeClient], object]] = {
    "publish_messages": lambda client: client.publish_messages("c"),
    "initiate_rerun": lambda client: client.initiate_rerun("c", "g"),
    "delete_customers": lambda client: client.delete_customers("w", "g", ["1"]),
    "create_group": lambda client: client.create_group("w", "New"),
    "update_group": lambda client: client.update_group("w", "g", name="New"),
    "delete_group": lambda client: client.delete_group("w", "g"),
    "create_field": lambda client: client.create_field("w", "New", "string"),
    "update_field": lambda client: client.update_field("w", "f", required=True),
    "delete_field": lambda client: client.delete_field("w", "f"),
}


@pytest.mark.parametrize("response", FAILURES, ids=json.dumps)
def test_a_list_whose_envelope_reports_a_failure_is_not_empty_but_an_error(response: Any) -> None:
    with serving(response) as server:
        client = client_of(server, max_tries=2)
        with pytest.raises(ReportedFailureError, match="reports a failure") as caught:
            client.list_groups("w")
        assert "canary" not in str(caught.value)
        assert sum("/cg" in head for head in server.requests) == 2, "a read is tried again"


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize("response", [FAILURES[0], {"ok": 0, "pages": 0, "url": "https://x.org/"}])
def test_every_read_fails_with_an_envelope_that_does(operation: str, response: Any) -> None:
    with serving(response) as server, pytest.raises(ReportedFailureError):
        READS[operation](client_of(server))


@pytest.mark.parametrize("operation", CHANGES)
@pytest.mark.parametrize(
    "response",
    [
        FAILURES[0],
        {"message": "Internal server error"},
        {"success": False, "customer_group_id": "g", "field_id": "f"},
        "a text",
        [],
    ],
    ids=json.dumps,
)
def test_nobody_knows_what_became_of_a_change_whose_response_reports_a_failure(
    operation: str, response: Any
) -> None:
    with serving(response) as server:
        with pytest.raises(OutcomeUnknownError):
            CHANGES[operation](client_of(server, max_tries=3))
        assert len(server.requests) == 2, "a log-in, and the change once"


@pytest.mark.parametrize(("response", "error"), CODES, ids=str)
def test_a_status_in_the_envelope_means_what_it_means_as_a_status(
    response: Any, error: type[ApiError]
) -> None:
    with serving(response) as server, pytest.raises(error) as caught:
        client_of(server).list_groups("w")
    assert "canary" not in str(caught.value)


def test_a_refusal_in_the_envelope_renews_the_session() -> None:
    refusal = answer(b'{"statusCode": 403, "message": "canary"}')
    answers = iter([[refusal], [answer(b"[]")]])
    with RawServer(lambda _: next(answers)) as server:
        assert client_of(server).list_groups("w") == []
        assert sum("/auth" in head for head in server.requests) == 2


def test_a_quota_that_is_used_up_may_be_told_by_the_envelope() -> None:
    with serving({"success": False, "code": 503}) as server, pytest.raises(QuotaError):
        client_of(server).publish_messages("c")


def test_a_log_in_that_is_refused_by_the_envelope_is_tried_once() -> None:
    refusal = {"success": False, "message": "canary"}
    with RawServer(lambda _: [answer(b"[]")], logged_in=refusal) as server:
        with pytest.raises(LoginError):
            client_of(server, max_tries=4).list_groups("w")
        assert len(server.requests) == 1


@pytest.mark.parametrize("response", SUCCESSES, ids=json.dumps)
def test_an_empty_list_is_no_failure_every_night(response: Any) -> None:
    with serving(response) as server:
        assert client_of(server).list_groups("w") == []


G = {"customer_group_id": "g"}

PARTS: list[dict[str, Any]] = [
    {"data": [G], "total": 2},
    {"groups": [G], "totalCount": 403},
    {"data": [], "count": 1},
    {"data": {"groups": [G], "total_items": 2}},
    {"groups": {"items": [G], "total": 2}},
    {"data": [G], "has_more": True},
    {"data": [G], "pageInfo": {"hasNextPage": True, "endCursor": "x"}},
    {"data": [G], "next": "https://api.example.com/cg?page=2"},
    {"data": [G], "links": {"next": {"href": "/cg?page=2"}}},
    {"data": [G], "meta": {"next_cursor": "canary"}},
    {"data": [G], "nextPageToken": "canary"},
    {"data": [G], "next_page": 2},
    {"data": [G], "pagination": {"page": 1, "total_pages": 3}},
    {"content": [G], "page": {"size": 1, "totalElements": 3, "totalPages": 3}},
    {"data": [G], "truncated": True},
    {"data": [G], "complete": False},
]

WHOLE: list[Any] = [
    [G],
    {"data": [G], "total": 1},
    {"data": [G], "count": 1, "limit": 100, "page": 1},
    {"data": [G], "has_more": False, "next": None},
    {"data": [G], "links": {"next": None, "self": "/cg"}, "total_pages": 1},
    {"data": [G], "meta": {"next_cursor": "", "total": "many"}},
    {"data": [G | {"total": 5, "next": "x", "has_more": True, "done": False}]},
]


@pytest.mark.parametrize("response", PARTS, ids=json.dumps)
def test_a_list_that_says_that_there_is_more_is_not_all(response: dict[str, Any]) -> None:
    with serving(response) as server:
        client = client_of(server)
        with pytest.raises(ContractError, match="not all there is") as refused:
            client.list_groups("w")
        assert "canary" not in str(refused.value)
        listed = client.list_groups("w", partial=True)
        assert len(listed) == len(json.dumps(response).split("group_id")) - 1
        assert [each.missing for each in listed.malformed] == [True]


@pytest.mark.parametrize("response", WHOLE, ids=json.dumps)
def test_a_list_that_counts_its_rows_is_all(response: Any) -> None:
    with serving(response) as server:
        assert len(client_of(server).list_groups("w")) == 1


def test_a_page_of_customers_is_not_all_customers() -> None:
    with serving({"data": [{"customer_id": "c"}], "total": 403, "has_more": True}) as server:
        assert len(client_of(server).list_customers("w", "g", 1)) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_a_list_of_workspaces_may_count_campaigns(count: int) -> None:
    workspace = {"workspace_id": "w", "campaigns": [{"campaign_id": str(n)} for n in range(3)]}
    with serving({"data": [workspace], "total": count}) as server:
        listed = client_of(server).list_campaigns(partial=True)
        assert bool(listed.malformed) == (count > 3)


@pytest.mark.parametrize(
    "response",
    [
        {"status": "processing", "pages": 0},
        {"state": "in_progress", "total": 0},
        {"message": "export is being prepared", "pages": 0},
        {"message": "The export is not ready yet", "count": 0},
        {"data": {"status": "Pending", "pages": 0}},
        {"pages": 2, "ready": False},
        {"pages": 0, "completed": False},
    ],
    ids=json.dumps,
)
def test_a_count_that_is_not_final_is_none(response: Any) -> None:
    with serving(response) as server, pytest.raises(ContractError, match="not final"):
        client_of(server).count_message_files("c")


@pytest.mark.parametrize(
    "response",
    [
        {"status": "completed", "pages": 0},
        {"message": "Messages fetched", "pages": 0},
        {"campaign_id": "c", "status": "running", "pages": 0},
        {"pages": 0, "ready": True},
        {"status": "running", "pages": 2},
    ],
    ids=json.dumps,
)
def test_a_count_of_0_may_be_final(response: Any) -> None:
    with serving(response) as server:
        assert client_of(server).count_message_files("c") == response["pages"]


@pytest.mark.parametrize("key", ["error", "status", "success", "errors", "code", "failed"])
@pytest.mark.parametrize("value", ["error", False, 500, ["x"]])
@pytest.mark.parametrize("envelope", ["data", "groups", "results", None])
def test_columns_of_rows_are_not_signs_of_a_failure(
    key: str, value: Any, envelope: str | None
) -> None:
    rows = [{"customer_group_id": "g", key: value}]
    with serving({envelope: rows} if envelope else rows) as server:
        assert client_of(server).list_groups("w") == rows


def test_an_object_with_an_identifier_may_have_a_status_of_its_own() -> None:
    group = {"customer_group_id": "g", "status": "Failed", "code": 404}
    for response in (group, {"data": group}):
        with serving(response) as server:
            assert client_of(server).create_group("w", "New") == group


NO_LISTS: list[Any] = [
    {"errors": []},
    {"warnings": ["x"]},
    {"messages": []},
    {"links": []},
    {"message": "canary"},
    {},
    None,
    {"meta": {"rows": []}},
    {"results": [], "items": []},
]


@pytest.mark.parametrize("response", NO_LISTS, ids=json.dumps)
def test_a_list_that_is_not_content_is_no_list_of_rows(response: Any) -> None:
    with serving(response) as server, pytest.raises(ContractError, match="not a list"):
        client_of(server).list_groups("w")


@pytest.mark.parametrize(
    ("response", "count"),
    [
        (3, 3),
        ("3", 3),
        (3.0, 3),
        ({"pages": 3}, 3),
        ({"pages": "3", "total": 403}, 3),
        ({"data": 3}, 3),
        ({"data": {"pages": 3, "limit": 100}}, 3),
        ({"results": {"pages": 3}}, 3),
        ({"total_pages": 3, "total": 403}, 3),
        ({"count": 3}, 3),
        ({"total": 3, "message": "x"}, 3),
        ({"pages": 0}, 0),
        ({"message": "export is being prepared", "progress": 0}, None),
        ({"progress": 0}, None),
        ({"n": 3}, None),
        ({"total": 403, "page_size": 100}, None),
        ({"pages": None}, None),
        ({"pages": -1}, None),
        ({"pages": True}, None),
        ({"pages": 1.5}, None),
        ({"pages": "many"}, None),
        ({"pages": [1, 2]}, None),
        ({"data": None}, None),
        ([], None),
        ({}, None),
    ],
)
def test_a_count_is_read_from_where_a_count_belongs(response: Any, count: int | None) -> None:
    with serving(response) as server:
        client = client_of(server)
        if count is not None:
            assert client.count_message_files("c") == count
            return
        with pytest.raises(ContractError, match="not a number"):
            client.count_message_files("c")


ADDRESS = "https://files.example.com/1.csv?sig=canary"


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (ADDRESS, True),
        ({"url": ADDRESS}, True),
        ({"data": ADDRESS}, True),
        ({"data": {"url": ADDRESS, "message": "x"}}, True),
        ({"message": "done", "download_url": ADDRESS}, True),
        ({"message": "not ready"}, False),
        ({"url": "pending"}, False),
        ({"url": None, "message": "not ready"}, False),
        ("not ready", False),
        ({"url": ""}, False),
        ({"a": ADDRESS, "b": ADDRESS}, False),
        ({}, False),
    ],
)
def test_a_url_is_an_http_url(response: Any, *, found: bool) -> None:
    with serving(response) as server:
        client = client_of(server)
        if found:
            assert client.message_file_url("c", 1) == ADDRESS
            return
        with pytest.raises(ContractError, match="not a URL") as caught:
            client.message_file_url("c", 1)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>Sign in</body></html>", b"[] more", b"[]]", b"OK", b"[", b"\x1f"]
)
def test_a_body_that_is_not_json_is_no_answer(body: bytes) -> None:
    with RawServer(lambda _: [answer(body)]) as server:
        with pytest.raises(ContractError, match=r"The answer is "):
            client_of(server).list_groups("w")
        with pytest.raises(OutcomeUnknownError):
            client_of(server).delete_group("w", "g")


def test_no_content_is_an_answer_to_a_change_and_to_no_read() -> None:
    with RawServer(lambda _: [answer(b"", "204 No Content")]) as server:
        client_of(server).delete_group("w", "g")
        for read in READS.values():
            with pytest.raises(ContractError):
                read(client_of(server))


@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early"])
def test_a_request_that_was_not_waited_for_is_sent_again_if_it_changes_nothing(
    status: str,
) -> None:
    answers = iter([[answer(b"", status)], [answer(b"[]")], [answer(b"", status)]])
    with RawServer(lambda _: next(answers)) as server:
        assert client_of(server, max_tries=2).list_groups("w") == []
        with pytest.raises(OutcomeUnknownError):
            client_of(server, max_tries=2).delete_group("w", "g")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=7), inner),
    max_leaves=8,
)


@given(rows=st.lists(st.dictionaries(st.sampled_from(["error", "status", "id"]), JSON)))
def test_a_list_never_reports_a_failure_and_a_false_success_always_does(rows: Any) -> None:
    assert find_failure(rows) is None
    assert find_failure({"data": rows}) is None
    assert find_failure({"data": rows, "success": False}) is not None
