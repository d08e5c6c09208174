"""RECORD lines straight from Arrow are those that the SDK's own path writes, byte for byte."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_sdk import Stream
from singer_sdk.contrib.msgspec import encoder

from tap_nudgescribe.message_rows import KINDS, TEXT, Rows
from tap_nudgescribe.messages import PublishedMessages
from tap_nudgescribe.record_lines import content, lines
from tests.message_server import Content, MessageServer

if TYPE_CHECKING:
    from pathlib import Path

HARD = """\
Message ID,Body,Sent At,Day,Count,Price,Read,Body,,New One
m1,"say ""hi"", \\ you",2026-01-02T03:04:05Z,2026-01-02,7,1.50,yes,again,blank,x
m2,"line\r\nend\ttab\x01\x1f\x7f\u2028",2026-01-02 03:04:05+02:00,2026-02-30,007,1E+3,0,,"",
m3,🎈é\0,never,2024-02-29,9999999999999999999999,-0.0,maybe,"",,"q""q"
m4,short
m5,long,,,,,,,,,too,"many"
,"",,,,,,,,
"m6","",2026-01-02T03:04:05.123456+00:00,2026-01-02,-12,12345678901234567890.123456789,TRUE,b,c,
"""

TYPES = {
    "sent_at": "date-time",
    "day": "date",
    "count": "integer",
    "price": "number",
    "read": "boolean",
}


def hard_files() -> list[Content]:
    plain = "Message ID,Body\r" + "".join(f"p{n},{'x' * (n % 50)}\r" for n in range(12_000))
    return [
        Content(HARD.encode()),
        Content(b"Message ID,Body\r\n"),
        Content(b"\xef\xbb\xbfMessage ID"),
        Content(plain.encode()),
    ]


def run(server: MessageServer, folder: Path, *args: str, **config: Any) -> tuple[list[str], str]:
    """Return the tap's output lines, without the times, and its log."""
    (folder / "config.json").write_text(json.dumps(server.config | config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(folder / "config.json")]
    done = subprocess.run([*command, *args], capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr.decode()
    text = re.sub(r',"time_extracted":"[^"]+Z"', "", done.stdout.decode())
    return text.split("\n"), done.stderr.decode()


def catalog(server: MessageServer, folder: Path, **config: Any) -> dict[str, Any]:
    found, _ = run(server, folder, "--discover", **config)
    whole: dict[str, Any] = json.loads("\n".join(found))
    return whole


def select(whole: dict[str, Any], folder: Path, *deselected: str, method: str) -> str:
    """Select published_messages alone, without some columns; return the catalog's path."""
    entry = next(s for s in whole["streams"] if s["stream"] == "published_messages")
    for item in entry["metadata"]:
        if item["breadcrumb"] == []:
            item["metadata"]["selected"] = True
        elif item["breadcrumb"][-1] in deselected:
            item["metadata"]["selected"] = False
    entry["replication_method"] = method
    entry["schema"]["properties"].pop("new_one", None)
    path = folder / "catalog.json"
    path.write_text(json.dumps({"streams": [entry]}))
    return str(path)


@pytest.mark.parametrize(
    ("deselected", "method"),
    [((), "INCREMENTAL"), (("body", "day", "file_number"), "FULL_TABLE")],
)
def test_both_paths_write_the_same_bytes(
    tmp_path: Path, deselected: tuple[str, ...], method: str
) -> None:
    config = {"message_column_types": TYPES, "emit_activate_version_messages": True}
    with MessageServer(hard_files(), older=hard_files()[:1]) as server:
        path = select(catalog(server, tmp_path, **config), tmp_path, *deselected, method=method)
        arguments = ("--catalog", path)
        fast, fast_log = run(server, tmp_path, *arguments, **config)
        maps = {"stream_maps": {"published_messages": {}}}
        slow, slow_log = run(server, tmp_path, *arguments, **config | maps)
    version = re.compile(r'"version":\d+')
    assert [version.sub("", line) for line in fast] == [version.sub("", line) for line in slow]
    kinds = [json.loads(line)["type"] for line in fast if line]
    assert kinds.count("RECORD") == 12_014
    assert ("ACTIVATE_VERSION" in kinds) == (method == "FULL_TABLE")
    warned = [
        [line.split("|")[-1] for line in log.splitlines() if "WARNING" in line]
        for log in (fast_log, slow_log)
    ]
    assert warned[0] == warned[1]
    assert any("U+0000" in line for line in warned[0])
    assert any("too few or too many" in line for line in warned[0])


def test_no_value_of_a_hard_file_is_lost(tmp_path: Path) -> None:
    config = {"message_column_types": TYPES}
    with MessageServer(hard_files()[:1]) as server:
        path = select(catalog(server, tmp_path, **config), tmp_path, method="INCREMENTAL")
        output, _ = run(server, tmp_path, "--catalog", path, **config)
    rows = [json.loads(line)["record"] for line in output if '"RECORD"' in line]
    first, second, third, short, long, empty, last = rows
    assert first["message_id"] == "m1"
    assert first["body"] == 'say "hi", \\ you'
    assert first["body_2"] == "again"
    assert first["column_9"] == "blank"
    assert first["_extra"] == {"New One": "x"}
    assert (first["sent_at"], first["read"]) == ("2026-01-02T03:04:05.000000+00:00", True)
    assert second["body"] == "line\r\nend\ttab\x01\x1f\x7f\u2028"
    assert (second["count"], second["price"], second["read"]) == (7, 1000, False)
    assert second["_extra"] == {"Day": "2026-02-30"}
    assert (second["body_2"], second["column_9"]) == (None, "")
    assert third["body"] == "🎈é\ufffd"
    assert third["_extra"] == {
        "Sent At": "never",
        "Count": "9" * 22,
        "Read": "maybe",
        "New One": 'q"q',
    }
    assert short["_extra"] == {"_fields": 2, "_row": ["m4", "short"]}
    assert (short["message_id"], short["body"], short["price"]) == ("m4", "short", None)
    assert long["_extra"]["_row"] == ["m5", "long", *[None] * 8, "too", "many"]
    assert (empty["message_id"], empty["body"]) == (None, "")
    assert last["_extra"] is None


def test_a_column_that_is_not_selected_is_nowhere_not_even_in_rows_that_do_not_fit(
    tmp_path: Path,
) -> None:
    files = [Content(b"Message ID,Secret\n1,canary\n2,canary,canary\n")]
    with MessageServer(files) as server:
        path = select(catalog(server, tmp_path), tmp_path, "secret", method="INCREMENTAL")
        output, log = run(server, tmp_path, "--catalog", path)
    assert "canary" not in "".join(output) + log
    extras = [json.loads(line)["record"]["_extra"] for line in output if '"RECORD"' in line]
    assert extras == [None, {"_fields": 3}]


def test_the_test_option_still_ends_after_one_record(tmp_path: Path) -> None:
    with MessageServer(hard_files()) as server:
        output, _ = run(server, tmp_path, "--test")
    assert sum('"RECORD","stream":"published_messages"' in line for line in output) <= 1


VALUES = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1), st.integers(0, 3))
@settings(deadline=None)
def test_any_text_is_escaped_as_the_sdks_encoder_does(
    values: list[tuple[str | None, str | None]], offset: int
) -> None:
    padded = [("x", None)] * offset + values
    columns = {
        name: pa.array([row[place] for row in padded], pa.string())
        for place, name in enumerate(("a", 'b"'))
    }
    rows = Rows(
        constants={"c": 'k"\n', "d": None},
        numbers=pa.array(range(len(padded)), pa.int64()),
        columns=columns,
        kinds=dict.fromkeys(columns, TEXT),
        extra={len(padded) - 1: {"x": "y\0"}},
    ).slice(offset, len(values))
    properties = ["c", "row_number", "a", "d", 'b"', "_extra"]
    written = lines(rows, properties, before="<", after=">\n")
    expected = b"".join(
        b"<" + encoder.encode(record) + b">\n" for record in rows.records(properties)
    )
    assert content(written).to_pybytes() == expected


