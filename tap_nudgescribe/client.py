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

import io
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import requests
import urllib3
from requests.auth import AuthBase

from tap_nudgescribe import envelopes, errors, identities
from tap_nudgescribe.auth import NudgescribeAuthenticator, Session
from tap_nudgescribe.identities import Listing, Malformed
from tap_nudgescribe.profile import ProfileField
from tap_nudgescribe.transport import (
    ConnectionOptions,
    Exchange,
    Operation,
    Transport,
    is_header_text,
)
from tap_nudgescribe.upload_results import read_upload, upload_refused
from tap_nudgescribe.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.upload_results import Upload

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(name="login", method="POST", path="/auth"),
        Operation(name="refresh", method="GET", path="/auth"),
        Operation(name="list_campaigns", method="POST", path="/campaign/all"),
        Operation(name="count_message_files", method="POST", path="/messages/pages"),
        Operation(name="fetch_message_file", method="POST", path="/messages/fetch"),
        Operation(name="list_runs", method="POST", path="/campaign/rerun/history"),
        Operation(name="list_run_messages", method="POST", path="/campaign/rerun/messages"),
        Operation(name="count_customer_pages", method="POST", path="/customer/pages"),
        Operation(name="list_customers", method="POST", path="/customer"),
        Operation(name="list_groups", method="POST", path="/cg"),
        Operation(name="list_fields", method="POST", path="/cpf"),
        # What follows changes the account: after no answer nobody knows whether it was done.
        Operation(
            name="publish_messages", method="POST", path="/messages/publish", repeatable=False
        ),
        Operation(
            name="initiate_rerun", method="POST", path="/campaign/rerun/initiate", repeatable=False
        ),
        Operation(
            name="upload_customers",
            method="POST",
            path="/customer/check",
            repeatable=False,
            reads_failures=False,
        ),
        Operation(name="delete_customers", method="DELETE", path="/customer", repeatable=False),
        Operation(name="create_group", method="PUT", path="/cg", repeatable=False),
        Operation(name="update_group", method="PATCH", path="/cg", repeatable=False),
        Operation(name="delete_group", method="DELETE", path="/cg", repeatable=False),
        Operation(name="create_field", method="PUT", path="/cpf", repeatable=False),
        Operation(name="update_field", method="PATCH", path="/cpf", repeatable=False),
        Operation(name="delete_field", method="DELETE", path="/cpf", repeatable=False),
    )
}

