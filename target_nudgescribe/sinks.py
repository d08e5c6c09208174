"""Sinks: where the SDK hands over rows, one kind for each kind of stream."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from singer_sdk import Sink
from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.helpers._batch import BatchFileFormat
from typing_extensions import override

from tap_nudgescribe.errors import NudgescribeError
from tap_nudgescribe.object_stores import open_object, storage_options
from tap_nudgescribe.parallel import ordered_map
from target_nudgescribe.arrow_text import row_values
from target_nudgescribe.json_records import JsonRecords
from target_nudgescribe.mapping import DELETED_COLUMN, Problem
from target_nudgescribe.names import listed
from target_nudgescribe.preflight import PreflightError, column_problems, preflight
from target_nudgescribe.record_checks import DEFINING
from target_nudgescribe.rows import Rows, from_dicts, from_table, record_of
from target_nudgescribe.singer import READ_BYTES, line_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.helpers._batch import BaseBatchFileEncoding
    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_nudgescribe.customers import CustomerStream
    from target_nudgescribe.target import TargetNudgescribe

Piece = TypeVar("Piece")

CHUNK_ROWS = 10_000
"""Rows that are decoded and checked together."""

CHUNK_BYTES = 16 * 1024 * 1024

PARQUET_ROWS = 40_000
"""Rows of a Parquet file that are prepared together, unless fewer have :data:`CHUNK_BYTES`.

They are more than of lines, because two threads prepare them: each call that comes back from Arrow
waits for Python's lock, and larger chunks need fewer calls.
"""

AT_ONCE = 2
"""Chunks of a Parquet file that are held at once.

One is prepared while another is taken in, and both while the main thread waits for the first.
"""

SCHEMES = ("", "file", "s3", "gs", "az")
"""Where files of BATCH messages may be; without a scheme it is a local path.

Not ``http://``: a tap could send this machine to any address, and the answer would become
customers.
"""

MOST_GROUP_BYTES = 2**30
"""Uncompressed bytes of one row group of a Parquet file, as the file itself tells them."""


class BatchFileError(NudgescribeError):
    """A file of a BATCH message cannot be read."""

    advice = "Look at the tap and its batch_config: nothing that came after this file was read."


class NudgescribeSink(Sink):
    """What all sinks share: the SDK neither validates nor strips anything.

    Values reach the checks as the tap sent them: a row that does not fit costs that row, where
    the SDK's validation would end the run and quote the value.
    """

    target: TargetNudgescribe

    def __init__(
        self,
        target: TargetNudgescribe,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Keep the target, which knows the account."""
        super().__init__(target, stream_name, schema, key_properties)
        self.target = target
        self.outcomes = target.outcomes.stream(stream_name)

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None

    @override
    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        return record

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Leave ``_sdc_deleted_at`` where it is: it says who is to be deleted."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Leave ``_sdc_deleted_at`` where it is."""

    @override
    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        require_keys(self.stream_name, self.key_properties, record)


def require_keys(stream: str, key_properties: Iterable[str], found: Iterable[str]) -> None:
    """Make sure that records have their key properties.

    Raises:
        MissingKeyPropertiesError: naming what is missing, and no value.
    """
    missing = sorted(set(key_properties) - set(found))
    if missing:
        problem = f"A record of {stream} lacks the key properties {', '.join(missing)}"
        raise MissingKeyPropertiesError(problem)


def pieces_of(
    path: str, compression: str | None, split: Callable[[IO[bytes]], Iterator[Piece]]
) -> Iterator[Piece]:
    """Yield what a file of a BATCH message holds, and say so when it cannot be read.

    Raises:
        BatchFileError: for a place of another kind than :data:`SCHEMES`, what is no plain file,
            and one that cannot be read. What goes wrong with the pieces elsewhere stays as it is.
    """
    scheme = urlsplit(path).scheme
    if scheme not in SCHEMES:
        problem = f"A BATCH message names a file that is no URL of {', '.join(SCHEMES[1:])}"
        raise BatchFileError(problem)
    try:
        local = _local_file(path) if scheme in {"", "file"} else None
        if local and compression is None:
            # Arrow's own, because its threads would wait for Python's lock to read another.
            file = cast("IO[bytes]", pa.OSFile(str(local), "rb"))
        else:
            how = ".gz" if compression == "gzip" else "disable"
            file = open_object(str(local or path), "rb", storage_options(path), compression=how)
        with file:
            yield from split(file)
    except NudgescribeError:
        raise
    except Exception as error:  # noqa: BLE001 (each storage and codec has its own)
        # The text of these exceptions can hold a URL with a signature, or a row.
        problem = f"A file of a BATCH message cannot be read ({type(error).__name__})"
        raise BatchFileError(problem) from None


