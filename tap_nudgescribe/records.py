"""Turn the API's rows into Singer records that keep to their schema and lose nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.errors import ContractError
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_nudgescribe.envelopes import Row

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
    does not know, and values that do not have its type, go into ``_extra`` as they came.

    Args:
        properties: JSON schema by property.
        keys: Properties that must have a value.
        operation: Where the rows come from, for errors.

    Attributes:
        misfits: How many values did not have their property's type, by property.
    """

    def __init__(
        self, properties: Mapping[str, Mapping[str, Any]], *, keys: Sequence[str], operation: str
    ) -> None:
        """Choose a conversion for each property once."""
        self._conversions = {
            name: _conversion(schema) for name, schema in properties.items() if name != EXTRA
        }
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
                extra[name] = value
                self.misfits[name] += 1
        for name in row.keys() - self._conversions.keys():
            extra[name] = row[name]
        record |= given
        record[EXTRA] = extra or None
        for key in self._keys:
            if record[key] is None:
                msg = f"A row has no {key}"
                raise ContractError(msg, operation=self._operation)
        return record


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return str(value)


def _timestamp(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return format_timestamp(parse_timestamp(value))


def _integer(value: object) -> int:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return int(value)
    raise TypeError


def _exactly(kind: type) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return check


_CONVERSIONS: dict[str, Callable[[object], object]] = {
    "string": _text,
    "integer": _integer,
    "boolean": _exactly(bool),
    "object": _exactly(dict),
    "array": _exactly(list),
}


def _conversion(schema: Mapping[str, Any]) -> Callable[[object], object]:
    if schema.get("format") == "date-time":
        return _timestamp
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return _CONVERSIONS[next(kind for kind in kinds if kind != "null")]
