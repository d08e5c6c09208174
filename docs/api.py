"""Show the API contract as Markdown: its operations, their bodies, the records."""

from __future__ import annotations

import ast
import inspect
from importlib import resources
from typing import TYPE_CHECKING, Any

from tap_nudgescribe import messages, streams
from tap_nudgescribe.client import OPERATIONS, NudgescribeClient
from tap_nudgescribe.contract import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

MEDIA = {"application/json": "JSON", "multipart/form-data": "multipart", "text/csv": "CSV"}
PLAIN_RECORDS = {"Id", "OptionalId", "Position", "OptionalPosition"}
"""Components that are types of a key, not records."""


def operations() -> str:
    """Return the table of all operations."""
    methods, records_of, used = _methods(), _streams(), _used()
    lines = [
        "| operation | call | what it does | evidence | used by |",
        "|---|---|---|---|---|",
    ]
    for method, path, operation in _all_operations():
        name = operation["operationId"]
        evidence = operation["x-evidence"] + (", Testing" if operation.get("x-testing") else "")
        # What has no public method, the log-in and its renewal, the client does by itself.
        users = [
            plugin
            for plugin, names in used.items()
            if names & set(methods[name]) or not methods[name]
        ]
        if name in records_of:
            users[0] += f" ({', '.join(f'`{stream}`' for stream in records_of[name])})"
        call = f"`{method} {path}`"
        lines.append(
            _row(f"[`{name}`](#{name})", call, operation["summary"], evidence, ", ".join(users))
        )
    return "\n".join([*lines, ""])


def bodies() -> str:
    """Return a section an operation: what is sent, what comes back, its own refusals."""
    return "\n".join(
        "\n".join(_section(method, path, operation))
        for method, path, operation in _all_operations()
    )


def records() -> str:
    """Return a section a component: the records, errors and sessions that answers hold."""
    lines = []
    for name, schema in contract()["components"]["schemas"].items():
        if name in PLAIN_RECORDS:
            continue
        lines += [f"### {name}", "", f"{schema['description']} ({schema['x-evidence']}).", ""]
        lines += ["| key | type | meaning | evidence |", "|---|---|---|---|"]
        lines += [_row(*cells) for cells in _properties(schema)]
        lines.append("")
    return "\n".join(lines)


def _section(method: str, path: str, operation: Schema) -> Iterator[str]:
    name = operation["operationId"]
    python = ", ".join(f"`{called}`" for called in _methods()[name])
    yield f"### `{name}`"
    yield ""
    yield f"`{method} {path}`{f', in Python {python}' if python else ''}. {operation['summary']}."
    if "description" in operation:
        yield operation["description"].strip()
    yield ""
    yield "| | key | type | meaning | evidence |"
    yield "|---|---|---|---|---|"
    for media, schema in _schemas(operation.get("requestBody", {}).get("content", {})):
        for cells in _properties(schema):
            yield _row(f"request{media}", *cells)
    answer = _resolved(operation["responses"]["200"])
    for media, schema in _schemas(answer["content"]):
        if "properties" in schema:
            for cells in _properties(schema):
                yield _row(f"answer{media}", *cells)
        else:
            whole = answer | schema
            yield _row(
                f"answer{media}", "", _type(schema), whole["description"], whole["x-evidence"]
            )
    yield ""
    for status, refusal in operation["responses"].items():
        if status != "200" and "$ref" not in refusal:
            yield f"{status} ({refusal['x-evidence']}): {refusal['description']}."
            yield ""


def _all_operations() -> Iterator[tuple[str, str, Schema]]:
    for path, methods in contract()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _schemas(content: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the schemas of a body, with the media type where there are several."""
    for media, body in content.items():
        mark = f" ({MEDIA[media]})" if len(content) > 1 else ""
        for schema in body["schema"].get("anyOf", [body["schema"]]):
            yield mark, schema


def _properties(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, meaning, evidence of an object's properties, those of inner lists too."""
    for name, given in schema["properties"].items():
        known = _resolved(given)
        kind = _type(given) + (", required" if name in schema.get("required", []) else "")
        yield f"`{prefix}{name}`", kind, known["description"].strip(), known["x-evidence"]
        if "properties" in known.get("items", {}):
            yield from _properties(known["items"], f"{prefix}{name}[].")


def _type(schema: Schema) -> str:
    reference = schema.get("$ref", "").rpartition("/")[2]
    if reference and reference not in PLAIN_RECORDS:
        return f"[{reference}](#{reference.lower()})"
    known = _resolved(schema)
    if "x-json-text" in known:
        return "any JSON"
    if "enum" in known:
        return " or ".join(f"`{value}`" for value in known["enum"])
    kinds = known["type"] if isinstance(known["type"], list) else [known["type"]]
    form = "timestamp" if "x-timestamp" in known else known.get("format", "string")
    words = {"string": form}
    text = " or ".join(str(words.get(kind, kind)) for kind in kinds)
    if known.get("items", {}).get("properties") or "items" not in known:
        return text
    return text.replace("array", f"array of {_type(known['items'])}", 1)


def _resolved(schema: Schema) -> Schema:
    """Return a schema with what its reference names; its own keys win."""
    if "$ref" not in schema:
        return schema
    _, *way = schema["$ref"].split("/")
    found = contract()
    for step in way:
        found = found[step]
    return {**found, **schema}


def _methods() -> dict[str, list[str]]:
    """Return the client's public methods by the operation that their code names."""
    methods = inspect.getmembers(NudgescribeClient, inspect.isfunction)
    return {
        operation: [
            name
            for name, method in methods
            if operation in method.__code__.co_consts and not name.startswith("_")
        ]
        for operation in OPERATIONS
    }


def _streams() -> dict[str, list[str]]:
    """Return the tap's streams by the operation whose rows they are."""
    found: dict[str, list[str]] = {}
    for kind in (*vars(streams).values(), messages.PublishedMessages):
        if isinstance(kind, type) and "operation" in (declared := vars(kind)):
            found.setdefault(declared["operation"], []).append(declared["name"])
    return found


def _used() -> dict[str, set[str]]:
    """Return the names that the code of each plugin uses, the client's own apart."""
    return {
        package.removesuffix("_nudgescribe"): {
            node.attr
            for file in sorted(resources.files(package).iterdir(), key=str)
            if file.name.endswith(".py") and file.name not in {"client.py", "check.py"}
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Attribute)
        }
        for package in ("tap_nudgescribe", "target_nudgescribe")
    }


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
