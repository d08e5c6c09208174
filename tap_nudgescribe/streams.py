"""The JSON streams: workspaces, groups, fields, customers, campaigns, runs and run messages."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_nudgescribe.contract import record_properties
from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import ApiError, ContractError
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.message_proof import NOWHERE, UNSURE
from tap_nudgescribe.parallel import ordered_map
from tap_nudgescribe.progress import Progress
from tap_nudgescribe.records import EXTRA
from tap_nudgescribe.stream import NudgescribeStream
from tap_nudgescribe.timestamps import format_timestamp, latest, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.profile_columns import ProfileColumns
    from tap_nudgescribe.stream import Properties
    from tap_nudgescribe.tap import TapNudgescribe

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
        for workspace in self.usable(self.account.workspaces(), "workspace"):
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
        for workspace in self.usable(self.account.workspaces(), "workspace"):
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id):
                for group in self.usable(self.account.groups(workspace_id), "customer group"):
                    yield self.reader.read(group, workspace_id=workspace_id)


class ProfileFields(NudgescribeStream):
    """Profile field definitions of every workspace."""

    name = "profile_fields"
    operation = "list_fields"
    keys = ("workspace_id", "field_id")
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("ProfileField")

    @override
    def read(self) -> Iterator[Row]:
        for workspace in self.usable(self.account.workspaces(), "workspace"):
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id):
                for row in self.usable(self.account.fields(workspace_id), "profile field"):
                    yield self.reader.read(row, workspace_id=workspace_id)


class Customers(NudgescribeStream):
    """Customers of every group, with their profile as typed columns beside the raw object.

    The API has no filter, so every page is read and what is older than the bookmark left out
    here.
    """

    name = "customers"
    operation = "list_customers"
    keys = ("customer_group_id", "customer_id")
    bookmarked = "updated_at"
    held_by = None
    properties: ClassVar[Properties] = WORKSPACE_ID | record_properties("Customer")

    def __init__(self, tap: TapNudgescribe, columns: ProfileColumns) -> None:
        """Add the typed columns of the account's profile fields."""
        super().__init__(tap, columns.schema)
        self._columns = columns

    @override
    def typed_columns(self) -> Mapping[str, Any]:
        schema = self.effective_schema["properties"]
        further = {name: schema[name] for name in schema if name not in {*self.properties, EXTRA}}
        return {name: schema[name] for name in self._columns.sources(further)}

    @override
    def read(self) -> Iterator[Row]:
        as_of = self.account.client.server_time()  # before any customer is read
        for workspace in self.usable(self.account.workspaces(), "workspace"):
            workspace_id = workspace["workspace_id"]
            with self.part("workspace", workspace_id, f"workspace/{workspace_id}"):
                self.account.fields(workspace_id)  # without them the columns have no type
                groups = self.account.groups(workspace_id)
                for group in groups:
                    yield from self._read_group(workspace_id, group)
                groups.whole()
                self.bookmark.done(f"workspace/{workspace_id}")
        self.bookmark.advance(as_of)

    def _read_group(self, workspace_id: str, group: Row) -> Iterator[Row]:
        group_id = group["customer_group_id"]
        bookmark = self.bookmark
        start = (
            bookmark.start_of_new()
            if bookmark.is_new(latest(group.get("created_at")))
            else bookmark.start_of(group_id, f"workspace/{workspace_id}")
        )
        typed = self._columns.reader(workspace_id, self._unparsed, self.typed_columns())
        with self.part("customer group", group_id, group_id):
            for row in self._pages(workspace_id, group_id, group.get("customer_count")):
                record = self.reader.read(
                    row, workspace_id=workspace_id, customer_group_id=group_id
                )
                updated_at = row.get("updated_at")
                if not bookmark.covers(updated_at, start):
                    continue
                bookmark.saw(latest(updated_at))
                profile = row.get("profile")
                yield record | typed(profile if isinstance(profile, dict) else {})
            bookmark.done(group_id)

    def _pages(self, workspace_id: str, group_id: str, counted: object) -> Iterator[Row]:
        """Yield the rows of all pages, those that appear while they are read included.

        Raises:
            ContractError: after all others, when there are customers without an identifier.
        """
        malformed = Listing()
        client = self.account.client
        for rows in customer_pages(client, workspace_id, group_id, counted=counted):
            yield from rows
            malformed.malformed += rows.malformed
            self.progress.add(rows=len(rows))
            self.progress.part_done()
        malformed.whole()

    def _unparsed(self, field: str) -> None:
        self._unparsed_values[field] = self._unparsed_values.get(field, 0) + 1

    @cached_property
    def progress(self) -> Progress:
        """How far reading is."""
        return Progress(self.logger, self.name, parts="pages")

    @cached_property
    def _unparsed_values(self) -> dict[str, int]:
        return {}

    @override
    def _report_misfits(self) -> None:
        self.progress.close()
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
        campaigns = self.usable(self.account.campaigns(), "campaign")
        as_of = self.account.client.transport.server_time
        for campaign in campaigns:
            with self.part("campaign", campaign["campaign_id"], campaign["campaign_id"]):
                record = self.reader.read(campaign)
                updated_at = campaign.get("updated_at")
                if self.bookmark.covers(updated_at, self.bookmark.start_of(record["campaign_id"])):
                    self.bookmark.saw(latest(updated_at))
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
        listed = self.account.campaigns()
        campaigns = self.usable(listed, "campaign")
        as_of = self.account.client.transport.server_time
        if not self.account.has_reruns:
            self.logger.warning(
                "This account does not have the rerun operations, which the vendor marks as "
                "Testing: %s is skipped",
                self.name,
            )
            return
        for campaign in self.account.with_runs(filter(self._has_changed, campaigns)):
            campaign_id = campaign["campaign_id"]
            with self.part("campaign", campaign_id, campaign_id):
                yield from self.read_campaign(campaign, self.account.runs(campaign_id))
                self.bookmark.done(campaign_id)
                self.bookmark.saw(latest(campaign.get("updated_at")))
        # One that is malformed may be what is unfinished, and a user may be shown none for a time.
        if listed and not listed.malformed:
            self.bookmark.forget_except({campaign["campaign_id"] for campaign in campaigns})
        self.bookmark.advance(as_of)

    def _has_changed(self, campaign: Row) -> bool:
        start = self.bookmark.start_of(campaign["campaign_id"])
        return self.bookmark.covers(campaign.get("updated_at"), start)

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
    _heeds_run = False
    """Whether the API is known to heed which run is asked for."""

    @override
    def read_campaign(self, campaign: Row, runs: list[Row]) -> Iterator[Row]:
        campaign_id = campaign["campaign_id"]
        client = self.account.client
        numbers = [run["run_number"] for run in runs]
        malformed = Listing()
        for number, messages in zip(
            numbers,
            ordered_map(
                lambda number: client.list_run_messages(campaign_id, number, partial=True),
                numbers,
                parallel=self.parallel(),
            ),
            strict=True,
        ):
            _refuse_other_runs(number, messages)
            self._prove(campaign_id, messages)
            for message in messages:
                yield self.reader.read(message, run_number=number, **self.given(campaign))
            malformed.malformed += messages.malformed
        malformed.whole()

    def _prove(self, campaign_id: str, messages: list[Row]) -> None:
        """Ask once for a run that cannot be there: does the API heed which one is asked for?

        One that does not sends the active messages of the current run, without archived ones, and
        their number may be the one that was asked for.

        Raises:
            ContractError: when the API sends the same messages.
            ApiError: when it cannot be found out.
        """
        if self._heeds_run or not messages:
            return
        try:
            others = self.account.client.list_run_messages(campaign_id, NOWHERE, partial=True)
        except UNSURE:
            raise
        except ApiError:
            others = Listing()
        if others and [m["message_id"] for m in others] == [m["message_id"] for m in messages]:
            problem = "The API sends the same messages for a run that is not there"
            raise _run_ignored(problem)
        self._heeds_run = True


def _refuse_other_runs(number: int, messages: list[Row]) -> None:
    """Refuse the messages of a run of which all say that they are other runs'.

    Raises:
        ContractError: when the API has ignored which run was asked for.
    """
    stated = {n for each in messages if isinstance(n := each.get("run_number"), int)}
    if stated and number not in stated:
        problem = f"The messages of run {number} say that they are of other runs"
        raise _run_ignored(problem)


def _run_ignored(problem: str) -> ContractError:
    advice = (
        "The request's key run_number probably has another name: run --check, and correct it with "
        "the setting wire_names."
    )
    return ContractError(problem, operation="list_run_messages", advice=advice)


STREAMS: dict[str, type[NudgescribeStream]] = {
    "workspaces": Workspaces,
    "customer_groups": CustomerGroups,
    "profile_fields": ProfileFields,
    "customers": Customers,
    "campaigns": Campaigns,
    "campaign_runs": CampaignRuns,
    "run_messages": RunMessages,
}
"""By name."""
