"""The stream of published messages: every row of every CSV file of every published run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_nudgescribe.account import campaigns_of
from tap_nudgescribe.bookmarks import SETTLED_AFTER
from tap_nudgescribe.columns import column_names
from tap_nudgescribe.errors import ApiError
from tap_nudgescribe.message_files import open_message_file, read_batches, read_header
from tap_nudgescribe.publishing import publish_ready_campaigns
from tap_nudgescribe.records import EXTRA
from tap_nudgescribe.streams import NudgescribeStream, Properties, moment
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.tap import TapNudgescribe

PUBLISHED = "published"

SAMPLED_CAMPAIGNS = 5
"""From how many of the latest campaigns discovery reads the header of a file."""

LINEAGE: Properties = {
    "workspace_id": {"type": ["string", "null"], "description": "Workspace of the campaign"},
    "campaign_id": {"type": "string", "description": "Campaign that the file was exported for"},
    "run_number": {"type": "integer", "description": "Run of the campaign, counted from 1"},
    "file_number": {"type": "integer", "description": "File of the run, counted from 1"},
    "row_number": {"type": "integer", "description": "Data row of the file, counted from 1"},
    "published_at": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When the campaign was last published: what the bookmark follows",
    },
}

COLUMN_SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "date-time": {"type": ["string", "null"], "format": "date-time"},
}


@dataclass(frozen=True)
class Run:
    """One published run of a campaign."""

    campaign_id: str
    number: int
    current: bool

    @property
    def wire_number(self) -> int | None:
        """The number to ask for; None for the current run, whose files have no subfolder."""
        return None if self.current else self.number


class PublishedMessages(NudgescribeStream):
    """Rows of the exported message files, in the order of publishing.

    State holds, beside the bookmark, how far each unfinished campaign was read: the run and the
    file. A campaign published within the last day stays there, because files of an export appear
    over time, and its further files are read by the next runs.
    """

    name = "published_messages"
    operation = "fetch_message_file"
    keys = ("campaign_id", "run_number", "file_number", "row_number")
    bookmarked = "published_at"
    properties: ClassVar[Properties] = LINEAGE

    def __init__(self, tap: TapNudgescribe, headers: list[str]) -> None:
        """Add a column for each known header name."""
        types = tap.config.get("message_column_types") or {}
        columns = {
            column: COLUMN_SCHEMAS[types.get(column, "string")] | {"title": header}
            for header, column in column_names(headers, reserved=[*LINEAGE, EXTRA]).items()
        }
        super().__init__(tap, columns)
        self._converters = {
            column: CONVERTERS[kind] for column, kind in types.items() if kind in CONVERTERS
        }
        self._only_here: Counter[str] = Counter()
        self._unconverted: Counter[str] = Counter()

    @override
    def read(self) -> Iterator[Row]:
        account = self.account
        if self.config.get("publish_ready_campaigns") and self.ABORT_AT_RECORD_COUNT is None:
            publish_ready_campaigns(
                account, self.failures, timeout=self.config["publish_timeout_seconds"]
            )
        campaigns = [c for c in self._campaigns() if is_published(c)]
        as_of = account.client.transport.server_time
        campaigns.sort(key=_published)
        for campaign in campaigns:
            campaign_id = campaign["campaign_id"]
            published = moment(campaign.get("published_at"))
            start = self.bookmark.start_of(campaign_id)
            known = campaign_id in self.bookmark.unfinished
            if not known and not self.bookmark.covers(published, start):
                continue
            if published and self.bookmark.passed(published):
                self.bookmark.advance(as_of)
            with self.failures.part(self.name, f"campaign {campaign_id}"):
                yield from self._read_campaign(campaign, start)
                if published is None or as_of - published > SETTLED_AFTER:
                    self.bookmark.done(campaign_id)
            self.bookmark.saw(published)
        self.bookmark.advance(as_of)

    def _campaigns(self) -> list[Row]:
        """Return the campaigns; only those published since the bookmark where that is enough.

        The window loses nothing here, because this stream follows the date of publishing. A day
        more on its early side allows for the time zone, which is assumed.
        """
        start = self.bookmark.start
        alone = [s.name for s in self._tap.streams.values() if s.selected] == [self.name]
        if start is None or self.bookmark.unfinished or not alone:
            return self.account.campaigns()
        since = start.date() - timedelta(days=1)
        return campaigns_of(self.account.client.list_campaigns(published_from=since))

    def _read_campaign(self, campaign: Row, start: datetime | None) -> Iterator[Row]:
        campaign_id = campaign["campaign_id"]
        progress = self.bookmark.unfinished.get(campaign_id, {})
        at_run, at_file = progress.get("run_number", 0), progress.get("file_number", 0)
        # Should listing its runs fail, the campaign is unfinished as well.
        self.bookmark.keep(campaign_id, run_number=at_run, file_number=at_file)
        for run in self._runs(campaign, start):
            if run.number < at_run:
                continue
            number = at_file if run.number == at_run else 0
            client = self.account.client
            while (files := client.count_message_files(campaign_id, run.wire_number)) > number:
                for number in range(number + 1, files + 1):  # noqa: B020
                    yield from self._read_file(campaign, run, number)
                    self.bookmark.keep(campaign_id, run_number=run.number, file_number=number)
                    self._write_state_message()

    def _runs(self, campaign: Row, start: datetime | None) -> list[Run]:
        """Return the published runs to read, oldest first."""
        campaign_id = campaign["campaign_id"]
        if not self.account.has_reruns:
            return [Run(campaign_id, campaign.get("run_number") or 1, current=True)]
        rows = self.account.runs(campaign_id)
        current = max((row["run_number"] for row in rows), default=None)
        result = []
        for row in rows:
            is_current = row["run_number"] == current
            published = moment(row.get("published_at"))
            if published is None and is_current:
                if str(campaign.get("status")).lower() != PUBLISHED:
                    continue
                published = moment(campaign.get("published_at"))
            if published is None or start is None or published >= start:
                result.append(Run(campaign_id, row["run_number"], current=is_current))
        return result

    def _read_file(self, campaign: Row, run: Run, number: int) -> Iterator[Row]:
        published = moment(campaign.get("published_at"))
        lineage = {
            "workspace_id": campaign["workspace_id"],
            "campaign_id": run.campaign_id,
            "run_number": run.number,
            "file_number": number,
            "published_at": published and format_timestamp(published),
        }
        client = self.account.client
        with open_message_file(client, run.campaign_id, run.wire_number, number) as file:
            header = read_header(file)
            if not header:
                return
            named = column_names(header, reserved=[*LINEAGE, EXTRA])
            known = self.effective_schema["properties"]
            targets = [(position, named[name], name) for position, name in enumerate(header)]
            row_number = 0
            for batch in read_batches(file, len(header)):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row_number += 1
                    record = dict.fromkeys(known)
                    record.update(lineage, row_number=row_number)
                    extra = {}
                    for position, column, name in targets:
                        value = values[position]
                        if column not in known:
                            if value is not None:
                                extra[name] = value
                            self._only_here[name] += 1
                        elif value is not None and column in self._converters:
                            try:
                                record[column] = self._converters[column](value)
                            except (ValueError, InvalidOperation):
                                extra[name] = value
                                self._unconverted[name] += 1
                        else:
                            record[column] = value
                    record[EXTRA] = extra or None
                    yield record

    @override
    def _report_misfits(self) -> None:
        for name in sorted(self._only_here):
            self.logger.warning(
                "The message column %r is not in the catalog; its values are in %s. Discover "
                "again (meltano --refresh-catalog) to give it a column",
                name,
                EXTRA,
            )
        for name, count in sorted(self._unconverted.items()):
            self.logger.warning(
                "%d values of the message column %r do not have the type that "
                "message_column_types gives it; they are in %s",
                count,
                name,
                EXTRA,
            )


def is_published(campaign: Mapping[str, Any]) -> bool:
    """Say whether a campaign has been published at least once."""
    status = str(campaign.get("status") or "").lower()
    return campaign.get("published_at") is not None or status == PUBLISHED


def sample_headers(account: Account) -> list[str]:
    """Return the header names in the first file of each of the latest published campaigns.

    Raises:
        ApiError: when the campaigns cannot be listed. A file that fails is left out.
    """
    campaigns = sorted(filter(is_published, account.campaigns()), key=_published, reverse=True)
    headers: dict[str, None] = {}
    for campaign in campaigns[:SAMPLED_CAMPAIGNS]:
        try:
            if account.client.count_message_files(campaign["campaign_id"]):
                with open_message_file(account.client, campaign["campaign_id"], None, 1) as file:
                    headers |= dict.fromkeys(read_header(file))
        except ApiError:
            continue
    return list(headers)


def _published(campaign: Mapping[str, Any]) -> tuple[float, str]:
    published = moment(campaign.get("published_at"))
    return (published.timestamp() if published else 0, str(campaign["campaign_id"]))


def _boolean(text: str) -> bool:
    values = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    try:
        return values[text.strip().lower()]
    except KeyError:
        raise ValueError from None


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError
    return number


CONVERTERS: dict[str, Callable[[str], object]] = {
    "integer": int,
    "number": _number,
    "boolean": _boolean,
    "date": lambda text: date.fromisoformat(text).isoformat(),
    "date-time": lambda text: format_timestamp(parse_timestamp(text)),
}
