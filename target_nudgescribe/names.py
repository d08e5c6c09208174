"""Compare names of columns, profile fields and groups: as written, trimmed, and by resemblance."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from tap_nudgescribe.columns import column_name, column_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESEMBLANCE = 0.75
"""How alike two names are, from 0 to 1, for one to be proposed instead of the other."""

MAX_PROPOSALS = 20
"""Names for which a resembling one is looked for: each is compared with all others."""


def matching(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are the same as one: as written or, failing that, trimmed."""
    known = list(names)
    if name in known:
        return [name]
    trimmed = name.strip()
    return [other for other in known if other.strip() == trimmed] if trimmed else []


def resembling(name: str, names: Iterable[str]) -> str | None:
    """Return the name that resembles one the most, without regard to case and signs, or None."""
    plain = {column_name(other): other for other in names if other != name}
    close = get_close_matches(column_name(name), plain, n=1, cutoff=RESEMBLANCE)
    return plain[close[0]] if close else None


def listed(names: Sequence[str], known: Iterable[str], kind: str) -> str:
    """Return names in quotes, each with the known name that it resembles.

    Args:
        names: Names that nothing has.
        known: Names that could have been meant.
        kind: What a known name is the name of, as in "the field".
    """
    pool = list(known)
    parts = []
    for number, name in enumerate(names):
        near = resembling(name, pool) if number < MAX_PROPOSALS else None
        parts.append(f"{name!r} (resembles {kind} {near!r})" if near else repr(name))
    return ", ".join(parts)


class ColumnIndex:
    """Finds the profile fields whose names become a column's name when written as columns.

    Args:
        names: The profile fields' names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Write each name as a column: alone, and where names would meet."""
        self._trimmed: dict[str, list[str]] = {}
        self._plain: dict[str, list[str]] = {}
        self._marked: dict[str, list[str]] = {}
        for name in sorted(names):
            plain = column_name(name)
            marked = column_names([name], reserved=[plain])[name]
            self._trimmed.setdefault(name.strip(), []).append(name)
            self._plain.setdefault(plain, []).append(name)
            self._marked.setdefault(marked, []).append(name)

    def trimmed(self, column: str) -> list[str]:
        """Return the fields with a column's name, blanks at both ends aside."""
        return self._trimmed.get(column.strip(), [])

    def plain(self, column: str) -> list[str]:
        """Return the fields that a column is named after, as ``first_name`` for ``First Name``."""
        return self._plain.get(column, [])

    def marked(self, column: str) -> list[str]:
        """Return the fields that a column is named after with the mark of the name."""
        return self._marked.get(column, [])


def by_field(columns: Iterable[str], index: ColumnIndex) -> Mapping[str, list[str]]:
    """Return for each column that resembles fields which ones; the closest kind counts."""
    found = {}
    for column in columns:
        names = index.marked(column) or index.trimmed(column) or index.plain(column)
        if names:
            found[column] = names
    return found
