"""The base of all streams: how records, failures, state and batch files go together."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from singer_sdk import Stream
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.helpers._catalog import pop_deselected_record_properties
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_nudgescribe.bookmarks import Bookmark
from tap_nudgescribe.errors import ApiError
from tap_nudgescribe.records import EXTRA, EXTRA_PROPERTY, RecordReader, nullable
from tap_nudgescribe.stream_map_checks import StreamMapError
from tap_nudgescribe.tallies import Tally
from tap_nudgescribe.timestamps import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
    from datetime import datetime

    from singer_sdk.helpers import types
    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from singer_sdk.singerlib import RecordMessage

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.batch_files import BatchFiles
    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.failures import Failures
    from tap_nudgescribe.identities import Listing
    from tap_nudgescribe.tap import TapNudgescribe
    from tap_nudgescribe.writer import BlockWriter

Properties = dict[str, dict[str, Any]]
Item = TypeVar("Item")

BATCH_CHUNK_ROWS = 5_000
"""So many records are held at once when batch files are written."""


class NudgescribeStream(Stream):
    """A stream whose records come from :meth:`read`.

    An API error of a part is reported and the other parts go on. State is kept by
    :class:`~tap_nudgescribe.bookmarks.Bookmark`, not by the SDK, which compares text and forgets
    what failed.
    """

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # records already keep to their schema

    operation: ClassVar[str]
    properties: ClassVar[Properties]
    keys: ClassVar[Sequence[str]]
    bookmarked: ClassVar[str | None] = None
    _version_to_activate: int | None = None
    held_by: ClassVar[str | None] = "updated_at"
    """Key of the listed rows that the bookmark follows; None when it follows rows within them."""

    def __init__(self, tap: TapNudgescribe, properties: Properties | None = None) -> None:
        """Build the schema from the class's properties and those only known at run time."""
        complete = self.complete_properties(properties)
        schema = {"type": "object", "properties": complete, "required": list(self.keys)}
        super().__init__(tap, schema=schema)
        self.primary_keys = self.keys
        self.replication_key = self.bookmarked
        self._nudgescribe = tap
        self._draft: dict[str, Any] | None = None
        self.tally: Tally | None = None
        """What this run has counted; None before the stream is read."""

    @property
    def account(self) -> Account:
        """What the streams of a run read in common."""
        return self._nudgescribe.account

    @property
    def failures(self) -> Failures:
        """Where parts that failed are reported."""
        return self._nudgescribe.failures

    def read(self) -> Iterator[Row]:
        """Yield the stream's records; raise an ``ApiError`` when the stream as a whole fails."""
        raise NotImplementedError

    @override
    def get_records(self, context: types.Context | None) -> Iterator[Row]:
        """Yield all records, whatever happens to parts of the stream."""
        yield from self.reported(self.read())

    def reported(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items; report what goes wrong, and at the end what was odd."""
        with self.failures.part(self.name, "the whole stream"):
            yield from items
        self._report_misfits()

    @classmethod
    def reconciled(cls, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a catalog's schema of this stream as its records can keep to it.

        The stream's own keys, its bookmark and ``_extra`` are as the tap defines them, whatever
        the catalog says. Everything else has the catalog's type, and may be null.
        """
        given: Mapping[str, Any] = schema.get("properties") or {}
        own = cls.complete_properties()
        fixed = {*cls.fixed_properties(), *([EXTRA] if EXTRA in given else [])}
        kept = {
            name: own[name] if name in fixed else nullable(definition)
            for name, definition in given.items()
        }
        missing = {name: own[name] for name in own if name in fixed and name not in given}
        return {**schema, "properties": missing | kept, "required": list(cls.keys)}

    @classmethod
    def fixed_properties(cls) -> Collection[str]:
        """Return the names of properties that a catalog can neither change nor remove."""
        return [*cls.keys, *([cls.bookmarked] if cls.bookmarked else [])]

    @classmethod
    def complete_properties(cls, further: Properties | None = None) -> Properties:
        """Return the stream's properties as the tap defines them; its keys are never null."""
        complete = cls.properties | (further or {}) | {EXTRA: EXTRA_PROPERTY}
        for key in cls.keys:
            kind = complete[key]["type"]
            plain = next(k for k in kind if k != "null") if isinstance(kind, list) else kind
            complete[key] = complete[key] | {"type": plain}
        return complete

    def typed_columns(self) -> Mapping[str, Any]:
        """Return the properties of the SCHEMA message that are not read from a row's keys."""
        return {}

    @override
    def _sync_records(
        self, context: types.Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        """Read the stream; when a stream map fails, the other streams go on."""
        with self.failures.part(self.name, "the whole stream"):
            yield from super()._sync_records(context, write_messages=write_messages)

    @override
    def _generate_record_messages(
        self, record: types.Record
    ) -> Generator[RecordMessage, None, None]:
        """Yield the messages of a record.

        Raises:
            StreamMapError: when an expression of stream_maps fails for it.
        """
        try:
            yield from super()._generate_record_messages(record)
        except Exception as error:
            if not self.needs_each_record():
                raise
            raise StreamMapError(error) from None

    @cached_property
    def reader(self) -> RecordReader:
        """Turns rows into records of this stream."""
        schema = self.effective_schema["properties"]
        typed = self.typed_columns()
        return RecordReader(
            {name: schema[name] for name in schema if name not in typed},
            keys=self.keys,
            operation=self.operation,
            removed=self.properties.keys() - schema.keys(),
        )

    @cached_property
    def bookmark(self) -> Bookmark:
        """How far this stream has come."""
        return Bookmark(
            self.stream_state if self._draft is None else self._draft,
            replication_key=self.bookmarked or "",
            config=self.config,
            incremental=(
                self.bookmarked is not None and self.replication_method != REPLICATION_FULL_TABLE
            ),
        )

    @contextmanager
    def part(self, kind: str, name: str, *unfinished: str) -> Iterator[None]:
        """Read a part of the stream; when it fails, note it as unfinished and report it."""
        with self.failures.part(self.name, f"{kind} {name}"):
            try:
                yield
            except ApiError:
                for part in unfinished:
                    self.bookmark.keep(part)
                raise

    def usable(self, listed: Listing, kind: str) -> list[Row]:
        """Return the rows of a list; report those that are missing or cannot be used as failed.

        The bookmark does not move past them, because the state cannot name them.
        """
        for malformed in listed.malformed:
            self.bookmark.hold(_least(malformed.row, self.held_by))
            further = f"every further {kind}"
            what = further if malformed.missing else f"a {kind} without a usable identifier"
            with self.failures.part(self.name, what):
                raise malformed.error
        return listed

    @override
    def get_record_counter(self, **kwargs: Any) -> Tally:
        """Return a counter that remembers."""
        writer = cast("BlockWriter", self._nudgescribe.message_writer)
        counter = super().get_record_counter(**kwargs)
        self.tally = Tally(counter, lambda: getattr(writer, "taken", 0))
        return self.tally

    def parallel(self) -> int:
        """Return how many requests may be under way."""
        return self.account.client.options.max_parallel_requests

    def _report_misfits(self) -> None:
        for name, count in sorted(self.reader.misfits.items()):
            self.logger.warning(
                "%d values of %s do not have the property's type; they are in %s",
                count,
                name,
                EXTRA,
            )

    # ACTIVATE_VERSION. The SDK writes it before the records, when nobody knows whether they can be
    # read; a target that deletes then empties its table for a stream that fails.

    @override
    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        """Tell targets what is gone, once the stream has been synced without an exception."""
        super().finalize_state_progress_markers(state)
        tally: Tally | None = getattr(self, "tally", None)
        self._activate_version(sent=tally is not None and tally.rows > 0)

    @override
    def _write_activate_version_message(self, full_table_version: int) -> None:
        """Hold the message back until the stream was read."""
        self._version_to_activate = full_table_version

    def _activate_version(self, *, sent: bool) -> None:
        """Write the message that was held back, unless rows may be missing."""
        version, self._version_to_activate = self._version_to_activate, None
        if version is None:
            return
        if sent and not self.failures.count(self.name):
            super()._write_activate_version_message(version)
            return
        self.logger.warning(
            "%s: no ACTIVATE_VERSION, so that targets delete nothing, because %s",
            self.name,
            "parts of it failed" if sent else "nothing was read",
        )

    # BATCH messages. The SDK's own batchers ignore selection, infer types from each chunk, and
    # write no STATE after the last one.

    @override
    def get_batches(
        self, batch_config: BatchConfig, context: types.Context | None = None
    ) -> Iterator[tuple[BaseBatchFileEncoding, list[str]]]:
        """Yield the manifest of each file once it is whole."""
        from tap_nudgescribe.batch_files import (  # noqa: PLC0415 (fast start-up)
            BatchFiles,
            arrow_schema,
        )

        schema = self.effective_schema["properties"]
        files = BatchFiles(
            batch_config,
            stem=f"{self.tap_name}--{self.name}",
            schema=arrow_schema({name: schema[name] for name in self.selected_properties}),
            file_bytes=self.config["batch_file_mib"] * 2**20,
        )
        self._draft = dict(self.stream_state)
        try:
            with self.get_record_counter() as counter:
                for rows in self.write_batches(files):
                    counter.increment(rows)
                    if files.full:
                        yield files.encoding, files.finish()
                if files.rows:
                    yield files.encoding, files.finish()
                else:
                    self._state_what_is_whole()
                counter.files, counter.bytes = files.number, files.written
        finally:
            files.abandon()

    @override
    def _write_batch_message(self, encoding: BaseBatchFileEncoding, manifest: list[str]) -> None:
        """Write a manifest; only then is the state that far, whatever ends the run before."""
        # A target does not know the version of rows in files, so that it must come before them.
        self._activate_version(sent=True)
        super()._write_batch_message(encoding, manifest)
        self._state_what_is_whole()

    def write_batches(self, files: BatchFiles) -> Iterator[int]:
        """Write all records; yield after each piece how many it had."""
        from tap_nudgescribe.batch_files import table_of  # noqa: PLC0415 (fast start-up)

        records = self.get_records(None)
        schema = files.schema
        writer = cast("BlockWriter", self._nudgescribe.message_writer)
        while chunk := list(islice(records, min(files.room, BATCH_CHUNK_ROWS))):
            for record in chunk:
                pop_deselected_record_properties(record, self.schema, self.mask)
            lines = writer.without_nul(encoder.encode_lines(chunk))
            files.write(table_of(lines, schema) if files.as_table else lines, len(chunk))
            yield len(chunk)

    @cached_property
    def selected_properties(self) -> list[str]:
        """What a record has, in this order."""
        properties = self.effective_schema["properties"]
        return [name for name in properties if self.mask["properties", name]]

    def needs_each_record(self) -> bool:
        """Say whether stream maps or flattening want to see each record."""
        maps = self.stream_maps
        return len(maps) != 1 or not (
            isinstance(maps[0], SameRecordTransform)
            and maps[0].stream_alias == self.name
            and not maps[0].flattening_enabled
        )

    def write_state_if_due(self) -> None:
        """Write a STATE amid the stream, if it is not too long for what came since the last one."""
        if getattr(self._nudgescribe.message_writer, "state_is_due", True):
            self._write_state_message()

    def _state_what_is_whole(self) -> None:
        """Let the state say what the bookmark has come to: all of it is in files that are told of.

        Until then it says what it said before, because a STATE message may be written at any
        time.
        """
        if self._draft is not None:
            self.stream_state.clear()
            self.stream_state.update(self._draft)
            if unfinished := self._draft.get("unfinished"):
                self.stream_state["unfinished"] = dict(unfinished)
            self.state_manager.is_flushed = False

    # The SDK's own bookkeeping (singer-sdk 0.54: Stream._sync_records) is replaced by Bookmark.

    @override
    def get_replication_key_signpost(self, context: types.Context | None = None) -> None:
        """Return None: the bookmark is clamped to the server's time instead."""

    @override
    def _write_starting_replication_value(self, context: types.Context | None) -> None:
        """Leave the state alone."""

    @override
    def _increment_stream_state(
        self, latest_record: types.Record, *, context: types.Context | None = None
    ) -> None:
        """Leave the state alone."""


def _least(row: object, key: str | None) -> datetime | None:
    """Return the earliest time in a row, or in a workspace's campaigns; None if one has none."""
    if not isinstance(row, dict) or key is None:
        return None
    if isinstance(inner := row.get("campaigns"), list):
        moments = [_least(each, key) for each in inner]
        known = [each for each in moments if each is not None]
        return min(known) if known and len(known) == len(moments) else None
    return moment(row.get(key))
