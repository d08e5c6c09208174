"""The contract names every operation that is known, and says of every line how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_nudgescribe.client import OPERATIONS
from tap_nudgescribe.contract import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = {
    "/auth": {"GET", "POST"},
    "/campaign/all": {"POST"},
    "/campaign/rerun/history": {"POST"},
    "/campaign/rerun/initiate": {"POST"},
    "/campaign/rerun/messages": {"POST"},
    "/cg": {"DELETE", "PATCH", "POST", "PUT"},
    "/cpf": {"DELETE", "PATCH", "POST", "PUT"},
    "/customer": {"DELETE", "POST"},
    "/customer/check": {"POST"},
    "/customer/pages": {"POST"},
    "/messages/fetch": {"POST"},
    "/messages/pages": {"POST"},
    "/messages/publish": {"POST"},
}
"""What the vendor's newer reference names: 21 operations."""

DECLARED = [
    (method.upper(), path, operation)
    for path, methods in contract()["paths"].items()
    for method, operation in methods.items()
]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    target: Any = contract()
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return target | schema


def properties(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property of a schema at every depth, with where it is."""
    if not isinstance(schema, dict):
        return
    known = resolved(schema)
    for name, inner in known.get("properties", {}).items():
        yield f"{place}.{name}", resolved(inner)
        yield from properties(inner, f"{place}.{name}")
    for key in ("items", "additionalProperties"):
        yield from properties(known.get(key), f"{place}[]")
    for alternative in known.get("anyOf", ()):
        yield from properties(alternative, place)


def test_every_known_operation_is_declared_and_no_other() -> None:
    declared: dict[str, set[str]] = {}
    for method, path, _ in DECLARED:
        declared.setdefault(path, set()).add(method)
    assert declared == KNOWN
    assert len(DECLARED) == len({operation["operationId"] for *_, operation in DECLARED}) == 21


@pytest.mark.parametrize(
    "operation", [operation for *_, operation in DECLARED], ids=lambda o: o["operationId"]
)
def test_every_line_of_an_operation_says_how_sure_it_is(operation: dict[str, Any]) -> None:
    bodies = [("request", operation["requestBody"])] if "requestBody" in operation else []
    bodies += [(status, resolved(answer)) for status, answer in operation["responses"].items()]
    lines = [("operation", operation), *(body for body in bodies if body[0] != "request")]
    for name, body in bodies:
        for media in body["content"].values():
            lines += properties(media["schema"], name)
    unsure = [
        place
        for place, line in lines
        if line.get("x-evidence") not in {"documented", "observed", "assumed"}
    ]
    assert unsure == []


def test_the_client_sends_what_the_contract_declares() -> None:
    declared = {o["operationId"]: (method, path) for method, path, o in DECLARED}
    assert {name: (o.method, o.path) for name, o in OPERATIONS.items()} == declared
    assert all(name == operation.name for name, operation in OPERATIONS.items())


def test_only_operations_that_change_nothing_are_sent_again() -> None:
    reads = {"login", "refresh", "fetch_message_file"}
    assert {name for name, operation in OPERATIONS.items() if operation.repeatable} == {
        name for name in OPERATIONS if name.startswith(("list_", "count_")) or name in reads
    }
