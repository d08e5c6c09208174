"""What the target knows of its workspace: profile fields and customer groups, read once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.client import profile_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.identities import Malformed
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
        self._malformed: Sequence[Malformed] = ()
        self.created: list[str] = []
        """What was created, or would be: ``group …`` and ``field …``."""
        self.groups_revision = self.fields_revision = 0
        """These grow with each change that records of this run make to groups and fields."""

    @cached_property
    def fields(self) -> dict[str, ProfileField]:
        """Profile fields by name."""
        rows = self.client.list_fields(self.workspace_id)
        fields = [profile_field(self.workspace_id, row) for row in rows]
        return {field.name: field for field in fields}

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """Customer groups by id."""
        rows = self.client.list_groups(self.workspace_id, partial=True)
        self._malformed = rows.malformed
        return {row["customer_group_id"]: row for row in rows}

    def group_ids(self, name_or_id: str) -> list[str]:
        """Return the ids of the groups that a name or an id means: none, one, or homonyms.

        A name is compared as it is written and, if no group has it, without blanks at its ends.

        Raises:
            ContractError: when a group that may be meant has no usable id.
        """
        if name_or_id in self.groups:
            return [name_or_id]
        for malformed in self._malformed:
            name = malformed.row.get("name") if isinstance(malformed.row, dict) else None
            if not isinstance(name, str) or name.strip() == name_or_id.strip():
                raise malformed.error
        written, trimmed = self._ids_by_name
        return written.get(name_or_id) or trimmed.get(name_or_id.strip()) or []

    def groups_changed(self) -> None:
        """Note that a group was created, renamed or deleted: what names mean is looked up anew."""
        self.groups_revision += 1
        self.__dict__.pop("_ids_by_name", None)

    def fields_changed(self) -> None:
        """Note that a profile field was created, changed or deleted."""
        self.fields_revision += 1

    @cached_property
    def _ids_by_name(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Ids by name, as it is written and trimmed."""
        written: dict[str, list[str]] = {}
        trimmed: dict[str, list[str]] = {}
        for key, group in self.groups.items():
            name = str(group.get("name") or "")
            written.setdefault(name, []).append(key)
            if name.strip():
                trimmed.setdefault(name.strip(), []).append(key)
        return written, trimmed

    def create_group(self, name: str, description: str | None = None) -> str:
        """Create a customer group and return its id; in a dry run, its name.

        Args:
            name: Blanks at its ends are left out.
            description: None sends none.
        """
        name = name.strip()
        self.created.append(f"group {name}")
        group: dict[str, Any] = {}
        if not self.dry_run:
            group = self.client.create_group(self.workspace_id, name, description=description)
        group_id = str(group["customer_group_id"]) if group else name
        self.groups[group_id] = {"name": name, "description": description} | group
        self.groups_changed()
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

    def plan_field(self, record: Mapping[str, Any]) -> None:
        """Note in a dry run that a record would create a profile field.

        Args:
            record: With the keys of a field definition.
        """
        field = profile_field(self.workspace_id, {"field_id": "", **record})
        self.created.append(f"field {field.name} ({field.field_type})")
        self.fields[field.name] = field