@given(
    st.sampled_from([k for k in KINDS if k != "string"]),
    st.lists(
        st.one_of(
            st.integers().map(str),
            st.decimals(allow_nan=True).map(str),
            st.sampled_from(["true", "No", " 1 ", "1_0", "", "2026-02-29", "x", "-0", "1e5", "٣"]),
            st.dates().map(str),
            st.datetimes(timezones=st.just(None)).map(str),
        ),
        min_size=1,
    ),
)
@settings(deadline=None)
def test_a_value_is_the_same_in_json_and_in_parquet(kind: str, texts: list[str]) -> None:
    from tap_nudgescribe.message_csv import Piece  # noqa: PLC0415
    from tap_nudgescribe.message_rows import Fitting, record_batch  # noqa: PLC0415

    fitting = Fitting(
        ["V"], {"V": "v"}, kinds={"v": KINDS[kind]}, unknown=[], dropped=False, constants={}
    )
    rows = fitting.fit(
        Piece(pa.array(range(len(texts)), pa.int64()), {0: pa.array(texts, pa.string())})
    )
    schema = pa.schema([("row_number", pa.int64()), ("v", KINDS[kind].arrow)])
    table = record_batch(rows, schema).column("v").to_pylist()
    for index, (record, exact) in enumerate(
        zip(rows.records(["row_number", "v", "_extra"]), table, strict=True)
    ):
        if record["v"] is None:
            assert record["_extra"] == {"V": texts[index]}
            assert exact is None
        elif kind == "date-time":
            assert exact.isoformat(timespec="microseconds") == record["v"]
        else:
            assert (str(exact) if kind == "date" else exact) == record["v"]


def test_the_seams_of_the_sdk_that_the_fast_path_uses_are_there() -> None:
    for name in ("_sync_records", "_write_state_message", "_finalize_state", "get_batches"):
        assert callable(getattr(Stream, name))
    assert PublishedMessages._sync_records is not Stream._sync_records  # noqa: SLF001
    assert Stream.STATE_MSG_FREQUENCY == 10_000
