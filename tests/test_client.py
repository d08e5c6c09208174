"""The client by itself: what it sends, what it makes of answers, and when it tries again."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tap_nudgescribe import auth
from tap_nudgescribe.auth import NudgescribeAuthenticator, Session
from tap_nudgescribe.client import NudgescribeClient, profile_field
from tap_nudgescribe.errors import (
    AccessError,
    ApiError,
    BadRequestError,
    LoginError,
    MissingFieldsError,
    NetworkError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitError,
    ServerError,
    SettingsError,
    UploadRefusedError,
)
from tests.sandbox import Fault, Sandbox
from tests.sandbox.account import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_nudgescribe.transport import Exchange
    from tests.sandbox.faults import Kind


def client_of(sandbox: Sandbox, **config: Any) -> NudgescribeClient:
    client = NudgescribeClient.from_config(sandbox.config | {"max_tries": 2} | config)
    client.transport._sleep = lambda _: None  # noqa: SLF001 (tests do not wait)
    return client


@pytest.fixture
def client(sandbox: Sandbox) -> NudgescribeClient:
    return client_of(sandbox)


@pytest.fixture
def workspace(sandbox: Sandbox) -> str:
    return next(iter(sandbox.account.workspaces))


@pytest.fixture
def group(sandbox: Sandbox) -> str:
    return next(iter(sandbox.account.groups))


# Sessions


def test_many_threads_share_one_log_in(sandbox: Sandbox, client: NudgescribeClient) -> None:
    threads = [threading.Thread(target=client.list_campaigns) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.sessions.log_ins == 1


def test_a_session_is_renewed_before_it_ends(
    sandbox: Sandbox, client: NudgescribeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(0)
    monkeypatch.setattr(auth, "time", clock)
    client.list_campaigns()
    clock.passed = sandbox.sessions.token_seconds - 30
    client.list_campaigns()
    assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (1, 1)
    assert sandbox.count("list_campaigns") == 2


def test_a_session_that_the_server_ended_is_refreshed(
    sandbox: Sandbox, client: NudgescribeClient
) -> None:
    client.list_campaigns()
    sandbox.sessions.end_all()
    client.list_campaigns()
    assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (1, 1)


def test_a_refresh_that_is_refused_becomes_a_log_in(
    sandbox: Sandbox, client: NudgescribeClient
) -> None:
    client.list_campaigns()
    sandbox.sessions.end_all()
    sandbox.inject(Fault("refresh", "refused"))
    client.list_campaigns()
    assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (2, 0)


def test_a_refusal_that_no_session_mends_is_about_access(
    sandbox: Sandbox, client: NudgescribeClient
) -> None:
    sandbox.inject(Fault("list_campaigns", "refused", 99))
    with pytest.raises(AccessError, match="check the user's role"):
        client.list_campaigns()
    assert sandbox.count("list_campaigns") == 0
    assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (2, 1)


@pytest.mark.parametrize("secret", ["api_key", "password", "email"])
def test_a_refused_log_in_names_the_settings_and_no_value(sandbox: Sandbox, secret: str) -> None:
    client = client_of(sandbox, **{secret: "canary-wrong"})
    with pytest.raises(LoginError, match="settings api_key, email and password") as caught:
        client.list_campaigns()
    assert "canary" not in str(caught.value)


def test_nothing_shows_a_secret_of_itself(sandbox: Sandbox, client: NudgescribeClient) -> None:
    client.list_campaigns()
    session = client.authenticator.session()
    shown = repr((client, client.authenticator, session, client.options, vars(client)))
    for secret in (session.access_token, session.refresh_token, sandbox.config["password"]):
        assert str(secret) not in shown


def test_gateway_headers_are_sent_when_set_and_only_then(sandbox: Sandbox) -> None:
    sandbox.account.api_code = "code-1"
    with pytest.raises(AccessError, match="api_code or client_ip"):
        client_of(sandbox).list_campaigns()
    client_of(sandbox, api_code="code-1", client_ip="192.0.2.7").list_campaigns()


# Trying again


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "reset", "truncated"])
def test_a_read_is_tried_again_and_no_more_than_set(sandbox: Sandbox, kind: Kind) -> None:
    sandbox.inject(Fault("list_campaigns", kind, 2))
    with pytest.raises(ApiError):
        client_of(sandbox, max_tries=2).list_campaigns()
    sandbox.inject(Fault("list_campaigns", kind, 2))
    client_of(sandbox, max_tries=3).list_campaigns()


@pytest.mark.parametrize(
    ("option", "least", "most"), [("7", 7, 7), ("date", 1, 1), ("9999", 120, 120)]
)
def test_retry_after_is_honoured_and_clamped(
    sandbox: Sandbox, option: str, least: float, most: float
) -> None:
    waits: list[float] = []
    client = client_of(sandbox)
    client.transport._sleep = waits.append  # noqa: SLF001 (tests do not wait)
    sandbox.inject(Fault("list_campaigns", "rate_limited", option=option))
    client.list_campaigns()
    assert len(waits) == 1
    assert least <= waits[0] <= most


def test_a_request_budget_spaces_requests(sandbox: Sandbox, workspace: str) -> None:
    waits: list[float] = []
    client = client_of(sandbox, max_requests_per_second=1)
    client.transport._budget._sleep = waits.append  # noqa: SLF001 (tests do not wait)
    for _ in range(4):
        client.list_groups(workspace)
    assert len(waits) == 4, "the log-in is a request as well"
    assert 3 < max(waits) <= 4


CHANGES: dict[str, Callable[[NudgescribeClient, str, str], object]] = {
    "create_group": lambda client, workspace, _: client.create_group(workspace, "New"),
    "update_group": lambda client, workspace, group: client.update_group(
        workspace, group, name="Newer"
    ),
    "delete_group": lambda client, workspace, group: client.delete_group(workspace, group),
    "create_field": lambda client, workspace, _: client.create_field(workspace, "New", "string"),
    "delete_customers": lambda client, workspace, group: client.delete_customers(
        workspace, group, ["nobody"]
    ),
    "upload_customers": lambda client, workspace, group: client.upload_customers(
        workspace, group, [{"Customer Ref": "1"}]
    ),
}


@pytest.mark.parametrize("kind", ["reset_before", "truncated", "server_error", "invalid_json"])
@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_without_a_sound_answer_is_not_sent_again(
    sandbox: Sandbox, workspace: str, group: str, operation: str, kind: Kind
) -> None:
    sandbox.inject(Fault(operation, kind, 9))
    with pytest.raises(OutcomeUnknownError, match="Look at the account"):
        CHANGES[operation](client_of(sandbox, max_tries=5), workspace, group)
    assert sandbox.count(operation) == 1


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_that_was_not_taken_for_the_rate_is_sent_again(
    sandbox: Sandbox, client: NudgescribeClient, workspace: str, group: str, operation: str
) -> None:
    sandbox.inject(Fault(operation, "rate_limited", option="0"))
    CHANGES[operation](client, workspace, group)
    sandbox.inject(Fault(operation, "rate_limited", 9, option="0"))
    with pytest.raises(RateLimitError, match="max_requests_per_second"):
        CHANGES[operation](client, workspace, group)


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_that_got_no_connection_was_not_sent_and_is_tried_again(
    sandbox: Sandbox, workspace: str, group: str, operation: str
) -> None:
    waits: list[float] = []
    client = client_of(sandbox, max_tries=3)
    client.transport._sleep = waits.append  # noqa: SLF001 (tests do not wait)
    sandbox.inject(Fault("list_groups", "unreachable"))
    client.list_groups(workspace)
    with pytest.raises(NotSentError, match=r"connection refused.*nothing was sent") as caught:
        CHANGES[operation](client, workspace, group)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert (len(waits), sandbox.count(operation)) == (2, 0)
    sandbox.reopen()
    CHANGES[operation](client, workspace, group)
    assert sandbox.count(operation) == 1


@pytest.mark.parametrize("operation", CHANGES)
@pytest.mark.parametrize(
    ("kind", "error"),
    [("server_error", ServerError), ("reset", NetworkError), ("refused", LoginError)],
)
def test_a_change_whose_log_in_failed_was_not_sent(
    sandbox: Sandbox, group: str, operation: str, kind: Kind, error: type[ApiError]
) -> None:
    workspace = sandbox.account.groups[group].workspace_id
    sandbox.inject(Fault("login", kind, 99))
    with pytest.raises(error) as caught:
        CHANGES[operation](client_of(sandbox), workspace, group)
    assert caught.value.operation == "login"
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert sandbox.count(operation) == 0


def test_a_request_and_its_log_in_have_one_budget_of_tries(sandbox: Sandbox) -> None:
    waits: list[float] = []
    client = client_of(sandbox, max_tries=6)
    client.transport._sleep = waits.append  # noqa: SLF001 (tests do not wait)
    sandbox.inject(Fault("login", "server_error", 99))
    with pytest.raises(ServerError):
        client.list_campaigns()
    assert (sandbox.count("login"), len(waits)) == (6, 5)
    sandbox.faults[:] = [
        Fault("login", "server_error", 3),
        Fault("list_campaigns", "server_error", 99),
    ]
    with pytest.raises(ServerError):
        client.list_campaigns()
    assert (sandbox.count("login"), sandbox.count("list_campaigns")) == (6 + 4, 3)


def test_threads_that_wait_for_one_log_in_share_its_failure() -> None:
    waiting = threading.Event()
    failed: list[ApiError] = []
    log_ins = 0

    class Lock:
        """Says when the second thread has come to it."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            if threading.current_thread() is second:
                waiting.set()
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    def log_in() -> Session:
        nonlocal log_ins
        log_ins += 1
        second.start()
        assert waiting.wait(10)
        problem = "no answer"
        raise NetworkError(problem, operation="login")

    def call() -> None:
        with pytest.raises(NetworkError) as caught:
            authenticator.session()
        failed.append(caught.value)

    second = threading.Thread(target=call)
    authenticator = NudgescribeAuthenticator(log_in=log_in, refresh=lambda _: log_in())
    authenticator._lock = Lock()  # type: ignore[assignment] # noqa: SLF001
    call()
    second.join(10)
    assert (len(failed), log_ins) == (2, 1)


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_that_may_have_arrived_too_late_is_of_unknown_outcome(
    sandbox: Sandbox, client: NudgescribeClient, workspace: str, group: str, operation: str
) -> None:
    sandbox.inject(Fault(operation, "timed_out", 9))
    with pytest.raises(OutcomeUnknownError, match="408"):
        CHANGES[operation](client, workspace, group)


