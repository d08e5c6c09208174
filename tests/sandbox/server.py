"""Serve an account over HTTP, as strictly as the contract says, and misbehave on order."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
import time
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tap_nudgescribe.contract import contract
from tests.sandbox import dialect, sessions, wire
from tests.sandbox.checks import check
from tests.sandbox.faults import PAGES, REPORTED
from tests.sandbox.operations import OPERATIONS, Service
from tests.sandbox.refusals import Refusal
from tests.sandbox.seeding import make_account
from tests.sandbox.sessions import Sessions
from tests.sandbox.storage import Storage
from tests.sandbox.uploads import work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from tests.sandbox.account import Account
    from tests.sandbox.checks import Body
    from tests.sandbox.faults import Fault

REFUSED = frozenset(
    {
        "rate_limited",
        "refused",
        "missing_field",
        "not_found",
        "bad_request",
        "timed_out",
        "conflict",
        "unprocessable",
        "too_large",
    }
)
"""Kinds of faults that are refusals of the same name."""

JSON = "application/json"
MULTIPART = "multipart/form-data"


class Sandbox:
    """A running server.

    Args:
        account: Whose state it shows; a small one if not given.
        port: Where it listens; any free port if 0.
        token_seconds: How long an access token lives.

    Attributes:
        faults: What goes wrong from now on.
        requests: Operation and body of every request so far; for ``storage``, its range.
    """

    def __init__(
        self, account: Account | None = None, *, port: int = 0, token_seconds: float = 14 * 86_400
    ) -> None:
        self.account = account or make_account(7, "small")
        self.sessions = Sessions(self.account, token_seconds)
        self.storage = Storage()
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, Any]] = []
        self._operations = {
            (f"/v1{path}", method.upper()): operation
            for path, methods in contract()["paths"].items()
            for method, operation in methods.items()
        }
        self._start(port)

    def _start(self, port: int) -> None:
        self._unreachable = False
        config = uvicorn.Config(
            self._serve,
            host="127.0.0.1",
            port=port,
            log_level="error",
            date_header=False,
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{port}/"
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join(10)

    def _leave(self) -> None:
        """Listen no longer, and keep no connection open: the next one is refused."""
        self._unreachable = True
        for server in self._server.servers:
            server.close()

    def reopen(self) -> None:
        """Listen at the same port again."""
        self.__exit__()
        self._start(int(self.root.rsplit(":", 1)[1].rstrip("/")))
        self.__enter__()

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a plugin that uses this server, every workspace included."""
        return {
            "api_url": f"{self.root}v1",
            "api_key": sessions.API_KEY,
            "email": sessions.EMAIL,
            "password": sessions.PASSWORD,
            "workspace_ids": [self.account.hidden_workspace_id],
        }

    def inject(self, *faults: Fault) -> None:
        """Misbehave from now on."""
        self.faults.extend(faults)

    def count(self, operation: str) -> int:
        """Return how often an operation was called."""
        return sum(name == operation for name, _ in self.requests)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path.startswith("/storage/"):
            response = await self._download(request)
        else:
            response = await self._call(request)
        if response is None:
            _reset(send)
        else:
            response.headers["Date"] = format_datetime(self.account.now, usegmt=True)
            if self._unreachable:
                response.headers["Connection"] = "close"
            await response(scope, receive, send)

    async def _download(self, request: Request) -> Response | None:
        fault = self._fault("storage", str(request.url))
        self.requests.append(("storage", request.headers.get("range")))
        await _wait(fault)
        expired = fault is not None and fault.kind == "expired_url"
        response = self.storage.serve(request, expired=expired)
        if fault is None:
            return response
        if fault.kind == "server_error":
            return Response("canary: storage failed", int(fault.option or 503))
        return _distorted(response, fault)

    async def _call(self, request: Request) -> Response | None:
        path = request.url.path
        operation = self._operations.get((path, request.method))
        if operation is None:
            return JSONResponse({"message": "canary: no such path"}, 404)
        name = operation["operationId"]
        raw = await request.body()
        fault = self._fault(name, raw.decode(errors="replace"))
        await _wait(fault)
        with self.account.lock:
            try:
                response = await self._answer(name, request, raw, fault)
            except Refusal as refusal:
                status = refusal.status(self.account.status_codes)
                response = JSONResponse(refusal.body(), status)
                if fault and fault.kind == "rate_limited":
                    response.headers["Retry-After"] = self._retry_after(fault.option)
        if fault and fault.kind == "dialect":
            return dialect.spoken(name, response)
        return _distorted(response, fault) if fault else response

    async def _answer(
        self, name: str, request: Request, raw: bytes, fault: Fault | None
    ) -> Response:
        work(self.account)
        self._spoil(fault)
        body = await _body(name, request, raw)
        if fault and fault.kind == "renamed_key":
            ours, theirs = fault.option.split("=")
            named = {key: value for key, value in body.items() if key != ours}
            body = {ours if key == theirs else key: value for key, value in named.items()}
        self.requests.append((name, body))
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name == "login":
            check(name, body)
            key = request.headers.get("x-api-key")
            return JSONResponse(self.sessions.log_in(key, body["email"], body["password"]))
        if name == "refresh":
            return JSONResponse(self.sessions.refresh(bearer))
        self.sessions.check(bearer)
        self._check_gateway(request)
        if name == "upload_customers" and len(raw) > self.account.upload_bytes:
            raise Refusal("too_large", "canary: too many bytes")
        if "file" in body:
            check(name, body | {"file": "checked by its own reader"}, MULTIPART)
        else:
            check(name, body)
        if fault and fault.kind == "ignored":
            return JSONResponse({"message": "canary: done"})
        if fault and fault.kind == "same_page" and "page" in body:
            body = body | {"page": int(fault.option or 1)}
        if fault and fault.kind == "same_run":
            body = {key: value for key, value in body.items() if key != "run_number"}
        answer = OPERATIONS[name](Service(self.account, self.storage, self.root), body)
        if isinstance(answer, Response):
            return answer
        return JSONResponse(wire.in_numbers(answer) if self.account.numeric_ids else answer)

    def _fault(self, operation: str, content: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.takes(operation, content)), None)

    def _spoil(self, fault: Fault | None) -> None:
        """Refuse, or change what the request meets."""
        match fault and fault.kind:
            case "change":
                assert fault
                fault.then(self.account)
            case "expired_token":
                self.sessions.end_all()
            case str() as kind if kind in REFUSED:
                raise Refusal(kind, "canary: refused on order")
            case "unreachable":
                self._leave()

    def _check_gateway(self, request: Request) -> None:
        """Ask for x-auth-context where the account's gateway does."""
        if self.account.api_code is None or "/campaign/" not in request.url.path:
            return
        expected = {"api_access": True, "api_code": self.account.api_code}
        try:
            sent = json.loads(request.headers.get("x-auth-context", ""))
        except ValueError:
            sent = None
        if sent != expected or not request.headers.get("x-ip"):
            raise Refusal("refused", "canary: the gateway wants x-auth-context and x-ip")

    def _retry_after(self, option: str) -> str:
        if option == "date":
            return format_datetime(self.account.now + timedelta(seconds=1), usegmt=True)
        return option or "0"


