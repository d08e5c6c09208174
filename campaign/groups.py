"""One trial of two whole tables that are mirrored into one customer group which others use, too."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from campaign.activation import BYSTANDERS, OPERATIONS
from campaign.bucket import drawn
from campaign.extraction import DAYS, QUIET_TRIES, TRIES
from campaign.schedule import QUIET, Bounds, draw
from campaign.sending import Sender, allowed_codes
from campaign.source import MARK
from campaign.verdict import SECRETS, Verdict
from tests.sandbox import Sandbox, make_account
from tests.sandbox.account import Customer

if TYPE_CHECKING:
    from pathlib import Path

    from campaign.schedule import Schedule
    from campaign.sending import Sent
    from tests.sandbox import Account

Row = dict[str, Any]

PEOPLE = 14
"""Of whom each table has some, so that many are in both."""

STREAMS = {"buyers": "total_spend", "subscribers": "tier"}
"""Each stream, and its column beside the key."""

MADE = "made_by_the_input"
"""Name of the group and the field that records create in some trials."""

DEFINING_SHARE = 0.3
"""In so many trials the input creates the group and a field before it needs them."""

FIELDS = {"buyers": "Total Spend", "subscribers": "Tier"}


class SharedGroup:
    """A trial of two tables in one group.

    Args:
        seed: Of the tables, the account and everything that goes wrong.
        folder: Where the trial keeps its files.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        """Draw the account and the tables."""
        self._random = chance = random.Random(f"group {seed}")
        self._folder = folder
        self.verdict = Verdict(f"group {seed}")
        self._account = account = make_account(chance.randrange(1000), "small")
        account.page_size = chance.choice((3, 10, 25))
        # By a draw of its own, which changes nothing else.
        self._defines = random.Random(f"definitions {seed}").random() < DEFINING_SHARE
        self._group = next(g for g in account.groups.values() if g.name == "Nobody yet")
        if self._defines:
            # It takes the place of the group that is there once the input has created it.
            self._group = replace(self._group, customer_group_id="", name=MADE, customers={})
        for number in range(0 if self._defines else BYSTANDERS):
            self._add_bystander(number)
        self._bystanders = BYSTANDERS
        self._tables: dict[str, dict[str, str]] = {stream: {} for stream in STREAMS}
        self._confirmed: dict[str, set[str]] = {stream: set() for stream in STREAMS}
        self._settings: Row = {
            "workspace_id": self._group.workspace_id,
            "customer_group": self._group.name,
            "column_map": {"Customer Ref": "ref"},
            "mode": "mirror",
            "max_tries": 2,
            "request_timeout_seconds": 5,
            "confirm_timeout_seconds": 3,
            "batch_size_rows": chance.choice((3, 10_000)),
            "verify": chance.choice(("none", "none", "full")),
            "rejects_format": "jsonl",
        }
        if self._defines:
            del self._settings["customer_group"]
        self._bucket = drawn(f"group bucket {seed}")
        self._bounds = Bounds(OPERATIONS, 40, 0, 60)

    def _add_bystander(self, number: int) -> None:
        profile = {"Customer Ref": f"other-{number}", "Tier": "Silver"}
        account = self._account
        customer = Customer(account.new_id(), profile, account.now, account.now)
        self._group.customers[customer.customer_id] = customer

    def run(self) -> Verdict:
        """Live through some days, and return what that has shown."""
        with Sandbox(self._account) as sandbox, self._bucket or nullcontext() as bucket:
            self._send = Sender(self._folder, sandbox, self._settings, self._random, bucket)
            if self._random.random() < 0.5 and not self._defines:
                self._attempt(QUIET, ["subscribers"], ("--seed-ledger",))
            for _ in range(DAYS):
                self._change(20)
                self._live_through_a_day()
        return self.verdict

    def _change(self, changes: int) -> None:
        for _ in range(changes):
            stream = self._random.choice(list(STREAMS))
            ref = f"{MARK}ref-{self._random.randrange(PEOPLE)}"
            if self._random.random() < 0.35:
                self._tables[stream].pop(ref, None)
            elif stream == "buyers":
                self._tables[stream][ref] = f"{self._random.randrange(10**6) / 100:.2f}"
            else:
                self._tables[stream][ref] = self._random.choice(("Silver", "Gold, 24 ct"))

    def _live_through_a_day(self) -> None:
        for _ in range(self._random.randint(1, TRIES)):
            store_fails = self._send.fail()
            self.verdict.injected.update(store_fails)
            streams = self._random.choice([[*STREAMS], [*STREAMS], ["buyers"], ["subscribers"]])
            self._attempt(draw(self._random, self._bounds), self._shuffled(streams))
            if self._random.random() < 0.4:
                self._change(4)
        for _ in range(QUIET_TRIES):
            sent = self._attempt(QUIET, self._shuffled([*STREAMS]))
            if sent.ended.code == 0 or (sent.ended.code == 3 and self._has_rejects(sent)):
                break
        else:
            told = sent.ended.stderr.splitlines()[-3:]
            self.verdict.add("not healed", f"exit {sent.ended.code} without a fault: {told}")
        self._compare(sent)

    def _shuffled(self, streams: list[str]) -> list[str]:
        return self._random.sample(streams, len(streams))

    def _attempt(
        self, schedule: Schedule, streams: list[str], arguments: tuple[str, ...] = ()
    ) -> Sent:
        """Send the tables of some streams while something goes wrong."""
        self.verdict.injected.update(schedule.kinds)
        before = set(self._held())
        self._others = self._everybody_else()
        lines = self._definitions() if self._defines else []
        lines += [line for stream in streams for line in self._messages(stream)]
        lines.append(_line(type="STATE", value={"position": self._random.random()}))
        sent = self._send(lines, schedule, self._disturb, arguments)
        self._find_group()
        self.verdict.ended(sent.ended, [*SECRETS, f"{MARK}ref"])
        self.verdict.ended_in(sent.ended, allowed_codes(schedule), schedule.kinds)
        if self._everybody_else() != self._others:
            self.verdict.add("wrong deletes", "customers that are in no table have changed")
        contained = {record["ref"] for stream in streams for record in sent.records(stream)}
        for stream, table in self._tables.items():
            contained |= self._confirmed[stream] & table.keys()
        for ref in (before & contained) - self._held().keys():
            self.verdict.add("wrong deletes", f"{ref} is gone, and a table has it")
        for confirmed in self._confirmed.values():
            confirmed.difference_update(before - self._held().keys())
        if sent.ended.code == 0 and not arguments:
            for stream in streams:
                self._confirmed[stream] |= {r["ref"] for r in sent.records(stream)}
        return sent

    def _definitions(self) -> list[bytes]:
        """Return records that create the group and a field of which the rows behind them speak."""
        records = {
            "customer_groups": {"name": MADE},
            "profile_fields": {"field_name": MADE, "field_type": "string"},
        }
        lines = []
        for stream, record in records.items():
            schema = {"properties": {name: {"type": "string"} for name in record}}
            lines += [
                _line(type="SCHEMA", stream=stream, schema=schema, key_properties=[]),
                _line(type="RECORD", stream=stream, record=record),
            ]
        return lines

    def _find_group(self) -> None:
        """Look into the group that the input has created, if it has."""
        named = [g for g in self._account.groups.values() if g.name == self._group.name]
        if len(named) > 1:
            self.verdict.add("doubled", f"{len(named)} groups are called {self._group.name}")
        if named:
            self._group = named[0]

    def _messages(self, stream: str) -> list[bytes]:
        column = self._column(stream)
        named = {"customer_group": MADE} if self._defines else {}
        names = ("ref", column, *named)
        schema = {"properties": {name: {"type": "string"} for name in names}}
        return [
            _line(type="SCHEMA", stream=stream, schema=schema, key_properties=["ref"]),
            *(
                _line(type="RECORD", stream=stream, record={"ref": ref, column: value} | named)
                for ref, value in self._tables[stream].items()
            ),
            _line(type="ACTIVATE_VERSION", stream=stream, version=1),
        ]

    def _disturb(self, _: Account) -> None:
        """Let others delete a customer of theirs, and create one."""
        customers = self._group.customers
        if self._defines:
            return
        theirs = [each for each in customers if customers[each].profile["Tier"] == "Silver"]
        first = next(
            (each for each in theirs if _is_others(customers[each].profile["Customer Ref"])), None
        )
        if first is not None:
            del customers[first]
        self._bystanders += 1
        self._add_bystander(self._bystanders)
        self._others = self._everybody_else()

    def _held(self) -> dict[str, list[Row]]:
        """Return the profiles of the tables' people in the account, by reference."""
        found: dict[str, list[Row]] = {}
        for customer in self._group.customers.values():
            ref = str(customer.profile["Customer Ref"])
            if not _is_others(ref):
                found.setdefault(ref, []).append(customer.profile)
        return found

    def _everybody_else(self) -> dict[str, Row]:
        return {
            customer_id: dict(customer.profile)
            for customer_id, customer in self._group.customers.items()
            if _is_others(customer.profile["Customer Ref"])
        }

    def _column(self, stream: str) -> str:
        """Return the name of a stream's column beside the key."""
        return MADE if self._defines and stream == "subscribers" else STREAMS[stream]

    def _field(self, stream: str) -> str:
        """Return the profile field that a stream's column goes into."""
        return MADE if self._defines and stream == "subscribers" else FIELDS[stream]

    def _has_rejects(self, sent: Sent) -> bool:
        streams = (sent.summary or {"streams": {}})["streams"].values()
        return any(each["rejected"] for each in streams)

    def _compare(self, sent: Sent) -> None:
        """Compare the account with both tables after a run without a fault."""
        held = self._held()
        wanted = {ref for table in self._tables.values() for ref in table}
        confirmed = set.union(*self._confirmed.values())
        for ref, profiles in held.items():
            if len(profiles) > 1:
                self.verdict.add("doubled", f"{ref} is there {len(profiles)} times")
            if ref not in wanted and ref in confirmed:
                self.verdict.add("not healed", f"{ref} is in no table any more, and still there")
        if self._has_rejects(sent):
            return
        for stream, table in self._tables.items():
            for ref, value in table.items():
                if not held.get(ref) or held[ref][0].get(self._field(stream)) != value:
                    self.verdict.add("lost", f"{ref} is not as {stream} has it")
        self._confirmed = {stream: set(table) for stream, table in self._tables.items()}


def _is_others(ref: object) -> bool:
    return not str(ref).startswith(MARK)


def _line(**message: Any) -> bytes:  # noqa: ANN401 (JSON)
    return json.dumps(message).encode() + b"\n"


def run(seed: int, folder: Path) -> Verdict:
    """Run one trial of two tables in one group."""
    return SharedGroup(seed, folder).run()
