"""Write the files of BATCH messages, each whole or not to be seen at all."""

from __future__ import annotations

import gzip
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import msgspec
import pyarrow as pa

from tap_nudgescribe.errors import (
    ContractError,
    NudgescribeError,
    SettingsError,
    StorageError,
    reason,
)
from tap_nudgescribe.message_rows import KINDS
from tap_nudgescribe.object_stores import open_object, storage_options
from tap_nudgescribe.private_files import (
    private_file,
    private_folder,
    unfinished,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from typing_extensions import Buffer

ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Size of a row group in memory: so much is held before it is written."""

DICTIONARY_BYTES = 64 * 1024
"""A column whose different values are longer is written plain: smaller, and a sixth faster."""

GZIP_LEVEL = 3

COMPRESSIONS: dict[str, dict[str | None, str]] = {
    "jsonl": {None: "gzip", "gzip": "gzip", "none": "none"},
    "parquet": {
        None: "snappy",
        **{name: name for name in ("snappy", "gzip", "zstd", "lz4", "none")},
    },
}
"""Accepted by format; None is what a configuration without compression means."""


class BatchFiles:
    """The files of one stream, one after the other.

    Args:
        config: The setting ``batch_config``.
        stem: What the names of the files begin with.
        schema: Of the stream, for Parquet: the same in every file.
        file_bytes: When a file is full, whatever number of rows it has.
    """

    def __init__(
        self, config: BatchConfig, *, stem: str, schema: pa.Schema, file_bytes: int
    ) -> None:
        """Write nothing yet.

        Raises:
            SettingsError: for a configuration that cannot be followed.
        """
        self.encoding = _checked(config)
        self._compression = COMPRESSIONS[config.encoding.format][config.encoding.compression]
        self._config = config
        self._stem = f"{config.storage.prefix or ''}{stem}-{uuid4()}"
        self.schema = schema
        self._file_bytes = file_bytes
        self.number = 0
        """How many files there are."""
        self.written = 0
        """How many bytes of rows are in files that are whole, before compression."""
        self._file: _File | None = None

    @property
    def as_table(self) -> bool:
        """Whether :meth:`write` takes tables; otherwise it takes lines of JSON."""
        return self.encoding.format == "parquet"

    @property
    def rows(self) -> int:
        """How many rows the file has that is being written."""
        return self._file.rows if self._file else 0

    @property
    def room(self) -> int:
        """How many rows this file can still have."""
        return self._config.batch_size - self.rows

    @property
    def full(self) -> bool:
        """Whether the file is to be finished."""
        return bool(self._file) and (
            self.room <= 0 or cast("_File", self._file).size >= self._file_bytes
        )

    def write(self, content: pa.RecordBatch | Buffer, rows: int) -> None:
        """Add rows, at most as many as there is room for.

        Raises:
            StorageError: when they cannot be written.
        """
        with _storage_errors():
            if self._file is None:
                self.number += 1
                self._file = self._open()
            self._file.write(content)
            self._file.rows += rows

    def finish(self) -> list[str]:
        """Complete the file and return the manifest: its URL.

        Raises:
            StorageError: when it cannot be completed.
        """
        file = cast("_File", self._file)
        with _storage_errors():
            file.close()
            file.place.finish()
        self._file = None
        self.written += file.size
        return [file.place.url]

    def abandon(self) -> None:
        """Leave nothing of a file that is not complete."""
        file, self._file = self._file, None
        if file:
            with suppress(Exception):  # what it still wants to write does not count
                file.close()
            file.place.abandon()

    @cached_property
    def _options(self) -> dict[str, Any]:
        return storage_options(self._config.storage.root)

    def _open(self) -> _File:
        gz = ".gz" if self._compression == "gzip" else ""
        ending = "parquet" if self.as_table else f"jsonl{gz}"
        place = _place(
            self._config.storage.root, f"{self._stem}-{self.number:05d}.{ending}", self._options
        )
        if self.as_table:
            return _ParquetFile(place, self.schema, self._compression)
        return _LinesFile(place, self._compression)


class Place(Protocol):
    """Where a file is written."""

    url: str
    file: IO[bytes]

    def finish(self) -> None:
        """Let the file be seen, whole."""

    def abandon(self) -> None:
        """Let nothing be seen."""


class _LocalPlace:
    """A file that has a hidden name until it is whole."""

    def __init__(self, root: str, name: str) -> None:
        path = unquote(urlsplit(root).path) if root.startswith("file:") else root
        self._whole = Path(path).resolve() / name
        private_folder(self._whole.parent)
        self._part = Path(f"{unfinished(self._whole)}.part")
        self.url = self._whole.as_uri()
        self.file: IO[bytes] = private_file(self._part)

    def finish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._part.replace(self._whole)

    def abandon(self) -> None:
        self.file.close()
        self._part.unlink(missing_ok=True)


class _CloudPlace:
    """An object: a store shows it when its upload is completed, and not before."""

    def __init__(self, root: str, name: str, options: Mapping[str, Any]) -> None:
        self.url = f"{root.rstrip('/')}/{name}"
        self.file = open_object(self.url, "wb", options, compression="disable")

    def finish(self) -> None:
        self.file.close()

    def abandon(self) -> None:
        with suppress(Exception):
            self.file.terminate()  # type: ignore[attr-defined] # all writers of smart-open can


class _File:
    """A file being written."""

    rows = 0
    size = 0

    def __init__(self, place: Place) -> None:
        self.place = place

    def write(self, content: Any) -> None:  # noqa: ANN401 (one of two)
        raise NotImplementedError

    def close(self) -> None:
        """Write what is still held, and the end of the format."""
        raise NotImplementedError


class _LinesFile(_File):
    def __init__(self, place: Place, compression: str) -> None:
        super().__init__(place)
        self._lines: IO[bytes] = place.file
        if compression == "gzip":
            self._lines = cast(
                "IO[bytes]",
                gzip.GzipFile("", "wb", GZIP_LEVEL, place.file, mtime=0),
            )

    def write(self, content: Buffer) -> None:
        self._lines.write(content)
        self.size += memoryview(content).nbytes

    def close(self) -> None:
        if self._lines is not self.place.file:
            self._lines.close()


class _ParquetFile(_File):
    def __init__(self, place: Place, schema: pa.Schema, compression: Any) -> None:  # noqa: ANN401 (a name)
        from pyarrow import parquet  # noqa: PLC0415 (fast start-up)

        super().__init__(place)
        self._writer = parquet.ParquetWriter(
            place.file,
            schema,
            compression=compression,
            dictionary_pagesize_limit=DICTIONARY_BYTES,
        )
        self._schema = schema
        self._group: list[pa.RecordBatch] = []
        self._group_bytes = 0

    def write(self, content: pa.RecordBatch) -> None:
        self._group.append(content)
        size = content.get_total_buffer_size()
        self.size += size
        self._group_bytes += size
        if self._group_bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._group:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._group, self._schema)
        self._writer.write_table(table, row_group_size=len(table))
        self._group, self._group_bytes = [], 0


def arrow_schema(properties: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the types that properties have in a Parquet file.

    Objects and lists are JSON text, because their form is the account's own.
    """
    return pa.schema([(name, _arrow_type(schema)) for name, schema in properties.items()])


def table_of(lines: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """Return records, given as lines of JSON, as a record batch of a schema.

    Raises:
        ContractError: for a number that a Parquet file cannot hold exactly.
    """
    records = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines(lines)
    columns = []
    for arrow_field in schema:
        texts = [_text(record.get(arrow_field.name)) for record in records]
        try:
            columns.append(pa.array(texts, pa.string()).cast(arrow_field.type))
        except pa.ArrowInvalid:
            problem = f"A value of {arrow_field.name} does not fit into a Parquet file"
            advice = "Use batch_config.encoding.format jsonl, or leave the property out."
            raise ContractError(problem, advice=advice) from None
    return pa.record_batch(columns, schema=schema)


def _text(value: msgspec.Raw | None) -> str | None:
    """Return a JSON value as text of which Arrow can make its type."""
    if value is None:
        return None
    text = bytes(value).decode()
    if text == "null":
        return None
    return str(msgspec.json.decode(value)) if text.startswith('"') else text


def _arrow_type(schema: Mapping[str, Any]) -> pa.DataType:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next((name for name in kinds if name != "null"), "string")
    named = schema.get("format") if kind == "string" else kind
    return KINDS[named].arrow if named in KINDS else pa.string()


def _place(root: str, name: str, options: Mapping[str, Any]) -> Place:
    if urlsplit(root).scheme in {"", "file"}:
        return _LocalPlace(root, name)
    return _CloudPlace(root, name, options)


def _checked(config: BatchConfig) -> BaseBatchFileEncoding:
    encoding = config.encoding
    accepted = COMPRESSIONS.get(encoding.format)
    if accepted is None:
        problem = f"batch_config.encoding.format is none of {', '.join(COMPRESSIONS)}"
        raise SettingsError(problem)
    if encoding.compression not in accepted:
        names = ", ".join(name for name in accepted if name)
        problem = f"batch_config.encoding.compression is none of {names}"
        raise SettingsError(problem)
    if config.storage.params:
        problem = "batch_config.storage.params is not used"
        advice = "Leave it out: credentials are those that the cloud's own client finds."
        raise SettingsError(problem, advice=advice)
    if config.batch_size < 1:
        problem = "batch_config.batch_size is below 1"
        raise SettingsError(problem)
    if encoding.format == "jsonl":
        # What a target reads this by: a file that is not compressed has no compression.
        compression = None if encoding.compression == "none" else "gzip"
        return replace(encoding, compression=compression)
    return encoding


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except NudgescribeError:
        raise
    except Exception as error:  # noqa: BLE001 (each storage client has its own)
        raise _storage_error(error) from None


def _storage_error(error: Exception) -> StorageError:
    problem = f"A batch file cannot be written ({reason(error)})"
    advice = "Check batch_config.storage, and that this machine's credentials may write there."
    return StorageError(problem, advice=advice)
