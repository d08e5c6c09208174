"""Give identifiers and run numbers of the API one form: text, and whole numbers.

Which keys these are is declared in ``contract.yaml``, by reference to ``Id``, ``OptionalId``,
``Position`` and ``OptionalPosition``. An identifier that comes as a whole number becomes its
decimal text. Any other value is not an identifier: the row that it should name is malformed, and
the rows beside it are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.contract import contract
from tap_nudgescribe.envelopes import unexpected
from tap_nudgescribe.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

Row = dict[str, Any]

SCHEMAS = "#/components/schemas/"

MAX_ID_LENGTH = 1000
"""Characters of the longest identifier: it is part of every record, of state and of logs."""

NUMBER = re.compile("[0-9]{1,15}")
"""A run number as text."""


@dataclass(frozen=True)
class Malformed:
    """A row of a list that does not say what it is about.

    Attributes:
        error: Names the operation and the key, not the value.
        row: What the API sent; it may hold customers' values.
        missing: Whether it stands for rows that the API did not send, though it says that there
            are more.
    """

    error: ContractError
    row: object
    missing: bool = False


class Listing(list[Row]):
    """The rows of a list answer, and those of them that cannot be used."""

    def __init__(self, rows: Iterable[Row] = (), malformed: Iterable[Malformed] = ()) -> None:
        """Hold both."""
        super().__init__(rows)
        self.malformed = list(malformed)

    def whole(self) -> Listing:
        """Return the list.

        Raises:
            ContractError: the first one of its malformed rows, if there is any.
        """
        for malformed in self.malformed:
            raise malformed.error
        return self


def identifier(value: object) -> str:
    """Return an identifier as text: 501 is ``501``.

    Raises:
        ValueError: for anything but text that is not blank, and whole numbers.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ValueError for thousands of digits
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_ID_LENGTH:
        raise ValueError
    return value


def run_number(value: object) -> int:
    """Return a run number: ``"1"`` is 1.

    Raises:
        ValueError: for anything but a whole number that is not negative.
    """
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15:
        return value
    raise ValueError


_CONVERSIONS: dict[str, Callable[[object], str | int]] = {
    "Id": identifier,
    "OptionalId": identifier,
    "Position": run_number,
    "OptionalPosition": run_number,
}


@cache
def identifier_names() -> frozenset[str]:
    """Return the names of all keys that are identifiers, in any component."""
    return frozenset(
        name
        for component in contract()["components"]["schemas"]
        for name, convert in _declared(component).items()
        if convert is identifier
    )


@cache
def _declared(component: str) -> dict[str, Callable[[object], str | int]]:
    """Return how the identifiers and run numbers of a component are read, by key."""
    properties = contract()["components"]["schemas"][component].get("properties", {})
    kinds = {name: str(p.get("$ref", "")).removeprefix(SCHEMAS) for name, p in properties.items()}
    return {name: _CONVERSIONS[kind] for name, kind in kinds.items() if kind in _CONVERSIONS}


@cache
def _required(component: str) -> tuple[str, ...]:
    return tuple(contract()["components"]["schemas"][component].get("required", ()))


def listing(operation: str, component: str, rows: list[Any]) -> Listing:
    """Return rows with their identifiers in one form, the malformed ones apart.

    A row that comes twice counts once. Of different rows with one identifier nobody knows which
    is right, and a warehouse would keep one of them: all are malformed.

    Raises:
        ContractError: when no row has a key that all must have: it is called otherwise then.
    """
    required = _required(component)
    _refuse_another_name(operation, rows, required)
    result = Listing()
    by_key: dict[object, Row | None] = {}
    for given in rows:
        try:
            row = identified(operation, component, given)
        except ContractError as error:
            result.malformed.append(Malformed(error, given))
            continue
        key = row[required[0]]
        known = by_key.setdefault(key, row)
        if known is row:
            continue
        if known is None or known != row:
            by_key[key] = None
            ambiguous = _ambiguous(operation, required[0])
            result.malformed += [
                Malformed(ambiguous, each) for each in (known, row) if each is not None
            ]
    result += [row for row in by_key.values() if row is not None]
    return result


def identified(operation: str, component: str, given: object) -> Row:
    """Return a copy of a row with its identifiers and run numbers in one form.

    An optional one that is malformed stays as it is.

    Raises:
        ContractError: when a required value is missing or malformed.
    """
    required = _required(component)
    if not isinstance(given, dict) or not given.keys() >= set(required):
        raise unexpected(operation, given, f"rows with {', '.join(sorted(required))}")
    row: Row = dict(given)
    declared = _declared(component)
    for name, convert in declared.items():
        if name in row and (name in required or row[name] is not None):
            try:
                row[name] = convert(row[name])
            except ValueError:
                if name in required:
                    raise _not_an_id(operation, name, row[name], convert) from None
    for name in required:
        if name not in declared and not isinstance(row[name], str | int):
            raise _not_an_id(operation, name, row[name], identifier)
    return row


def _refuse_another_name(operation: str, rows: list[Any], required: Collection[str]) -> None:
    for name in required:
        objects = [row for row in rows if isinstance(row, dict)]
        if objects and not any(name in row for row in objects):
            raise unexpected(operation, objects[0], f"rows with {', '.join(sorted(required))}")


def _ambiguous(operation: str, name: str) -> ContractError:
    problem = f"Several different rows have the same {name}"
    advice = "Ask Nudgescribe which of them is right; a run that finds only one reads it."
    return ContractError(problem, operation=operation, advice=advice)


def _not_an_id(
    operation: str, name: str, value: object, convert: Callable[[object], object]
) -> ContractError:
    wanted = "a whole number" if convert is run_number else "text or a whole number"
    problem = f"A row has {_kind(value)} as its {name}, which must be {wanted}"
    advice = "The rows beside it are read; ask Nudgescribe why this one has no usable value."
    return ContractError(problem, operation=operation, advice=advice)


def _kind(value: object) -> str:
    """Return what a value is, in words that do not quote it."""
    if isinstance(value, str):
        return "blank text" if not value.strip() else "other text"
    if isinstance(value, bool):
        return "true or false"
    kinds = {
        dict: "an object",
        list: "a list",
        int: "another number",
        float: "a number with a decimal point",
    }
    return kinds.get(type(value), "null")
