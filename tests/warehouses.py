"""Warehouses to load: where they are, and what is in them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

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
    rows: Callable[[str], list[dict[str, Any]]]

    def count(self, stream: str, since: datetime) -> tuple[int, int]:
        """Count a table's rows, and those written since a moment."""
        written = [row[WRITTEN] for row in self.rows(stream)]
        return len(written), sum(moment.replace(tzinfo=since.tzinfo) >= since for moment in written)


@contextlib.contextmanager
def open_postgres(_: Path) -> Iterator[Warehouse]:
    """Run a throw-away Postgres."""
    with postgres() as url, psycopg.connect(url, autocommit=True, row_factory=dict_row) as server:
        server.execute("SET TIME ZONE 'UTC'")

        def rows(stream: str) -> list[dict[str, Any]]:
            table = sql.Identifier(SCHEMA, stream)
            return server.execute(sql.SQL("SELECT * FROM {}").format(table)).fetchall()

        settings = {"TARGET_POSTGRES_SQLALCHEMY_URL": url.replace("sql:", "sql+psycopg:")}
        yield Warehouse("Postgres", "target-postgres", settings, rows)


@contextlib.contextmanager
def open_duckdb(folder: Path) -> Iterator[Warehouse]:
    """Name a DuckDB file."""
    file = folder / "warehouse.duckdb"

    def rows(stream: str) -> list[dict[str, Any]]:
        with duckdb.connect(file, read_only=True) as connection:
            found = connection.table(f"{SCHEMA}.{stream}")
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    yield Warehouse("DuckDB", "target-duckdb", {"TARGET_DUCKDB_FILEPATH": str(file)}, rows)


WAREHOUSES: Mapping[str, Callable[[Path], AbstractContextManager[Warehouse]]] = {
    "postgres": open_postgres,
    "duckdb": open_duckdb,
}
