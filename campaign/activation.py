"""One trial of the target: a warehouse's table sent day after day, and compared with it."""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from campaign.bucket import drawn
from campaign.extraction import DAYS, QUIET_TRIES, TRIES
from campaign.schedule import QUIET, Bounds, draw
from campaign.sending import OUTCOMES, Sender, allowed_codes
from campaign.source import MAP, MARK, REFUSED, STREAM, Source, expected, messages, settings_for
from campaign.verdict import SECRETS, Verdict
from tests.sandbox import Sandbox, make_account
from tests.sandbox.account import Customer
from tests.sandbox.day import live_a_day
from tests.sandbox.dialects import ANSWERS, ROW_NUMBERS

if TYPE_CHECKING:
    from pathlib import Path

    from campaign.schedule import Schedule
    from campaign.sending import Sent
    from campaign.source import Event, Row
    from tests.sandbox import Account
    from tests.sandbox.account import Group

OPERATIONS = (
    "login",
    "list_groups",
    "list_fields",
    "upload_customers",
    "upload_customers",
    "upload_customers",
    "count_customer_pages",
    "list_customers",
    "delete_customers",
)

REFUSING = frozenset({"bad_request", "conflict", "unprocessable", "too_large"})
"""Faults that refuse whatever is sent: a row that meets one alone looks like the cause."""

BYSTANDERS = 12
"""Customers of the group whom the table does not know."""