async def _body(name: str, request: Request, raw: bytes) -> Body:
    """Read a body of the media type that the operation takes.

    Raises:
        Refusal: for any other body.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if name == "upload_customers" and media_type == MULTIPART:
        return await _form(request)
    if name == "refresh":
        return {}
    if media_type != JSON:
        raise Refusal("bad_request", "canary: the Content-Type")
    try:
        decoded = json.loads(raw)
    except ValueError:
        raise Refusal("bad_request", "canary: the body is no JSON") from None
    if not isinstance(decoded, dict):
        raise Refusal("bad_request", "canary: the body is no object")
    return decoded


async def _form(request: Request) -> Body:
    """Read a multipart body: its fields as text, its file as bytes."""
    try:
        async with request.form() as form:
            body: Body = {
                key: value if isinstance(value, str) else await value.read()
                for key, value in form.items()
            }
    except MultiPartException:
        raise Refusal("bad_request", "canary: the body is no multipart form") from None
    if body.get("validate_only") in {"true", "false"}:
        body["validate_only"] = body["validate_only"] == "true"
    if isinstance(body.get("file"), str):
        raise Refusal("bad_request", "canary: the file is no file")
    return body


async def _wait(fault: Fault | None) -> None:
    if fault and fault.kind == "latency":
        await asyncio.sleep(float(fault.option or 0.05))


def _distorted(  # noqa: C901, PLR0911, PLR0912 - a table of kinds returns once a kind
    response: Response, fault: Fault
) -> Response | None:
    """Return what a fault makes of an answer; None for a connection reset instead of one."""
    match fault.kind:
        case "reset_before":
            return None
        case "server_error":
            return JSONResponse({"message": "canary: failed"}, int(fault.option or 500))
        case "reset" | "truncated" as kind:
            return _cut(response, reset=kind == "reset")
        case "drip":
            return _dripping(response, float(fault.option or 0.001))
        case "empty":
            return Response(b"", response.status_code, media_type=response.media_type)
        case "truncated_gzip":
            return _cut_gzip(response)
        case "reported_failure" if response.status_code in {200, 206}:
            return JSONResponse(REPORTED[fault.option or "flag"])
        case "error_page" if response.status_code in {200, 206}:
            media_type, page = PAGES[fault.option or "html"]
            return Response(page, media_type=media_type)
    if response.status_code != 200 or response.media_type != JSON:
        return response
    body = bytes(response.body)
    match fault.kind:
        case "invalid_json":
            return Response(body[: len(body) // 2], media_type=JSON)
        case "unexpected_shape":
            return JSONResponse("canary: a shape that nobody knows")
        case "envelope":
            answer = json.loads(body)
            if fault.option != "bare":
                return JSONResponse({fault.option: answer})
            alone = isinstance(answer, dict) and len(answer) == 1
            return JSONResponse(next(iter(answer.values())) if alone else answer)
        case "edited":
            return JSONResponse(fault.edit(json.loads(body)))
        case "huge":
            return Response(body + b" " * int(fault.option or 2**20), media_type=JSON)
        case "renamed_key":
            ours, theirs = fault.option.split("=")
            return Response(
                body.replace(f'"{ours}":'.encode(), f'"{theirs}":'.encode()), media_type=JSON
            )
    return response


def _dripping(response: Response, pause: float) -> Response:
    """Send a body in at most a hundred pieces with a pause after each."""
    body = bytes(response.body)
    size = len(body) // 100 + 1

    async def drops() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]
            await asyncio.sleep(pause)

    return StreamingResponse(drops(), response.status_code, dict(response.headers))


def _cut(response: Response, *, reset: bool) -> Response:
    """Promise a whole body and break off half-way, by a reset or by an early end."""
    body = bytes(response.body)

    async def half() -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        raise _ResetError if reset else _EndError

    headers = {**dict(response.headers), "Content-Length": str(len(body))}
    return _Broken(half(), response.status_code, headers)


def _cut_gzip(response: Response) -> Response:
    """Compress a body and send half of it, in chunks that end as they should."""
    packed = gzip.compress(bytes(response.body), mtime=0)

    async def half() -> AsyncIterator[bytes]:
        yield packed[: len(packed) // 2]

    headers = {k: v for k, v in response.headers.items() if k.lower() != "content-length"}
    headers["Content-Encoding"] = "gzip"
    return StreamingResponse(half(), response.status_code, headers)


class _ResetError(Exception):
    """The connection is to be reset."""


class _EndError(Exception):
    """The connection is to be closed early."""


class _Broken(StreamingResponse):
    """An answer that breaks off as its iterator says."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            await self.stream_response(send)
        except _ResetError:
            _reset(send)
        except _EndError:
            _transport(send).close()


def _transport(send: Send) -> asyncio.Transport:
    """Return the connection under an ASGI send; uvicorn 0.54 keeps it on the bound object."""
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    return transport


def _reset(send: Send) -> None:
    """Close the connection so that the peer sees a reset (SO_LINGER 0)."""
    transport = _transport(send)
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
