"""Compare a stream with the workspace before its first row, and report every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_nudgescribe.errors import NudgescribeError
from tap_nudgescribe.profile import ProfileField
from target_nudgescribe.arrow_text import unsupported
from target_nudgescribe.json_records import kinds_of
from target_nudgescribe.mapping import Problem, StreamMap, map_stream
from target_nudgescribe.names import listed

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    import pyarrow as pa

    from target_nudgescribe.workspace import Workspace


class PreflightError(NudgescribeError):
    """A stream cannot be sent as it is; nothing of it was."""

    exit_code = 4

    def __init__(self, stream: str, problems: Sequence[Problem], *, begun: bool = False) -> None:
        """List all problems.

        Args:
            stream: Its name.
            problems: What is wrong, with the fix.
            begun: Whether rows that came before may have been sent.
        """
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        self._lines = [
            f"The stream {stream} cannot be sent because of {count}:",
            *(f"  {number}. {problem}" for number, problem in enumerate(problems, 1)),
            f"Nothing {'more ' if begun else ''}of it was sent",
        ]
        super().__init__("\n".join(self._lines))

    @override
    def lines(self) -> list[str]:
        """Return a line for each problem, between one that names the stream and a last one."""
        return [*self._lines[:-1], f"{self._lines[-1]}."]


def preflight(  # noqa: PLR0913 (what is compared)
    stream: str,
    properties: Mapping[str, Any],
    key_properties: Sequence[str],
    workspace: Workspace,
    config: Mapping[str, Any],
    *,
    incremental: bool = False,
    filtered: bool = False,
) -> StreamMap:
    """Return where a stream's columns go, after creating fields and the group if that is allowed.

    Args:
        stream: Its name.
        properties: JSON schema properties by column.
        key_properties: Columns that are the stream's key.
        workspace: Where it goes.
        config: The target's settings.
        incremental: Whether the tap says that it sends only what has changed.
        filtered: Whether a stream map leaves out rows.

    Raises:
        PreflightError: with every problem there is. Nothing was created then.
    """
    columns = list(properties)
    first, _ = map_stream(columns, workspace.fields.values(), config)
    planned: list[ProfileField] = []
    if config.get("create_missing_fields"):
        key = _key_to_create(workspace, key_properties, config)
        planned = [
            new_field(workspace.workspace_id, name, properties[name], unique=name in key)
            for name in first.unknown
        ]
    fields = [*workspace.fields.values(), *planned]
    mapped, problems = map_stream(columns, fields, config, key_properties)
    if mapped.unknown and config.get("unknown_columns") == "refuse":
        problems.append(unknown_columns(mapped.unknown, workspace))
    group = config.get("customer_group")
    if group:
        problems += _group_problems(workspace, group, config)
    if config.get("mode") == "mirror" and incremental:
        problems.append(
            Problem(
                "mirror_incremental",
                "mode is mirror, but the tap sends this stream incrementally, so that a customer "
                "who is not in it may still exist",
                "Let the tap send the whole table, or set mode to upsert",
            )
        )
    if config.get("mode") == "mirror" and filtered:
        problems.append(
            Problem(
                "mirror_filtered",
                "mode is mirror, but a stream map has __filter__, so that a customer who is left "
                "out would be deleted",
                "Filter in the tap, so that its table holds whom the group is to hold, or set "
                "mode to upsert",
            )
        )
    if problems:
        raise PreflightError(stream, problems)
    for field in planned:
        workspace.create_field(field)
    if group and not workspace.group_ids(group):
        workspace.create_group(group)
    return map_stream(columns, workspace.fields.values(), config, key_properties)[0]


def unknown_columns(columns: Sequence[str], workspace: Workspace) -> Problem:
    """Return that no profile field takes some columns, with the fields that resemble them."""
    return Problem(
        "unknown_columns",
        f"No profile field takes the columns {listed(columns, workspace.fields, 'the field')}",
        "Deselect them, map them with column_map, set create_missing_fields, or set "
        "unknown_columns to ignore",
    )


def column_problems(schema: pa.Schema, used: Container[str]) -> list[Problem]:
    """Return why columns of a Parquet file cannot be sent.

    Args:
        schema: That of the file.
        used: Columns that go somewhere; of the others only their names matter.
    """
    names = schema.names
    problems = [
        Problem(
            "two_columns",
            f"In a Parquet file two columns are named {name!r}",
            "Rename one of them in the query",
        )
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for field in schema:
        reason = unsupported(field.type) if field.name in used else None
        if reason:
            fix = "Convert it to a text or a number in the query, or deselect it"
            what = f"In a Parquet file the column {field.name!r} {reason}"
            problems.append(Problem("arrow_type", what, fix))
    return problems


def new_field(
    workspace_id: str, name: str, schema: Mapping[str, Any], *, unique: bool
) -> ProfileField:
    """Return the definition of a field for a column, of the type that its JSON schema says."""
    kinds = kinds_of(schema)
    field_type, field_format = "string", None
    if "string" in kinds and schema.get("format") in {"date", "date-time"}:
        field_type, field_format = "Date", "yyyy-MM-dd"
    elif kinds & {"integer", "number"} and "string" not in kinds:
        field_type = "number"
    return ProfileField(workspace_id, "", name, field_type, field_format, unique_identifier=unique)


def _key_to_create(
    workspace: Workspace, key_properties: Sequence[str], config: Mapping[str, Any]
) -> Sequence[str]:
    """Return which new fields are unique identifiers: none if the workspace has one already."""
    if any(field.unique_identifier for field in workspace.fields.values()):
        return ()
    return (config["identifier"],) if config.get("identifier") else key_properties


def _group_problems(workspace: Workspace, group: str, config: Mapping[str, Any]) -> list[Problem]:
    found = workspace.group_ids(group)
    if len(found) > 1:
        return [
            Problem(
                "ambiguous_group",
                f"customer_group names {group!r}, and {len(found)} groups have this name",
                "Give the id of one instead",
            )
        ]
    if found or (config.get("create_missing_groups") and group.strip()):
        return []
    names = [str(each.get("name") or "") for each in workspace.groups.values()]
    return [
        Problem(
            "unknown_group",
            f"customer_group names {listed([group], names, 'the group')}, and the workspace has no "
            "such group",
            "Correct it, create the group, or set create_missing_groups",
        )
    ]