@pytest.mark.parametrize(("kind", "status"), [("conflict", 409), ("unprocessable", 422)])
@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_that_conflicts_or_is_not_processed_is_refused_with_its_own_message(
    sandbox: Sandbox, group: str, operation: str, kind: Kind, status: int
) -> None:
    workspace = sandbox.account.groups[group].workspace_id
    client = client_of(sandbox)
    sandbox.inject(Fault(operation, kind, 9))
    with pytest.raises(BadRequestError, match=str(status)) as caught:
        CHANGES[operation](client, workspace, group)
    assert caught.value.status == status
    assert sandbox.faults[0].times == 8


# What answers mean


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing_field", MissingFieldsError),
        ("not_found", NotFoundError),
        ("bad_request", BadRequestError),
    ],
)
def test_a_status_means_what_the_reference_says(
    sandbox: Sandbox, client: NudgescribeClient, workspace: str, kind: Kind, error: type[ApiError]
) -> None:
    sandbox.inject(Fault("list_groups", kind, 9))
    with pytest.raises(error) as caught:
        client.list_groups(workspace)
    assert "canary" not in str(caught.value)


def test_a_missing_field_is_named_by_the_fields_that_were_sent(
    sandbox: Sandbox, workspace: str
) -> None:
    client = client_of(sandbox, wire_names={"workspace_id": "ws"})
    with pytest.raises(MissingFieldsError, match=r"fields sent: ws\. .*wire_names"):
        client.list_groups(workspace)


