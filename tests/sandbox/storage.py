"""The storage behind presigned URLs: it knows no bearer, URLs expire, ranges are served."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from tests.sandbox.files import MessageFile

_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class Storage:
    """Presigned URLs and the files behind them.

    Attributes:
        url_seconds: How long a URL made from now on lives.
    """

    url_seconds: float = 900

    def __post_init__(self) -> None:
        self._urls: dict[str, tuple[MessageFile, float]] = {}

    def presign(self, file: MessageFile) -> str:
        """Return the path and query of a new URL."""
        token = f"canary-url-{len(self._urls)}"
        self._urls[token] = (file, time.time() + self.url_seconds)
        return f"storage/{token}?X-Signature=canary-signature"

    def serve(self, request: Request, *, expired: bool) -> Response:
        """Answer a download: 400 with a bearer, 403 when expired, else 200, 206, 412 or 416."""
        token = request.url.path.rpartition("/")[2]
        file, ends = self._urls.get(token, (None, 0))
        if "authorization" in request.headers:
            return Response("canary: only one way to authenticate is allowed", 400)
        if file is None or expired or time.time() > ends:
            return Response("canary: the request has expired", 403)
        content, etag = file.content(), file.etag()
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if request.headers.get("if-match", etag) != etag:
            return Response("canary: the file is another one", 412)
        found = _RANGE.fullmatch(request.headers.get("range", ""))
        if not found:
            return Response(content, 200, headers, "text/csv")
        start = int(found[1])
        if start >= len(content):
            return Response(status_code=416)
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Response(content[start:], 206, headers, "text/csv")
