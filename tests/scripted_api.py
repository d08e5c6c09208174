"""An account whose responses a test writes itself, byte by byte; and the tap in this process."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from singer_sdk.singerlib import Catalog

from tap_nudgescribe.tap import TapNudgescribe
from tests.conftest import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORKSPACE_ID = "w-1"
GROUP = {"customer_group_id": "g-1", "name": "Group"}


@dataclass
class ScriptedApi:
    """An API on loopback; what it says may be changed between two runs.

    Args:
        fields: Profile fields: name to type, or to type and format.
        profiles: Of the group's customers. JSON text is sent as it is.
        campaigns: Of the workspace. JSON text is sent as it is.
        files: Message files, in the order of :attr:`campaigns`, as texts.
        responses: Response bodies by path, instead of those that would be sent.
    """

    fields: Mapping[str, str | tuple[str, str]] = field(default_factory=dict)
    profiles: Sequence[Any] = ()
    campaigns: Sequence[Any] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    responses: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        owner = self

        class Handler(_Handler):
            api = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a tap that uses this server."""
        return {
            "api_url": f"http://127.0.0.1:{self._server.server_port}/v1",
            "api_key": "key",
            "email": "user@example.com",
            "password": "pass",
            "max_tries": 1,
        }

    def response(self, path: str, body: dict[str, Any]) -> str | bytes:  # noqa: C901, PLR0911 (a table)
        """Return the response to a call."""
        if path in self.responses:
            return self.responses[path]
        match path:
            case "/v1/auth":
                return '{"access_token":"a.b.c","refresh_token":"r"}'
            case "/v1/campaign/all":
                campaigns = _listed(self.campaigns)
                return f'[{{"workspace_id":"{WORKSPACE_ID}","campaigns":{campaigns}}}]'
            case "/v1/campaign/rerun/history":
                return '[{"run_number":1,"status":"Published"}]'
            case "/v1/cg":
                return json.dumps([GROUP] if self.profiles else [])
            case "/v1/cpf":
                return json.dumps([_field(*one) for one in self.fields.items()])
            case "/v1/customer/pages":
                return '{"pages":1}'
            case "/v1/customer":
                return _listed(
                    f'{{"customer_id":"c-{number}","updated_at":"2026-01-01T00:00:00Z",'
                    f'"profile":{_json(profile)}}}'
                    for number, profile in enumerate(self.profiles)
                )
            case "/v1/messages/pages":
                return json.dumps({"pages": len(self.files.get(body["campaign_id"], ()))})
            case "/v1/messages/fetch" if body["format"] == "url":
                return json.dumps(
                    {"url": f"{self.config['api_url']}/f/{body['campaign_id']}/{body['page']}"}
                )
        return "[]"

    def tap(
        self,
        *streams: str,
        catalog: Mapping[str, Any] | None = None,
        state: Any = None,
        **config: Any,
    ) -> Run:
        """Run the tap in this process.

        Args:
            streams: What is selected; everything if none is named.
            catalog: What it is given; what it discovers, if none.
            state: What it is given.
            config: Further settings.
        """
        given = dict(catalog or self.discover(**config)) if streams or catalog else None
        if given and streams:
            given = _selecting(given, *streams)
        with _logged() as log, _written() as out:
            tap = TapNudgescribe(config=self.config | config, catalog=given, state=state)
            code = tap.run()
        lines = out.getvalue().splitlines()
        return Run(code, [json.loads(line, parse_float=Decimal) for line in lines], log.getvalue())

    def discover(self, **config: Any) -> dict[str, Any]:
        """Return what the tap discovers, as a user's catalog has it."""
        with _logged():
            found: dict[str, Any] = json.loads(
                json.dumps(TapNudgescribe(config=self.config | config).catalog_dict)
            )
        return found


def properties(catalog: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return the properties of a stream in a catalog."""
    entry = next(e for e in catalog["streams"] if e["tap_stream_id"] == stream)
    found: dict[str, Any] = entry["schema"]["properties"]
    return found


def campaign(campaign_id: str, day: int = 1, **further: Any) -> dict[str, Any]:
    """Return a published campaign."""
    moment = f"2026-01-{day:02d}T00:00:00Z"
    return {
        "campaign_id": campaign_id,
        "status": "Published",
        "published_at": moment,
        "updated_at": moment,
    } | further


def _selecting(catalog: dict[str, Any], *streams: str) -> dict[str, Any]:
    parsed = Catalog.from_dict(json.loads(json.dumps(catalog)))
    for name, entry in parsed.items():
        entry.metadata[()].selected = name in streams
    return parsed.to_dict()


def _field(name: str, kind: str | tuple[str, str]) -> dict[str, Any]:
    kind, form = kind if isinstance(kind, tuple) else (kind, None)
    return {"field_id": name, "field_name": name, "field_type": kind, "field_format": form}


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(values: Any) -> str:
    return f"[{','.join(map(_json, values))}]"


@contextlib.contextmanager
def _written() -> Any:
    """Catch what is written to stdout."""
    buffer = io.BytesIO()
    text = io.TextIOWrapper(buffer, write_through=True)
    with contextlib.redirect_stdout(text):
        yield buffer
    text.detach()


@contextlib.contextmanager
def _logged() -> Any:
    """Catch what is logged."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    root.addHandler(handler)
    ours = logging.getLogger("tap-nudgescribe")
    level = ours.level
    ours.setLevel(logging.INFO)
    try:
        yield text
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)


class _Handler(BaseHTTPRequestHandler):
    api: ScriptedApi
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/v1/auth":
            self._send(self.api.response(self.path, {}))
            return
        _, campaign_id, page = self.path.rsplit("/", 2)
        self._send_file(campaign_id, int(page))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.api.requests.append((self.path, body))
        if self.path == "/v1/messages/fetch" and body["format"] == "csv":
            self._send_file(body["campaign_id"], body["page"])
            return
        self._send(self.api.response(self.path, body))

    def _send_file(self, campaign_id: str, page: int) -> None:
        files = self.api.files.get(campaign_id, [])
        if page > len(files):
            self._send("{}", status=404)
        else:
            self._send(files[page - 1], "text/csv")

    def _send(
        self, content: str | bytes, media_type: str = "application/json", status: int = 200
    ) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
