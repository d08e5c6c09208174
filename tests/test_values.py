"""Names, timestamps, profile values and envelopes, over all inputs that hypothesis thinks of."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe import envelopes
from tap_nudgescribe.columns import column_name, column_names
from tap_nudgescribe.errors import ContractError
from tap_nudgescribe.profile import (
    DATE_FORMATS,
    ProfileField,
    parse_currency,
    parse_number,
)
from tap_nudgescribe.profile_columns import ProfileColumns
from tap_nudgescribe.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from decimal import Decimal

MOMENTS = st.datetimes(
    min_value=datetime(1900, 1, 2),  # noqa: DTZ001 (the zone comes separately)
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 (likewise)
)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(MOMENTS, OFFSETS, MOMENTS, OFFSETS)
def test_written_timestamps_compare_as_the_moments_do(
    a: datetime, zone_a: timezone, b: datetime, zone_b: timezone
) -> None:
    first, second = a.replace(tzinfo=zone_a), b.replace(tzinfo=zone_b)
    assert (format_timestamp(first) < format_timestamp(second)) == (first < second)
    assert parse_timestamp(first.isoformat()) == first


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        "2026-01-02T05:04:05+02:00",
        "2026-01-02T03:04:05.000000999Z",
    ],
)
def test_every_form_of_a_timestamp_is_the_same_moment(text: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == "2026-01-02T03:04:05.000000+00:00"


@pytest.mark.parametrize(
    ("original", "column"),
    [
        ("First Name", "first_name"),
        ("customerID", "customer_id"),
        ("E-Mail:Work", "e_mail_work"),
        ("größe", "grosse"),
        ("2nd", "n_2nd"),
        ("_sdc_batched_at", "n_sdc_batched_at"),
    ],
)
def test_column_names_are_what_a_person_would_write(original: str, column: str) -> None:
    assert column_name(original) == column


@given(st.lists(st.text(max_size=80)), st.randoms())
def test_column_names_are_safe_different_and_independent_of_order(
    originals: list[str], random: Any
) -> None:
    names = column_names(originals, reserved=["campaign_id"])
    assert len(set(names.values())) == len(set(originals))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) for name in names.values())
    assert "campaign_id" not in names.values()
    shuffled = list(originals)
    random.shuffle(shuffled)
    assert column_names(shuffled, reserved=["campaign_id"]) == names


@pytest.mark.parametrize("pattern", DATE_FORMATS)
@given(day=st.dates(min_value=date(1970, 1, 1), max_value=date(2068, 12, 31)))
def test_every_date_format_reads_what_it_writes(pattern: str, day: date) -> None:
    form = DATE_FORMATS[pattern]
    assert form.parse(form.render(day)) == day


@pytest.mark.parametrize("text", ["31.02.2020", "n/a", "", "2020", "1.1.20.20"])
def test_no_date_is_an_error_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        DATE_FORMATS["dd.MM.yyyy"].parse(text)
    assert not text or text not in str(caught.value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_numbers_are_exact(number: Decimal) -> None:
    assert parse_number(str(number)) == number


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("12.50", "USD", "12.50"),
        ("1,234.00", "EUR", "1234.00"),
        ("EUR 7.10", "EUR", "7.10"),
        ("7 USD", "USD", "7"),
        ("$3", "USD", "3"),
        ("-€1,000.5", "EUR", "-1000.5"),
        ("€ -7", "EUR", "-7"),
        ("C$3.00", "CAD", "3.00"),
        ("\N{MINUS SIGN}100.00", "EUR", "-100.00"),
        ("+.5", None, "0.5"),
        (" 0.10 ", "nonsense", "0.10"),
    ],
)
def test_amounts_are_exact(text: str, currency: str | None, amount: str) -> None:
    assert str(parse_currency(text, currency)) == amount


NO_AMOUNTS = [
    *("1.234,50", "1,23", "abc", "1 2", "NaN", "0,123", "000,123", "1,2345", "12,34,567", "1,234,"),
    *("(100.00)", "5%", "%5", "<5", ">5", "=5", "~5", "#5", "*5", "5*", "!5", "'5", '"5"', "/5"),
    *("$5.00", "5 JPY", "USD 5", "£5", "5¥", "eur 5", "EURO 5", "5 EU", "R$5", "EUR EUR 5"),
    *("--5", "-€-5", "+-5", "5-", "- 5", "\N{EN DASH}5", "\N{FULLWIDTH HYPHEN-MINUS}5"),
    *("\N{ARABIC-INDIC DIGIT THREE}", "\N{FULLWIDTH DIGIT FIVE}", "1_000", "1e3", ".", "-", ""),
]
"""Texts that are no amount of a field in EUR."""


@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_what_is_no_amount_of_the_fields_own_currency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        parse_currency(text, "EUR")


@pytest.mark.parametrize(
    "text", ["\N{ARABIC-INDIC DIGIT THREE}", "1_000", "1,000", "1e9999999999999999999", "(5)", "5%"]
)
def test_what_is_no_number_in_ascii_digits_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        parse_number(text)


@given(st.text("0123456789,.+-\N{MINUS SIGN}()%<=$€£¥ EURJPYD_e", max_size=8))
def test_an_amount_is_its_digits_with_its_sign_whatever_stands_around_them(text: str) -> None:
    try:
        amount = parse_currency(text, "EUR")
    except ValueError:
        return
    rest = re.sub("EUR|[€,\\s]", "", text).replace("\N{MINUS SIGN}", "-")
    assert float(rest) == float(amount)


def test_what_is_no_amount_or_beyond_the_bounds_is_null_and_counted() -> None:
    fields = [
        ProfileField("w", "1", "Spend", "currency", "EUR"),
        ProfileField("w", "2", "Score", "number"),
    ]
    unparsed: list[str] = []
    read = ProfileColumns(fields, reserved=()).reader("w", unparsed.append)
    null = {"score": None, "spend": None, "spend_currency": None}
    for spend in ("(100.00)", "$5.00", "5 JPY", "1e999999"):
        assert read({"Spend": spend}) == null
    for score in ("1E999999", 10**20, "3.3333333333333335e-05", "1e9999999999999999999"):
        assert read({"Score": score}) == null
    assert unparsed == ["Spend"] * 4 + ["Score"] * 4


def test_a_field_that_differs_between_workspaces_is_text_in_both() -> None:
    fields = [ProfileField("a", "1", "Size", "number"), ProfileField("b", "2", "Size", "string")]
    columns = ProfileColumns(fields, reserved=())
    unparsed: list[str] = []
    assert columns.reader("a", unparsed.append)({"Size": 1.5}) == {"size": "1.5"}
    assert columns.reader("b", unparsed.append)({"Size": "x"}) == {"size": "x"}
    assert unparsed == []


ROWS = [{"id": "1"}, {"id": "2"}]


@pytest.mark.parametrize(
    "answer",
    [ROWS, {"data": ROWS}, {"things": ROWS}, {"odd": ROWS, "n": 1}, {"data": {"things": ROWS}}],
)
def test_a_list_is_found_in_any_envelope(answer: Any) -> None:
    assert envelopes.read_list("op", answer, key="things") == ROWS


@pytest.mark.parametrize("answer", ["secret", {}, {"a": [], "b": []}, {"x": "secret"}, 5])
def test_any_other_answer_is_a_contract_error_without_values(answer: Any) -> None:
    with pytest.raises(ContractError) as caught:
        envelopes.read_list("op", answer, key="things")
    assert "secret" not in str(caught.value)
