"""``--check --openapi``: compare the contract with the vendor's OpenAPI document.

Nothing is called. References are followed inside the document only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tap_nudgescribe.contract import Shape, operations
from tap_nudgescribe.envelopes import ENVELOPE_KEY, told
from tap_nudgescribe.errors import SettingsError, reason
from tap_nudgescribe.naming import fits, propose
from tap_nudgescribe.proposals import Proposals
from tap_nudgescribe.wire_names import checked, object_place, request_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tap_nudgescribe.contract import Declared
    from tap_nudgescribe.wire_names import Place

Schema = dict[str, Any]

MAX_DEPTH = 20
"""Objects and envelopes within one another that are followed."""

MAX_ROUNDS = 5
"""How often an answer is looked at with names that it has led to."""

MAX_MEGABYTES = 50

MAX_ALTERNATIVES = 100

ANSWERS = ("200", "201", "202", "2XX", "default")

METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH"})

ADVICE = "Export the API's OpenAPI 3 document anew, as JSON or YAML, into one file."


@dataclass
class Difference:
    """What one operation differs in."""

    operation: str
    call: str
    breaks: list[str] = field(default_factory=list)
    """Differences with which the operation cannot work."""
    notes: list[str] = field(default_factory=list)
    """Differences that cost nothing, or a column."""


def compare_file(path: str, wire_names: Mapping[str, str]) -> int:
    """Print a table of all operations on stdout, and the ``wire_names`` that would correct them.

    Args:
        path: An OpenAPI 3 document, JSON or YAML.
        wire_names: The setting.

    Returns:
        The exit code: 0 when the contract is compatible with the document, 1 when it is not.

    Raises:
        SettingsError: for a file that is not such a document, and for names that cannot be used.
    """
    proposals = Proposals(checked(wire_names))
    try:
        document = Document(read_document(path))
        differences = [_compare(document, each, proposals) for each in operations().values()]
    except RecursionError:
        problem = "The file of --openapi has schemas that are nested too deeply"
        raise SettingsError(problem, advice=ADVICE) from None
    for each in differences:
        mark = "DIFFERS" if each.breaks else ("compatible" if each.notes else "equal")
        print(f"{each.operation:<22}  {each.call:<30}  {mark}")  # noqa: T201 (a report)
        for text in (*each.breaks, *each.notes):
            print(f"{'':<24}{text}")  # noqa: T201
    if proposals.changed:
        print()  # noqa: T201
        print("Set wire_names to this, look at each name, and compare again:")  # noqa: T201
        print(json.dumps(proposals.value(), sort_keys=True))  # noqa: T201
    return int(any(each.breaks for each in differences))


def read_document(path: str) -> Schema:
    """Return an OpenAPI document.

    Raises:
        SettingsError: when the file cannot be read, or is not one.
    """
    try:
        file = Path(path)
        if file.stat().st_size > MAX_MEGABYTES * 2**20:
            problem = f"The file of --openapi has more than {MAX_MEGABYTES} MiB"
            raise SettingsError(problem, advice=ADVICE)
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"The file of --openapi cannot be read ({reason(error)})"
        raise SettingsError(problem, advice="Name a readable file in UTF-8.") from None
    try:
        document = _parsed(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        problem = "The file of --openapi is neither JSON nor YAML"
        raise SettingsError(problem, advice=ADVICE) from None
    found: Schema = document if isinstance(document, dict) else {}
    if not isinstance(found.get("paths"), dict) or not str(found.get("openapi")).startswith("3."):
        problem = "The file of --openapi is not an OpenAPI 3 document: it needs openapi and paths"
        raise SettingsError(problem, advice=ADVICE)
    return found


def _parsed(text: str) -> object:
    """Return a document in which, if it is YAML, every scalar is text: ``no`` may be a key."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 (makes texts, lists and mappings only)


