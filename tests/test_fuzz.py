"""What parses bytes of others ends in a right result or in an error of its own, for any bytes.

``make fuzz`` tries many more inputs; the variable FUZZ_EXAMPLES says how many for each test.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_nudgescribe import envelopes, wire_names
from tap_nudgescribe.auth import NudgescribeAuthenticator, Session
from tap_nudgescribe.client import profile_field
from tap_nudgescribe.errors import (
    ContractError,
    DownloadRefusedError,
    MessageFileError,
    NudgescribeError,
    SettingsError,
)
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv
from tap_nudgescribe.profile import (
    DATE_FORMATS,
    ProfileField,
    parse_currency,
    parse_day,
    parse_number,
)
from tap_nudgescribe.profile_columns import ProfileColumns
from tap_nudgescribe.records import RecordReader as TapReader
from tap_nudgescribe.statuses import LONGEST_WAIT_SECONDS, http_date, retry_after
from tap_nudgescribe.timestamps import moment, parse_timestamp
from tap_nudgescribe.transport import (
    ConnectionOptions,
)
from tap_nudgescribe.wire import Wire
from target_nudgescribe.canonical import InputError
from target_nudgescribe.json_records import JsonRecords
from target_nudgescribe.ledger import VERSION, Ledger, LedgerMismatchError
from target_nudgescribe.rejects import ReplayError, read_rows
from target_nudgescribe.rendering import render
from target_nudgescribe.singer import BulkReader, line_blocks
from target_nudgescribe.storage import Storage, StorageError

if TYPE_CHECKING:
    from pathlib import Path

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "80")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["x", "1", "2020-01-31", "a@example.com"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "rows", "id", "pages", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Any JSON, in shapes that answers have."""

# Message files

