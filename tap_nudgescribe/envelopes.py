"""Read answers whose envelope is not documented: tolerant of shape, strict about sense."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from tap_nudgescribe.completeness import more_than, under_way
from tap_nudgescribe.errors import ContractError
from tap_nudgescribe.reported_failures import ReportedFailure, find_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = [
    "ReportedFailure",
    "find_failure",
    "read_count",
    "read_list",
    "read_object",
    "read_text",
    "read_url",
    "rows_missing",
    "told",
    "unexpected",
]

Row = dict[str, Any]
T = TypeVar("T")

ENVELOPE_KEY = "data"

NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,39}")
"""What a key of the API looks like: no digit, no sign that an address, a number or a text has."""

MOST_NAMES = 25

NO_CONTENT = re.compile(
    r"errors?|err|failed|failures?|warnings?|messages?|notices?|infos?|info|hints?|details?|debug"
    r"|logs?|links?|meta|metadata|paging|pagination|deprecations?|headers?|request|context|trace"
)
"""Keys beside the content of a response, never the content; without ``_`` and in lower case."""

COUNT_KEYS = (
    *("page_count", "total_pages", "pages_count", "num_pages", "number_of_pages"),
    *("file_count", "total_files", "files_count", "num_files", "number_of_files", "files"),
)
"""Keys that can be nothing but the number of pages or files."""

LONE_COUNT_KEYS = ("count", "total")
"""Keys of a number of pages or files if the object has no other number."""

COUNT = re.compile(r"\d{1,9}")

PART_ADVICE = (
    "The API is assumed to send whole lists. Report the operation and this sign, with the file "
    "that --check --shapes writes."
)

URL = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)


def read_list(operation: str, answer: object, *, key: str) -> list[Any]:
    """Return the list of a list answer; what is in it is not looked at.

    The list may come bare, under ``data``, under ``key``, or as the only list in the object that
    can be its content. Null where the list belongs is an empty list.

    Raises:
        ContractError: when there is no such list. It names keys, never values.
    """
    rows = _find(answer, key, list)
    if rows is None and _is_null(answer, key):
        return []
    if rows is None:
        raise unexpected(operation, answer, f"a list, or an object with {key!r}")
    return rows


def rows_missing(operation: str, answer: object, rows: int) -> ContractError | None:
    """Return an error, to be raised or kept, if the envelope of a list says that there is more.

    Args:
        operation: The operation.
        answer: Its answer, of which :func:`read_list` has read the list.
        rows: How many rows it has, in whatever way the API may count them.
    """
    if not (sign := more_than(answer, rows)):
        return None
    problem = f"The list says itself that it is not all there is: {sign}"
    return ContractError(problem, operation=operation, advice=PART_ADVICE)


def read_object(operation: str, answer: object, *, required: Collection[str]) -> Row:
    """Return the object of an answer: bare, under ``data``, or the only object in it.

    Raises:
        ContractError: when there is none that has the required keys.
    """
    candidates = [answer]
    if isinstance(answer, dict):
        candidates += [answer.get(ENVELOPE_KEY), *_only(answer, dict)]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate.keys() >= set(required):
            return candidate
    raise unexpected(operation, answer, f"an object with {', '.join(sorted(required))}")


def read_count(operation: str, answer: object, *, key: str) -> int:
    """Return a count: bare, under ``key``, under ``data``, or under a key that is one of a count.

    Raises:
        ContractError: when there is no whole number that is not negative, or it is not final.
    """
    count = _count_in(answer, key)
    if count is not None and (sign := under_way(answer, count)):
        problem = f"The count is not final: {sign}"
        raise ContractError(problem, operation=operation, advice="Run again later.")
    if count is None:
        raise unexpected(operation, answer, f"a number, or an object with {key!r}")
    return count


def read_url(operation: str, answer: object, *, key: str) -> str:
    """Return a URL: bare, under ``key``, under ``data``, or the only http(s) URL in the object.

    Raises:
        ContractError: when there is none; another text is not a URL.
    """
    text = _find(answer, key, str)
    if text is None or not URL.fullmatch(text):
        known = [text for text in _texts(answer) if URL.fullmatch(text)]
        text = known[0] if text is None and len(known) == 1 else None
    if text is None:
        raise unexpected(operation, answer, f"a URL, or an object with {key!r}")
    return text


def read_text(operation: str, answer: object, *, key: str) -> str:
    """Return a text: bare, under ``key``, or under ``data``. No other text of an object is meant.

    Raises:
        ContractError: when there is none.
    """
    text = _find(answer, key, str)
    if not text:
        raise unexpected(operation, answer, f"a text, or an object with {key!r}")
    return text


def told(keys: Iterable[object]) -> str:
    """Return keys as text for people: those that look like names, and how many others there are.

    An object may be keyed by values, such as addresses, and those must not be told.
    """
    texts = sorted(map(str, keys))
    names = [text for text in texts if NAME.fullmatch(text)][:MOST_NAMES]
    others = len(texts) - len(names)
    return ", ".join([*names, *([f"{others} other keys"] if others else [])])


def unexpected(operation: str, answer: object, expected: str) -> ContractError:
    """Describe an answer by its type and keys, beside what was expected."""
    seen = (
        f"an object with {told(answer) or 'no keys'}"
        if isinstance(answer, dict)
        else {list: "a list", str: "a text", type(None): "nothing"}.get(type(answer), "a value")
    )
    return ContractError(f"The answer is {seen}, not {expected}", operation=operation)


def _find(answer: Any, key: str, kind: type[T]) -> T | None:  # noqa: ANN401
    """Return the value of a kind in an answer, wherever an envelope may have put it.

    A text is found under ``key`` and ``data`` only: an envelope has texts of its own.
    """
    if isinstance(answer, kind):
        return answer
    if not isinstance(answer, dict):
        return None
    for name in (key, ENVELOPE_KEY):
        if answer.get(name) is not None:
            inner = answer[name]
            return inner if isinstance(inner, kind) else _find(inner, key, kind)
    if kind is not str and (only := _only(answer, kind)):
        return only[0]
    objects: list[Row] = _only(answer, dict)
    return _find(objects[0], key, kind) if objects else None


def _only(answer: Row, kind: type[T]) -> list[T]:
    """Return the value of a kind in an object if it is the only one that can be content."""
    found = [
        value
        for name, value in answer.items()
        if isinstance(value, kind) and not NO_CONTENT.fullmatch(name.lower().replace("_", ""))
    ]
    return found if len(found) == 1 else []


def _is_null(answer: object, key: str) -> bool:
    """Say whether an answer has null where its content belongs."""
    if not isinstance(answer, dict):
        return False
    for name in (key, ENVELOPE_KEY):
        if name in answer:
            return answer[name] is None or _is_null(answer[name], key)
    objects: list[Row] = _only(answer, dict)
    return bool(objects) and _is_null(objects[0], key)


def _count_in(answer: object, key: str) -> int | None:
    """Return a count, if an answer has one where a count belongs."""
    if not isinstance(answer, dict):
        return _whole_number(answer)
    for name in (key, ENVELOPE_KEY, *COUNT_KEYS):
        if answer.get(name) is not None:
            return _count_in(answer[name], key)
    numbers = [name for name, value in answer.items() if _whole_number(value) is not None]
    if len(numbers) == 1 and numbers[0] in LONE_COUNT_KEYS:
        return _whole_number(answer[numbers[0]])
    objects: list[Row] = _only(answer, dict)
    return _count_in(objects[0], key) if objects and not numbers else None


def _whole_number(value: object) -> int | None:
    """Return a number from 0 on that may be written as text, or None."""
    if isinstance(value, str) and COUNT.fullmatch(value):
        return int(value)
    if isinstance(value, float | Decimal) and value == value // 1 and value < 2**53:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _texts(answer: object) -> list[str]:
    """Return the texts of an object, and of the only object in it."""
    if not isinstance(answer, dict):
        return []
    texts = [value for value in answer.values() if isinstance(value, str)]
    return texts or [text for inner in _only(answer, dict) for text in _texts(inner)]
