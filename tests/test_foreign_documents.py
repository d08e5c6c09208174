"""Pages, errors and archives that are served as message files, with status 200."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_nudgescribe.documents import foreign_document
from tap_nudgescribe.errors import ApiError, MessageFileError, NotAMessageFileError
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv
from tap_nudgescribe.message_sources import ApiSource, Run
from tests.raw_server import RawServer, answer
from tests.scripted_api import ScriptedApi, campaign
from tests.test_bodies import client_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


MARK = b"\xef\xbb\xbf"

DOCUMENTS: list[tuple[bytes, str, str]] = [
    (b"<!DOCTYPE html>\n<html><body>Sign in, please</body></html>", "text/csv", "an HTML page"),
    (b"<html><head><title>Sign in, please</title></head></html>", "text/csv", "an HTML page"),
    (MARK + b"\r\n  <HTML lang='en'>\n<p>a,b</p>", "", "an HTML page"),
    (b'<?xml version="1.0"?><Error><Code>a, b</Code></Error>', "text/csv", "an XML document"),
    (b"<Error><Code>AccessDenied</Code><Message>No, never</Message></Error>", "text/csv", "an XML"),
    (b"<ListBucketResult xmlns='x'>\n", "application/octet-stream", "an XML document"),
    (b"<div>oops</div>\n", "", "an HTML or XML document"),
    (b'{"error":"file not ready","code":409}', "text/csv", "JSON"),
    (b'{\n  "error": "x",\n  "code": 409\n}', "text/csv", "JSON"),
    (b"{}", "", "JSON"),
    (b'[{"id": 1}]', "text/csv", "JSON"),
    (b"[]", "text/csv", "JSON"),
    (b"upstream connect error", "text/html", "a document of the type text/html"),
    (b"id,Body\n1,hi\n", "application/xml", "a document of the type application/xml"),
    (gzip.compress(b"id\n1\n", mtime=0), "text/csv", "gzip data"),
    (b"PK\x03\x04xlsx", "text/csv", "a ZIP archive"),
    (b"%PDF-1.7\n", "", "a PDF document"),
    ("id,Body\n".encode("utf-16"), "text/csv", "UTF-16 text"),
]

NUMBERS = range(len(DOCUMENTS))

FILES: list[tuple[bytes, str]] = [
    (b"id,Body\n1,hi\n", "text/csv"),
    (b"id,Body\n1,hi\n", "application/octet-stream"),
    (b"id,Body\n1,<html>\n", ""),
    (b"<id>,<Body>\n1,hi\n", "text/csv"),
    (b"<id>,<Body>\n1,hi\n", ""),
    (b"<id>\n1\n", "text/csv"),
    (b"<Error>,<Code>\n1,2\n", "text/csv"),
    (b"{id},{Body}\n1,hi\n", "text/csv"),
    (b"{{ id }},{{ Body }}\n1,hi\n", ""),
    (b"[id],[Body]\n1,hi\n", ""),
    (b"< 5,> 5\n1,2\n", ""),
    (b'"{""id""}",b\n1,2\n', ""),
]


@pytest.mark.parametrize(("content", "media_type", "name"), DOCUMENTS, ids=NUMBERS)
@pytest.mark.parametrize("errors", ["fail", "replace"])
def test_what_is_not_csv_is_recognised(
    content: bytes, media_type: str, name: str, errors: Any
) -> None:
    class File(io.BytesIO):
        pass

    file = File(content)
    file.media_type = media_type  # type: ignore[attr-defined]
    with pytest.raises(NotAMessageFileError, match=f"is {name}.*, not CSV"):
        MessageCsv(file, CsvOptions(encoding_errors=errors))


@pytest.mark.parametrize(("content", "media_type"), FILES)
def test_a_header_may_begin_like_a_document(content: bytes, media_type: str) -> None:
    assert foreign_document(content, media_type) is None


CURRENT = Run("c", 1, current=True)
BEFORE = Run("c", 1, current=False)


def header_of(server: RawServer, run: Run) -> list[str]:
    with ApiSource(client_of(server)).open(run, 1) as file:
        return MessageCsv(file, CsvOptions()).header


@pytest.mark.parametrize(
    "media_type",
    ["text/csv", "Text/CSV; charset=UTF-8", "application/octet-stream", "text/plain", "x/y"],
)
def test_any_media_type_but_that_of_a_page_is_a_file_of_the_raw_endpoint(media_type: str) -> None:
    with RawServer(lambda _: [answer(b"id,Body\n1,hi\n", media_type=media_type)]) as server:
        assert header_of(server, BEFORE) == ["id", "Body"]


def test_csv_as_a_text_of_json_is_a_file() -> None:
    body = json.dumps({"csv": "id,Body\n1,hi\n"}).encode()
    with RawServer(lambda _: [answer(body)]) as server:
        assert header_of(server, BEFORE) == ["id", "Body"]


@pytest.mark.parametrize(("content", "media_type", "_name"), DOCUMENTS, ids=NUMBERS)
@pytest.mark.parametrize("suffix", ["", ".csv", ".csv.gz", ".csv.zst"])
def test_a_document_behind_a_url_fails_whatever_its_name(
    content: bytes, media_type: str, _name: str, suffix: str
) -> None:
    def pieces(path: str) -> Iterable[bytes]:
        if "/file" in path:
            return [answer(content, media_type=media_type or "x/y")]
        return [answer(json.dumps({"url": f"{server.root}/file{suffix}"}).encode())]

    if suffix == ".csv.gz" and content.startswith(b"\x1f\x8b"):
        return  # a file, as its name says
    with RawServer(pieces) as server, pytest.raises(ApiError):
        header_of(server, CURRENT)


def test_a_file_that_was_decompressed_on_the_way_needs_no_other_name() -> None:
    body = gzip.compress(b"id,Body\n1,hi\n")

    def pieces(path: str) -> Iterable[bytes]:
        if "/file" in path:
            return [answer(body, media_type="text/csv", Content_Encoding="gzip")]
        return [answer(json.dumps({"url": f"{server.root}/file.csv.gz"}).encode())]

    with RawServer(pieces) as server:
        assert header_of(server, CURRENT) == ["id", "Body"]


# A file that ends inside quotes


@pytest.mark.parametrize(
    "data",
    [
        b'id,Body\n1,hi\n2,"oops\n3,c\n',
        b'id,Body\n1,hi\n2,"oops',
        b'id,Body\n1,hi\n2,"oops""',
        b'id,Body\n1,hi\n2,"oops\r',
        b'id,Body,C\n1,hi,x\n2,"oops\n3,c\n',
        b'id,Body\n1,hi\n"oops\n3,c\n',
        b'id\n1\n"oops\n3\n',
        b'id\n1\n"',
    ],
)
def test_a_file_that_ends_inside_quotes_fails_or_is_counted(data: bytes) -> None:
    file = MessageCsv(io.BytesIO(data), CsvOptions(row_errors="keep"))
    pieces = list(file.pieces(range(len(file.header))))
    assert sum(map(len, pieces)) == 2
    assert file.oddities.open_quotes == 1
    rows = [
        (piece.misfits.get(index), [column[index].as_py() for column in piece.columns.values()])
        for piece in pieces
        for index in range(len(piece))
    ]
    kept = data.split(b'"', 1)[1].decode().rstrip("\r\n").replace('""', '"')
    assert kept.split("\n")[-1] in str(rows[1]).replace("\\n", "\n")
    assert not any(len(word) >= 32 for word in str(rows).replace("'", " ").split())
    file = MessageCsv(io.BytesIO(data), CsvOptions(row_errors="fail"))
    with pytest.raises(MessageFileError, match=r"ends inside quotes|has \d fields"):
        list(file.pieces(range(len(file.header))))


@pytest.mark.parametrize(
    ("data", "columns", "fields"),
    [
        (b'id,Body\n1,hi\n2,"oops\n3,c\n', ["2", None], ["2", "oops\n3,c\n"]),
        (b'id,Body\n1,hi\n2,"a""b\n3,""\n4,d\n', ["2", None], ["2", 'a"b\n3,"\n4,d\n']),
        (b'id,Body,C\n1,hi,x\n2,"oops\n3,c\n', ["2", None, None], ["2", "oops\n3,c\n"]),
        (b'id,Body\n1,hi\n"oops\n3,c\n', [None, None], ["oops\n3,c\n"]),
        (b'id,Body\n1,hi\n2,b,"oops\n3,c\n', ["2", "b"], ["2", "b", "oops\n3,c\n"]),
        (b'id\n1\n"oops\n3\n', [None], ["oops\n3\n"]),
    ],
)
def test_what_an_open_quote_takes_in_is_no_value_of_a_column(
    data: bytes, columns: list[str | None], fields: list[str]
) -> None:
    file = MessageCsv(io.BytesIO(data), CsvOptions(row_errors="keep"))
    *_, last = file.pieces(range(len(file.header)))
    index = len(last) - 1
    assert [column[index].as_py() for column in last.columns.values()] == columns
    assert last.misfits[index] == fields
    file = MessageCsv(io.BytesIO(data), CsvOptions(row_errors="keep"))
    with pytest.raises(MessageFileError, match="ends inside quotes") as refused:
        list(file.pieces([0], keeps_misfits=False))
    assert "message_row_errors" in str(refused.value)


@pytest.mark.parametrize("without", ["", "body", "_extra"])
@pytest.mark.parametrize("row", ['2,"oops', '2,x,"oops', '"oops'])
@pytest.mark.parametrize("batch", [False, True])
def test_a_run_keeps_rows_behind_an_open_quote_or_fails(
    tmp_path: Path, without: str, row: str, *, batch: bool
) -> None:
    files = ["id,Body\n0,x\n", f"id,Body\n1,hi\n{row}\n3,precious\n"]
    config: dict[str, Any] = {}
    if batch:
        config["batch_config"] = {
            "encoding": {"format": "jsonl", "compression": "none"},
            "storage": {"root": f"file://{tmp_path}"},
        }
    with ScriptedApi(campaigns=[campaign("c")], files={"c": files}) as api:
        found = api.discover()
        for entry in found["streams"]:
            for each in entry["metadata"]:
                if without and each["breadcrumb"] == ["properties", without]:
                    each["metadata"]["selected"] = False
        run = api.tap("published_messages", catalog=found, **config)
    if without:
        assert run.code == 1
        assert "ends inside quotes" in run.stderr
        assert "c" in run.state["bookmarks"]["published_messages"]["unfinished"]
        return
    assert run.code == 0, run.stderr
    assert "1 message files end inside quotes" in run.stderr
    assert "precious" not in run.stderr
    records = run.records("published_messages")
    if batch:
        lines = "".join(path.read_text() for path in sorted(tmp_path.iterdir())).splitlines()
        records = [json.loads(line) for line in lines]
    last = next(r for r in records if (r["file_number"], r["row_number"]) == (2, 2))
    extra = last.pop("_extra")
    assert "precious" not in str(last)
    assert "oops" not in str(last)
    assert extra["_row"][-1] == "oops\n3,precious\n"


@pytest.mark.parametrize("data", [b'id,"Body\n1,hi\n2,b\n', b'"id', b'id,"'])
def test_a_header_that_ends_inside_quotes_is_no_header(data: bytes) -> None:
    with pytest.raises(MessageFileError, match="ends inside quotes"):
        MessageCsv(io.BytesIO(data), CsvOptions())


@pytest.mark.parametrize("longest_row", [64, 100, 1000, 2**20])
@pytest.mark.parametrize("rows", [1, 7, 50])
@pytest.mark.parametrize("last", [b'x,"a""b"', b"x,a", b'x,"a\n"', b'x,a"b', b'x,"a"\r', b"x,\r\n"])
def test_a_file_that_ends_as_it_should_is_not_counted(
    longest_row: int, rows: int, last: bytes
) -> None:
    data = b"id,Body\n" + b"1,hi\n" * rows + last
    file = MessageCsv(io.BytesIO(data), CsvOptions(longest_row=longest_row))
    pieces = list(file.pieces(range(2)))
    assert sum(map(len, pieces)) == rows + 1
    assert (file.oddities.open_quotes, file.oddities.misfit_rows) == (0, 0)
