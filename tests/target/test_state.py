"""STATE leaves as it came, byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe.canonical import raw_member
from tests.target.sending import row, schema

if TYPE_CHECKING:
    from tests.target.sending import Sending


@pytest.mark.parametrize(
    "value",
    [
        '{"a": 0.12345678901234567890}',
        '{"a": 1e400, "b": 1E+5, "c": 1.0, "d": -0, "e": 100000000000000000000000}',
        '{ "b":1 ,"a" : [ 1,2 ] }',
        '{"a": 1, "a": 2}',
        '{"a": "\\u00e4\\ud83d", "b": "ä\u2028"}',
        '{"a": NaN, "b": -Infinity}',
        "{}",
        '"text"',
        '{"value": {"value": 1}}',
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        '{"type":"STATE","value":%s}',
        '{"value": %s , "type": "STATE", "other": {"value": 1}}',
        '{"value": 1, "type": "STATE","value":%s\t}',
    ],
)
def test_the_state_passes_byte_for_byte(send: Sending, value: str, form: str) -> None:
    sent = send(schema(), row(1), (form % value).encode())
    assert (sent.code, sent.written) == (0, value + "\n"), sent.logged


def test_a_state_without_value_ends_the_run_and_null_says_nothing(send: Sending) -> None:
    assert send(schema(), row(1), b'{"type":"STATE"}').code == 1
    sent = send(
        schema(), row(1), b'{"type":"STATE","value":{"a":1}}', b'{"type":"STATE","value":null}'
    )
    assert (sent.code, sent.written) == (0, '{"a":1}\n')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    members=st.lists(st.tuples(st.sampled_from(["value", "valu", "a"]), JSON), max_size=5),
    space=st.sampled_from(["", " ", "\t \r"]),
    ascii_only=st.booleans(),
)
def test_a_member_is_found_as_it_is_written(
    members: list[tuple[str, object]], space: str, *, ascii_only: bool
) -> None:
    written = [(name, json.dumps(each, ensure_ascii=ascii_only)) for name, each in members]
    inner = f"{space},{space}".join(f'"{n}"{space}:{space}{text}' for n, text in written)
    line = f"{space}{{{space}{inner}{space}}}{space}\n".encode("utf-8", "surrogatepass")
    wanted = dict(written).get("value")
    found = raw_member(line, "value")
    assert found == (None if wanted is None else wanted.encode("utf-8", "surrogatepass"))
