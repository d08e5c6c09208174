"""Recognise a response that reports a failure although its HTTP status is a success.

Only the envelope counts: the object itself, and the objects that wrap its content. Rows in a list
may have columns called ``error`` or ``status``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WRAPPERS = frozenset(
    ("data", "result", "results", "response", "body", "payload", "output", "meta", "metadata")
) | {"status", "error", "errors"}
"""Keys of objects that belong to an envelope."""

MAX_DEPTH = 4

SUCCESS_FLAGS = frozenset(
    ("success", "successful", "succeeded", "issuccess", "issuccessful", "ok", "isok", "status")
) | {"result"}
"""A false value of one of these is a failure; for status and result, ``false`` only."""

AMBIGUOUS_FLAGS = frozenset(("status", "result"))
"""0 may be a success here."""

FAILURES = frozenset(
    ("error", "errors", "err", "iserror", "haserror", "haserrors", "failed", "failure", "failures")
) | frozenset(
    ("errormessage", "errormessages", "errordescription", "errorcode", "errortype", "exception")
)
"""Anything but an empty value is a failure here."""

STATUS_WORDS = frozenset(("status", "result", "state", "type", "outcome"))
"""A word for a failure is one here, except in an object that has an identifier: a row."""

STATUS_CODES = frozenset(
    ("code", "status", "statuscode", "httpstatus", "httpstatuscode", "httpcode", "errorcode")
)

FAILING = frozenset(
    ("error", "errors", "errored", "fail", "fails", "failed", "failing", "failure", "failures")
) | frozenset(
    ("exception", "fatal", "invalid", "denied", "forbidden", "unauthorized", "unauthorised")
)

MESSAGES = frozenset(("message", "msg", "detail", "details", "description", "reason", "title"))

FAILING_MESSAGE = re.compile(
    r"\b(error|exception|failed|failure|denied|forbidden|unauthori[sz]ed|invalid|not found"
    r"|timed out|time-?out|unable to|cannot|could not|too many requests|limit exceeded"
    r"|missing authentication)\b",
    re.IGNORECASE,
)
SUCCEEDING_MESSAGE = re.compile(
    r"success|\b(no|0|zero|without( any)?) (errors?|fail\w*)", re.IGNORECASE
)

NEGATIONS = frozenset(("no", "non", "none", "without", "0", "zero", "not"))

EMPTY = frozenset(("", "0", "false", "none", "null", "no", "ok", "success", "nil", "n/a"))

NO_ROW = re.compile(r"(request|trace|correlation|transaction|error|job|session|span)_?id$")
"""Identifiers that an envelope may have."""

ERROR_STATUSES = range(400, 600)


@dataclass(frozen=True)
class ReportedFailure:
    """What in a response reports a failure.

    Attributes:
        sign: The key, and what is wrong with it; never a value of the response.
        status: The HTTP status from 400 to 599 that the envelope names, if it does.
    """

    sign: str
    status: int | None = None

    def __str__(self) -> str:
        """Return the sign."""
        return self.sign


def find_failure(response: object) -> ReportedFailure | None:
    """Return what in a decoded JSON response reports a failure; None if nothing does.

    Looked at are success flags (``success``, ``ok``: false, ``"false"``, 0), whatever is not empty
    under ``error``, ``errors``, ``failed`` and the like, a status word or an HTTP status from 400
    on, and a message that is all there is. A list is rows, and rows are not an envelope.
    """
    if not isinstance(response, dict):
        return None
    envelopes = list(_envelopes(response))
    signs = [sign for envelope in envelopes if (sign := _sign(envelope))]
    status = next((code for each in envelopes if (code := _status(each)) is not None), None)
    if signs:
        return ReportedFailure(signs[0], status)
    if status is not None:
        return ReportedFailure(f"the status {status}", status)
    if _is_failing_message(response):
        return ReportedFailure("a message and nothing else")
    return None


def _envelopes(response: Mapping[str, object], depth: int = 0) -> Iterator[Mapping[str, object]]:
    yield response
    if depth == MAX_DEPTH:
        return
    for key, value in response.items():
        if plain(key) in WRAPPERS and isinstance(value, dict):
            yield from _envelopes(value, depth + 1)


def plain(key: str) -> str:
    """Return a key in lower case, without what its words are joined by."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")


def _sign(envelope: Mapping[str, object]) -> str | None:
    """Return which key of an object reports a failure."""
    is_row = any(is_row_id(key) for key in envelope)
    for key, value in envelope.items():
        name = plain(key)
        if name in SUCCESS_FLAGS and _is_false(value, certain=name not in AMBIGUOUS_FLAGS):
            return f"{name} is false"
        if name in FAILURES and not is_empty(value):
            return f"{name} is not empty"
        if name in STATUS_WORDS and not is_row and _is_failing_word(value):
            return f"{name} says that it failed"
    return None


def is_row_id(key: str) -> bool:
    """Say whether a key is the identifier of a row, not one that an envelope may have."""
    lower = key.lower()
    return lower.endswith("id") and not NO_ROW.search(lower)


def _status(envelope: Mapping[str, object]) -> int | None:
    """Return the HTTP status of an error that an object names."""
    if any(is_row_id(key) for key in envelope):
        return None
    for key, value in envelope.items():
        if plain(key) not in STATUS_CODES or isinstance(value, bool):
            continue
        if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value.strip()):
            return int(value)
        if isinstance(value, int | float | Decimal) and value in ERROR_STATUSES:
            return int(value)
    return None


def _is_false(value: object, *, certain: bool) -> bool:
    if isinstance(value, str):
        text = value.strip().lower()
        return text in {"false", "no"} or (certain and text in {"0", "n", "f"})
    return value is False or (certain and value == 0 and value is not None)


def is_empty(value: object) -> bool:
    """Say whether a value says that there is no error."""
    if isinstance(value, dict):
        return all(map(is_empty, value.values()))
    if isinstance(value, list):
        return all(map(is_empty, value))
    if isinstance(value, str):
        return value.strip().lower() in EMPTY
    return not value


def _is_failing_word(value: object) -> bool:
    if not isinstance(value, str):
        return False
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value).lower()))
    return bool(words & FAILING) and not words & NEGATIONS


def _is_failing_message(response: Mapping[str, object]) -> bool:
    """Say whether an object is a message about a failure, and nothing else."""
    texts = [value for key, value in response.items() if plain(key) in MESSAGES]
    rest = [
        key
        for key, value in response.items()
        if plain(key) not in MESSAGES
        and not NO_ROW.search(key.lower())
        and plain(key) not in {"timestamp", "path", "version"}
        and value not in (None, [], {})
    ]
    text = " ".join(value for value in texts if isinstance(value, str))
    return not rest and bool(FAILING_MESSAGE.search(text)) and not SUCCEEDING_MESSAGE.search(text)
