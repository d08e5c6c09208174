"""The Client API, one method an operation: the only room that knows its wire names.

Usable by itself::

    from tap_nudgescribe.client import Credentials, NudgescribeClient
    from tap_nudgescribe.transport import ConnectionOptions

    client = NudgescribeClient(
        Credentials(api_key="…", email="…", password="…"),
        ConnectionOptions(api_url="https://client-api.nudgescribe.com/v1"),
    )
    for workspace in client.list_campaigns():
        print(workspace["workspace_id"], len(workspace["campaigns"]))

What the names mean, and which of them are only assumed, is in ``contract.yaml``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase

from tap_nudgescribe import envelopes, errors
from tap_nudgescribe.auth import NudgescribeAuthenticator, Session
from tap_nudgescribe.profile import ProfileField
from tap_nudgescribe.transport import ConnectionOptions, Exchange, Operation, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    import requests

    from tap_nudgescribe.envelopes import Row

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(name="login", method="POST", path="/auth"),
        Operation(name="refresh", method="GET", path="/auth"),
        Operation(name="list_campaigns", method="POST", path="/campaign/all"),
        Operation(
            name="publish_messages", method="POST", path="/messages/publish", repeatable=False
        ),
        Operation(name="count_message_files", method="POST", path="/messages/pages"),
        Operation(name="fetch_message_file", method="POST", path="/messages/fetch"),
        Operation(name="list_runs", method="POST", path="/campaign/rerun/history"),
        Operation(name="list_run_messages", method="POST", path="/campaign/rerun/messages"),
        Operation(name="count_customer_pages", method="POST", path="/customer/pages"),
        Operation(name="list_customers", method="POST", path="/customer"),
        Operation(name="list_groups", method="POST", path="/cg"),
        Operation(name="list_fields", method="POST", path="/cpf"),
    )
}


PROFILE_FIELD_KEYS = ("field_id", "field_name", "field_type")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a log-in needs, and the headers that some accounts' gateways ask for."""

    api_key: str = field(repr=False)
    email: str = field(repr=False)
    password: str = field(repr=False)
    api_code: str | None = field(default=None, repr=False)
    client_ip: str | None = field(default=None, repr=False)

    @property
    def gateway_headers(self) -> dict[str, str]:
        """Headers beside the bearer: none unless set (documented, with a conflict)."""
        headers = {}
        if self.api_code:
            headers["x-auth-context"] = json.dumps({"api_access": True, "api_code": self.api_code})
        if self.client_ip:
            headers["x-ip"] = self.client_ip
        return headers


