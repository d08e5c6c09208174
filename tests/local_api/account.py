"""The state of one invented account: everything the API shows, deterministic by seed."""

from __future__ import annotations

import base64
import csv
import io
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Row = dict[str, Any]

BORN = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""The account's own time; it moves only when told to."""

FIELDS = (
    ("First Name", "string", None),
    ("first-name", "string", None),
    ("E-Mail:Work", "string", None),
    ("größe", "number", None),
    ("Grade", "char", None),
    ("Born", "Date", "dd/MM/yyyy"),
    ("Joined", "Date", "MMM dd, yyyy"),
    ("Renewal", "Date", "yyyy-MM-dd"),
    ("Total Spend", "currency", "EUR"),
    ("Tier", "enum", None),
    ("Secret Note", "string", None),
)

HEADER = ["Message ID", "Customer ID", "Channel", "Subject", "Body", "Send At", "Score"]


@dataclass
class Account:
    """One account.

    Args:
        seed: Same seed, same account.
        customers: How many customers each group has.
        page_size: How many customers a page has.
    """

    seed: int = 7
    customers: int = 40
    page_size: int = 15
    now: datetime = BORN
    publish_quota: int = 2
    rerun_enabled: bool = True
    workspaces: list[Row] = field(default_factory=list)
    groups: dict[str, list[Row]] = field(default_factory=dict)
    fields: dict[str, list[Row]] = field(default_factory=dict)
    people: dict[str, list[Row]] = field(default_factory=dict)
    runs: dict[str, list[Row]] = field(default_factory=dict)
    messages: dict[tuple[str, int], list[Row]] = field(default_factory=dict)
    files: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    visible: dict[tuple[str, int], int] = field(default_factory=dict)
    """How many files of a run can be seen yet."""
    hidden_workspace_id: str = "ws-hidden"

    def __post_init__(self) -> None:
        """Fill the account."""
        self._random = random.Random(self.seed)  # noqa: S311
        for number in (1, 2):
            workspace = f"ws-{number}"
            self.workspaces.append(
                {"workspace_id": workspace, "workspace_name": f"Space {number}", "campaigns": []}
            )
            self._furnish(workspace)
        self._furnish(self.hidden_workspace_id)
        statuses = ["Ready for review", "Ready to publish", "Published", "Published", "Odd one"]
        for number in range(10):
            self._campaign(self.workspaces[number % 2], number, statuses[number % len(statuses)])

    def stamp(self, days: float) -> str:
        """Return the time some days ago, in one of the forms that the API may use."""
        moment = self.now - timedelta(days=days)
        form = self._random.randrange(4)
        if form == 0:
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        if form == 1:
            return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if form == 2:
            return moment.astimezone(timezone(timedelta(hours=2))).isoformat()
        return moment.replace(tzinfo=None).isoformat()

    def campaigns(self) -> list[Row]:
        """Return all campaigns."""
        return [campaign for workspace in self.workspaces for campaign in workspace["campaigns"]]

    def campaign(self, campaign_id: str) -> Row | None:
        """Return one campaign."""
        return next((c for c in self.campaigns() if c["campaign_id"] == campaign_id), None)

    def truth(self) -> dict[str, set[tuple[Any, ...]]]:
        """Return the key of everything that the account holds, by stream."""
        return {
            "workspaces": {(w["workspace_id"],) for w in self.workspaces}
            | {(self.hidden_workspace_id,)},
            "customer_groups": {
                (g["customer_group_id"],) for groups in self.groups.values() for g in groups
            },
            "profile_fields": {
                (w, f["field_id"]) for w, fields in self.fields.items() for f in fields
            },
            "customers": {
                (g, c["customer_id"]) for g, people in self.people.items() for c in people
            },
            "campaigns": {(c["campaign_id"],) for c in self.campaigns()},
            "campaign_runs": {(c, r["run_number"]) for c, runs in self.runs.items() for r in runs},
            "run_messages": {
                (*run, m["message_id"]) for run, rows in self.messages.items() for m in rows
            },
            "published_messages": set(self.published_rows()),
        }

    def published_rows(self) -> set[tuple[str, int, int, int]]:
        """Return the key of every row of every visible message file of published campaigns."""
        keys = set()
        for (campaign_id, run), files in self.files.items():
            for number, content in enumerate(files[: self.visible[campaign_id, run]], 1):
                rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
                keys |= {(campaign_id, run, number, row) for row, _ in enumerate(list(rows)[1:], 1)}
        return keys

    def live_a_day(self) -> None:
        """Let a day pass: customers change and come, a campaign is published, one is rerun."""
        self.now += timedelta(days=1)
        people = self.people["cg-ws-1-1"]
        people[3]["profile"]["Grade"] = "C"
        people[3]["updated_at"] = self.stamp(0.5)
        people.append(self._customer("cg-ws-1-1", len(people), 0.5))
        self._campaign(self.workspaces[0], 10, "Published", days=0.4)
        campaign = next(c for c in self.campaigns() if c["status"] == "Published")
        self.add_run(campaign)

    def publish(self, campaign: Row) -> None:
        """Publish a campaign; its files appear one by one."""
        if campaign["status"] == "Published":
            return
        campaign |= {
            "status": "Published",
            "published_at": self.stamp(0),
            "updated_at": self.stamp(0),
        }
        run = self.runs[campaign["campaign_id"]][0]
        run |= {"status": "Published", "published_at": campaign["published_at"]}
        self._files(campaign["campaign_id"], run["run_number"], count=3, visible=0)

    def add_run(self, campaign: Row) -> None:
        """Rerun a campaign and publish the new run."""
        number = campaign["run_number"] + 1
        campaign |= {
            "run_number": number,
            "published_at": self.stamp(0.3),
            "updated_at": self.stamp(0.3),
        }
        self._run(campaign, number, campaign["published_at"])

    def _furnish(self, workspace: str) -> None:
        self.fields[workspace] = [
            {
                "field_id": f"{workspace}-f{number}",
                "field_name": name,
                "display_name": name.title(),
                "field_type": "string" if (name, workspace) == ("größe", "ws-2") else kind,
                "field_format": form,
                "required": name == "First Name",
                "unique_identifier": name == "E-Mail:Work",
                "encrypted": name == "Secret Note",
                "options": ["gold", "silver"] if kind == "enum" else None,
            }
            for number, (name, kind, form) in enumerate(FIELDS)
        ]
        self.groups[workspace] = []
        for number in (1, 2):
            group = f"cg-{workspace}-{number}"
            self.groups[workspace].append(
                {
                    "customer_group_id": group,
                    "name": f"Group {number}",
                    "description": None,
                    "customer_count": self.customers,
                    "created_at": self.stamp(300),
                    "updated_at": self.stamp(200),
                    "colour": "teal",
                }
            )
            self.people[group] = [
                self._customer(group, number, 30 + self._random.randrange(100))
                for number in range(self.customers)
            ]

    def _customer(self, group: str, number: int, days: float) -> Row:
        born = BORN - timedelta(days=9000 + self._random.randrange(9000))
        profile = {
            "First Name": self._random.choice(["Ada Ü", "Bo", 'Ce "Q"', "", None]),
            "first-name": f"canary-{group}-{number}",
            "E-Mail:Work": f"c{number}@{group}.example.com",
            "größe": self._random.choice([170, 1.5, "181.25", "tall"]),
            "Grade": "B",
            "Born": self._random.choice([born.strftime("%d/%m/%Y"), "n/a", ""]),
            "Joined": f"{born.strftime('%b')} {born.day:02d}, {born.year}",
            "Renewal": "2026-02-28",
            "Total Spend": self._random.choice(["12.50", "1,234.00", "EUR 7.10", 3]),
            "Tier": "gold",
            "Secret Note": base64.b64encode(self._random.randbytes(12)).decode(),
        }
        if number % 9 == 0:
            del profile["Tier"]
        row = {
            "customer_id": f"{group}-c{number}",
            "customer_group_id": group,
            "profile": profile,
            "created_at": self.stamp(days + 1),
            "updated_at": self.stamp(days),
        }
        if number % 17 == 5:
            del row["updated_at"]
        return row

    def _campaign(
        self, workspace: Row, number: int, status: str, days: float | None = None
    ) -> None:
        campaign_id = f"ca-{number}"
        days = 40 + number if days is None else days
        published = self.stamp(days) if status == "Published" else None
        campaign = {
            "campaign_id": campaign_id,
            "name": f"Campaign {number}",
            "status": status,
            "created_at": self.stamp(days + 9),
            "updated_at": self.stamp(days),
            "published_at": published,
            "run_number": 2 if number == 2 else 1,
            "customer_group_id": f"cg-{workspace['workspace_id']}-1",
        }
        workspace["campaigns"].append(campaign)
        if campaign["run_number"] == 2:
            self._run(campaign, 1, self.stamp(days + 5))
        self._run(campaign, campaign["run_number"], published)

    def _run(self, campaign: Row, number: int, published: str | None) -> None:
        campaign_id = campaign["campaign_id"]
        self.runs.setdefault(campaign_id, []).insert(
            0,
            {
                "run_number": number,
                "status": "Published" if published else "Ready for review",
                "customer_group_id": campaign["customer_group_id"],
                "customer_group_name": "Group 1",
                "segment_count": 2,
                "message_summary": {"new": 2},
                "started_at": campaign["created_at"],
                "published_at": published,
            },
        )
        self.messages[campaign_id, number] = [
            {
                "message_id": f"m{n}",
                "campaign_id": campaign_id,
                "run_number": number,
                "segment": {"name": f"s{n}"},
                "content": f"canary-content-{n}",
                "channel": "email",
                "review_status": "approved",
                "approval_stage": "final",
                "archived": number < campaign["run_number"],
                "created_at": campaign["created_at"],
                "updated_at": campaign["updated_at"],
            }
            for n in range(4)
        ]
        if published:
            self._files(campaign_id, number, count=2, visible=2)

    def _files(self, campaign_id: str, run: int, *, count: int, visible: int) -> None:
        header = [*HEADER, "Locale"] if campaign_id == "ca-3" else HEADER
        self.files[campaign_id, run] = [
            self._csv(header, rows=1200 if (campaign_id, run, n) == ("ca-2", 1, 0) else 25)
            for n in range(count)
        ]
        self.visible[campaign_id, run] = visible

    def _csv(self, header: list[str], rows: int) -> bytes:
        bodies = [
            'say "hi", you',
            "line\none\r\ntwo",
            "emoji 🎈",
            "nul \0 inside",
            "=1+1",
            "x" * 9000,
        ]
        lines = [",".join(header)]
        for row in range(rows):
            body = bodies[row % len(bodies)].replace('"', '""')
            score = ["", '""', "007"][row % 3]
            values = [f"id{row}", f"c{row}", "email", "Hello", f'"{body}"', "2026-01-02", score]
            lines.append(",".join([*values, "de"][: len(header)]))
        return ("\n".join(lines) + "\n").encode()
