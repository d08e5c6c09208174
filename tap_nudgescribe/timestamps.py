"""Read the API's timestamps and write them so that text compares as time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_FRACTION = re.compile(r"\.(\d{1,6})\d*")


DATE_LENGTH = 10
"""Characters of the longest date without a time."""

BEHIND_UTC = timedelta(hours=13)
"""How much later a time without a zone may be than the same time in UTC.

The clock farthest behind UTC is 12 hours behind it, and in autumn one hour comes twice.
"""

BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def parse_timestamp(text: str) -> datetime:
    """Return an ISO 8601 timestamp as an aware UTC datetime; a naive one is UTC (assumed).

    Digits beyond microseconds are cut off.

    Raises:
        ValueError: for anything else; the message does not hold the text.
    """
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r".\1", text.strip()))
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        problem = "no ISO 8601 timestamp"
        raise ValueError(problem) from None


def format_timestamp(moment: datetime) -> str:
    """Return ``YYYY-MM-DDTHH:MM:SS.ffffff+00:00``, the form that the SDK writes as well."""
    return moment.astimezone(UTC).isoformat("T", timespec="microseconds")


def moment(value: object) -> datetime | None:
    """Return a timestamp of the API, or None where there is none that can be read."""
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None


def latest(value: object) -> datetime | None:
    """Return the latest moment that a timestamp of the API may mean; None as :func:`moment` has it.

    A time without a zone may be of any zone, and a date may be any moment of its day.
    """
    parsed = moment(value)
    if parsed is None:
        return None
    text = str(value).strip()
    if len(text) <= DATE_LENGTH:
        return later(parsed, timedelta(days=1) + BEHIND_UTC)
    naive = datetime.fromisoformat(_FRACTION.sub(r".\1", text)).tzinfo is None
    return later(parsed, BEHIND_UTC) if naive else parsed


def later(value: datetime, by: timedelta) -> datetime:
    """Return a later moment, or for a negative time an earlier one, within the calendar."""
    try:
        return value + by
    except OverflowError:
        return END if by > timedelta() else BEGINNING
