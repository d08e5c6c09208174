"""Serve an account over HTTP, as strictly as the contract says."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Self

import jsonschema
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tap_nudgescribe.contract import contract
from tests.local_api.account import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from tests.local_api.faults import Fault

JSON_ROWS = 1000
CREDENTIALS = {"api_key": "key-canary-1", "email": "user@example.com", "password": "pass-canary-2"}


class Refusal(Exception):  # noqa: N818
    """An answer other than success."""

    def __init__(self, status: int, message: str) -> None:
        """Remember the status and the message."""
        super().__init__(message)
        self.response = JSONResponse({"message": message}, status)


class Sandbox:
    """A running server.

    Args:
        account: Whose state it shows.
        older: Whether it answers with the status codes of the older pages.
        token_seconds: How long an access token lives.
        port: Where it listens; 0 for any free port.
    """

    def __init__(
        self,
        account: Account | None = None,
        *,
        older: bool = False,
        token_seconds: float = 14 * 86400,
        port: int = 0,
    ) -> None:
        """Prepare; :meth:`__enter__` starts it."""
        self.account = account or Account()
        self.older = older
        self.token_seconds = token_seconds
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, Any]] = []
        self.log_ins = 0
        self._tokens = 0
        self._alive: set[str] = set()
        self._refreshers: set[str] = set()
        self._urls: dict[str, tuple[str, int, int, float]] = {}
        self.url_seconds = 900.0
        self._lock = threading.Lock()
        self._paths = {
            (path, method.upper()): operation
            for path, methods in contract()["paths"].items()
            for method, operation in methods.items()
        }
        routes = [
            Route("/storage/{token}", self._storage, methods=["GET"]),
            Route("/_control/live", self._live, methods=["POST"]),
            Route("/_control/truth", self._truth, methods=["GET"]),
        ]
        for path, method in self._paths:
            routes.append(Route(f"/v1{path}", self._call, methods=[method]))
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=port,
            log_level="critical",
            date_header=False,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        """Start on a free port and wait until it answers."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a plugin that uses this server."""
        return CREDENTIALS | {
            "api_url": self.url,
            "workspace_ids": [self.account.hidden_workspace_id],
        }

    def inject(self, *faults: Fault) -> None:
        """Misbehave from now on."""
        self.faults.extend(faults)

    def count(self, operation: str) -> int:
        """Return how often an operation was called."""
        return sum(name == operation for name, _ in self.requests)

    def expire_tokens(self) -> None:
        """End all sessions on the server's side."""
        self._alive.clear()

    async def _live(self, _: Request) -> Response:
        with self._lock:
            self.account.live_a_day()
        return JSONResponse({})

    async def _truth(self, _: Request) -> Response:
        with self._lock:
            return JSONResponse({name: len(keys) for name, keys in self.account.truth().items()})

    async def _call(self, request: Request) -> Response:
        operation = self._paths[request.url.path.removeprefix("/v1"), request.method]
        name = operation["operationId"]
        raw = await request.body()
        fault = next((f for f in self.faults if f.takes(name, raw.decode())), None)
        kind = fault.kind if fault else ""
        option = fault.option if fault else ""
        with self._lock:
            try:
                self._spoil(kind, option)
                body = json.loads(raw) if raw else None
                if kind == "renamed_key":
                    old, new = option.split("=")
                    body = {(old if k == new else k): v for k, v in (body or {}).items()}
                self.requests.append((name, body))
                self._authenticate(name, request)
                self._validate(operation, body)
                response = self._answer(name, body or {}, request)
            except Refusal as refusal:
                response = refusal.response
        response = self._distort(response, kind, option)
        response.headers["Date"] = format_datetime(self.account.now, usegmt=True)
        return response

    def _spoil(self, kind: str, option: str) -> None:
        match kind:
            case "rate_limited":
                refusal = Refusal(429, "slow down")
                refusal.response.headers["Retry-After"] = option or "0"
                raise refusal
            case "server_error":
                raise Refusal(int(option or 500), "canary-body failed")
            case "expired_token":
                self._alive.clear()
            case "refused":
                raise Refusal(403, "canary-body refused")
            case "not_found":
                raise Refusal(404, "canary-body not found")
            case "missing_field":
                raise Refusal(401, "canary-body missing")

    def _distort(self, response: Response, kind: str, option: str) -> Response:
        spoilable = response.media_type == "application/json" or kind in {"reset", "truncated"}
        if response.status_code != 200 or not spoilable:
            return response
        body = bytes(response.body)
        match kind:
            case "reset" | "truncated":
                return _cut(body, response.media_type)
            case "invalid_json":
                return Response(body[: len(body) // 2], media_type="application/json")
            case "unexpected_shape":
                return JSONResponse("canary-shape")
            case "envelope":
                return JSONResponse({option: json.loads(body)})
            case "renamed_key":
                old, new = option.split("=")
                text = body.decode().replace(f'"{old}":', f'"{new}":')
                return Response(text, media_type="application/json")
        return response

    def _authenticate(self, name: str, request: Request) -> None:
        refused = Refusal(401 if self.older else 403, "canary-body not authenticated")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name == "login":
            if request.headers.get("x-api-key") != CREDENTIALS["api_key"]:
                raise refused
        elif name == "refresh":
            if bearer not in self._refreshers:
                raise refused
        elif bearer not in self._alive:
            raise refused

    def _validate(self, operation: dict[str, Any], body: Any) -> None:
        if "requestBody" not in operation:
            return
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        document = {"$ref": "#/x", "x": schema, "components": contract()["components"]}
        problems = list(jsonschema.Draft202012Validator(document).iter_errors(body))
        if any(problem.validator == "required" for problem in problems):
            raise Refusal(400 if self.older else 401, problems[0].message)
        if problems:
            raise Refusal(400, problems[0].message)

    def _session(self) -> JSONResponse:
        self._tokens += 1
        claims = {"exp": time.time() + self.token_seconds, "user_id": "u1", "n": self._tokens}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        access, refresh = f"canary.{payload}.sig", f"canary-refresh-{self._tokens}"
        self._alive.add(access)
        self._refreshers.add(refresh)
        return JSONResponse({"access_token": access, "refresh_token": refresh})

    def _answer(self, name: str, body: dict[str, Any], request: Request) -> Response:
        account = self.account
        match name:
            case "login":
                if (body["email"], body["password"]) != (
                    CREDENTIALS["email"],
                    CREDENTIALS["password"],
                ):
                    raise Refusal(401 if self.older else 403, "canary-body wrong password")
                self.log_ins += 1
                return self._session()
            case "refresh":
                return self._session()
            case "list_campaigns":
                return JSONResponse(self._windowed(body))
            case "list_groups" | "list_fields":
                table = account.groups if name == "list_groups" else account.fields
                return JSONResponse(_found(table.get(body["workspace_id"])))
            case "count_customer_pages" | "list_customers":
                people = _found(account.people.get(body["customer_group_id"]))
                size = account.page_size
                if name == "count_customer_pages":
                    return JSONResponse({"pages": -(-len(people) // size)})
                start = (body["page"] - 1) * size
                return JSONResponse(people[start : start + size])
        campaign = _found(account.campaign(body["campaign_id"]))
        if name in {"list_runs", "list_run_messages"} and not account.rerun_enabled:
            raise Refusal(404, "no reruns")
        run = body.get("run_number") or campaign["run_number"]
        key = (campaign["campaign_id"], run)
        match name:
            case "list_runs":
                return JSONResponse(account.runs[campaign["campaign_id"]])
            case "list_run_messages":
                return JSONResponse(_found(account.messages.get(key)))
            case "publish_messages":
                if not account.publish_quota:
                    raise Refusal(503, "quota exceeded")
                account.publish_quota -= 1
                account.publish(campaign)
                return JSONResponse({"message": "Messages created successfully", "key": "x/*"})
            case "count_message_files":
                pages = account.visible.get(key, 0)
                if pages < len(account.files.get(key, [])):
                    account.visible[key] = pages + 1
                return JSONResponse({"pages": pages})
            case "fetch_message_file":
                return self._file(key, body, request)
        raise Refusal(500, f"{name} is not served")

    def _windowed(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        since = body.get("published_from")
        if not since:
            return self.account.workspaces
        return [
            w | {"campaigns": [c for c in w["campaigns"] if (c["published_at"] or "") >= since]}
            for w in self.account.workspaces
        ]

    def _file(self, key: tuple[str, int], body: dict[str, Any], request: Request) -> Response:
        files = self.account.files.get(key, [])[: self.account.visible.get(key, 0)]
        if body["page"] > len(files):
            raise Refusal(404, "no such file")
        if body["format"] == "csv":
            return Response(files[body["page"] - 1], media_type="text/csv")
        if body["format"] == "json":
            return JSONResponse([{"Message ID": "x"}] * JSON_ROWS)
        if body.get("run_number"):
            raise Refusal(400, "no URL for historical runs")
        token = f"canary-url-{len(self._urls)}"
        self._urls[token] = (*key, body["page"], time.time() + self.url_seconds)
        return JSONResponse({"url": f"{request.base_url}storage/{token}?signature=canary-sig"})

    async def _storage(self, request: Request) -> Response:
        fault = next((f for f in self.faults if f.takes("storage", str(request.url))), None)
        self.requests.append(("storage", request.headers.get("range")))
        campaign, run, page, ends = self._urls[request.path_params["token"]]
        expired = time.time() > ends or (fault and fault.kind == "expired_url")
        if "authorization" in request.headers:
            return Response("no bearer here", 400)
        if expired:
            return Response("expired", 403)
        if fault and fault.kind == "server_error":
            return Response("storage failed", 503)
        content = self.account.files[campaign, run][page - 1]
        headers = {"ETag": f'"{campaign}-{run}-{page}"'}
        status = 200
        if found := request.headers.get("range"):
            start = int(found.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return Response(status_code=416)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        if fault and fault.kind == "truncated":
            return _cut(content, "text/csv", status, headers)
        return Response(content, status, headers, "text/csv")


def _found(value: Any) -> Any:
    if value is None:
        raise Refusal(404, "no such thing")
    return value


def _cut(
    body: bytes, media_type: str | None, status: int = 200, headers: dict[str, str] | None = None
) -> StreamingResponse:
    """Promise a whole body and break off half-way."""

    async def half() -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        await asyncio.sleep(0)
        raise ConnectionResetError

    promised = {"Content-Length": str(len(body))} | (headers or {})
    return StreamingResponse(half(), status, promised, media_type)
