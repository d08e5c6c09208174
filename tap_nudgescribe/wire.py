"""Between the API's JSON and this package: one walk over an answer along the contract.

Whatever is done to every object of a kind in every answer is done here, object by object. Values
under keys that the contract does not know, and objects whose keys are the account's own
(``profile``, ``segment``, ``message_summary``), pass as they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_nudgescribe import wire_names
from tap_nudgescribe.contract import operations
from tap_nudgescribe.envelopes import ENVELOPE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_nudgescribe.contract import Shape
    from tap_nudgescribe.envelopes import Row

DISPLACED = "wire_"
"""In front of a key of ours that the account uses for something else."""


class Wire:
    """Turns requests into the account's names and answers into ours.

    Args:
        names: The setting ``wire_names``.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        """Check the names.

        Raises:
            SettingsError: for names that are unknown, empty or not distinct.
        """
        self.names = wire_names.checked(names or {})
        self._requests = {
            name: wire_names.request_place(name).names(self.names) for name in operations()
        }
        self._answers = {
            name: self._whole(name, declared.answer) for name, declared in operations().items()
        }
        self._refusals = {
            name: self._whole(name, declared.refusal) for name, declared in operations().items()
        }

    def request(self, operation: str, body: Mapping[str, Any]) -> Row:
        """Return a request's body with the account's names."""
        names = self._requests[operation]
        return {names.get(key, key): value for key, value in body.items()}

    def request_key(self, operation: str, key: str) -> str:
        """Return the account's name of a key of a request."""
        return self._requests[operation].get(key, key)

    def answer(self, operation: str, answer: Any) -> Any:  # noqa: ANN401 (JSON)
        """Return an answer with our names. What is not JSON is returned as it is."""
        return self._answers[operation](answer)

    def refusal(self, operation: str, answer: Any) -> Any:  # noqa: ANN401 (JSON)
        """Return the answer of a 400 with our names."""
        return self._refusals[operation](answer)

    def _whole(self, operation: str, shape: Shape) -> Callable[[Any], Any]:
        """Return what reads a whole answer, which may be in an envelope."""
        if shape.items:
            read = self._reader(operation, shape)
            return _same if read is None else _in_envelope(read, list)
        read = self._reader(operation, shape)
        return _same if read is None else _object_in_envelope(read, shape)

    def _reader(self, operation: str, shape: Shape) -> Callable[[Any], Any] | None:
        """Return what reads a value of a shape; None when it would change nothing."""
        if shape.items:
            of_each = self._reader(operation, shape.items)
            return _each(of_each) if of_each else None
        if not shape.properties:
            return None
        place = wire_names.object_place(operation, shape.component, tuple(shape.properties))
        names = place.names(self.names)
        nested: dict[str, Callable[[Any], Any]] = {}
        for key, inner in shape.properties.items():
            read = self._reader(operation, inner)
            if read:
                # Lists inside an object may have an envelope of their own.
                nested[key] = _in_envelope(read, list) if inner.items else read
        return _ObjectReader(names, nested) if names or nested else None


class _ObjectReader:
    """Reads the objects of one kind in the answers of one operation."""

    def __init__(
        self, names: Mapping[str, str], nested: Mapping[str, Callable[[Any], Any]]
    ) -> None:
        self._ours = {wire: key for key, wire in names.items()}
        self._taken = names.keys() - set(names.values())
        """Keys of ours that the account uses for something else, if at all."""
        self._nested = nested

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 (JSON)
        if not isinstance(value, dict):
            return value
        row = self._renamed(value) if self._ours else dict(value)
        for key, read in self._nested.items():
            if key in row:
                row[key] = read(row[key])
        return row

    def _renamed(self, value: Row) -> Row:
        """Rename keys; one of ours that means something else here keeps its value under another."""
        row = {}
        for key, item in value.items():
            if key in self._taken:
                name = DISPLACED + key
                while name in value or name in row:
                    name = DISPLACED + name
                row[name] = item
            else:
                row[self._ours.get(key, key)] = item
        return row


def _same(value: Any) -> Any:  # noqa: ANN401 (JSON)
    return value


def _each(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: [read(value) for value in values]


def _in_envelope(read: Callable[[Any], Any], kind: type) -> Callable[[Any], Any]:
    """Return what reads all values of a type, below whatever keys an envelope has."""

    def unwrapped(value: Any) -> Any:  # noqa: ANN401 (JSON)
        if isinstance(value, kind):
            return read(value)
        if isinstance(value, dict):
            return {key: unwrapped(inner) for key, inner in value.items()}
        return value

    return unwrapped


def _object_in_envelope(read: Callable[[Any], Any], shape: Shape) -> Callable[[Any], Any]:
    """Return what reads an object, and those under keys that are not its own: of an envelope."""

    def unwrapped(value: Any) -> Any:  # noqa: ANN401 (JSON)
        if not isinstance(value, dict):
            return value
        if ENVELOPE_KEY not in shape.properties and isinstance(value.get(ENVELOPE_KEY), dict):
            # Keys beside it are the envelope's, such as a request's own "id".
            return value | {ENVELOPE_KEY: unwrapped(value[ENVELOPE_KEY])}
        row = read(value)
        return {
            key: inner if key in shape.properties else unwrapped(inner)
            for key, inner in row.items()
        }

    return unwrapped
