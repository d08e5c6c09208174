"""Rows as text: exact, whatever JSON or Arrow holds, missing told from null."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe.rows import InputError, RecordReader, Rows, from_table
from target_nudgescribe.singer import BulkReader, RawRecords

SCHEMA = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "object": {"type": ["object", "null"]},
}


def read(*records: str) -> Rows:
    return RecordReader(SCHEMA).read([msgspec.Raw(record.encode()) for record in records], 1)


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
        ("12.50", "12.50"),
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
    assert rows.source(0) == {"object": '{"a": 1.50}'}
    assert rows.source(1) == {"text": '{"a":[1.50,"1.50"]}'}
    assert rows.source(2) == {"object": "x"}


def test_what_is_no_value_is_a_fault_of_its_row_alone() -> None:
    rows = read('{"text": "\\ud800"}', '{"number": NaN}', '{"number": -Infinity}', '{"text": "a"}')
    assert rows.faults == {"text": {0: "not_unicode"}, "number": {1: "not_finite", 2: "not_finite"}}
    assert rows.source(3) == {"text": "a"}


def test_columns_without_a_schema_are_named() -> None:
    reader = RecordReader(SCHEMA)
    rows = reader.read([msgspec.Raw(b'{"text": "a", "odd": 1.5}')], 1)
    assert reader.undeclared == {"odd"}
    assert rows.source(0) == {"text": "a"}


@given(st.text(), st.text())
def test_a_column_may_be_called_anything(name: str, other: str) -> None:
    kind = {"type": ["string", "null"]}
    reader = RecordReader({name: kind, other: kind})
    record = {name: "1", other: "2"}
    assert reader.read([msgspec.Raw(json.dumps(record).encode())], 1).source(0) == record


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
        "number": "12345678901234567890.10",
        "object": '{"a":1}',
    }
    assert from_table(["n"], pa.table({"n": [1.5, float("nan")]}), 1).faults == {
        "n": {1: "not_finite"}
    }


def lines(*messages: Any) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def test_records_of_plain_streams_wait_raw_and_everything_else_is_handed_on() -> None:
    reader, seen = BulkReader(), []
    raw = RawRecords(2, 10_000, lambda: seen.append(len(raw.take())))
    reader.plain["a"] = raw
    record = {"type": "RECORD", "stream": "a", "record": {"x": 1.5}}
    other = record | {"stream": "b"}
    state = {"type": "STATE", "value": {"x": 1.25}}
    callbacks = {"RECORD": seen.append, "STATE": seen.append}
    counts = reader.process_lines(lines(record, other, record, state, record), callbacks)
    assert seen == [other, 2, state]
    assert len(raw.waiting) == 1
    assert counts == {"RECORD": 4, "STATE": 1}


@pytest.mark.parametrize(
    "line", [b"canary\n", b"[1]\n", b'{"type":"CANARY"}\n', b'{"type":"RECORD","stream":"a"}\n']
)
def test_a_line_that_is_no_message_is_named_by_its_number_alone(line: bytes) -> None:
    reader = BulkReader()
    reader.plain["a"] = RawRecords(2, 10_000, lambda: None)
    with pytest.raises(InputError, match="Line 2 ") as caught:
        reader.process_lines(io.BytesIO(b"\n" + line), {"RECORD": lambda _: None})
    assert "canary" not in str(caught.value).lower()
