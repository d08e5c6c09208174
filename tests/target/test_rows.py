"""Rows as text: exact, whatever JSON or Arrow holds, missing told from null."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe import json_records, singer
from target_nudgescribe.canonical import InputError, loads
from target_nudgescribe.json_records import JsonRecords
from target_nudgescribe.rows import Rows, from_dicts, from_table
from target_nudgescribe.singer import BulkReader

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "object": {"type": ["object", "null"]},
}


def waiting(
    properties: dict[str, Any], flush: Callable[[], object] = lambda: None, *, most: int = 100
) -> JsonRecords:
    return JsonRecords("a", properties, most=most, most_bytes=10_000, flush=flush)


def read(*records: str, properties: dict[str, Any] = SCHEMA) -> Rows:
    reader = waiting(properties)
    reader.add_records("".join(record + "\n" for record in records).encode())
    assert reader.waiting == len(records)
    return reader.take(1)


@given(st.lists(st.dictionaries(st.sampled_from([*SCHEMA]), st.one_of(st.none(), st.text()))))
def test_a_missing_column_is_told_from_null(records: list[dict[str, str | None]]) -> None:
    encoded = [json.dumps(record) for record in records]
    rows = read(*encoded)
    for index, record in enumerate(records):
        if any(0xD800 <= ord(sign) <= 0xDFFF for text in record.values() for sign in text or ""):
            continue
        assert rows.source(index) == record


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("12.50", "12.5"),
        ("1e5", "100000"),
        ("100000.0", "100000"),
        ("-0", "0"),
        ("-0.0e7", "0"),
        ("1.5E-7", "0.00000015"),
        ("1e400", "1" + "0" * 400),
        ("1e4000", "1e+4000"),
        ("1E99999999999999999999", "1.0e99999999999999999999"),
        ("9" * 5000, "9" * 5000),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0.1234567890123456789012345", "0.1234567890123456789012345"),
        ("true", "true"),
        ('"007"', "007"),
        ("-5", "-5"),
    ],
)
def test_numbers_keep_every_digit(number: str, text: str) -> None:
    assert read(f'{{"number": {number}}}', '{"number": null}').source(0) == {"number": text}
    assert read(f'{{"number": {number}}}').source(0) == {"number": text}


def test_objects_keep_the_digits_of_their_numbers() -> None:
    rows = read('{"object": {"a": 1.50}}', '{"text": {"a": [1.50, "1.50"]}}', '{"object": "x"}')
    assert rows.source(0) == {"object": '{"a":1.5}'}
    assert rows.source(1) == {"text": '{"a":[1.5,"1.50"]}'}
    assert rows.source(2) == {"object": "x"}


def test_what_is_no_value_is_a_fault_of_its_row_alone() -> None:
    rows = read('{"text": "\\ud800"}', '{"number": NaN}', '{"number": -Infinity}', '{"text": "a"}')
    assert rows.faults == {"text": {0: "not_unicode"}, "number": {1: "not_finite", 2: "not_finite"}}
    assert rows.source(3) == {"text": "a"}


def test_what_is_no_value_within_an_object_is_a_fault_of_its_row_alone() -> None:
    rows = read('{"object": {"a": [1, NaN]}}', '{"text": {"a": -Infinity}}', '{"text": "a"}')
    assert rows.faults == {"object": {0: "not_finite"}, "text": {1: "not_finite"}}
    reader = waiting(SCHEMA)
    reader.add_records(b'{"object": {"a": "\xff"}}\n{"object": {"a": 1}}\n')
    rows = reader.take(1)
    assert rows.faults == {"object": {0: "not_unicode"}}
    assert rows.source(1) == {"object": '{"a":1}'}


@pytest.mark.parametrize("neighbour", ['{"odd": 1}', '{"number": NaN}', '{"text": "\\ud800"}', ""])
def test_a_record_is_read_the_same_whatever_comes_beside_it(neighbour: str) -> None:
    record = '{"text": 1e5, "object": {"a": [1, 2.50]}}'
    reader = waiting(SCHEMA)
    reader.add_records(f"{record}\n{neighbour}\n{record}\n".encode())
    rows = reader.take(1)
    alone = read(record).source(0)
    assert rows.source(0) == rows.source(len(rows) - 1) == alone
    assert alone == {"text": "100000", "object": '{"a":[1,2.5]}'}


def test_columns_without_a_schema_are_named() -> None:
    reader = waiting(SCHEMA)
    reader.add_records(b'{"text": "a", "odd": 1.5}')
    assert reader.undeclared == {"odd"}
    assert reader.take(1).source(0) == {"text": "a"}


@given(st.text(), st.text())
def test_a_column_may_be_called_anything(name: str, other: str) -> None:
    kind = {"type": ["string", "null"]}
    record = {name: "1", other: "2"}
    rows = read(json.dumps(record), properties={name: kind, other: kind})
    assert rows.source(0) == record


def test_typed_arrow_columns_become_the_same_text() -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None]).dictionary_encode(),
            "number": pa.array([Decimal("12345678901234567890.10"), None]),
            "object": pa.array([{"a": 1}, None]),
        }
    )
    rows = from_table([*SCHEMA, "absent"], table, 1)
    assert rows.source(0) == {
        "text": "a",
        "number": "12345678901234567890.1",
        "object": '{"a":1}',
    }
    assert from_table(["n"], pa.table({"n": [1.5, float("nan")]}), 1).faults == {
        "n": {1: "not_finite"}
    }


def lines(*messages: Any) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def test_records_of_plain_streams_wait_and_everything_else_is_handed_on() -> None:
    reader, seen = BulkReader(), []
    records = waiting({"x": {}}, lambda: seen.append(len(records.take(1))), most=2)
    reader.plain["a"] = records
    record = {"type": "RECORD", "stream": "a", "record": {"x": 1.5}}
    other = record | {"stream": "b"}
    state = {"type": "STATE", "value": {"x": 1.25}}
    read_state = state | {"value": b'{"x": 1.25}'}
    callbacks = {"RECORD": seen.append, "STATE": seen.append}
    counts = reader.process_lines(lines(record, other, record, state, record), callbacks)
    assert seen == [other, 2, read_state]
    assert records.waiting == 1
    assert counts == {"RECORD": 4, "STATE": 1}


VALUES = st.sampled_from(
    ["null", '"x"', "7", "1.50", "12345678901234567890.5", "true", '{"a": [1.50, "1.50"]}', "NaN"]
)
LINES = st.one_of(
    st.dictionaries(st.sampled_from([*SCHEMA, "odd"]), VALUES).map(
        lambda record: (
            '{"type": "RECORD", "stream": "a", "record": {'
            + ", ".join(f'"{name}": {value}' for name, value in record.items())
            + "}}"
        )
    ),
    st.sampled_from(['{"type": "RECORD", "stream": "b", "record": {}}', '{"type": "STATE"}', ""]),
)


@given(st.lists(LINES, max_size=12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 300))
def test_records_are_the_same_however_many_are_read_at_once(
    messages: list[str], most: int, at_once: int, size: int
) -> None:
    taken: list[Rows] = []
    other: list[dict[str, Any]] = []
    records = waiting(SCHEMA, lambda: taken.append(records.take(1)), most=most)
    reader = BulkReader()
    reader.plain["a"] = records
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(singer, "READ_BYTES", size)
        patch.setattr(json_records, "AT_ONCE", at_once)
        reader.process_lines(
            io.BytesIO("\n".join(messages).encode()),
            {"RECORD": other.append, "STATE": other.append},
        )
    assert [len(rows) for rows in taken] == [most] * len(taken)
    taken.append(records.take(1))
    sent = [loads(message.encode()) for message in messages if message]
    ours = [message["record"] for message in sent if message.get("stream") == "a"]
    wanted = from_dicts([*SCHEMA], ours, 1)
    found = [rows.source(index) for rows in taken for index in range(len(rows))]
    assert found == [wanted.source(index) for index in range(len(ours))]
    assert len(other) == len(sent) - len(ours)


@pytest.mark.parametrize(
    "line", [b"canary\n", b"[1]\n", b'{"type":"CANARY"}\n', b'{"type":"RECORD","stream":"a"}\n']
)
def test_a_line_that_is_no_message_is_named_by_its_number_alone(line: bytes) -> None:
    reader = BulkReader()
    reader.plain["a"] = waiting({})
    with pytest.raises(InputError, match="Line 2 ") as caught:
        reader.process_lines(io.BytesIO(b"\n" + line), {"RECORD": lambda _: None})
    assert "canary" not in str(caught.value).lower()
