"""``--check``: everything that can be known before the first row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_nudgescribe.printable import printable
from target_nudgescribe.preflight import PreflightError, preflight
from target_nudgescribe.records import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_nudgescribe.workspace import Workspace


def check(workspace: Workspace, config: Mapping[str, Any], catalog: Mapping[str, Any]) -> int:
    """Print what was found on stdout and return the exit code: 0, or 4 for a refused preflight.

    Args:
        workspace: Where rows would go; one that notes only what would be created.
        config: The target's settings.
        catalog: A tap's catalog, or an empty one.

    Raises:
        ApiError: when the account cannot be looked at.
    """
    _say(f"The log-in works; the workspace has {len(workspace.groups)} customer groups.")
    keys = [name for name, field in workspace.fields.items() if field.unique_identifier]
    told = ", ".join(keys) or "none"
    _say(f"It has {len(workspace.fields)} profile fields; unique identifiers: {told}.")
    group = config.get("customer_group")
    if group and len(workspace.group_ids(group)) != 1 and not config["create_missing_groups"]:
        _say(f"FAILS: customer_group names {group!r}, and not one group has this name or id.")
        return PreflightError.exit_code
    code = 0
    for stream in catalog.get("streams", ()):
        name = stream.get("stream") or stream["tap_stream_id"]
        kind = (config.get("stream_kind") or {}).get(name, name)
        if kind in KINDS:
            continue
        try:
            mapped = preflight(
                name,
                stream["schema"].get("properties", {}),
                stream.get("key_properties") or (),
                workspace,
                config,
                incremental=bool(stream.get("replication_key")),
            )
        except PreflightError as error:
            _say(f"FAILS: {error}")
            code = PreflightError.exit_code
        else:
            fields = ", ".join(one.field.name for one in mapped.fields)
            unknown = f"; ignored: {', '.join(mapped.unknown)}" if mapped.unknown else ""
            _say(f"{name} can be sent. Fields: {fields}{unknown}.")
    for created in workspace.created:
        _say(f"A run would create: {created}.")
    return code


def _say(text: str) -> None:
    print(printable(text))  # noqa: T201 (a report)
