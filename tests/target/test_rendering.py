"""Values in each field's own format: exact, or refused."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_nudgescribe.profile import DATE_FORMATS, ProfileField, parse_currency, parse_number
from target_nudgescribe.csv_lines import csv_bytes, csv_lines
from target_nudgescribe.rendering import Rendered, render


def rendered(kind: str, *texts: str | None, form: str | None = None, **further: Any) -> Rendered:
    field = ProfileField("w", "1", "f", kind, form, **further)
    return render(field, pa.array(texts, pa.string()))


def values(kind: str, *texts: str | None, form: str | None = None) -> list[str | None]:
    return rendered(kind, *texts, form=form).values.to_pylist()


DAYS = st.dates(min_value=date(1970, 1, 1), max_value=date(2068, 12, 31))


@pytest.mark.parametrize("pattern", DATE_FORMATS)
@given(day=DAYS)
def test_dates_come_in_iso_or_in_the_fields_own_format(pattern: str, day: date) -> None:
    own = DATE_FORMATS[pattern].render(day)
    told = values("Date", day.isoformat(), own, f"{day}T23:59:59-11:00", None, form=pattern)
    assert told == [own, own, own, None]


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-29T02:30:00Z",
        "2026-03-29 23:59:59.999999999+14:00",
        "2026-03-29T00:00",
        "2026-03-29 10:00:00 UTC",
        "2026-03-29T10",
        "2026-03-29T24:00:00",
        "2026-03-29T23:59:60Z",
        "2026-03-29T10:00:00,5+0200",
        " 2026-03-29T10:00 ",
    ],
)
def test_the_day_of_a_moment_is_the_one_that_is_written(text: str) -> None:
    assert values("Date", text, form="dd/MM/yyyy") == ["29/03/2026"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "n/a",
        "2026-13-01T00:00:00Z",
        "1772323200",
        "2024-02-29TBD",
        "2024-02-29 TBD",
        "2024-02-29T",
        "2024-02-29T25:00",
        "2024-02-29T10:60",
        "2024-02-29T24:01",
        "2024-02-29T10:00+25:00",
        "2024-02-29T10:00 CET",
        "2024-02-29Today",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    told = rendered("Date", "2026-01-01", text, form="yyyy-MM-dd")
    assert told.faults == {1: "not_a_date"}
    assert told.values.to_pylist() == ["2026-01-01", None]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_numbers_are_exact_without_exponent_or_noise(number: Decimal) -> None:
    (told,) = values("number", str(number))
    assert told is not None
    assert parse_number(told) == number
    assert "e" not in told.lower()
    assert "." not in told or not told.endswith("0")


@given(
    st.lists(
        st.none()
        | st.integers(0, 10**35).map(str)
        | st.sampled_from(["0", "00", "007", "-7", "+7", "7.50", "1e3", "", " ", "9" * 32])
    )
)
def test_a_column_of_numbers_is_rendered_as_each_of_them(texts: list[str | None]) -> None:
    assert rendered("number", *texts).values.to_pylist() == [
        value for text in texts for value in rendered("number", text).values.to_pylist()
    ]


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_float_is_what_it_is_written_as(number: float) -> None:
    (told,) = values("number", repr(number))
    assert told is not None
    assert float(told) == number


@pytest.mark.parametrize(
    "text",
    ["abc", "1,5", "NaN", "Infinity", "0x10", "1_000", "1e999999999", "1e9999999999999999999"],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert list(rendered("number", "1", text).faults) == [1]


@pytest.mark.parametrize(
    ("currency", "text", "told", "rounded"),
    [
        ("EUR", "12.5", "12.50", 0),
        ("EUR", "12.345", "12.34", 1),
        ("EUR", "12.355", "12.36", 1),
        ("EUR", "-0.001", "0.00", 1),
        ("JPY", "1250.00", "1250", 0),
        ("BHD", "1.2345", "1.234", 1),
        ("USD", "$1,234.5", "1234.50", 0),
        ("EUR", "12345678901234567890123456789012.345", "12345678901234567890123456789012.34", 1),
    ],
)
def test_amounts_are_rounded_to_their_currency_and_that_is_counted(
    currency: str, text: str, told: str, rounded: int
) -> None:
    result = rendered("currency", text, form=currency)
    assert result.values.to_pylist() == [told]
    assert result.rounded == rounded


@given(
    st.sampled_from(["EUR", "JPY", "BHD"]),
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "-", "+"]),
            st.from_regex(r"[0-9]{1,45}\.?[0-9]{0,3}|\.[0-9]{1,3}", fullmatch=True),
            st.sampled_from(["", "e3", "E-1", "e37"]),
        ),
    ),
)
@example("BHD", "3804917248953936115020092967986061086")
@example("EUR", "107193e36")
def test_an_amount_is_what_the_decimal_arithmetic_of_python_makes_of_it(
    currency: str, text: str
) -> None:
    exact, digits = Decimal(text), {"EUR": 2, "JPY": 0, "BHD": 3}[currency]
    with localcontext(prec=500):
        told = exact.quantize(Decimal(1).scaleb(-digits))
    expected = format(told.copy_abs() if told.is_zero() else told, "f")
    result = rendered("currency", text, form=currency)
    assert (result.values.to_pylist(), result.faults) == ([expected], {})
    assert result.rounded == (told != exact)


@pytest.mark.parametrize("beside", ["1", "1234567890123456", "$x", "1e3"])
@pytest.mark.parametrize(
    "text",
    [
        "(100.00)",
        "5%",
        "<5",
        "=5",
        "$5.00",
        "5 JPY",
        "0,123",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "1_000",
        "--5",
    ],
)
def test_what_is_no_amount_of_the_fields_currency_is_refused(text: str, beside: str) -> None:
    result = rendered("currency", beside, text, form="EUR")
    assert result.faults[1] == "not_an_amount"
    assert result.values.to_pylist()[1] is None


def test_a_minus_sign_as_spreadsheets_write_it_is_one() -> None:
    told = values("currency", "\N{MINUS SIGN}100.00", "-€1,000", form="EUR")
    assert told == ["-100.00", "-1000.00"]
    assert values("number", "\N{MINUS SIGN}5") == ["-5"]


@given(
    st.text("0123456789,.+-\N{MINUS SIGN}()%<=$€ EUR_e\N{ARABIC-INDIC DIGIT THREE}", max_size=8),
    st.booleans(),
)
@example("1e9999999999999999999", True)  # noqa: FBT003 (a value)
def test_an_amount_is_one_in_a_column_of_any_others_or_in_none(text: str, slowly: bool) -> None:  # noqa: FBT001
    alone = rendered("currency", text, form="EUR")
    beside = rendered("currency", text, "x" if slowly else "1", form="EUR")
    assert beside.values[0].equals(alone.values[0])
    assert beside.faults.get(0) == alone.faults.get(0)
    try:
        expected = parse_number(text)
    except ValueError:
        try:
            expected = parse_currency(text, "EUR")
        except ValueError:
            assert alone.values.to_pylist() == [None]
            return
    if alone.values.to_pylist() != [None]:  # a number that is too long
        with localcontext(prec=500):
            assert Decimal(alone.values.to_pylist()[0] or "") == round(expected, 2)


@pytest.mark.parametrize(
    "text", ["(5.00)", "5 JPY", "$5.00", "5%", "5-", "5.00 CR", "1.234,50", "5 000", "EUR", "- 5"]
)
def test_an_amount_of_another_currency_or_form_is_refused(text: str) -> None:
    assert rendered("currency", "1", text, form="EUR").faults == {1: "not_an_amount"}


def test_a_blank_is_null_but_in_text() -> None:
    for kind, form in (("number", None), ("currency", "EUR"), ("Date", "yyyy-MM-dd")):
        assert values(kind, "", None, form=form) == [None, None]
    assert values("string", "", None) == ["", None]


def test_an_enum_takes_its_options_alone() -> None:
    told = rendered("enum", "gold", "Gold", "", options=("gold", "silver"))
    assert told.values.to_pylist() == ["gold", None, None]
    assert told.faults == {1: "not_an_option"}


TEXTS = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0")))


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_csv_reads_back_as_it_was(rows: list[tuple[str | None, str | None]]) -> None:
    columns = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)] or [
        pa.array([], pa.string())
    ] * 2
    content = csv_bytes(["na,me", "b"], csv_lines(columns))
    told = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert told == [["na,me", "b"], *[[a or "", b or ""] for a, b in rows]]


def test_csv_tells_a_blank_from_null_and_leaves_formulas_and_zeros_alone() -> None:
    columns = [pa.array(["", None, "=1+1", "007", "a\rb"]), pa.array(["x"] * 5)]
    assert csv_bytes(["a", "b"], csv_lines(columns)) == (
        b'a,b\r\n"",x\r\n,x\r\n=1+1,x\r\n007,x\r\n"a\rb",x\r\n'
    )


def test_a_moment_from_python_is_a_date_too() -> None:
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).isoformat()
    assert values("Date", moment, form="MMM dd, yyyy") == ["Jan 02, 2026"]
