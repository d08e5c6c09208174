"""One run of the target under a schedule, with everything that a trial has to know of it."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from campaign.processes import Plugin
from tests.sandbox import Fault

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from campaign.bucket import Bucket
    from campaign.processes import Ended
    from campaign.schedule import Schedule
    from tests.sandbox import Account, Sandbox

Row = dict[str, Any]

CODES = {0, 1, 3, 4, 5, 130, 143}
"""How the target may end (README)."""

TOLD = {0, 3, 5}
"""How it ends when all of its input was read and looked at."""

OUTCOMES = (
    "sent",
    "unchanged",
    "merged",
    "invalid",
    "rejected",
    "failed",
    "deleted",
    "already_gone",
    "unknown",
)


KEPT = "kept"
"""Name of the target's own folder, wherever it is."""


@dataclass(frozen=True)
class Sent:
    """What one run left behind.

    Attributes:
        lines: What it was given to read.
        states: What it has passed on.
        summary: What it told of itself; None when it told nothing, or its input was not all read.
    """

    ended: Ended
    lines: Sequence[bytes]
    states: Sequence[Row]

    @property
    def summary(self) -> Row | None:
        """Return the summary of a run that has looked at all of its input."""
        if self.ended.code not in TOLD:
            return None
        whole: Row = json.loads(self.ended.stderr.rpartition("Summary: ")[2].splitlines()[0])
        # It also ends with 5 when three uploads in a row got no sound answer.
        return None if whole["ending"] == "failed" else whole

    def failed(self, stream: str) -> int:
        """Return how many rows failed without proof, in a run that ended for that alone."""
        if self.ended.code != 1 or "Summary: " not in self.ended.stderr:
            return 0
        whole: Row = json.loads(self.ended.stderr.rpartition("Summary: ")[2].splitlines()[0])
        counted: Row = whole["streams"].get(stream, {"failed": 0, "open": 0})
        return 0 if counted["open"] else int(counted["failed"])

    def records(self, stream: str) -> list[Row]:
        """Return the whole records of a stream among the lines."""
        messages = [json.loads(line) for line in self.lines if line.endswith(b"\n")]
        return [m["record"] for m in messages if m["type"] == "RECORD" and m["stream"] == stream]


@dataclass
class Sender:
    """Runs the target, again and again, with one account and one folder.

    Attributes:
        bucket: Where the target keeps what it must remember, if not in a folder.
    """

    folder: Path
    sandbox: Sandbox
    settings: Row
    chance: random.Random
    bucket: Bucket | None = None

    def __post_init__(self) -> None:
        """Let the target keep its state where it can."""
        place = self.bucket.root if self.bucket else str(self.folder)
        self.settings["state_uri"] = f"{place}/{KEPT}"

    @property
    def kept(self) -> Path:
        """The folder that holds what the target has kept, or a copy of it."""
        return self.folder / KEPT

    def fail(self) -> list[str]:
        """Let the store do wrong what is drawn, and name it."""
        return self.bucket.fail() if self.bucket else []

    def __call__(
        self,
        lines: Sequence[bytes],
        schedule: Schedule,
        disturb: Callable[[Account], object],
        arguments: Sequence[str] = (),
    ) -> Sent:
        """Send some lines while something goes wrong.

        Args:
            lines: Messages.
            schedule: What goes wrong.
            disturb: Changes the account, where the schedule says so.
            arguments: Further ones of the target's command line.
        """
        self.sandbox.faults = [replace(fault) for fault in schedule.faults]
        if schedule.loader_fails_at:
            lines = self._cut(lines, schedule.loader_fails_at)
        stdout = os.open("/dev/full", os.O_WRONLY) if schedule.stdout_full else -1
        settings = self.sandbox.config | self.settings
        settings.pop("workspace_ids")
        plugin = Plugin(
            "target_nudgescribe",
            self.folder,
            settings,
            arguments,
            schedule.world,
            stdout,
            environment=self.bucket.environment if self.bucket else {},
        )
        if schedule.blow:
            number = schedule.blow.request or (schedule.blow.line or 0) // 2 + 1
            signum = schedule.blow.signum or 0
            self._at_request(number, lambda _: plugin.signal(signum))
        if schedule.disturbed_at:
            self._at_request(schedule.disturbed_at, disturb)
        plugin.start()
        plugin.feed(lines)
        states = []
        if schedule.stdout_full:
            os.close(stdout)
        else:
            states = [json.loads(line) for line in plugin.lines]
        ended = plugin.wait()
        self.sandbox.faults = []
        if self.bucket:
            self._settle(self.bucket, killed=ended.code < 0)
        return Sent(ended, lines, states)

    def _settle(self, bucket: Bucket, *, killed: bool) -> None:
        """Copy what was kept, and let time pass until a lock that nobody gave back has ended."""
        if killed or bucket.faults:
            for key in bucket.keys(f"{KEPT}/ledgers/"):
                if key.endswith("/lock.json"):
                    bucket.delete(key)
        bucket.heal()
        bucket.copy(KEPT, self.folder)

    def rejects(self, run_id: str) -> list[Row]:
        """Return what a run has written about rows that were not taken."""
        rows: list[Row] = []
        for file in (self.kept / "rejects" / run_id).glob("[!.]*"):
            if file.suffix == ".parquet":
                rows += parquet.read_table(file).to_pylist()
            elif file.suffix == ".csv":
                with file.open(newline="") as text:
                    rows += csv.DictReader(text)
            else:
                rows += map(json.loads, file.read_text().split("\n")[:-1])
        return rows

    def _cut(self, lines: Sequence[bytes], at: int) -> list[bytes]:
        """Let the tap die: the input ends early, perhaps within a line."""
        kept = [*lines[: 1 + at % len(lines)]]
        if self.chance.random() < 0.3:
            kept[-1] = kept[-1][: len(kept[-1]) // 2]
        return kept

    def _at_request(self, number: int, then: Callable[[Account], object]) -> None:
        self.sandbox.faults.insert(0, Fault("*", "change", after=number - 1, then=then))


def allowed_codes(schedule: Schedule) -> set[int]:
    """Return how the target may end under a schedule."""
    signum = schedule.world.signum or (schedule.blow.signum if schedule.blow else None)
    allowed = CODES | {-signum} if signum else CODES - {130, 143}
    if not any(fault.kind in {"envelope", "renamed_key"} for fault in schedule.faults):
        allowed -= {4}
    return allowed
