"""Turn the API's rows into Singer records that keep to their schema and lose nothing."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tap_nudgescribe.contract import JSON_TEXT
from tap_nudgescribe.errors import ContractError
from tap_nudgescribe.identities import identifier_names
from tap_nudgescribe.profile import (
    DATE_FORMATS,
    bounded,
    parse_day,
    parse_integer,
    parse_number,
)
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tap_nudgescribe.envelopes import Row

_JSON = msgspec.json.Encoder(decimal_format="number")

EXTRA = "_extra"
EXTRA_PROPERTY = {
    "type": ["object", "null"],
    "additionalProperties": True,
    "title": "Extra",
    "description": "What the API sends beyond this schema, by its own names",
}


class RecordReader:
    """Reads rows of one kind.

    Every property is there in every record, null when the row lacks it. Keys that the schema
    does not know, and values that do not have its type, go into ``_extra`` as they came, if the
    schema has it.

    Args:
        properties: JSON schema by property, as the SCHEMA message has it.
        keys: Properties that must have a value.
        operation: Where the rows come from, for errors.
        removed: Keys of a row that the user took out of the schema: they do not go into
            ``_extra``.

    Attributes:
        misfits: How many values did not have their property's type, by property.
    """

    def __init__(
        self,
        properties: Mapping[str, Mapping[str, Any]],
        *,
        keys: Sequence[str],
        operation: str,
        removed: Collection[str] = (),
    ) -> None:
        """Choose a conversion for each property once."""
        self._conversions = {
            name: conversion(schema) for name, schema in properties.items() if name != EXTRA
        }
        for name in identifier_names() & self._conversions.keys():
            if self._conversions[name] is _text:
                self._conversions[name] = _identifier
        self._known = self._conversions.keys() | set(removed)
        self._has_extra = EXTRA in properties
        self._keys = keys
        self._operation = operation
        self.misfits: Counter[str] = Counter()

    def read(self, row: Row, **given: Any) -> Row:  # noqa: ANN401 (JSON)
        """Return a row as a record.

        Args:
            row: What the API sent.
            given: Values known from where the row was found; they win over the row's own.

        Raises:
            ContractError: when a key has no value.
        """
        record: Row = {}
        extra: Row = {}
        for name, convert in self._conversions.items():
            value = row.get(name)
            if value is None:
                record[name] = None
                continue
            try:
                record[name] = convert(value)
            except (TypeError, ValueError):
                record[name] = None
                extra[name] = _as_written(value)
                self.misfits[name] += 1
        for name in row.keys() - self._known:
            extra[name] = row[name]
        for name, value in given.items():
            if name in self._conversions:
                record[name] = value
        if self._has_extra:
            record[EXTRA] = extra or None
        for key in self._keys:
            if record[key] is None:
                msg = f"A row has no {key}"
                raise ContractError(msg, operation=self._operation)
        return record


def _as_written(value: object) -> object:
    """Return a value for ``_extra``; an integer that no column holds as text."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    return str(value)


def _identifier(value: object) -> str:
    if not isinstance(value, str):  # the client has made text of what is an identifier
        raise TypeError
    return value


def _timestamp(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return format_timestamp(parse_timestamp(value))


def _day(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return parse_day(value, DATE_FORMATS["yyyy-MM-dd"]).isoformat()


def _number(value: object) -> Decimal:
    return bounded(parse_number(value))


def _exactly(kind: type) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return check


def _never(_: object) -> object:
    raise TypeError


def _json_text(value: object) -> str:
    return _JSON.encode(value).decode()


def _anything(value: object) -> object:
    return value


_CONVERSIONS: dict[str, Callable[[object], object]] = {
    "string": _text,
    "integer": parse_integer,
    "number": _number,
    "boolean": _exactly(bool),
    "object": _exactly(dict),
    "array": _exactly(list),
    "date": _day,
    "date-time": _timestamp,
}


def kind_of(schema: Mapping[str, Any]) -> str | None:
    """Return the type of a property's values, of which a catalog may name several: the first.

    Returns:
        A JSON type; ``date`` or ``date-time`` for texts of that format; ``null`` if nothing else
        is allowed; None if anything is.
    """
    kinds = schema.get("type")
    if kinds is None:
        return None
    listed = [kinds] if isinstance(kinds, str) else kinds
    named: str = next((kind for kind in listed if kind != "null"), "null")
    form = schema.get("format")
    return form if named == "string" and form in {"date", "date-time"} else named


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a property's schema that allows null as well."""
    result = dict(schema)
    kinds = schema.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    if kinds and "null" not in kinds:
        result["type"] = [*kinds, "null"]
    for name in ("anyOf", "oneOf", "enum"):
        null = None if name == "enum" else {"type": "null"}
        if isinstance(schema.get(name), list) and null not in schema[name]:
            result[name] = [*schema[name], null]
    return result


def limits(schema: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    """Return what says whether a value keeps to a schema's limits beside its type; None without.

    A user may have written them into a catalog: ``enum``, and those of lengths and numbers.
    """
    checks: list[Callable[[Any], bool]] = []
    if isinstance(options := schema.get("enum"), list):
        checks.append(lambda value: value in options)
    for name, holds in _LIMITS.items():
        if (limit := schema.get(name)) is not None:
            checks.append(partial(holds, limit))
    return (lambda value: all(check(value) for check in checks)) if checks else None


def _of_text(holds: Callable[[Any, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda limit, value: not isinstance(value, str) or holds(limit, value)


def _of_number(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(limit: Any, value: Any) -> bool:  # noqa: ANN401 (JSON)
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        return not is_number or holds(Decimal(str(limit)), value)

    return check


_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "maxLength": _of_text(lambda limit, value: len(value) <= limit),
    "minLength": _of_text(lambda limit, value: len(value) >= limit),
    "pattern": _of_text(lambda limit, value: re.search(limit, value) is not None),
    "minimum": _of_number(lambda limit, value: value >= limit),
    "maximum": _of_number(lambda limit, value: value <= limit),
    "exclusiveMinimum": _of_number(lambda limit, value: value > limit),
    "exclusiveMaximum": _of_number(lambda limit, value: value < limit),
    "multipleOf": _of_number(lambda limit, value: value % limit == 0),
}


def limited(convert: Callable[[Any], Any], schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a conversion that raises ``ValueError`` for what is beyond a schema's limits."""
    within = limits(schema)
    if within is None:
        return convert

    def check(value: Any) -> Any:  # noqa: ANN401 (JSON)
        converted = convert(value)
        if not within(converted):
            raise ValueError
        return converted

    return check


def conversion(schema: Mapping[str, Any]) -> Callable[[object], object]:
    """Return what turns a JSON value into one of a property's type.

    It raises ``TypeError`` or ``ValueError`` for a value that is none; null is not asked for.
    """
    kind = kind_of(schema)
    if schema.get("contentMediaType") == JSON_TEXT:
        return _json_text
    return limited(_anything if kind is None else _CONVERSIONS.get(kind, _never), schema)
