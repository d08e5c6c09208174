"""Write down every row that is not in the account, and why, so that it can be sent again."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tap_nudgescribe.errors import NudgescribeError
from target_nudgescribe.storage import Storage, safe_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One reason why one row was not taken; a row with several reasons has several of these."""

    run_id: str
    stream: str
    row_number: int
    """Counted from 1 over the rows of the stream in this run."""
    key: str
    """The customer's key: its text if rows are written in full, else its print."""
    code: str
    """Stable, for programs."""
    field: str | None
    column: str | None
    message: str
    found_by: str
    """``check`` (ours), ``validation``, ``upload`` or ``delete`` (the API's)."""
    retryable: bool
    """Whether the next run sends the row again although nothing has changed."""
    attempts: int
    """How often the row was sent."""
    batch: int
    """Which batch of the stream it was in; 0 for rows that were never in one."""
    row: str | None
    """The row as JSON, in full or masked; null if rows are not written."""


COLUMNS = [field.name for field in dataclasses.fields(Reject)]

SCHEMA = pa.schema(
    [
        (
            name,
            {"row_number": pa.int64(), "attempts": pa.int64(), "batch": pa.int64()}.get(name)
            or (pa.bool_() if name == "retryable" else pa.string()),
        )
        for name in COLUMNS
    ]
)

PLAIN_SIGNS = frozenset(string.punctuation + string.whitespace)
"""What a masked value shows: any other sign may be a word by itself, in some script."""


class ReplayError(NudgescribeError):
    """A file of rejects cannot be sent again."""


def written_row(row: Mapping[str, Any], how: str) -> str | None:
    """Return a row for the rejects: ``full``, ``masked`` (the shape of each value), or ``none``.

    Args:
        row: Values of JSON by column, perhaps with exact numbers.
        how: The setting ``rejects_rows``.
    """
    if how == "none":
        return None
    if how == "masked":
        row = {name: None if value is None else _masked(value) for name, value in row.items()}
    text = json.dumps(row, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row, default=str)  # half a character can be escaped, and not written
    return text


def _masked(value: object) -> str:
    return masked(value if isinstance(value, str) else json.dumps(value, default=str))


def masked(text: str) -> str:
    """Return the shape of a text: digits become 9, spaces and ASCII signs stay, the rest is x."""
    return "".join(
        "9" if sign.isdigit() else sign if sign in PLAIN_SIGNS else "x" for sign in text[:200]
    )


class RejectsFile:
    """The rejects of one run and stream: numbered parts, each written whole.

    Args:
        storage: The folder; None writes nothing.
        name: Begins the parts' names.
        form: ``csv``, ``jsonl`` or ``parquet``.
    """

    def __init__(self, storage: Storage | None, name: str, form: str) -> None:
        """Write nothing yet."""
        self._storage = storage
        self._name = name
        self._form = form
        self._parts = 0

    def add(self, rejects: Sequence[Reject]) -> None:
        """Make rejects durable: when this returns, they are."""
        if not rejects or self._storage is None:
            return
        self._parts += 1
        name = f"{safe_name(self._name)}-{self._parts:05d}.{self._form}"
        self._storage.write(name, _ENCODERS[self._form](rejects))


def _csv(rejects: Iterable[Reject]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, rejects))
    return text.getvalue().encode()


def _jsonl(rejects: Iterable[Reject]) -> bytes:
    lines = [json.dumps(dataclasses.asdict(reject), ensure_ascii=False) for reject in rejects]
    return "".join(line + "\n" for line in lines).encode()


def _parquet(rejects: Iterable[Reject]) -> bytes:
    table = pa.Table.from_pylist(list(map(dataclasses.asdict, rejects)), SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


_ENCODERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def read_rows(uri: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the stream and the row of each reject in a file, each row once.

    Raises:
        ReplayError: when there is no such file, or it does not hold rows in full.
    """
    folder, _, name = uri.rpartition("/")
    form = name.rpartition(".")[2]
    content = Storage(folder or ".").read(name)
    if content is None or form not in _ENCODERS:
        problem = f"There is no file of rejects at {uri}"
        raise ReplayError(problem, advice="Name one .csv, .jsonl or .parquet file of them.")
    found: dict[tuple[str, str, int], tuple[str | None, str]] = {}
    try:
        for told in _decoded(content, form):
            place = told["run_id"], told["stream"], told["row_number"]
            found.setdefault(place, (told["row"], told["key"]))
        if all(row and not key.startswith(PRINT) for row, key in found.values()):
            return [(place[1], json.loads(row or "")) for place, (row, _) in found.items()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        # The errors of Arrow are among these.
        problem = f"The file at {uri} is no file of rejects ({type(error).__name__})"
        raise ReplayError(problem, advice="It may be damaged, or cut off.") from None
    problem = f"The rejects at {uri} do not hold the rows in full"
    advice = "Only rejects written with rejects_rows=full can be sent again."
    raise ReplayError(problem, advice=advice)


def without_customers(content: bytes, form: str, keys: Collection[str]) -> tuple[bytes, int]:
    """Return a file of rejects without the rows of some customers, and how many were left out.

    A row belongs to a customer if its key is one of the keys, or if one of its values is.

    Args:
        content: The file.
        form: ``csv``, ``jsonl`` or ``parquet``.
        keys: Identifiers as text, and :data:`PRINT` with the hash of each.

    Raises:
        ValueError: for a file that cannot be read.
    """
    try:
        rejects = [dict(told) for told in _decoded(content, form)]
        kept = [Reject(**told) for told in rejects if not _belongs_to(told, keys)]
    except (LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        problem = "not a file of rejects"
        raise ValueError(problem) from error
    return _ENCODERS[form](kept), len(rejects) - len(kept)


def _belongs_to(told: Mapping[str, Any], keys: Collection[str]) -> bool:
    if told["key"] in keys:
        return True
    row = json.loads(told["row"]) if told["row"] else {}
    return any(isinstance(value, str) and value in keys for value in row.values())


PRINT = "print:"
"""Begins the key of a reject that shows no value."""


def _decoded(content: bytes, form: str) -> Iterable[Mapping[str, Any]]:
    if form == "parquet":
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(content)).to_pylist()
        return rows
    text = content.decode()
    if form == "jsonl":
        return [json.loads(line) for line in text.split("\n") if line]
    return csv.DictReader(io.StringIO(text, newline=""))
