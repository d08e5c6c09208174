"""The one text of a value, whatever path it came on.

A value has the same canonical text in a RECORD message, in a line or a Parquet column of a BATCH
file, and behind a stream map:

========================  =========================================================================
JSON value                canonical text
========================  =========================================================================
null, or missing          none
text                      the text itself, also if it looks like a number
``true``, ``false``       ``true``, ``false``
number                    plain decimal digits: no exponent, no zero behind the last digit of a
                          fraction, no ``-0``. ``1e5``, ``100000`` and ``100000.0`` are ``100000``.
                          Only beyond :data:`MAX_DIGITS` digits it is ``d.ddde±n``
object, list              JSON without spaces, keys in the order of their code points, characters
                          unescaped wherever JSON allows it, numbers as above; of two equal keys the
                          last holds
========================  =========================================================================

What JSON does not have (dates, times, UUIDs) has the text of Python's ``isoformat`` and ``str``.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from tap_nudgescribe.errors import NudgescribeError

MAX_DIGITS = 1000
"""Digits of a number that is written out: a few characters must not become megabytes."""

MAX_DEPTH = 100
"""Objects and lists within one another in one value."""

_EXPONENT_CHARACTERS = 6
_INTEGER_CHARACTERS = 4000  # Python refuses to convert much longer ones


class InputError(NudgescribeError):
    """The input is not made of Singer messages."""

    advice = "Look at the tap: nothing that came after this was read."


class ValueFaultError(Exception):
    """A value has no text.

    Attributes:
        code: Why, as a stable code.
    """

    def __init__(self, *, code: str) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


def number_text(text: str) -> str:
    """Return the canonical text of a JSON number, or of a number as Python or Arrow writes it."""
    if "e" in text or "E" in text:
        return _expanded(text)
    if "." in text:
        text = text.rstrip("0")
        if text[-1] == ".":
            text = text[:-1]
    return "0" if text == "-0" else text


def _expanded(text: str) -> str:
    mantissa, _, exponent = text.lower().partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    exponent = exponent.lstrip("+")
    if len(exponent) > _EXPONENT_CHARACTERS:
        # Nothing takes such a number: all that matters is that it has one text.
        shown = digits.rstrip("0")
        return f"{sign}{shown[0]}.{shown[1:] or 0}e{exponent}"
    power = int(exponent) - len(fraction)
    shown = digits.rstrip("0")
    power += len(digits) - len(shown)
    first = len(shown) + power - 1
    if abs(first) >= MAX_DIGITS:
        rest = f".{shown[1:]}" if len(shown) > 1 else ""
        return f"{sign}{shown[0]}{rest}e{first:+d}"
    if power >= 0:
        return f"{sign}{shown}{'0' * power}"
    if first >= 0:
        return f"{sign}{shown[: first + 1]}.{shown[first + 1 :]}"
    return f"{sign}0.{'0' * (-first - 1)}{shown}"


def _raw_number(text: str) -> msgspec.Raw:
    return msgspec.Raw(number_text(text).encode())


_ENCODE = msgspec.json.Encoder(order="sorted").encode
_DECODE = msgspec.json.Decoder(float_hook=_raw_number).decode


def _exact(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except ArithmeticError:
        return number_text(text)


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < _INTEGER_CHARACTERS else Decimal(text)


def loads(text: bytes) -> Any:  # noqa: ANN401 (JSON)
    """Decode JSON as the standard library does, which accepts more; numbers are exact.

    Raises:
        InputError: for what is not JSON.
    """
    try:
        return json.loads(text, parse_float=_exact, parse_int=_integer)
    except (ValueError, RecursionError):
        problem = "A record of the input is no JSON, or is nested too deeply"
        raise InputError(problem) from None


_VALUE = json.JSONDecoder(parse_float=str, parse_int=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def raw_member(line: bytes, name: str) -> bytes | None:
    """Return a member of a JSON object exactly as it is written; None if there is none.

    Args:
        line: JSON that :func:`loads` decodes to an object.
        name: The member's name; of several the last one counts.
    """
    text = line.decode("utf-8", "surrogatepass").removeprefix("\ufeff")
    found = None
    place = _space(text, text.index("{") + 1)
    while text[place] != "}":
        key, place = json.decoder.scanstring(text, place + 1)  # type: ignore[attr-defined]
        begin = _space(text, _space(text, place) + 1)
        _, end = _VALUE.raw_decode(text, begin)
        if key == name:
            found = text[begin:end].encode("utf-8", "surrogatepass")
        place = _space(text, end)
        if text[place] == ",":
            place = _space(text, place + 1)
    return found


def _space(text: str, place: int) -> int:
    """Return where the next character is that is not a space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place


def text_of(value: Any) -> str | None:  # noqa: ANN401, C901, PLR0911, PLR0912 (a table of types)
    """Return the canonical text of a Python value; None for null and a missing value.

    Raises:
        ValueFaultError: for a value that has none.
    """
    match value:
        case None | msgspec.UnsetType():
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return _encodable(value)
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise ValueFaultError(code="not_finite")
            return number_text(repr(value))
        case Decimal():
            if not value.is_finite():
                raise ValueFaultError(code="not_finite")
            return number_text(str(value))
        case datetime() | date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case msgspec.Raw():
            return _raw_text(bytes(value))
        case dict() | list() | tuple():
            return _nested_text(value)
        case bytes():
            raise ValueFaultError(code="not_unicode")
        case _:
            raise ValueFaultError(code="no_text")


def is_scalar(value: Any) -> bool:  # noqa: ANN401 (any value)
    """Say whether a value can name something: texts and numbers can, ``true`` and lists cannot."""
    if isinstance(value, msgspec.Raw):
        return bytes(value)[:1] not in {b"{", b"[", b"t", b"f"}
    return not isinstance(value, bool | dict | list | tuple)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueFaultError(code="not_unicode") from None
    return text


def _raw_text(text: bytes) -> str | None:
    """Return the canonical text of JSON as it is written."""
    if text[:1] in {b"{", b"["}:
        if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
            try:
                return _ENCODE(_DECODE(text)).decode()
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                pass  # the standard library takes more, or says what is wrong
        try:
            return _nested_text(loads(text))
        except InputError:
            raise ValueFaultError(code=_why_not_json(text)) from None
    try:
        return text_of(loads(text))
    except InputError:
        raise ValueFaultError(code=_why_not_json(text)) from None


def _why_not_json(text: bytes) -> str:
    """Return why a value that has the form of JSON cannot be decoded."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return "not_unicode"
    return "too_deep"


def _nested_text(value: Any) -> str:  # noqa: ANN401 (an object or a list)
    try:
        return _ENCODE(_prepared(value, 1)).decode()
    except (UnicodeEncodeError, msgspec.MsgspecError):
        raise ValueFaultError(code="not_unicode") from None


def _prepared(value: Any, depth: int) -> Any:  # noqa: ANN401 (JSON)
    """Return a value in a form in which it is encoded canonically."""
    match value:
        case dict() | list() | tuple() if depth > MAX_DEPTH:
            raise ValueFaultError(code="too_deep")
        case dict():
            return {_encodable(str(k)): _prepared(v, depth + 1) for k, v in value.items()}
        case list() | tuple():
            return [_prepared(each, depth + 1) for each in value]
        case None | bool() | int():
            return value
        case str():
            return _encodable(value)
        case float() | Decimal():
            return msgspec.Raw((text_of(value) or "").encode())
        case _:
            return text_of(value)
