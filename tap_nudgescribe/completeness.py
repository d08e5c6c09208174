"""Recognise a response that says itself that it is not all there is.

Lists of this API are whole (assumed), and only customers have pages. So a figure or a marker of
further rows beside a list means that rows are missing, and nobody would ask for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tap_nudgescribe.reported_failures import (
    MAX_DEPTH,
    MESSAGES,
    STATUS_WORDS,
    is_empty,
    is_row_id,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOTALS = frozenset(
    ("total", "totalcount", "totalitems", "totalrows", "totalrecords", "totalresults")
) | frozenset(("totalelements", "recordstotal", "count"))

PAGE_TOTALS = frozenset(("totalpages", "pagecount", "pagescount", "numpages", "lastpage"))

MORE = frozenset(
    ("more", "hasmore", "hasnext", "hasnextpage", "moreavailable", "moreresults")
) | frozenset(("truncated", "istruncated", "partial", "ispartial", "incomplete"))
"""True is a sign that rows are missing."""

NEXT = frozenset(
    ("next", "nextpage", "nexturl", "nextlink", "nexthref", "nextcursor", "nexttoken")
) | frozenset(("nextpagetoken", "continuationtoken", "nextoffset"))
"""Anything but an empty value is such a sign."""

WHOLE = frozenset(("complete", "iscomplete", "completed", "finished", "done", "ready", "isready"))
"""False is a sign that something is still on its way."""

UNDER_WAY = frozenset(
    ("processing", "pending", "queued", "preparing", "generating", "exporting", "running")
) | frozenset(("progress", "inprogress", "waiting", "scheduled", "building", "started"))
"""Words of a status."""

UNDER_WAY_MESSAGE = re.compile(
    r"\b(being \w+ed|in progress|not (yet )?(ready|available|finished|complete|done)"
    r"|still \w+ing|is (processing|pending|running|queued)|try again)\b",
    re.IGNORECASE,
)


def more_than(response: object, rows: int) -> str:
    """Return what in a list's response says that there is more than its rows; empty if nothing.

    Args:
        response: As it was decoded.
        rows: How many rows there are, whatever the response may count as such.
    """
    for envelope in _envelopes(response):
        for key, value in envelope.items():
            name = plain(key)
            number = value if isinstance(value, int) and not isinstance(value, bool) else None
            if name in TOTALS and number is not None and number > rows:
                return f"{name} is {number}, and there are {rows} rows"
            if name in PAGE_TOTALS and number is not None and number > 1:
                return f"{name} is {number}"
            if name in MORE and value is True:
                return f"{name} is true"
            if name in NEXT and not is_empty(value):
                return f"{name} is not empty"
            if name in WHOLE and value is False:
                return f"{name} is false"
    return ""


def under_way(response: object, count: int) -> str:
    """Return what in the response to a count says that it is not final; empty if nothing.

    A word or a message counts only with 0, because it may be about something else.
    """
    for envelope in _envelopes(response):
        is_row = any(map(is_row_id, envelope))
        for key, value in envelope.items():
            name = plain(key)
            if name in WHOLE and value is False:
                return f"{name} is false"
            if count or is_row or not isinstance(value, str):
                continue
            if name in STATUS_WORDS and UNDER_WAY & set(re.findall("[a-z]+", value.lower())):
                return f"{name} says that it is under way"
            if name in MESSAGES and UNDER_WAY_MESSAGE.search(value):
                return f"{name} says that it is under way"
    return ""


def _envelopes(response: object, depth: int = 0) -> Iterator[Mapping[str, object]]:
    """Yield the objects around the content of a response."""
    if not isinstance(response, dict) or depth == MAX_DEPTH:
        return
    yield response
    for value in response.values():
        if isinstance(value, dict) and not any(map(is_row_id, value)):
            yield from _envelopes(value, depth + 1)
