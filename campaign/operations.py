"""One trial of the target's operations: reruns and publications wanted day after day, and made."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from campaign.bucket import drawn
from campaign.extraction import DAYS, QUIET_TRIES, TRIES
from campaign.schedule import QUIET, Bounds, draw
from campaign.sending import OUTCOMES, Sender, allowed_codes
from campaign.verdict import SECRETS, Verdict
from tests.sandbox import Sandbox, make_account, runs
from tests.sandbox.account import PUBLISHED, READY_FOR_REVIEW, READY_TO_PUBLISH, Group
from tests.sandbox.day import live_a_day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from campaign.schedule import Schedule
    from campaign.sending import Sent
    from tests.sandbox import Account

Row = dict[str, Any]

RERUNS, PUBLICATIONS = "campaign_reruns", "campaign_publications"

CALLED = (
    "login",
    "list_groups",
    "list_campaigns",
    *("publish_messages",) * 3,
    *("initiate_rerun",) * 4,
    *("list_runs",) * 2,
)
"""What it calls, most of all what it must not do twice."""

COLUMNS = {
    RERUNS: ("campaign_id", "customer_group", "asked"),
    PUBLICATIONS: ("campaign_id", "asked"),
}

MARK = "Zq"
"""In every value of a record that is no id of the account's."""

UNSOUND = {
    "server_error",
    "reset_before",
    "reset",
    "truncated",
    "invalid_json",
    "unexpected_shape",
    "envelope",
    "ignored",
    "empty",
}
"""Faults after which nobody can tell from the answer whether a rerun was started."""

ODD: tuple[tuple[str, Row, str], ...] = (
    (PUBLICATIONS, {"campaign_id": f"{MARK} none"}, "unknown_campaign"),
    (PUBLICATIONS, {"campaign_id": ""}, "no_id"),
    (RERUNS, {"campaign_id": f"{MARK} none", "customer_group": ""}, "unknown_campaign"),
    (RERUNS, {"campaign_id": "", "customer_group": ""}, "no_id"),
)
"""Rows that make no sense, with the code that each is refused with."""

GROUPS = 30


@dataclass(frozen=True)
class Wish:
    """A row that somebody has put into one of the two tables.

    Attributes:
        number: Its place in the order of all rows.
        record: The row; no two are the same.
        refusal: The code with which a row is refused that makes no sense.
    """

    number: int
    stream: str
    record: Row = field(hash=False)
    refusal: str = ""

    @property
    def campaign_id(self) -> str:
        """The campaign that is meant."""
        return str(self.record["campaign_id"])

    @property
    def pair(self) -> tuple[str, str]:
        """The campaign, and the group that a rerun is wanted for, by name or id."""
        return self.campaign_id, str(self.record.get("customer_group"))


