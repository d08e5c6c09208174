"""The JSON streams: workspaces, groups, fields, customers, campaigns, runs and run messages."""

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
from tap_nudgescribe.contract import record_properties
from tap_nudgescribe.errors import ApiError, ContractError
from tap_nudgescribe.parallel import ordered_map
from tap_nudgescribe.progress import Progress
from tap_nudgescribe.records import EXTRA, EXTRA_PROPERTY, RecordReader
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from singer_sdk.helpers import types
    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.batch_files import BatchFiles
    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.failures import Failures
    from tap_nudgescribe.profile import ProfileColumns
    from tap_nudgescribe.tap import TapNudgescribe
    from tap_nudgescribe.writer import BlockWriter

Properties = dict[str, dict[str, Any]]
Item = TypeVar("Item")

BATCH_CHUNK_ROWS = 5_000
"""So many records are held at once when batch files are written."""

WORKSPACE_ID: Properties = {
    "workspace_id": {"type": "string", "description": "Workspace that it belongs to"}
}
CAMPAIGN_ID: Properties = {
    "campaign_id": {"type": "string", "description": "Campaign that it belongs to"}
}
CAMPAIGN_UPDATED_AT: Properties = {
    "campaign_updated_at": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When the campaign last changed: what this stream's bookmark follows",
    }
}


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

    def __init__(self, tap: TapNudgescribe, properties: Properties | None = None) -> None:
        """Build the schema from the class's properties and those only known at run time."""
        complete = self.properties | (properties or {}) | {EXTRA: EXTRA_PROPERTY}
        for key in self.keys:
            kind = complete[key]["type"]
            plain = next(k for k in kind if k != "null") if isinstance(kind, list) else kind
            complete[key] = complete[key] | {"type": plain}
        schema = {"type": "object", "properties": complete, "required": list(self.keys)}
        super().__init__(tap, schema=schema)
        self.primary_keys = self.keys
        self.replication_key = self.bookmarked
        self._nudgescribe = tap
        self._draft: dict[str, Any] | None = None

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

    @cached_property
    def reader(self) -> RecordReader:
        """Turns rows into records of this stream."""
        return RecordReader(self.properties, keys=self.keys, operation=self.operation)

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

    # BATCH messages. The SDK's own batchers ignore selection, infer types from each chunk, and
    # write no STATE after the last one.

    @override
    def get_batches(
        self, batch_config: BatchConfig, context: types.Context | None = None
    ) -> Iterator[tuple[BaseBatchFileEncoding, list[str]]]:
        """Yield the manifest of each file once it is whole; the state is then that far, too."""
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
                        self._state_what_is_whole()
                        yield files.encoding, files.finish()
                self._state_what_is_whole()
                if files.rows:
                    yield files.encoding, files.finish()
        finally:
            files.abandon()

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

    def _state_what_is_whole(self) -> None:
        """Let the state say what the bookmark has come to: all of it is in whole files.

        Until then it says what it said before, because a STATE message may be written at any
        time.
        """
        if self._draft is not None:
            self.stream_state.clear()
            self.stream_state.update(self._draft)
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


class Workspaces(NudgescribeStream):
    """Workspaces that have campaigns, and those of the setting ``workspace_ids``."""

    name = "workspaces"
    operation = "list_campaigns"
    keys = ("workspace_id",)
    properties: ClassVar[Properties] = {
        name: schema
        for name, schema in record_properties("Workspace").items()
        if name != "campaigns"
    }

    @override
    def read(self) -> Iterator[Row]:
        for workspace in self.account.workspaces():
            row = {key: value for key, value in workspace.items() if key != "campaigns"}
            yield self.reader.read(row)


class CustomerGroups(NudgescribeStream):
    """Customer groups of every workspace."""

    name = "customer_groups"
    operation = "list_groups"
    keys = ("customer_group_id",)
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("CustomerGroup")

    @override
    def read(self) -> Iterator[Row]:
        for workspace in self.account.workspaces():
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id):
                for group in self.account.groups(workspace_id):
                    yield self.reader.read(group, workspace_id=workspace_id)


