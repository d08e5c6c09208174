"""An API, or somebody in its place, that means harm."""

from __future__ import annotations

import bz2
import gzip
import json
import socket
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tap_nudgescribe import decompression, downloads, transport
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.connections import admissible
from tap_nudgescribe.errors import (
    AnswerLimitError,
    ApiError,
    ContractError,
    DownloadRefusedError,
    MessageFileError,
    NetworkError,
    OutcomeUnknownError,
    SettingsError,
)
from tap_nudgescribe.json_decoding import decode, decoded_bytes
from tap_nudgescribe.message_sources import ApiSource, Run
from tap_nudgescribe.statuses import LONGEST_WAIT_SECONDS
from tests import message_server
from tests.message_server import ACCOUNT_ID, Content, MessageServer
from tests.raw_server import RawServer, answer, drip
from tests.sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.conftest import Run as TapRun
    from tests.sandbox import Sandbox

MIB = 2**20
PUBLIC = "https://api.example.com/v1"


def client_of(server: RawServer | MessageServer, **config: Any) -> NudgescribeClient:
    return NudgescribeClient.from_config(server.config | {"max_tries": 1} | config)


# Where it leads


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_redirect_of_the_api_is_not_followed(status: str, *, elsewhere: bool) -> None:
    with RawServer(lambda _: [answer(b"[]")]) as other:

        def redirect(_: str) -> Iterable[bytes]:
            root = other.root if elsewhere else server.root
            return [answer(b"", status, Location=f"{root}/v1/taken")]

        with RawServer(redirect) as server:
            with pytest.raises(ContractError, match=r"redirects \(30\d\).*Set api_url"):
                client_of(server).list_groups("w")
            assert not any("taken" in head for head in server.requests)
    assert not other.requests


def test_a_redirect_of_a_download_is_not_followed() -> None:
    with RawServer(lambda _: [answer(b"id\n1\n")]) as other:
        redirect = answer(b"", "302 Found", Location=f"{other.root}/file")
        with RawServer(lambda _: [redirect]) as server, pytest.raises(ApiError):
            client_of(server).open_storage(f"{server.root}/f", offset=0, etag=None)
    assert not other.requests


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/file",
        "gopher://127.0.0.1/file",
        "//127.0.0.1/file",
        "http://192.0.2.1/file",
        "http://localhost.example.com/file",
        "https://user:pass@files.example.com/file",
        "https://10.0.0.1/file",
        "https://192.168.1.1:8443/file",
        "https://169.254.169.254/latest/meta-data",
        "http://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/file",
        "https://[fd00::1]/file",
        "https://[::ffff:169.254.169.254]/file",
        "https://[64:ff9b::a9fe:a9fe]/file",
        "https://0.0.0.0/file",
        "https://100.64.0.1/file",
        "https://[::1",
        "https:///file",
        "https://files.example.com/a b",
        "https://files.example.com/\r\nX: y",
        "nonsense",
    ],
)
def test_a_download_url_that_leads_astray_is_refused_and_not_told(url: str) -> None:
    with RawServer(lambda _: [answer(b"")]) as server:
        with pytest.raises(DownloadRefusedError) as caught:
            client_of(server).open_storage(url, offset=0, etag=None)
        assert url not in str(caught.value)
        assert not server.requests


@pytest.mark.parametrize(
    ("address", "public", "on_loopback", "own_network"),
    [
        ("93.184.216.34", True, True, True),
        ("2606:4700::1111", True, True, True),
        ("127.0.0.1", False, True, True),
        ("::1", False, True, True),
        ("::ffff:127.0.0.1", False, True, True),
        ("64:ff9b::7f00:1", False, True, True),
        ("10.0.0.1", False, False, True),
        ("172.16.0.1", False, False, True),
        ("fd00::1", False, False, True),
        ("100.64.0.1", False, False, True),
        ("169.254.169.254", False, False, False),
        ("fe80::1%1", False, False, False),
        ("0.0.0.0", False, False, False),  # noqa: S104 (nothing listens)
        ("224.0.0.1", False, False, False),
        # Metadata services outside of the link-local networks.
        ("168.63.129.16", False, False, False),
        ("100.100.100.200", False, False, False),
        ("192.0.0.192", False, False, False),
        ("fd00:ec2::254", False, False, False),
        # IPv6 addresses that stand for IPv4 ones: 6to4, SIIT, NAT64, Teredo, compatible, ISATAP.
        ("2002:a9fe:a9fe::1", False, False, False),
        ("2002:7f00:1::1", False, True, True),
        ("2002:a83f:8110::1", False, False, False),
        ("2002:5db8:d822::1", True, True, True),
        ("::ffff:0:127.0.0.1", False, True, True),
        ("::ffff:0:169.254.169.254", False, False, False),
        ("64:ff9b::a9fe:a9fe", False, False, False),
        ("64:ff9b:1::a9fe:a9fe", False, False, False),
        ("64:ff9b:1:a9fe:a9:fe00::", False, False, False),
        ("2001:0:5db8:d822:0:0:5601:5601", False, False, False),
        ("2001:0:a9fe:a9fe:0:0:a247:27dd", False, False, False),
        ("::127.0.0.1", False, True, True),
        ("::169.254.169.254", False, False, False),
        ("2606:4700::5efe:169.254.169.254", False, False, False),
        ("2606:4700::200:5efe:10.0.0.1", False, False, True),
    ],
)
def test_addresses_are_admitted_by_what_they_are(
    address: str, *, public: bool, on_loopback: bool, own_network: bool
) -> None:
    assert admissible(address, loopback=False, private=False) is public
    assert admissible(address, loopback=True, private=False) is on_loopback
    assert admissible(address, loopback=False, private=True) is own_network


