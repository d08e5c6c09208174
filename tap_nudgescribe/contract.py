"""The API contract, read from ``contract.yaml``: the source of the stream schemas."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def contract() -> dict[str, Any]:
    """Return the whole OpenAPI 3.1 document."""
    text = resources.files("tap_nudgescribe").joinpath("contract.yaml").read_text("utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 (both are safe)
    return document


def record_properties(component: str) -> dict[str, dict[str, Any]]:
    """Return the properties of a component as Singer properties: nullable, without evidence.

    Args:
        component: Name under ``components/schemas``, such as ``Campaign``.

    Returns:
        Property name to JSON schema, in the contract's order.
    """
    schema = contract()["components"]["schemas"][component]
    return {name: _singer(definition) for name, definition in schema["properties"].items()}


def _singer(definition: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in definition.items() if not key.startswith("x-")}
    kind = kept.get("type", "string")
    kept["type"] = kind if isinstance(kind, list) else [kind, "null"]
    if "x-timestamp" in definition:
        kept["format"] = "date-time"
    return kept