PAGED = frozenset({"list_customers"})
"""Lists that have further pages. All others are whole (assumed)."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a log-in needs, and the headers that some accounts' gateways ask for."""

    api_key: str = field(repr=False)
    email: str = field(repr=False)
    password: str = field(repr=False)
    api_code: str | None = field(default=None, repr=False)
    client_ip: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no header can hold.

        Raises:
            SettingsError: naming the setting.
        """
        for name in ("api_key", "client_ip"):
            if not is_header_text(getattr(self, name) or ""):
                problem = f"The setting {name} holds a line break or a character outside ASCII"
                raise errors.SettingsError(problem, advice="Look for one at its end.")

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
        wire_names: Corrections from this package's name of a key to the account's; see
            :mod:`tap_nudgescribe.wire_names`.
        observe: Called with each request's :class:`~tap_nudgescribe.transport.Exchange`.
        sleep: Waits for seconds.

    Attributes:
        wire: The names in use; may be replaced between two calls.
        inspect: Called with the operation and each JSON answer as the API sent it, which may
            hold customers' values and secrets.
    """

    def __init__(
        self,
        credentials: Credentials,
        options: ConnectionOptions,
        *,
        wire_names: Mapping[str, str] | None = None,
        observe: Callable[[Exchange], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Send nothing yet.

        Raises:
            SettingsError: for names that cannot be used.
        """
        self.options = options
        self.wire = Wire(wire_names)
        self.inspect: Callable[[str, Any], None] = lambda *_: None
        self.transport = Transport(options, observe=observe, sleep=sleep)
        self.authenticator = NudgescribeAuthenticator(
            log_in=self._log_in, refresh=self._refresh, headers=credentials.gateway_headers
        )
        self._credentials = credentials

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        *,
        observe: Callable[[Exchange], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
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
            sleep=sleep,
        )

    def account_id(self) -> str | None:
        """Return the account that the log-in is for, if its token says so."""
        return self.authenticator.account_id()

    def server_time(self) -> datetime:
        """Return the time of the server's last answer; log in if there is none yet."""
        if self.transport.server_clock is None:
            self.authenticator.session()
        return self.transport.server_time

    # Lists: their rows have identifiers that are text, and run numbers that are whole numbers. A
    # row without raises a ContractError, or with ``partial`` is in ``malformed`` of the list.

    def list_campaigns(
        self,
        *,
        published_from: date | None = None,
        published_to: date | None = None,
        partial: bool = False,
    ) -> Listing:
        """Return all workspaces that have campaigns, each with ``campaigns``, a list as well.

        The window, both days included, leaves out campaigns that were not published in it.
        """
        name = "list_campaigns"
        window = {
            name: day.isoformat()
            for name, day in (("published_from", published_from), ("published_to", published_to))
            if day
        }
        answer = self._call(name, window)
        rows = envelopes.read_list(name, answer, key="workspaces")
        workspaces = identities.listing(name, "Workspace", rows)
        for workspace in workspaces:
            workspace["campaigns"] = _campaigns(workspace, workspaces.malformed)
        _refuse_another_name(workspaces)
        campaigns = sum(len(workspace["campaigns"]) for workspace in workspaces)
        _note_missing(workspaces, name, answer, max(len(rows), campaigns))
        if not partial:
            for each in (workspaces, *(workspace["campaigns"] for workspace in workspaces)):
                each.whole()
        return workspaces

    def list_groups(self, workspace_id: str, *, partial: bool = False) -> Listing:
        """Return all customer groups of a workspace."""
        body = {"workspace_id": workspace_id}
        return self._rows("list_groups", body, "groups", "CustomerGroup", partial=partial)

    def list_fields(self, workspace_id: str, *, partial: bool = False) -> Listing:
        """Return all profile fields of a workspace; :func:`profile_field` reads one."""
        body = {"workspace_id": workspace_id}
        return self._rows("list_fields", body, "fields", "ProfileField", partial=partial)

    def count_customer_pages(self, workspace_id: str, customer_group_id: str) -> int:
        """Return the number of pages that hold a group's customers."""
        body = {"workspace_id": workspace_id, "customer_group_id": customer_group_id}
        return self._count("count_customer_pages", body)

    def list_customers(
        self, workspace_id: str, customer_group_id: str, page: int, *, partial: bool = False
    ) -> Listing:
        """Return one page, counted from 1, of a group's customers."""
        body = {
            "workspace_id": workspace_id,
            "customer_group_id": customer_group_id,
            "page": page,
        }
        return self._rows("list_customers", body, "customers", "Customer", partial=partial)

    def list_runs(self, campaign_id: str) -> Listing:
        """Return all runs of a campaign, newest first; one with number 1 if never rerun."""
        return self._rows("list_runs", {"campaign_id": campaign_id}, "runs", "Run")

    def list_run_messages(
        self, campaign_id: str, run_number: int | None = None, *, partial: bool = False
    ) -> Listing:
        """Return a run's messages, archived ones included; without a number, active ones."""
        body = _with_run({"campaign_id": campaign_id}, run_number)
        return self._rows("list_run_messages", body, "messages", "RunMessage", partial=partial)

    def publish_messages(self, campaign_id: str) -> None:
        """Publish a campaign and queue the export of its messages. Spends quota.

        Raises:
            QuotaError: when the account's quota is used up.
            OutcomeUnknownError: when there was no answer.
        """
        self._changed("publish_messages", {"campaign_id": campaign_id})

    def count_message_files(self, campaign_id: str, run_number: int | None = None) -> int:
        """Return the number of exported files of a historical run, or of the current one."""
        return self._count(
            "count_message_files", _with_run({"campaign_id": campaign_id}, run_number)
        )

    def message_file_url(self, campaign_id: str, page: int) -> str:
        """Return a presigned URL to a file of the current run; historical runs have none."""
        body = {"campaign_id": campaign_id, "page": page, "format": "url"}
        answer = self._call("fetch_message_file", body)
        return envelopes.read_url("fetch_message_file", answer, key="url")

    def open_message_file(
        self, campaign_id: str, page: int, run_number: int | None = None
    ) -> requests.Response:
        """Open a file's raw CSV for streaming, from its first byte."""
        body = {"campaign_id": campaign_id, "page": page, "format": "csv"}
        answer = self._call("fetch_message_file", _with_run(body, run_number), streamed=True)
        if isinstance(answer, requests.Response):
            return answer
        text = envelopes.read_text("fetch_message_file", answer, key="csv").encode()
        response = requests.Response()
        response.status_code = requests.codes.ok
        response.headers["Content-Length"] = str(len(text))
        response.raw = urllib3.HTTPResponse(io.BytesIO(text), preload_content=False)
        return response

    def initiate_rerun(self, campaign_id: str, customer_group_id: str) -> int | None:
        """Run a published campaign against another group; return the new run's number.

        Raises:
            BadRequestError: when the campaign or a message of its run is not published.
            OutcomeUnknownError: when there was no answer.
        """
        body = {"campaign_id": campaign_id, "customer_group_id": customer_group_id}
        return _run_number_or_none(self._changed("initiate_rerun", body).get("run_number"))

    def upload_customers(
        self,
        workspace_id: str,
        customer_group_id: str,
        customers: bytes | Sequence[Mapping[str, Any]],
        *,
        validate_only: bool = False,
    ) -> Upload:
        """Check customers and, unless ``validate_only``, create or update them.

        Args:
            workspace_id: Whose profile fields hold.
            customer_group_id: Where new customers go.
            customers: A whole UTF-8 CSV with a header of field names, sent as multipart; or
                one object a customer, by field name, sent as JSON.
            validate_only: Upload nothing.

        Raises:
            UploadRefusedError: when a row or the header does not fit; nothing is uploaded.
            OutcomeUnknownError: when there was no answer to an upload, or none that can be read.
        """
        body: Row = {"workspace_id": workspace_id, "customer_group_id": customer_group_id}
        if validate_only:
            body["validate_only"] = True
        csv = customers if isinstance(customers, bytes) else None
        if csv is None:
            body["customers"] = customers
        operation = replace(
            OPERATIONS["upload_customers"],
            repeatable=validate_only,
            file_key=self.wire.request_key("upload_customers", "file"),
        )
        try:
            answer = self._send(operation, body, csv=csv)
        except errors.BadRequestError as refusal:
            answer = self.wire.refusal(operation.name, refusal.answer)
            raise upload_refused(answer, status=refusal.status) from None
        if not isinstance(answer, dict):
            unreadable = envelopes.unexpected(operation.name, answer, "an object")
            if validate_only:
                raise unreadable
            raise errors.OutcomeUnknownError(unreadable.problem, operation=operation.name)
        return read_upload(answer)

    def delete_customers(
        self, workspace_id: str, customer_group_id: str, customer_ids: Sequence[str]
    ) -> int | None:
        """Delete customers of a group; return how many, if the API says so.

        Raises:
            OutcomeUnknownError: when there was no answer.
        """
        body = {
            "workspace_id": workspace_id,
            "customer_group_id": customer_group_id,
            "customer_ids": list(customer_ids),
        }
        return _count_or_none(self._changed("delete_customers", body).get("deleted"))

    def create_group(self, workspace_id: str, name: str, *, description: str | None = None) -> Row:
        """Create a customer group and return it, with its ``customer_group_id``."""
        body = {"workspace_id": workspace_id, "name": name} | _given(description=description)
        return self._created("create_group", body, "CustomerGroup", ["customer_group_id"])

    def update_group(
        self,
        workspace_id: str,
        customer_group_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Rename or describe a group; its customers and history are kept. None changes nothing."""
        body = {"workspace_id": workspace_id, "customer_group_id": customer_group_id}
        self._changed("update_group", body | _given(name=name, description=description))

    def delete_group(self, workspace_id: str, customer_group_id: str) -> None:
        """Delete a customer group for good."""
        body = {"workspace_id": workspace_id, "customer_group_id": customer_group_id}
        self._changed("delete_group", body)

    def create_field(  # noqa: PLR0913 (one a property of a field)
        self,
        workspace_id: str,
        field_name: str,
        field_type: str,
        *,
        field_format: str | None = None,
        display_name: str | None = None,
        required: bool | None = None,
        unique_identifier: bool | None = None,
        encrypted: bool | None = None,
        options: Sequence[str] | None = None,
        validation_rules: object = None,
    ) -> Row:
        """Create a profile field and return it; :func:`profile_field` reads the answer.

        ``field_format`` is needed for the types ``Date`` and ``currency`` only (documented).
        """
        body = {"workspace_id": workspace_id, "field_name": field_name, "field_type": field_type}
        further = _given(
            field_format=field_format,
            display_name=display_name,
            required=required,
            unique_identifier=unique_identifier,
            encrypted=encrypted,
            options=options,
            validation_rules=validation_rules,
        )
        keys = ["field_id", "field_name", "field_type"]
        return self._created("create_field", body | further, "ProfileField", keys)

    def update_field(  # noqa: PLR0913 (one a property of a field)
        self,
        workspace_id: str,
        field_id: str,
        *,
        display_name: str | None = None,
        required: bool | None = None,
        options: Sequence[str] | None = None,
        validation_rules: object = None,
    ) -> None:
        """Change a field's display name, required flag, options or rules; its data are kept."""
        body = {"workspace_id": workspace_id, "field_id": field_id}
        further = _given(
            display_name=display_name,
            required=required,
            options=options,
            validation_rules=validation_rules,
        )
        self._changed("update_field", body | further)

    def delete_field(self, workspace_id: str, field_id: str) -> None:
        """Delete a profile field with the data that customers have in it."""
        self._changed("delete_field", {"workspace_id": workspace_id, "field_id": field_id})

    def open_storage(self, url: str, *, offset: int, etag: str | None) -> requests.Response:
        """Open a presigned URL for streaming; see :meth:`Transport.download`."""
        return self.transport.download("storage", url, offset=offset, etag=etag)

    def _rows(
        self,
        name: str,
        body: Mapping[str, Any],
        key: str,
        component: str,
        *,
        partial: bool = False,
    ) -> Listing:
        answer = self._call(name, body)
        rows = envelopes.read_list(name, answer, key=key)
        listed = identities.listing(name, component, rows)
        if name not in PAGED:
            _note_missing(listed, name, answer, len(rows))
        return listed if partial else listed.whole()

    def _count(self, name: str, body: Mapping[str, Any]) -> int:
        return envelopes.read_count(name, self._call(name, body), key="pages")

    def _changed(self, name: str, body: Mapping[str, Any], required: Iterable[str] = ()) -> Row:
        """Return the object of the response to a change.

        Raises:
            OutcomeUnknownError: when the response is of another shape, after the change.
        """
        answer = self._call(name, body)
        try:
            return envelopes.read_object(name, answer, required=list(required))
        except errors.ContractError as error:
            raise errors.OutcomeUnknownError(error.problem, operation=name) from None

    def _created(
        self, name: str, body: Mapping[str, Any], component: str, required: Iterable[str]
    ) -> Row:
        return identities.identified(name, component, self._changed(name, body, required))

    def _call(self, name: str, body: Mapping[str, Any], *, streamed: bool = False) -> Any:  # noqa: ANN401 (the wire)
        return self._send(OPERATIONS[name], body, streamed=streamed)

    def _send(
        self,
        operation: Operation,
        body: Mapping[str, Any],
        csv: bytes | None = None,
        *,
        streamed: bool = False,
    ) -> Any:  # noqa: ANN401 (the wire)
        answer = self.transport.call(
            operation,
            self.wire.request(operation.name, body),
            csv=csv,
            streamed=streamed,
            auth=self.authenticator,
            renew=self.authenticator.renew,
        )
        return self._ours(operation.name, answer)

    def _ours(self, name: str, answer: Any) -> Any:  # noqa: ANN401 (the wire)
        """Return an answer with our names.

        Raises:
            AnswerLimitError: when it is nested too deeply to be read.
        """
        try:
            if not isinstance(answer, bytes | requests.Response):
                self.inspect(name, answer)
            return self.wire.answer(name, answer)
        except RecursionError:
            problem = "The answer is nested too deeply"
            raise errors.AnswerLimitError(problem, operation=name) from None

    def _log_in(self) -> Session:
        body = {"email": self._credentials.email, "password": self._credentials.password}
        headers = {"x-api-key": self._credentials.api_key}
        try:
            return self._session("login", body, _Bearer(None), headers)
        except (
            errors.AccessError,
            errors.BadRequestError,
            errors.MissingFieldsError,
            errors.ReportedFailureError,
        ):
            problem = "The log-in is refused"
            raise errors.LoginError(problem, operation="login") from None

    def _refresh(self, refresh_token: str) -> Session:
        return self._session("refresh", None, _Bearer(refresh_token), {})

    def _session(
        self, name: str, body: Row | None, auth: AuthBase, headers: dict[str, str]
    ) -> Session:
        wire = None if body is None else self.wire.request(name, body)
        headers = headers | self._credentials.gateway_headers
        answer = self.transport.call(OPERATIONS[name], wire, auth=auth, headers=headers)
        tokens = envelopes.read_object(name, self._ours(name, answer), required=["access_token"])
        refresh = tokens.get("refresh_token")
        return Session(
            access_token=_token(name, tokens["access_token"]),
            refresh_token=None if refresh is None else _token(name, refresh),
            server_time=self.transport.server_clock,
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
    """Turn a row of ``list_fields`` into a definition; options that are no list are none."""
    options, rules = row.get("options"), row.get("validation_rules")
    return ProfileField(
        workspace_id=workspace_id,
        field_id=str(row["field_id"]),
        name=str(row["field_name"]),
        field_type=str(row["field_type"]),
        field_format=_text_or_none(row.get("field_format")),
        display_name=_text_or_none(row.get("display_name")),
        required=bool(row.get("required")),
        unique_identifier=bool(row.get("unique_identifier")),
        encrypted=bool(row.get("encrypted")),
        options=tuple(map(str, options if isinstance(options, list) else ())),
        validation_rules=None if rules is None else rules_text(rules),
    )


def _campaigns(workspace: Row, malformed: list[Malformed]) -> Listing:
    """Return the campaigns of a workspace; what is not a list of any is malformed."""
    given = workspace.get("campaigns", ())
    if given is None:
        return Listing()
    try:
        if "campaigns" not in workspace:
            given = workspace
        rows = envelopes.read_list("list_campaigns", given, key="campaigns")
    except errors.ContractError as error:
        malformed.append(Malformed(error, workspace))
        return Listing()
    try:
        listed = identities.listing("list_campaigns", "Campaign", rows)
    except errors.ContractError as error:
        return Listing(malformed=[Malformed(error, row) for row in rows])
    _note_missing(listed, "list_campaigns", given, len(rows))
    return listed


def _note_missing(listed: Listing, name: str, answer: object, rows: int) -> None:
    """Note rows that an envelope says are missing, beside those that there are."""
    if error := envelopes.rows_missing(name, answer, rows):
        listed.malformed.append(Malformed(error, None, missing=True))


def _refuse_another_name(workspaces: Listing) -> None:
    """Refuse an answer in which no campaign of any workspace has the key of its identifier.

    Raises:
        ContractError: the first one of all.
    """
    campaigns: list[Listing] = [workspace["campaigns"] for workspace in workspaces]
    malformed = [each for listed in campaigns for each in listed.malformed]
    rows = [each.row for each in malformed if isinstance(each.row, dict)]
    if rows and not any(campaigns) and not any("campaign_id" in row for row in rows):
        raise malformed[0].error


def _run_number_or_none(value: object) -> int | None:
    try:
        return identities.run_number(value)
    except ValueError:
        return None


_RULES = msgspec.json.Encoder(order="sorted", decimal_format="number")


def rules_text(rules: object) -> str:
    """Return validation rules, which are any JSON, as text that is the same for the same rules."""
    return _RULES.encode(rules).decode()


def _token(operation: str, value: object) -> str:
    """Return a token that fits into a header.

    Raises:
        ContractError: for any other.
    """
    if not isinstance(value, str) or not value or not is_header_text(value) or " " in value:
        problem = "The answer holds a token that cannot be sent in a header"
        raise errors.ContractError(problem, operation=operation)
    return value


def _count_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _given(**values: object) -> Row:
    return {name: value for name, value in values.items() if value is not None}


def _with_run(body: Row, run_number: int | None) -> Row:
    return body if run_number is None else body | {"run_number": run_number}