CSV_BYTES = st.lists(
    st.sampled_from([b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xa9", b"ab"])
    | st.sampled_from(["\ufeff".encode(), "🎈".encode(), b"\xed\xa0\x80", b" ", b"x" * 300])
    | st.binary(max_size=4),
    max_size=60,
).map(b"".join)


@fuzzed
@given(
    data=CSV_BYTES,
    encoding_errors=st.sampled_from(["fail", "replace"]),
    row_errors=st.sampled_from(["keep", "fail"]),
    longest_row=st.integers(64, 2000),
    read_at_once=st.integers(1, 400),
)
def test_any_bytes_are_a_message_file_or_an_error(
    *, data: bytes, read_at_once: int, **options: Any
) -> None:
    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(
                read_at_once if size in {None, -1} else min(size or 0, read_at_once)
            )

    try:
        file = MessageCsv(Pieces(data), CsvOptions(**options))
        pieces = list(file.pieces(range(len(file.header))))
    except MessageFileError as error:
        assert "abab" not in str(error)
        return
    assert len(set(file.header)) == len(file.header)
    numbers = [number for piece in pieces for number in piece.numbers.to_pylist()]
    assert numbers == list(range(1, len(numbers) + 1))
    for piece in pieces:
        for column in piece.columns.values():
            column.validate(full=True)
            assert len(column) == len(piece)


# Answers of the API


@fuzzed
@given(answer=JSON, key=st.sampled_from(["rows", "x", "pages"]))
def test_any_json_is_an_answer_or_an_error(answer: Any, key: str) -> None:
    try:
        assert isinstance(envelopes.read_list("op", answer, key=key), list)
    except ContractError as error:
        assert "example" not in str(error)
    for read, kind in ((envelopes.read_count, int), (envelopes.read_text, str)):
        try:
            assert isinstance(read("op", answer, key=key), kind)
        except ContractError as error:
            assert "example" not in str(error)
    try:
        assert "id" in envelopes.read_object("op", answer, required=["id"])
    except ContractError as error:
        assert "example" not in str(error)


WIRE_KEYS = st.sampled_from(["campaign_id", "id", "name", "title", "status", "x", "wire_name"])


@fuzzed
@given(
    rows=st.lists(st.dictionaries(WIRE_KEYS, JSON), max_size=3),
    key=st.sampled_from(["", "data", "workspaces"]),
    names=st.dictionaries(
        st.sampled_from(["campaign_id", "campaign.name", "list_campaigns.status", "workspace_id"]),
        st.sampled_from(["id", "title", "x", "name", "status", "wire_name"]),
    ),
)
def test_any_wire_names_change_keys_and_no_value(
    rows: list[dict[str, Any]], key: str, names: dict[str, str]
) -> None:
    def values(of: Any) -> Counter[str]:
        if isinstance(of, dict):
            return sum((values(value) for value in of.values()), Counter())
        if isinstance(of, list):
            return sum((values(value) for value in of), Counter())
        return Counter([repr(of)])

    answer = [{"workspace_id": "w", "campaigns": {key: rows} if key else rows}]
    try:
        wire = Wire(names)
    except SettingsError:
        return
    read = wire.answer("list_campaigns", answer)
    assert values(read) == values(answer)
    campaigns = read[0].get("campaigns", [])
    found = campaigns[key] if key else campaigns
    for row, sent in zip(found, rows, strict=True):
        for ours in ("campaign_id", "name", "status"):
            place = wire_names.object_place("list_campaigns", "campaign", (ours,))
            theirs = place.names(names).get(ours, ours)
            assert row.get(ours) is sent.get(theirs)


ROW_KEYS = st.sampled_from(
    ["field_id", "field_name", "field_type", "field_format", "options", "required", "encrypted"]
)


@fuzzed
@given(row=st.dictionaries(ROW_KEYS, JSON), value=JSON)
def test_any_definition_makes_a_column_and_any_value_goes_into_it(
    row: dict[str, Any], value: Any
) -> None:
    whole = {"field_id": "1", "field_name": "x", "field_type": "number"} | row
    field = profile_field("w", whole)
    columns = ProfileColumns([field], reserved=["_extra"])
    record = columns.reader("w", lambda _: None)({field.name: value})
    assert record.keys() == columns.schema.keys()


@fuzzed
@given(row=st.dictionaries(st.sampled_from(["id", "number", "at", "x"]), JSON))
def test_any_row_is_a_record_or_an_error(row: dict[str, Any]) -> None:
    properties = {
        "id": {"type": "string"},
        "number": {"type": ["integer", "null"]},
        "at": {"type": ["string", "null"], "format": "date-time"},
    }
    reader = TapReader(properties, keys=["id"], operation="op")
    try:
        record = reader.read(row)
    except ContractError as error:
        assert "example" not in str(error)
    else:
        assert isinstance(record["id"], str)


# Headers and tokens


@fuzzed
@given(
    st.text()
    | st.floats().map(str)
    | st.integers().map(str)
    | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [+-]\d{4}"),
    st.text(),
)
def test_any_retry_after_is_a_bounded_wait_or_none(text: str, day: str) -> None:
    wait = retry_after({"Retry-After": text, "Date": day})
    assert wait is None or 0 <= wait <= LONGEST_WAIT_SECONDS
    told = http_date(text)
    assert told is None or told.utcoffset() is not None


CLAIMS = st.dictionaries(st.sampled_from(["exp", "account_id"]), JSON | st.integers() | st.floats())


def token(claims: bytes) -> str:
    return f"x.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


@fuzzed
@given(
    st.text()
    | st.text("ab.=-_", max_size=20)
    | st.binary().map(token)
    | CLAIMS.map(lambda claims: token(json.dumps(claims).encode()))
    | st.just(token(b"[" * 100_000))
    | st.just(token(b'{"exp":1e999}'))
    | st.just(token(b'{"exp":' + b"9" * 5000 + b"}"))
)
def test_any_token_has_an_end_and_perhaps_an_account(text: str) -> None:
    session = Session(access_token=text)
    assert math.isfinite(session.life)
    assert session.life > 0
    assert not session.due  # whatever it says: a token that has just come is tried
    authenticator = NudgescribeAuthenticator(
        log_in=lambda: session, refresh=lambda _: session, headers={}
    )
    assert isinstance(authenticator.account_id(), str | None)


def refusal(url: str) -> str:
    with pytest.raises(DownloadRefusedError) as caught:
        ConnectionOptions(api_url="https://api.example.com/v1").check_download(url)
    return str(caught.value)


@fuzzed
@given(
    st.text()
    | st.from_regex(r"https?://[a-z0-9.:\[\]@%/?#\\-]{0,30}")
    | st.tuples(st.sampled_from(["http", "https", "file"]), st.ip_addresses().map(str)).map(
        "://".join
    )
)
def test_any_download_url_is_refused_or_is_https(url: str) -> None:
    options = ConnectionOptions(api_url="https://api.example.com/v1")
    try:
        options.check_download(url)
    except DownloadRefusedError as error:
        # Not a sign of it is told: the text is the same for any other.
        assert str(error) in {refusal("http://a.example"), refusal("https://10.0.0.1")}
    else:
        assert url.lower().startswith("https://")
    try:
        ConnectionOptions(api_url=url)
    except SettingsError:
        pass
    else:
        assert url.lower().startswith(("https://", "http://"))


# Values

TEXTS = (
    st.text(max_size=30)
    | st.from_regex(r"\s*[+-]?[0-9.,]{0,12}([eE][+-]?[0-9]{0,9})?\s*", fullmatch=True)
    | st.from_regex(r"[A-Z]{0,3} ?[0-9]{0,4}(,[0-9]{3})*(\.[0-9]*)? ?[€$A-Z]{0,3}", fullmatch=True)
    | st.from_regex(
        r"\d{1,4}[-/. ]([A-Za-z]{3,9}|\d{1,2})[-/. ,]{1,2}\d{1,4}(T.*)?", fullmatch=True
    )
    | st.sampled_from(["1" * 5000, "1e999999999", "0x1", "1_000", "٣", "NaN", "-", "T" * 5000])
)


@fuzzed
@given(TEXTS | JSON)
def test_any_value_is_a_number_an_amount_a_day_or_a_value_error(value: Any) -> None:
    for parse in (parse_number, lambda value: parse_currency(value, "EUR")):
        try:
            assert parse(value).is_finite()
        except ValueError as error:
            assert str(error) in {"no number", "no amount"}
    if isinstance(value, str):
        for form in DATE_FORMATS.values():
            for read in (form.parse, lambda text, form=form: parse_day(text, form)):
                try:
                    assert isinstance(read(value), date)
                except ValueError as error:
                    assert str(error).startswith("no ")


@fuzzed
@given(TEXTS | JSON | st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(str))
def test_any_value_is_a_moment_or_none(value: Any) -> None:
    found = moment(value)
    assert found is None or found.tzinfo is UTC
    if isinstance(value, str) and found is None:
        with pytest.raises(ValueError, match="no ISO 8601 timestamp"):
            parse_timestamp(value)
    assert found is None or isinstance(found, datetime)


FIELDS = [
    *(ProfileField("w", "1", "x", "Date", pattern) for pattern in DATE_FORMATS),
    *(ProfileField("w", "1", "x", "currency", code) for code in ("EUR", "JPY", "KWD", "nonsense")),
    *(ProfileField("w", "1", "x", kind) for kind in ("number", "char", "string", "unheard of")),
    ProfileField("w", "1", "x", "enum", options=("a", "b")),
]


@fuzzed
@given(texts=st.lists(st.none() | TEXTS, max_size=8), field=st.sampled_from(FIELDS))
def test_any_text_is_rendered_or_a_fault(texts: list[str | None], field: ProfileField) -> None:
    sound = [text and text.encode(errors="replace").decode() for text in texts]
    rendered = render(field, pa.array(sound, pa.string()))
    assert len(rendered.values) == len(sound)
    for place, text in enumerate(rendered.values.to_pylist()):
        if sound[place] is None or place in rendered.faults:
            assert text is None
        elif field.field_type == "number" and text:
            assert Decimal(text).is_finite()


# The target's input and its own files

PARTS = st.lists(
    st.sampled_from(
        [b'{"type":', b'"RECORD"', b'"SCHEMA"', b'"STATE"', b'"BATCH"', b"}", b"{", b"["]
    )
    | st.sampled_from([b',"stream":"a"', b',"record":{"x":1}', b',"record":', b',"value":', b"]"])
    | st.sampled_from([b',"schema":{"properties":{"x":{}}}', b"null", b"NaN", b'"\\ud800"', b" "])
    | st.binary(max_size=6).map(lambda part: part.replace(b"\n", b"")),
    max_size=8,
).map(b"".join)

MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(["RECORD", "SCHEMA", "STATE", "BATCH", "ACTIVATE_VERSION"]) | JSON},
    optional={
        "stream": st.just("a") | JSON,
        "record": st.dictionaries(st.sampled_from(["x", "y", "z"]), JSON) | JSON,
        "schema": JSON,
        "encoding": JSON,
        "manifest": JSON,
    },
).map(lambda message: json.dumps(message).encode())