def test_a_used_up_quota_is_no_outage(sandbox: Sandbox, client: NudgescribeClient) -> None:
    sandbox.account.publish_quota = 0
    ready = next(c for c in sandbox.account.campaigns.values() if c.status == PUBLISHED)
    with pytest.raises(QuotaError, match="quota is used up"):
        client.publish_messages(ready.campaign_id)
    assert sandbox.count("publish_messages") == 1


def test_every_request_is_observed(sandbox: Sandbox) -> None:
    seen: list[Exchange] = []
    client = NudgescribeClient.from_config(sandbox.config, observe=seen.append)
    client.list_campaigns()
    assert [(exchange.operation, exchange.status) for exchange in seen] == [
        ("login", 200),
        ("list_campaigns", 200),
    ]
    assert all(exchange.seconds > 0 for exchange in seen)


def test_plain_http_is_for_loopback_only(sandbox: Sandbox) -> None:
    elsewhere = {"api_url": "http://192.0.2.1/v1"}
    with pytest.raises(SettingsError, match="allow_insecure_http"):
        client_of(sandbox, **elsewhere)
    client_of(sandbox, **elsewhere, allow_insecure_http=True)


# Changes to the account


def test_groups_are_created_changed_and_deleted(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str
) -> None:
    created = client.create_group(workspace, "Winter", description="Cold")
    group_id = created["customer_group_id"]
    client.update_group(workspace, group_id, name="Summer")
    group = sandbox.account.groups[group_id]
    assert (group.name, group.description) == ("Summer", "Cold")
    client.delete_group(workspace, group_id)
    assert group_id not in sandbox.account.groups


