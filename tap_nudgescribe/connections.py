"""Connections that reach only admissible addresses and wait for an answer only so long."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from tap_nudgescribe.errors import DownloadRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FORBIDDEN = "The API gives a download URL whose address is no public one"

TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""Addresses that stand for IPv4 ones, by their last 32 bits (RFC 6052, 7915, 4291)."""

LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
"""The same within one network, in a form of its own (RFC 8215)."""

ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""What stands before the IPv4 address in the last 64 bits (RFC 5214)."""

UNSPECIFIED = IPv4Address(0)

METADATA = frozenset(
    map(
        ip_address,
        (
            "168.63.129.16",  # Azure, a public address
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google Cloud
        ),
    )
)
"""Where clouds keep their metadata services, besides 169.254.0.0/16 and fe80::/10."""


@dataclass
class Sending:
    """Whether a part of a request was handed to a connection, so that the API may have got it."""

    begun: bool = False


_sending: ContextVar[Sending | None] = ContextVar("sending", default=None)


@contextmanager
def watched() -> Iterator[Sending]:
    """Watch the request of the block, which is sent in this thread.

    Names, connections, proxies and TLS come before it. When one of them fails, nothing was sent.
    A write to a connection that the server has closed counts as begun: nobody can know.
    """
    sending = Sending()
    token = _sending.set(sending)
    try:
        yield sending
    finally:
        _sending.reset(token)


def is_loopback(host: str) -> bool:
    """Say whether a host, by name or address, is this machine.

    An address that a translator would turn into one of this machine is not: what is sent to it
    goes to the translator first.
    """
    try:
        known = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
    return (mapped or known).is_loopback


def admissible(address: str, *, loopback: bool, private: bool) -> bool:
    """Say whether files may be fetched from an address: a public one, or one that is allowed.

    Link-local addresses and others where clouds keep their metadata service never are.

    Args:
        address: IPv4 or IPv6.
        loopback: Whether this machine is allowed.
        private: Whether all addresses that are not public are.
    """
    return all(
        _is_admissible(known, loopback=loopback, private=private)
        for known in meant_addresses(ip_address(address))
    )


def _is_admissible(known: IPv4Address | IPv6Address, *, loopback: bool, private: bool) -> bool:
    if known.is_link_local or known.is_multicast or known.is_unspecified or known in METADATA:
        return False
    return known.is_global or private or (loopback and known.is_loopback)


def meant_addresses(known: IPv4Address | IPv6Address) -> Sequence[IPv4Address | IPv6Address]:
    """Return where packets to an address may arrive: an IPv6 one can stand for IPv4 ones."""
    if not isinstance(known, IPv6Address):
        return [known]
    last = IPv4Address(int(known) & 0xFFFF_FFFF)
    if known in LOCAL_NAT64:
        # Where in it the IPv4 address stands is its network's own choice: none is admitted.
        return [UNSPECIFIED]
    if known.teredo:
        return known.teredo
    translated = any(known in network for network in TRANSLATED) and int(known) > 1
    one = known.ipv4_mapped or known.sixtofour or (last if translated else None)
    if one is None and int(known) >> 32 & 0xFFFF_FFFF in ISATAP:
        return [known, last]
    return [one or known]


class BoundedAdapter(HTTPAdapter):
    """Opens the connections of a session.

    The address is looked at after the connection is made and before a byte is sent, so that it
    does not matter what a name meant when somebody else asked. Behind a proxy it is the proxy
    that chooses the address.

    Args:
        answer_seconds: How long the status and headers of an answer may take, however steadily
            they come.
        admits: Says which addresses may be connected to.
        options: Those of an adapter.
    """

    def __init__(
        self,
        *,
        answer_seconds: float,
        admits: Callable[[str], bool] = lambda _: True,
        **options: Any,  # noqa: ANN401 (requests)
    ) -> None:
        """Open no connection yet."""
        self._kinds = {
            "http": _bounded(HTTPConnectionPool, answer_seconds, admits),
            "https": _bounded(HTTPSConnectionPool, answer_seconds, admits),
        }
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (requests)
        """Make pools of bounded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._kinds

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (requests)
        """Bound connections through a proxy in time."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._kinds
        return manager


def _bounded(  # noqa: C901 (the methods of one class)
    pool: Any,  # noqa: ANN401 (urllib3)
    answer_seconds: float,
    admits: Callable[[str], bool],
) -> type:
    """Return a kind of pool whose connections are bounded."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        _connecting = False

        _made: socket.socket | None = None

        def connect(self) -> None:
            self._connecting = True
            try:
                # A proxy's answer to CONNECT and a handshake may come byte by byte.
                with ended_after(answer_seconds, self._end_connecting):
                    super().connect()
            finally:
                self._connecting = False
                if self._made is not None:
                    self._made.close()
                    self._made = None

        def _end_connecting(self) -> None:
            if self._made is not None:
                with suppress(OSError):
                    self._made.shutdown(socket.SHUT_RDWR)

        def send(self, data: Any) -> None:  # noqa: ANN401 (http.client)
            if self.sock is None:
                self.connect()
            # While it connects, it is a proxy that is asked for a tunnel.
            if not self._connecting and (sending := _sending.get()):
                sending.begun = True
            super().send(data)

        # urllib3 2 makes every connection here, for both schemes.
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            if self.proxy is None and not admits(made.getpeername()[0]):
                made.close()
                raise DownloadRefusedError(FORBIDDEN, operation="storage")
            # TLS takes over the socket itself, which could not be ended then.
            self._made = made.dup()
            return made

        def getresponse(self) -> Any:  # noqa: ANN401 (urllib3)
            with ended_after(answer_seconds, self._end):
                return super().getresponse()

        def _end(self) -> None:
            if self.sock is not None:
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})


@contextmanager
def ended_after(seconds: float, end: Callable[[], object]) -> Iterator[None]:
    """Call ``end`` from another thread when the block takes longer than so many seconds.

    Raises:
        TimeoutError: after the block, when it was ended: half an answer can look like a whole one.
    """
    over = threading.Event()

    def give_up() -> None:
        over.set()
        end()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError


class Watch:
    """Ends each read of a response that takes too long, with one thread for all of them.

    A read that brings nothing to its caller can go on for ever while bytes arrive: in the
    extensions of a chunk, or in trailers.

    Args:
        seconds: How long a read may take; it is ended before twice as long.
        end: Ends it, from another thread.
    """

    def __init__(self, seconds: float, end: Callable[[], object]) -> None:
        """Watch nothing yet."""
        self._seconds = seconds
        self._end = end
        self._began: float | None = None
        self._over = False
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="nudgescribe-watch", daemon=True).start()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Watch the read of the block.

        Raises:
            TimeoutError: when it was ended.
        """
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = None
            if self._over:
                raise TimeoutError

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds / 2):
            began = self._began
            if began is not None and time.monotonic() - began > self._seconds:
                self._over = True
                self._end()
                return
