"""Rows, tables and an API that takes everything: what the target's measurements share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tap_nudgescribe.client import Upload
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.transport import ConnectionOptions

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS: dict[str, dict[str, Any]] = {"email": {"type": "string"}}
for _number in range(29):
    COLUMNS[f"column_{_number}"] = [
        {"type": ["string", "null"]},
        {"type": ["integer", "null"]},
        {"type": ["number", "null"]},
        {"type": ["string", "null"], "format": "date"},
        {"type": ["string", "null"]},
        {"type": ["string", "null"]},
    ][_number % 6]
"""30 columns: a key, and texts, numbers, amounts and dates in turn."""

SCHEMA = {
    "type": "SCHEMA",
    "stream": "people",
    "key_properties": ["email"],
    "schema": {"properties": COLUMNS},
}

STATE = {"type": "STATE", "value": {"bookmarks": {}}}


def record(number: int, version: int = 0) -> dict[str, Any]:
    """Return a row; another version differs in one column."""
    row: dict[str, Any] = {"email": f"person{number}@example.com"}
    for place in range(29):
        kind = place % 6
        row[f"column_{place}"] = (
            f"some text of row {number + version}",
            number * 7 + place,
            (number % 9973) + 0.25 * (place % 4),
            f"{1940 + number % 80}-0{1 + place % 9}-1{number % 10}",
            None if number % 3 else "Berlin, Germany",
            f"value {place}",
        )[kind]
    return row


def write_messages(path: Path, numbers: range, *, changed: range = range(0)) -> int:
    """Write a whole Singer stream to a file and return its size."""
    with path.open("w") as file:
        file.write(json.dumps(SCHEMA) + "\n")
        for number in numbers:
            row = record(number, version=int(number in changed))
            message = {"type": "RECORD", "stream": "people", "record": row}
            file.write(json.dumps(message) + "\n")
        file.write(json.dumps(STATE) + "\n")
    return path.stat().st_size


def field_of(name: str, number: int) -> dict[str, Any]:
    """Return the definition of the profile field for a column."""
    schema = COLUMNS[name]
    kind, form = "string", None
    if "integer" in schema["type"]:
        kind = "number"
    elif "number" in schema["type"]:
        kind, form = "currency", "EUR"
    elif schema.get("format") == "date":
        kind, form = "Date", "dd/MM/yyyy"
    return {
        "field_id": f"f{number}",
        "field_name": name,
        "field_type": kind,
        "field_format": form,
        "unique_identifier": name == "email",
    }


@dataclass
class TakesEverything:
    """Stands where the client does: its fields fit, and uploads go nowhere."""

    options: ConnectionOptions = field(
        default_factory=lambda: ConnectionOptions(api_url="http://127.0.0.1:1")
    )
    bytes: int = 0
    uploads: int = 0
    groups: Listing = field(
        default_factory=lambda: Listing([{"customer_group_id": "g", "name": "Everyone"}])
    )

    def list_fields(self, _: str) -> list[dict[str, Any]]:
        """Return a field for each column."""
        return [field_of(name, number) for number, name in enumerate(COLUMNS)]

    def list_groups(self, _: str, **__: object) -> Listing:
        """Return the one group."""
        return self.groups

    def upload_customers(self, _workspace: str, _group: str, csv: bytes, **_: object) -> Upload:
        """Count what would have been sent."""
        self.bytes += len(csv)
        self.uploads += 1
        # This is not the target's work, and bytes.count would take three times as long.
        rows = np.count_nonzero(np.frombuffer(csv, np.uint8) == ord("\n")) - 1
        return Upload(job_id=None, accepted=rows, created=rows, updated=0)


def settings(folder: Path) -> dict[str, Any]:
    """Return settings of a target that keeps its state in a folder."""
    return {
        "api_key": "k",
        "email": "e@example.com",
        "password": "p",
        "workspace_id": "w",
        "customer_group": "Everyone",
        "state_uri": str(folder / "state"),
    }
