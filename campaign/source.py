"""A warehouse's table of people: what happened to it, and what an account must make of that."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.sandbox.account import Group

Row = dict[str, Any]

STREAM = "people"

MARK = "Zq"
"""In every value of a person, so that one is recognised wherever it should not be."""

REFUSED = "(refused)"
"""In a name that only the API refuses, by a rule of its own."""

COLUMNS: Row = {
    "ref": {"type": "string"},
    "first_name": {"type": ["string", "null"]},
    "birthday": {"type": ["string", "null"], "format": "date"},
    "total_spend": {"type": ["number", "null"]},
}

MAP = {
    "Customer Ref": "ref",
    "First Name": "first_name",
    "Birthday": "birthday",
    "Total Spend": "total_spend",
}


def settings_for(group: Group, folder: Path) -> Row:
    """Return the target's settings that send the table to a group, and keep state in a folder."""
    return {
        "workspace_id": group.workspace_id,
        "customer_group": group.name,
        "column_map": MAP,
        "state_uri": str(folder / "kept"),
    }


_ENDS = (*([""] * 19), f" {REFUSED}")

_EPOCH = date(1960, 1, 1)


@dataclass(frozen=True)
class Event:
    """One change of one person.

    Attributes:
        row: What the table holds then; None when the person is gone.
        valid: Whether the row can be sent.
    """

    ref: str
    row: Row | None
    valid: bool = True

    @property
    def record(self) -> Row:
        """What is read of it."""
        if self.row is None:
            return {"ref": self.ref, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}
        return self.row


@dataclass
class Source:
    """The table with its log.

    Attributes:
        chance: Draws what happens.
        ragged: Whether some rows lack a column.
        most: How many people there are at most; then those come back who were gone.
        events: Everything that has happened, in order; a position in it is a state.
    """

    chance: random.Random
    ragged: bool = True
    most: int | None = None
    events: list[Event] = field(default_factory=list)
    _people: dict[str, Row] = field(default_factory=dict)
    _count: int = 0

    def live_a_day(self, changes: int) -> None:
        """Change the table."""
        for _ in range(changes):
            known = list(self._people)
            what = self.chance.random()
            if what < 0.4 or not known:
                self._put(self._newcomer())
            elif what < 0.85:
                self._put(self.chance.choice(known))
            else:
                ref = self.chance.choice(known)
                del self._people[ref]
                self.events.append(Event(ref, None))

    def _newcomer(self) -> str:
        if self.most is not None and self._count >= self.most:
            return f"{MARK}ref-{self.chance.randint(1, self.most)}"
        self._count += 1
        return f"{MARK}ref-{self._count}"

    def _put(self, ref: str) -> None:
        version = len(self.events)
        day = _EPOCH + timedelta(days=self.chance.randrange(15_000))
        row: Row = {
            "ref": ref,
            "first_name": f"{MARK}name {ref} {version}" + self.chance.choice(_ENDS),
            "birthday": self.chance.choice((day.isoformat(), day.isoformat(), None)),
            "total_spend": self.chance.choice((self.chance.randrange(10**6) / 100, None)),
        }
        if self.ragged and self.chance.random() < 0.2:
            del row[self.chance.choice(("birthday", "total_spend"))]
        valid = self.chance.random() > 0.05
        if not valid:
            row["birthday"] = f"{MARK} no day"
        self._people[ref] = row
        self.events.append(Event(ref, row, valid))

    def changes(self, position: int) -> list[Event]:
        """Return what has happened since a position."""
        return self.events[position:]

    def table(self) -> list[Event]:
        """Return the whole table as it is."""
        last = {event.ref: event for event in self.events}
        return [last[ref] for ref in self._people]


def messages(events: Sequence[Event], first: int, every: int, *, whole: bool) -> Iterator[bytes]:
    """Yield events as Singer messages.

    Args:
        events: Which.
        first: Position of the first one in the log; for a whole table, that of the log's end.
        every: After how many records a state follows.
        whole: Whether they are the whole table, which is said behind its last row.
    """
    yield _line(
        type="SCHEMA",
        stream=STREAM,
        schema={"properties": COLUMNS},
        key_properties=["ref"],
        **({} if whole else {"bookmark_properties": ["version"]}),
    )
    for count, event in enumerate(events, 1):
        yield _line(type="RECORD", stream=STREAM, record=event.record)
        if not whole and count % every == 0:
            yield _line(type="STATE", value={"position": first + count})
    if whole:
        yield _line(type="ACTIVATE_VERSION", stream=STREAM, version=1)
    yield _line(type="STATE", value={"position": first if whole else first + len(events)})


def expected(events: Sequence[Event]) -> dict[str, Row]:
    """Return the profile that each person must have in the account after some events."""
    profiles: dict[str, Row] = {}
    for event in events:
        if event.row is None:
            profiles.pop(event.ref, None)
        elif event.valid:
            profiles[event.ref] = profiles.get(event.ref, {}) | _profile(event.row)
    return profiles


def _profile(row: Row) -> Row:
    return {name: _rendered(name, row[column]) for name, column in MAP.items() if column in row}


def _rendered(name: str, value: Any) -> Any:  # noqa: ANN401 (JSON)
    if value is None:
        return None
    if name == "Birthday":
        return date.fromisoformat(value).strftime("%d/%m/%Y")
    return f"{value:.2f}" if name == "Total Spend" else value


def _line(**message: Any) -> bytes:  # noqa: ANN401 (JSON)
    return json.dumps(message).encode() + b"\n"
