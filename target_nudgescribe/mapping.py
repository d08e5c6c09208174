"""Which column of a stream goes into which profile field, and which fields are the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.columns import column_name, column_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tap_nudgescribe.profile import ProfileField

GROUP = "customer_group"
"""Key of column_map that names the column with the customer group."""

GROUP_COLUMNS = ("customer_group_id", "customer_group")
"""Columns that hold the customer group of a row, unless column_map says otherwise."""

DELETED_COLUMN = "_sdc_deleted_at"

TAP_COLUMNS = frozenset(
    {
        "workspace_id",
        "customer_id",
        "profile",
        "created_at",
        "updated_at",
        "_extra",
        *GROUP_COLUMNS,
    }
)
"""Columns of this package's own tap that are no profile fields."""

ALL = "*"
"""Key of null_policy that holds for every field without one of its own."""


@dataclass(frozen=True)
class Problem:
    """A reason why a stream cannot be sent, and its fix; names only, never values."""

    code: str
    what: str
    fix: str

    def __str__(self) -> str:
        """Return the problem and its fix as two sentences."""
        return f"{self.what}. {self.fix}."


@dataclass(frozen=True)
class MappedField:
    """A profile field and where its values come from: a column, or one text for all rows."""

    field: ProfileField
    column: str | None
    constant: str | None = None
    null_policy: str = "overwrite"


@dataclass(frozen=True)
class StreamMap:
    """Where everything of a stream goes.

    Attributes:
        fields: Profile fields that are sent, in the order of the columns.
        key: Names of the profile fields by which customers are found.
        group_column: Column with the customer group; None when a setting holds for all rows.
        unknown: Columns that no profile field takes.
    """

    fields: tuple[MappedField, ...]
    key: tuple[str, ...]
    group_column: str | None
    unknown: tuple[str, ...]


def map_stream(
    columns: Sequence[str],
    fields: Iterable[ProfileField],
    config: Mapping[str, Any],
    key_properties: Sequence[str] = (),
) -> tuple[StreamMap, list[Problem]]:
    """Return where a stream's columns go, and every reason why that cannot work.

    A column goes into the profile field of the same name or, failing that, into the only field
    whose name becomes the column's when it is written as a column (``First Name`` as
    ``first_name``), which is what this package's tap does.

    Args:
        columns: Names of the stream's columns.
        fields: The workspace's definitions.
        config: The target's settings.
        key_properties: Columns that are the stream's key.
    """
    by_name = {field.name: field for field in fields}
    policies: Mapping[str, str] = config.get("null_policy") or {}
    mapped, problems = _chosen(columns, by_name, config)
    problems += [
        _no_such_field("null_policy", name) for name in policies if name not in {*by_name, ALL}
    ]
    taken = {column for column, _ in mapped.values()}
    group_column, group_problems = _group_column(columns, config)
    problems += group_problems
    unknown = []
    for column in columns:
        if column in taken or column in {group_column, DELETED_COLUMN}:
            continue
        found = _fields_for(column, by_name)
        if len(found) > 1:
            problems.append(_ambiguous(column, found))
        elif found and found[0] not in mapped:
            mapped[found[0]] = column, None
        elif not (column in TAP_COLUMNS or column.startswith("_sdc_")):
            unknown.append(column)
    order = {column: place for place, column in enumerate(columns)}
    fields_sent = tuple(
        MappedField(
            by_name[name], column, constant, policies.get(name, policies.get(ALL, "overwrite"))
        )
        for name, (column, constant) in sorted(
            mapped.items(), key=lambda item: order.get(item[1][0] or "", len(order))
        )
    )
    key, key_problems = _key(
        fields_sent, by_name.values(), config.get("identifier"), key_properties
    )
    return StreamMap(fields_sent, key, group_column, tuple(unknown)), problems + key_problems


_Sources = dict[str, tuple[str | None, str | None]]
"""Profile field to its column or its constant."""


