"""Decompress a file as its name says, unless it was made to fill memory and disks."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tap_nudgescribe.documents import MAGIC
from tap_nudgescribe.errors import MessageFileError

if TYPE_CHECKING:
    from typing_extensions import Buffer

BOMB_RATIO = 1000
"""A file that becomes more than so many times as long is no export of messages.

Rows hold identifiers that hardly compress: exports shrink to a tenth, or to a hundredth where all
messages are alike.
"""

BOMB_BYTES = 64 * 2**20
"""So many bytes any file may become."""


def decompressed(file: BinaryIO, name: str) -> BinaryIO:
    """Return the content of a file whose name ends with the extension of a compression.

    Raises:
        ImportError: for a compression whose library is not installed.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in {"", ".csv"}:
        return file
    if suffix in MAGIC:
        peeked = _Peeked(file, len(MAGIC[suffix]))
        if peeked.start != MAGIC[suffix]:
            # Decoded on the way, or not such a file at all; which one its reader finds out.
            return cast("BinaryIO", peeked)
        file = cast("BinaryIO", peeked)
    from smart_open.compression import compression_wrapper  # noqa: PLC0415 (fast start-up)

    packed = _Counted(file)
    unpacked: Any = compression_wrapper(cast("BinaryIO", packed), "rb", filename=name)
    return file if unpacked is packed else cast("BinaryIO", _Unpacked(unpacked, packed))


class _Peeked(io.RawIOBase):
    """A file whose first bytes are known."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file = file
        self.media_type = getattr(file, "media_type", "")
        self.start = b""
        while len(self.start) < size and (part := file.read(size - len(self.start))):
            self.start += part
        self._rest = self.start

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        if not self._rest:
            return self._file.read(size)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def readinto(self, buffer: Buffer) -> int:
        return _fill(self, buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Counted(io.RawIOBase):
    """A file that counts what was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data

    def readinto(self, buffer: Buffer) -> int:
        return _fill(self, buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """What a packed file holds, as long as it is in proportion."""

    def __init__(self, unpacked: BinaryIO, packed: _Counted) -> None:
        super().__init__()
        self._unpacked = unpacked
        self._packed = packed
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        data = self._unpacked.read(size)
        self._count += len(data)
        if self._count > max(BOMB_BYTES, BOMB_RATIO * self._packed.count):
            problem = f"A message file becomes {BOMB_RATIO} times as long when it is decompressed"
            raise MessageFileError(problem, operation="fetch_message_file")
        return data

    def readinto(self, buffer: Buffer) -> int:
        return _fill(self, buffer)

    def close(self) -> None:
        # The packed one first: it ends a read that waits in another thread.
        self._packed.close()
        self._unpacked.close()
        super().close()


def _fill(file: io.RawIOBase, buffer: Buffer) -> int:
    view = memoryview(buffer)
    data = file.read(len(view)) or b""
    view[: len(data)] = data
    return len(data)
