"""The warehouses that the demo can load: where they are and what is in them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import psycopg
from psycopg import sql

from tests.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

SCHEMA = "nudgescribe"


@dataclass(frozen=True)
class Warehouse:
    """A place to load into.

    Attributes:
        loader: The Meltano plugin.
        settings: Its settings, as environment variables.
        count: Counts a table's rows, and those written since a moment.
    """

    name: str
    loader: str
    settings: Mapping[str, str]
    count: Callable[[str, datetime], tuple[int, int]]


@contextlib.contextmanager
def open_postgres(_: Path) -> Iterator[Warehouse]:
    """Run a throw-away Postgres."""
    counting = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE _sdc_batched_at >= %s) FROM {table}"
    )
    with postgres() as url, psycopg.connect(url, autocommit=True) as connection:

        def count(stream: str, since: datetime) -> tuple[int, int]:
            statement = counting.format(table=sql.Identifier(SCHEMA, stream))
            rows, written = connection.execute(statement, [since]).fetchone() or (0, 0)
            return rows, written

        settings = {"TARGET_POSTGRES_SQLALCHEMY_URL": url.replace("sql:", "sql+psycopg:")}
        yield Warehouse("Postgres", "target-postgres", settings, count)


@contextlib.contextmanager
def open_duckdb(folder: Path) -> Iterator[Warehouse]:
    """Name a DuckDB file."""
    file = folder / "warehouse.duckdb"

    def count(stream: str, since: datetime) -> tuple[int, int]:
        counting = f"SELECT count(*), count(*) FILTER (_sdc_batched_at >= ?) FROM {SCHEMA}.{stream}"  # noqa: S608 (our own names)
        with duckdb.connect(file, read_only=True) as connection:
            rows, written = connection.execute(counting, [since]).fetchone() or (0, 0)
        return rows, written

    yield Warehouse("DuckDB", "target-duckdb", {"TARGET_DUCKDB_FILEPATH": str(file)}, count)


WAREHOUSES: Mapping[str, Callable[[Path], AbstractContextManager[Warehouse]]] = {
    "postgres": open_postgres,
    "duckdb": open_duckdb,
}
