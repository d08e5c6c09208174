"""Meltano loads a real warehouse: what is in its tables is what the account holds."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.expectation import assert_whole, exact, key_of, plain
from tests.pipeline import Project, extract
from tests.sandbox import Sandbox, truth
from tests.sandbox.day import live_a_day
from tests.warehouses import WAREHOUSES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run

too_new_for_duckdb = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="target-duckdb is whole with DuckDB 1.0.0 only"
)


@pytest.mark.parametrize(
    ("warehouse", "messages"),
    [
        ("postgres", "RECORD"),
        ("postgres", "BATCH"),
        pytest.param("duckdb", "RECORD", marks=too_new_for_duckdb),
    ],
)
def test_two_runs_into_a_warehouse_leave_in_it_what_the_account_holds(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path, warehouse: str, messages: str
) -> None:
    account = sandbox.account
    settings: dict[str, object] = {}
    if messages == "BATCH":
        storage = {"root": (tmp_path / "batches").as_uri()}
        encoding = {"format": "jsonl", "compression": "gzip"}
        settings["batch_config"] = {"encoding": encoding, "storage": storage, "batch_size": 1000}
    with WAREHOUSES[warehouse](tmp_path) as opened:
        extract(sandbox, opened, tmp_path, **settings)
        before = {stream: truth.keys(account, stream) for stream in truth.KEYS}
        live_a_day(account)
        gone = before["customers"] - truth.keys(account, "customers")
        between = datetime.now(UTC)
        extract(sandbox, opened, tmp_path, **settings)
        expected = tap()
        assert_whole(expected, account)
        for stream in truth.KEYS:
            loaded = {key_of(stream, row): row for row in opened.rows(stream)}
            records = expected.records(stream)
            assert loaded.keys() - gone == {key_of(stream, record) for record in records}
            for record in records:
                row = loaded[key_of(stream, record)]
                sent = {name: exact(value) for name, value in record.items()}
                if warehouse == "duckdb":
                    # Its loader goes through CSV without quotes, where empty text is null.
                    sent = {name: None if value == "" else value for name, value in sent.items()}
                assert plain(row, record) == sent
        if warehouse == "duckdb":
            environment = opened.settings | {
                "DBT_TARGET_PATH": str(tmp_path / "dbt"),
                "DBT_LOG_PATH": str(tmp_path / "dbt"),
                "NUDGESCRIBE_FROM_WORKSPACE": next(iter(account.workspaces)),
            }
            Project(tmp_path, environment).meltano("invoke", "dbt:build", "--target", "duckdb")
        fresh = truth.keys(account, "published_messages") - before["published_messages"]
        if messages == "RECORD":  # a loader of files does not say when it wrote a row
            assert opened.count("published_messages", between)[1] == len(fresh)
