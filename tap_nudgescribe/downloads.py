"""Read a remote file to its end, whatever happens to one URL or connection."""

from __future__ import annotations

import io
import time
import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import requests
import urllib3

from tap_nudgescribe.bodies import Body, UnknownEncodingError
from tap_nudgescribe.connections import Watch
from tap_nudgescribe.documents import media_type_of
from tap_nudgescribe.errors import (
    AccessError,
    ContractError,
    NetworkError,
    RangeRefusedError,
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

        Raises:
            RangeRefusedError: when the server does not go on there.
        """


class Download(io.RawIOBase):
    """A file over HTTP. When the connection breaks, it is opened again and read on.

    It goes on at its offset if the server proves that the file is the same one, by its ETag and
    by the range that it names. Otherwise it begins again, and the bytes that were already read are
    skipped if their checksum shows that they are the same. A compressed body always begins again:
    its offset counts decoded bytes.

    Args:
        opener: Opens the file.
        ranged: Whether it can open the file at the offset.
        max_tries: How often a read is tried, and how often a file may be too slow.
        pause: Waits after a failed try, whose number (from 1) it is given; the seconds that the
            server asks for, if it does, are the argument ``least``.
        patience: Seconds of waiting in which at least :data:`SLOWEST` bytes each must come.

    Attributes:
        media_type: Of the file, in lower case; empty if the server does not name it.
        end_is_known: Whether a file that is cut can be told from one that is not.
        encoded: Whether the server has sent it with a Content-Encoding.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        ranged: bool,
        max_tries: int,
        pause: Callable[..., None],
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
        self._patience = patience
        self._offset = 0
        self._checksum = 0
        self._etag: str | None = None
        self._length: int | None = None
        self._response: requests.Response | None = None
        self._body: Body | None = None
        self._watch: Watch | None = None
        self._pace = _Pace(patience)
        self.media_type = ""
        self.end_is_known = True
        self.encoded = False
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
            _shut(self._response)
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
                tired = self._max_tries in {number, self._pace.slow}
                if self.closed or tired or error.operation not in {OPERATION, STORAGE}:
                    raise
                if isinstance(error, ServerError) and error.wait is not None:
                    self._pause(number, least=error.wait)
                else:
                    self._pause(number)
        raise AssertionError  # max_tries is at least 1

    def _connect(self) -> None:
        offset = self._offset if self._can_continue else 0
        if offset:
            try:
                self._response = self._opener(offset, self._etag)
            except RangeRefusedError:
                offset = 0
            else:
                if not self._continues(self._response):
                    if self._response.status_code != requests.codes.ok:
                        self._drop()
                    offset = 0
        if self._response is None:
            self._response = self._opener(0, None)
        try:
            self._body = Body(self._response)
        except UnknownEncodingError:
            problem = "The file has a Content-Encoding that was not asked for"
            raise ContractError(problem, operation=OPERATION) from None
        self._watch = Watch(self._patience, partial(_shut, self._response))
        if not offset:
            self._note_begin(self._response, self._body)
            if self._offset:
                self._skip()

    @property
    def _can_continue(self) -> bool:
        """Whether it can be proved that what follows an offset is of the same file."""
        return self._ranged and not self.encoded and self._etag is not None

    def _continues(self, response: requests.Response) -> bool:
        """Say whether a response has what follows the offset, of the same file."""
        begins = f"bytes {self._offset}-"
        headers = response.headers
        length = headers.get("Content-Range", "").rpartition("/")[2]
        return (
            response.status_code == requests.codes.partial_content
            and headers.get("Content-Range", "").startswith(begins)
            and (self._length is None or length in {str(self._length), "*"})
            and headers.get("ETag", self._etag) == self._etag
            and not headers.get("Content-Encoding")
        )

    def _note_begin(self, response: requests.Response, body: Body) -> None:
        etag = response.headers.get("ETag")
        self._etag = etag if etag and not etag.startswith("W/") else None
        length = response.headers.get("Content-Length")
        self._length = int(length) if not body.encoded and length and length.isdecimal() else None
        self.encoded = body.encoded
        self.end_is_known = body.end_is_known
        self.media_type = media_type_of(response.headers.get("Content-Type"))

    def _skip(self) -> None:
        """Read over what was already read.

        Raises:
            ContractError: when it is not what it was.
        """
        left, checksum = self._offset, 0
        while left and (data := self._receive(min(left, SKIPPED_AT_ONCE))):
            left -= len(data)
            checksum = zlib.crc32(data, checksum)
        if left or checksum != self._checksum:
            problem = "The file changed while it was read"
            raise ContractError(problem, operation=OPERATION)

    def _receive(self, size: int) -> bytes:
        """Return some bytes, none at the end, after as many reads as it takes."""
        assert self._body is not None  # noqa: S101 (it has just been opened)
        assert self._watch is not None  # noqa: S101
        while True:
            began = time.monotonic()
            try:
                with self._watch.reading():
                    data = self._body.read(size)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                self._pace.waited(time.monotonic() - began, 0)
                problem = f"The download broke off ({type(error).__name__})"
                raise NetworkError(problem, operation=OPERATION) from None
            self._pace.waited(time.monotonic() - began, len(data))
            if data or self._body.ended:
                break
        if not data and self._length is not None and self._offset < self._length:
            problem = "The download ended too early"
            raise NetworkError(problem, operation=OPERATION)
        return data

    def _drop(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._response is not None:
            self._response.close()
            self._response = None
            self._body = None


def _shut(response: requests.Response) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # it has ended already
        response.raw.shutdown()


class _Pace:
    """Whether a server sends, or only keeps a connection busy with a byte now and then.

    Attributes:
        slow: How often too little came.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seconds = 0.0
        self._bytes = 0
        self.slow = 0

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
            self.slow += 1
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
