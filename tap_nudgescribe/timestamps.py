"""Read the API's timestamps and write them so that text compares as time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FRACTION = re.compile(r"\.(\d{1,6})\d*")


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
