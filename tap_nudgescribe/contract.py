"""The API contract, read from ``contract.yaml``: the source of the stream schemas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


JSON_TEXT = "application/json"
"""``contentMediaType`` of a property whose value is JSON text."""


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
    if "$ref" in definition:
        referred = contract()["components"]["schemas"][definition["$ref"].rpartition("/")[2]]
        definition = {"type": referred["type"], **definition}
    kept = {
        key: value
        for key, value in definition.items()
        if key != "$ref" and not key.startswith("x-")
    }
    kind = kept.get("type", "string")
    kept["type"] = kind if isinstance(kind, list) else [kind, "null"]
    if "x-timestamp" in definition:
        kept["format"] = "date-time"
    if "x-json-text" in definition:
        kept |= {"type": ["string", "null"], "contentMediaType": JSON_TEXT}
    return kept


@dataclass(frozen=True, eq=False)
class Shape:
    """What the contract says of a JSON value: an object of known keys, a list, or any value.

    Attributes:
        component: Name of the object in ``snake_case``, such as ``customer_group``; empty for an
            object that is declared in its operation only.
        properties: Shape by key; empty for all that is not an object of known keys.
        items: Shape of the elements of a list; None for all else.
        schema: The resolved JSON schema.
    """

    component: str = ""
    properties: Mapping[str, Shape] = field(default_factory=dict)
    items: Shape | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)

    def objects(self) -> Iterator[Shape]:
        """Yield every object of known keys in this shape, this one included."""
        if self.properties:
            yield self
        for inner in (*self.properties.values(), *filter(None, [self.items])):
            yield from inner.objects()


@dataclass(frozen=True, eq=False)
class Declared:
    """An operation as the contract declares it.

    Attributes:
        name: Its ``operationId``.
        request: Keys of its body, of all media types together.
        required: Keys that every body has.
        answer: Shape of its JSON answer.
        refusal: Shape of a 400.
    """

    name: str
    method: str
    path: str
    request: Mapping[str, Shape]
    required: frozenset[str]
    answer: Shape
    refusal: Shape


@cache
def operations() -> dict[str, Declared]:
    """Return all operations by ``operationId``."""
    return {
        operation["operationId"]: _declared(method.upper(), path, operation)
        for path, methods in contract()["paths"].items()
        for method, operation in methods.items()
    }


def snake_case(name: str) -> str:
    """Return a name as this package spells names: ``customer_group_id`` for ``customerGroupId``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return spaced.replace("-", "_").replace(" ", "_").lower()


def resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of the contract with what its reference names; its own keys win."""
    if "$ref" not in schema:
        return dict(schema)
    _, *way = schema["$ref"].split("/")
    found = contract()
    for step in way:
        found = found[step]
    return resolved(found) | {key: value for key, value in schema.items() if key != "$ref"}


def _declared(method: str, path: str, operation: Mapping[str, Any]) -> Declared:
    request: dict[str, Shape] = {}
    required: set[str] = set()
    for media in operation.get("requestBody", {}).get("content", {}).values():
        component = media["schema"].get("x-object", "")
        required |= set(media["schema"].get("required", ()))
        for name, schema in media["schema"]["properties"].items():
            # What an object is called is its own; which one is meant is the request's.
            owner = "" if schema.get("$ref", "").endswith("/Id") else component
            request[name] = Shape(component=snake_case(owner), schema=resolved(schema))
    responses = operation["responses"]
    return Declared(
        name=operation["operationId"],
        method=method,
        path=path,
        request=request,
        required=frozenset(required),
        answer=_json_shape(responses["200"]),
        refusal=_json_shape(responses["400"]),
    )


def _json_shape(response: Mapping[str, Any]) -> Shape:
    media = resolved(response)["content"]["application/json"]
    return _shape(media["schema"])


def _shape(given: Mapping[str, Any]) -> Shape:
    component = given.get("$ref", "").rpartition("/")[2]
    schema = resolved(given)
    alternatives = [_shape(each) for each in schema.get("anyOf", ())]
    if alternatives:
        # Rows of a message file have the file's own names.
        return next((each for each in alternatives if each.properties), alternatives[0])
    return Shape(
        component=snake_case(component) if "properties" in schema else "",
        properties={name: _shape(inner) for name, inner in schema.get("properties", {}).items()},
        items=_shape(schema["items"]) if "items" in schema else None,
        schema=schema,
    )
