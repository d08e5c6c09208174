"""What an HTTP status means here, which is not always what it means in HTTP."""

from __future__ import annotations

import email.utils
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tap_nudgescribe import errors
from tap_nudgescribe.json_decoding import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

LONGEST_WAIT_SECONDS = 120.0
"""Upper bound of one wait between tries, whatever Retry-After says."""


class Passing(Exception):  # noqa: N818
    """A failure that may pass, with the seconds that the server asked to wait."""

    def __init__(self, error: errors.ApiError, wait: float | None = None) -> None:
        """Keep both."""
        self.error = error
        self.wait = wait


_REFUSALS: dict[int, tuple[type[errors.BadRequestError], str]] = {
    400: (errors.BadRequestError, "The API refuses the request (400)"),
    409: (errors.ConflictError, "The request conflicts with what the account holds (409)"),
    422: (errors.UnprocessableError, "The API does not accept what the request holds (422)"),
}
"""Statuses that refuse what the request holds, and whose body may say why."""

_FINAL: dict[int, tuple[type[errors.ApiError], str]] = {
    403: (errors.AccessError, "The API refuses access (403)"),
    404: (errors.NotFoundError, "Not found (404)"),
    413: (errors.TooLargeError, "The request is too large (413)"),
}
"""Statuses with one meaning each, after which another try makes no sense."""

_PASSING: dict[int, tuple[type[errors.ApiError], str]] = {
    # A part of the request may have arrived, and been done.
    408: (errors.NetworkError, "The API says that the request took too long to arrive (408)"),
    425: (errors.ServerError, "The API says that the request came too early (425)"),
    429: (errors.RateLimitError, "Too many requests (429)"),
}
"""Statuses after which another try may succeed."""


def refusal(
    name: str,
    response: requests.Response,
    content: bytes,
    body: Mapping[str, object] | None,
    *,
    status: int | None = None,
) -> Exception:
    """Return the error that a response other than success means.

    Args:
        name: The operation.
        response: The response.
        content: Its whole body.
        body: What was sent; only the names of its fields are told.
        status: The status that the envelope of a response with status 200 names.
    """
    status = status or response.status_code
    if status in _REFUSALS:
        kind, problem = _REFUSALS[status]
        refused = kind(problem, operation=name)
        refused.answer = decoded(content)
        return refused
    if status in _FINAL:
        final, problem = _FINAL[status]
        return final(problem, operation=name)
    if status == 401:
        fields = ", ".join(sorted(body or ())) or "none"
        problem = f"The API says a required field is missing (401); fields sent: {fields}"
        return errors.MissingFieldsError(problem, operation=name)
    if status == 503 and name == "publish_messages":
        return errors.QuotaError("The publishing quota is used up (503)", operation=name)
    if status in _PASSING or status >= 500:
        passing, problem = _PASSING.get(
            status, (errors.ServerError, f"The API has failed ({status})")
        )
        return Passing(passing(problem, operation=name), retry_after(response.headers))
    return _unknown(name, status)


def _unknown(name: str, status: int) -> errors.ContractError:
    if 300 <= status < 400:
        # Wherever it leads, the bearer or the log-in would go along.
        problem = f"The API redirects ({status}), which is not followed"
        advice = "Set api_url to the address that answers by itself."
        return errors.ContractError(problem, operation=name, advice=advice)
    problem = f"The API answers with an unknown status ({status})"
    error = errors.ContractError(problem, operation=name)
    error.refused = 400 <= status < 500
    return error


def decoded(content: bytes) -> object:
    """Return decoded JSON; None for what is not JSON."""
    with suppress(ValueError, RecursionError):
        return decode(content)[0]
    return None


def download_error(operation: str, response: requests.Response) -> errors.ApiError:
    """Return the error that a status of the storage means."""
    status = response.status_code
    match status:
        case 400 | 401 | 403 | 404 | 410:
            problem = f"The storage refuses the download URL ({status}); it may have expired"
            return errors.AccessError(problem, operation=operation)
        case int() if status >= 500 or status in {408, 425, 429}:
            error = errors.ServerError(f"The storage has failed ({status})", operation=operation)
            error.wait = retry_after(response.headers)
            return error
        case 412 | 416:
            problem = f"The file changed while it was read ({status})"
            return errors.RangeRefusedError(problem, operation=operation)
        case _:
            problem = f"The storage does not answer a download as asked ({status})"
            return errors.ContractError(problem, operation=operation)


EARLIEST, LATEST = datetime(2015, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Between these a date in a header is believed. A bookmark never passes the server's time."""

LONGEST_DATE = 64
"""Characters of a date in a header."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, clamped; None without it or for nonsense.

    A date is taken by the server's own clock, its Date header, where it tells it.
    """
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        until = http_date(text)
        if until is None:
            return None
        seconds = (
            until - (http_date(headers.get("Date", "")) or datetime.now(UTC))
        ).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


def http_date(text: str) -> datetime | None:
    """Return the moment that a header names; None for what is no date of these times."""
    if len(text) > LONGEST_DATE:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
        known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return known.astimezone(UTC) if EARLIEST <= known <= LATEST else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
