"""Check records of groups and fields before the API sees them, as rows of customers are checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from target_nudgescribe.canonical import InputError as NotJsonError
from target_nudgescribe.canonical import ValueFaultError, is_scalar, loads, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Record = dict[str, Any]

MESSAGES = {
    "not_a_text": "A name, an id or a description is not a text or a number",
    "not_a_boolean": "required, unique_identifier and encrypted take true or false",
    "not_a_list": "options takes a list of texts, or the JSON text of one",
    "not_json": "validation_rules takes JSON, or the JSON text of it",
    "not_unicode": "A text is not valid Unicode",
    "format_missing": "A field of type Date or currency needs field_format",
    "field_flag_differs": "The field exists, and unique_identifier or encrypted cannot be changed",
    "field_name_differs": "The field of this id has another name, which cannot be changed",
}
"""What each stable code of these checks means."""


class RefusedError(Exception):
    """A record cannot be applied; the code says why."""

    def __init__(self, *, code: str, retryable: bool = False) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code
        self.retryable = retryable


_IGNORED = ("workspace_id", "_extra")
"""Columns of the tap's streams of groups and fields that say nothing to be applied."""


def _text(value: object) -> str | None:
    """Return a text without blanks at its ends; None for null and blanks."""
    if not is_scalar(value):
        raise RefusedError(code="not_a_text")
    try:
        text = text_of(value)
    except ValueFaultError as fault:
        code = fault.code if fault.code in MESSAGES else "not_a_text"
        raise RefusedError(code=code) from None
    return (text or "").strip() or None


def _description(value: object) -> str | None:
    _text(value)
    return text_of(value)


def _boolean(value: object) -> bool | None:
    if isinstance(value, str):
        value = {"true": True, "false": False, "": None}.get(value.strip().lower(), value)
    if value is None or isinstance(value, bool):
        return value
    raise RefusedError(code="not_a_boolean")


def _options(value: object) -> list[str] | None:
    if isinstance(value, str):
        try:
            value = loads(value.encode()) if value.strip() else None
        except (NotJsonError, UnicodeEncodeError):
            raise RefusedError(code="not_a_list") from None
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_option, value)):
        raise RefusedError(code="not_a_list")
    return [str(_description(each)) for each in value]


def _rules(value: object) -> object:
    """Return rules, whose form is not documented, as any JSON value."""
    try:
        if isinstance(value, str):
            return json.loads(value) if value.strip() else None
        return json.loads(json.dumps(value, default=_number))
    except (ValueError, RecursionError):
        raise RefusedError(code="not_json") from None


def _number(value: object) -> float:
    return float(str(value))


def _is_option(value: object) -> bool:
    return value is not None and is_scalar(value)


_GROUP: Mapping[str, Callable[[object], object]] = {
    "customer_group_id": _text,
    "name": _text,
    "description": _description,
}
_FIELD: Mapping[str, Callable[[object], object]] = {
    "field_id": _text,
    "field_name": _text,
    "field_type": _text,
    "field_format": _text,
    "display_name": _text,
    "required": _boolean,
    "unique_identifier": _boolean,
    "encrypted": _boolean,
    "options": _options,
    "validation_rules": _rules,
}

CHECKS = {"customer_groups": _GROUP, "profile_fields": _FIELD}
"""For each kind of stream that defines the workspace, what reads each column."""

DEFINING: Mapping[str, tuple[str, ...]] = {
    "customer_groups": (*_GROUP, "customer_count", "created_at", "updated_at", *_IGNORED),
    "profile_fields": (*_FIELD, *_IGNORED),
}
"""The columns that a record of each of these kinds may have."""


def checked(kind: str, record: Record) -> Record:
    """Return a record with each value in the type that the API takes.

    A number is the text of its digits; ``true`` and ``false`` may be texts; options may be the
    JSON text of a list. Records of other kinds are returned as they are.

    Raises:
        RefusedError: for a value of another type.
    """
    readers = CHECKS.get(kind, {})
    read = {name: readers[name](value) for name, value in record.items() if name in readers}
    return record | read


def require_format(record: Record) -> None:
    """Make sure that a new field has a format if its type needs one.

    Raises:
        RefusedError: when it has none.
    """
    kind = str(record.get("field_type") or "").lower()
    if kind in {"date", "currency"} and not record.get("field_format"):
        raise RefusedError(code="format_missing")


def written_name(record: Record) -> str:
    """Return what a record calls what it is about; an empty text if it does not say."""
    columns = ("customer_group_id", "name", "field_name", "field_id", "campaign_id")
    named = next((record[name] for name in columns if record.get(name) is not None), "")
    return str(named).encode(errors="backslashreplace").decode()
