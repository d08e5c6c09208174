"""Serve one published campaign with given message files: fast, and as unreliable as told."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

CAMPAIGN = {
    "campaign_id": "ca-1",
    "name": "One",
    "status": "Published",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00Z",
    "published_at": "2026-01-02T00:00:00Z",
    "customer_group_id": "cg-1",
}
WORKSPACE = {"workspace_id": "ws-1", "workspace_name": "Space"}
ACCOUNT_ID = "ac-1"
SENT_AT_ONCE = 1024 * 1024


@dataclass(frozen=True)
class Content:
    """A file's bytes: a beginning, and a block that is repeated after it."""

    begin: bytes
    block: bytes = b""
    times: int = 0

    def __len__(self) -> int:
        """Return the length in bytes."""
        return len(self.begin) + len(self.block) * self.times

    def pieces(self, offset: int) -> Iterator[memoryview]:
        """Yield the bytes from an offset on."""
        for part in (self.begin, *[self.block] * self.times):
            if offset < len(part):
                view = memoryview(part)[offset:]
                for begin in range(0, len(view), SENT_AT_ONCE):
                    yield view[begin : begin + SENT_AT_ONCE]
            offset = max(0, offset - len(part))


@dataclass
class MessageServer:
    """The API as far as published messages and customers go.

    Args:
        files: Of the current run.
        older: Of the run before it, if there is one.
        suffix: What the path of a download URL ends with.
        cuts: After how many bytes to break off: one is used up by each download.
        stalls: Whether a connection that is cut is left open, and silent.
        expired: How many download URLs have expired before they are used.
        changes: Whether each download has another ETag.
        odd_headers: Whether the headers of a download hold a line that is none.
        file_root: Where download URLs lead, if not to this server.
        tls: What to speak TLS with.
        pages: How many pages of customers there are.
        page_rows: How many customers a page has.
        latency: Seconds that a page of customers takes.
    """

    files: list[Content]
    older: list[Content] = field(default_factory=list)
    suffix: str = ""
    cuts: list[int] = field(default_factory=list)
    stalls: bool = False
    expired: int = 0
    changes: bool = False
    odd_headers: bool = False
    pages: int = 0
    page_rows: int = 0
    latency: float = 0.0
    requests: list[tuple[str, Any]] = field(default_factory=list)
    file_root: str = ""
    tls: ssl.SSLContext | None = None
    header_names: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if self.tls else "http"
        self.root = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a tap that uses this server."""
        return {
            "api_url": f"{self.root}/v1",
            "api_key": "key",
            "email": "user@example.com",
            "password": "pass",
            "max_tries": 3,
        }

    def answer(self, path: str, body: dict[str, Any]) -> Any:  # noqa: C901, PLR0911 (a table)
        """Return the answer to an API call: JSON, or the content of a file."""
        run = 2 if self.older else 1
        files = self.older if body.get("run_number") not in {None, run} else self.files
        match path:
            case "/v1/auth":
                claims = {"exp": time.time() + 9e5, "account_id": ACCOUNT_ID}
                token = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
                return {"access_token": f"x.{token}.x", "refresh_token": "r"}
            case "/v1/campaign/all":
                return [WORKSPACE | {"campaigns": [CAMPAIGN | {"run_number": run}]}]
            case "/v1/campaign/rerun/history":
                published = CAMPAIGN["published_at"]
                return [
                    {"run_number": number, "status": "Published", "published_at": published}
                    for number in range(run, 0, -1)
                ]
            case "/v1/messages/pages":
                return {"pages": len(files)}
            case "/v1/messages/fetch" if (
                body["page"] > len(files) or (body.get("run_number") or run) > run
            ):
                return None
            case "/v1/messages/fetch" if body["format"] == "url":
                path = f"file/{body['page'] - 1}{self.suffix}?signature=canary"
                return {"url": f"{self.file_root or self.root}/{path}"}
            case "/v1/messages/fetch":
                return files[body["page"] - 1]
            case "/v1/cg":
                return [{"customer_group_id": "cg-1", "name": "Group"}] if self.pages else []
            case "/v1/customer/pages":
                return {"pages": self.pages}
            case "/v1/customer":
                time.sleep(self.latency)
                first = (body["page"] - 1) * self.page_rows
                return [
                    {"customer_id": f"c{first + row}", "profile": {"First Name": "Ada"}}
                    for row in range(self.page_rows)
                ]
        return []


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: a client may go away."""


class _Handler(BaseHTTPRequestHandler):
    server_state: MessageServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.server_state.header_names.update(self.headers)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.server_state.requests.append((self.path, body))
        answer = self.server_state.answer(self.path, body)
        if isinstance(answer, Content):
            self._send_file(answer, 0)
            return
        data = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def do_GET(self) -> None:
        state = self.server_state
        state.header_names.update(self.headers)
        state.requests.append(("file", self.headers.get("Range")))
        assert "Authorization" not in self.headers
        if state.expired:
            state.expired -= 1
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        number = int(self.path.split("/")[2].split("?")[0].split(".")[0])
        offset = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self._send_file(state.files[number], offset)

    def _send_file(self, content: Content, offset: int) -> None:
        state = self.server_state
        cut = state.cuts.pop(0) if state.cuts else None
        self.send_response(206 if offset else 200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(content) - offset))
        if offset:
            content_range = f"bytes {offset}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", content_range)
        if state.odd_headers:
            self.send_header("X-Odd", "1\r\nno header at all")
        self.send_header("ETag", f'"{len(state.requests) if state.changes else "e"}"')
        self.end_headers()
        for piece in content.pieces(offset):
            part = piece if cut is None else piece[:cut]
            try:
                self.wfile.write(part)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
                return
            if cut is not None:
                cut -= len(part)
                if cut <= 0:
                    self.wfile.flush()
                    if state.stalls:
                        self.rfile.read()  # until the client goes away
                    self.close_connection = True
                    break
        self.wfile.flush()
