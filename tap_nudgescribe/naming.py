"""Propose which key of an account is which key of the contract."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from tap_nudgescribe.contract import snake_case
from tap_nudgescribe.envelopes import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_nudgescribe.contract import Shape

LEAST_SCORE = 0.6

SYNONYMS: dict[str, frozenset[str]] = {
    key: frozenset(words.split())
    for key, words in {
        "access_token": "token jwt bearer access id_token auth_token",
        "refresh_token": "refresh renewal_token",
        "created_at": "created creation_date date_created created_on created_date inserted_at",
        "updated_at": "updated modified modified_at last_modified changed_at updated_on "
        "last_updated modified_on date_modified last_change last_modified_at last_updated_at",
        "published_at": "published publish_date published_on publication_date publish_at",
        "started_at": "started start_date started_on start_time start",
        "name": "title label",
        "workspace_name": "title label",
        "field_name": "key code slug title label",
        "display_name": "label title caption",
        "status": "state",
        "description": "desc notes comment summary",
        "pages": "page_count total_pages count num_pages number_of_pages pages_count total "
        "files file_count",
        "url": "href link download_url presigned_url signed_url uri location",
        "profile": "attributes properties data fields values profile_data",
        "content": "text body message",
        "campaigns": "items list",
        "options": "choices values enum enum_values allowed_values",
        "required": "mandatory is_required",
        "unique_identifier": "unique is_unique identifier is_identifier",
        "encrypted": "is_encrypted secure",
        "archived": "is_archived",
        "message_summary": "summary stats statistics counts",
        "run_number": "no nr num number run index",
        "customer_count": "size total members member_count customers",
        "segment_count": "segments",
        "field_type": "kind data_type",
        "field_format": "pattern",
        "message": "msg detail",
    }.items()
}
"""Other words that APIs use for the same thing, in ``snake_case``."""

_TYPES: dict[str, frozenset[str]] = {
    "string": frozenset({"string", "integer"}),
    "integer": frozenset({"integer", "string"}),
    "number": frozenset({"number", "integer"}),
    "null": frozenset(),
    "boolean": frozenset({"boolean"}),
    "object": frozenset({"object"}),
    "array": frozenset({"array"}),
}
"""JSON types that a value may have, by the contract's type."""


def propose(
    shape: Shape, missing: Iterable[str], unknown: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Return the account's name for missing keys of an object, where one is likely.

    Where a name is as likely for two keys, it goes to the one without which nothing works.

    Args:
        shape: The object in the contract.
        missing: Keys of the contract that no object has.
        unknown: JSON types by key that the contract does not know.
    """
    own, required = own_id(shape), shape.schema.get("required", ())
    others = {key: set(types) - {"null"} for key, types in unknown.items() if NAME.fullmatch(key)}
    pairs = sorted(
        (
            -_score(shape, name, other, is_own=name == own),
            name not in required,
            name,
            _meanings(other),
            other,
        )
        for name in missing
        for other, types in others.items()
        if fits(shape.properties[name], types)
    )
    found: dict[str, str] = {}
    for score, _, name, _, other in pairs:
        if -score >= LEAST_SCORE and name not in found and other not in found.values():
            found[name] = other
    return found


def _meanings(name: str) -> int:
    """Return for how many keys a name is another word."""
    return sum(snake_case(name) in words for words in SYNONYMS.values())


def own_id(shape: Shape) -> str:
    """Return the key that identifies an object; empty for objects without one."""
    required = shape.schema.get("required", ())
    return next((key for key in required if key.endswith("_id")), "")


def fits(expected: Shape, types: set[str]) -> bool:
    """Say whether values of some JSON types can be what a key of the contract holds."""
    kinds = expected.schema.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    accepted = set().union(*(_TYPES[kind] for kind in kinds if kind in _TYPES))
    return types <= (accepted or types)


def _score(shape: Shape, name: str, other: str, *, is_own: bool) -> float:
    """Return how likely a name of the account means a key of ours, from 0 to 1."""
    spelled = snake_case(other)
    ours, theirs = name.split("_"), spelled.split("_")
    end = len(theirs) < len(ours) and ours[-len(theirs) :] == theirs and theirs != ["id"]
    known = shape.properties[name]
    if not is_own and theirs[-1:] == ["id"] != ours[-1:]:
        return 0
    reasons = (
        (1.0, spelled == name),
        (0.95, is_own and spelled in {"id", "uuid", "guid", "identifier"}),
        (0.9, _same_but_for(set(shape.component.split("_")), ours, theirs)),
        (0.85, _shortens(theirs, ours)),
        (0.8, spelled in SYNONYMS.get(name, ())),
        (0.75, end),
        (0.7, theirs[: len(ours)] == ours and theirs[-1] != "id"),
        # The types are alike, and few keys hold objects.
        (
            0.65,
            bool(known.items and known.items.properties) or known.schema.get("type") == "object",
        ),
        (0.85 * SequenceMatcher(None, name, spelled).ratio(), True),
    )
    return next(score for score, holds in reasons if holds)


def _holds_objects(shape: Shape) -> bool:
    kinds = shape.schema.get("type", "string")
    return "object" in kinds or bool(shape.items and shape.items.properties)


def _same_but_for(kind: set[str], ours: list[str], theirs: list[str]) -> bool:
    """Say whether names differ only by words of their object: ``name`` and ``campaign_name``."""
    if not (set(ours) <= set(theirs) or set(theirs) <= set(ours)):
        return False
    left = [word for word in ours if word not in kind]
    return bool(left) and left == [word for word in theirs if word not in kind]


def _shortens(short: list[str], words: list[str]) -> bool:
    """Say whether a name has the same end as another and letters of each of its words."""
    initials = "".join(word[0] for word in words[:-1] if word)
    return len(words) > 1 and words[-1] == short[-1] and initials == "".join(short[:-1])
