"""How far an incremental stream has come: one bookmark, and what is unfinished behind it.

A stream's state is ``{"replication_key", "replication_key_value", "unfinished": {part: …}}``.
A part is a customer group or a campaign. A part that failed stays in ``unfinished`` with the
value it has to start from, so the bookmark can move on for the others and nothing is lost. State
does not grow with the account, only with what is unfinished.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.timestamps import (
    format_timestamp,
    later,
    latest,
    moment,
    parse_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTLED_AFTER = timedelta(days=1)
"""What is older than this will not get a twin of the same time.

It is compared with the latest moment that a timestamp may mean, so the zone does not matter; a day
allows for clocks of the API that differ, and for exports that take their time.
"""

MAX_LOOKBACK_DAYS = 1_000_000
"""More days than the calendar has."""


CURRENT_RUNS_ONLY = "current_runs_only"
"""What the state says of messages that were read without the rerun operations."""


def had_reruns(bookmarks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether a state's bookmarks show that an earlier run has read campaigns' runs."""
    read_by_runs = ("campaign_runs", "run_messages", "published_messages")
    return any(
        "replication_key_value" in state and CURRENT_RUNS_ONLY not in state
        for state in (bookmarks.get(name, {}) for name in read_by_runs)
    )


class Bookmark:
    """The bookmark of one stream.

    Args:
        state: The stream's own, writable state.
        replication_key: Name of the property that the bookmark holds.
        config: Settings ``start_date``, ``end_date`` and ``lookback_days``.
        incremental: Whether the bookmark counts at all; otherwise everything is read.
    """

    def __init__(
        self,
        state: dict[str, Any],
        *,
        replication_key: str,
        config: Mapping[str, Any],
        incremental: bool,
    ) -> None:
        """Read where to start from; the state is not touched."""
        self._state = state
        self._key = replication_key
        self._incremental = incremental
        self._seen: datetime | None = None
        self._held = False
        self._held_at: datetime | None = None
        self._lookback = timedelta(days=min(config.get("lookback_days") or 0, MAX_LOOKBACK_DAYS))
        self._floor = _moment(config.get("start_date")) if incremental else None
        self.end = _moment(config.get("end_date")) if incremental else None
        value = None
        if incremental and state.get("replication_key") in {None, replication_key}:
            value = _moment(state.get("replication_key_value"))
        self._start = value
        self._unfinished: dict[str, Any] = dict(state.get("unfinished", {})) if incremental else {}

    @property
    def unfinished(self) -> Mapping[str, Any]:
        """What earlier runs left unfinished, by part."""
        return self._unfinished

    @property
    def start(self) -> datetime | None:
        """From when on parts are read that nothing is unfinished of; None for everything."""
        return self._from(self._start)

    def start_of(self, *parts: str) -> datetime | None:
        """Return from when on something has to be read; None for everything.

        Args:
            parts: What it belongs to, from the inside out; the first unfinished one decides.
        """
        for part in parts:
            if part in self._unfinished:
                return self._from(_moment(self._unfinished[part]["since"]))
        return self.start

    def start_of_new(self) -> datetime | None:
        """Return from when on a part has to be read that earlier runs did not know."""
        return self._floor

    def is_new(self, created: datetime | None) -> bool:
        """Say whether a part may be unknown to earlier runs, by when it came to be."""
        return created is None or self._start is None or created >= self._start

    def covers(self, value: object, start: datetime | None) -> bool:
        """Say whether a row is to be sent.

        A bookmark never passes the server's time, so that whatever changed since it was written
        has a latest moment that is not before it. The settings ``start_date`` and ``end_date``
        are compared with the value as if it were of UTC, so that windows do not overlap.

        Args:
            value: The replication key as the API sent it; without one, a row is always sent.
            start: From when on.
        """
        since, at_latest = moment(value), latest(value)
        if since is None or at_latest is None:
            return True
        if start is not None and at_latest < start:
            return False
        if self._floor and since < self._floor:
            return False
        return self.end is None or since < self.end

    def saw(self, value: datetime | None) -> None:
        """Remember the greatest value, a latest moment, of what was sent whole."""
        if value is not None and (self._seen is None or value > self._seen):
            self._seen = value

    def passed(self, value: datetime) -> bool:
        """Say whether a value lies beyond all that were sent."""
        return self._seen is not None and value > self._seen

    def hold(self, value: datetime | None) -> None:
        """Keep the bookmark from moving past a value, or at all if that is not known.

        For what failed and cannot be written as unfinished, because it has no usable identifier.
        """
        if not self._held or value is None:
            self._held_at = value
        elif self._held_at is not None:
            self._held_at = min(self._held_at, value)
        self._held = True

    def keep(self, part: str, *, within: str = "", **progress: Any) -> None:  # noqa: ANN401 (JSON)
        """Write that a part is unfinished, from where it started and how far it came.

        Args:
            part: What is unfinished.
            within: An unfinished part that it belongs to: then it started where that did.
            progress: How far it came.
        """
        if not self._incremental:
            return
        known = self._unfinished.get(part) or self._unfinished.get(within)
        since = known["since"] if known else self._start and format_timestamp(self._start)
        self._unfinished[part] = {"since": since, **progress}
        self._write_unfinished()

    def done(self, part: str) -> None:
        """Write that a part is finished."""
        if self._unfinished.pop(part, None) is not None:
            self._write_unfinished()

    def forget_except(self, parts: set[str]) -> None:
        """Drop what is unfinished of parts that the account no longer has."""
        for part in self._unfinished.keys() - parts:
            self.done(part)

    def note_runs(self, *, all_known: bool) -> None:
        """Write whether only current runs are read; read everything again once all are known.

        The runs before a current one have been passed over, and nothing else would read them.
        """
        if not self._incremental:
            return
        if not all_known:
            self._state[CURRENT_RUNS_ONLY] = True
        elif self._state.pop(CURRENT_RUNS_ONLY, None):
            self._state.pop("replication_key_value", None)
            self._start = None
            self._unfinished = {}
            self._write_unfinished()

    def advance(self, as_of: datetime) -> None:
        """Move the bookmark to the greatest value seen, once the whole stream has been read.

        Args:
            as_of: The server's time when reading began. The bookmark never passes it, because
                what changed later may have been missed; nor does it pass ``end_date``.
        """
        if not self._incremental or self._seen is None:
            return
        reached = min(self._seen, as_of)
        if as_of - reached > SETTLED_AFTER:
            # Bookmarks are inclusive, for ties; an old one has none to come.
            reached = later(reached, timedelta(microseconds=1))
        if self.end:
            reached = min(reached, self.end)
        if self._held:
            if self._held_at is None:
                return
            reached = min(reached, self._held_at)
        if self._start is None or reached > self._start:
            self._state["replication_key"] = self._key
            self._state["replication_key_value"] = format_timestamp(reached)

    def _from(self, start: datetime | None) -> datetime | None:
        if start is not None:
            start = later(start, -self._lookback)
        if self._floor and (start is None or start < self._floor):
            return self._floor
        return start

    def _write_unfinished(self) -> None:
        # The same object each time, because a copy of each step would be quadratic. Each step is
        # one change of it: a STATE message may be written between any two.
        if self._unfinished:
            self._state["unfinished"] = self._unfinished
        else:
            self._state.pop("unfinished", None)


def _moment(value: str | None) -> datetime | None:
    return parse_timestamp(value) if value else None