@pytest.mark.parametrize("host", ["127.0.0.1", "files.example.com"])
def test_an_address_is_looked_at_where_the_connection_is_made(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may mean a public address when it is asked for, and this machine a moment later."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _, port, *__: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ],
    )
    monkeypatch.setenv("NO_PROXY", "*")
    with RawServer(lambda _: [answer(b"id\n1\n")]) as server:
        url = f"http://{host}:{server.port}/file"
        remote = {"api_url": PUBLIC, "allow_insecure_http": True}
        with pytest.raises(DownloadRefusedError, match="allow_private_storage"):
            client_of(server, **remote).open_storage(url, offset=0, etag=None)
        assert not server.requests
        own = client_of(server, **remote, allow_private_storage=True)
        assert own.open_storage(url, offset=0, etag=None).content == b"id\n1\n"


def test_a_run_says_which_setting_admits_its_own_storage_and_reads_no_other_way() -> None:
    with MessageServer([Content(b"id\n1\n")]) as server:
        server.file_root = "https://10.0.0.1"
        with pytest.raises(DownloadRefusedError, match="allow_private_storage"):
            ApiSource(client_of(server)).open(Run("ca-1", 1, current=True), 1)
        formats = [body.get("format") for path, body in server.requests if "fetch" in path]
        assert formats == ["url"]


@pytest.mark.parametrize("place", ["campaign", "account"])
@pytest.mark.parametrize("name", ["../../../../outside", "..", "a/../../../../../outside", ""])
def test_an_id_leads_to_no_folder_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.csv").write_bytes(b"id\nstolen\n")
    (tmp_path / "root/production/messages" / ACCOUNT_ID / "ca-1").mkdir(parents=True)
    config = {"message_storage_root": f"file://{tmp_path}/root"}
    if place == "campaign":
        campaign = message_server.CAMPAIGN | {"campaign_id": name}
        monkeypatch.setattr(message_server, "CAMPAIGN", campaign)
    else:
        monkeypatch.setattr(message_server, "ACCOUNT_ID", name)
    with MessageServer([]) as server:
        done = run_tap(tmp_path, server.config | config)
    assert b"stolen" not in done.stdout
    if name:
        assert b"cannot be the name of a folder" in done.stderr, done.stderr
    elif place == "campaign":
        assert b"A row has blank text as its campaign_id" in done.stderr, done.stderr


