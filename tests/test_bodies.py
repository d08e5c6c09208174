"""Bodies that are cut, damaged, endless or slow, and downloads that go on after a break."""

from __future__ import annotations

import gzip
import re
import zlib
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from tap_nudgescribe import downloads, transport
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.errors import ApiError, ContractError, NetworkError, ServerError
from tests.raw_server import RawServer, answer, drip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROWS = b"id,Body\n" + b"".join(b"%d,text %d\n" % (n, n * 7919 % 1000) for n in range(5000))

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": gzip.compress,
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "zstd": zstd.compress,
}


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def head(status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunked(content: bytes, **headers: str) -> Iterable[bytes]:
    yield head(Transfer_Encoding="chunked", **headers)
    yield f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"


def client_of(server: RawServer, **config: Any) -> NudgescribeClient:
    client = NudgescribeClient.from_config(server.config | config)
    client.transport._sleep = lambda _: None  # noqa: SLF001 (tests do not wait)
    return client


def opened(client: NudgescribeClient, server: RawServer, *, ranged: bool = True) -> Any:
    def opener(offset: int, etag: str | None) -> Any:
        return client.open_storage(f"{server.root}/f", offset=offset, etag=etag)

    return downloads.download(client, opener, ranged=ranged)


def read(server: RawServer, **config: Any) -> bytes:
    with opened(client_of(server, **config), server) as file:
        content: bytes = file.readall()
        return content


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("framed", [True, False])
def test_a_whole_encoded_body_is_read(encoding: str, *, framed: bool) -> None:
    body = ENCODINGS[encoding](ROWS)

    def pieces(_: str) -> Iterable[bytes]:
        if framed:
            return chunked(body, Content_Encoding=encoding)
        return [head(Content_Encoding=encoding), body]

    with RawServer(pieces) as server:
        assert read(server) == ROWS


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("left", [0.5, 0.99, 5])
@pytest.mark.parametrize("framed", [True, False])
def test_an_encoded_body_that_is_cut_is_not_a_file(
    encoding: str, left: float, *, framed: bool
) -> None:
    body = ENCODINGS[encoding](ROWS)
    cut = body[: int(len(body) * left)] if left < 1 else body[: -int(left)]

    def pieces(_: str) -> Iterable[bytes]:
        if framed:
            return chunked(cut, Content_Encoding=encoding)
        return [head(Content_Encoding=encoding), cut]

    with RawServer(pieces) as server:
        with pytest.raises(NetworkError, match="TruncatedBodyError"):
            read(server, max_tries=2)
        assert sum("/f" in each for each in server.requests) == 2


@pytest.mark.parametrize("behind", [b"garbage", b"\x1f\x8b", b"<html>"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoded_body_with_something_behind_it_is_damaged(encoding: str, behind: bytes) -> None:
    body = ENCODINGS[encoding](ROWS) + behind
    with (
        RawServer(lambda _: chunked(body, Content_Encoding=encoding)) as server,
        pytest.raises(NetworkError),
    ):
        read(server)


def test_members_behind_each_other_are_one_body() -> None:
    parts = [ROWS[:1000], b"", ROWS[1000:40_000], ROWS[40_000:]]
    body = b"".join(map(gzip.compress, parts)) + bytes(100)
    with RawServer(lambda _: chunked(body, Content_Encoding="gzip")) as server:
        assert read(server) == ROWS


def test_deflate_without_a_header_is_deflate() -> None:
    body = raw_deflate(ROWS)
    with RawServer(lambda _: chunked(body, Content_Encoding="deflate")) as server:
        assert read(server) == ROWS


def test_an_encoding_that_was_not_asked_for_is_told() -> None:
    with (
        RawServer(lambda _: chunked(ROWS, Content_Encoding="br")) as server,
        pytest.raises(ContractError, match="Content-Encoding that was not asked for"),
    ):
        read(server)


@pytest.mark.parametrize("left", [0.5, 5])
def test_an_answer_of_the_api_that_is_cut_is_asked_for_again(left: float) -> None:
    listed = gzip.compress(b'[{"customer_group_id": "g"}]' + b" " * 5000)
    cut = listed[: int(len(listed) * left)] if left < 1 else listed[: -int(left)]
    bodies = iter([cut, listed, cut])
    with RawServer(lambda _: chunked(next(bodies), Content_Encoding="gzip")) as server:
        assert client_of(server, max_tries=2).list_groups("w")
        with pytest.raises(ApiError):
            client_of(server, max_tries=1).list_groups("w")


# Going on


class Storage:
    """Serves a file, breaks its first download off half-way, and misbehaves after that."""

    def __init__(self, body: bytes, kind: str) -> None:
        self.body = body
        self.kind = kind
        self.server = RawServer(lambda _: self.pieces())
        self.ranges: list[str | None] = []

    def pieces(self) -> Iterable[bytes]:
        asked = re.search(r"Range: bytes=(\d+)-", self.server.requests[-1])
        self.ranges.append(asked and asked[1])
        start = int(asked[1]) if asked else 0
        size, kind = len(self.body), self.kind
        headers = {"ETag": '"e"'}
        if kind == "encoded":
            headers["Content-Encoding"] = "gzip"
        if kind == "no ETag":
            del headers["ETag"]
        if kind == "weak ETag":
            headers["ETag"] = 'W/"e"'
        if kind == "another ETag":
            headers["ETag"] = f'"{len(self.ranges)}"'
        content, status = self.body, "200 OK"
        if asked and kind in {"412", "416"}:
            return [answer(b"", f"{kind} x")]
        if asked and kind != "ignores Range":
            content, status = self.body[start:], "206 Partial Content"
            shown = start - 5 if kind == "another start" else start
            length = size + 1 if kind == "another length" else size
            if kind != "no Content-Range":
                headers["Content-Range"] = f"bytes {shown}-{size - 1}/{length}"
            if kind == "another start":
                content = self.body[start - 5 :]
        if len(self.ranges) == 1:
            return [head(status, Content_Length=str(size), **headers), content[: size // 2]]
        return [head(status, Content_Length=str(len(content)), **headers), content]


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        ("honest", 2),
        ("ignores Range", 2),
        ("another start", 3),
        ("another length", 3),
        ("another ETag", 3),
        ("no Content-Range", 3),
        ("412", 3),
        ("416", 3),
        ("no ETag", 2),
        ("weak ETag", 2),
        ("encoded", 2),
    ],
)
def test_a_download_goes_on_or_begins_again_and_is_whole(kind: str, requests: int) -> None:
    storage = Storage(gzip.compress(ROWS) if kind == "encoded" else ROWS, kind)
    with storage.server as server:
        assert read(server, max_tries=2) == ROWS
    assert len(storage.ranges) == requests
    if kind in {"no ETag", "weak ETag", "encoded"}:
        assert storage.ranges == [None, None], "nothing would show that it is the same file"


def test_a_file_that_is_another_one_when_it_begins_again_is_refused() -> None:
    storage = Storage(ROWS, "ignores Range")
    with storage.server as server, opened(client_of(server, max_tries=2), server) as file:
        file.read(10_000)
        storage.body = ROWS.replace(b"text", b"TEXT")
        with pytest.raises(ContractError, match="changed while it was read"):
            file.readall()


@pytest.mark.parametrize("status", ["429 x", "503 x"])
@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("99999", 120)])
def test_a_storage_that_asks_to_wait_is_waited_for(status: str, asked: str, waited: int) -> None:
    answers = iter([answer(b"", status, Retry_After=asked), answer(ROWS)])
    waits: list[float] = []
    with RawServer(lambda _: [next(answers)]) as server:
        client = client_of(server, max_tries=2)
        client.transport._sleep = waits.append  # noqa: SLF001 (tests do not wait)
        with opened(client, server) as file:
            assert file.readall() == ROWS
    assert waits == [waited]


@pytest.mark.parametrize("status", ["408 x", "425 x", "429 x", "500 x"])
def test_a_storage_that_never_answers_is_given_up(status: str) -> None:
    with RawServer(lambda _: [answer(b"", status)]) as server:
        with pytest.raises(ServerError):
            read(server, max_tries=3)
        assert len(server.requests) == 3


# Endless bodies


def endless(piece: Callable[[int], bytes]) -> Iterable[bytes]:
    yield from map(piece, count())


BEGIN = b"id\n"
CHUNKED = head(Transfer_Encoding="chunked") + b"3\r\n" + BEGIN + b"\r\n"
GZIPPED = head(Content_Encoding="gzip") + gzip.compress(BEGIN)
EMPTY_BLOCKS = b"\x00\x00\x00\xff\xff" * 2000

ENDLESS: dict[str, Callable[[], Iterable[bytes]]] = {
    "trailers": lambda: endless(lambda n: b"X-%d: y\r\n" % n if n else CHUNKED + b"0\r\n"),
    "chunk extension": lambda: endless(lambda n: b";a" if n else CHUNKED + b"3"),
    "empty gzip members": lambda: endless(lambda n: gzip.compress(b"") if n else GZIPPED),
    "empty gzip blocks": lambda: endless(
        lambda n: EMPTY_BLOCKS if n else head(Content_Encoding="gzip") + gzip.compress(b"")[:10]
    ),
    "gzip padding": lambda: endless(lambda n: bytes(1000) if n else GZIPPED),
}


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("ranged", [True, False])
def test_an_endless_download_ends(
    kind: str, monkeypatch: pytest.MonkeyPatch, *, ranged: bool
) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUTS", 0.02)
    with RawServer(lambda _: ENDLESS[kind]()) as server:
        client = client_of(server, request_timeout_seconds=10)
        with (
            opened(client, server, ranged=ranged) as file,
            pytest.raises(NetworkError),
        ):
            file.readall()


def test_a_file_that_drips_ends_although_each_try_brings_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each connection brings some bytes, so that no read fails as often as it may."""
    monkeypatch.setattr(transport, "ANSWER_TIMEOUTS", 0.01)
    monkeypatch.setattr(downloads, "SLOWEST", 1_000_000)

    def pieces(_: str) -> Iterable[bytes]:
        yield head(Content_Length=str(10**9))
        for _ in range(400):
            yield b"x" * 1000
            yield from drip(b"x")

    with RawServer(pieces) as server:
        client = client_of(server, request_timeout_seconds=10, max_tries=3)
        with (
            opened(client, server, ranged=False) as file,
            pytest.raises(NetworkError, match="fewer than"),
        ):
            file.readall()
