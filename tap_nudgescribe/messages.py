"""The stream of published messages: every row of every CSV file of every published run."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar, cast

from singer_sdk.contrib.msgspec import encoder
from typing_extensions import override

from tap_nudgescribe.account import campaigns_of
from tap_nudgescribe.bookmarks import SETTLED_AFTER
from tap_nudgescribe.columns import columns_of
from tap_nudgescribe.errors import ContractError, MessageFileError, SettingsError
from tap_nudgescribe.message_columns import (
    SAMPLED_CAMPAIGNS,
    discovered_columns,
    listed,
    sampled_headers,
    titles,
)
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv, Oddities
from tap_nudgescribe.message_proof import Begun, FileProof
from tap_nudgescribe.message_rows import KINDS, Fitting, Kind, Rows, kind_for, record_batch
from tap_nudgescribe.message_sources import ApiSource, MessageSource, Run, storage_source
from tap_nudgescribe.parallel import ahead, ordered_map
from tap_nudgescribe.progress import Progress
from tap_nudgescribe.publishing import publish_ready_campaigns
from tap_nudgescribe.records import EXTRA
from tap_nudgescribe.stream import NudgescribeStream, Properties
from tap_nudgescribe.timestamps import format_timestamp, later, latest, moment
from tap_nudgescribe.writer import BlockWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence

    import pyarrow as pa
    from singer_sdk.helpers import types

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.batch_files import BatchFiles
    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.identities import Listing
    from tap_nudgescribe.tap import TapNudgescribe

PUBLISHED = "published"

NOT_REACHED = "*"
"""In the state: the campaigns that an interrupted run has not come to.