def _local_file(url: str) -> Path:
    """Return the path of a local URL, whether its writer has quoted it or not."""
    path = url.removeprefix("file:").removeprefix("//")
    if path.lower().startswith("localhost/"):
        path = path[len("localhost") :]
    for candidate in (Path(path), Path(unquote(path))):
        # A pipe or a device would never end.
        if candidate.is_file():
            return candidate
    problem = "A BATCH message names a file that is not there, or is no plain file"
    raise BatchFileError(problem)


def parquet_batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file, :data:`CHUNK_ROWS` at once.

    Raises:
        BatchFileError: for a file whose parts are too large to be held.
    """
    parquet = pq.ParquetFile(file)
    told = parquet.metadata
    groups = (told.row_group(number) for number in range(told.num_row_groups))
    if any(group.total_byte_size > MOST_GROUP_BYTES for group in groups):
        problem = f"A row group of a Parquet file has more than {MOST_GROUP_BYTES} bytes"
        raise BatchFileError(problem, advice="Let the tap write smaller row groups.")
    yield from parquet.iter_batches(CHUNK_ROWS)


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield as many rows at once as are worth the calls, and as the memory allows."""
    parts: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        parts.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= PARQUET_ROWS or size >= CHUNK_BYTES:
            yield pa.Table.from_batches(parts)
            parts, rows, size = [], 0, 0
    if parts:
        yield pa.Table.from_batches(parts)