class Operations:
    """A trial of the target's operations.

    Each rerun that is wanted has a group of its own, so that it is known by it in the account.

    Args:
        seed: Of the account, of what is wanted and of everything that goes wrong.
        folder: Where the trial keeps its files.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        """Draw the account, and how the tables are sent."""
        self._random = chance = random.Random(f"operations {seed}")
        self._folder = folder
        self.verdict = Verdict(f"operations {seed}")
        self._account = account = make_account(chance.randrange(1000), "small")
        account.status_codes = chance.choice(("newer", "newer", "older"))
        self._workspace_id = next(iter(account.workspaces))
        self._campaigns = account.campaigns_of(self._workspace_id)
        self._groups = [self._added_group(number) for number in range(GROUPS)]
        self._whole = chance.random() < 0.5
        self._streams = chance.choice(((RERUNS, PUBLICATIONS), (PUBLICATIONS, RERUNS)))
        self._shown = chance.choice(("full", "masked", "none"))
        self._settings: Row = {
            "workspace_id": self._workspace_id,
            "max_tries": 2,
            "request_timeout_seconds": 5,
            "confirm_timeout_seconds": 3,
            "rejects_format": chance.choice(("csv", "jsonl", "parquet")),
            "rejects_rows": self._shown,
            "state_on_failure": chance.choice(("hold", "advance")),
        }
        if chance.random() < 0.5:
            self._settings["max_rejected_rows"] = 1_000_000
        self._bucket = drawn(f"depot {seed}")
        self._store_fails: list[str] = []
        self._bounds = Bounds(CALLED, 16, 20, 30)
        self._wishes: list[Wish] = []
        self._position = 0
        self._refused: dict[Wish, str] = {}
        self._withdrawn: set[Wish] = set()
        self._doubtful: set[Wish] = set()
        self._found_published: set[Wish] = set()
        self._noted: set[str] = set()
        self._spent = 0
        self._others_runs, self._others_published = self._runs, self._published

    def _added_group(self, number: int) -> Group:
        account = self._account
        name = f"{MARK}group {number}"
        group = Group(account.new_id(), self._workspace_id, name, None, account.now, account.now)
        account.groups[group.customer_group_id] = group
        return group

    def run(self) -> Verdict:
        """Live through some days, and return what that has shown."""
        with Sandbox(self._account) as sandbox, self._bucket or nullcontext() as bucket:
            self._send = Sender(self._folder, sandbox, self._settings, self._random, bucket)
            for _ in range(DAYS):
                self._live_through_a_day()
        return self.verdict

    def _live_through_a_day(self) -> None:
        self._disturb(self._account)
        self._people_review()
        self._account.publish_quota = self._random.choice((1, 100))
        self._want(self._random.randint(2, 5))
        for _ in range(self._random.randint(1, TRIES)):
            schedule = draw(self._random, self._bounds)
            self._store_fails = self._send.fail()
            self.verdict.injected.update(self._store_fails)
            if self._attempt(schedule) == 0:
                break
            if self._random.random() < 0.3:
                self._want(1)
        self._store_fails = []
        for _ in range(QUIET_TRIES):
            code = self._attempt(QUIET)
            if not self._refused or "begun_before" not in self._refused.values():
                break
            self._look_at_the_account()
        if code not in {0, 3} or (code == 3 and not self._refused):
            self.verdict.add("not healed", f"exit {code} without a fault")
        self._compare(len(self._wishes))

    # What people do

    def _people_review(self) -> None:
        """Review and publish some runs, as people do in the application."""
        for campaign in self._account.campaigns.values():
            if campaign.status == READY_FOR_REVIEW and self._random.random() < 0.7:
                campaign.status = campaign.current_run.status = READY_TO_PUBLISH
            if campaign.status == READY_TO_PUBLISH and self._random.random() < 0.3:
                runs.publish(campaign, self._account.now)
                self._others_published.add((campaign.campaign_id, campaign.current_run.run_number))

    def _disturb(self, account: Account) -> None:
        """Let other people start and publish runs."""
        before, published = self._runs, self._published
        live_a_day(account)
        self._others_runs |= self._runs - before
        self._others_published |= self._published - published

    def _want(self, wishes: int) -> None:
        """Put rows into the tables."""
        for _ in range(wishes):
            what = self._random.random()
            if what < 0.1:
                self._ask(*self._random.choice(ODD))
            elif what < 0.65 and self._groups:
                group = self._groups.pop()
                named = self._random.choice((group.name, group.customer_group_id))
                campaign_id = self._random.choice(self._campaigns).campaign_id
                self._ask(RERUNS, {"campaign_id": campaign_id, "customer_group": named})
            else:
                campaign_id = self._random.choice([*self._account.campaigns])
                self._ask(PUBLICATIONS, {"campaign_id": campaign_id})

    def _ask(self, stream: str, record: Row, refusal: str = "") -> None:
        number = len(self._wishes)
        self._wishes.append(
            Wish(number, stream, record | {"asked": f"{MARK}asked {number}"}, refusal)
        )

    def _look_at_the_account(self) -> None:
        """Do what the target asks people for, where it does not know whether it began a rerun.

        The row is taken out of the table; a rerun that was not started is asked for anew.
        """
        begun = [wish for wish, code in self._refused.items() if code == "begun_before"]
        for wish in begun:
            del self._refused[wish]
            self._withdrawn.add(wish)
            if not self._runs_for(wish):
                self._ask(RERUNS, wish.record)

    # One run

    def _attempt(self, schedule: Schedule) -> int:
        """Send once what is wanted since the state that is kept."""
        self.verdict.injected.update(schedule.kinds)
        first = 0 if self._whole else self._position
        wishes = [wish for wish in self._wishes[first:] if wish not in self._withdrawn]
        every = self._random.choice((1, 3, 1000))
        quota = self._account.publish_quota
        self._before = {
            c.campaign_id: (c.status, len(c.runs)) for c in self._account.campaigns.values()
        }
        sent = self._send([*self._messages(wishes, every)], schedule, self._disturb)
        self._spent += quota - self._account.publish_quota
        self.verdict.ended(sent.ended, [*SECRETS, MARK])
        self.verdict.ended_in(sent.ended, allowed_codes(schedule), schedule.kinds)
        self._find_published(wishes)
        self._judge_rejects(sent, wishes, schedule)
        self._check_unasked()
        if self.verdict.passed_on(sent):
            self._position = sent.states[-1]["position"]
            self._compare(self._position)
        return sent.ended.code

    def _messages(self, wishes: Sequence[Wish], every: int) -> Iterator[bytes]:
        for stream in self._streams:
            schema = {"properties": {name: {"type": "string"} for name in COLUMNS[stream]}}
            yield _line(type="SCHEMA", stream=stream, schema=schema, key_properties=[])
        for count, wish in enumerate(wishes, 1):
            yield _line(type="RECORD", stream=wish.stream, record=wish.record)
            if count % every == 0:
                yield _line(type="STATE", value={"position": wish.number + 1})
        yield _line(type="STATE", value={"position": len(self._wishes)})

    def _judge_rejects(self, sent: Sent, wishes: Sequence[Wish], schedule: Schedule) -> None:
        """Read what was not taken, and why, also in a run that failed later."""
        read = {
            stream: [wish for wish in wishes if wish.stream == stream][: len(sent.records(stream))]
            for stream in self._streams
        }
        rejects: list[Row] = []
        for folder in (self._send.kept / "rejects").glob("*"):
            if folder.name not in self._noted:
                self._noted.add(folder.name)
                rejects = self._send.rejects(folder.name)
        if self._shown != "full":
            self.verdict.told(json.dumps(rejects), [MARK], "the rejects")
        found = {read[r["stream"]][int(r["row_number"]) - 1]: r["code"] for r in rejects}
        for wish, code in found.items():
            if problem := self._unfounded(wish, code, schedule):
                self.verdict.add("lost", f"{wish} is refused with {code}: {problem}")
        if sent.summary:
            for wish in (*read[RERUNS], *read[PUBLICATIONS]):
                self._refused.pop(wish, None)
            self._judge_summary(sent.summary, rejects, read)
        self._refused |= found
        if self._store_fails or _leaves_doubt(schedule):
            self._doubtful.update(read[RERUNS])

    def _unfounded(self, wish: Wish, code: str, schedule: Schedule) -> str:
        """Return why a row should not have been refused so; nothing if it should."""
        if code == "begun_before":
            return "" if wish in self._doubtful else "no run can have begun it"
        if schedule.faults:
            return ""
        if wish.refusal:
            return "" if code == wish.refusal else "another code"
        if code == "quota":
            return "" if not self._account.publish_quota else "there was quota"
        if code != "refused":
            return "another code"
        ready = {PUBLISHED.lower()}
        if wish.stream == PUBLICATIONS:
            ready.add(READY_TO_PUBLISH.lower())
        status, count = self._before[wish.campaign_id]
        campaign = self._account.campaigns[wish.campaign_id]
        could = status.lower() in ready and len(campaign.runs) == count
        return "it could be done" if could else ""

    def _judge_summary(
        self, whole: Row, rejects: Sequence[Row], read: dict[str, list[Wish]]
    ) -> None:
        """Compare the summary with what was read, and with the rejects."""
        for stream, wishes in read.items():
            told = whole["streams"].get(stream, {"read": 0, "rejected": 0, "reasons": {}})
            if not sum(told.get(outcome, 0) for outcome in OUTCOMES) == told["read"] == len(wishes):
                self.verdict.add("lost", f"{len(wishes)} records, in the summary {told}")
            codes = Counter(row["code"] for row in rejects if row["stream"] == stream)
            if dict(codes) != told["reasons"] or codes.total() != told["rejected"]:
                self.verdict.add("lost", f"rejected {told}, in the file {dict(codes)}")

    # What must have been done

    @property
    def _runs(self) -> set[tuple[str, int]]:
        return {(campaign.campaign_id, run.run_number) for campaign, run in self._account.runs}

    @property
    def _published(self) -> set[tuple[str, int]]:
        return {(c.campaign_id, r.run_number) for c, r in self._account.runs if r.published_at}

    def _runs_for(self, wish: Wish) -> int:
        """Count the runs that were started because of a row."""
        return sum(
            campaign.campaign_id == wish.campaign_id
            and wish.pair[1] in {run.customer_group_id, run.customer_group_name}
            for campaign, run in self._account.runs
        )

    def _check_unasked(self) -> None:
        """Make sure that nothing was done that nobody asked for, and nothing twice."""
        asked = {wish.pair for wish in self._wishes if wish.stream == RERUNS}
        made = Counter(
            (campaign.campaign_id, run.customer_group_id, run.customer_group_name)
            for campaign, run in self._account.runs
            if (campaign.campaign_id, run.run_number) not in self._others_runs
        )
        for (campaign_id, group_id, name), count in made.items():
            if not {(campaign_id, group_id), (campaign_id, name)} & asked:
                self.verdict.add("foreign", f"a run of {campaign_id} that nobody wanted")
            if count > 1:
                self.verdict.add("doubled", f"{count} runs of {campaign_id} for {name}")
        wanted = Counter(w.campaign_id for w in self._wishes if w.stream == PUBLICATIONS)
        published = Counter(
            campaign_id for campaign_id, _ in self._published - self._others_published
        )
        for campaign_id, count in published.items():
            if count > wanted[campaign_id]:
                told = f"{count} publishings of {campaign_id}, {wanted[campaign_id]} wanted"
                self.verdict.add("doubled" if wanted[campaign_id] else "foreign", told)
        if self._spent != published.total():
            told = f"{self._spent} of the quota spent on {published.total()} publishings"
            self.verdict.add("doubled", told)

    def _compare(self, position: int) -> None:
        """Make sure that what was wanted is there, or refused."""
        for wish in self._wishes[:position]:
            if wish in self._refused or wish in self._withdrawn:
                continue
            if wish.refusal:
                self.verdict.add("lost", f"{wish} can be no success")
            elif wish.stream == RERUNS and not self._runs_for(wish):
                self.verdict.add("lost", f"no run was started for {wish}")
            elif wish.stream == PUBLICATIONS and wish not in self._found_published:
                self.verdict.add("lost", f"nothing was published for {wish}")

    def _find_published(self, wishes: Sequence[Wish]) -> None:
        """Note whose campaign stands published, or was in this run, before its next rerun."""
        for wish in wishes:
            if campaign := self._account.campaigns.get(wish.campaign_id):
                before = self._before[wish.campaign_id]
                rerun = len(campaign.runs) > before[1]
                if rerun or PUBLISHED in {before[0], campaign.status}:
                    self._found_published.add(wish)


def _leaves_doubt(schedule: Schedule) -> bool:
    """Say whether nobody can tell, after such a run, if it has started a rerun."""
    return not schedule.spares_files or any(
        fault.kind in UNSOUND and fault.operation in {"initiate_rerun", "*"}
        for fault in schedule.faults
    )


def _line(**message: Any) -> bytes:  # noqa: ANN401 (JSON)
    return json.dumps(message).encode() + b"\n"


def run(seed: int, folder: Path) -> Verdict:
    """Run one trial of the target's operations."""
    return Operations(seed, folder).run()
