"""Invented values for profile fields, some of them dirty."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from tests.sandbox.formats import write_date

if TYPE_CHECKING:
    import random

    from tests.sandbox.account import Field, Value

_FIRST_NAMES = ("Ayla", "Bosko", "Čedomira", "Dagny", "Eñaut", "Fumiko", "Göran", "Halvdan", "Ilse")
_WORDS = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "harbour")
_EPOCH = date(1950, 1, 1)
_DIRTY: dict[str, tuple[Value, ...]] = {
    "string": (" ", "line\nbreak", "🌻"),
    "number": ("n/a", "12,5", "NaN"),
    "char": ("AB", "?"),
    "Date": ("n/a", "0000-00-00", "yesterday"),
    "currency": ("n/a", "free", "12.50.0"),
    "enum": ("Unobtainium", " "),
}


def value(field: Field, source: random.Random, position: int) -> Value:
    """Make a value for a field of the customer at a position, unique where it has to be."""
    if field.unique_identifier:
        return _identifier(field, position)
    chance = source.random()
    if chance < 0.03:
        return source.choice(_DIRTY[field.field_type])
    if chance < 0.06:
        return None
    if chance < 0.08:
        return ""
    return _clean(field, source)


def _identifier(field: Field, position: int) -> Value:
    if "mail" in field.field_name.lower():
        return f"{_WORDS[position % len(_WORDS)]}.{position}@example.com"
    return f"{position:08d}"


def _clean(field: Field, source: random.Random) -> Value:
    match field.field_type:
        case "number":
            number = source.randrange(20_000) / 100
            return number if source.random() < 0.7 else str(number)
        case "char":
            return source.choice("ABCDE")
        case "Date":
            day = _EPOCH + timedelta(days=source.randrange(27_000))
            return write_date(day, field.field_format or "yyyy-MM-dd")
        case "currency":
            amount = source.randrange(5_000_000) / 100
            return source.choice((amount, f"{amount:.2f}", f"{field.field_format} {amount:,.2f}"))
        case "enum":
            return source.choice(field.options or [""])
        case _:
            return source.choice(_FIRST_NAMES if "irst" in field.field_name else _WORDS)