def records_of_files(
    stream: str, encoding: Mapping[str, Any], paths: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """Yield the records of BATCH files of a stream one by one.

    Raises:
        PreflightError: for a file with two columns of one name.
    """
    for path in paths:
        if encoding.get("format") == BatchFileFormat.PARQUET:
            for batch in pieces_of(path, encoding.get("compression"), parquet_batches):
                problems = column_problems(batch.schema, ())
                if problems:
                    raise PreflightError(stream, problems, begun=True)
                yield from row_values(batch)
            continue
        for lines in pieces_of(path, encoding.get("compression"), line_pieces):
            yield from (record_of(line) for line in io.BytesIO(lines) if line.strip())


def line_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield blocks of whole lines of a file."""
    return line_blocks(lambda: file.read(READ_BYTES), lambda: "A line of a BATCH file")


class CustomersSink(NudgescribeSink):
    """Sends rows as customers."""

    @override
    def setup(self) -> None:
        """Compare the stream with the workspace before its first row.

        It may need groups or fields that later records of this run create. If it cannot be sent
        as it is, it is compared again before rows of any stream are sent, and that ends the run;
        or, once a stream of groups or fields has come, when its own first rows are needed.
        """
        self._properties = {
            DELETED_COLUMN: {"type": ["string", "null"]},
            **self.schema["properties"],
        }
        self.records = JsonRecords(
            self.stream_name,
            self._properties,
            most=min(CHUNK_ROWS, self.config["batch_size_rows"]),
            most_bytes=CHUNK_BYTES,
            flush=self._absorb_records,
        )
        self._dicts: list[dict[str, Any]] = []
        self._warned: set[str] = set()
        self._customers: CustomerStream | None = None
        self._revision = 0
        with suppress(PreflightError):
            self._compare()

    def _compare(self) -> CustomerStream:
        workspace = self.target.workspace
        mapped = preflight(
            self.stream_name,
            self._properties,
            self.key_properties,
            workspace,
            self.config,
            incremental=self.target.names.is_incremental(self.stream_name),
            filtered=self.target.names.is_filtered(self.stream_name),
        )
        customers = self.target.customer_stream(self.stream_name, mapped)
        customers.open()
        self._customers = customers
        self._revision = workspace.fields_revision
        self._mapped = mapped
        self._warn_of_required({one.field.name for one in mapped.fields})
        self._warn_of_unknown(mapped.unknown)
        return customers

    @property
    def customers(self) -> CustomerStream:
        """The way of the stream's rows; a new one after profile fields have changed.

        Raises:
            PreflightError: when the stream cannot be sent.
        """
        self.target.ensure_compared()
        if self._customers is None:
            return self._compare()
        if self._revision != self.target.workspace.fields_revision:
            self._customers.finish()
            return self._compare()
        return self._customers

    def ensure_compared(self) -> None:
        """Compare the stream with the workspace, if that has had to wait.

        Raises:
            PreflightError: when it cannot be sent.
        """
        if self._customers is None:
            self._compare()

    def settle(self, *, upload: bool) -> None:
        """Take in the rows that wait, while the workspace still is as it was when they came.

        Args:
            upload: Whether they are uploaded, too.
        """
        if self._customers is None:
            return
        self._absorb_all()
        if upload:
            self._customers.finish()

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Take a record that stream maps have made."""
        self._dicts.append(record)
        if len(self._dicts) >= self.records.most:
            self._absorb_dicts()

    @property
    @override
    def current_size(self) -> int:
        """Count raw records too: the SDK does not drain a sink of size 0."""
        return super().current_size + self.records.waiting

    @property
    @override
    def is_full(self) -> bool:
        """Never, for the SDK: batches are full by what is left of them after the ledger."""
        return False

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Send everything that has come, and make sure of it."""
        self._absorb_all()
        self.customers.finish()

    def _absorb_all(self) -> None:
        while self.records.waiting:
            self._absorb_records()
        self._absorb_dicts()

    @override
    def process_batch_files(self, encoding: BaseBatchFileEncoding, files: Sequence[str]) -> None:
        """Read BATCH files as Arrow, after the records that came before them."""
        self._absorb_records()
        self._absorb_dicts()
        if self.target.errand.seed:
            return
        for path in files:
            if encoding.format == BatchFileFormat.PARQUET:
                self._absorb_parquet(pieces_of(path, encoding.compression, parquet_batches))
                continue
            for lines in pieces_of(path, encoding.compression, line_pieces):
                self.records.add_records(lines)
            self._absorb_records()

    def _absorb_parquet(self, batches: Iterable[pa.RecordBatch]) -> None:
        customers = self.customers
        # Almost nothing of the preparation holds Python's lock, so that threads are of use.
        for prepared in ordered_map(
            lambda part: customers.prepare(from_table(self.records.names, *part)),
            self._numbered(self._checked(batches)),
            parallel=AT_ONCE,
        ):
            self._tally(prepared.rows)
            customers.absorb(prepared)
            del prepared  # or it would be held while the next one is waited for

    def _checked(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Compare the columns of a file with the stream before its first row.

        Raises:
            PreflightError: when a column cannot be sent.
        """
        for number, batch in enumerate(batches):
            if not number:
                self._warn_of_undeclared(set(batch.schema.names))
                used = {column for column in self._mapped.columns if column is not None}
                problems = column_problems(batch.schema, {*used, DELETED_COLUMN})
                if problems:
                    raise PreflightError(self.stream_name, problems, begun=self._next_number > 1)
            yield batch

    def _numbered(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table, int]]:
        """Yield rows and the number of the first, before earlier ones are counted."""
        number = self._next_number
        for table in _together(batches):
            yield table, number
            number += table.num_rows

    @property
    def _next_number(self) -> int:
        return self.outcomes.read + 1

    def _absorb_records(self) -> None:
        rows = self.records.take(self._next_number)
        if len(rows) and not self.target.errand.seed:
            self._warn_of_undeclared(self.records.undeclared)
            customers = self.customers
            self._tally(rows)
            customers.absorb(customers.prepare(rows))
            self.target.drain_if_old()

    def _absorb_dicts(self) -> None:
        records, self._dicts = self._dicts, []
        if records and not self.target.errand.seed:
            self._warn_of_undeclared({name for record in records for name in record})
            rows = from_dicts(self.records.names, records, self._next_number)
            customers = self.customers
            customers.absorb(customers.prepare(rows))

    def _tally(self, rows: Rows) -> None:
        lacking = rows.missing.keys() & set(self.key_properties)
        present = set(rows.table.column_names) - lacking
        require_keys(self.stream_name, self.key_properties, present)
        self.tally_record_read(len(rows))
        self.record_counter_metric.increment(len(rows))

    def _warn_of_required(self, sent: set[str]) -> None:
        """Say which fields a new customer must have and would not get."""
        fields = self.target.workspace.fields.values()
        lacking = sorted(
            field.name for field in fields if field.required and field.name not in sent
        )
        if lacking and self.config["mode"] != "delete":
            self._warn_once(
                f"{self.stream_name}: no column goes into {', '.join(lacking)}, which the "
                "workspace requires: the API will take no new customer"
            )

    def _warn_of_unknown(self, columns: Sequence[str]) -> None:
        """Say which columns no profile field takes."""
        if columns:
            known = listed(columns, self.target.workspace.fields, "the field")
            self._warn_once(
                f"{self.stream_name}: no profile field takes the columns {known}: not sent"
            )

    def _warn_of_undeclared(self, names: set[str]) -> None:
        """Say once of each column that it is not in the SCHEMA, so that it goes nowhere.

        Raises:
            PreflightError: when unknown_columns says that there must be none.
        """
        fresh = {n for n in names - set(self.records.names) if not n.startswith("_sdc_")}
        fresh -= self._warned
        if fresh and self.config.get("unknown_columns") == "refuse":
            problem = Problem(
                "undeclared_columns",
                f"Rows have the columns {', '.join(map(repr, sorted(fresh)))}, which the SCHEMA "
                "does not declare",
                "Let the tap declare or leave out these columns, or set unknown_columns to ignore",
            )
            raise PreflightError(self.stream_name, [problem], begun=self.outcomes.read > 0)
        for name in sorted(fresh):
            self.target.warn(f"{self.stream_name}: the column {name} has no schema: not sent")
        self._warned |= fresh

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.target.warn(text)


