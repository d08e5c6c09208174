"""Customer profile fields: their definitions, and the formats of their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

PIVOT = 69
"""Two-digit years from here on are 19xx, those below 20xx (assumed; POSIX does the same)."""

_PARTS = {
    "yyyy": r"(?P<year>[0-9]{4})",
    "yy": r"(?P<short>[0-9]{2})",
    "MMMM": "(?P<month_name>" + "|".join(MONTHS) + ")",
    "MMM": "(?P<month_mark>" + "|".join(month[:3] for month in MONTHS) + ")",
    "MM": r"(?P<month>[0-9]{1,2})",
    "dd": r"(?P<day>[0-9]{1,2})",
}
_TOKEN = re.compile("yyyy|yy|MMMM|MMM|MM|dd")
_ISO_DAY = re.compile(r"\s*[0-9]{4}-[0-9]")
_ISO_TIME = re.compile(
    r"""(?<=[0-9])[T\ ]
    (?:
        (?:[01][0-9]|2[0-3]) (?: :[0-5][0-9] (?: :(?:[0-5][0-9]|60) (?:[.,][0-9]+)? )? )?
        | 24:00 (?: :00 (?:[.,]0+)? )?
    )
    \ ?(?:Z|UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?$""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
"""The time of a moment in ISO 8601; what else stands behind a day makes it no date."""


@dataclass(frozen=True)
class ProfileField:
    """The definition of one profile field in one workspace (operation ``list_fields``)."""

    workspace_id: str
    field_id: str
    name: str
    field_type: str
    field_format: str | None = None
    display_name: str | None = None
    required: bool = False
    unique_identifier: bool = False
    encrypted: bool = False
    options: tuple[str, ...] = ()
    validation_rules: str | None = None
    """JSON text with sorted keys: rules that differ in their order only are the same."""


class DateFormat:
    """One of the documented date patterns, for both directions."""

    def __init__(self, pattern: str) -> None:
        """Compile a pattern such as ``dd MMM yyyy``."""
        self._tokens = _TOKEN.split(pattern), _TOKEN.findall(pattern)
        separators, tokens = self._tokens
        expression = re.escape(separators[0])
        for token, separator in zip(tokens, separators[1:], strict=True):
            expression += _PARTS[token] + re.escape(separator)
        self._expression = re.compile(rf"\s*{expression}\s*", re.ASCII | re.IGNORECASE)
        self._iso = pattern == "yyyy-MM-dd"

    def parse(self, text: str) -> date:
        """Return the date that a text of this pattern names.

        Raises:
            ValueError: for another text; the message does not hold it.
        """
        if self._iso:
            text = _ISO_TIME.sub("", text.strip())
        match = self._expression.fullmatch(text)
        if not match:
            problem = "no date of the field's format"
            raise ValueError(problem)
        found = match.groupdict()
        if "year" in found:
            year = int(found["year"])
        else:
            year = int(found["short"]) + (1900 if int(found["short"]) >= PIVOT else 2000)
        if "month" in found:
            month = int(found["month"])
        else:
            mark = (found.get("month_name") or found["month_mark"])[:3].title()
            month = [name[:3] for name in MONTHS].index(mark) + 1
        try:
            return date(year, month, int(found["day"]))
        except ValueError:
            problem = "no such day in the calendar"
            raise ValueError(problem) from None

    def render(self, day: date) -> str:
        """Return a date as text of this pattern."""
        values = {
            "yyyy": f"{day.year:04d}",
            "yy": f"{day.year % 100:02d}",
            "MMMM": MONTHS[day.month - 1],
            "MMM": MONTHS[day.month - 1][:3],
            "MM": f"{day.month:02d}",
            "dd": f"{day.day:02d}",
        }
        separators, tokens = self._tokens
        pairs = zip(tokens, separators[1:], strict=True)
        return separators[0] + "".join(values[token] + rest for token, rest in pairs)


DATE_FORMATS = {
    pattern: DateFormat(pattern)
    for pattern in (
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
}
"""The documented date formats."""

_ISO = DATE_FORMATS["yyyy-MM-dd"]


def parse_day(text: str, form: DateFormat) -> date:
    """Return the date of a text in a format or in ISO 8601, the day as it is written.

    Raises:
        ValueError: for another text; the message does not hold it.
    """
    if _ISO_DAY.match(text):
        return _ISO.parse(text)
    return form.parse(text)


_MINOR_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS_OF = {code: digits for digits, codes in _MINOR_DIGITS.items() for code in codes.split()}


def minor_digits(currency: str | None) -> int:
    """Return how many decimals amounts of a currency have (ISO 4217); 2 for an unknown one."""
    return _DIGITS_OF.get((currency or "").upper(), 2)


DECIMAL_DIGITS, DECIMAL_PLACES = 38, 18
"""What a number of a column may have: a Parquet file and every warehouse hold it exactly."""

MINUS = "\N{MINUS SIGN}"
"""What spreadsheets and documents write for ``-``."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_INTEGER = re.compile(f"[+{MINUS}-]?[0-9]+")

_SYMBOLS = {
    "AUD": ("A$", "AU$"),
    "BRL": ("R$",),
    "CAD": ("C$", "CA$"),
    "CNY": ("CN¥",),
    "EUR": ("€",),
    "GBP": ("£",),
    "HKD": ("HK$",),
    "ILS": ("₪",),
    "INR": ("₹",),
    "JPY": ("¥", "JP¥"),
    "KRW": ("₩",),
    "KZT": ("₸",),
    "MXN": ("MX$",),
    "NGN": ("₦",),
    "NZD": ("NZ$",),
    "PHP": ("₱",),
    "RUB": ("₽",),
    "SGD": ("S$",),
    "THB": ("฿",),
    "TRY": ("₺",),
    "TWD": ("NT$",),
    "UAH": ("₴",),
    "USD": ("$", "US$"),
    "VND": ("₫",),
}
"""Symbols of one currency each, by code: ``$`` alone is that of USD, ``¥`` alone that of JPY."""


def parse_number(value: object) -> Decimal:
    """Return a number exactly as it is written.

    Raises:
        ValueError: for what is no finite number; the message does not hold it.
    """
    if type(value) is int:
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("no number")  # noqa: EM101, TRY003, TRY004
    text = str(value).strip().replace(MINUS, "-")
    if not _NUMBER.fullmatch(text):
        raise ValueError("no number")  # noqa: EM101, TRY003
    return _decimal(text, "no number")


def parse_currency(value: object, currency: str | None) -> Decimal:
    """Return an amount: sign, digits, ``.`` for decimals, ``,`` for grouping, and the currency.

    The currency may stand before or after the digits, as its code or as a symbol that is its
    own. Another currency, an accountant's brackets, a percent sign and any other text make a
    value no amount: nobody can tell what it means.

    Args:
        value: A JSON value.
        currency: The ISO 4217 code that the field's format gives.

    Raises:
        ValueError: for anything else, a decimal comma included; the message does not hold it.
    """
    if not isinstance(value, str):
        return parse_number(value)
    match = _amounts_of(currency).fullmatch(value.replace(MINUS, "-"))
    if not match or (match["before"] and match["sign"]):
        raise ValueError("no amount")  # noqa: EM101, TRY003
    digits = match["digits"].replace(",", "")
    return _decimal((match["before"] or match["sign"] or "") + digits, "no amount")


@lru_cache(maxsize=256)
def _amounts_of(currency: str | None) -> re.Pattern[str]:
    """Return what an amount of a currency looks like: ``-5``, ``-€5``, ``€ -5``, ``5 EUR``."""
    code = (currency or "").strip().upper()
    known = (code, *_SYMBOLS.get(code, ())) if re.fullmatch("[A-Z]{3}", code) else ()
    marks = "|".join(map(re.escape, known)) or "(?!)"
    digits = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
    return re.compile(
        rf"\s*(?:(?P<before>[+-])?(?:{marks})\s*)?(?P<sign>[+-])?(?P<digits>{digits})"
        rf"(?:\s*(?:{marks}))?\s*"
    )


def _decimal(text: str, problem: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits
        raise ValueError(problem) from None


def parse_integer(value: object) -> int:
    """Return a whole number of at most 64 bits.

    Raises:
        ValueError: for anything else; the message does not hold it.
    """
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str) and not _INTEGER.fullmatch(value.strip()):
        raise ValueError("no integer")  # noqa: EM101, TRY003
    number = bounded(parse_number(value))
    if number != number.to_integral_value() or not -(2**63) <= number < 2**63:
        raise ValueError("no integer")  # noqa: EM101, TRY003
    return int(number)


def bounded(number: Decimal) -> Decimal:
    """Return a number that a column can hold exactly.

    Raises:
        ValueError: for more than :data:`DECIMAL_PLACES` places, or more digits before the point
            than :data:`DECIMAL_DIGITS` leaves.
    """
    places = -int(number.as_tuple().exponent)
    if places > DECIMAL_PLACES or number.adjusted() >= DECIMAL_DIGITS - DECIMAL_PLACES:
        raise ValueError("out of bounds")  # noqa: EM101, TRY003
    return number
