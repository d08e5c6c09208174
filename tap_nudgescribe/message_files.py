"""Open and parse published message files: resumable downloads, CSV in record batches."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import requests
import urllib3

from tap_nudgescribe.errors import (
    AccessError,
    BadRequestError,
    ContractError,
    MessageFileError,
    NetworkError,
    NotFoundError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from tap_nudgescribe.client import NudgescribeClient

BLOCK_BYTES = 8 * 1024 * 1024
"""How much is parsed at once: also the length that one row may have."""

HEADER_BYTES = 1024 * 1024
OPERATION = "fetch_message_file"


class Download(io.RawIOBase):
    """A file behind presigned URLs, read to its end whatever happens to one URL or connection.

    A URL is asked for just before it is used. When the connection breaks or the URL expires, a
    new URL is asked for and the download goes on from the next byte.

    Args:
        client: The API.
        new_url: Asks for a presigned URL.
    """

    def __init__(self, client: NudgescribeClient, new_url: Callable[[], str]) -> None:
        """Open the file.

        Raises:
            ApiError: when it cannot be opened.
        """
        super().__init__()
        self._client = client
        self._new_url = new_url
        self._offset = 0
        self._etag: str | None = None
        self._length: int | None = None
        self._response: requests.Response | None = None
        self._connect()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer from the file; return the number of bytes, 0 at the end.

        Raises:
            ApiError: when the download cannot go on.
        """
        view = memoryview(buffer)
        tries = self._client.options.max_tries
        for number in range(1, tries + 1):
            try:
                if self._response is None:
                    self._connect()
                data = self._read(len(view))
            except (NetworkError, ServerError, AccessError):
                self._drop()
                if number == tries:
                    raise
                self._client.transport.pause(number)
                continue
            view[: len(data)] = data
            self._offset += len(data)
            return len(data)
        raise AssertionError  # max_tries is at least 1

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _connect(self) -> None:
        response = self._client.open_storage(self._new_url(), offset=self._offset, etag=self._etag)
        self._response = response
        if not self._offset:
            self._etag = response.headers.get("ETag")
            length = response.headers.get("Content-Length")
            self._length = int(length) if length and length.isdecimal() else None

    def _read(self, size: int) -> bytes:
        assert self._response is not None  # noqa: S101 (readinto has just connected)
        try:
            data: bytes = self._response.raw.read(size)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            problem = f"The download broke off ({type(error).__name__})"
            raise NetworkError(problem, operation=OPERATION) from None
        if not data and self._length is not None and self._offset < self._length:
            msg = "The download ended too early"
            raise NetworkError(msg, operation=OPERATION)
        return data

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def open_message_file(
    client: NudgescribeClient, campaign_id: str, run_number: int | None, page: int
) -> BinaryIO:
    """Open a file of a historical run (a number), or of the current one (None).

    The current run's files come by presigned URL, or as raw CSV where the account gives none;
    historical runs have no URLs, and JSON stops at 1000 rows (documented), so raw CSV it is.
    """
    if run_number is None:
        try:
            download = Download(client, lambda: client.message_file_url(campaign_id, page))
        except (BadRequestError, NotFoundError, ContractError):
            pass
        else:
            return io.BufferedReader(download, HEADER_BYTES)
    return io.BytesIO(client.message_file_csv(campaign_id, page, run_number))


def read_header(file: BinaryIO) -> list[str]:
    """Return the header of a CSV file without moving on; empty for an empty file."""
    head = file.peek(HEADER_BYTES) if isinstance(file, io.BufferedReader) else file.getvalue()  # type: ignore[attr-defined]
    text = head[:HEADER_BYTES].decode("utf-8-sig", errors="replace")
    return next(csv.reader(io.StringIO(text, newline="")), [])


def read_batches(file: BinaryIO, columns: int) -> Iterator[pa.RecordBatch]:
    """Parse a CSV file after its header, as record batches of text.

    Args:
        file: At its first byte.
        columns: How many the header has.

    Yields:
        Record batches with fields named by position; an empty value is null, ``""`` is not.

    Raises:
        MessageFileError: when the file is no CSV in UTF-8 with as many values in each row.
    """
    names = [str(position) for position in range(columns)]
    try:
        with pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=1,
                block_size=BLOCK_BYTES,
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        ) as reader:
            yield from reader
    except pa.ArrowException as error:
        # Arrow's own text quotes the row.
        problem = f"A message file is not readable as CSV ({type(error).__name__})"
        raise MessageFileError(problem, operation=OPERATION) from None