The bookmark has moved on by then, so it does not say any more which of their runs are new.
"""

PIECES_AHEAD = 8
"""How many blocks of a file may have been parsed and not used yet."""

MAKERS = min(2, os.cpu_count() or 1)
"""How many threads turn rows into messages, beside the one that parses."""

ROWS_AT_ONCE = 10_000
"""How many rows are turned into messages at once, at most: a bound for very short rows."""

Made = TypeVar("Made")

LINEAGE: Properties = {
    "workspace_id": {"type": ["string", "null"], "description": "Workspace of the campaign"},
    "campaign_id": {"type": "string", "description": "Campaign that the file was exported for"},
    "run_number": {"type": "integer", "description": "Run of the campaign, counted from 1"},
    "file_number": {"type": "integer", "description": "File of the run, counted from 1"},
    "row_number": {"type": "integer", "description": "Data row of the file, counted from 1"},
    "published_at": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": (
            "When the run was published; the bookmark follows the campaign's latest publishing"
        ),
    },
}


class PublishedMessages(NudgescribeStream):
    """Rows of the exported message files, in the order of publishing.

    State holds, beside the bookmark, how far each unfinished campaign was read: the run and the
    file. A campaign published within the last day stays there, because files of an export appear
    over time, and its further files are read by the next runs.
    """

    name = "published_messages"
    operation = "fetch_message_file"
    keys = ("campaign_id", "run_number", "file_number", "row_number")
    bookmarked = held_by = "published_at"
    properties: ClassVar[Properties] = LINEAGE

    def __init__(
        self,
        tap: TapNudgescribe,
        headers: list[str],
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add a column for each header name.

        Args:
            tap: The tap.
            headers: Names that were found, or that the settings name.
            known: Properties of the stream in a catalog: their columns stay.
        """
        config = tap.config
        self._types: Mapping[str, str] = config.get("message_column_types") or {}
        super().__init__(
            tap, discovered_columns(headers, known or {}, config, own=(*LINEAGE, EXTRA))
        )
        self._only_here: set[str] = set()
        self._headers_seen: set[str] = set()
        self._unconverted: Counter[str] = Counter()
        self._oddities = Oddities()
        self._csv_options = CsvOptions(
            encoding_errors=config["message_encoding_errors"],
            row_errors=config["message_row_errors"],
            longest_row=config["message_longest_row_mib"] * 2**20,
        )

    @classmethod
    @override
    def fixed_properties(cls) -> Collection[str]:
        return LINEAGE.keys()

    @cached_property
    def _titles(self) -> dict[str, str | None]:
        """The header name of each message column."""
        return titles(self.effective_schema["properties"], own=(*LINEAGE, EXTRA))

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        """The kind of each message column: what the SCHEMA message says, not the settings."""
        schema = self.effective_schema["properties"]
        return {column: kind_for(schema[column]) for column in self._titles}

    @cached_property
    def _source(self) -> MessageSource:
        return message_source(self.account, self.config)

    @cached_property
    def _proof(self) -> FileProof:
        return FileProof(self._source)

    @cached_property
    def progress(self) -> Progress:
        """How far reading is."""
        return Progress(self.logger, self.name, parts="files")

    def read_files(self, make: Callable[[Rows], Made]) -> Iterator[Made]:
        """Yield what is made of all rows that have to be sent, some rows of a file at a time.

        Rows are made into something side by side, but never of one file before those of another
        have been yielded: the bookmark stands where the iteration does.
        """
        account = self.account
        if self.config.get("publish_ready_campaigns") and self.ABORT_AT_RECORD_COUNT is None:
            publish_ready_campaigns(
                account, self.failures, timeout=self.config["publish_timeout_seconds"]
            )
        self.bookmark.note_runs(all_known=account.has_reruns)
        listed = self._campaigns()
        campaigns = sorted(filter(is_published, self.usable(listed, "campaign")), key=_published)
        # One that is malformed may be what is unfinished, and a user may be shown none for a time.
        if listed and not listed.malformed:
            self.bookmark.forget_except({NOT_REACHED, *(c["campaign_id"] for c in listed)})
        self.bookmark.keep(NOT_REACHED)
        as_of = account.client.transport.server_time
        to_read = filter(self._has_news, campaigns)
        for campaign in account.with_runs(to_read) if account.has_reruns else to_read:
            campaign_id = campaign["campaign_id"]
            published = latest(campaign.get("published_at"))
            start = self.bookmark.start_of(campaign_id, NOT_REACHED)
            if published and self.bookmark.passed(published):
                self.bookmark.advance(as_of)
            with self.failures.part(self.name, f"campaign {campaign_id}"):
                yield from self._read_campaign(campaign, start, make)
                if published is None or as_of - published > SETTLED_AFTER:
                    self.bookmark.done(campaign_id)
                self.bookmark.saw(published)
        self.bookmark.done(NOT_REACHED)
        self.bookmark.advance(as_of)

    def _has_news(self, campaign: Row) -> bool:
        published, since = latest(campaign.get("published_at")), self.bookmark.start
        known = campaign["campaign_id"] in self.bookmark.unfinished
        return known or not published or not since or published >= since

    def _campaigns(self) -> Listing:
        """Return the campaigns; only those published since the bookmark where that is enough.

        The window loses nothing here, because this stream follows the date of publishing. Two days
        more on its early side allow for the zone and the precision of dates, which are assumed.
        """
        start = self.bookmark.start
        alone = [s.name for s in self._tap.streams.values() if s.selected] == [self.name]
        if start is None or self.bookmark.unfinished or not alone:
            return self.account.campaigns()
        since = later(start, -timedelta(days=2)).date()
        listed = self.account.client.list_campaigns(published_from=since, partial=True)
        return campaigns_of(listed)

    def _read_campaign(
        self, campaign: Row, start: datetime | None, make: Callable[[Rows], Made]
    ) -> Iterator[Made]:
        campaign_id = campaign["campaign_id"]
        progress = self.bookmark.unfinished.get(campaign_id, {})
        at_run, at_file = progress.get("run_number", 0), progress.get("file_number", 0)
        # Should listing its runs fail, the campaign is unfinished as well.
        self._keep(campaign_id, at_run, at_file)
        as_of = self.account.client.transport.server_time
        # The first run that may still get files: the state goes no further, though others follow.
        come_to: tuple[int, int] | None = None
        for run in self._runs(campaign, start):
            if run.number < at_run:
                continue
            number = at_file if run.number == at_run else 0
            sure_until = 0.0  # until when it is known that this run was current
            while (files := self._source.count(run)) > number:
                numbers = range(number + 1, files + 1)
                opened = ordered_map(
                    partial(self._open, run),
                    numbers,
                    parallel=self.parallel(),
                    discard=lambda one: one[0].close(),
                )
                with closing(opened):
                    for number, (file, since, beginning) in zip(numbers, opened, strict=True):
                        with closing(file):
                            self._proof.check(run, number, beginning)
                            if since >= sure_until:
                                sure_until = time.monotonic()
                                self._make_sure_of(run)
                            yield from self._read_file(campaign, run, number, file, make)
                        self._keep(campaign_id, *(come_to or (run.number, number)))
                        self.write_state_if_due()
            if not sure_until:
                self._make_sure_of(run)
            if run.published_by and as_of - run.published_by <= SETTLED_AFTER:
                come_to = come_to or (run.number, number)
            elif not number:
                self._proof.none(run)

    def _keep(self, campaign_id: str, run: int, file: int) -> None:
        self.bookmark.keep(campaign_id, within=NOT_REACHED, run_number=run, file_number=file)

    def _open(self, run: Run, number: int) -> tuple[MessageCsv, float, bytes]:
        """Open a file, and return when it was open, by :func:`time.monotonic`, and how it begins.

        Raises:
            MessageFileError: when it is empty: one without messages would have its header.
        """
        begun = Begun(self._source.open(run, number))
        file = MessageCsv(cast("BinaryIO", begun), self._csv_options)
        if not file.header:
            file.close()
            problem = f"Message file {number} of run {run.number} is empty, without even a header"
            raise MessageFileError(problem, operation=self.operation)
        return file, time.monotonic(), begun.beginning

    def _make_sure_of(self, run: Run) -> None:
        """Make sure that a run which was current is so still.

        Its files are asked for without its number, so those of a rerun would come in their place.
        What was counted or opened before this returns is the run's own.

        Raises:
            ContractError: when there is a rerun.
        """
        if not run.current or not self.account.has_reruns:
            return
        runs = self.account.client.list_runs(run.campaign_id)
        if any(row["run_number"] > run.number for row in runs):
            problem = f"A rerun began while the files of run {run.number} were read"
            advice = "The next run goes on from where this one has come to."
            raise ContractError(problem, operation=self.operation, advice=advice)

    def _runs(self, campaign: Row, start: datetime | None) -> list[Run]:
        """Return the published runs to read, oldest first."""
        campaign_id = campaign["campaign_id"]
        published = campaign.get("published_at")
        if not self.account.has_reruns:
            runs = [Run(campaign_id, _run_number(campaign), current=True, published=published)]
        else:
            runs = _published_runs(campaign, self.account.runs(campaign_id))
        return [run for run in runs if self.bookmark.covers(run.published, start)]

    def _read_file(
        self, campaign: Row, run: Run, number: int, file: MessageCsv, make: Callable[[Rows], Made]
    ) -> Iterator[Made]:
        columns = columns_of(file.header, self._titles)
        unknown = [name for name in file.header if name not in columns]
        self._check_header(file.header, unknown, f"message file {number} of run {run.number}")
        wanted = {n: c for n, c in columns.items() if c in self.selected_properties}
        fitting = Fitting(
            file.header,
            wanted,
            kinds=self._kinds,
            unknown=unknown if EXTRA in self.selected_properties else (),
            dropped=len(wanted) + len(unknown) < len(file.header),
            keeps_extra=EXTRA in self.selected_properties,
            constants={
                "workspace_id": campaign["workspace_id"],
                "campaign_id": run.campaign_id,
                "run_number": run.number,
                "file_number": number,
                "published_at": format_timestamp(run.published_at) if run.published_at else None,
            },
        )
        found = file.pieces(fitting.positions, keeps_misfits=fitting.keeps_misfits)
        pieces = ahead(found, depth=PIECES_AHEAD)
        parts = (part for piece in pieces for part in fitting.fit(piece).cut(ROWS_AT_ONCE))
        try:
            for rows, made in ordered_map(
                lambda rows: (len(rows), make(rows)), parts, parallel=MAKERS
            ):
                self.progress.add(rows=rows, bytes_read=file.bytes_read)
                yield made
        finally:
            self._unconverted.update(fitting.unconverted)
            self._oddities.add(file.oddities)
        self.progress.part_done()

    def _check_header(self, header: Sequence[str], unknown: Sequence[str], name: str) -> None:
        """Note columns that the catalog lacks; refuse a header that shares none of them.

        It may be a line of an error, or a row of values in a file without a header. Where the
        catalog has no message columns, the other files of this run are what there is to compare
        with; those that were refused count as well, because the first one may be the wrong one.

        Raises:
            MessageFileError: when it is unlike all others.
        """
        others = self._titles or self._headers_seen
        alone = len(unknown) == len(header) and not self._headers_seen & set(header)
        if not self._titles:
            self._headers_seen.update(header)
        if others and alone:
            where = "in the catalog" if self._titles else "in any other file"
            problem = f"No column of {name} is {where}, so that it may not be such a file"
            advice = (
                "Nothing of it was sent, and the campaign stays unfinished. See whether it has a "
                "header. If it does, discover again (meltano --refresh-catalog), or add its names "
                "to the setting message_columns."
            )
            raise MessageFileError(problem, operation=self.operation, advice=advice)
        self._only_here.update(unknown)

    @override
    def read(self) -> Iterator[Row]:
        # Deselected properties are there as null: it is the SDK that leaves them out.
        properties = list(self.effective_schema["properties"])
        for records in self.read_files(lambda rows: list(rows.records(properties))):
            yield from records

    # RECORD messages by the column. Stream._sync_records (singer-sdk 0.54) is private; it writes
    # each record by itself, and its order of RECORD, STATE and metrics is kept here.

    @override
    def _sync_records(
        self, context: types.Context | None = None, *, write_messages: bool = True
    ) -> Generator[Row, None, None]:
        writer = self._tap.message_writer
        if (
            not write_messages
            or not self.selected
            or self.needs_each_record()
            or self.ABORT_AT_RECORD_COUNT is not None
            or not isinstance(writer, BlockWriter)
        ):
            yield from super()._sync_records(context, write_messages=write_messages)
            return
        from tap_nudgescribe.record_lines import content  # noqa: PLC0415 (fast start-up)

        sent = 0
        with self.get_record_counter() as counter, self.get_sync_timer():
            for written in self.reported(self.read_files(self._record_lines)):
                rest = written
                while len(rest):
                    until_state = self.STATE_MSG_FREQUENCY - sent % self.STATE_MSG_FREQUENCY
                    part, rest = rest[:until_state], rest[until_state:]
                    writer.write_lines(content(part))
                    sent += len(part)
                    counter.increment(len(part))
                    self.state_manager.is_flushed = False
                    if sent % self.STATE_MSG_FREQUENCY == 0:
                        self.write_state_if_due()
        self._finalize_state(self.stream_state)
        self._write_state_message()

    def _record_lines(self, rows: Rows) -> pa.StringArray:
        """Return rows as RECORD messages."""
        from tap_nudgescribe.record_lines import lines  # noqa: PLC0415 (fast start-up)

        rest: dict[str, Any] = {"time_extracted": datetime.now(UTC)}
        if self._stream_version is not None:
            rest = {"version": self._stream_version} | rest
        name = encoder.encode(self.name).decode()
        return lines(
            rows,
            self.selected_properties,
            before=f'{{"type":"RECORD","stream":{name},"record":',
            after=f",{encoder.encode(rest)[1:].decode()}\n",
        )

    @override
    def write_batches(self, files: BatchFiles) -> Iterator[int]:
        from tap_nudgescribe.record_lines import content, lines  # noqa: PLC0415 (fast start-up)

        def table(rows: Rows) -> pa.RecordBatch:
            return record_batch(rows, files.schema)

        def text(rows: Rows) -> pa.StringArray:
            return lines(rows, self.selected_properties, before="", after="\n")

        made: Callable[[Rows], Any] = table if files.as_table else text
        for rows in self.reported(self.read_files(made)):
            rest = rows
            while len(rest):
                room = files.room
                part, rest = rest[:room], rest[room:]
                files.write(part if files.as_table else content(part), len(part))
                yield len(part)

    @override
    def _report_misfits(self) -> None:
        self.progress.close()
        if self._only_here:
            self.logger.warning(
                "%d message columns are not in the catalog; their values are in %s. To give them "
                "columns, add their names to the setting message_columns: %s",
                len(self._only_here),
                EXTRA,
                listed(self._only_here),
            )
        for name, count in sorted(self._unconverted.items()):
            self.logger.warning(
                "%d values of the message column %r do not have the type of the column; it "
                "is null and they are in %s",
                count,
                name,
                EXTRA,
            )
        for column, kind in sorted(self._types.items()):
            if column in self._kinds and self._kinds[column].arrow != KINDS[kind].arrow:
                self.logger.warning(
                    "message_column_types gives %s the type %s, but the catalog gives it another "
                    "one, which holds. Discover again (meltano --refresh-catalog) to change it",
                    column,
                    kind,
                )
        if self._oddities.misfit_rows:
            self.logger.warning(
                "%d message rows have too few or too many fields; all their fields are in %s",
                self._oddities.misfit_rows,
                EXTRA,
            )
        if self._oddities.open_quotes:
            self.logger.warning(
                "%d message files end inside quotes: they are cut, or a quote in them has no end. "
                "What follows that quote is in %s, not in a column. Set message_row_errors to fail "
                "to refuse such files",
                self._oddities.open_quotes,
                EXTRA,
            )
        if self._oddities.undecodable:
            self.logger.warning(
                "%d places in message files were not UTF-8 and were replaced by U+FFFD",
                self._oddities.undecodable,
            )
        if self._oddities.nul:
            self.logger.warning(
                "%d characters U+0000 in message files were replaced by U+FFFD",
                self._oddities.nul,
            )