def run_tap(folder: Path, config: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(path)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603


# How much it sends


def chunked(pieces: Iterable[bytes], **headers: str) -> Iterable[bytes]:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Transfer-Encoding: chunked"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    yield "\r\n".join(lines).encode() + b"\r\n\r\n"
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def endless() -> Iterable[bytes]:
    while True:
        yield b" " * 65536


BOMB = gzip.compress(bytes(100 * MIB))
DOUBLE_BOMB = gzip.compress(gzip.compress(bytes(100 * MIB)))

OVERSIZED: dict[str, Any] = {
    "plain": lambda: [answer(b" " * (2 * MIB))],
    "endless": lambda: chunked(endless()),
    "gzip": lambda: [answer(BOMB, Content_Encoding="gzip")],
    "gzip, chunked": lambda: chunked([BOMB], Content_Encoding="gzip"),
    "gzip, twice": lambda: [answer(DOUBLE_BOMB, Content_Encoding="gzip, gzip")],
    "csv": lambda: [answer(b" " * (2 * MIB), media_type="text/csv")],
    "refusal": lambda: [answer(b" " * (2 * MIB), "400 Bad Request")],
}


@pytest.mark.parametrize("kind", OVERSIZED)
def test_an_answer_is_held_only_so_far(kind: str) -> None:
    with RawServer(lambda _: OVERSIZED[kind]()) as server:
        client = client_of(server, max_answer_mib=1, max_tries=3)
        tracemalloc.start()
        try:
            with pytest.raises(AnswerLimitError, match=r"more than 1 MiB.*max_answer_mib"):
                client.list_groups("w")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sum("/cg" in head for head in server.requests) == 1
    # The server's own bytes are in it: two copies of what it sends at once.
    assert peak < 8 * MIB


def test_a_change_with_an_oversized_answer_may_have_been_made() -> None:
    with RawServer(lambda _: chunked(endless())) as server, pytest.raises(OutcomeUnknownError):
        client_of(server, max_answer_mib=1).delete_group("w", "g")


@pytest.mark.parametrize("depth", [700, 1_000, 100_000])
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_a_deeply_nested_answer_is_refused(depth: int, status: str) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    with RawServer(lambda _: [answer(nested, status)]) as server, pytest.raises(ApiError):
        client_of(server, wire_names={"customer_group_id": "a"}).list_groups("w")


def test_a_nested_profile_ends_no_run_as_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = {"x": json.loads("[" * 100 + "]" * 100)}
    usual = MessageServer.answer

    def answered(self: MessageServer, path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/customer":
            return [{"customer_id": "c", "profile": profile}]
        return usual(self, path, body)

    monkeypatch.setattr(MessageServer, "answer", answered)
    with MessageServer([], pages=1, page_rows=1) as server:
        done = run_tap(tmp_path, server.config)
    assert done.returncode == 0, done.stderr


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_message_file_is_unpacked_only_in_proportion(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompression, "BOMB_BYTES", MIB)
    monkeypatch.setattr(decompression, "BOMB_RATIO", 100)
    content = b"id\n" + b"1\n" * (4 * MIB)
    bomb = PACKERS[kind](content)
    with (
        MessageServer([Content(bomb)], suffix=f".csv.{kind}") as server,
        ApiSource(client_of(server)).open(Run("ca-1", 1, current=True), 1) as file,
        pytest.raises(MessageFileError, match="100 times as long"),
    ):
        file.read()


# How long it takes

START = b"HTTP/1.1 200 OK"
HEADERS = START + b"\r\nContent-Type: application/json\r\n"
CHUNKED = HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"

DRIPS: dict[str, tuple[bytes, bytes]] = {
    "status": (START, b"\r\nContent-Length: 2\r\n\r\n[]"),
    "headers": (HEADERS + b"X: ", b"\r\nContent-Length: 2\r\n\r\n[]"),
    "body": (HEADERS + b"Content-Length: 103\r\n\r\n[", b"]"),
    "size of a chunk": (CHUNKED + b"2;", b"\r\n[]\r\n0\r\n\r\n"),
    "body of a refusal": (
        HEADERS.replace(b"200 OK", b"404 x") + b"Content-Length: 103\r\n\r\n[",
        b"]",
    ),
}
"""What comes before and after a hundred blanks; all together are an answer."""


def slowly(before: bytes, after: bytes) -> Iterable[bytes]:
    yield before
    yield from drip(b" " * 101)
    yield after


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUTS", 0.01)
    with RawServer(lambda _: slowly(*DRIPS[kind])) as server:
        client = client_of(server, request_timeout_seconds=30)
        with pytest.raises(NetworkError):
            client.list_groups("w")


def test_a_download_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SLOWEST", 10_000)
    monkeypatch.setattr(transport, "ANSWER_TIMEOUTS", 0.01)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 103\r\n\r\n"
    with RawServer(lambda _: slowly(head + b"i", b"d")) as server:
        client = client_of(server, request_timeout_seconds=30)

        def opener(offset: int, etag: str | None) -> Any:
            return client.open_storage(f"{server.root}/f", offset=offset, etag=etag)

        with (
            downloads.download(client, opener, ranged=True) as file,
            pytest.raises(NetworkError, match="fewer than"),
        ):
            file.readall()


# What goes into headers and errors


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "ü", "", 5, {"a": 1}])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_that_is_none_is_refused(name: str, token: Any) -> None:
    logged_in = {"access_token": "a", "refresh_token": "r"} | {name: token}
    with (
        RawServer(lambda _: [answer(b"[]")], logged_in=logged_in) as server,
        pytest.raises(ContractError, match="cannot be sent in a header"),
    ):
        client_of(server).list_groups("w")


@pytest.mark.parametrize("setting", ["api_key", "client_ip", "user_agent"])
@pytest.mark.parametrize("value", ["a\n", "a\r\nX: y", "a\0", "ü"])
def test_a_setting_that_would_add_a_header_is_refused(setting: str, value: str) -> None:
    with (
        RawServer(lambda _: []) as server,
        pytest.raises(SettingsError, match=f"{setting} holds a line break"),
    ):
        client_of(server, **{setting: value})


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/v1",
        "https://user@example.com/v1",
        "https://example.com/v1?x=1",
        "https://example.com/v1#x",
        "https://example.com/v1\r\nX: y",
        "https://exa mple.com/v1",
        "ftp://example.com/v1",
        "https://[::1",
        "example.com",
    ],
)
def test_an_api_url_that_is_no_plain_https_url_is_refused(url: str) -> None:
    with RawServer(lambda _: []) as server, pytest.raises(SettingsError, match="api_url"):
        client_of(server, api_url=url)


