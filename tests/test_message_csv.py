"""Message files as hard as they come, parsed row for row as Python's csv module does."""

from __future__ import annotations

import csv
import io
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_nudgescribe import message_csv
from tap_nudgescribe.errors import MessageFileError
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv, Oddities, distinct_names

Parsed = list[list[str | None]]

BARE = st.text("aé🎈 x=;\t", max_size=6)
QUOTED = st.text('aé🎈 ,"\r\n\t', max_size=12).map(lambda text: '"' + text.replace('"', '""') + '"')
FIELDS = st.one_of(BARE, QUOTED, st.just(""), st.just('""'), st.just('a"b'))
LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n"])


def parse(data: bytes, oddities: Oddities | None = None, **options: Any) -> tuple[Any, Parsed]:
    """Return a file's header and all fields of its rows, whose numbers are checked."""
    file = MessageCsv(io.BytesIO(data), CsvOptions(**options))
    rows: Parsed = []
    for piece in file.pieces(range(len(file.header))):
        columns = [column.to_pylist() for column in piece.columns.values()]
        for index, number in enumerate(piece.numbers.to_pylist()):
            rows.append(piece.misfits.get(index) or [column[index] for column in columns])
            assert number == len(rows)
    if oddities:
        oddities.add(file.oddities)
    return file.header, rows


@given(
    columns=st.integers(1, 4),
    rows=st.lists(st.lists(FIELDS, min_size=1, max_size=6), max_size=40),
    ends=st.lists(LINE_ENDS, min_size=41, max_size=41),
    last_end=st.booleans(),
    mark=st.booleans(),
    longest_row=st.sampled_from([400, 1000, 2**20]),
)
@settings(max_examples=300, deadline=None)
def test_every_row_is_the_one_that_pythons_csv_module_reads(  # noqa: PLR0913 (what may differ)
    *,
    columns: int,
    rows: list[list[str]],
    ends: list[str],
    last_end: bool,
    mark: bool,
    longest_row: int,
) -> None:
    header = [f"h{number}" for number in range(columns)]
    lines = [",".join(row) for row in [header, *rows]]
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    if not last_end:
        text = text[: len(text) - len(ends[len(lines) - 1])]
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    data = ("\ufeff" * mark + text).encode()
    found_header, found = parse(data, longest_row=longest_row)
    assert found_header == expected[0] == header
    assert [[value or "" for value in row] for row in found] == expected[1:]


@given(st.lists(st.sampled_from(["", '""', "a", '"a"']), min_size=2, max_size=5))
@settings(deadline=None)
def test_nothing_is_null_and_quoted_nothing_is_not(values: list[str]) -> None:
    names = ",".join(f"h{number}" for number in range(len(values)))
    _, rows = parse(f"{names}\n{','.join(values)}\n".encode())
    assert rows == [[None if value == "" else value.strip('"') for value in values]]


@pytest.mark.parametrize("length", range(1, 40))
def test_a_quoted_line_end_survives_wherever_a_block_ends(length: int) -> None:
    row = f'"{"x" * length}\r\n",y\n'
    _, rows = parse(b"a,b\n" + row.encode() * 20, longest_row=64)
    assert rows == [["x" * length + "\r\n", "y"]] * 20


@given(st.binary(max_size=300), st.integers(16, 64))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_with_replacement_or_refused_at_the_first_bad_one(
    data: bytes, longest_row: int
) -> None:
    body = data.replace(b'"', b"'").replace(b"\0", b"")
    whole = b"h\n" + body
    try:
        whole.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(MessageFileError, match=rf"not UTF-8 at byte {error.start}\."):
            parse(whole, longest_row=2**20)
    oddities = Oddities()
    _, rows = parse(whole, oddities, longest_row=2**20, encoding_errors="replace")
    _, again = parse(whole, longest_row=2**20, encoding_errors="replace")
    expected = csv.reader(io.StringIO(whole.decode(errors="replace"), newline=""))
    assert [[v or "" for v in row] for row in rows] == [row for row in expected if row][1:]
    assert rows == again
    assert bool(oddities.undecodable) == (whole.decode(errors="ignore").encode() != whole)
    assert longest_row


def test_a_broken_character_is_found_at_its_byte_behind_many_blocks() -> None:
    data = b"a,b\n" + "é,🎈\n".encode() * 5000 + b"x,\xc3\n"
    with pytest.raises(MessageFileError, match=f"at byte {len(data) - 2}"):
        parse(data, longest_row=1000)
    _, rows = parse(data, longest_row=1000, encoding_errors="replace")
    assert rows[-2:] == [["é", "🎈"], ["x", "\ufffd"]]


def test_u0000_becomes_ufffd_and_is_counted() -> None:
    oddities = Oddities()
    assert parse(b"a\nx\0\0\n", oddities) == (["a"], [["x\ufffd\ufffd"]])
    assert oddities.nul == 2


