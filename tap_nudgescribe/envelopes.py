"""Read answers whose envelope is not documented: tolerant of shape, strict about sense."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from tap_nudgescribe.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Row = dict[str, Any]
T = TypeVar("T")

ENVELOPE_KEY = "data"

NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,39}")
"""What a key of the API looks like: no digit, no sign that an address, a number or a text has."""

MOST_NAMES = 25


def read_list(operation: str, answer: object, *, key: str) -> list[Any]:
    """Return the list of a list answer; what is in it is not looked at.

    The list may come bare, under ``data``, under ``key``, or as the only list in the object.

    Raises:
        ContractError: when there is no such list. It names keys, never values.
    """
    rows = _find(answer, key, list)
    if rows is None:
        raise unexpected(operation, answer, f"a list, or an object with {key!r}")
    return rows


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
    """Return a count: bare, under ``key``, under ``data``, or the only integer in the object.

    Raises:
        ContractError: when there is no whole number that is not negative.
    """
    count = _find(answer, key, int)
    if count is None or isinstance(count, bool) or count < 0:
        raise unexpected(operation, answer, f"a number, or an object with {key!r}")
    return count


def read_text(operation: str, answer: object, *, key: str) -> str:
    """Return a text: bare, under ``key``, under ``data``, or the only text in the object.

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
    error = ContractError(f"The answer is {seen}, not {expected}", operation=operation)
    error.keys = frozenset(answer if isinstance(answer, dict) else ())
    return error


def _find(answer: Any, key: str, kind: type[T]) -> T | None:  # noqa: ANN401
    """Return the value of a kind in an answer, wherever an envelope may have put it."""
    if isinstance(answer, kind):
        return answer
    if not isinstance(answer, dict):
        return None
    for name in (key, ENVELOPE_KEY):
        if name in answer:
            inner = answer[name]
            return inner if isinstance(inner, kind) else _find(inner, key, kind)
    if only := _only(answer, kind):
        return only[0]
    objects: list[Row] = _only(answer, dict)
    return _find(objects[0], key, kind) if objects else None


def _only(answer: Row, kind: type[T]) -> list[T]:
    """Return the value of a kind in an object if it is the only one, in a list."""
    found = [value for value in answer.values() if isinstance(value, kind)]
    return found if len(found) == 1 else []