class Activation:
    """A trial of the target.

    Args:
        seed: Of the table, the account and everything that goes wrong.
        folder: Where the trial keeps its files.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        """Draw the account, and how the table is sent."""
        self._random = chance = random.Random(f"activation {seed}")
        self._folder = folder
        self.verdict = Verdict(f"target {seed}")
        self._account = account = make_account(chance.randrange(1000), "small")
        account.page_size = chance.choice((3, 10, 25))
        account.status_codes = chance.choice(("newer", "newer", "older"))
        account.queue_above, account.queue_wait = chance.choice(((1000, 0), (1000, 0), (4, 3)))
        account.problems_listed = chance.choice((1, 100))
        account.row_numbers = chance.choice(sorted(ROW_NUMBERS))
        account.upload_answers = chance.choice(("plain", *sorted(ANSWERS)))
        account.refused_text = REFUSED
        self._group = next(g for g in account.groups.values() if g.name == "Nobody yet")
        self._add_bystanders()
        self._whole = chance.random() < 0.3
        self._source = Source(chance, ragged=not self._whole)
        self._position = 0
        self._rejected: set[str] = set()
        self._noted: set[str] = set()
        self._recorded: set[str] = set()
        self._unrecorded: set[str] = set()
        self._failed = 0
        self._summary: Row = {}
        self._shown = chance.choice(("full", "masked", "none"))
        self._settings: Row = {
            **settings_for(self._group, folder),
            "max_tries": 2,
            "request_timeout_seconds": 5,
            "confirm_timeout_seconds": 3,
            "max_parallel_requests": chance.choice((1, 4)),
            "mode": "mirror" if self._whole else "upsert",
            "batch_size_rows": chance.choice((3, 10, 10_000)),
            "upload_encoding": chance.choice(("multipart", "json")),
            "server_validation": chance.choice(("none", "none", "before_upload")),
            "verify": chance.choice(("none", "none", "sample", "full")),
            "rejects_format": chance.choice(("csv", "jsonl", "parquet")),
            "rejects_rows": self._shown,
            "state_on_failure": chance.choice(("hold", "advance")),
        }
        if chance.random() < 0.7:
            self._settings["max_rejected_rows"] = 1_000_000
        self._bucket = drawn(f"bucket {seed}")
        self._bounds = Bounds(OPERATIONS, 40, 60, 40)

    def _add_bystanders(self) -> None:
        account, group = self._account, self._group
        for number in range(BYSTANDERS):
            profile = {"Customer Ref": f"other-{number}", "E-Mail:Work": f"o.{number}@example.com"}
            customer = Customer(account.new_id(), profile, account.now, account.now)
            group.customers[customer.customer_id] = customer

    def run(self) -> Verdict:
        """Live through some days, and return what that has shown."""
        with Sandbox(self._account) as sandbox, self._bucket or nullcontext() as bucket:
            self._send = Sender(self._folder, sandbox, self._settings, self._random, bucket)
            for day in range(DAYS):
                self._source.live_a_day(40 if day == 0 else 15)
                self._live_through_a_day()
        return self.verdict

    def _live_through_a_day(self) -> None:
        for _ in range(self._random.randint(1, TRIES)):
            schedule = draw(self._random, self._bounds)
            store_fails = self._send.fail()
            self.verdict.injected.update(store_fails)
            if self._attempt(schedule, recording=not store_fails) == 0:
                break
            if self._random.random() < 0.3:
                self._source.live_a_day(3)
        for _ in range(QUIET_TRIES):
            if self._succeeded(code := self._attempt(QUIET)):
                break
        else:
            self.verdict.add("not healed", f"exit {code} without a fault")
        self._compare_all()

    def _succeeded(self, code: int) -> bool:
        if code == 1:
            return bool(self._failed)
        told = self._summary
        return code == 0 or (code == 3 and bool(told["invalid"] + told["rejected"]))

    def _attempt(self, schedule: Schedule, *, recording: bool = True) -> int:
        """Send once what the table has since the state that is kept.

        Args:
            schedule: What goes wrong.
            recording: Whether the store of the ledger works.
        """
        self.verdict.injected.update(schedule.kinds)
        source = self._source
        events = source.table() if self._whole else source.changes(self._position)
        first = len(source.events) if self._whole else self._position
        every = self._random.choice((1, 5, 1000))
        lines = list(messages(events, first, every, whole=self._whole))
        before = {c.profile["Customer Ref"] for c in self._group.customers.values()}
        self._others = self._everybody_else()
        sent = self._send(lines, schedule, self._disturb)
        refs = {record["ref"] for record in sent.records(STREAM)}
        if sent.summary or (recording and schedule.spares_files):
            self._recorded |= refs
        else:
            self._unrecorded |= refs
        self._judge(schedule, sent)
        self._judge_states(sent)
        self._judge_deletes(before, events)
        self._check_others()
        # The server works off what it has queued before the next night.
        for job in self._account.jobs:
            job.wait = 0
        return sent.ended.code

    def _disturb(self, account: Account) -> None:
        """Let other people change the account: other groups, or customers of this one."""
        self._check_others()
        if self._random.random() < 0.5:
            live_a_day(account)
        else:
            customers = self._group.customers
            first = next(iter(customers))
            if customers[first].profile["Customer Ref"].startswith("other-"):
                del customers[first]
        self._others = self._everybody_else()

    # What it must have been

    @property
    def _ours(self) -> dict[str, list[Row]]:
        """Profiles of the table's people in the account, by reference."""
        found: dict[str, list[Row]] = {}
        for customer in self._group.customers.values():
            ref = str(customer.profile["Customer Ref"])
            if ref.startswith(MARK):
                found.setdefault(ref, []).append(customer.profile)
        return found

    def _everybody_else(self) -> dict[str, Any]:
        account = self._account

        def those(group: Group) -> dict[str, Row]:
            return {
                customer_id: dict(customer.profile)
                for customer_id, customer in group.customers.items()
                if not str(customer.profile.get("Customer Ref")).startswith(MARK)
            }

        return {
            "groups": {group.customer_group_id: group.name for group in account.groups.values()},
            "fields": copy.deepcopy(account.fields),
            "campaigns": {
                c.campaign_id: (c.status, len(c.runs)) for c in account.campaigns.values()
            },
            "customers": {gid: those(group) for gid, group in account.groups.items()},
        }

    def _check_others(self) -> None:
        now = self._everybody_else()
        for what, was in self._others.items():
            if now[what] != was:
                self.verdict.add("wrong deletes", f"{what} that are not the table's have changed")

    def _judge(self, schedule: Schedule, sent: Sent) -> None:
        secrets = [*SECRETS, f"{MARK}name", f"{MARK}ref"]
        ended = sent.ended
        self.verdict.ended(ended, secrets)
        self.verdict.ended_in(ended, allowed_codes(schedule), schedule.kinds)
        if self._shown != "full":
            for file in self._send.kept.rglob("*.*"):
                if file.is_file():
                    text = file.read_bytes().decode(errors="replace")
                    self.verdict.told(text, secrets, file.suffix)
        self._failed = sent.failed(STREAM)
        self._note_rejected(sent, REFUSING.isdisjoint(schedule.kinds))
        if sent.summary:
            self._judge_summary(sent, sent.summary)

    def _note_rejected(self, sent: Sent, fair: bool) -> None:  # noqa: FBT001 (private)
        """Remember whom the API has refused, also in a run that failed later.

        Args:
            sent: The run.
            fair: Whether the API has refused nothing but what its own rule says.
        """
        records = sent.records(STREAM)
        refs = [record["ref"] for record in records]
        for folder in (self._send.kept / "rejects").glob("*"):
            if folder.name not in self._noted:
                self._noted.add(folder.name)
                rejects = self._send.rejects(folder.name)
                found = {int(r["row_number"]) for r in rejects if r["found_by"] != "check"}
                self._rejected |= {refs[number - 1] for number in found}
                final = {
                    int(r["row_number"])
                    for r in rejects
                    if r["found_by"] in {"upload", "validation"} and not _is_retryable(r)
                }
                for number in final if fair else ():
                    if REFUSED not in str(records[number - 1].get("first_name")):
                        self.verdict.add("lost", f"row {number} is valid and rejected for good")

    def _judge_summary(self, sent: Sent, whole: Row) -> None:
        """Compare the summary, and the file of rejects, with what was read."""
        self._summary = whole["streams"].get(STREAM, {})
        records = sent.records(STREAM)
        summed = sum(self._summary[outcome] for outcome in OUTCOMES)
        if not summed == self._summary["read"] == len(records):
            self.verdict.add("lost", f"{len(records)} records, in the summary {self._summary}")
        wrong = {
            number
            for number, record in enumerate(records, 1)
            if str(record.get("birthday")).startswith(MARK)
        }
        rejects = self._send.rejects(whole["run_id"])
        checked = {int(r["row_number"]) for r in rejects if r["found_by"] == "check"}
        if checked != wrong or len(wrong) != self._summary["invalid"]:
            self.verdict.add("lost", f"invalid {wrong}, in the file of rejects {checked}")
        others = [r for r in rejects if r["found_by"] != "check"]
        refused = {
            int(r["row_number"])
            for r in others
            if r["found_by"] == "delete" or not _is_retryable(r)
        }
        quarantined = self._summary["counts"].get("quarantined", 0)
        if len(refused) + quarantined != self._summary["rejected"]:
            self.verdict.add("lost", f"rejected {self._summary}, in the file {len(refused)}")

    def _judge_states(self, sent: Sent) -> None:
        """Make sure that a state says no more than what the account holds."""
        if not self.verdict.passed_on(sent):
            return
        self._position = sent.states[-1]["position"]
        self._compare(self._position)

    def _compare(self, position: int) -> None:
        """Compare the account with what the table was at a position, or is since then."""
        found = self._ours
        versions = [expected(self._source.events[:end]) for end in self._ends(position)]
        # Of a whole table the target never saw what a row was before it became invalid.
        invalid = {e.ref for e in self._source.table() if not e.valid}
        # A mirror deletes only whom its ledger has; a run that died may have sent others, too.
        stranded = self._unrecorded - self._recorded - {ref for v in versions for ref in v}
        for ref in {ref for version in versions for ref in version} | found.keys():
            held = found.get(ref, [])
            if len(held) > 1:
                self.verdict.add("doubled", f"{ref} is there {len(held)} times")
            elif (
                ref not in self._rejected
                and not (self._whole and ref in invalid | stranded)
                and not any(_agree(held, version.get(ref)) for version in versions)
            ):
                kind = "lost" if held or versions[-1].get(ref) else "wrong deletes"
                self.verdict.add(kind, f"{ref} is not as the table has it")

    def _ends(self, position: int) -> range:
        return range(position, len(self._source.events) + 1)

    def _compare_all(self) -> None:
        self._compare(len(self._source.events))

    def _judge_deletes(self, before: set[Any], events: list[Event]) -> None:
        """Make sure that nobody is gone whom the table has and had."""
        gone = {event.ref for event in events if event.row is None}
        if self._whole:
            gone = before - {event.ref for event in events}
        for ref in before - self._ours.keys() - gone:
            if str(ref).startswith(MARK):
                self.verdict.add("wrong deletes", f"{ref} is gone")


def _agree(held: list[Row], wanted: Row | None) -> bool:
    if not held or wanted is None:
        return not held and wanted is None
    return all(held[0].get(name) == wanted.get(name) for name in MAP)


def _is_retryable(reject: Row) -> bool:
    """Say whether the next run sends a row again; CSV has it as text."""
    return str(reject["retryable"]).lower() == "true"


def run(seed: int, folder: Path) -> Verdict:
    """Run one trial of the target."""
    return Activation(seed, folder).run()