def test_a_byte_order_mark_in_front_of_a_row_is_text() -> None:
    for data in (b"a,b\n%b1,2\n%b3,4\n", b"a,b\n%b1\n%b3\n", b"a,b\n%b1,2,3\n%b4,5,6\n"):
        text = data.replace(b"%b", "\ufeff".encode())
        for mark in (b"", b"\xef\xbb\xbf"):
            expected = list(csv.reader(io.StringIO(text.decode(), newline="")))
            assert parse(mark + text)[1] == expected[1:]


def test_rows_with_too_few_or_too_many_fields_keep_all_of_them_or_fail() -> None:
    oddities = Oddities()
    data = b'a,b\n1,2\n3\n"4\n",5,6\n7,8\n9,,""\n'
    _, rows = parse(data, oddities)
    assert rows == [["1", "2"], ["3"], ["4\n", "5", "6"], ["7", "8"], ["9", None, ""]]
    assert oddities.misfit_rows == 3
    with pytest.raises(MessageFileError, match=r"Row 2 .* has 1 fields, its header 2"):
        parse(data, row_errors="fail")


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\r\n\n", []),
        (b"a,b", ["a", "b"]),
        (b"\n\na,b\r\n", ["a", "b"]),
        (b'"a\nb","c,d"\n', ["a\nb", "c,d"]),
        (b"a,b\n\n\r\n\n", ["a", "b"]),
    ],
)
def test_an_empty_file_and_one_with_a_header_only_have_no_rows(
    data: bytes, header: list[str]
) -> None:
    assert parse(data) == (header, [])


@given(st.lists(st.sampled_from(["", " ", "a", "a 2", "column 1", "column 3", "b"])))
@settings(deadline=None)
def test_blank_and_repeated_header_names_become_different_ones(header: list[str]) -> None:
    names = distinct_names(header)
    assert len(set(names)) == len(header)
    assert all(names)
    assert [n for n in header if n.strip()] == header or names != header
    once = [name for name in header if name.strip() and header.count(name) == 1]
    assert set(once) <= set(names), "a name that is clear stays"


def test_a_blank_name_says_where_it_is_and_a_repeated_one_which_it_is() -> None:
    assert distinct_names(["a", "", "a", "a 2", "a"]) == ["a", "column 2", "a 3", "a 2", "a 4"]


class Endless(io.RawIOBase):
    """A file with one field of 100 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 100

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        self.left -= 1
        if self.left == 99:
            return b'a,b\n1,2\n3,"'
        return b"canary" * 180_000 if self.left > 0 else b""


def test_a_field_of_100_mb_is_refused_with_the_setting_that_would_allow_it() -> None:
    file = MessageCsv(Endless(), CsvOptions())  # type: ignore[arg-type]
    with pytest.raises(MessageFileError, match="message_longest_row_mib") as caught:
        list(file.pieces([0, 1]))
    assert "longer than 1048576 bytes" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_file_in_which_no_row_fits_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(MessageFileError, match="100000 rows in a row"):
        parse(b"a,b\n" + b"1\n" * 100_001)


class Failing(io.BytesIO):
    """A file that fails where it should end."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError
        return data


def test_a_failure_of_reading_never_crosses_arrows_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # There it could keep its own thread waiting for itself, and the run with it, for ever.
    crossed: list[Exception] = []
    open_csv = message_csv.pa_csv.open_csv

    class Watched(io.RawIOBase):
        def __init__(self, file: Any) -> None:
            super().__init__()
            self._file = file

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> Any:
            try:
                return self._file.read(size)
            except Exception as error:
                crossed.append(error)
                raise

    monkeypatch.setattr(
        message_csv.pa_csv, "open_csv", lambda file, **options: open_csv(Watched(file), **options)
    )
    file = MessageCsv(Failing(b"a,b\n" * 1000), CsvOptions(longest_row=400))
    with pytest.raises(MessageFileError, match="cannot be read on"):
        list(file.pieces(range(2)))
    assert not crossed


@pytest.mark.parametrize("row_errors", ["keep", "fail"])
@pytest.mark.parametrize("nuls", range(4, 17))
def test_a_row_that_is_cut_within_a_character_where_reading_fails_is_an_error_and_no_row(
    nuls: int, row_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # U+0000 becomes three bytes: the first block ends after 64, after each byte of one in turn.
    printed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    data = b"a\n" + b"x\n" * 20 + b"," * (17 - nuls) + b"\0" * nuls + b"\n\xff"
    file = MessageCsv(io.BytesIO(data), CsvOptions(longest_row=64, row_errors=row_errors))
    with pytest.raises(MessageFileError, match=f"not UTF-8 at byte {len(data) - 1}"):
        list(file.pieces([0]))
    assert not printed
    assert not file.oddities.misfit_rows
