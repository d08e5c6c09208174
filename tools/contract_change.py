"""Make a change of ``contract.yaml`` of the outlines of an account's answers."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from tap_nudgescribe.contract import Shape, operations
from tap_nudgescribe.naming import propose
from tap_nudgescribe.outline import OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Outline = dict[str, Any]

PATH = "tap_nudgescribe/contract.yaml"


@dataclass(frozen=True)
class Edit:
    """Text that takes the place of a part of the contract."""

    start: int
    end: int
    text: str


def diff(document: Mapping[str, Any]) -> str:
    """Return a unified diff of the contract; empty when nothing differs."""
    text = resources.files("tap_nudgescribe").joinpath("contract.yaml").read_text("utf-8")
    lines = difflib.unified_diff(
        text.splitlines(keepends=True),
        changed(text, document).splitlines(keepends=True),
        PATH,
        PATH,
    )
    return "".join(lines)


def changed(text: str, document: Mapping[str, Any]) -> str:
    """Return the contract as it would be for an account.

    Args:
        text: The contract, as YAML.
        document: A file of shapes.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 (the contract)
    edits: dict[int, Edit] = {}
    for name, operation in document["operations"].items():
        if name in operations() and "answer" in operation:
            node = _answer_node(root, name)
            for edit in _changes(root, node, operations()[name].answer, operation["answer"]):
                edits.setdefault(edit.start, edit)
    for edit in sorted(edits.values(), key=lambda each: -each.start):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _answer_node(root: yaml.MappingNode, name: str) -> yaml.MappingNode:
    declared = operations()[name]
    operation = _at(root, "paths", declared.path, declared.method.lower())
    answer = _resolved(root, _at(operation, "responses", "200"))
    return _resolved(root, _at(answer, "content", "application/json", "schema"))


def _changes(
    root: yaml.MappingNode, node: yaml.MappingNode, shape: Shape, outline: Outline
) -> Iterator[Edit]:
    """Yield what differs at one place of the contract, and inside it."""
    node = _resolved(root, node)
    if (alternatives := _get(node, "anyOf")) is not None:
        node = next(n for n in alternatives.value if _get(n, "properties") is not None)
    if shape.items is not None:
        if "items" in outline:
            yield from _changes(root, _node(node, "items"), shape.items, outline["items"])
        for inner in outline.get("keys", {}).values():
            yield from _changes(root, node, shape, inner)  # an envelope
        return
    keys = outline.get("keys", {})
    if not shape.properties or not keys:
        return
    missing = shape.properties.keys() - keys.keys()
    unknown = {
        key: set(inner["types"]) for key, inner in keys.items() if key not in shape.properties
    }
    names = propose(shape, missing, {key: types for key, types in unknown.items() if key != OTHERS})
    if missing == shape.properties.keys() and not names:
        for inner in keys.values():
            yield from _changes(root, node, shape, inner)  # an envelope
        return
    properties = _node(node, "properties")
    yield from _renamed(node, properties, names)
    for key in shape.properties:
        seen = keys.get(key) or keys.get(names.get(key, ""))
        if seen is None:
            continue
        prop = _node(properties, key)
        yield from _retyped(prop, shape.properties[key], seen)
        yield from _changes(root, prop, shape.properties[key], seen)
    added = sorted(unknown.keys() - set(names.values()) - {OTHERS})
    yield from _added(properties, {key: unknown[key] for key in added})


def _renamed(
    node: yaml.MappingNode, properties: yaml.MappingNode, names: Mapping[str, str]
) -> Iterator[Edit]:
    required = _get(node, "required")
    places = [key for key, _ in properties.value] + (required.value if required else [])
    for place in places:
        if place.value in names:
            yield _replace(place, names[place.value])
    for key, value in properties.value:
        evidence = _get(value, "x-evidence")
        if key.value in names and evidence is not None:
            yield _replace(evidence, "observed")


def _retyped(prop: yaml.MappingNode, shape: Shape, seen: Outline) -> Iterator[Edit]:
    """Yield a type that allows what was seen, null included."""
    node = _get(prop, "type")
    if node is None:
        return
    kinds = shape.schema["type"]
    known = [kinds] if isinstance(kinds, str) else list(kinds)
    allowed = {*known, "integer"} if "number" in known else {*known}
    further = [kind for kind in seen["types"] if kind not in allowed]
    if further:
        yield _replace(node, _flow([*known, *further]))


def _added(properties: yaml.MappingNode, unknown: Mapping[str, set[str]]) -> Iterator[Edit]:
    if not unknown:
        return
    last_key, last = properties.value[-1]
    indent = " " * last_key.start_mark.column
    lines = []
    for key, types in unknown.items():
        lines += [
            f"{indent}{key}:",
            f"{indent}  type: {_flow(sorted(types | {'null'}))}",
            f"{indent}  description: Seen in an account",
            f"{indent}  x-evidence: observed",
        ]
    end = _end_of_line(last)
    yield Edit(end, end, "\n".join(lines) + "\n")


def _end_of_line(node: yaml.Node) -> int:
    """Return where the line after a node begins."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _end_of_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _end_of_line(node.value[-1])
    buffer = node.end_mark.buffer
    assert buffer  # noqa: S101 (composed of a text)
    if node.end_mark.column == 0:
        return int(node.end_mark.index)  # a folded text ends there
    return int(node.end_mark.index) + buffer[node.end_mark.pointer :].index("\n") + 1


def _flow(kinds: list[str]) -> str:
    words = [f'"{kind}"' if kind == "null" else kind for kind in kinds]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def _replace(node: yaml.Node, text: str) -> Edit:
    return Edit(int(node.start_mark.index), int(node.end_mark.index), text)


def _at(node: yaml.MappingNode, *way: str) -> yaml.MappingNode:
    for step in way:
        node = _node(node, step)
    return node


def _resolved(root: yaml.MappingNode, node: yaml.MappingNode) -> yaml.MappingNode:
    reference = _get(node, "$ref")
    if reference is None:
        return node
    return _resolved(root, _at(root, *reference.value.split("/")[1:]))


def _node(node: yaml.MappingNode, key: str) -> yaml.MappingNode:
    found = _get(node, key)
    assert isinstance(found, yaml.MappingNode), key  # noqa: S101 (the contract)
    return found


def _get(node: yaml.Node, key: str) -> Any:  # noqa: ANN401 (a node of any kind)
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