class Document:
    """An OpenAPI document whose references are followed in itself."""

    def __init__(self, document: Schema) -> None:
        """Index its operations by method and path."""
        self._document = document
        self._known: dict[str, Schema] = {}
        """What references name; {} while one is followed, so that cycles end."""
        self._operations = {
            (method.upper(), str(path).rstrip("/")): operation
            for path, methods in document["paths"].items()
            for method, operation in self.resolved(methods).items()
            if method.upper() in METHODS and isinstance(operation, dict)
        }

    def find(self, method: str, path: str) -> Schema | None:
        """Return an operation; its path may have one more part in front, such as ``/v1``."""
        if found := self._operations.get((method, path)):
            return found
        ends = [
            operation
            for (verb, place), operation in self._operations.items()
            if verb == method and place.endswith(path) and place.count("/") == path.count("/") + 1
        ]
        return ends[0] if len(ends) == 1 else None

    def resolved(self, value: object) -> Schema:
        """Return an object with its reference and ``allOf`` followed; {} for anything else."""
        if not isinstance(value, dict):
            return {}
        schema = {str(key): inner for key, inner in value.items()}
        if isinstance(reference := schema.pop("$ref", None), str):
            schema = self._referenced(reference) | schema
        for part in _list(schema.pop("allOf", None)):
            schema = _joined(schema, self.resolved(part))
        return schema

    def _referenced(self, reference: str) -> Schema:
        """Return what a reference names in this document.

        Raises:
            SettingsError: for a reference into another file, or to nothing.
        """
        if reference not in self._known:
            self._known[reference] = {}
            found: object = self._document
            for step in reference.split("/")[1:]:
                name = step.replace("~1", "/").replace("~0", "~")
                found = found.get(name) if isinstance(found, dict) else None
            if not reference.startswith("#/") or not isinstance(found, dict):
                problem = "The file of --openapi has a reference to another file, or to nothing"
                raise SettingsError(problem, advice="Bundle the document into one file.")
            self._known[reference] = self.resolved(found)
        return self._known[reference]

    def alternatives(self, value: object) -> Iterator[Schema]:
        """Yield a schema, or those of its ``anyOf`` and ``oneOf``."""
        yield from self._alternatives({}, value, count())

    def _alternatives(self, outer: Schema, value: object, steps: Iterator[int]) -> Iterator[Schema]:
        if next(steps) > MAX_ALTERNATIVES:
            return
        schema = self.resolved(value)
        others = [*_list(schema.pop("anyOf", None)), *_list(schema.pop("oneOf", None))]
        schema = _joined(outer, schema)
        if not others:
            yield schema
        for other in others[:MAX_ALTERNATIVES]:
            yield from self._alternatives(schema, other, steps)

    def types(self, value: object) -> frozenset[str]:
        """Return the JSON types that a schema allows; none when it does not say."""
        return frozenset().union(*(_types(each) for each in self.alternatives(value)))

    def properties(self, value: object) -> Schema:
        """Return the schema that is an object of known keys; {} without one."""
        found = (each for each in self.alternatives(value) if _properties(each))
        return next(found, {})

    def items(self, value: object) -> object:
        """Return the schema of a list's elements; None without one."""
        found = (each["items"] for each in self.alternatives(value) if "items" in each)
        return next(found, None)

    def bodies(self, holder: object) -> list[object]:
        """Return the schemas of a request's or an answer's bodies, JSON first."""
        content = self.resolved(self.resolved(holder).get("content"))
        media = sorted(content.items(), key=lambda each: "json" not in each[0])
        return [body["schema"] for _, body in media if isinstance(body, dict) and "schema" in body]

    def objects(
        self, shape: Shape, schema: object, names_of: Callable[[Shape], Mapping[str, str]]
    ) -> Iterator[tuple[Shape, Schema]]:
        """Yield the contract's objects with their schemas here, envelopes taken off."""
        yield from self._objects(shape, schema, names_of, MAX_DEPTH)

    def _objects(
        self,
        shape: Shape,
        schema: object,
        names_of: Callable[[Shape], Mapping[str, str]],
        depth: int,
    ) -> Iterator[tuple[Shape, Schema]]:
        if not depth or (not shape.items and not shape.properties):
            return
        found = self.properties(schema)
        if shape.items is not None:
            items = self.items(schema)
            inner = self._enveloped(found, as_list=True) if items is None else None
            if items is not None:
                yield from self._objects(shape.items, items, names_of, depth - 1)
            elif inner is not None:
                yield from self._objects(shape, inner, names_of, depth - 1)
            return
        names, properties = names_of(shape), _properties(found)
        known = {names.get(key, key) for key in shape.properties}
        inner = None if known & properties.keys() else self._enveloped(found, as_list=False)
        if inner is not None:
            yield from self._objects(shape, inner, names_of, depth - 1)
            return
        yield shape, found
        for key, nested in shape.properties.items():
            name = names.get(key, key)
            if name in properties:
                yield from self._objects(nested, properties[name], names_of, depth - 1)

    def _enveloped(self, schema: Schema, *, as_list: bool) -> object:
        """Return what an envelope holds: ``data``, or the only list or object in it."""
        properties = _properties(schema)
        if ENVELOPE_KEY in properties:
            return properties[ENVELOPE_KEY]
        lists = [inner for inner in properties.values() if self.items(inner) is not None]
        objects = [inner for inner in properties.values() if self.properties(inner)]
        for found in [lists, objects] if as_list else [objects]:
            if len(found) == 1:
                return found[0]
        return None