def _chosen(
    columns: Sequence[str], by_name: Mapping[str, ProfileField], config: Mapping[str, Any]
) -> tuple[_Sources, list[Problem]]:
    """Return what column_map says."""
    mapped: _Sources = {}
    problems = []
    for name, source in (config.get("column_map") or {}).items():
        if name == GROUP:
            continue
        if name not in by_name:
            problems.append(_no_such_field("column_map", name))
        elif isinstance(source, dict):
            mapped[name] = None, str(source["constant"])
        elif source in columns:
            mapped[name] = source, None
        else:
            problems.append(_no_such_column(name, source))
    return mapped, problems


def _fields_for(column: str, by_name: Mapping[str, ProfileField]) -> list[str]:
    if column in by_name:
        return [column]
    if column in TAP_COLUMNS:
        return []
    return sorted(name for name in by_name if column in _written_as_columns(name))


def _written_as_columns(name: str) -> set[str]:
    """Return what the tap calls the column of a field: alone, and where names would meet."""
    plain = column_name(name)
    return {plain, column_names([name], reserved=[plain])[name]}


def _group_column(
    columns: Sequence[str], config: Mapping[str, Any]
) -> tuple[str | None, list[Problem]]:
    named = (config.get("column_map") or {}).get(GROUP)
    if named is not None:
        if named in columns:
            return str(named), []
        return None, [_no_such_column(GROUP, named)]
    if config.get("customer_group"):
        return None, []
    for column in GROUP_COLUMNS:
        if column in columns:
            return column, []
    problem = Problem(
        "no_group",
        "It is not known which customer group the rows belong to",
        "Set customer_group, or give the rows a column customer_group_id or one that column_map "
        "names for customer_group",
    )
    return None, [problem]


def _key(
    sent: Sequence[MappedField],
    fields: Iterable[ProfileField],
    identifier: str | None,
    key_properties: Sequence[str],
) -> tuple[tuple[str, ...], list[Problem]]:
    """Return the field that is the key.

    Of several unique identifiers it is the one that the stream's own key goes into, else one that
    every customer has: a row that deletes may hold no other.
    """
    unique = {field.name for field in fields if field.unique_identifier}
    names = [mapped.field.name for mapped in sent]
    if identifier:
        if identifier not in names:
            return (), [
                Problem(
                    "identifier_missing",
                    f"No column goes into the field {identifier!r}, which identifier names",
                    "Map a column to it with column_map, or correct identifier",
                )
            ]
        if unique and identifier not in unique:
            return (), [
                Problem(
                    "identifier_not_unique",
                    f"identifier names the field {identifier!r}, but the workspace finds customers "
                    f"by {', '.join(sorted(unique))}",
                    "Name one of those, or change the field's flag in Nudgescribe",
                )
            ]
        return (identifier,), []
    candidates = [mapped for mapped in sent if mapped.field.name in unique]
    if candidates:
        best = max(candidates, key=lambda one: (one.column in key_properties, one.field.required))
        return (best.field.name,), []
    fix = (
        f"Map a column to {' or '.join(sorted(unique))}"
        if unique
        else "Mark a field as unique identifier in Nudgescribe, or set identifier"
    )
    what = "No column goes into a field that is a unique identifier"
    return (), [Problem("identifier_missing", what, fix)]


def _no_such_field(setting: str, name: str) -> Problem:
    return Problem(
        "no_such_field",
        f"{setting} names the profile field {name!r}, which the workspace does not have",
        "Correct the name, or create the field",
    )


def _no_such_column(name: str, column: object) -> Problem:
    return Problem(
        "no_such_column",
        f"column_map names the column {column!r} for {name!r}, which the stream does not have",
        "Correct the name, or select the column in the tap",
    )


def _ambiguous(column: str, names: Sequence[str]) -> Problem:
    return Problem(
        "ambiguous_column",
        f"The column {column!r} could go into the fields {', '.join(map(repr, names))}",
        "Say with column_map which one it is",
    )
