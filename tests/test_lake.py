"""Parquet files in a folder or in S3 are a table for whoever reads them: pyarrow, DuckDB."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from pyarrow import dataset, fs

from tests.expectation import exact, key_of, plain
from tests.object_stores import s3
from tests.sandbox.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Run

TYPES = {
    "customers": {
        "customer_ref": "VARCHAR",
        "profile": "VARCHAR",
        "birthday": "DATE",
        "updated_at": "TIMESTAMP WITH TIME ZONE",
    },
    "campaign_runs": {"run_number": "BIGINT", "message_summary": "VARCHAR"},
    "run_messages": {"archived": "BOOLEAN"},
    "published_messages": {"row_number": "BIGINT", "score": "DECIMAL(38,18)", "_extra": "VARCHAR"},
}
"""What DuckDB takes some columns for."""


@contextmanager
def folder(path: Path, _: pytest.MonkeyPatch) -> Iterator[tuple[str, str, fs.FileSystem]]:
    """Yield a folder's URL, its path, and what reads it."""
    yield (path / "lake").as_uri(), str(path / "lake"), fs.LocalFileSystem()


@contextmanager
def bucket(_: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, fs.FileSystem]]:
    """Run an S3; yield a place in it likewise."""
    with s3() as (root, environment):
        for name, value in environment.items():
            patch.setenv(name, value)
        reader = fs.S3FileSystem(
            endpoint_override=environment["AWS_ENDPOINT_URL"],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            region=environment["AWS_DEFAULT_REGION"],
        )
        yield f"{root}/lake", f"{root.removeprefix('s3://')}/lake", reader


@pytest.mark.parametrize("place", [folder, bucket])
def test_the_files_of_a_stream_are_one_table_with_the_rows_of_the_record_path(
    tap: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[..., Any],
) -> None:
    typed = {"message_column_types": {"score": "number"}}
    expected = tap(**typed)
    with place(tmp_path, monkeypatch) as (url, path, reader):
        storage = {"root": url, "prefix": ""}
        batches = {"encoding": {"format": "parquet"}, "storage": storage, "batch_size": 500}
        run = tap(batch_config=batches, **typed)
        assert run.code == 0, run.stderr
        for stream, keys in KEYS.items():
            written = fs.FileSelector(path, recursive=True)
            files = [f.path for f in reader.get_file_info(written) if f"--{stream}-" in f.path]
            found = dataset.dataset(sorted(files), filesystem=reader)
            assert all(piece.physical_schema == found.schema for piece in found.get_fragments())
            records = {key_of(stream, record): record for record in expected.records(stream)}
            with duckdb.connect() as connection:
                table = (
                    connection.read_parquet(f"{path}/*--{stream}-*.parquet")
                    if isinstance(reader, fs.LocalFileSystem)
                    else connection.from_arrow(found)  # its own client of S3 is no part of it
                )
                types = dict(zip(table.columns, map(str, table.types), strict=True))
                by_duckdb = table.to_arrow_table()
            assert types == types | TYPES.get(stream, {})
            for rows in (found.to_table(), by_duckdb):
                assert rows.num_rows == len(records)
                assert_same(rows, records, keys)


def assert_same(
    table: pa.Table, records: dict[tuple[Any, ...], dict[str, Any]], keys: tuple[str, ...]
) -> None:
    """Compare a table with records by key, value for value."""
    loaded = {tuple(row[name] for name in keys): row for row in table.to_pylist()}
    assert loaded.keys() == records.keys()
    for key, record in records.items():
        sent = {name: exact(value) for name, value in record.items()}
        assert plain(loaded[key], record) == sent