def message_source(account: Account, config: Mapping[str, Any]) -> MessageSource:
    """Return where the settings say that message files are.

    Raises:
        SettingsError: when they say it in a way that cannot be followed.
    """
    root = config.get("message_storage_root")
    if not root:
        return ApiSource(account.client)

    def account_id() -> str:
        found = config.get("message_storage_account") or account.client.account_id()
        if not found:
            problem = "The log-in does not name the account, so its folder is not known"
            raise SettingsError(problem, advice="Set message_storage_account.")
        return str(found)

    return storage_source(root, account.client, account_id)


def is_published(campaign: Mapping[str, Any]) -> bool:
    """Say whether a campaign has been published at least once."""
    status = str(campaign.get("status") or "").lower()
    return campaign.get("published_at") is not None or status == PUBLISHED


def _published_runs(campaign: Row, rows: list[Row]) -> list[Run]:
    """Return the published runs of a campaign, of which the last one is current.

    All runs before the current one have been published, told or not, or there would be no other.
    """
    runs = []
    for row in rows:
        current = row is rows[-1]
        published = row.get("published_at")
        if moment(published) is None and current:
            if str(campaign.get("status")).lower() != PUBLISHED:
                continue
            published = campaign.get("published_at")
        runs.append(Run(campaign["campaign_id"], row["run_number"], current, published))
    return runs


def sample_headers(account: Account, config: Mapping[str, Any]) -> list[str]:
    """Return the header names in the first and the last file of the latest published campaigns.

    Raises:
        ApiError: when the campaigns cannot be listed. A file that fails is left out.
    """
    campaigns = sorted(filter(is_published, account.campaigns()), key=_published, reverse=True)
    runs = []
    for campaign in campaigns[:SAMPLED_CAMPAIGNS]:
        with suppress(ContractError):
            runs.append(Run(campaign["campaign_id"], _run_number(campaign), current=True))
    return sampled_headers(
        message_source(account, config),
        runs,
        campaigns=len(campaigns),
        parallel=account.client.options.max_parallel_requests,
    )


def _run_number(campaign: Row) -> int:
    """Return the number of a campaign's current run, 1 where the API does not say.

    Raises:
        ContractError: when it says what is not a number.
    """
    number = campaign.get("run_number")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        problem = "The run_number of the campaign is not a whole number"
        raise ContractError(problem, operation="list_campaigns")
    return number or 1


def _published(campaign: Mapping[str, Any]) -> tuple[float, str]:
    published = latest(campaign.get("published_at"))
    return (published.timestamp() if published else 0, str(campaign["campaign_id"]))