class IgnoredSink(NudgescribeSink):
    """Takes the rows of a stream that a stream map drops: there are none."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing."""

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing."""

    @override
    def process_batch_files(self, encoding: BaseBatchFileEncoding, files: Sequence[str]) -> None:
        """Do nothing."""


class RecordsSink(NudgescribeSink):
    """Applies few records one by one: groups, fields, publications, reruns."""

    @override
    def setup(self) -> None:
        """Choose what is done with a record, and when.

        Groups and fields are there as soon as their record has come, because customers of the same
        input may need them; what publishes and starts runs waits for the customers before it.

        Raises:
            PreflightError: for columns that nothing takes, when unknown_columns refuses them.
        """
        self._apply = self.target.record_kind(self.stream_name)
        self._at_once = self.target.kind(self.stream_name) in DEFINING
        self._records: list[dict[str, Any]] = []
        self._warned: set[str] = set()
        self._find_unknown(self.schema["properties"])

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Take a record."""
        self._find_unknown(record)
        if self._at_once:
            self._apply_one(record)
        else:
            self._records.append(record)

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Apply the records in their order."""
        records, self._records = self._records, []
        for record in records:
            self._apply_one(record)

    def _apply_one(self, record: dict[str, Any]) -> None:
        if self.target.errand.seed:
            return
        self.target.interruption.check()
        self.outcomes.read += 1
        self._apply(record, self.outcomes.read)

    def _find_unknown(self, columns: Iterable[str]) -> None:
        """Say once of each column of a group or field that it goes nowhere."""
        if not self._at_once:
            return
        known = DEFINING[self.target.kind(self.stream_name)]
        fresh = [
            name
            for name in columns
            if not (name in known or name in self._warned or name.startswith("_sdc_"))
        ]
        if not fresh:
            return
        self._warned.update(fresh)
        told = f"Nothing takes the columns {listed(fresh, known, 'the column')}"
        if self.config.get("unknown_columns") == "refuse":
            fix = "Correct or deselect them, or set unknown_columns to ignore"
            problem = Problem("unknown_columns", told, fix)
            raise PreflightError(self.stream_name, [problem], begun=self.outcomes.read > 0)
        self.target.warn(f"{self.stream_name}: {told[0].lower()}{told[1:]}: not sent")

    @override
    def process_batch_files(self, encoding: BaseBatchFileEncoding, files: Sequence[str]) -> None:
        """Never called: the target hands the records of such files over one by one."""
        raise NotImplementedError
