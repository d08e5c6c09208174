"""One trial of the tap: a lively account loaded day after day, and compared with the account."""

from __future__ import annotations

import json
import os
import random
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from campaign.bucket import drawn
from campaign.exports import NAMES, Exports
from campaign.loader import Loader, LoaderFailedError
from campaign.processes import Plugin
from campaign.schedule import QUIET, Bounds, draw
from campaign.verdict import SECRETS, Verdict, same, values_of
from tests.expectation import key_of, sound
from tests.sandbox import Fault, Sandbox, make_account, truth
from tests.sandbox.day import live_a_day
from tests.sandbox.faults import READS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from campaign.loader import Row
    from campaign.processes import Ended
    from campaign.schedule import Schedule
    from tests.sandbox import Account

DAYS = 3

TRIES = 3
"""Runs of a day that may go wrong, before those without a fault."""

QUIET_TRIES = 2
"""Runs without a fault in which everything has to be there."""

READ_BY_RUNS = ("campaign_runs", "run_messages", "published_messages")
"""What the tap leaves out, or not whole, of an account that seems to lack the rerun operations."""

CODES = {0, 1, 130, 143}
"""How the tap may end (README)."""


class Extraction:
    """A trial of the tap.

    Args:
        seed: Of the account and of everything that goes wrong.
        folder: Where the trial keeps its files.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        """Draw the account and how it is extracted."""
        self._random = source = random.Random(f"extraction {seed}")
        self._folder = folder
        self.verdict = Verdict(f"tap {seed}")
        # By a draw of its own, which changes nothing else.
        numeric = random.Random(f"ids {seed}").random() < 0.3
        self._account = make_account(source.randrange(1000), "small", numeric_ids=numeric)
        self._account.page_size = source.choice((5, 25, 25))
        self._account.status_codes = source.choice(("newer", "newer", "older"))
        self._ever: dict[str, set[tuple[Any, ...]]] = {name: set() for name in truth.KEYS}
        self._settings: dict[str, Any] = {
            "max_tries": source.choice((2, 3)),
            "max_parallel_requests": source.choice((1, 1, 4)),
            "request_timeout_seconds": 5,
        }
        batch = source.choice((None, None, "jsonl", "parquet"))
        if batch:
            self._settings["batch_config"] = {
                "encoding": {"format": batch},
                "storage": {"root": (folder / "batches").as_uri()},
                "batch_size": source.choice((20, 100, 1000)),
            }
        self._draw_store(seed)
        self._bounds = Bounds(
            ("login", "refresh", *READS, "storage"), 160, 300 if batch else 4000, 60 if batch else 0
        )

    def _draw_store(self, seed: int) -> None:
        """Let some trials use a bucket; by draws of their own, which change nothing else."""
        chance = random.Random(f"exports {seed}")
        self._bucket = drawn(f"objects of {seed}")
        self._exports: Exports | None = None
        if self._bucket and chance.random() < 0.8:
            self._exports = Exports(self._account, self._bucket, chance.choice(NAMES))
        self._late = chance.random() < 0.7
        self._batches_there = self._bucket is not None and chance.random() < 0.8

    def run(self) -> Verdict:
        """Live through some days, and return what that has shown."""
        with self._bucket or nullcontext():
            return self._live()

    def _live(self) -> Verdict:
        if self._bucket and self._batches_there and "batch_config" in self._settings:
            storage = {"root": f"{self._bucket.root}/batches"}
            self._settings["batch_config"] |= {"storage": storage}
        if self._bucket and self._exports:
            self._settings["message_storage_root"] = self._bucket.root
            self._bucket.before_listing = self._exports.export
            self._exports.export()
        token_seconds = self._random.choice((14 * 86_400, 1))
        fetch = self._bucket.get if self._bucket else None
        self._loader = Loader(self._folder / "warehouse.sqlite", fetch)
        try:
            with Sandbox(self._account, token_seconds=token_seconds) as self._sandbox:
                for _ in range(DAYS):
                    self._live_through_a_day()
        finally:
            self._loader.close()
        return self.verdict

    def _live_through_a_day(self) -> None:
        for _ in range(self._random.randint(1, TRIES)):
            schedule = draw(self._random, self._bounds)
            if self._bucket:
                self.verdict.injected.update(self._bucket.fail())
            if self._attempt(schedule) == 0:
                break
        if self._bucket:
            self._bucket.heal()
        self._sandbox.storage.url_seconds = 900
        for _ in range(QUIET_TRIES):
            if (code := self._attempt(QUIET)) == 0:
                break
        else:
            self.verdict.add("not healed", f"exit {code} without a fault")
        self._compare()
        self._change(self._account)

    def _change(self, account: Account) -> None:
        """Let the account live a day; some exports of it come out bit by bit, within a day."""
        self._remember()
        live_a_day(account)
        for _, run in account.runs:
            if run.published_at and (account.now - run.published_at).days:
                run.revealed = len(run.files)
        if self._random.random() < 0.5:
            self.verdict.injected["files that come late"] += 1
            for campaign in account.campaigns.values():
                run = campaign.current_run
                if run.published_at and (account.now - run.published_at).days < 1:
                    run.revealed = self._random.randint(0, len(run.files))
        if self._bucket and self._exports:
            fresh = self._exports.export()
            if self._late and self._bucket.hide(fresh):
                self.verdict.injected["files that are listed late"] += 1

    def _attempt(self, schedule: Schedule) -> int:
        """Run the tap once into the loader, as the last run has left it."""
        self._remember()
        self.verdict.injected.update(schedule.kinds)
        self._sandbox.faults = [replace(fault) for fault in schedule.faults]
        state = self._loader.state
        arguments = []
        if state is not None:
            file = self._folder / "state.json"
            file.write_text(json.dumps(state))
            arguments = ["--state", str(file)]
        stdout = os.open("/dev/full", os.O_WRONLY) if schedule.stdout_full else -1
        settings = self._sandbox.config | self._settings
        plugin = Plugin(
            "tap_nudgescribe",
            self._folder,
            settings,
            arguments,
            schedule.world,
            stdout,
            environment=self._bucket.environment if self._bucket else {},
        )
        blow = schedule.blow
        if blow and blow.request:
            self._at_request(blow.request, lambda _: plugin.signal(blow.signum or 0))
        if schedule.disturbed_at:
            self._at_request(schedule.disturbed_at, self._change)
        plugin.start()
        if schedule.stdout_full:
            os.close(stdout)
        else:
            self._load(plugin, schedule)
        ended = plugin.wait()
        self._sandbox.faults = []
        self._remember()
        self._judge(schedule, ended, state)
        return ended.code

    def _at_request(self, number: int, then: Any) -> None:  # noqa: ANN401 (a callable)
        self._sandbox.faults.insert(0, Fault("*", "change", after=number - 1, then=then))

    def _load(self, plugin: Plugin, schedule: Schedule) -> None:
        together = self._random.choice((1, 1, 3, 1000))
        blow = schedule.blow
        lines: Any = plugin.lines
        if blow and blow.line:
            lines = _striking(plugin, blow.line, blow.signum or 0)
        try:
            self._loader.load(lines, states_together=together, fails_at=schedule.loader_fails_at)
        except LoaderFailedError:
            plugin.hang_up()

    def _judge(self, schedule: Schedule, ended: Ended, state: Any) -> None:  # noqa: ANN401 (JSON)
        profiles = [customer.profile for customer in self._account.customers.values()]
        secrets = list(SECRETS)
        secrets += values_of(profiles, ["E-Mail:Work"])
        self.verdict.ended(ended, secrets)
        self.verdict.told(json.dumps(self._loader.state), secrets, "the state")
        signum = schedule.world.signum or (schedule.blow.signum if schedule.blow else None)
        allowed = CODES | ({-signum} if signum else set())
        if signum is None:
            allowed = {0, 1}
        self.verdict.ended_in(ended, allowed, schedule.kinds)
        listed = self._bucket is None or self._bucket.lists_all
        undisturbed = listed and not (schedule.disturbed_at or schedule.stdout_full)
        if ended.code == 0 and undisturbed and not schedule.loader_fails_at:
            self._compare(READ_BY_RUNS if _cannot_know_of_runs(schedule, ended, state) else ())
        if ended.code == 0 and schedule.stdout_full:
            self.verdict.add("wrong end", "exit 0 although nothing could be written")

    def _remember(self) -> None:
        for stream, keys in self._ever.items():
            keys.update(truth.keys(self._account, stream))

    def _compare(self, without: Collection[str] = ()) -> None:
        """Compare what was loaded with what the account holds, some streams left out."""
        for stream in truth.KEYS:
            if stream not in without:
                self._compare_stream(stream)

    def _compare_stream(self, stream: str) -> None:
        loaded = self._loader.rows(stream)
        properties = self._loader.schemas.get(stream, {}).get("properties", {})
        columns = {s["title"]: name for name, s in properties.items() if "title" in s}
        if stream != "published_messages":
            columns = {}
        for row in truth.rows(self._account, stream):
            key = key_of(stream, row)
            record = loaded.get(key)
            if record is None:
                self.verdict.add("lost", f"{stream} {key} is not there")
                return
            for name, value in row.items():
                expected = sound(name, value)
                found = _value(record, name, columns)
                if not same(found, expected) and not same(_extra(record).get(name), expected):
                    self.verdict.add("lost", f"{stream} {key}: {name} is an old one")
                    return
        foreign = loaded.keys() - self._ever[stream]
        if foreign:
            self.verdict.add("foreign", f"{stream}: {len(foreign)} rows such as {min(foreign)}")
        if stream == "published_messages":
            ids = [_value(record, "Message ID", columns) for record in loaded.values()]
            if len(set(ids)) < len(ids):
                self.verdict.add("doubled", f"{len(ids) - len(set(ids))} messages are there twice")


def _value(record: Row, name: str, columns: Mapping[str, str]) -> Any:  # noqa: ANN401 (JSON)
    """Return a value by its name in the account, from its column or else from ``_extra``.

    A run that can read no message file for a sample knows no columns of messages.
    """
    return record.get(columns.get(name, name), _extra(record).get(name))


def _extra(record: Row) -> Row:
    return record.get("_extra") or {}


def _cannot_know_of_runs(schedule: Schedule, ended: Ended, state: Any) -> bool:  # noqa: ANN401 (JSON)
    """Say whether runs were refused, and no run before has read any: the day's end is to tell."""
    refused = any(
        fault.operation in {"list_runs", "*"} and fault.kind in {"not_found", "refused"}
        for fault in schedule.faults
    )
    known = (state or {}).get("bookmarks", {})
    has_read = any("replication_key_value" in known.get(name, {}) for name in READ_BY_RUNS[:2])
    return refused and not has_read and "does not have the rerun operations" in ended.stderr


def _striking(plugin: Plugin, number: int, signum: int) -> Any:  # noqa: ANN401 (an iterator)
    for count, line in enumerate(plugin.lines, 1):
        if count == number:
            plugin.signal(signum)
        yield line


def run(seed: int, folder: Path) -> Verdict:
    """Run one trial of the tap."""
    with suppress(FileNotFoundError):
        (folder / "warehouse.sqlite").unlink()
    return Extraction(seed, folder).run()