class ProfileFields(NudgescribeStream):
    """Profile field definitions of every workspace."""

    name = "profile_fields"
    operation = "list_fields"
    keys = ("workspace_id", "field_id")
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("ProfileField")

    @override
    def read(self) -> Iterator[Row]:
        for workspace in self.account.workspaces():
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id):
                for row in self.account.fields(workspace_id):
                    yield self.reader.read(row, workspace_id=workspace_id)


class Customers(NudgescribeStream):
    """Customers of every group, with their profile as typed columns beside the raw object.

    The API has no filter, so every page is read and what is older than the bookmark left out
    here. Pages are fetched side by side and come out in order.
    """

    name = "customers"
    operation = "list_customers"
    keys = ("customer_group_id", "customer_id")
    bookmarked = "updated_at"
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("Customer")

    def __init__(self, tap: TapNudgescribe, columns: ProfileColumns) -> None:
        """Add the typed columns of the account's profile fields."""
        super().__init__(tap, columns.schema)
        self._columns = columns

    @override
    def read(self) -> Iterator[Row]:
        as_of = self.account.client.transport.server_time
        for workspace in self.account.workspaces():
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id, f"workspace/{workspace_id}"):
                self.account.fields(workspace_id)  # without them the columns have no type
                groups = self.account.groups(workspace_id)
                for group in groups:
                    yield from self._read_group(workspace_id, group)
                self.bookmark.done(f"workspace/{workspace_id}")
        self.bookmark.advance(as_of)

    def _read_group(self, workspace_id: str, group: Row) -> Iterator[Row]:
        group_id = str(group["customer_group_id"])
        bookmark = self.bookmark
        start = (
            bookmark.start_of_new()
            if bookmark.is_new(moment(group.get("created_at")))
            else bookmark.start_of(group_id, f"workspace/{workspace_id}")
        )
        typed = self._columns.reader(workspace_id, self._unparsed)
        with self.part("customer group", group_id, group_id):
            for row in self._pages(workspace_id, group_id):
                record = self.reader.read(
                    row, workspace_id=workspace_id, customer_group_id=group_id
                )
                updated_at = moment(record["updated_at"])
                if not bookmark.covers(updated_at, start):
                    continue
                bookmark.saw(updated_at)
                yield record | typed(record["profile"] or {})
            bookmark.done(group_id)

    def _pages(self, workspace_id: str, group_id: str) -> Iterator[Row]:
        """Yield the rows of all pages, those that appear while they are read included.

        Raises:
            ContractError: when pages disappear meanwhile, because a deleted customer makes
                others move to a page that was already read.
        """
        client = self.account.client
        done = 0
        while (pages := client.count_customer_pages(workspace_id, group_id)) > done:
            for rows in ordered_map(
                lambda page: client.list_customers(workspace_id, group_id, page),
                range(done + 1, pages + 1),
                parallel=self.parallel(),
            ):
                yield from rows
                self._progress.add(rows=len(rows))
                self._progress.part_done()
            done = pages
        if pages < done:
            problem = "Customers were deleted while their pages were read, so some may be missing"
            raise ContractError(problem, operation=self.operation)

    def _unparsed(self, field: str) -> None:
        self._unparsed_values[field] = self._unparsed_values.get(field, 0) + 1

    @cached_property
    def _progress(self) -> Progress:
        return Progress(self.logger, self.name, parts="pages")

    @cached_property
    def _unparsed_values(self) -> dict[str, int]:
        return {}

    @override
    def _report_misfits(self) -> None:
        self._progress.close()
        super()._report_misfits()
        for field, count in sorted(self._unparsed_values.items()):
            self.logger.warning(
                "%d values of the profile field %r do not have its type; their column is null "
                "and they are in profile as they came",
                count,
                field,
            )


