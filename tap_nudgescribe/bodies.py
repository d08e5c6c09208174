"""Read the body of a response to its verified end, decoding its Content-Encoding.

The end of a compressed stream is its trailer: a body that ends before it is cut, whatever the
connection says, and bytes behind it are damage. Several gzip members behind each other are one
body.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import requests

READ_AT_ONCE = 64 * 1024
"""Bytes of a compressed body."""

GZIP, ZLIB, RAW = 31, 15, -15
"""Window bits of zlib for each format."""

ZLIB_METHOD = 8

ACCEPT_ENCODING = "gzip, deflate"
"""What is asked for."""


class TruncatedBodyError(OSError):
    """A body ends before its compressed stream does, or is damaged."""


class UnknownEncodingError(OSError):
    """A body has a Content-Encoding that was not asked for and cannot be decoded."""


class Body:
    """The decoded body of an open response.

    Args:
        response: Nothing of its body has been read.

    Attributes:
        encoded: Whether it has a Content-Encoding.
        end_is_known: Whether a body that is cut can be told from one that is not.
        ended: Whether the end has been reached.

    Raises:
        UnknownEncodingError: for an unknown Content-Encoding.
    """

    def __init__(self, response: requests.Response) -> None:
        """Read nothing yet."""
        headers = response.headers
        names = [name.strip().lower() for name in headers.get("Content-Encoding", "").split(",")]
        self._raw = response.raw
        self._decoders = [
            _decoder(name) for name in reversed(names) if name not in {"", "identity"}
        ]
        self.encoded = bool(self._decoders)
        framed = "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "")
        self.end_is_known = self.encoded or framed
        self.ended = False

    def read(self, size: int) -> bytes:
        """Return at most so many bytes after at most one read of the connection.

        There may be none although the body goes on; then :attr:`ended` is false.

        Raises:
            TruncatedBodyError: when a compressed body is cut or damaged.
        """
        if not self._decoders:
            data: bytes = self._raw.read1(size, decode_content=False)
            self.ended = not data
            return data
        data = b""
        if not any(decoder.pending for decoder in self._decoders):
            data = self._raw.read1(READ_AT_ONCE, decode_content=False)
            if not data:
                self._verify_end()
                self.ended = True
                return b""
        try:
            for decoder in self._decoders:
                data = decoder.decode(data, size)
        except zlib.error:
            problem = "compressed data are damaged"
            raise TruncatedBodyError(problem) from None
        return data

    def _verify_end(self) -> None:
        if not all(decoder.finished for decoder in self._decoders):
            problem = "compressed data end before their trailer"
            raise TruncatedBodyError(problem)


class _Decoder(Protocol):
    """Decodes one Content-Encoding."""

    @property
    def pending(self) -> bool:
        """Whether there is input that was not decoded yet."""

    @property
    def finished(self) -> bool:
        """Whether what was decoded is whole."""

    def decode(self, data: bytes, size: int) -> bytes:
        """Return at most so many bytes."""


class _Streams:
    """Where a decoder stands in a body of one compressed stream or of several in a row."""

    def __init__(self) -> None:
        self._stream: Any = None  # each library has its own kind
        self._rest = b""
        self._more = False

    @property
    def pending(self) -> bool:
        return bool(self._rest) or self._more

    @property
    def finished(self) -> bool:
        return self._stream is None and not self._rest


class _Zlib(_Streams):
    """Decodes gzip, with all its members, or deflate in both of its forms."""

    def __init__(self, *, gzip: bool) -> None:
        super().__init__()
        self._gzip = gzip
        self._done = False

    def decode(self, data: bytes, size: int) -> bytes:
        data = self._rest + data
        self._rest, self._more = b"", False
        if self._stream is None:
            # Members may be padded with zeros.
            data = data.lstrip(b"\0") if self._done and self._gzip else data
            if not data:
                return b""
            if self._done and not self._gzip:
                raise zlib.error
            self._stream = zlib.decompressobj(GZIP if self._gzip else _window_bits(data))
        decoded: bytes = self._stream.decompress(data, size)
        if self._stream.eof:
            self._rest = self._stream.unused_data
            self._stream = None
            self._done = True
        else:
            self._rest = self._stream.unconsumed_tail
            self._more = len(decoded) == size
        return decoded


class _Zstd(_Streams):
    """Decodes zstd, with all its frames."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from backports import zstd  # noqa: PLC0415 (an extra)
        except ImportError:
            problem = "zstd"
            raise UnknownEncodingError(problem) from None
        self._new = zstd.ZstdDecompressor
        self._error = zstd.ZstdError

    def decode(self, data: bytes, size: int) -> bytes:
        data = self._rest + data
        self._rest, self._more = b"", False
        if self._stream is None:
            if not data:
                return b""
            self._stream = self._new()
        try:
            decoded: bytes = self._stream.decompress(data, size)
        except self._error:
            raise zlib.error from None
        if self._stream.eof:
            self._rest = self._stream.unused_data
            self._stream = None
        else:
            self._more = not self._stream.needs_input
        return decoded


def _decoder(name: str) -> _Decoder:
    if name in {"gzip", "x-gzip"}:
        return _Zlib(gzip=True)
    if name == "deflate":
        return _Zlib(gzip=False)
    if name == "zstd":
        return _Zstd()
    raise UnknownEncodingError


def _window_bits(data: bytes) -> int:
    """Return which form of deflate data have, by their first byte."""
    return ZLIB if data[0] & 0x0F == ZLIB_METHOD and data[0] >> 4 <= 7 else RAW  # noqa: PLR2004
