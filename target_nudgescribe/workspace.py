"""What the target knows of its workspace: profile fields and customer groups, read once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.client import profile_field

if TYPE_CHECKING:
    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.profile import ProfileField


class Workspace:
    """One workspace of an account.

    Args:
        client: The API.
        workspace_id: Which workspace.
        dry_run: Whether what is created is only noted.
    """

    def __init__(self, client: NudgescribeClient, workspace_id: str, *, dry_run: bool) -> None:
        """Read nothing yet."""
        self.client = client
        self.workspace_id = workspace_id
        self.dry_run = dry_run
        self.created: list[str] = []
        """What was created, or would be: ``group …`` and ``field …``."""

    @cached_property
    def fields(self) -> dict[str, ProfileField]:
        """Profile fields by name."""
        rows = self.client.list_fields(self.workspace_id)
        fields = [profile_field(self.workspace_id, row) for row in rows]
        return {field.name: field for field in fields}

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """Customer groups by id."""
        rows = self.client.list_groups(self.workspace_id)
        return {str(row["customer_group_id"]): row for row in rows}

    def group_ids(self, name_or_id: str) -> list[str]:
        """Return the ids of the groups that a name or an id means: none, one, or homonyms."""
        if name_or_id in self.groups:
            return [name_or_id]
        return [key for key, group in self.groups.items() if group.get("name") == name_or_id]

    def create_group(self, name: str) -> str:
        """Create a customer group and return its id; in a dry run, its name."""
        self.created.append(f"group {name}")
        if self.dry_run:
            self.groups[name] = {"name": name}
            return name
        group = self.client.create_group(self.workspace_id, name)
        group_id = str(group["customer_group_id"])
        self.groups[group_id] = {"name": name} | group
        return group_id

    def create_field(self, field: ProfileField) -> None:
        """Create a profile field as it is defined, apart from its id."""
        self.created.append(f"field {field.name} ({field.field_type})")
        if not self.dry_run:
            row = self.client.create_field(
                self.workspace_id,
                field.name,
                field.field_type,
                field_format=field.field_format,
                unique_identifier=field.unique_identifier or None,
            )
            field = profile_field(self.workspace_id, row)
        self.fields[field.name] = field
