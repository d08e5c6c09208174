"""Count how every row ended, and tell it once at the end of a run."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.report import StreamReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    "planned",
)
"""How a row can end. ``planned`` only in a dry run: it would be sent or deleted.

``rejected`` is a row that is the cause of its refusal. ``failed`` is a row that was refused without
proof of that, so that the next run has to send it again.
"""


@dataclass
class StreamOutcomes:
    """The rows of one stream.

    Attributes:
        read: How many rows came.
        ended: How many rows ended in each outcome.
        reasons: How many rows are invalid or rejected for each code; a row may have several.
        counts: Further figures: uploads, bytes, mirror deletes, quarantined rows, rounded amounts.
    """

    read: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    """When the first row could come, and when the last one ended, by a clock of its own."""

    @property
    def refused(self) -> int:
        """Rows that are not in the account because of what they are."""
        return self.ended["invalid"] + self.ended["rejected"]

    @property
    def open(self) -> int:
        """Rows without an outcome."""
        return self.read - sum(self.ended.values())

    def count(self, outcome: str, rows: int) -> None:
        """Note that rows ended so."""
        if outcome not in OUTCOMES:
            raise ValueError(outcome)
        if rows:
            self.ended[outcome] += rows
            self.last = time.monotonic()

    def report(self, name: str) -> StreamReport:
        """Return what a report shows of the stream."""
        return StreamReport(
            name=name,
            rows=self.read,
            outcomes={outcome: self.ended[outcome] for outcome in OUTCOMES if self.ended[outcome]},
            seconds=self.last - self.began,
            bytes=self.counts["bytes"],
            reasons=self.reasons,
            facts={
                figure.replace("_", " "): str(count)
                for figure, count in sorted(self.counts.items())
                if count and figure != "bytes"
            }
            | ({"without an outcome": str(self.open)} if self.open else {}),
        )


@dataclass
class RunOutcomes:
    """The rows of one run, by stream."""

    run_id: str
    streams: dict[str, StreamOutcomes] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What the operator should know besides; names only."""
    created: list[str] = field(default_factory=list)
    """Groups and fields that were created, or in a dry run would be."""

    def stream(self, name: str) -> StreamOutcomes:
        """Return a stream's outcomes."""
        return self.streams.setdefault(name, StreamOutcomes())

    def total(self, outcome: str) -> int:
        """Return the rows of all streams that ended so."""
        return sum(stream.ended[outcome] for stream in self.streams.values())

    def counted(self, figure: str) -> int:
        """Return a further figure over all streams."""
        return sum(stream.counts[figure] for stream in self.streams.values())

    @property
    def read(self) -> int:
        """Rows of all streams that came."""
        return sum(stream.read for stream in self.streams.values())

    @property
    def refused(self) -> int:
        """Rows of all streams that are not in the account because of what they are."""
        return sum(stream.refused for stream in self.streams.values())

    def check(self) -> None:
        """Make sure that every row has ended in exactly one outcome.

        Raises:
            AssertionError: when the figures do not add up, which is a defect of this package.
        """
        for name, stream in self.streams.items():
            if stream.open:
                problem = f"{name}: {stream.open} rows have no outcome"
                raise AssertionError(problem)

    def within(self, config: Mapping[str, Any]) -> bool:
        """Say whether the refused rows are no more than the settings allow."""
        percent = config.get("max_rejected_percent")
        most = config.get("max_rejected_rows")
        if most is None:
            most = 0 if percent is None else self.refused
        share = 100 * self.refused / self.read if self.read else 0
        return self.refused <= most and (percent is None or share <= float(percent))

    def as_json(self, ending: str) -> str:
        """Return the summary as one line of JSON."""
        streams = {
            name: {
                "read": stream.read,
                **{outcome: stream.ended[outcome] for outcome in OUTCOMES},
                "open": stream.open,
                "reasons": dict(sorted(stream.reasons.items())),
                "counts": dict(sorted(stream.counts.items())),
            }
            for name, stream in self.streams.items()
        }
        told = {
            "run_id": self.run_id,
            "ending": ending,
            "streams": streams,
            "created": self.created,
            "warnings": self.warnings,
        }
        return json.dumps(told)

    def as_table(self) -> str:
        """Return the summary as a table for people: outcomes that happened, by stream."""
        columns = [name for name in OUTCOMES if self.total(name)]
        header = ["stream", "read", *columns]
        lines = [
            [name, str(stream.read), *(str(stream.ended[column]) for column in columns)]
            for name, stream in self.streams.items()
        ]
        widths = [max(map(len, cells)) for cells in zip(header, *lines, strict=True)]
        text = [_line(cells, widths) for cells in (header, *lines)]
        for name, stream in self.streams.items():
            text += [
                f"  {name}: {code} ({count} rows)" for code, count in stream.reasons.most_common()
            ]
        text += [f"  created: {name}" for name in self.created]
        return "\n".join([*text, *self.warnings])


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])
