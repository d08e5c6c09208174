"""The structure of JSON answers: names, types and numbers of keys, never a value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_nudgescribe.contract import Shape
    from tap_nudgescribe.envelopes import Row

ENVELOPE_KEY = "data"


class Keys:
    """The keys that objects of one kind have, under the account's names.

    Attributes:
        objects: Number of objects.
        types: Number of values by JSON type, by key.
        shape: What the contract says of them.
    """

    def __init__(self, shape: Shape) -> None:
        """Begin without objects."""
        self.shape = shape
        self.objects = 0
        self.types: dict[str, Counter[str]] = {}

    def add(self, value: Row) -> None:
        """Count an object."""
        self.objects += 1
        for key, item in value.items():
            self.types.setdefault(key, Counter())[json_type(item)] += 1


JSON_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    str: "string",
    list: "array",
    dict: "object",
}


def json_type(value: object) -> str:
    """Return the JSON type of a value; a number that is not an integer is a ``number``."""
    return JSON_TYPES.get(type(value), "number")


def objects_in(
    shape: Shape,
    value: Any,  # noqa: ANN401 (JSON)
    names_of: Callable[[Shape], Mapping[str, str]],
) -> Iterator[tuple[Shape, Row]]:
    """Yield the objects of the contract in an answer, as the account names their keys.

    Args:
        shape: What the contract says of the answer.
        value: The answer as the API sent it, perhaps in an envelope.
        names_of: Returns the account's name by key, for an object.
    """
    if shape.items is not None:
        if isinstance(value, list):
            for item in value:
                yield from objects_in(shape.items, item, names_of)
        elif isinstance(value, dict):
            for inner in value.values():
                yield from objects_in(shape, inner, names_of)
    elif shape.properties and isinstance(value, dict):
        names = names_of(shape)
        known = {names.get(key, key) for key in shape.properties}
        inner = _enveloped(value)
        if inner is not None and not known & value.keys():
            yield from objects_in(shape, inner, names_of)
            return
        yield shape, value
        for key, nested in shape.properties.items():
            yield from objects_in(nested, value.get(names.get(key, key)), names_of)


def _enveloped(value: Row) -> Row | None:
    """Return the object inside an envelope, if there is one."""
    if isinstance(inner := value.get(ENVELOPE_KEY), dict):
        return inner
    objects = [inner for inner in value.values() if isinstance(inner, dict)]
    return objects[0] if len(objects) == 1 else None


def keys_of(
    shape: Shape,
    value: Any,  # noqa: ANN401 (JSON)
    names_of: Callable[[Shape], Mapping[str, str]],
) -> list[Keys]:
    """Return the keys of each kind of object in an answer."""
    found: dict[int, Keys] = {}
    for kind, row in objects_in(shape, value, names_of):
        found.setdefault(id(kind), Keys(kind)).add(row)
    return list(found.values())
