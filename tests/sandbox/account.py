"""The account behind the API: its state, its clock and its settings."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.sandbox.files import MessageFile

StatusCodes = Literal["newer", "older"]
Value = str | int | float | bool | None

PUBLISHED = "Published"
READY_TO_PUBLISH = "Ready to publish"
READY_FOR_REVIEW = "Ready for review"


@dataclass
class Workspace:
    """A workspace; the API names it only once it has a campaign."""

    workspace_id: str
    name: str


@dataclass
class Customer:
    """A customer; `profile` holds plain values by field name."""

    customer_id: str
    profile: dict[str, Value]
    created_at: datetime
    updated_at: datetime | None


@dataclass
class Group:
    """A customer group with its customers by id, in order of creation."""

    customer_group_id: str
    workspace_id: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime | None
    customers: dict[str, Customer] = field(default_factory=dict)


@dataclass
class Field:
    """The definition of a profile field."""

    field_id: str
    workspace_id: str
    field_name: str
    field_type: str
    field_format: str | None = None
    display_name: str | None = None
    required: bool = False
    unique_identifier: bool = False
    encrypted: bool = False
    options: list[str] | None = None
    validation_rules: object = None


@dataclass
class Message:
    """A message of a run, written for a segment."""

    message_id: str
    segment: dict[str, Value]
    content: str | None
    channel: str
    review_status: str
    approval_stage: str
    created_at: datetime
    updated_at: datetime | None
    archived: bool = False


@dataclass
class Run:
    """A run of a campaign; `revealed` of its files have been exported so far."""

    run_number: int
    status: str
    customer_group_id: str | None
    customer_group_name: str | None
    started_at: datetime
    published_at: datetime | None
    messages: list[Message]
    files: list[MessageFile]
    revealed: int = 0
    targeted_for_archive: bool = False


@dataclass
class Campaign:
    """A campaign with its runs, oldest first; the last one is current."""

    campaign_id: str
    workspace_id: str
    name: str
    status: str
    created_at: datetime
    updated_at: datetime | None
    published_at: datetime | None
    runs: list[Run]

    @property
    def current_run(self) -> Run:
        """The run that calls without a run number mean."""
        return self.runs[-1]


@dataclass
class Job:
    """A queued upload: rows to apply once `wait` more requests have come."""

    job_id: str
    customer_group_id: str
    rows: list[dict[str, Value]]
    wait: int


@dataclass
class Account:
    """Everything the API knows, free to be read and changed under `lock`.

    Attributes:
        now: The data's clock; it stands still until somebody moves it.
        page_size: Customers a page.
        publish_quota: Publish calls left; at 0 the API answers 503.
        queue_above: Uploads of more rows than this are queued.
        queue_wait: Requests to come before a queued upload is applied.
        upload_bytes: Most bytes of an upload; with more the API answers 413.
        problems_listed: Most problems that the refusal of an upload names.
        row_numbers: How it numbers their rows, and
        upload_answers: what an upload that is taken is answered: keys of the tables in
            :mod:`tests.sandbox.dialects`.
        key_dialect: What is done to values of unique identifiers: ``exact`` keeps them, ``trimmed``
            and ``lower`` keep them without outer spaces, and in lower case.
        count_dialect: What a group says of its number of customers: ``exact``, ``absent``
            (nothing), or ``zero``, a count that is not kept up.
        numeric_ids: Whether identifiers are whole numbers in JSON, and those made from now on.
        refused_text: Rows with a value that holds it are refused, by a rule that no field
            definition tells; none if empty.
        rerun_enabled: Whether the endpoints marked "Testing" exist.
        api_code: When set, campaign and rerun calls must carry it in x-auth-context.
        hidden_workspace_id: A workspace without campaigns, which no answer names.
    """

    seed: int
    account_id: str
    user_id: str
    now: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)
    page_size: int = 25
    publish_quota: int = 20
    queue_above: int = 1000
    queue_wait: int = 3
    upload_bytes: int = 100_000_000
    problems_listed: int = 100
    row_numbers: str = "from one"
    upload_answers: str = "plain"
    key_dialect: Literal["exact", "trimmed", "lower"] = "exact"
    count_dialect: Literal["exact", "absent", "zero"] = "exact"
    numeric_ids: bool = False
    refused_text: str = ""
    rerun_enabled: bool = True
    api_code: str | None = None
    status_codes: StatusCodes = "newer"
    hidden_workspace_id: str = ""
    workspaces: dict[str, Workspace] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock, repr=False, compare=False)
    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Seed the source of ids and of lively days."""
        self.random.seed(f"account {self.seed}")

    @property
    def customers(self) -> dict[str, Customer]:
        """All customers by id: a copy, to be changed through their groups."""
        return {
            customer_id: customer
            for group in self.groups.values()
            for customer_id, customer in group.customers.items()
        }

    @property
    def runs(self) -> list[tuple[Campaign, Run]]:
        """All runs with their campaigns."""
        return [(campaign, run) for campaign in self.campaigns.values() for run in campaign.runs]

    @property
    def messages(self) -> list[Message]:
        """All messages of all runs."""
        return [message for _, run in self.runs for message in run.messages]

    @property
    def files(self) -> list[MessageFile]:
        """All message files, exported or not."""
        return [file for _, run in self.runs for file in run.files]

    def fields_of(self, workspace_id: str) -> list[Field]:
        """Profile fields of a workspace, in order of creation."""
        return [field for field in self.fields.values() if field.workspace_id == workspace_id]

    def groups_of(self, workspace_id: str) -> list[Group]:
        """Customer groups of a workspace, in order of creation."""
        return [group for group in self.groups.values() if group.workspace_id == workspace_id]

    def campaigns_of(self, workspace_id: str) -> list[Campaign]:
        """Campaigns of a workspace, in order of creation."""
        return [each for each in self.campaigns.values() if each.workspace_id == workspace_id]

    def new_id(self) -> str:
        """Make the next identifier: like a UUID or a number, and the same for the same seed."""
        if self.numeric_ids:
            return str(self.random.getrandbits(48))
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