def test_fields_are_created_changed_and_deleted(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str
) -> None:
    row = client.create_field(workspace, "Size", "enum", options=["S", "M"], display_name="Size")
    field = profile_field(workspace, row)
    assert (field.name, field.options) == ("Size", ("S", "M"))
    client.update_field(workspace, field.field_id, options=["S", "M", "L"], required=True)
    assert sandbox.account.fields[field.field_id].options == ["S", "M", "L"]
    client.delete_field(workspace, field.field_id)
    assert field.field_id not in sandbox.account.fields
    with pytest.raises(BadRequestError):
        client.create_field(workspace, "When", "Date")


@pytest.mark.parametrize("encoding", ["csv", "json"])
def test_an_upload_creates_and_updates_by_identifier(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str, group: str, encoding: str
) -> None:
    customers = sandbox.account.groups[group].customers
    known = next(iter(customers.values()))
    reference = str(known.profile["Customer Ref"])
    csv = f'Customer Ref,First Name\n{reference},"Née ""Ü"", 2"\nnew-1,Other\n'.encode()
    rows = [
        {"Customer Ref": reference, "First Name": 'Née "Ü", 2'},
        {"Customer Ref": "new-1", "First Name": "Other"},
    ]
    before = len(customers)
    dry = client.upload_customers(
        workspace, group, csv if encoding == "csv" else rows, validate_only=True
    )
    assert (dry.accepted, dry.created) == (2, None)
    assert len(customers) == before
    done = client.upload_customers(workspace, group, csv if encoding == "csv" else rows)
    assert (done.created, done.updated, done.job_id) == (1, 1, None)
    assert known.profile["First Name"] == 'Née "Ü", 2'


