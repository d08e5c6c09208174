"""Read a remote file to its end, whatever happens to one URL or connection."""

from __future__ import annotations

import io
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import requests
import urllib3

from tap_nudgescribe.errors import (
    AccessError,
    ContractError,
    NetworkError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from tap_nudgescribe.client import NudgescribeClient

OPERATION = "download"

STORAGE = "storage"
"""The operation that :meth:`NudgescribeClient.open_storage` goes by."""

T = TypeVar("T")

SKIPPED_AT_ONCE = 1024 * 1024

SLOWEST = 100
"""Bytes a second."""


class Opener(Protocol):
    """Opens a file anew, each time it is called."""

    def __call__(self, offset: int, etag: str | None) -> requests.Response:
        """Return an open response.

        Args:
            offset: Where to go on, in bytes.
            etag: Which version of the file was begun, if that is known.
        """


class Download(io.RawIOBase):
    """A file over HTTP. When the connection breaks, it is opened again and read on.

    Args:
        opener: Opens the file.
        ranged: Whether it opens the file at the offset. Otherwise the bytes that were already
            read are skipped, if their checksum shows that they are the same.
        max_tries: How often a read is tried.
        pause: Waits after a failed try, whose number (from 1) it is given.
        patience: Seconds of waiting in which at least :data:`SLOWEST` bytes each must come.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        ranged: bool,
        max_tries: int,
        pause: Callable[[int], None],
        patience: float,
    ) -> None:
        """Open the file.

        Raises:
            ApiError: when it cannot be opened.
        """
        super().__init__()
        self._opener = opener
        self._ranged = ranged
        self._max_tries = max_tries
        self._pause = pause
        self._offset = 0
        self._checksum = 0
        self._etag: str | None = None
        self._length: int | None = None
        self._response: requests.Response | None = None
        self._pace = _Pace(patience)
        self._persistently(lambda: None)

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some bytes of the file, at most as many as asked for; none at the end.

        Raises:
            ApiError: when the download cannot go on.
        """
        if size < 0:
            return self.readall()
        data = self._persistently(lambda: self._receive(size))
        self._offset += len(data)
        if not self._ranged:
            self._checksum = zlib.crc32(data, self._checksum)
        return data

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer from the file; return the number of bytes, 0 at the end."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection; a read that waits in another thread ends at once."""
        super().close()
        if self._response is not None:
            with suppress(OSError, RuntimeError, ValueError):  # there is none to be ended
                self._response.raw.shutdown()
        self._drop()

    def _persistently(self, action: Callable[[], T]) -> T:
        """Do something over an open connection; when that breaks, open another and try again."""
        for number in range(1, self._max_tries + 1):
            try:
                if self._response is None:
                    self._connect()
                return action()
            except (NetworkError, ServerError, AccessError) as error:
                self._drop()
                # What the API refuses was already tried as often.
                final = self.closed or number == self._max_tries
                if final or error.operation not in {OPERATION, STORAGE}:
                    raise
                self._pause(number)
        raise AssertionError  # max_tries is at least 1

    def _connect(self) -> None:
        self._response = self._opener(self._offset, self._etag)
        if not self._offset:
            self._etag = self._response.headers.get("ETag")
            length = self._response.headers.get("Content-Length")
            plain = not self._response.headers.get("Content-Encoding")
            self._length = int(length) if plain and length and length.isdecimal() else None
        elif not self._ranged:
            self._skip()

    def _skip(self) -> None:
        """Read over what was already read.

        Raises:
            ContractError: when it is not what it was.
        """
        left, checksum = self._offset, 0
        while left and (data := self._receive(min(left, SKIPPED_AT_ONCE))):
            left -= len(data)
            checksum = zlib.crc32(data, checksum)
        if checksum != self._checksum:
            problem = "The file changed while it was read"
            raise ContractError(problem, operation=OPERATION)

    def _receive(self, size: int) -> bytes:
        assert self._response is not None  # noqa: S101 (it has just been opened)
        began = time.monotonic()
        try:
            # read1 loses nothing of what came before a connection broke.
            data: bytes = self._response.raw.read1(size, decode_content=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            problem = f"The download broke off ({type(error).__name__})"
            raise NetworkError(problem, operation=OPERATION) from None
        self._pace.waited(time.monotonic() - began, len(data))
        if not data and self._length is not None and self._offset < self._length:
            problem = "The download ended too early"
            raise NetworkError(problem, operation=OPERATION)
        return data

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class _Pace:
    """Whether a server sends, or only keeps a connection busy with a byte now and then."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seconds = 0.0
        self._bytes = 0

    def waited(self, seconds: float, received: int) -> None:
        """Note a wait and what it brought.

        Raises:
            NetworkError: when too little comes.
        """
        self._seconds += seconds
        self._bytes += received
        if self._seconds < self._patience:
            return
        slow = self._bytes < SLOWEST * self._seconds
        self._seconds, self._bytes = 0.0, 0
        if slow:
            problem = f"The download brings fewer than {SLOWEST} bytes a second"
            raise NetworkError(problem, operation=OPERATION)


def download(client: NudgescribeClient, opener: Opener, *, ranged: bool) -> Download:
    """Open a download that tries as often and waits as long as the client does."""
    return Download(
        opener,
        ranged=ranged,
        max_tries=client.options.max_tries,
        pause=client.transport.pause,
        patience=client.options.answer_seconds,
    )
