"""Collect names that an account's answers lead to, and make one value of ``wire_names`` of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_nudgescribe.contract import operations
from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.wire import Wire
from tap_nudgescribe.wire_names import Place, request_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MIN_KINDS = 2
"""In so many kinds of places a key must have one name before it is proposed for all."""


class Proposals:
    """Names in use while an account is looked at, and what each was seen to be.

    Args:
        given: The setting ``wire_names``.

    Attributes:
        names: Those of the setting, and those proposed since.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        """Begin with the setting."""
        self._given = dict(given)
        self.names = dict(given)
        self._seen: dict[tuple[Place, str], str] = {}
        """The account's name by place and key."""

    @property
    def changed(self) -> bool:
        """Whether there is anything to set."""
        return self.names != self._given

    def observe(self, place: Place, keys: set[str]) -> None:
        """Note which keys of ours an object has, under the names in use."""
        names = place.names(self.names)
        for key in place.keys:
            if names.get(key, key) in keys:
                self._seen[place, key] = names.get(key, key)

    def confirm_request(self, operation: str, keys: Iterable[str]) -> None:
        """Note that the API takes a request with some keys, under the names in use."""
        place = request_place(operation)
        names = place.names(self.names)
        self.observe(place, {names.get(key, key) for key in keys})

    def with_names(self, place: Place, names: Mapping[str, str]) -> Wire | None:
        """Return names in use with further ones for an object; None without any that can hold."""
        return self._with(place, names)

    def with_request(self, operation: str, names: Mapping[str, str]) -> Wire | None:
        """Return names in use with further ones for a request; None if they cannot hold."""
        return self._with(request_place(operation), names)

    def accept(self, wire: Wire) -> None:
        """Use names from now on."""
        self.names = dict(wire.names)

    def request_alternatives(self, operation: str, keys: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield other names that keys of a request may have: those that answers have."""
        place = request_place(operation)
        used, sent = place.names(self.names), set(keys)
        others: dict[str, str] = {}
        for (_, key), name in self._seen.items():
            if key in sent and name != used.get(key, key):
                others.setdefault(key, name)
        if len(set(others.values())) == len(others) > 1:
            yield others
        for key, name in others.items():
            yield {key: name}

    def value(self) -> dict[str, str]:
        """Return one value of the setting: by key where a name holds everywhere, else by scope."""
        best = dict(self.names)
        for key in dict.fromkeys(name.rpartition(".")[2] for name in self.names):
            wider = self._wider(best, key)
            if wider is not None:
                best = wider
        return best

    def _with(self, place: Place, names: Mapping[str, str]) -> Wire | None:
        """Add names one by one, leaving out those that cannot hold beside the others."""
        best: Wire | None = None
        chosen = dict(self.names)
        for key, name in names.items():
            trial = chosen | {_scoped(place, key, chosen): name}
            for (seen, seen_key), expected in self._seen.items():
                if (
                    seen is not place
                    and seen_key == key
                    and seen.names(trial).get(key, key) != expected
                ):
                    # A name for one request has changed an object of its answer.
                    trial[seen.keys[key][0]] = expected
            try:
                best = Wire(trial)
            except SettingsError:
                continue
            chosen = trial
        return best

    def _wider(self, names: Mapping[str, str], key: str) -> dict[str, str] | None:
        """Return names with one for a key wherever it is; None if that is not what was seen."""
        seen = {place: name for (place, seen_key), name in self._seen.items() if seen_key == key}
        if len(set(seen.values())) != 1 or not _is_common(set(seen), key):
            return None
        kept = {ours: name for ours, name in names.items() if ours.rpartition(".")[2] != key}
        trial = kept | {key: next(iter(seen.values()))}
        try:
            return dict(Wire(trial).names)
        except SettingsError:
            return None


def _is_common(seen: set[Place], key: str) -> bool:
    """Say whether a key was seen in several objects, and in a request if any request has it."""
    requests = {request_place(name) for name in operations()}
    in_requests = any(key in place.keys for place in requests)
    kinds = {"a request" if place in requests else place.label for place in seen}
    return len(kinds) >= MIN_KINDS and ("a request" in kinds or not in_requests)


def _scoped(place: Place, key: str, names: Mapping[str, str]) -> str:
    """Return how a name for a key of a place is given: by object, or else by operation."""
    candidates = place.keys[key]
    if place.component and any(each in names for each in candidates[:2]):
        return candidates[0]
    return f"{place.component or place.operation}.{key}"
