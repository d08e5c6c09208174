"""One value has one text, whatever path it comes on and however it is written."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_nudgescribe import arrow_text
from target_nudgescribe.arrow_text import array_texts, row_values
from target_nudgescribe.canonical import MAX_DEPTH, loads, number_text
from target_nudgescribe.json_records import JsonRecords
from target_nudgescribe.rows import Rows, from_dicts, from_table
from target_nudgescribe.target import Errand
from tests.target.sending import row, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.target.sending import Sending

# Values, and the ways in which JSON can write them

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda n: Decimal(repr(n))),
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def spelled_number(number: int | Decimal, how: int) -> str:
    """Return one of several JSON texts of a number."""
    sign, digits, exponent = Decimal(number).as_tuple()
    assert isinstance(exponent, int)
    minus, plain = "-" * sign, "".join(map(str, digits))
    forms = [
        f"{minus}{plain.lstrip('0') or '0'}e{exponent}",
        f"{minus}{plain.lstrip('0') or '0'}.000E{exponent:+d}",
        f"{minus}0.{plain}e{exponent + len(plain)}",
        f"{format(Decimal(number), 'f')}" + ("" if exponent < 0 else ".0"),
    ]
    return forms[how % 4]


def spelled(value: Any, draw: Iterator[int]) -> str:
    """Return one of the JSON texts of a value."""
    how = next(draw)
    space = " " * (how % 3)
    match value:
        case None | bool():
            return json.dumps(value)
        case int() | Decimal():
            return spelled_number(value, how)
        case str():
            return json.dumps(value, ensure_ascii=bool(how % 2))
        case list():
            return "[" + space + f",{space}".join(spelled(each, draw) for each in value) + "]"
        case _:
            items = sorted(value.items(), reverse=bool(how % 2))
            inner = f"{space},".join(
                f"{json.dumps(k, ensure_ascii=bool(how % 2))}:{space}{spelled(v, draw)}"
                for k, v in items
            )
            return "{" + inner + space + "}"


def endless(numbers: list[int]) -> Iterator[int]:
    while True:
        yield from numbers


SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": ["string", "null"]},
    {"type": ["number", "null"]},
    {"type": ["object", "array", "null"]},
]


def on_every_path(line: bytes, columns: dict[str, Any]) -> list[Rows]:
    """Return a record as rows, as each path of JSON makes them."""

    def buffer() -> JsonRecords:
        return JsonRecords("a", columns, most=10, most_bytes=10**6, flush=lambda: None)

    message = b'{"type":"RECORD","stream":"a","record":%s}\n' % line
    fast, slow, lines = buffer(), buffer(), buffer()
    if not fast.add_messages(message):
        fast.add(loads(line), len(line))
    slow.add(loads(line[:-1] + b', "undeclared": 1}'), len(line))
    lines.add_records(line + b"\n")
    return [
        *(each.take(1) for each in (fast, slow, lines)),
        from_dicts(list(columns), [loads(line)], 1),
    ]


@given(
    value=VALUES,
    kind=st.sampled_from(SCHEMAS),
    ways=st.lists(st.integers(0, 11), min_size=1, max_size=8),
    others=st.lists(st.integers(0, 11), min_size=1, max_size=8),
)
def test_a_json_value_has_one_text_however_it_is_written_and_read(
    value: Any, kind: dict[str, Any], ways: list[int], others: list[int]
) -> None:
    texts = set()
    for way in (ways, others):
        line = f'{{"x": {spelled(value, endless(way))}}}'.encode("utf-8", "surrogatepass")
        for rows in on_every_path(line, {"x": kind}):
            texts.add((json.dumps(rows.source(0)), str(rows.faults), str(rows.nameless)))
    assert len(texts) == 1


@given(NUMBERS)
def test_the_text_of_a_number_is_its_value_without_exponent(number: int | Decimal) -> None:
    text = number_text(str(number))
    assert Decimal(text) == number
    assert "e" not in text
    assert text == "0" or not text.startswith("-0") or text.startswith("-0.")
    assert "." not in text or text[-1] not in "0."
    assert number_text(text) == text


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 400, 900])
@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_value_nested_too_deeply_costs_its_row_on_every_path(
    depth: int, kind: dict[str, Any]
) -> None:
    line = b'{"x": ' + b"[" * depth + b"]" * depth + b"}"
    found = [rows.faults for rows in on_every_path(line, {"x": kind})]
    assert found == [{} if depth <= MAX_DEPTH else {"x": {0: "too_deep"}}] * 4


# Arrow

MOMENT = datetime(2024, 2, 29, 1, 2, 3, 450000)  # noqa: DTZ001 (without a zone on purpose)
BERLIN = datetime(2024, 2, 29, 1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin"))

ARROW: list[tuple[Any, Any, str | None]] = [
    (pa.float64(), 123456789012.0, "123456789012"),
    (pa.float64(), 1e22, "10000000000000000000000"),
    (pa.float64(), -0.0, "0"),
    (pa.float64(), 1e-7, "0.0000001"),
    (pa.float64(), 1e300, "1" + "0" * 300),
    (pa.float32(), 0.1, "0.1"),
    (pa.float32(), 16777216.0, "16777216"),
    (pa.float16(), 0.5, "0.5"),
    (pa.float16(), 5.0, "5"),
    (pa.decimal128(10, 7), Decimal("0.0000001"), "0.0000001"),
    (pa.decimal128(10, 2), Decimal("12.50"), "12.5"),
    (pa.decimal128(10, 2), Decimal("100.00"), "100"),
    (pa.decimal128(10, 2), Decimal("-0.00"), "0"),
    (pa.decimal256(50, 3), Decimal("12345678901234567890123456789.120"), None),
    (pa.decimal128(5, 0), Decimal(1200), "1200"),
    (pa.int8(), -5, "-5"),
    (pa.uint64(), 2**64 - 1, "18446744073709551615"),
    (pa.bool_(), True, "true"),
    (pa.null(), None, None),
    (pa.string(), "ä", "ä"),
    (pa.large_string(), "ä", "ä"),
    (pa.string_view(), "ä", "ä"),
    (pa.dictionary(pa.int8(), pa.string()), "ä", "ä"),
    (pa.dictionary(pa.int8(), pa.float64()), 1e20, "100000000000000000000"),
    (pa.date32(), date(2024, 2, 29), "2024-02-29"),
    (pa.date64(), date(2024, 2, 29), "2024-02-29"),
    (pa.time32("s"), time(1, 2, 3), "01:02:03"),
    (pa.time32("ms"), time(1, 2, 3, 500000), "01:02:03.500000"),
    (pa.time64("us"), time(1, 2, 3), "01:02:03"),
    (pa.time64("ns"), time(1, 2, 3, 4), "01:02:03.000004"),
    (pa.timestamp("s"), MOMENT.replace(microsecond=0), "2024-02-29T01:02:03"),
    (pa.timestamp("ms"), MOMENT, "2024-02-29T01:02:03.450000"),
    (pa.timestamp("us"), MOMENT, "2024-02-29T01:02:03.450000"),
    (pa.timestamp("ns"), MOMENT, "2024-02-29T01:02:03.450000"),
    (pa.timestamp("us", "UTC"), MOMENT.replace(tzinfo=UTC), "2024-02-29T01:02:03.450000+00:00"),
    (pa.timestamp("s", "Europe/Berlin"), BERLIN, "2024-02-29T01:02:03+01:00"),
    (pa.timestamp("ms", "Europe/Berlin"), BERLIN, "2024-02-29T01:02:03+01:00"),
    (pa.list_(pa.float32()), [0.1, 5.0, None], "[0.1,5,null]"),
    (pa.large_list(pa.date32()), [date(2024, 2, 29)], '["2024-02-29"]'),
    (pa.list_(pa.int8(), 2), [1, 2], "[1,2]"),
    (pa.map_(pa.string(), pa.float64()), [("b", 1.0), ("a", 1e20)], None),
    (
        pa.struct({"b": pa.timestamp("us"), "a": pa.decimal128(5, 2)}),
        {"b": MOMENT, "a": Decimal("1.50")},
        '{"a":1.5,"b":"2024-02-29T01:02:03.450000"}',
    ),
]


@pytest.mark.parametrize(("kind", "value", "text"), ARROW)
def test_an_arrow_value_has_the_text_of_the_same_value_in_a_record(
    kind: Any, value: Any, text: str | None
) -> None:
    assert arrow_text.unsupported(kind) is None
    array = pa.array([value, None], kind)
    texts, faults = array_texts(array)
    assert faults == {}
    if text is not None:
        assert texts.to_pylist() == [text, None]
    dicts = row_values(pa.record_batch({"x": array}))
    rows = from_dicts(["x"], dicts, 1)
    assert (rows.table.column("x").to_pylist(), rows.faults) == (texts.to_pylist(), {})
    assert bool(rows.nameless) == (not arrow_text.is_scalar_type(kind) and value is not None)


def test_maps_uuids_and_nanoseconds_have_texts() -> None:
    texts, _ = array_texts(pa.array([[("b", 1.0), ("a", 1e20)]], ARROW[-2][0]))
    assert texts.to_pylist() == ['{"a":100000000000000000000,"b":1}']
    uuids = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([bytes(range(16)), None], pa.binary(16))
    )
    assert array_texts(uuids)[0].to_pylist() == ["00010203-0405-0607-0809-0a0b0c0d0e0f", None]
    assert row_values(pa.record_batch({"x": uuids}))[0] == {
        "x": "00010203-0405-0607-0809-0a0b0c0d0e0f"
    }
    fine = pa.array([1, 1_000_000_000], pa.int64()).cast(pa.timestamp("ns"))
    assert array_texts(fine)[0].to_pylist() == [
        "1970-01-01T00:00:00.000000001",
        "1970-01-01T00:00:01",
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=5))
def test_a_column_of_floats_has_the_texts_of_the_same_numbers_in_json(
    numbers: list[float | None],
) -> None:
    table = pa.table({"x": pa.array(numbers, pa.float64())})
    dicts = [loads(json.dumps({"x": number}).encode()) for number in numbers]
    wanted = from_dicts(["x"], dicts, 1).table.column("x").to_pylist() if dicts else []
    assert from_table(["x"], table, 1).table.column("x").to_pylist() == wanted
    batch = table.to_batches()[0] if numbers else None
    rows = row_values(batch) if batch else []
    assert from_dicts(["x"], rows, 1).table.column("x").to_pylist() == wanted


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary(16),
        pa.duration("s"),
        pa.month_day_nano_interval(),
        pa.list_(pa.timestamp("ns")),
        pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.int8())]),
        pa.map_(pa.int8(), pa.string()),
        pa.list_(pa.binary()),
        pa.dictionary(pa.int8(), pa.binary()),
    ],
)
def test_an_arrow_type_without_text_is_named_before_the_first_row(kind: Any) -> None:
    told = arrow_text.unsupported(kind)
    assert told
    assert "Arrow type" in told


# From end to end


def batch(path: Path, form: str) -> dict[str, Any]:
    return {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": form},
        "manifest": [path.as_uri()],
    }


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(
        st.floats(-1e25, 1e25) | st.integers(-(2**53), 2**53).map(float),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_every_path_sends_the_same_and_knows_it_by_the_same_key(
    send: Sending, numbers: list[float]
) -> None:
    send.group.customers.clear()
    columns = {"ref": {"type": ["number", "null"]}, "first_name": {}}
    records = [
        {"ref": number, "first_name": {"b": number, "a": [str(number), "x", None]}}
        for number in numbers
    ]
    state_uri = str(send.folder / f"state-{len(list(send.folder.iterdir()))}")
    messages = [row(0) | {"record": record} for record in records]
    first = send(schema(**columns), *messages, state_uri=state_uri)
    count = len(set(numbers))
    assert first.outcomes() == {"sent": count}
    held = {ref: customer.profile for ref, customer in send.customers.items()}
    assert set(held) == {number_text(repr(number)) for number in numbers}
    lines, parquet = send.folder / "rows.jsonl", send.folder / "rows.parquet"
    lines.write_text("".join(json.dumps(record, indent=None) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), parquet)
    odd = [m | {"record": m["record"] | {"undeclared": 1}} for m in messages]
    spelled_otherwise = json.dumps(messages[0]).replace(
        f'"ref": {numbers[0]!r}', '"ref": ' + spelled_number(Decimal(repr(numbers[0])), 1)
    )
    maps = {"people": {"ref": "ref", "first_name": "first_name"}}
    for paths, config in (
        (odd, {}),
        ([spelled_otherwise.encode(), *messages[1:]], {}),
        ([batch(lines, "jsonl")], {}),
        ([batch(parquet, "parquet")], {}),
        (messages, {"stream_maps": maps}),
        ([batch(lines, "jsonl")], {"stream_maps": maps}),
        ([batch(parquet, "parquet")], {"stream_maps": maps}),
    ):
        sent = send(schema(**columns), *paths, state_uri=state_uri, **config)
        assert sent.outcomes() == {"unchanged": count}, sent.logged
    assert {ref: customer.profile for ref, customer in send.customers.items()} == held


@pytest.mark.parametrize("kind", [{}, {"type": "string"}, {"type": ["object", "array", "boolean"]}])
@pytest.mark.parametrize("mapped", [False, True])
def test_what_names_nothing_is_no_identifier(
    send: Sending, kind: dict[str, Any], *, mapped: bool
) -> None:
    refs: list[Any] = [" ", "\t\n", "\u3000\u00a0", "\u200b", "", None, True, [1], {"a": 1}, "true"]
    records = [row(0, ref=ref) for ref in [*refs, "[1]", 5, False]]
    maps = {"people": {"ref": "ref", "first_name": "first_name"}} if mapped else None
    sent = send(schema(ref=kind, first_name={}), *records, stream_maps=maps, rejects_rows="full")
    assert set(send.customers) == {"true", "[1]", "5"}, sent.logged
    reasons = sent.reasons()
    assert (reasons["no_identifier"], reasons["not_an_identifier"]) == (6, 4)
    (file,) = (send.folder / "state" / "rejects").rglob("*.jsonl")
    again = send(errand=Errand(replay=str(file)))
    assert again.outcomes() == {"invalid": 10}
    assert again.reasons() == reasons


def test_a_boolean_or_a_list_is_no_group(send: Sending) -> None:
    groups: list[Any] = [True, [1], {"a": 1}, " ", None]
    records = [row(n, customer_group=group) for n, group in enumerate(groups)]
    columns = {"ref": {}, "first_name": {}, "customer_group": {}}
    config = {"customer_group": None, "create_missing_groups": True}
    before = len(send.sandbox.account.groups)
    sent = send(schema(**columns), *records, **config)
    assert sent.reasons() == {"not_a_group": 3, "no_group": 2}
    assert len(send.sandbox.account.groups) == before


def test_durations_are_not_sent_as_bare_numbers(send: Sending) -> None:
    path = send.folder / "rows.parquet"
    table = pa.table({"ref": ["a"], "first_name": pa.array([timedelta(5)])})
    pq.write_table(table, path)
    sent = send(schema(), batch(path, "parquet"))
    assert (sent.code, len(send.customers)) == (4, 0)
    assert "The stream people" in sent.logged
    assert "'first_name' has the Arrow type duration" in sent.logged
    maps = {"people": {"ref": "ref", "first_name": "first_name"}}
    assert send(schema(), batch(path, "parquet"), stream_maps=maps).reasons() == {"no_text": 1}


def test_two_columns_of_one_name_are_refused_before_the_first_row(send: Sending) -> None:
    path = send.folder / "rows.parquet"
    arrays = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    pq.write_table(pa.table(arrays, names=["ref", "first_name", "ref"]), path)
    for maps in (None, {"people": {"ref": "ref", "first_name": "first_name"}}):
        sent = send(schema(), batch(path, "parquet"), stream_maps=maps)
        assert (sent.code, len(send.customers)) == (4, 0)
        assert "two columns are named 'ref'" in sent.logged
