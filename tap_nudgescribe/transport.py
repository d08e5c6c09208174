"""Send one API operation: connection pool, time-outs, retries, request budget, error mapping."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
import requests
import urllib3

from tap_nudgescribe import errors
from tap_nudgescribe.bodies import ACCEPT_ENCODING, Body
from tap_nudgescribe.connections import (
    FORBIDDEN,
    BoundedAdapter,
    admissible,
    ended_after,
    is_loopback,
    watched,
)
from tap_nudgescribe.discretion import quiet
from tap_nudgescribe.documents import foreign_document, is_json_type, media_type_of
from tap_nudgescribe.json_decoding import Repairs, decode, decoded_bytes
from tap_nudgescribe.reported_failures import ReportedFailure, find_failure
from tap_nudgescribe.retries import one_budget
from tap_nudgescribe.statuses import (
    LONGEST_WAIT_SECONDS,
    Passing,
    decoded,
    download_error,
    http_date,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests.auth import AuthBase

T = TypeVar("T")

logger = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5

ANSWER_TIMEOUTS = 10
"""How many times request_timeout_seconds a whole answer may take, and its headers alone."""

DECODED_TIMES = 6
"""So many times ``max_answer_mib`` an answer may take in memory when it is decoded."""

READ_AT_ONCE = 64 * 1024
"""Bytes of an answer."""

ENVELOPE_BYTES = 64 * 1024
"""An answer that reports a refused session has fewer."""

_JSON = {"Content-Type": "application/json"}
_CSV = "text/csv"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the contract.

    Attributes:
        name: The ``operationId``.
        repeatable: Whether sending it twice does no more than sending it once.
        file_key: Name of the part of a multipart body that holds a data file.
        reads_failures: Whether an envelope that reports a failure is an error here; otherwise the
            caller reads it.
    """

    name: str
    method: str
    path: str
    repeatable: bool = True
    file_key: str = "file"
    reads_failures: bool = True


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """How to reach the API; each attribute is the setting of the same name."""

    api_url: str
    request_timeout_seconds: float = 60
    max_tries: int = 6
    max_parallel_requests: int = 4
    max_requests_per_second: float | None = None
    user_agent: str | None = None
    ca_bundle: str | None = None
    max_answer_mib: int = 256
    allow_insecure_http: bool = False
    allow_private_storage: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            SettingsError: for an unusable api_url, ca_bundle or user_agent.
        """
        url = _http_url(self.api_url)
        if not url or url.query or url.fragment:
            problem = "The setting api_url is no http(s) URL without credentials and query"
            raise errors.SettingsError(problem)
        if not is_header_text(self.user_agent or ""):
            problem = "The setting user_agent holds a line break or a character outside ASCII"
            raise errors.SettingsError(problem)
        insecure = url.scheme == "http" and not self.on_loopback
        if insecure and not self.allow_insecure_http:
            problem = "The setting api_url is http:// to another machine, which sends credentials"
            advice = "Use https://, or set allow_insecure_http if you know what you do."
            raise errors.SettingsError(problem + " readable", advice=advice)
        if self.ca_bundle and not Path(self.ca_bundle).exists():
            problem = "The file that the setting ca_bundle names does not exist"
            raise errors.SettingsError(problem)

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this machine."""
        return is_loopback(urlsplit(self.api_url).hostname or "")

    @property
    def answer_seconds(self) -> float:
        """How long a whole answer may take."""
        return ANSWER_TIMEOUTS * self.request_timeout_seconds

    def admits(self, address: str) -> bool:
        """Say whether message files may be fetched from an address."""
        return admissible(address, loopback=self.on_loopback, private=self.allow_private_storage)

    def check_download(self, url: str) -> None:
        """Refuse a download URL that leads astray, as far as the URL itself shows it.

        Raises:
            DownloadRefusedError: for anything but https:// to an address that is admitted, or
                http:// under the same rule as that of api_url.
        """
        parts = _http_url(url)
        host = (parts.hostname or "") if parts else ""
        if not parts or (
            parts.scheme == "http"
            and not self.allow_insecure_http
            and not (self.on_loopback and is_loopback(host))
        ):
            problem = "The API gives a download URL that is not https://"
            raise errors.DownloadRefusedError(problem, operation="storage")
        try:
            admitted = self.admits(host)
        except ValueError:
            return  # a name: what it means is looked at when the connection is made
        if not admitted:
            raise errors.DownloadRefusedError(FORBIDDEN, operation="storage")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and how it ended: what request metrics are made of."""

    operation: str
    seconds: float
    status: int | None
    """HTTP status; None when there was no answer."""


class Transport:
    """Sends operations over one pool of connections shared by all threads.

    Args:
        options: How to reach the API.
        observe: Called after every request, from any thread.
        sleep: Waits for seconds; replaced by tests.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        *,
        observe: Callable[[Exchange], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open no connection yet."""
        quiet()
        self.options = options
        self._observe = observe
        self._sleep = sleep
        self._api = self._session(lambda _: True)
        self._storage = self._session(options.admits)
        self._budget = _Budget(options.max_requests_per_second, sleep)
        self._server_time: datetime | None = None
        self._lock = threading.Lock()
        self.repairs: dict[str, Repairs] = {}
        """What had to be repaired in responses, by operation."""

    @property
    def server_time(self) -> datetime:
        """The time of the server's last answer by its own clock; by ours if it names none."""
        return self._server_time or datetime.now(UTC)

    @property
    def server_clock(self) -> float | None:
        """The same in seconds since the epoch; None if the server has named no time."""
        return self._server_time.timestamp() if self._server_time else None

    def call(  # noqa: PLR0913 (what a request is made of)
        self,
        operation: Operation,
        body: Mapping[str, Any] | None,
        *,
        csv: bytes | None = None,
        streamed: bool = False,
        auth: AuthBase,
        renew: Callable[[str, int], bool] = lambda *_: False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401
        """Send an operation and return its answer: decoded JSON, or bytes for ``text/csv``.

        Args:
            operation: What to call.
            body: JSON body with wire names; None for no body.
            csv: A data file, sent as multipart with the body as form fields.
            streamed: Return an answer of ``text/csv`` as an open response, not read yet.
            auth: Adds the credentials.
            renew: Told of an access token that was refused, and how often this request was;
                says whether to try again.
            headers: Further headers.

        Raises:
            ApiError: one of its subclasses, when the last try has failed.
        """

        def attempt() -> Any:  # noqa: ANN401
            reply = self._send(operation, body, csv, streamed, auth=auth, headers=headers)
            for times in count(1):
                bearer = reply.response.request.headers.get("Authorization", "")
                if _status(reply) not in {401, 403} or not renew(
                    bearer.removeprefix("Bearer "), times
                ):
                    break
                reply = self._send(operation, body, csv, streamed, auth=auth, headers=headers)
            if reply.content is None:
                return reply.response
            return _answer(operation, reply, body, self._repaired, self._max_bytes)

        return self._retried(operation, attempt)

    def download(
        self, operation: str, url: str, *, offset: int, etag: str | None
    ) -> requests.Response:
        """Open a presigned URL for streaming, from a byte offset, without any credentials.

        Raises:
            DownloadRefusedError: when it leads to where this machine must not be sent.
            AccessError: when the URL has expired or is refused.
            RangeRefusedError: when the server does not go on at the offset. One that answers with
                status 200 begins the file again.
            ServerError: for 5xx.
            NetworkError: when there is no answer.
        """
        self.options.check_download(url)
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-"} | ({"If-Match": etag} if etag else {})
        started = time.monotonic()
        status = None
        try:
            response = self._storage.get(
                url,
                headers=headers,
                auth=_no_credentials,
                stream=True,
                verify=self._verify,
                proxies=_proxies(url),
                allow_redirects=False,
                timeout=self.options.request_timeout_seconds,
            )
            status = response.status_code
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _network_error(operation, error) from None
        finally:
            self._observed(operation, started, status)
        if status == requests.codes.ok or (offset and status == requests.codes.partial_content):
            return response
        response.close()
        raise download_error(operation, response)

    def pause(self, number: int, least: float = 0.0) -> None:
        """Wait before another try, longer with each failed one (counted from 1).

        Args:
            number: Of the try.
            least: Seconds that the server asks for.
        """
        self._sleep(max(_wait(number), min(least, LONGEST_WAIT_SECONDS)))

    @property
    def _max_bytes(self) -> int:
        """Bytes of a whole answer."""
        return self.options.max_answer_mib * 2**20

    @property
    def _verify(self) -> str | bool:
        """What certificates are checked against.

        Given with each request: a session's own choice yields to REQUESTS_CA_BUNDLE.
        """
        return self.options.ca_bundle or True

    def _session(self, admits: Callable[[str], bool]) -> requests.Session:
        session = requests.Session()
        adapter = BoundedAdapter(
            answer_seconds=self.options.answer_seconds,
            admits=admits,
            pool_connections=2,
            pool_maxsize=self.options.max_parallel_requests + 1,
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.headers["Accept-Encoding"] = ACCEPT_ENCODING
        session.headers["User-Agent"] = self.options.user_agent or "nudgescribe-meltano"
        return session

    def _send(  # noqa: PLR0913 (what a request is made of)
        self,
        operation: Operation,
        body: Mapping[str, Any] | None,
        csv: bytes | None,
        streamed: bool,  # noqa: FBT001 (private)
        *,
        auth: AuthBase,
        headers: Mapping[str, str] | None,
    ) -> _Reply:
        content: dict[str, Any] = {"json": body, "headers": _JSON | dict(headers or {})}
        if csv is not None:
            content = {
                "data": _form(body or {}),
                "files": {operation.file_key: ("customers.csv", csv, _CSV)},
            }
        self._budget.wait()
        started = time.monotonic()
        status = None
        try:
            with watched() as sending:
                response = self._api.request(
                    operation.method,
                    self.options.api_url.rstrip("/") + operation.path,
                    **content,
                    auth=auth,
                    timeout=self.options.request_timeout_seconds,
                    verify=self._verify,
                    proxies=_proxies(self.options.api_url),
                    allow_redirects=False,
                    stream=True,
                )
            status = response.status_code
            left_open = streamed and response.ok and _is_file(response)
            whole = None if left_open else self._read(operation.name, response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if sending.begun:
                raise Passing(_network_error(operation.name, error)) from None
            raise Passing(_not_sent(operation.name, error)) from None
        finally:
            self._observed(operation.name, started, status)
        self._server_time = http_date(response.headers.get("Date", "")) or self._server_time
        return _Reply(response, whole)

    def _read(self, operation: str, response: requests.Response) -> bytes:
        """Read an answer to its end, which must come before too many bytes and too much time.

        Raises:
            Passing: with an ``AnswerLimitError``, for an answer that is too large.
        """
        most = self._max_bytes
        content = bytearray()
        with ended_after(self.options.answer_seconds, partial(_shut, response)):
            body = Body(response)
            while not body.ended:
                content += body.read(READ_AT_ONCE)
                if len(content) > most:
                    response.close()
                    problem = f"The answer has more than {self.options.max_answer_mib} MiB"
                    raise Passing(errors.AnswerLimitError(problem, operation=operation))
        return bytes(content)

    def _repaired(self, operation: str, repairs: Repairs) -> None:
        if repairs:
            with self._lock:
                self.repairs.setdefault(operation, Repairs()).add(repairs)

    def _observed(self, operation: str, started: float, status: int | None) -> None:
        seconds = time.monotonic() - started
        self._observe(Exchange(operation=operation, seconds=seconds, status=status))

    def _retried(self, operation: Operation, attempt: Callable[[], T]) -> T:
        """Try until it works, as often as max_tries allows for this request and its log-in.

        What the log-in raises is final: it has used up the budget, or it was refused. The request
        that needed it was not sent.
        """
        most = self.options.max_tries
        with one_budget() as tries:
            while True:
                try:
                    return attempt()
                except Passing as passing:
                    error, wait = passing.error, passing.wait
                if not operation.repeatable and not isinstance(error, _NOT_DONE):
                    problem = error.problem
                    raise errors.OutcomeUnknownError(problem, operation=operation.name) from None
                tries.failed += 1
                if tries.failed >= most or isinstance(error, errors.AnswerLimitError):
                    raise error from None
                seconds = _wait(tries.failed) if wait is None else wait
                follows = tries.failed + 1
                logger.warning("%s Try %d of %d follows in %.1f s", error, follows, most, seconds)
                self._sleep(seconds)


_NOT_DONE = (errors.NotSentError, errors.RateLimitError)
"""Failures after which a request is certainly not done, so that it may be sent again."""


class _Reply(NamedTuple):
    """An answer, and its whole content if it is not left open."""

    response: requests.Response
    content: bytes | None


class _Budget:
    """Spaces requests so that no more than a number a second are sent."""

    def __init__(self, per_second: float | None, sleep: Callable[[float], None]) -> None:
        self._interval = 1 / per_second if per_second else 0
        self._sleep = sleep
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)


def _answer(
    operation: Operation,
    reply: _Reply,
    body: Mapping[str, Any] | None,
    repaired: Callable[[str, Repairs], None],
    max_bytes: int,
) -> Any:  # noqa: ANN401
    """Return what a successful response says, or raise the error that its status means here.

    ``repaired`` is called with what had to be repaired in the JSON. An answer that is long for
    ``max_bytes`` may take :data:`DECODED_TIMES` as much when it is decoded.
    """
    response, content = reply
    if response.status_code == 204:
        return {}
    if response.status_code not in {200, 201, 202}:
        raise refusal(operation.name, response, content or b"", body)
    if _is_csv(response):
        return content
    most = DECODED_TIMES * max_bytes
    if len(content or b"") > max_bytes // 64 and decoded_bytes(content or b"") > most:
        problem = f"The answer would take more than {most // 2**20} MiB when it is decoded"
        raise Passing(errors.AnswerLimitError(problem, operation=operation.name))
    try:
        answer, repairs = decode(content or b"")
    except RecursionError:
        problem = "The answer is nested too deeply"
        raise Passing(errors.AnswerLimitError(problem, operation=operation.name)) from None
    except ValueError as error:
        document = foreign_document(content or b"", "application/json")
        seen = str(error) if document in {None, "JSON", "empty"} else f"{document}, not JSON"
        raise Passing(
            errors.ContractError(f"The answer is {seen}", operation=operation.name)
        ) from None
    if operation.reads_failures and (failure := find_failure(answer)):
        raise _reported(operation, reply, body, failure)
    repaired(operation.name, repairs)
    return answer


def _status(reply: _Reply) -> int:
    """Return the status of a response: the one that its envelope names in a status of success."""
    status = reply.response.status_code
    if status in {200, 201, 202} and reply.content and len(reply.content) < ENVELOPE_BYTES:
        failure = find_failure(decoded(reply.content))
        return (failure and failure.status) or status
    return status


def _reported(
    operation: Operation,
    reply: _Reply,
    body: Mapping[str, Any] | None,
    failure: ReportedFailure,
) -> Exception:
    """Return the error for a failure that a response with a status of success reports."""
    if failure.status is not None:
        content = reply.content or b""
        return refusal(operation.name, reply.response, content, body, status=failure.status)
    status = reply.response.status_code
    problem = f"The API answers with status {status} and reports a failure: {failure}"
    error = errors.ReportedFailureError(problem, operation=operation.name)
    # A log-in that is tried again and again can lock the user out.
    return error if operation.path == "/auth" else Passing(error)


def _is_csv(response: requests.Response) -> bool:
    return media_type_of(response.headers.get("Content-Type")) == _CSV


def _is_file(response: requests.Response) -> bool:
    """Say whether a response to a request for a file can be one; JSON is read, and wraps one."""
    return not is_json_type(media_type_of(response.headers.get("Content-Type")))


def _form(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the form fields of a multipart body; booleans as JSON writes them (assumed)."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in body.items()
    }


def _network_error(operation: str, error: Exception) -> errors.NetworkError:
    # The text of these exceptions holds URLs, presigned ones included: the type has to do.
    return errors.NetworkError(f"No whole answer ({type(error).__name__})", operation=operation)


def _not_sent(operation: str, error: Exception) -> errors.NotSentError:
    """Return the error of a request that never got a connection to go over."""
    deepest: BaseException = error
    while (inner := deepest.__cause__ or deepest.__context__) is not None:
        deepest = inner
    match deepest:
        case ConnectionRefusedError():
            why = "connection refused"
        case socket.gaierror():
            why = "unknown host"
        case _:
            why = type(error).__name__
    problem = f"No connection to the API ({why}), so nothing was sent"
    return errors.NotSentError(problem, operation=operation)


def _wait(number: int) -> float:
    """Return the seconds to wait after a failed try: growing twofold, drawn below the bound."""
    bound = min(FIRST_WAIT_SECONDS * 2 ** (number - 1), LONGEST_WAIT_SECONDS)
    return random.uniform(bound / 2, bound)  # noqa: S311 (jitter, not a secret)


def is_header_text(text: str) -> bool:
    """Say whether a text can be the value of a header, and of one only."""
    return text.isascii() and text.isprintable()


def _http_url(text: str) -> SplitResult | None:
    """Return the parts of an http(s) URL without credentials and odd characters, or None."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    if not sound or parts.username is not None or not is_header_text(text) or " " in text:
        return None
    return parts


def _shut(response: requests.Response) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # it has ended already
        response.raw.shutdown()


def _proxies(url: str) -> dict[str, str]:
    """Return what is said of proxies for a request: none for ``http://`` to this machine.

    A proxy would be given the credentials to read. With ``https://`` it only learns the host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return {"no_proxy": host} if parts.scheme == "http" and is_loopback(host) else {}


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from adding credentials out of a netrc file."""
    return request
