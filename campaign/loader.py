"""Load what a tap writes as a careful target does, into a file that outlives every crash."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = dict[str, Any]


class LoaderFailedError(Exception):
    """The loader has died on order."""


class Loader:
    """Upserts records by key; a state is kept only together with all that came before it.

    Args:
        file: An SQLite database.
        fetch: Reads an object of a store by its URL.
    """

    def __init__(self, file: Path, fetch: Callable[[str], bytes] | None = None) -> None:
        """Open or create the tables."""
        self._fetch = fetch
        self._store = sqlite3.connect(file, isolation_level=None)
        self._store.execute(
            "CREATE TABLE IF NOT EXISTS states (id INTEGER PRIMARY KEY, state TEXT)"
        )
        self._store.execute(
            "CREATE TABLE IF NOT EXISTS rows (stream TEXT, key TEXT, record TEXT, "
            "PRIMARY KEY (stream, key))"
        )
        self._store.execute("CREATE TABLE IF NOT EXISTS schemas (stream TEXT PRIMARY KEY, s TEXT)")

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    @property
    def state(self) -> Any:  # noqa: ANN401 (JSON)
        """The last state that was kept, None before the first."""
        found = self._store.execute("SELECT state FROM states").fetchone()
        return found and json.loads(found[0])

    @property
    def schemas(self) -> dict[str, Row]:
        """The last schema of each stream, with all columns that it ever had, as a table has."""
        found = self._store.execute("SELECT stream, s FROM schemas")
        return {stream: json.loads(text)["schema"] for stream, text in found}

    def rows(self, stream: str) -> dict[tuple[Any, ...], Row]:
        """Return a stream's rows by key."""
        found = self._store.execute("SELECT key, record FROM rows WHERE stream = ?", (stream,))
        return {tuple(json.loads(key)): json.loads(record) for key, record in found}

    def load(self, lines: IO[bytes], *, states_together: int, fails_at: int | None = None) -> int:
        """Load messages until they end; return how many lines there were.

        Args:
            lines: What the tap writes.
            states_together: How many states come before something is made durable.
            fails_at: The number of the line before which the loader dies.

        Raises:
            LoaderFailedError: when it dies: what was not durable is gone.
        """
        waiting: str | None = None
        states = number = 0
        self._store.execute("BEGIN")
        for number, line in enumerate(lines, 1):
            if number == fails_at:
                self._store.execute("ROLLBACK")
                raise LoaderFailedError
            if not line.endswith(b"\n"):
                break
            message = json.loads(line)
            if message["type"] != "STATE":
                self._take(message)
                continue
            waiting = json.dumps(message["value"])
            states += 1
            if states % states_together == 0:
                self._commit(waiting)
                self._store.execute("BEGIN")
        self._commit(waiting)
        return number

    def _commit(self, state: str | None) -> None:
        if state is not None:
            self._store.execute("INSERT OR REPLACE INTO states VALUES (1, ?)", (state,))
        self._store.execute("COMMIT")

    def _take(self, message: Row) -> None:
        match message["type"]:
            case "SCHEMA":
                known = self.schemas.get(message["stream"], {"properties": {}})["properties"]
                message["schema"]["properties"] = known | message["schema"]["properties"]
                told = message["stream"], json.dumps(message)
                self._store.execute("INSERT OR REPLACE INTO schemas VALUES (?, ?)", told)
            case "RECORD":
                self._upsert(message["stream"], [message["record"]])
            case "BATCH":
                for url in message["manifest"]:
                    self._upsert(message["stream"], rows_of_file(url, self._fetch))

    def _upsert(self, stream: str, records: Iterator[Row] | list[Row]) -> None:
        found = self._store.execute("SELECT s FROM schemas WHERE stream = ?", (stream,))
        keys = json.loads(found.fetchone()[0])["key_properties"]
        self._store.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)",
            [
                (stream, json.dumps([record[key] for key in keys]), json.dumps(record))
                for record in records
            ],
        )


def rows_of_file(url: str, fetch: Callable[[str], bytes] | None = None) -> Iterator[Row]:
    """Yield the records of a BATCH file, as RECORD messages have them."""
    local = url.startswith("file:") or fetch is None
    content = Path(unquote(urlsplit(url).path)).read_bytes() if local else fetch(url)
    if url.endswith(".parquet"):
        for row in parquet.read_table(io.BytesIO(content)).to_pylist():
            yield {name: _plain(name, value) for name, value in row.items()}
        return
    yield from map(json.loads, gzip.decompress(content).splitlines())


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if name in {"profile", "_extra", "segment", "message_summary", "options"} and value:
        return json.loads(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