class NudgescribeClient:
    """Typed access to the Client API.

    Every method raises a subclass of :class:`~tap_nudgescribe.errors.ApiError` when it fails;
    none of their messages holds a secret or a customer's value.

    Args:
        credentials: For the log-in, which happens with the first request.
        options: How to reach the API.
        wire_names: Corrections from this package's name of a key to the account's.
        observe: Called with each request's :class:`~tap_nudgescribe.transport.Exchange`.
    """

    def __init__(
        self,
        credentials: Credentials,
        options: ConnectionOptions,
        *,
        wire_names: Mapping[str, str] | None = None,
        observe: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        """Send nothing yet."""
        self.options = options
        self.transport = Transport(options, observe=observe)
        self.authenticator = NudgescribeAuthenticator(
            log_in=self._log_in, refresh=self._refresh, headers=credentials.gateway_headers
        )
        self._credentials = credentials
        self._to_wire = dict(wire_names or {})
        self._from_wire = {wire: ours for ours, wire in self._to_wire.items()}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, observe: Callable[[Exchange], None] = lambda _: None
    ) -> NudgescribeClient:
        """Build a client from plugin settings (``settings.CONNECTION_SETTINGS``).

        Raises:
            SettingsError: for an unusable value.
        """

        def chosen(kind: type) -> dict[str, Any]:
            names = kind.__dataclass_fields__  # type: ignore[attr-defined]
            return {name: config[name] for name in names if config.get(name) is not None}

        return cls(
            Credentials(**chosen(Credentials)),
            ConnectionOptions(**chosen(ConnectionOptions)),
            wire_names=config.get("wire_names"),
            observe=observe,
        )

    def list_campaigns(
        self, *, published_from: date | None = None, published_to: date | None = None
    ) -> list[Row]:
        """Return all workspaces that have campaigns, each with ``campaigns``.

        The window, both days included, leaves out campaigns that were not published in it.
        """
        window = {
            name: day.isoformat()
            for name, day in (("published_from", published_from), ("published_to", published_to))
            if day
        }
        answer = self._call("list_campaigns", window)
        rows = envelopes.read_rows(
            "list_campaigns", answer, key="workspaces", required=["workspace_id"]
        )
        for row in rows:
            row["campaigns"] = envelopes.read_rows(
                "list_campaigns",
                row.get("campaigns") or [],
                key="campaigns",
                required=["campaign_id"],
            )
        return rows

    def list_groups(self, workspace_id: str) -> list[Row]:
        """Return all customer groups of a workspace."""
        return self._rows(
            "list_groups", {"workspace_id": workspace_id}, "groups", ["customer_group_id"]
        )

    def list_fields(self, workspace_id: str) -> list[Row]:
        """Return all profile fields of a workspace; :func:`profile_field` reads one."""
        return self._rows(
            "list_fields", {"workspace_id": workspace_id}, "fields", PROFILE_FIELD_KEYS
        )

    def count_customer_pages(self, workspace_id: str, customer_group_id: str) -> int:
        """Return the number of pages that hold a group's customers."""
        body = {"workspace_id": workspace_id, "customer_group_id": customer_group_id}
        return self._count("count_customer_pages", body)

    def list_customers(self, workspace_id: str, customer_group_id: str, page: int) -> list[Row]:
        """Return one page, counted from 1, of a group's customers."""
        body = {
            "workspace_id": workspace_id,
            "customer_group_id": customer_group_id,
            "page": page,
        }
        return self._rows("list_customers", body, "customers", ["customer_id"])

    def list_runs(self, campaign_id: str) -> list[Row]:
        """Return all runs of a campaign, newest first; one with number 1 if never rerun."""
        return self._rows("list_runs", {"campaign_id": campaign_id}, "runs", ["run_number"])

    def list_run_messages(self, campaign_id: str, run_number: int | None = None) -> list[Row]:
        """Return a run's messages, archived ones included; without a number, active ones."""
        body = _with_run({"campaign_id": campaign_id}, run_number)
        return self._rows("list_run_messages", body, "messages", ["message_id"])

    def publish_messages(self, campaign_id: str) -> None:
        """Publish a campaign and queue the export of its messages. Spends quota.

        Raises:
            QuotaError: when the account's quota is used up.
            OutcomeUnknownError: when there was no answer.
        """
        self._call("publish_messages", {"campaign_id": campaign_id})

    def count_message_files(self, campaign_id: str, run_number: int | None = None) -> int:
        """Return the number of exported files of a historical run, or of the current one."""
        return self._count(
            "count_message_files", _with_run({"campaign_id": campaign_id}, run_number)
        )

    def message_file_url(self, campaign_id: str, page: int) -> str:
        """Return a presigned URL to a file of the current run; historical runs have none."""
        body = {"campaign_id": campaign_id, "page": page, "format": "url"}
        answer = self._call("fetch_message_file", body)
        return envelopes.read_text("fetch_message_file", answer, key="url")

    def message_file_csv(self, campaign_id: str, page: int, run_number: int | None = None) -> bytes:
        """Return a file's raw CSV, whole in memory."""
        body = {"campaign_id": campaign_id, "page": page, "format": "csv"}
        answer = self._call("fetch_message_file", _with_run(body, run_number))
        if isinstance(answer, bytes):
            return answer
        text = envelopes.read_text("fetch_message_file", answer, key="csv")
        return text.encode()

    def open_storage(self, url: str, *, offset: int, etag: str | None) -> requests.Response:
        """Open a presigned URL for streaming; see :meth:`Transport.download`."""
        return self.transport.download("storage", url, offset=offset, etag=etag)

    def _rows(
        self, name: str, body: Mapping[str, Any], key: str, required: Iterable[str]
    ) -> list[Row]:
        return envelopes.read_rows(name, self._call(name, body), key=key, required=list(required))

    def _count(self, name: str, body: Mapping[str, Any]) -> int:
        return envelopes.read_count(name, self._call(name, body), key="pages")

    def _call(self, name: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 (the wire)
        answer = self.transport.call(
            OPERATIONS[name],
            {self._to_wire.get(key, key): value for key, value in body.items()},
            auth=self.authenticator,
            renew=self.authenticator.renew,
        )
        return envelopes.renamed(answer, self._from_wire) if self._from_wire else answer

    def _log_in(self) -> Session:
        body = {"email": self._credentials.email, "password": self._credentials.password}
        headers = {"x-api-key": self._credentials.api_key}
        try:
            return self._session("login", body, _Bearer(None), headers)
        except (errors.AccessError, errors.BadRequestError, errors.MissingFieldsError):
            problem = "The log-in is refused"
            raise errors.LoginError(problem, operation="login") from None

    def _refresh(self, refresh_token: str) -> Session:
        return self._session("refresh", None, _Bearer(refresh_token), {})

    def _session(
        self, name: str, body: Row | None, auth: AuthBase, headers: dict[str, str]
    ) -> Session:
        if body is not None:
            body = {self._to_wire.get(key, key): value for key, value in body.items()}
        headers = headers | self._credentials.gateway_headers
        answer = self.transport.call(OPERATIONS[name], body, auth=auth, headers=headers)
        answer = envelopes.renamed(answer, self._from_wire)
        tokens = envelopes.read_object(name, answer, required=["access_token"])
        return Session(
            access_token=str(tokens["access_token"]), refresh_token=tokens.get("refresh_token")
        )


class _Bearer(AuthBase):
    """One given token, or no authorisation at all (a netrc file is not asked)."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            r.headers["Authorization"] = f"Bearer {self._token}"
        return r


def profile_field(workspace_id: str, row: Mapping[str, Any]) -> ProfileField:
    """Turn a row of ``list_fields`` into a definition."""
    return ProfileField(
        workspace_id=workspace_id,
        field_id=str(row["field_id"]),
        name=str(row["field_name"]),
        field_type=str(row["field_type"]),
        field_format=row.get("field_format"),
        display_name=row.get("display_name"),
        required=bool(row.get("required")),
        unique_identifier=bool(row.get("unique_identifier")),
        encrypted=bool(row.get("encrypted")),
        options=tuple(map(str, row.get("options") or ())),
    )


def _with_run(body: Row, run_number: int | None) -> Row:
    return body if run_number is None else body | {"run_number": run_number}
