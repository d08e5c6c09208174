"""Decode JSON of the API: numbers exactly, and one odd value without the loss of the others."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from tap_nudgescribe.profile import bounded, parse_number

REPLACEMENT = "\ufffd"

SHORT = 18
"""A number without an exponent that has no more characters is within the bounds of a column."""

LONGEST_INTEGER = 4300
"""Digits of an integer that Python converts; a longer one is text."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass
class Repairs:
    """How often an answer held what no column and no JSON text may hold.

    Attributes:
        characters: Lone surrogates and bytes that are not UTF-8, now U+FFFD.
        numbers: Numbers beyond the bounds of a column, NaN and Infinity, now text as written.
    """

    characters: int = 0
    numbers: int = 0

    def __bool__(self) -> bool:
        """Say whether there was any."""
        return bool(self.characters or self.numbers)

    def add(self, other: Repairs) -> None:
        """Count those of another answer as well."""
        self.characters += other.characters
        self.numbers += other.numbers


def decoded_bytes(content: bytes) -> int:
    """Return about how many bytes a JSON value takes when it is decoded.

    Measured: an object takes 64 bytes when it is empty and 184 with few keys, a list 56, a short
    text in one of them 64, a :class:`~decimal.Decimal` 112. Signs within texts count as well. A
    list of numbers with an exponent and no point takes up to 1.7 times as much.
    """
    values, objects, lists, points = (content.count(sign) for sign in (b",", b"{", b"[", b"."))
    return len(content) + 64 * (values + 1) + 184 * objects + 56 * (lists + points)


def decode(content: bytes) -> tuple[Any, Repairs]:
    """Return a JSON value and what had to be repaired in it.

    Numbers with a fraction or an exponent are :class:`~decimal.Decimal`.

    Raises:
        ValueError: for what is no JSON; the message says where, and quotes nothing.
        RecursionError: for JSON that is nested too deeply.
    """
    repairs = Repairs()

    def number(text: str) -> Decimal | str:
        if len(text) <= SHORT and "e" not in text and "E" not in text:
            return Decimal(text)
        try:
            return bounded(parse_number(text))
        except ValueError:
            return as_written(text)

    def as_written(text: str) -> str:
        repairs.numbers += 1
        return text

    try:
        return msgspec.json.Decoder(float_hook=number).decode(content), repairs
    except (msgspec.DecodeError, UnicodeDecodeError):
        repairs.numbers = 0  # it begins again
    text = content.decode("utf-8-sig", "replace")
    repairs.characters = text.count(REPLACEMENT) - content.count(REPLACEMENT.encode())
    try:
        value = json.loads(
            text,
            parse_float=number,
            parse_int=lambda text: int(text) if len(text) < LONGEST_INTEGER else as_written(text),
            parse_constant=as_written,
            strict=False,
        )
    except json.JSONDecodeError as error:
        problem = f"no JSON at character {error.pos}"
        raise ValueError(problem) from None
    if _SURROGATE_ESCAPE.search(text):
        value = _without_surrogates(value, repairs)
    return value, repairs


def _without_surrogates(value: Any, repairs: Repairs) -> Any:  # noqa: ANN401 (JSON)
    """Return a value with lone surrogates replaced; keys that meet then stay apart."""
    match value:
        case str():
            result, count = _SURROGATE.subn(REPLACEMENT, value)
            repairs.characters += count
            return result
        case list():
            return [_without_surrogates(item, repairs) for item in value]
        case dict():
            renamed: dict[str, Any] = {}
            for key, item in value.items():
                name = _without_surrogates(key, repairs)
                while name in renamed or (name != key and name in value):
                    name += REPLACEMENT
                renamed[name] = _without_surrogates(item, repairs)
            return renamed
        case _:
            return value
