"""The API's date and currency formats: read and write values in them."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache

DATE_FORMATS = (
    "yyyy-MM-dd",
    "dd/MM/yyyy",
    "MM/dd/yyyy",
    "dd-MM-yyyy",
    "MM-dd-yyyy",
    "dd.MM.yyyy",
    "yyyy/MM/dd",
    "dd MMM yyyy",
    "MMM dd, yyyy",
    "MMMM dd, yyyy",
    "dd MMMM yyyy",
    "yy/MM/dd",
    "dd/MM/yy",
    "MM/dd/yy",
)
"""Every date pattern that a profile field may have."""

_DIRECTIVES = {
    "yyyy": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "dd": "%d",
}
_CURRENCY_CODE = re.compile(r"[A-Z]{3}")
_AMOUNT = re.compile(r"-?(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d{1,4})?")


@cache
def _directives(pattern: str) -> str:
    return re.sub("y+|M+|d+", lambda part: _DIRECTIVES[part[0]], pattern)


def write_date(day: date, pattern: str) -> str:
    """Write a day in one of `DATE_FORMATS`."""
    return day.strftime(_directives(pattern))


def is_date(text: str, pattern: str) -> bool:
    """Tell whether a text is a day in exactly this pattern, zero padding included."""
    try:
        day = datetime.strptime(text, _directives(pattern))  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return False
    return write_date(day, pattern).casefold() == text.casefold()


def is_currency_code(text: str) -> bool:
    """Tell whether a text has the form of an ISO 4217 code."""
    return _CURRENCY_CODE.fullmatch(text) is not None


def is_amount(text: str, code: str) -> bool:
    """Tell whether a text is an amount, with or without its currency's code."""
    return _AMOUNT.fullmatch(text.removeprefix(f"{code} ").removesuffix(f" {code}")) is not None


def is_number(text: str) -> bool:
    """Tell whether a text is a finite decimal number."""
    return re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?", text) is not None
