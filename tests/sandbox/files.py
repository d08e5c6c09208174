"""Message files: CSV exports made on demand, the same bytes every time."""

from __future__ import annotations

import hashlib
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("Message ID", "Customer ID", "Channel", "Subject", "Body", "Send At", "Score")
LATER_COLUMN = "Coupon Code"
LONG_BODY = 200_000
"""Characters in the one very long body."""

_SUBJECTS = (
    "A quiet hello",
    '"Quoted" news, and more',
    "=SUM(A1:A9)",
    "00123",
    "",
    None,
    "Grüße aus dem Süden 🌞",
    "+1 for you",
    " padded ",
    "null",
)
_BODIES = (
    "Come and see what is new.",
    "First line\nsecond line, with a comma",
    'She said "yes", twice ""',
    "",
    None,
    "Windows\r\nline ends",
    "👩‍🚀 to the moon 🚀",
    "nul\x00byte",
    "tab\tand backslash \\ and 'quotes'",
    "lone\rreturn",
    "@cmd",
)
_CHANNELS = ("email", "sms", "push", "WhatsApp")


@dataclass(frozen=True)
class MessageFile:
    """One exported file of a run.

    Attributes:
        number: Position among the run's files, counted from 1.
        customer_ids: Whom the messages are for, as known when the file was made.
        day: About when the messages are to be sent.
    """

    campaign_id: str
    run_number: int
    number: int
    row_count: int
    columns: tuple[str, ...]
    line_end: str
    seed: int
    customer_ids: tuple[str, ...]
    day: datetime
    long_body: bool = False

    def rows(self, limit: int | None = None) -> Iterator[dict[str, str | None]]:
        """Make the rows by column; None is a value that is not there, unlike ""."""
        source = random.Random(f"{self.seed} {self.campaign_id} {self.run_number} {self.number}")
        for position in range(min(self.row_count, limit or self.row_count)):
            yield self._row(source, position)

    def content(self) -> bytes:
        """The file as UTF-8 CSV: null is nothing, an empty text is quoted nothing."""
        return _content(self)

    def etag(self) -> str:
        """A strong entity tag of the content, quoted."""
        return _etag(self)

    def _row(self, source: random.Random, position: int) -> dict[str, str | None]:
        body = _BODIES[position % len(_BODIES)]
        if self.long_body and position == 0:
            body = "long, " * (LONG_BODY // 6) + "done"
        values = (
            str(uuid.UUID(int=source.getrandbits(128), version=4)),
            self.customer_ids[position % len(self.customer_ids)] if self.customer_ids else None,
            _CHANNELS[position % len(_CHANNELS)],
            _SUBJECTS[position % len(_SUBJECTS)],
            body,
            (self.day + timedelta(seconds=position)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            None if position % 13 == 0 else f"{source.random():.4f}",
            f"{source.randrange(100_000):06d}" if position % 3 else None,
        )
        return dict(zip(self.columns, values, strict=False))


@lru_cache(maxsize=8)
def _content(file: MessageFile) -> bytes:
    lines = [",".join(map(_cell, file.columns))]
    lines += [",".join(map(_cell, row.values())) for row in file.rows()]
    return (file.line_end.join(lines) + file.line_end).encode()


@lru_cache(maxsize=1024)
def _etag(file: MessageFile) -> str:
    return f'"{hashlib.sha256(_content(file)).hexdigest()[:32]}"'


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    if value == "" or any(mark in value for mark in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
