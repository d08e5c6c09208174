"""Somebody between this machine and the API: certificates, proxies, and what they get to see."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tap_nudgescribe.auth import Session
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.errors import (
    NetworkError,
    NotSentError,
    OutcomeUnknownError,
    SettingsError,
)
from tap_nudgescribe.transport import ConnectionOptions
from tests.message_server import Content, MessageServer
from tests.raw_server import RawServer, answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = [Content(b"id\n1\n")]


def certificate(folder: Path, name: str, *names: x509.GeneralName) -> Path:
    """Write a self-signed certificate with its key, and return its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A certificate of this machine."""
    return certificate(tmp_path, "own", x509.IPAddress(ip_address("127.0.0.1")))


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A certificate of another machine."""
    return certificate(tmp_path, "others", x509.DNSName("api.example.com"))


def tls(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def read_all(server: MessageServer, **config: Any) -> bytes:
    """Call the API and fetch a file."""
    client = NudgescribeClient.from_config(server.config | {"max_tries": 1} | config)
    client.list_campaigns()
    return client.open_storage(client.message_file_url("ca-1", 1), offset=0, etag=None).content


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_certificate_that_nobody_vouches_for_is_refused(own: Path) -> None:
    with MessageServer(FILES, tls=tls(own)) as server:
        with pytest.raises(NetworkError, match=r"SSLError.*ca_bundle"):
            read_all(server)
        assert not server.requests


def test_a_certificate_of_another_machine_is_refused(others: Path) -> None:
    with MessageServer(FILES, tls=tls(others)) as server:
        with pytest.raises(NetworkError, match="SSLError"):
            read_all(server, ca_bundle=str(others))
        assert not server.requests


def test_a_ca_bundle_vouches_for_the_api_and_for_downloads(own: Path) -> None:
    with MessageServer(FILES, tls=tls(own)) as server:
        assert read_all(server, ca_bundle=str(own)) == b"id\n1\n"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_setting_ca_bundle_goes_before_the_environment(
    own: Path, others: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with MessageServer(FILES, tls=tls(own)) as server:
        monkeypatch.setenv(name, str(others))
        assert read_all(server, ca_bundle=str(own)) == b"id\n1\n"
        with pytest.raises(NetworkError, match="SSLError"):
            read_all(server)
        monkeypatch.setenv(name, str(own))
        assert read_all(server) == b"id\n1\n"


class Proxy:
    """A proxy that notes everything that it gets."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.passed = bytearray()

    @contextmanager
    def running(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=[listener], daemon=True).start()
            yield f"http://user:canary-proxy@127.0.0.1:{listener.getsockname()[1]}"

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                threading.Thread(target=self._serve, args=[taken], daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += taken.recv(4096)
        self.heads.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        with taken, socket.create_connection((host, int(port))) as onward:
            taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._pump, args=[onward, taken], daemon=True)
            back.start()
            self._pump(taken, onward)
            back.join(10)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.passed += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def test_a_proxy_learns_the_host_and_nothing_else(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    secrets = {"api_key": "canary-key", "password": "canary-pass", "api_code": "canary-code"}
    with MessageServer(FILES, tls=tls(own)) as server, proxy.running() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        assert read_all(server, ca_bundle=str(own), **secrets) == b"id\n1\n"
        assert len(server.requests) == 4
        assert not any("proxy" in name.lower() for name in server.header_names)
    assert proxy.heads
    for head in proxy.heads:
        names = {line.split(b":")[0].lower() for line in head.splitlines()[1:] if line}
        assert head.startswith(b"CONNECT 127.0.0.1:")
        assert names <= {b"host", b"proxy-authorization", b"user-agent", b"accept"}
    for word in (b"canary", b"Bearer", b"/v1/", b"signature", b"example.com"):
        assert word not in b"".join(proxy.heads)
        assert word not in proxy.passed


def test_a_proxy_that_is_not_there_is_an_error_without_its_password(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@127.0.0.1:9")
    with MessageServer(FILES, tls=tls(own)) as server:
        with pytest.raises(NetworkError, match="proxy") as caught:
            read_all(server, ca_bundle=str(own))
        assert "canary" not in str(caught.value)


def publish(config: dict[str, Any]) -> None:
    """Ask for a change with a session that was had elsewhere."""
    client = NudgescribeClient.from_config(config | {"max_tries": 1})
    client.authenticator._session = Session(access_token="a.b.c")  # noqa: SLF001
    client.publish_messages("ca-1")


def test_a_change_that_fails_before_its_first_byte_was_not_sent(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"api_key": "key", "email": "user@example.com", "password": "pass"}
    for url in ("http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"):
        with pytest.raises(NotSentError, match="nothing was sent"):
            publish(secrets | {"api_url": url, "allow_insecure_http": True})
    with MessageServer(FILES, tls=tls(own)) as server:
        with pytest.raises(NotSentError, match="SSLError"):
            publish(server.config)
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(NotSentError):
            publish(server.config | {"ca_bundle": str(own)})
        with RawServer(lambda _: [answer(b"", "407 Proxy Authentication Required")]) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.root)
            with pytest.raises(NotSentError, match="ProxyError"):
                publish(server.config | {"ca_bundle": str(own)})
        assert not server.requests


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 2"], [b"nonsense\r\n\r\n"]])
def test_a_change_whose_connection_ends_after_its_first_byte_may_have_been_done(
    pieces: list[bytes],
) -> None:
    with RawServer(lambda _: pieces) as server, pytest.raises(OutcomeUnknownError):
        publish(server.config)


def test_a_change_over_a_connection_that_the_server_has_closed_may_have_been_done() -> None:
    """It closes a connection that the client may use again, and nobody can see when."""
    kept = [answer(b"[]").replace(b"Connection: close\r\n", b"")]
    with RawServer(lambda path: kept if path.endswith("/all") else []) as server:
        client = NudgescribeClient.from_config(server.config)
        client.list_campaigns()
        with pytest.raises((OutcomeUnknownError, NotSentError)) as caught:
            client.publish_messages("ca-1")
        arrived = any("/messages/publish" in head for head in server.requests)
        assert isinstance(caught.value, OutcomeUnknownError) or not arrived


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_only_their_owner_can_open_batch_files(tmp_path: Path, form: str, mask: int) -> None:
    root = tmp_path / "new" / "batches"
    batches = {"encoding": {"format": form}, "storage": {"root": root.as_uri()}}
    path = tmp_path / "config.json"
    with MessageServer(FILES) as server:
        path.write_text(json.dumps(server.config | {"batch_config": batches}))
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tap_nudgescribe", "--config", str(path)],
            capture_output=True,
            timeout=60,
            check=False,
            umask=mask,
        )
    assert done.returncode == 0, done.stderr
    found = [path for path in root.rglob("*") if path.is_file()]
    assert found
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (root, root.parent)} == {0o700}


def test_no_proxy_is_given_the_credentials_of_plain_http_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy()
    with MessageServer(FILES) as server, proxy.running() as url:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url)
        assert read_all(server) == b"id\n1\n"
        localhost = server.config["api_url"].replace("127.0.0.1", "localhost")
        assert read_all(server, api_url=localhost) == b"id\n1\n"
    assert not proxy.heads


@pytest.mark.parametrize("host", ["64:ff9b::7f00:1", "2002:7f00:1::1", "::127.0.0.1"])
def test_an_address_that_a_translator_turns_into_this_machine_is_another_machine(host: str) -> None:
    with pytest.raises(SettingsError, match="another machine"):
        ConnectionOptions(api_url=f"http://[{host}]/v1")