def _compare(document: Document, declared: Declared, proposals: Proposals) -> Difference:
    difference = Difference(declared.name, f"{declared.method} {declared.path}")
    operation = document.resolved(document.find(declared.method, declared.path)) or None
    if operation is None:
        difference.breaks.append("the document does not have this operation")
        return difference
    _compare_answer(document, declared, operation, proposals, difference)
    _compare_request(document, declared, operation, proposals, difference)
    return difference


def _compare_answer(
    document: Document,
    declared: Declared,
    operation: Schema,
    proposals: Proposals,
    difference: Difference,
) -> None:
    if not any(declared.answer.objects()):
        return
    answers = document.resolved(operation.get("responses"))
    holders = [answers[status] for status in ANSWERS if status in answers]
    bodies = [body for holder in holders for body in document.bodies(holder)]
    body = next((body for body in bodies if document.types(body) - {"string"}), None)
    found: list[tuple[Shape, Schema]] = []
    for _ in range(MAX_ROUNDS if body is not None else 0):
        found = list(document.objects(declared.answer, body, _names_of(declared, proposals)))
        changed = [_propose(document, declared, *each, proposals, difference) for each in found]
        if not any(changed):
            break
    if not found:
        difference.notes.append("answer: the document does not describe it")
    for shape, schema in found:
        _compare_object(document, declared, shape, schema, proposals, difference)


def _names_of(declared: Declared, proposals: Proposals) -> Callable[[Shape], Mapping[str, str]]:
    def names_of(shape: Shape) -> Mapping[str, str]:
        return _place(declared, shape).names(proposals.names)

    return names_of


def _place(declared: Declared, shape: Shape) -> Place:
    return object_place(declared.name, shape.component, tuple(shape.properties))


def _propose(  # noqa: PLR0913, PLR0917 (what a comparison is made of)
    document: Document,
    declared: Declared,
    shape: Shape,
    schema: Schema,
    proposals: Proposals,
    difference: Difference,
) -> bool:
    """Take likely names into use; return whether there were any."""
    place, theirs = _place(declared, shape), _properties(schema)
    names = place.names(proposals.names)
    known = {names.get(key, key): key for key in shape.properties}
    missing = {key for name, key in known.items() if name not in theirs}
    unknown = {key: document.types(theirs[key]) for key in theirs.keys() - known.keys()}
    found = propose(shape, missing, unknown)
    wire = proposals.with_names(place, found)
    if wire is None:
        return False
    proposals.accept(wire)
    required = set(_list(shape.schema.get("required")))
    for key, name in sorted(found.items()):
        kind = difference.breaks if key in required else difference.notes
        kind.append(f"{place.label}: {name} for {key}")
    return True


def _compare_object(  # noqa: PLR0913, PLR0917 (what a comparison is made of)
    document: Document,
    declared: Declared,
    shape: Shape,
    schema: Schema,
    proposals: Proposals,
    difference: Difference,
) -> None:
    place, theirs = _place(declared, shape), _properties(schema)
    names = place.names(proposals.names)
    proposals.observe(place, set(theirs))
    required = set(_list(shape.schema.get("required")))
    for key, inner in shape.properties.items():
        kind = difference.breaks if key in required else difference.notes
        name = names.get(key, key)
        if name not in theirs:
            kind.append(f"{place.label}: no {key}")
            continue
        types = document.types(theirs[name])
        if not fits(inner, set(types - {"null"})):
            kind.append(f"{place.label}: {key} is {_listed(types)}")
        if key in required and (
            "null" in types or name not in _list(schema.get("required", [name]))
        ):
            difference.notes.append(f"{place.label}: {key} may be missing or null")
    unknown = sorted(theirs.keys() - {names.get(key, key) for key in shape.properties})
    if unknown:
        difference.notes.append(f"{place.label}: unknown {told(unknown)}")


