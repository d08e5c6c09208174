"""JSON of the API: numbers to the last digit, and odd values that cost no page and no run."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from tap_nudgescribe.json_decoding import Repairs, decode
from tests.scripted_api import ScriptedApi, campaign

if TYPE_CHECKING:
    from pathlib import Path

REPLACEMENT = "\ufffd"
NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,8})?", fullmatch=True
)


def read_profile(number: str, *, kind: str = "number", **config: Any) -> tuple[dict[str, Any], str]:
    """Return the record of a customer whose profile holds a number, and what was logged."""
    with ScriptedApi(fields={"Score": kind}, profiles=[f'{{"Score":{number}}}']) as api:
        run = api.tap("customers", **config)
    assert run.code == 0, run.stderr
    return run.records("customers")[0], run.stderr


@pytest.mark.parametrize("number", ["1234567890123456.789", "0.30000000000000004", "-0.10", "12e2"])
def test_a_number_arrives_as_it_was_sent_in_its_column_and_in_the_profile(number: str) -> None:
    record, logged = read_profile(number)
    assert record["score"] == record["profile"]["Score"] == Decimal(number)
    assert "column is null" not in logged


@pytest.mark.parametrize(
    "number", ["3.3333333333333335e-05", "1E999999", "1e400", "-1e20", f"1{'0' * 20}.5", "NaN"]
)
@pytest.mark.parametrize("kind", ["number", "currency", "string"])
def test_a_number_beyond_the_bounds_is_null_and_counted_and_kept_as_text(
    number: str, kind: str
) -> None:
    record, logged = read_profile(number, kind=kind)
    assert record["score"] == (number if kind == "string" else None)
    assert record["profile"]["Score"] == number
    assert "1 numbers in responses of list_customers have more digits" in logged
    assert ("profile field 'Score' do not have its type" in logged) == (kind != "string")


@pytest.mark.parametrize("number", ["9223372036854775808", f"1{'0' * 19}", f"-1{'0' * 20}"])
def test_an_integer_of_more_than_64_bits_is_exact_or_null(number: str) -> None:
    record, _ = read_profile(number)
    assert record["profile"]["Score"] == int(number)
    assert record["score"] == (None if len(number) > 20 else int(number))
    with ScriptedApi(campaigns=[f'{{"campaign_id":"c","run_number":{number}}}']) as api:
        run = api.tap("campaigns")
    (record,) = run.records("campaigns")
    assert record["run_number"] is None
    assert record["_extra"] == {"run_number": number}


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_batch_files_hold_exact_numbers_and_none_of_them_ends_the_run(
    format_: str, tmp_path: Path
) -> None:
    numbers = ["1234567890123456.789", "3.3333333333333335e-05", "1E999999", "9" * 25, "12e2"]
    profiles = [f'{{"Score":{number}}}' for number in numbers]
    batch = {"encoding": {"format": format_, "compression": "none"}, "batch_size": 100}
    with ScriptedApi(fields={"Score": "number"}, profiles=profiles) as api:
        run = api.tap("customers", batch_config=batch | {"storage": {"root": tmp_path.as_uri()}})
    assert run.code == 0, run.stderr
    (path,) = tmp_path.iterdir()
    rows = (
        parquet.read_table(path).to_pylist()
        if format_ == "parquet"
        else [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
    )
    assert [row["score"] for row in rows] == [Decimal(numbers[0]), None, None, None, Decimal(1200)]
    profile = rows[0]["profile"]
    assert numbers[0] in (profile if format_ == "parquet" else str(profile))


@pytest.mark.parametrize(
    ("name", "arrives"),
    [
        (b'"a\\ud800b"', f"a{REPLACEMENT}b"),
        (b'"\\udc00\\ud800"', REPLACEMENT * 2),
        (b'"a\xffb"', f"a{REPLACEMENT}b"),
        (b'"tab\there"', "tab\there"),
        (b'"nul\\u0000"', f"nul{REPLACEMENT}"),
        (b"1e400", "1e400"),
        (b"NaN", "NaN"),
        (b"-Infinity", "-Infinity"),
        (b"1" * 5000, "1" * 5000),
    ],
)
def test_one_odd_value_costs_neither_its_row_nor_the_others(name: bytes, arrives: str) -> None:
    odd = b'{"campaign_id":"odd","name":' + name + b"}"
    other = json.dumps(campaign("sound")).encode()
    body = b'[{"workspace_id":"w-1","campaigns":[' + odd + b"," + other + b"]}]"
    with ScriptedApi(responses={"/v1/campaign/all": body}) as api:
        run = api.tap("campaigns")
    assert run.code == 0, run.stderr
    names = {record["campaign_id"]: record["name"] for record in run.records("campaigns")}
    assert names == {"odd": arrives, "sound": None}
    if name != b'"tab\there"':
        assert "U+FFFD" in run.stderr or "numbers in responses of list_campaigns" in run.stderr
    assert "a\ufffdb" not in run.stderr


def test_what_is_no_json_at_all_names_the_operation_and_the_place_and_quotes_nothing() -> None:
    with ScriptedApi(fields={"Score": "number"}, profiles=[{"Score": 1}]) as api:
        catalog = api.discover()
        api.responses["/v1/customer"] = b'[{"customer_id":"canary"'
        run = api.tap("customers", catalog=catalog)
    assert run.code == 1
    assert "list_customers" in run.stderr
    assert "no JSON at character 24" in run.stderr
    assert "canary" not in run.stderr


@given(NUMBERS)
@example("0.1000000000000000000")
def test_a_number_is_exact_or_the_text_that_it_was(text: str) -> None:
    value, repairs = decode(f'{{"a":{text}}}'.encode())
    found = value["a"]
    if isinstance(found, str):
        assert (found, repairs) == (text, Repairs(numbers=1))
    else:
        assert Decimal(found) == Decimal(text)
        assert repairs == Repairs()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=10,
)


@given(JSON, st.sampled_from([b"", b'"\xff"', b'"\\ud800"', b"NaN"]))
def test_what_is_sound_beside_an_odd_value_stays_as_it_is(value: Any, odd: bytes) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        text = json.dumps(value).encode()
    found, _ = decode(b"[" + text + (b"," + odd if odd else b"") + b"]")
    told = json.dumps(found[0], ensure_ascii=False)
    told.encode()  # no surrogate is left
    if "\\ud" not in json.dumps(value).replace("\\\\", ""):
        assert found[0] == value
    assert len(told) >= 1


@given(st.dictionaries(st.text("a\ud800\udfff\ufffd", max_size=2), st.integers(), max_size=6))
def test_keys_that_meet_once_they_are_repaired_stay_apart(value: dict[str, int]) -> None:
    found, _ = decode(json.dumps(value).encode())
    assert sorted(found.values()) == sorted(value.values())
    assert all(found[key] == item for key, item in value.items() if key.isascii() or key in found)