class Campaigns(NudgescribeStream):
    """Campaigns of every workspace, in every status."""

    name = "campaigns"
    operation = "list_campaigns"
    keys = ("campaign_id",)
    bookmarked = "updated_at"
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("Campaign")

    @override
    def read(self) -> Iterator[Row]:
        campaigns = self.account.campaigns()
        as_of = self.account.client.transport.server_time
        for campaign in campaigns:
            with self.part("campaign", campaign["campaign_id"], campaign["campaign_id"]):
                record = self.reader.read(campaign)
                updated_at = moment(record["updated_at"])
                if self.bookmark.covers(updated_at, self.bookmark.start_of(record["campaign_id"])):
                    self.bookmark.saw(updated_at)
                    yield record
                self.bookmark.done(record["campaign_id"])
        self.bookmark.advance(as_of)


class CampaignStream(NudgescribeStream):
    """A stream of what belongs to campaigns, read only for campaigns that have changed."""

    bookmarked = "campaign_updated_at"

    def read_campaign(self, campaign: Row, runs: list[Row]) -> Iterator[Row]:
        """Yield the records of one campaign; its time of change is added to each."""
        raise NotImplementedError

    @override
    def read(self) -> Iterator[Row]:
        campaigns = self.account.campaigns()
        as_of = self.account.client.transport.server_time
        if not self.account.has_reruns:
            self.logger.warning(
                "This account does not have the rerun operations, which the vendor marks as "
                "Testing: %s is skipped",
                self.name,
            )
            return
        for campaign in campaigns:
            campaign_id = campaign["campaign_id"]
            changed = moment(campaign.get("updated_at"))
            if not self.bookmark.covers(changed, self.bookmark.start_of(campaign_id)):
                continue
            with self.part("campaign", campaign_id, campaign_id):
                yield from self.read_campaign(campaign, self.account.runs(campaign_id))
                self.bookmark.done(campaign_id)
            self.bookmark.saw(changed)
        self.bookmark.forget_except({campaign["campaign_id"] for campaign in campaigns})
        self.bookmark.advance(as_of)

    def given(self, campaign: Row) -> dict[str, Any]:
        """Return what every record of a campaign has from it."""
        changed = moment(campaign.get("updated_at"))
        return {
            "workspace_id": campaign["workspace_id"],
            "campaign_id": campaign["campaign_id"],
            "campaign_updated_at": changed and format_timestamp(changed),
        }


class CampaignRuns(CampaignStream):
    """All runs of every campaign."""

    name = "campaign_runs"
    operation = "list_runs"
    keys = ("campaign_id", "run_number")
    properties: ClassVar[Properties] = (
        WORKSPACE_ID | CAMPAIGN_ID | CAMPAIGN_UPDATED_AT | record_properties("Run")
    )

    @override
    def read_campaign(self, campaign: Row, runs: list[Row]) -> Iterator[Row]:
        for run in runs:
            yield self.reader.read(run, **self.given(campaign))


class RunMessages(CampaignStream):
    """Messages of every run with their review and approval, archived ones included."""

    name = "run_messages"
    operation = "list_run_messages"
    keys = ("campaign_id", "run_number", "message_id")
    properties: ClassVar[Properties] = (
        WORKSPACE_ID | CAMPAIGN_UPDATED_AT | record_properties("RunMessage")
    )

    @override
    def read_campaign(self, campaign: Row, runs: list[Row]) -> Iterator[Row]:
        campaign_id = campaign["campaign_id"]
        client = self.account.client
        numbers = [run["run_number"] for run in runs]
        for number, messages in zip(
            numbers,
            ordered_map(
                lambda number: client.list_run_messages(campaign_id, number),
                numbers,
                parallel=self.parallel(),
            ),
            strict=True,
        ):
            for message in messages:
                yield self.reader.read(message, run_number=number, **self.given(campaign))


def moment(value: object) -> datetime | None:
    """Return a timestamp of the API, or None where there is none that can be read."""
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None
