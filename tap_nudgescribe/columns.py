"""Names for warehouse columns: snake_case ASCII, unique when case is ignored, stable."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 63
"""Bytes that Postgres allows an identifier."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_TRANSLITERATED = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "œ": "oe"})


def column_name(original: str) -> str:
    """Return a safe column name for one name, whatever others there are.

    It has only ``a-z``, ``0-9`` and ``_``, begins with a letter, and has 1 to 63 characters. A
    name of which nothing is left, or that Singer reserves, gets one made of its hash.
    """
    split = _CAMEL.sub("_", original)
    latin = unicodedata.normalize("NFKD", split.lower().translate(_TRANSLITERATED))
    ascii_only = latin.encode("ascii", "ignore").decode()
    name = _OTHER.sub("_", ascii_only.lower()).strip("_")
    if not name:
        return f"column_{_mark(original)}"
    if name[0].isdigit() or name.startswith("sdc_"):
        name = f"n_{name}"
    return name[:LONGEST].rstrip("_")


def column_names(originals: Iterable[str], *, reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return a column name for each name, all different.

    Where names would meet, the one that is already a column name keeps it, and each other gets a
    suffix from its own hash: the result does not depend on the order of the names.

    Args:
        originals: Names; repeated ones count once.
        reserved: Column names that are taken.
    """
    distinct = list(dict.fromkeys(originals))
    plain = {original: column_name(original) for original in distinct}
    wanted = Counter(plain.values())
    taken = set(reserved)
    result = {}
    for original in distinct:
        name = plain[original]
        alone = wanted[name] == 1 or original == name
        if name in taken or not alone:
            mark = _mark(original)
            name = f"{name[: LONGEST - len(mark) - 1]}_{mark}"
        result[original] = name
    return result


def _mark(original: str) -> str:
    return hashlib.blake2b(original.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