def _compare_request(
    document: Document,
    declared: Declared,
    operation: Schema,
    proposals: Proposals,
    difference: Difference,
) -> None:
    if not declared.request:
        return
    bodies = document.bodies(operation.get("requestBody"))
    schemas = [found for body in bodies if (found := document.properties(body))]
    if not schemas:
        kind = difference.notes if bodies else difference.breaks
        kind.append("request: the document does not describe its keys")
        return
    theirs: Schema = {}
    for schema in schemas:
        theirs = _properties(schema) | theirs
    place = request_place(declared.name)
    _propose_request(document, declared, theirs, proposals, difference)
    names = place.names(proposals.names)
    sent = {key for key in place.keys if names.get(key, key) in theirs}
    for key in sorted(place.keys.keys() - sent):
        kind = difference.breaks if key in declared.required else difference.notes
        kind.append(f"request: no {key}")
    for key in sorted(sent):
        _compare_sent(document, declared.request[key], theirs[names.get(key, key)], key, difference)
    needed = set.intersection(*(set(_list(schema.get("required"))) for schema in schemas))
    for key in sorted(needed - {names.get(key, key) for key in sent}):
        difference.breaks.append(f"request: requires {told([key])}, which is not sent")
    proposals.confirm_request(declared.name, sent)


def _propose_request(
    document: Document,
    declared: Declared,
    theirs: Schema,
    proposals: Proposals,
    difference: Difference,
) -> None:
    """Take likely names of a request's keys into use."""
    place = request_place(declared.name)
    names = place.names(proposals.names)
    known = {names.get(key, key): key for key in place.keys}
    missing = {key for name, key in known.items() if name not in theirs}
    unknown = {key: document.types(theirs[key]) for key in theirs.keys() - known.keys()}
    found = propose(Shape(properties=declared.request), missing, unknown)
    for others in proposals.request_alternatives(declared.name, missing):
        found |= {key: name for key, name in others.items() if name in unknown}
    wire = proposals.with_request(declared.name, found)
    if wire is not None:
        proposals.accept(wire)
        for key, name in sorted(found.items()):
            kind = difference.breaks if key in declared.required else difference.notes
            kind.append(f"request: {name} for {key}")


def _compare_sent(
    document: Document, shape: Shape, theirs: object, key: str, difference: Difference
) -> None:
    """Compare what is sent with what the document takes."""
    ours = _types(dict(shape.schema)) - {"null"}
    types = document.types(theirs)
    accepted = types | ({"integer"} if "number" in types else set())
    if types and not ours & accepted:
        difference.breaks.append(f"request: {key} is {_listed(types)}")
    allowed = {str(each) for each in _list(document.resolved(theirs).get("enum"))}
    values = {str(each) for each in _list(shape.schema.get("enum"))}
    if allowed and not values <= allowed:
        difference.breaks.append(f"request: {key} does not take {_listed(values - allowed)}")


def _listed(words: Iterable[str]) -> str:
    return " or ".join(sorted(words))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _properties(schema: Schema) -> Schema:
    found = schema.get("properties")
    return {str(key): inner for key, inner in found.items()} if isinstance(found, dict) else {}


def _types(schema: Schema) -> frozenset[str]:
    """Return the JSON types that one schema names."""
    kinds = schema.get("type")
    found = {str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind}
    if not found and "properties" in schema:
        found = {"object"}
    if not found and "items" in schema:
        found = {"array"}
    return frozenset(found | ({"null"} if str(schema.get("nullable")).lower() == "true" else set()))


def _joined(first: Schema, second: Schema) -> Schema:
    """Return one schema for what has to hold together."""
    joined = first | second
    if _properties(first) and _properties(second):
        joined["properties"] = _properties(first) | _properties(second)
    if required := [*_list(first.get("required")), *_list(second.get("required"))]:
        joined["required"] = required
    return joined