def test_keys_that_are_values_are_counted_and_not_told() -> None:
    keyed = {"a.person@example.com": {}, "0170 1234567": {}, "groups_x": {}}
    with RawServer(lambda _: [answer(json.dumps(keyed).encode())]) as server:
        with pytest.raises(ContractError, match=r"with groups_x, 2 other keys") as caught:
            client_of(server).list_groups("w")
        assert "example.com" not in str(caught.value)
        assert "0170" not in str(caught.value)


def decoded_within(content: bytes, limit_mib: int) -> bool:
    """Say whether the client decodes an answer with a bound on answers."""
    tokens = answer(b'{"access_token":"a.b.c"}')
    with RawServer(lambda head: [tokens if "/auth" in head else answer(content)]) as server:
        client = client_of(server, max_answer_mib=limit_mib)
        with pytest.raises(ApiError) as caught:
            client.list_campaigns()
    return "when it is decoded" not in str(caught.value)


@pytest.mark.parametrize("item", [b"{}", b"[]", b'""', b"1.5", b'{"a":1}', b"[[]]", b"1"])
def test_json_that_would_fill_the_memory_is_not_decoded(item: bytes) -> None:
    content = b'{"data":[' + b",".join([item] * (2**20 // (len(item) + 1) - 9)) + b"]}"
    assert not decoded_within(content, 1)


def test_json_of_usual_rows_is_decoded() -> None:
    profile = {"E-Mail": "somebody@example.com", "First Name": "Somebody", "Birthday": "1990-01-01"}
    customer = {"customer_id": "0123456789abcdef", "updated_at": "2025-01-01T00:00:00Z"}
    row = json.dumps(customer | {"profile": profile}).encode()
    content = b'{"data":[' + b",".join([row] * (2**20 // (len(row) + 1) - 9)) + b"]}"
    assert decoded_within(content, 1)


@pytest.mark.parametrize("item", [b"{}", b"[]", b'"a"', b"1.25", b'{"a":"b"}', b'{"a":1.5}'])
def test_the_size_of_decoded_json_is_not_underestimated(item: bytes) -> None:
    content = b"[" + b",".join([item] * 20_000) + b"]"
    tracemalloc.start()
    try:
        value = decode(content)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value
    assert used <= decoded_bytes(content)


@pytest.mark.parametrize(
    "date",
    [
        "+99999999999999",
        "99999999999999999999",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Fri, 31 Dec 9999 23:59:59 +9999999999999999",
        "NaN",
        "-1",
        "9" * 5000,
    ],
)
def test_a_malformed_date_or_retry_after_is_as_none(date: str) -> None:
    tokens = answer(b'{"access_token":"a.b.c"}', Date=date)
    calls: list[str] = []

    def respond(head: str) -> Iterable[bytes]:
        if "/auth" in head:
            return [tokens]
        calls.append(head)
        if len(calls) == 1:
            return [answer(b"{}", "429 Too Many Requests", Date=date, Retry_After=date)]
        return [answer(b'{"data":[]}', Date=date)]

    with RawServer(respond) as server:
        client = client_of(server, max_tries=2)
        waits: list[float] = []
        client.transport._sleep = waits.append  # noqa: SLF001 (tests do not wait)
        assert client.list_campaigns() == []
        assert len(waits) == 1
        assert 0 <= waits[0] <= LONGEST_WAIT_SECONDS
        assert abs((client.transport.server_time - datetime.now(UTC)).total_seconds()) < 600


def test_ids_cannot_forge_lines_of_a_log(sandbox: Sandbox, tap: Callable[..., TapRun]) -> None:
    forged = (
        "c\x1b[2K\r\n2026-01-01 00:00:00,000 | ERROR    | tap-nudgescribe | forged \u202e\u2028"
    )
    campaign = next(iter(sandbox.account.campaigns.values()))
    campaign.campaign_id = forged
    sandbox.inject(Fault("list_runs", "server_error", 99))
    for arguments in ((), ("--check",)):
        run = tap(*arguments, max_tries=1)
        assert run.code == 1
        shown = run.stderr
        assert not any(sign in shown for sign in "\x1b\r\u202e\u2028")
        assert not any(line.endswith("forged") for line in shown.splitlines())
        assert not any(line.startswith("2026-01-01 00:00:00,000") for line in shown.splitlines())
