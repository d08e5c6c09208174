"""Names for warehouse columns: snake_case ASCII, unique when case is ignored, stable.

A name decides its column by itself wherever that is possible. Where two names want the same
column, the catalog decides: a name that has a column keeps it, and the new one gets a suffix of
its own hash. Without a catalog the spelling decides, never the order in which names were met.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 63
"""Bytes that Postgres allows an identifier."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_TRANSLITERATED = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "œ": "oe"})


SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "oid", "tableoid", "xmax", "xmin"})
"""Names that Postgres keeps for every table's own columns."""

MARK_BYTES = 4
"""Bytes of a hash in a column name, as long as they tell all names apart."""


def column_name(original: str) -> str:
    """Return a safe column name for one name, whatever others there are.

    It has only ``a-z``, ``0-9`` and ``_``, begins with a letter, and has 1 to 63 characters. A
    name of which nothing is left gets one made of its hash; so does the end of one that is too
    long. One that Singer or Postgres reserves, or that begins with a digit, gets the prefix
    ``n_``.
    """
    split = _CAMEL.sub("_", original)
    latin = unicodedata.normalize("NFKD", split.lower().translate(_TRANSLITERATED))
    ascii_only = latin.encode("ascii", "ignore").decode()
    name = _OTHER.sub("_", ascii_only.lower()).strip("_")
    if not name:
        return f"column_{_mark(original)}"
    if name[0].isdigit() or name.startswith("sdc_") or name in SYSTEM_COLUMNS:
        name = f"n_{name}"
    return name if len(name) <= LONGEST else _marked(name, original)


def column_names(
    originals: Iterable[str],
    *,
    reserved: Iterable[str] = (),
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return a column name for each name, all different when case is ignored.

    A known name keeps its column. Of new names that would meet, one gets the plain column name:
    the one that is spelled like it, or has the fewest capital letters, or comes first in the
    alphabet. Each other one, and each that would meet a known or reserved column, gets a suffix
    from its own hash. The result does not depend on the order of the names.

    Args:
        originals: Names; repeated ones count once.
        reserved: Column names that are taken.
        known: Columns by name, as a catalog has them.
    """
    known = known or {}
    distinct = list(dict.fromkeys(originals))
    taken = {name.lower() for name in (*reserved, *known.values())}
    result = {}
    beaten = []
    for original in sorted(set(distinct) - known.keys(), key=_precedence):
        name = column_name(original)
        if name in taken:
            beaten.append(original)
        else:
            taken.add(name)
            result[original] = name
    for original in beaten:
        size = MARK_BYTES
        while (name := _marked(column_name(original), original, size)) in taken:
            size += 1
        taken.add(name)
        result[original] = name
    return {name: known[name] if name in known else result[name] for name in distinct}


def columns_of(names: Iterable[str], titles: Mapping[str, str | None]) -> dict[str, str]:
    """Return the column of each name that has one in a catalog.

    A column with a title is that of this name alone. One without is that of the name which would
    be called so: a column that a user has written into the catalog.

    Args:
        names: Names.
        titles: Title by column; None where the catalog has none.
    """
    named: dict[str, str] = {}
    for column, title in titles.items():
        if title is not None:
            named.setdefault(title, column)
    untitled = {column for column, title in titles.items() if title is None}
    result = {}
    for name in sorted(set(names), key=_precedence) if untitled else names:
        if name in named:
            result[name] = named[name]
        elif (column := column_name(name)) in untitled:
            untitled.remove(column)
            result[name] = column
    return result


def _precedence(original: str) -> tuple[bool, int, str]:
    capitals = sum(map(str.isupper, original))
    return original != column_name(original), capitals, original


def _marked(name: str, original: str, size: int = MARK_BYTES) -> str:
    mark = _mark(original, size)
    return f"{name[: LONGEST - len(mark) - 1].rstrip('_')}_{mark}"


def _mark(original: str, size: int = MARK_BYTES) -> str:
    content = original.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=size).hexdigest()
