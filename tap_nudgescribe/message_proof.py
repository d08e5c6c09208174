"""Make sure that the API heeds which message file, and of which run, is asked for."""

from __future__ import annotations

import hashlib
import io
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from tap_nudgescribe.errors import (
    ApiError,
    ContractError,
    LoginError,
    NetworkError,
    RateLimitError,
    ServerError,
)
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv

if TYPE_CHECKING:
    from tap_nudgescribe.message_sources import MessageSource, Run

OPERATION = "fetch_message_file"

PAGE, RUN = "page", "run_number"
"""Keys of the request by which a file is asked for."""

BEGINNING_BYTES = 64 * 1024
"""Files that begin with the same bytes are taken for the same."""

NOWHERE = 1_000_000
"""Number of a file, or of a run, that no campaign has."""

LENIENT = CsvOptions(encoding_errors="replace")
"""For a file of which it matters only whether it has rows."""

UNSURE = (LoginError, NetworkError, RateLimitError, ServerError)
"""Errors that say nothing about what was asked for."""


class Begun(io.RawIOBase):
    """A file whose beginning is known before it is read.

    Args:
        file: Read from its first byte; closed with this one.

    Attributes:
        beginning: Hash of its first :data:`BEGINNING_BYTES` bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the beginning."""
        super().__init__()
        self._file = file
        begin = bytearray()
        try:
            while (rest := BEGINNING_BYTES - len(begin)) and (part := file.read(rest)):
                begin += part
        except BaseException:
            file.close()
            raise
        self._begin: bytes = bytes(begin)
        self.beginning = hashlib.blake2b(begin, digest_size=16).digest()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes, or all of them."""
        begin, self._begin = self._begin, b""
        if size < 0:
            return begin + self._file.read()
        if not begin:
            return self._file.read(size)
        self._begin = begin[size:]
        return begin[:size]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class FileProof:
    """Asks for a file and a run that cannot be there, once each.

    What the API sends for them although they are not there, it sends for any number. Files are not
    compared with each other: an account may have equal ones, with a header only, or with the same
    text in every row.
    """

    def __init__(self, source: MessageSource) -> None:
        """Know of nothing yet."""
        self._source = source
        self._heeded: set[str] = set()

    def check(self, run: Run, number: int, beginning: bytes) -> None:
        """Make sure of a file that has been opened and was not read.

        Raises:
            ContractError: when the API sends the same file whatever it is asked for.
            ApiError: when it cannot be found out.
        """
        if not self._source.asks_by_number:
            return
        if not run.current and RUN not in self._heeded:
            if self._beginning(replace(run, number=NOWHERE), number) == beginning:
                raise _ignored(RUN)
            self._heeded.add(RUN)
        if number > 1 and PAGE not in self._heeded:
            # An API may answer with its last file instead.
            if self._beginning(run, NOWHERE) == beginning == self._beginning(run, 1):
                raise _ignored(PAGE)
            self._heeded.add(PAGE)

    def none(self, run: Run) -> None:
        """Make sure that a run of which no file is counted has none with rows.

        Raises:
            ContractError: when the first one can be had.
            ApiError: when it cannot be found out.
        """
        if self._source.asks_by_number and self._has_rows(run, 1):
            problem = f"The API counts no message file of run {run.number}, but there is one"
            raise ContractError(problem, operation="count_message_files")

    def _has_rows(self, run: Run, number: int) -> bool:
        try:
            with closing(MessageCsv(self._source.open(run, number), LENIENT)) as file:
                return any(map(len, file.pieces(range(1))))
        except (LoginError, NetworkError, RateLimitError):
            raise
        except ApiError:
            return False

    def _beginning(self, run: Run, number: int) -> bytes | None:
        """Return the hash of a file's beginning; None if there is no such file."""
        try:
            with Begun(self._source.open(run, number)) as file:
                return file.beginning
        except UNSURE:
            raise
        except ApiError:
            return None


def _ignored(key: str) -> ContractError:
    what = "file" if key == PAGE else "run"
    problem = f"The API sends the same message file whichever {what} it is asked for"
    advice = (
        f"The request's key {key} probably has another name: run --check, and correct it with the "
        "setting wire_names."
    )
    return ContractError(problem, operation=OPERATION, advice=advice)
