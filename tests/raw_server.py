"""Answer HTTP requests with bytes that no proper server would send."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOGGED_IN = {"access_token": "a.b.c", "refresh_token": "r"}

DRIP_SECONDS = 0.02


def answer(
    content: bytes, status: str = "200 OK", media_type: str = "application/json", **headers: str
) -> bytes:
    """Return a proper answer; the names of headers have _ for -.

    It says that the connection ends, which it does: a client that used it again would race.
    """
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def drip(content: bytes) -> Iterable[bytes]:
    """Yield one byte after the other, slowly."""
    for byte in content:
        time.sleep(DRIP_SECONDS)
        yield bytes([byte])


@dataclass
class RawServer:
    """A server on loopback.

    Args:
        pieces: Returns what is sent to a request, by its path; log-ins are answered otherwise.
        logged_in: The answer to a log-in.

    Attributes:
        requests: The heads of all requests.
    """

    pieces: Callable[[str], Iterable[bytes]]
    logged_in: Any = field(default_factory=lambda: LOGGED_IN)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free port."""
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    owner._serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.root = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a client of this server."""
        secrets = {"api_key": "key", "email": "user@example.com", "password": "pass"}
        return {"api_url": f"{self.root}/v1", "max_tries": 1, **secrets}

    def _serve(self, handler: socketserver.StreamRequestHandler) -> None:
        head = b""
        while line := handler.rfile.readline():
            head += line
            if line == b"\r\n":
                break
        if not head:
            return
        length = next(
            (ln.split(b":")[1] for ln in head.splitlines() if ln.lower().startswith(b"content-le")),
            b"0",
        )
        handler.rfile.read(int(length))
        self.requests.append(head.decode())
        path = head.split()[1].decode()
        logs_in = path.endswith("/auth")
        for piece in (
            [answer(json.dumps(self.logged_in).encode())] if logs_in else self.pieces(path)
        ):
            handler.wfile.write(piece)