@fuzzed
@given(st.lists(PARTS | MESSAGES, max_size=6))
def test_any_lines_are_rows_or_an_error(lines: list[bytes]) -> None:
    rows = 0

    def look() -> None:
        nonlocal rows
        count = records.waiting
        found = records.take(rows + 1)
        assert len(found) == count
        found.table.validate(full=True)
        rows += count

    columns = {"x": {"type": "object"}, "y": {"type": "string"}}
    records = JsonRecords("a", columns, most=2, most_bytes=1000, flush=look)
    reader = BulkReader()
    reader.plain["a"] = records
    kinds = ("RECORD", "SCHEMA", "STATE", "BATCH", "ACTIVATE_VERSION")
    try:
        counts = reader.process_lines(
            io.BytesIO(b"\n".join(lines)), dict.fromkeys(kinds, lambda _: None)
        )
        look()
    except InputError as error:
        assert "example" not in str(error)
    else:
        assert counts["RECORD"] >= rows


@fuzzed
@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_whole_lines(data: bytes, size: int) -> None:
    file = io.BytesIO(data)
    found = list(line_blocks(lambda: file.read(size), lambda: "A line"))
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])


OWN = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


@fuzzed
@given(
    listing=OWN
    | st.fixed_dictionaries(
        {
            "version": st.just(VERSION) | JSON,
            "owner": JSON,
            "generation": JSON,
            "base": JSON,
            "codes": JSON,
        }
    ).map(msgspec.json.encode),
    delta=OWN,
)
def test_any_bytes_are_a_ledger_or_an_error(tmp_path: Path, listing: bytes, delta: bytes) -> None:
    for name, content in (("ledger.json", listing), ("delta-0-0.parquet", delta)):
        (tmp_path / name).write_bytes(content)
    try:
        assert len(Ledger(Storage(str(tmp_path))).unseen()) == 0
    except (StorageError, LedgerMismatchError) as error:
        assert "damaged" in str(error) or "another version" in str(error)


@fuzzed
@given(
    content=OWN
    | st.dictionaries(st.sampled_from(["run_id", "stream", "row_number", "row", "key"]), JSON).map(
        lambda told: json.dumps(told).encode()
    ),
    form=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_any_bytes_are_rejects_or_an_error(tmp_path: Path, content: bytes, form: str) -> None:
    path = tmp_path / f"rejects.{form}"
    path.write_bytes(content)
    try:
        assert isinstance(read_rows(str(path)), list)
    except ReplayError as error:
        assert "example" not in str(error)


def test_errors_of_this_package_are_of_one_kind() -> None:
    kinds = (ContractError, DownloadRefusedError, InputError, MessageFileError, ReplayError)
    assert all(issubclass(kind, NudgescribeError) for kind in (*kinds, StorageError))
