"""Which column of a stream goes into which profile field, and which fields are the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_nudgescribe.names import ColumnIndex, by_field, listed, matching

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
"""Columns of this package's own tap that are not profile fields."""

TAP_MARKS = frozenset({"workspace_id", "customer_id", "profile", "_extra"})
"""A stream with all of these columns comes from this package's own tap."""

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

    @property
    def columns(self) -> tuple[str | None, ...]:
        """The columns that are read; None for a constant."""
        return (*(one.column for one in self.fields), self.group_column)


def map_stream(
    columns: Sequence[str],
    fields: Iterable[ProfileField],
    config: Mapping[str, Any],
    key_properties: Sequence[str] = (),
) -> tuple[StreamMap, list[Problem]]:
    """Return where a stream's columns go, and every reason why that cannot work.

    A column goes into the profile field of the same name. A column for which there is none goes
    into the only field of its trimmed name, or whose name becomes the column's when it is written
    as a column (``First Name`` as ``first_name``), which is what this package's tap does. Fields to
    which another column goes by a setting or by its exact name do not count.

    Args:
        columns: Names of the stream's columns.
        fields: The workspace's definitions.
        config: The target's settings.
        key_properties: Columns that are the stream's key.
    """
    by_name = {field.name: field for field in fields}
    policies, policy_problems = _policies(by_name, config)
    mapped, problems = _chosen(columns, by_name, config)
    problems += policy_problems
    group_column, group_problems = _group_column(columns, config)
    problems += group_problems
    taken = {column for column, _ in mapped.values()} | {group_column, DELETED_COLUMN}
    free = [column for column in columns if column not in taken]
    for column in free:
        if column in by_name and column not in mapped:
            mapped[column] = column, None
    problems += _map_resembling(free, by_name, mapped, own=set(columns) >= TAP_MARKS)
    taken |= {column for column, _ in mapped.values()}
    ignored = TAP_COLUMNS if set(columns) >= TAP_MARKS else frozenset()
    unknown = [
        column
        for column in free
        if not (column in taken or column in ignored or column.startswith("_sdc_"))
    ]
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
    for written, source in (config.get("column_map") or {}).items():
        if written == GROUP:
            continue
        found = matching(written, by_name)
        if len(found) != 1:
            problems.append(_no_such_field("column_map", written, by_name))
            continue
        name = found[0]
        if name in mapped:
            problems.append(_named_twice("column_map", name))
        if isinstance(source, dict):
            mapped[name] = None, str(source["constant"])
        elif source in columns:
            mapped[name] = source, None
        else:
            problems.append(_no_such_column(name, source, columns))
    return mapped, problems


def _policies(
    by_name: Mapping[str, ProfileField], config: Mapping[str, Any]
) -> tuple[dict[str, str], list[Problem]]:
    """Return what null_policy says, by field and for :data:`ALL`."""
    policies: dict[str, str] = {}
    problems = []
    for written, policy in (config.get("null_policy") or {}).items():
        found = [ALL] if written == ALL else matching(written, by_name)
        if len(found) != 1:
            problems.append(_no_such_field("null_policy", written, by_name))
            continue
        if found[0] in policies:
            problems.append(_named_twice("null_policy", found[0]))
        policies[found[0]] = policy
    return policies, problems


def _map_resembling(
    free: Sequence[str], by_name: Mapping[str, ProfileField], mapped: _Sources, *, own: bool
) -> list[Problem]:
    """Map columns without a field of exactly their name, and return where that is ambiguous.

    Args:
        free: Columns that no setting takes.
        by_name: All fields.
        mapped: What is mapped so far; fields are added.
        own: Whether the stream comes from this package's tap, whose own columns are then no
            profile fields.
    """
    problems = []
    index = ColumnIndex(by_name)
    rest = [column for column in free if column not in by_name]
    wanted: dict[str, list[str]] = {}
    for column, names in by_field(rest, index).items():
        if own and column in TAP_COLUMNS:
            continue
        # A field that has its column already does not want another one.
        open_ = [name for name in names if name not in mapped]
        if len(open_) > 1:
            problems.append(_ambiguous(column, open_))
        elif open_:
            wanted.setdefault(open_[0], []).append(column)
    for name, columns in wanted.items():
        if len(columns) > 1:
            problems.append(_several_columns(name, columns))
        mapped[name] = columns[0], None
    return problems


def _group_column(
    columns: Sequence[str], config: Mapping[str, Any]
) -> tuple[str | None, list[Problem]]:
    named = (config.get("column_map") or {}).get(GROUP)
    if named is not None:
        if named in columns:
            return str(named), []
        return None, [_no_such_column(GROUP, named, columns)]
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
        found = matching(identifier, names)
        if len(found) != 1:
            return (), [
                Problem(
                    "identifier_missing",
                    f"No column goes into the field {identifier!r}, which identifier names",
                    "Map a column to it with column_map, or correct identifier",
                )
            ]
        if unique and found[0] not in unique:
            return (), [
                Problem(
                    "identifier_not_unique",
                    f"identifier names the field {identifier!r}, but the workspace finds customers "
                    f"by {', '.join(sorted(unique))}",
                    "Name one of those, or change the field's flag in Nudgescribe",
                )
            ]
        return (found[0],), []
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


def _no_such_field(setting: str, name: str, known: Iterable[str]) -> Problem:
    return Problem(
        "no_such_field",
        f"{setting} names the profile field {listed([name], known, 'the field')}, which the "
        "workspace does not have",
        "Correct the name, or create the field",
    )


def _named_twice(setting: str, name: str) -> Problem:
    return Problem(
        "named_twice",
        f"{setting} names the profile field {name!r} twice, once with blanks at its ends",
        "Remove one of them",
    )


def _no_such_column(name: str, column: object, known: Iterable[str]) -> Problem:
    return Problem(
        "no_such_column",
        f"column_map names the column {listed([str(column)], known, 'the column')} for {name!r}, "
        "which the stream does not have",
        "Correct the name, or select the column in the tap",
    )


def _several_columns(name: str, columns: Sequence[str]) -> Problem:
    return Problem(
        "ambiguous_column",
        f"The columns {', '.join(map(repr, columns))} could all go into the field {name!r}",
        "Say with column_map which one does",
    )


def _ambiguous(column: str, names: Sequence[str]) -> Problem:
    return Problem(
        "ambiguous_column",
        f"The column {column!r} could go into the fields {', '.join(map(repr, names))}",
        "Say with column_map which one it is",
    )
