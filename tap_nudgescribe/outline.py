"""The outline of an account's answers: names, JSON types and numbers, never a value.

``--check --shapes FILE`` writes it, so that a user can report how an account differs. A name is
written where it looks like a name of the API; every other key is counted under ``*``. Objects whose
keys are the account's own (``profile``, ``segment``, ``message_summary``) have no names at all.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.contract import contract, operations, snake_case
from tap_nudgescribe.envelopes import NAME
from tap_nudgescribe.errors import SettingsError, reason
from tap_nudgescribe.naming import SYNONYMS
from tap_nudgescribe.private_files import private_file
from tap_nudgescribe.structure import json_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_nudgescribe.contract import Shape

FORMAT = "nudgescribe-shapes/1"

OTHERS = "*"
"""Stands for all keys of an object that do not look like names."""

MAX_NAMES = 60
"""Names that an object may have; the others are counted."""

MAX_DEPTH = 12

ENVELOPE_WORDS = (
    *("data", "result", "results", "response", "success", "ok", "error", "errors", "message"),
    *("messages", "meta", "metadata", "page", "pages", "per", "size", "limit", "offset"),
    *("total", "count", "next", "previous", "prev", "has", "more", "cursor", "link", "links"),
    *("items", "list", "records", "rows", "entries", "payload", "body", "content", "id"),
    *("uuid", "key", "value", "name", "type", "code", "version", "request", "timestamp"),
    *("status", "pagination"),
)


class Outline:
    """What values at one place of an answer are like."""

    def __init__(self) -> None:
        """Begin without values."""
        self.types: Counter[str] = Counter()
        self.keys: dict[str, Outline] = {}
        self.items: Outline | None = None
        self._others: set[int] = set()
        """Hashes of keys that are not written."""

    def add(
        self,
        value: Any,  # noqa: ANN401 (JSON)
        shape: Shape | None,
        names_of: Callable[[Shape], Mapping[str, str]],
        *,
        depth: int = 0,
    ) -> None:
        """Count a value and all that is in it.

        Args:
            value: A JSON value.
            shape: What the contract says of it; None where it says nothing.
            names_of: Returns the account's name by key, for an object.
            depth: How many objects and lists it is in.
        """
        self.types[json_type(value)] += 1
        if depth >= MAX_DEPTH:
            return
        if isinstance(value, list):
            self.items = self.items or Outline()
            # What is inside an object of the account's own keys is the account's own, too.
            of_each = shape if shape and _is_free(shape) else shape and shape.items
            for item in value:
                self.items.add(item, of_each, names_of, depth=depth + 1)
        elif isinstance(value, dict):
            self._add_object(value, shape, names_of, depth)

    def _add_object(
        self,
        value: dict[str, Any],
        shape: Shape | None,
        names_of: Callable[[Shape], Mapping[str, str]],
        depth: int,
    ) -> None:
        ours = _known(shape, names_of)
        is_row = bool(ours.keys() & value.keys())
        for key, item in value.items():
            if key in ours and shape:
                inner: Shape | None = shape.properties[ours[key]]
            else:
                # Below an envelope's key is what the answer is said to be.
                inner = shape if shape and not is_row and not _is_free(shape) else None
            is_free = shape is not None and _is_free(shape)
            name = self._name(key, is_row=is_row, is_free=is_free)
            child = self.keys.setdefault(name, Outline())
            child.add(item, shape if is_free else inner, names_of, depth=depth + 1)

    def _name(self, key: str, *, is_row: bool, is_free: bool) -> str:
        """Return a key, or what stands for it."""
        written = not is_free and NAME.fullmatch(key) and (is_row or _is_common(key))
        if written and (key in self.keys or len(self.keys) < MAX_NAMES):
            return key
        self._others.add(hash(key))
        return OTHERS

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON: types with the number of values, keys, and items of lists."""
        written: dict[str, Any] = {"types": dict(sorted(self.types.items()))}
        if self.keys:
            written["keys"] = {name: self.keys[name].as_json() for name in sorted(self.keys)}
        if self._others:
            written["other_keys"] = len(self._others)
        if self.items:
            written["items"] = self.items.as_json()
        return written


class ShapesFile:
    """A file of outlines that only its owner can open.

    Args:
        path: Where it goes; what is there is replaced.
    """

    def __init__(self, path: str) -> None:
        """Create the file.

        Raises:
            SettingsError: when it cannot be created.
        """
        try:
            self._file = private_file(Path(path))
        except OSError as error:
            problem = f"The file of --shapes cannot be written ({reason(error)})"
            raise SettingsError(problem, advice="Name a file in a folder that exists.") from None

    def write(self, outlines: Mapping[str, Outline], works: Mapping[str, bool | None]) -> None:
        """Write the outlines of all operations.

        Args:
            outlines: Of the last answer of each operation.
            works: Whether each operation works; None when it was not tried.
        """
        document = {
            "format": FORMAT,
            "operations": {
                name: {"works": works[name]}
                | ({"answer": outlines[name].as_json()} if name in outlines else {})
                for name in works
            },
        }
        with self._file as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")


def _known(shape: Shape | None, names_of: Callable[[Shape], Mapping[str, str]]) -> dict[str, str]:
    """Return our key by the account's name, for an object of known keys."""
    if not shape or not shape.properties:
        return {}
    names = names_of(shape)
    return {names.get(key, key): key for key in shape.properties}


def _is_free(shape: Shape) -> bool:
    """Say whether the keys of an object are the account's own."""
    return "object" in shape.schema.get("type", ()) and not shape.properties


@cache
def _vocabulary() -> frozenset[str]:
    """Return every word of the contract's keys and of the names that APIs use for them."""
    names = {*ENVELOPE_WORDS}
    for schema in contract()["components"]["schemas"].values():
        names |= set(schema.get("properties", ()))
    for declared in operations().values():
        names |= {*declared.request, *(k for o in declared.answer.objects() for k in o.properties)}
    names |= {word for words in SYNONYMS.values() for word in words}
    return frozenset(part for name in names for part in name.split("_"))


def _is_common(key: str) -> bool:
    """Say whether a key is made of words that APIs use: no name of a person is."""
    return all(word in _vocabulary() for word in snake_case(key).split("_"))