def test_a_refused_upload_names_rows_fields_and_codes_and_quotes_nothing(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str, group: str
) -> None:
    csv = b"Customer Ref,Loyalty Points,Birthday\nnew-1,many,31/02/2020\n,5,\n"
    with pytest.raises(UploadRefusedError) as caught:
        client.upload_customers(workspace, group, csv)
    problems = {(problem.row, problem.field, problem.code) for problem in caught.value.problems}
    assert problems == {
        (1, "Loyalty Points", "invalid_number"),
        (1, "Birthday", "invalid_date"),
        (2, None, "missing_identifier"),
    }
    assert "canary" not in repr(caught.value) + repr(caught.value.problems)
    assert not any(
        customer.profile["Customer Ref"] == "new-1"
        for customer in sandbox.account.customers.values()
    )


def test_a_large_upload_is_queued_and_done_later(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str, group: str
) -> None:
    sandbox.account.queue_above = 1
    rows = [{"Customer Ref": f"new-{number}"} for number in range(3)]
    before = len(sandbox.account.groups[group].customers)
    queued = client.upload_customers(workspace, group, rows)
    assert queued.job_id
    assert queued.created is None
    assert len(sandbox.account.groups[group].customers) == before
    for _ in range(sandbox.account.queue_wait):
        client.list_groups(workspace)
    assert len(sandbox.account.groups[group].customers) == before + 3


def test_customers_are_deleted_by_id(
    client: NudgescribeClient, sandbox: Sandbox, workspace: str, group: str
) -> None:
    customers = sandbox.account.groups[group].customers
    first, second, *_ = customers
    assert client.delete_customers(workspace, group, [first, second, "nobody"]) == 2
    assert first not in customers


def test_a_rerun_starts_a_run_against_another_group(
    client: NudgescribeClient, sandbox: Sandbox
) -> None:
    campaign = next(c for c in sandbox.account.campaigns.values() if c.status == PUBLISHED)
    groups = sandbox.account.groups_of(campaign.workspace_id)
    number = client.initiate_rerun(campaign.campaign_id, groups[-1].customer_group_id)
    assert campaign.current_run.run_number == number
    with pytest.raises(BadRequestError):
        client.initiate_rerun(campaign.campaign_id, groups[0].customer_group_id)


class Clock:
    """Stands for the module time: the wall clock is wrong, and time can be let pass."""

    def __init__(self, wrong: float) -> None:
        self.wrong = wrong
        self.passed = 0.0

    def time(self) -> float:
        return time.time() + self.wrong + self.passed

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


@pytest.mark.parametrize("tells_issue", [True, False])
@pytest.mark.parametrize("days", [-400, -15, 13.999, 14, 15, 400])
def test_a_wrong_clock_of_this_machine_renews_no_session(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, days: float, *, tells_issue: bool
) -> None:
    clock = Clock(days * 86_400)
    monkeypatch.setattr(auth, "time", clock)
    sandbox.sessions.tells_issue = tells_issue
    client = client_of(sandbox)
    for _ in range(5):
        client.list_campaigns()
    assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (1, 0)
    clock.passed = 14 * 86_400
    if tells_issue:
        for _ in range(3):
            client.list_campaigns()
        assert (sandbox.sessions.log_ins, sandbox.sessions.refreshes) == (1, 1)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "x"},
        {"exp": None},
        {"exp": True},
        {"exp": []},
        {"exp": -1},
        {"exp": 0},
        {"exp": 10**400},
        {"exp": 1e300, "iat": 1e300},
        {"exp": 1.5, "iat": 2.5},
        {"exp": "NaN"},
        {"exp": "Infinity", "iat": "-Infinity"},
        {"exp": 1e18, "iat": "x"},
    ],
)
def test_claims_that_are_nonsense_renew_no_session(claims: dict[str, Any]) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    made = []

    def log_in() -> auth.Session:
        made.append(1)
        return auth.Session(access_token=f"a.{payload}.c", server_time=1.7e9)

    authenticator = auth.NudgescribeAuthenticator(log_in=log_in, refresh=lambda _: log_in())
    for _ in range(5):
        authenticator.session()
    assert len(made) == 1
