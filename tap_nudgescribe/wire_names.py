"""The setting ``wire_names``: what an account calls the keys that the contract assumes.

A name is given by itself, by object, by operation, or by both; the most specific one holds::

    {
      "updated_at": "modified_at",
      "campaign.campaign_id": "id",
      "list_runs.run_number": "no",
      "list_run_messages.run_message.run_number": "run"
    }

An object is a component of the contract in ``snake_case``; its names hold in answers, and in the
requests that create or change it, except its id. An operation is an ``operationId``; its names
hold in its request and its answer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from tap_nudgescribe.contract import operations
from tap_nudgescribe.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PROBLEMS = 5
MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, eq=False)
class Place:
    """An object of an answer, or the body of a request: where keys have names.

    Attributes:
        operation: The ``operationId``.
        component: The object; empty for a request, and for an object without a component.
        keys: Keys of the contract, each with the names of the setting that it may have, the
            most specific first.
    """

    operation: str
    component: str
    keys: Mapping[str, tuple[str, ...]]

    @property
    def label(self) -> str:
        """What an error calls it."""
        return self.component or self.operation

    def names(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the account's name by key, for keys that have another name there."""
        found = {}
        for key, candidates in self.keys.items():
            name = next((given[each] for each in candidates if each in given), key)
            if name != key:
                found[key] = name
        return found


@cache
def request_place(operation: str) -> Place:
    """Return the body of an operation's request."""
    keys = {
        key: tuple(_dotted(operation, "", key)) + _of_object(shape.component, key)
        for key, shape in operations()[operation].request.items()
    }
    return Place(operation, "", {key: (*names, key) for key, names in keys.items()})


@cache
def object_place(operation: str, component: str, keys: tuple[str, ...]) -> Place:
    """Return an object in the answer of an operation."""
    return Place(
        operation,
        component,
        {
            key: (*_dotted(operation, component, key), *_of_object(component, key), key)
            for key in keys
        },
    )


@cache
def places() -> tuple[Place, ...]:
    """Return every place where a name can hold."""
    found = []
    for name, declared in operations().items():
        found.append(request_place(name))
        refusals = declared.refusal.objects() if declared.refusal.component != "error" else ()
        found += [
            object_place(name, shape.component, tuple(shape.properties))
            for shape in (*declared.answer.objects(), *refusals)
        ]
    return tuple(found)


def checked(given: Mapping[str, str]) -> dict[str, str]:
    """Return the names of a setting when they are sound.

    Raises:
        SettingsError: when a name is unknown or empty, or when two keys of one object or request
            would have one name.
    """
    problems = [*_spelling(given)] or [*_cycles(given)] or [*dict.fromkeys(_collisions(given))]
    if problems:
        more = len(problems) - MAX_PROBLEMS
        listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        advice = (
            "Names are listed in docs/api.md: key, object.key, operation.key or "
            "operation.object.key. --check proposes a value."
        )
        problem = f"The setting wire_names cannot be used: {listed}"
        raise SettingsError(problem, advice=advice)
    return dict(given)


def _dotted(operation: str, component: str, key: str) -> Iterator[str]:
    if component:
        yield f"{operation}.{component}.{key}"
    yield f"{operation}.{key}"


def _of_object(component: str, key: str) -> tuple[str, ...]:
    return (f"{component}.{key}",) if component else ()


def _spelling(given: Mapping[str, str]) -> Iterator[str]:
    known = {name for place in places() for names in place.keys.values() for name in names}
    for ours, wire in given.items():
        if ours not in known:
            yield f"{_quoted(ours)} is not a name of the contract{_nearest(ours, known)}"
        elif not isinstance(wire, str) or not wire.strip() or wire != wire.strip():
            yield f"the name for {_quoted(ours)} is empty, or has spaces around it"


def _nearest(name: str, known: set[str]) -> str:
    """Return the known name most like one, as the end of a problem: of the same key if possible."""
    key = name.rpartition(".")[2]
    scope = name.rpartition(".")[0]
    same_key = [each for each in known if each.rpartition(".")[2] == key and "." in each]
    same_scope = [each for each in known if scope and each.rpartition(".")[0] == scope]
    for candidates in (same_key, same_scope, sorted(known)):
        if found := get_close_matches(name, sorted(candidates), n=1, cutoff=0.6):
            return f"; did you mean {found[0]!r}?"
    return f"; did you mean {min(same_key)!r}?" if same_key else ""


def _cycles(given: Mapping[str, str]) -> Iterator[str]:
    """Find names that are exchanged where an object may have only one of them."""
    objects = {place.component for place in places()} - {""}
    scopes: dict[str, dict[str, str]] = {}
    for ours, wire in given.items():
        scope, _, key = ours.rpartition(".")
        if scope.rpartition(".")[2] not in objects:
            scopes.setdefault(scope, {})[key] = wire
    for names in scopes.values():
        for start in names:
            way = [start]
            while (step := names.get(way[-1])) and step not in way:
                way.append(step)
            if step == start and len(way) > 1 and start == min(way):
                text = " → ".join([*way, start])
                yield f"{text} is a cycle, which is clear only as object.key"


def _collisions(given: Mapping[str, str]) -> Iterator[str]:
    """Find two keys of one place with one name there."""
    for place in places():
        names = place.names(given)
        for wire, count in Counter(names.values()).items():
            if count > 1:
                keys = " and ".join(key for key, name in names.items() if name == wire)
                yield f"{place.label}: {keys} would both be {_quoted(wire)}"
            elif wire in place.keys and wire not in names:
                key = next(key for key, name in names.items() if name == wire)
                yield (
                    f"{place.label}: {key} would be {_quoted(wire)}, which is a key of its own "
                    "there and is not renamed"
                )


def _quoted(name: object) -> str:
    text = str(name)
    return repr(text if len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS] + "…")
