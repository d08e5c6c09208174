"""A local S3 that fails on order, and lists new objects late."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

REFUSALS = {
    "store fails": ("500 Internal Server Error", "InternalError"),
    "store is too busy": ("503 Slow Down", "SlowDown"),
    "store refuses access": ("403 Forbidden", "AccessDenied"),
}
"""Kinds of faults that are answers: status and code."""

SHARE = 0.4
"""How many of all trials have a bucket."""

KINDS = (*REFUSALS, "store resets", "store loses its answer", "store cuts its answer", "store slow")

OURS = "campaign"
"""In the User-Agent of requests that nothing happens to: those of a trial itself."""

SLOW_SECONDS = 0.05

REGION = "eu-central-1"


@dataclass
class StoreFault:
    """What the store does wrong, and how often.

    Attributes:
        kind: One of :data:`KINDS`.
        method: ``GET``, ``PUT``, ``POST``, ``LIST`` or ``*``.
        times: How many requests it spoils.
        after: How many requests pass before the first.
    """

    kind: str
    method: str
    times: int
    after: int

    def takes(self, method: str) -> bool:
        """Say whether this request is spoiled, and count it."""
        if self.method not in {method, "*"} or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


def drawn(name: str) -> Bucket | None:
    """Return a bucket for some trials, with a chance of its own, which changes nothing else."""
    chance = random.Random(name)
    return Bucket(chance) if chance.random() < SHARE else None


class Bucket:
    """A bucket of its own, behind a server that does wrong what it is told to.

    Args:
        chance: Draws what goes wrong.

    Attributes:
        faults: What goes wrong from now on.
        before_listing: Called before objects are listed.
        hidden: Keys that are left out of the next listings.
        listings: Of how many.
    """

    def __init__(self, chance: random.Random) -> None:
        """Start nothing yet."""
        self._chance = chance
        self.faults: list[StoreFault] = []
        self.before_listing: Callable[[], object] = lambda: None
        self.hidden: set[str] = set()
        self.listings = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the server, and make the bucket."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        server: Any = self._server._server  # noqa: SLF001 (it takes no other application)
        self._store, server.app = server.app, self._serve
        server.log = lambda *_: None
        host, port = self._server.get_host_and_port()
        self._name = f"trial-{port}-{self._chance.getrandbits(32)}"
        self.environment: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "canary-store-secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": self._chance.choice(("1", "2", "5")),
        }
        self._client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            config=Config(user_agent_extra=OURS),
        )
        where: Any = {"LocationConstraint": REGION}
        self._client.create_bucket(Bucket=self._name, CreateBucketConfiguration=where)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; the store would keep the objects as long as the process lives."""
        for key in self.keys(""):
            self.delete(key)
        self._client.close()
        self._server.stop()

    @property
    def root(self) -> str:
        """Its URL."""
        return f"s3://{self._name}"

    @property
    def lists_all(self) -> bool:
        """Whether no object is left out of listings."""
        return not self.hidden

    def fail(self) -> list[str]:
        """Draw what goes wrong from now on, and return its kinds."""
        chance = self._chance
        self.faults = [
            StoreFault(
                chance.choice(KINDS),
                chance.choice(("GET", "GET", "PUT", "POST", "LIST", "*")),
                times=chance.choice((1, 1, 2, 4, 1000)),
                after=chance.choice((0, 0, 1, 2, 5, chance.randint(0, 30))),
            )
            for _ in range(chance.choice((0, 1, 1, 2, 3)))
        ]
        return [fault.kind for fault in self.faults]

    def heal(self) -> None:
        """Do nothing wrong, and list everything."""
        self.faults = []
        self.hidden.clear()

    def hide(self, keys: Iterable[str]) -> bool:
        """Leave some of new objects out of the next listings; say whether there are any."""
        chance = self._chance
        self.hidden = {key for key in keys if chance.random() < 0.5}
        self.listings = chance.choice((1, 3, 10, 1000))
        return bool(self.hidden)

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._client.put_object(Bucket=self._name, Key=key, Body=content)

    def get(self, url: str) -> bytes:
        """Read an object by its URL."""
        key = url.removeprefix(f"{self.root}/")
        content: bytes = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        return content

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._client.delete_object(Bucket=self._name, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """List what is there."""
        pages = self._client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self._name, Prefix=prefix)
        return [item["Key"] for page in found for item in page.get("Contents", ())]

    def copy(self, prefix: str, folder: Path) -> None:
        """Copy what is there into a folder."""
        for key in self.keys(prefix):
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.get(f"{self.root}/{key}"))

    def _serve(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 (WSGI)
        if OURS in environ.get("HTTP_USER_AGENT", ""):
            return self._answer(environ, start)
        listing = "list-type=" in environ.get("QUERY_STRING", "")
        if listing:
            self.before_listing()
        method = "LIST" if listing else environ["REQUEST_METHOD"]
        with self._lock:
            fault = next((fault for fault in self.faults if fault.takes(method)), None)
        kind = fault.kind if fault else ""
        if kind in REFUSALS:
            status, code = REFUSALS[kind]
            start(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>canary</Message></Error>".encode()]
        if kind == "store resets":
            _reset(environ)
        if kind == "store slow":
            time.sleep(SLOW_SECONDS)
        told: list[Any] = []
        body = b"".join(self._answer(environ, lambda *answer: told.extend(answer[:2])))
        if kind == "store loses its answer":
            _reset(environ)
        status, headers = told
        if listing and self.hidden and self.listings:
            self.listings -= 1
            body = _without(self.hidden, body)
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        start(status, headers)
        return _half(body, environ) if kind == "store cuts its answer" and body else [body]

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 (WSGI)
        answer: Iterable[bytes] = self._store(environ, start)
        return answer


def _reset(environ: dict[str, Any]) -> None:
    """Let the connection end without a word."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _half(body: bytes, environ: dict[str, Any]) -> Iterable[bytes]:
    yield body[: len(body) // 2]
    _reset(environ)


def _without(keys: Iterable[str], listing: bytes) -> bytes:
    """Leave objects out of a listing."""
    text = listing.decode()
    for key in keys:
        entry = f"<Contents>\\s*<Key>{re.escape(key)}</Key>.*?</Contents>"
        text = re.sub(entry, "", text, flags=re.DOTALL)
    return text.encode()
