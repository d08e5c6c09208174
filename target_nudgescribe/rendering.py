"""Render a column of texts in the format of its profile field, exactly or not at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tap_nudgescribe.profile import (
    DATE_FORMATS,
    minor_digits,
    parse_currency,
    parse_day,
    parse_number,
)
from target_nudgescribe.arrow_text import Faults, faults_at
from target_nudgescribe.rows import bytes_of, holds_any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_nudgescribe.profile import ProfileField

LONGEST_NUMBER = 400
"""Characters of a number that is written out, enough for any float; a longer one is refused."""

LONGEST_COUNT = 31
"""Digits of a number that is seen at a glance to need no rendering."""

LONGEST_CAST = 25
"""Characters of an amount that Arrow may cast: it does not notice when a number overflows."""

LONGEST_SMALL = 14
"""Characters of one for which half the width is enough, which takes three quarters of the time."""

_EXACT = Context(prec=2 * LONGEST_NUMBER, rounding=ROUND_HALF_EVEN)

_choose: Any = pc.if_else  # its stub allows no scalars among the arrays

_PLAIN_NUMBER = r"^(0|-?[1-9]\d{0,30}|-?(0|[1-9]\d{0,30})\.\d{0,28}[1-9])$"
_ISO_MOMENT = (
    r"^\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?"
    r" ?(Z|UTC|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?$"
)


@dataclass(frozen=True)
class Rendered:
    """A rendered column.

    Attributes:
        values: Texts; null where the source is null or faulty.
        faults: Where a value does not fit the field, and why.
        rounded: How many amounts had more digits than their currency has.
        ambiguous: How many dates are of a century that the format's two digits do not tell.
    """

    values: pa.StringArray
    faults: Faults
    rounded: int = 0
    ambiguous: int = 0


def render(field: ProfileField, texts: pa.StringArray) -> Rendered:
    """Return a column of texts in the field's own format.

    A date is the calendar day as it is written, whatever its zone. An amount is rounded half to
    even to its currency's digits. Text is left as it is. A blank is null, except in text.
    """
    kind = field.field_type.lower()
    if kind in {"number", "currency", "date", "enum", "char"}:
        blank = pc.equal(texts, pa.scalar(""))
        if pc.any(blank).as_py():
            texts = pc.if_else(blank, pa.scalar(None, pa.string()), texts)
    if kind == "number":
        return _numbers(texts)
    if kind == "currency":
        return _amounts(texts, field.field_format)
    if kind == "date":
        return _dates(texts, field.field_format or "")
    if kind == "enum" and field.options:
        known = pc.is_in(texts, value_set=pa.array(field.options, pa.string()))
        return _only(texts, known, "not_an_option")
    if kind == "char":
        return _only(texts, pc.equal(pc.utf8_length(texts), pa.scalar(1, pa.int32())), "not_a_char")
    return _texts(texts)


def _texts(texts: pa.StringArray) -> Rendered:
    if not holds_any(texts, b"\0"):
        return Rendered(texts, {})
    return _only(texts, pc.invert(pc.match_substring(texts, "\0")), "nul_character")


def _only(texts: pa.StringArray, right: pa.BooleanArray, code: str) -> Rendered:
    """Keep the texts that are right; the others are faults of one code."""
    wrong = pc.and_(texts.is_valid(), pc.invert(right))
    faults = faults_at(wrong, code)
    if not faults:
        return Rendered(texts, faults)
    values: pa.StringArray = _choose(wrong, pa.scalar(None, pa.string()), texts)
    return Rendered(values, faults)


def _numbers(texts: pa.StringArray) -> Rendered:
    if _are_counts(texts):
        return Rendered(texts, {})
    plain = pc.match_substring_regex(texts, _PLAIN_NUMBER)
    values, faults = _rest(texts, plain, _number, "not_a_number")
    return Rendered(values, faults)


def _are_counts(texts: pa.StringArray) -> bool:
    """Say whether all texts are digits alone, without leading zeros and not too many."""
    content, places = bytes_of(texts)
    lengths = np.diff(places)
    signs = np.frombuffer(content, np.uint8)
    if not len(signs) or lengths.max() > LONGEST_COUNT or (signs - ord("0") > 9).any():  # noqa: PLR2004 (the last digit)
        return False
    return not (signs[places[:-1][lengths > 1]] == ord("0")).any()


def _number(text: str) -> str:
    number = parse_number(text)
    if number.is_zero():
        return "0"
    digits = format(number, "f") if abs(number.adjusted()) < LONGEST_NUMBER else ""
    if not 0 < len(digits) <= LONGEST_NUMBER:
        raise _TooLongError
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


class _TooLongError(ValueError):
    pass


def _amounts(texts: pa.StringArray, currency: str | None) -> Rendered:
    digits = minor_digits(currency)
    rounded = 0

    def amount(text: str) -> str:
        nonlocal rounded
        exact = _exact_amount(text, currency)
        if abs(exact.adjusted()) >= LONGEST_NUMBER:
            raise _TooLongError
        result = exact.quantize(Decimal(1).scaleb(-digits), context=_EXACT)
        rounded += result != exact
        return format(result.copy_abs() if result.is_zero() else result, "f")

    longest = _longest(texts)
    if longest <= LONGEST_CAST and not holds_any(texts, b"eE"):
        kind = pa.decimal64(18, digits) if longest <= LONGEST_SMALL else pa.decimal128(38, digits)
        # Arrow takes the same texts for numbers as parse_number, and refuses to lose a digit.
        with suppress(pa.ArrowInvalid):
            exact: Any = texts.cast(kind).cast(pa.string())
            return Rendered(exact, {})
    values, faults = _each(texts.to_pylist(), amount, "not_an_amount")
    return Rendered(pa.array(values, pa.string()), faults, rounded)


def _longest(texts: pa.StringArray) -> int:
    """Return the most bytes that a text has."""
    return int(np.diff(bytes_of(texts)[1]).max(initial=0))


def _exact_amount(text: str, currency: str | None) -> Decimal:
    try:
        return parse_number(text)
    except ValueError:
        return parse_currency(text, currency)


def _dates(texts: pa.StringArray, pattern: str) -> Rendered:
    form = DATE_FORMATS.get(pattern)
    if form is None:
        return _texts(texts)
    if _longest(texts) > len("2026-01-02"):
        moment = pc.match_substring_regex(texts, _ISO_MOMENT)
        texts = pc.if_else(moment, pc.utf8_slice_codeunits(texts, 0, 10), texts)
    render = _day_renderer(pattern)
    encoded = texts.dictionary_encode()
    # A run has few different days, whatever the number of its rows.
    days = encoded.dictionary.to_pylist()
    distinct, wrong = _each(days, render, "not_a_date")
    values = pa.array(distinct, pa.string()).take(encoded.indices)
    ambiguous = 0
    if "yyyy" not in pattern:
        other = [
            told is not None and form.parse(told) != parse_day(str(day), form)
            for told, day in zip(distinct, days, strict=True)
        ]
        of_rows = pa.array(other, pa.bool_()).take(encoded.indices)
        ambiguous = len(faults_at(of_rows, "ambiguous"))
    if not wrong:
        return Rendered(values, {}, ambiguous=ambiguous)
    faults = {
        index: wrong[place]
        for index, place in enumerate(encoded.indices.to_pylist())
        if place in wrong
    }
    return Rendered(values, faults, ambiguous=ambiguous)


@lru_cache(maxsize=32)
def _day_renderer(pattern: str) -> Callable[[str], str]:
    form = DATE_FORMATS[pattern]

    @lru_cache(maxsize=100_000)
    def render(text: str) -> str:
        return form.render(parse_day(text, form))

    return render


def _rest(
    texts: pa.StringArray, done: pa.BooleanArray, render: Callable[[str], str], code: str
) -> tuple[pa.StringArray, Faults]:
    """Keep what is done and render the rest one by one."""
    # Null matches no pattern, and needs no rendering.
    todo = np.asarray(pc.invert(done).fill_null(False))  # noqa: FBT003 (a value)
    if not todo.any():
        return texts, {}
    mask = pa.array(todo)
    rendered, wrong = _each(texts.filter(mask).to_pylist(), render, code)
    values = pc.replace_with_mask(texts, mask, pa.array(rendered, pa.string()))
    if not wrong:
        return values, {}
    places = np.flatnonzero(todo).tolist()
    return values, {places[index]: code for index, code in wrong.items()}


def _each(
    texts: list[str | None], render: Callable[[str], str], code: str
) -> tuple[list[str | None], Faults]:
    results: list[str | None] = []
    faults: Faults = {}
    for index, text in enumerate(texts):
        try:
            results.append(None if text is None else render(text))
        except _TooLongError:
            results.append(None)
            faults[index] = "number_too_long"
        except ValueError:
            results.append(None)
            faults[index] = code
    return results, faults
