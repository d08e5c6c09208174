"""Compare names of columns, profile fields and groups: as written, trimmed, and by resemblance."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

from tap_nudgescribe.columns import column_name, column_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESEMBLANCE = 0.75
"""How alike two names are, from 0 to 1, for one to be proposed instead of the other."""

MAX_PROPOSALS = 20
"""Names for which a resembling one is looked for: each is compared with all others."""

MAX_COMPARED = 1000
"""Names among which one is looked for that resembles, and does not merely differ in case."""

MAX_LISTED = 100
"""Names that are written out; of further ones only their number is."""

_as_column = lru_cache(maxsize=2**16)(column_name)


@lru_cache(maxsize=2**16)
def _marked(name: str) -> str:
    return column_names([name], reserved=[_as_column(name)])[name]


def matching(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are the same as one: as written or, failing that, trimmed."""
    known = list(names)
    if name in known:
        return [name]
    trimmed = name.strip()
    return [other for other in known if other.strip() == trimmed] if trimmed else []


def listed(names: Sequence[str], known: Iterable[str], kind: str) -> str:
    """Return names in quotes, each with the known name that it resembles.

    Args:
        names: Names that nothing has.
        known: Names that could have been meant.
        kind: What a known name is the name of, as in "the field".
    """
    plain = {_as_column(other): other for other in known}
    parts = []
    for number, name in enumerate(names[:MAX_LISTED]):
        near = _resembling(name, plain) if number < MAX_PROPOSALS else None
        parts.append(f"{name!r} (resembles {kind} {near!r})" if near else repr(name))
    rest = len(names) - len(parts)
    return ", ".join(parts) + (f" and {rest} more" if rest else "")


def _resembling(name: str, plain: Mapping[str, str]) -> str | None:
    """Return the name that resembles one the most, without regard to case and signs, or None."""
    written = _as_column(name)
    if written in plain or len(plain) > MAX_COMPARED:
        return plain.get(written)
    close = get_close_matches(written, plain, n=1, cutoff=RESEMBLANCE)
    return plain[close[0]] if close else None


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
            self._trimmed.setdefault(name.strip(), []).append(name)
            self._plain.setdefault(_as_column(name), []).append(name)
            self._marked.setdefault(_marked(name), []).append(name)

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
    """Return for each column that resembles fields which ones; the closest kind counts.

    Of fields whose names meet, all but one have a column with the mark of their name. The plain
    column is that of the one that has none.
    """
    names = list(columns)
    told = {index.marked(column)[0] for column in names if len(index.marked(column)) == 1}
    found = {}
    for column in names:
        kinds = (
            index.marked(column),
            [field for field in index.trimmed(column) if field not in told],
            [field for field in index.plain(column) if field not in told],
        )
        fields = next(filter(None, kinds), None)
        if fields:
            found[column] = fields
    return found
