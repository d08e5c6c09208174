"""Warehouses to load: where they are, and what is in them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.pipeline import variables
from tests.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

Row = dict[str, Any]

SCHEMA = "nudgescribe"

WRITTEN = "_sdc_batched_at"
"""When a loader wrote a row."""


@dataclass(frozen=True)
class Warehouse:
    """A place to load into.

    Attributes:
        loader: The Meltano plugin.
        settings: Its settings, as environment variables.
        rows: Reads a whole table.
    """

    name: str
    loader: str
    settings: Mapping[str, str]
    rows: Callable[[str], list[Row]]

    def count(self, stream: str, since: datetime) -> tuple[int, int]:
        """Count a table's rows, and those written since a moment."""
        written = [row[WRITTEN] for row in self.rows(stream)]
        return len(written), sum(moment.replace(tzinfo=since.tzinfo) >= since for moment in written)


@dataclass(frozen=True)
class Database:
    """A Postgres database, for as long as somebody is connected with it."""

    url: str
    connection: psycopg.Connection[Row]

    @property
    def settings(self) -> dict[str, str]:
        """What loads it, models in it and reads from it, as environment variables."""
        place = urlsplit(self.url)
        loaded = {"sqlalchemy_url": self.url.replace("sql:", "sql+psycopg:")}
        return {
            **variables("target-postgres", loaded),
            **variables("tap-postgres", {"sqlalchemy_url": self.url}),
            "DBT_POSTGRES_HOST": str(place.hostname),
            "DBT_POSTGRES_PORT": str(place.port),
            "DBT_POSTGRES_PASSWORD": str(place.password),
            "DBT_POSTGRES_DATABASE": place.path.removeprefix("/"),
        }

    def run(self, statement: str, *parameters: str) -> list[Row]:
        """Run a statement and return its rows, of which there may be none."""
        cursor = self.connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def rows(self, stream: str, schema: str = SCHEMA) -> list[Row]:
        """Return a whole table."""
        table = sql.Identifier(schema, stream)
        return self.connection.execute(sql.SQL("SELECT * FROM {}").format(table)).fetchall()

    def types(self, schema: str = SCHEMA) -> dict[str, dict[str, str]]:
        """Return the type of each column, by table."""
        found: dict[str, dict[str, str]] = {}
        for row in self.run(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s",
            schema,
        ):
            found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
        return found


@contextlib.contextmanager
def connected(url: str) -> Iterator[Database]:
    """Open a database."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield Database(url, connection)


@contextlib.contextmanager
def open_postgres(_: Path) -> Iterator[Warehouse]:
    """Run a throw-away Postgres."""
    with postgres() as url, connected(url) as database:
        yield Warehouse("Postgres", "target-postgres", database.settings, database.rows)


@contextlib.contextmanager
def open_duckdb(folder: Path) -> Iterator[Warehouse]:
    """Name a DuckDB file."""
    file = folder / "warehouse.duckdb"

    def rows(stream: str) -> list[Row]:
        with duckdb.connect(file, read_only=True) as connection:
            found = connection.table(f"{SCHEMA}.{stream}")
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    settings = {"TARGET_DUCKDB_FILEPATH": str(file), "DBT_DUCKDB_FILE": str(file)}
    yield Warehouse("DuckDB", "target-duckdb", settings, rows)


WAREHOUSES: Mapping[str, Callable[[Path], AbstractContextManager[Warehouse]]] = {
    "postgres": open_postgres,
    "duckdb": open_duckdb,
}
