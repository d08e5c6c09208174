"""Typed columns for the values of customer profiles."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tap_nudgescribe.columns import column_names, columns_of
from tap_nudgescribe.profile import DATE_FORMATS, bounded, parse_currency, parse_day, parse_number
from tap_nudgescribe.records import conversion, kind_of, limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tap_nudgescribe.profile import ProfileField

Schema = dict[str, Any]

_SORTED = msgspec.json.Encoder(decimal_format="number", order="sorted")

_CODE_OF = ("ISO 4217 code of ", ", known from the field's format")
"""Around a field's name: the description of the column that holds its currency's code."""

_SCHEMAS: dict[str, Schema] = {
    "string": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "currency": {"type": ["number", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
}


class Source(NamedTuple):
    """What a column holds."""

    name: str
    """Name of the profile field."""
    is_code: bool = False
    """Whether it is the code of the field's currency, not its value."""


class ProfileColumns:
    """Typed columns for the profile fields of all workspaces.

    Fields of one name share a column. Where their types differ, or one of them is encrypted, the
    column is a string. A currency field has a second column with its code.

    Args:
        fields: The definitions.
        reserved: Column names that are taken.
        known: JSON schema by column, as an earlier catalog has them: their names stay.

    Attributes:
        schema: JSON schema by column, in the order of the fields' names.
    """

    def __init__(
        self,
        fields: Iterable[ProfileField],
        *,
        reserved: Iterable[str],
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Choose name and type of each column."""
        self._fields: dict[str, list[ProfileField]] = {}
        for field in fields:
            self._fields.setdefault(field.name, []).append(field)
        kinds = {name: _common_kind(same) for name, same in sorted(self._fields.items())}
        coded = [name for name, kind in kinds.items() if kind == "currency"]
        columns = _names(kinds, coded, reserved, known or {})
        self.schema: dict[str, Schema] = {}
        for name, kind in kinds.items():
            description = f"Profile field of type {' or '.join(_types(self._fields[name]))}"
            self.schema[columns[Source(name)]] = _SCHEMAS[kind] | {
                "title": name,
                "description": description,
            }
            if kind == "currency":
                self.schema[columns[Source(name, is_code=True)]] = _SCHEMAS["string"] | {
                    "title": f"{name} currency",
                    "description": name.join(_CODE_OF),
                }

    def sources(self, schema: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
        """Return what each column of a catalog holds; no column that is not of a profile.

        A column without a title is that of the field whose name gives it its name.
        """
        result = {column: _source(definition) for column, definition in schema.items()}
        titles = {
            column: source.name if source else None
            for column, source in result.items()
            if not source or not source.is_code
        }
        for name, column in columns_of(self._fields, titles).items():
            result[column] = result[column] or Source(name)
        return {column: source for column, source in result.items() if source is not None}

    def reader(
        self,
        workspace_id: str,
        unparsed: Callable[[str], None],
        schema: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Callable[[Mapping[str, Any]], dict[str, object]]:
        """Return what turns a customer's profile in a workspace into values of all columns.

        Args:
            workspace_id: Whose definitions hold.
            unparsed: Called with a field's name for each value that does not have its column's
                type; the column is null then.
            schema: The columns as the SCHEMA message has them; :attr:`schema` by default. Their
                types hold, whatever the definitions say by now.
        """
        schema = self.schema if schema is None else schema
        sources = self.sources(schema)
        empty = dict.fromkeys(sources)
        definitions = {
            name: next((one for one in same if one.workspace_id == workspace_id), None)
            for name, same in self._fields.items()
        }
        parsers = []
        codes: dict[str, dict[str, str]] = {}
        for column, (name, is_code) in sources.items():
            field = definitions.get(name)
            if not is_code:
                is_text = kind_of(schema[column]) == "string"
                parse = limited(_parser(field, schema[column]), schema[column])
                parsers.append((name, column, parse, not is_text))
            elif field and _kind(field) == "currency" and field.field_format:
                codes.setdefault(name, {})[column] = field.field_format
        plan = [(*parser, codes.get(parser[0], {})) for parser in parsers]

        def read(profile: Mapping[str, Any]) -> dict[str, object]:
            record: dict[str, object] = empty.copy()
            for name, column, parse, blank, code_columns in plan:
                value = profile.get(name)
                if value is None or (blank and value == ""):
                    continue
                try:
                    record[column] = parse(value)
                except (TypeError, ValueError):
                    unparsed(name)
                    continue
                record |= code_columns
            return record

        return read


def as_text(value: object) -> str:
    """Return a value of any JSON type as text; a text as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return _SORTED.encode(value).decode()


def _names(
    names: Iterable[str],
    coded: Iterable[str],
    reserved: Iterable[str],
    known: Mapping[str, Mapping[str, Any]],
) -> dict[Source, str]:
    """Return the column of each field, and of the code of each that is in a currency.

    A field may be called as another one's code column would be: the code column comes first.
    """
    reserved = set(reserved)
    sources = {column: _source(schema) for column, schema in known.items()}
    columns: dict[Source, str] = {}
    for is_code in (True, False):
        titles: dict[str, str | None] = {
            column: source.name
            for column, source in sources.items()
            if source and source.is_code == is_code
        }
        wanted = {f"{name} currency": name for name in coded} if is_code else {n: n for n in names}
        owned = columns_of(wanted.values(), titles)
        kept = {text: owned[name] for text, name in wanted.items() if name in owned}
        given = column_names(
            wanted,
            reserved={*reserved, *known.keys(), *columns.values()} - set(kept.values()),
            known=kept,
        )
        columns |= {Source(name, is_code): given[text] for text, name in wanted.items()}
    return columns


def _source(schema: Mapping[str, Any]) -> Source | None:
    """Return what a column of a catalog holds, as far as its title and description say it."""
    before, after = _CODE_OF
    description = schema.get("description") or ""
    if description.startswith(before) and description.endswith(after):
        return Source(description[len(before) : -len(after)], is_code=True)
    title = schema.get("title")
    return None if title is None else Source(title)


def _common_kind(fields: Sequence[ProfileField]) -> str:
    kinds = {_kind(field) for field in fields}
    return kinds.pop() if len(kinds) == 1 else "string"


def _kind(field: ProfileField) -> str:
    if field.encrypted:
        return "string"
    kind = field.field_type.lower()
    if kind == "date" and field.field_format not in DATE_FORMATS:
        return "string"
    return kind if kind in {"number", "date", "currency"} else "string"


def _parser(field: ProfileField | None, schema: Mapping[str, Any]) -> Callable[[Any], object]:
    """Return what turns a value of a field into a value of its column."""
    kind = kind_of(schema)
    if kind == "string":
        return as_text
    if field and field.encrypted:
        return _no_cipher
    if kind == "number" and field and _kind(field) == "currency":
        return _number_parser(lambda value: parse_currency(value, field.field_format))
    if kind == "number":
        return _number_parser(parse_number)
    if kind == "date":
        return _day_parser(field)
    return conversion(schema)


def _number_parser(parse: Callable[[object], Decimal]) -> Callable[[object], Decimal]:
    def read(value: object) -> Decimal:
        # What JSON writes as a number is within the bounds once it is a Decimal: see decode.
        return value if type(value) is Decimal else bounded(parse(value))

    return read


def _no_cipher(_: object) -> object:
    raise TypeError


def _day_parser(field: ProfileField | None) -> Callable[[object], str]:
    pattern = field.field_format if field and field.field_type.lower() == "date" else None
    form = DATE_FORMATS.get(pattern or "")

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        day = form.parse(value) if form else parse_day(value, DATE_FORMATS["yyyy-MM-dd"])
        return day.isoformat()

    return parse


def _types(fields: Sequence[ProfileField]) -> list[str]:
    return sorted(
        {field.field_type + (" (encrypted)" if field.encrypted else "") for field in fields}
    )
