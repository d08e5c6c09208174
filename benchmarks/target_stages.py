"""``python -m benchmarks.target_stages``: processor time of one row in each stage of the target."""

from __future__ import annotations

import gc
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.stages import best
from benchmarks.target_rows import COLUMNS, SCHEMA, TakesEverything, record, settings
from target_nudgescribe.csv_lines import csv_bytes, csv_lines
from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.json_records import JsonRecords
from target_nudgescribe.ledger import SENT, Ledger, new_entries
from target_nudgescribe.preflight import preflight
from target_nudgescribe.rows import from_table, texts_of
from target_nudgescribe.singer import BulkReader
from target_nudgescribe.storage import Storage
from target_nudgescribe.target import GARBAGE
from target_nudgescribe.validation import check
from target_nudgescribe.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_nudgescribe.rows import Rows

CHUNK, CHUNKS = 10_000, 5


def main() -> None:
    """Print a table."""
    gc.set_threshold(GARBAGE)
    records = [record(number) for number in range(CHUNK)]
    lines = b"".join(
        json.dumps({"type": "RECORD", "stream": "people", "record": row}).encode() + b"\n"
        for row in records
    )
    found: list[Rows] = []
    waiting = JsonRecords(
        "people",
        COLUMNS,
        most=CHUNK,
        most_bytes=len(lines),
        flush=lambda: found.append(waiting.take(1)),
    )
    reader = BulkReader()
    reader.plain["people"] = waiting

    def read_lines() -> None:
        found.clear()
        reader.process_lines(io.BytesIO(lines), {})

    read_lines()
    (rows,) = found
    parquet = io.BytesIO()
    table = pa.Table.from_pylist(records)
    pq.write_table(table, parquet)
    with tempfile.TemporaryDirectory() as folder:
        config = settings(Path(folder))
        workspace = Workspace(TakesEverything(), "w", dry_run=False)  # type: ignore[arg-type]
        mapped = preflight("people", COLUMNS, SCHEMA["key_properties"], workspace, config)  # type: ignore[arg-type]
        cells = check(rows, mapped).cells
        names = cells.column_names
        columns = [texts_of(cells, name) for name in names]
        made = csv_lines(columns)
        keys = Hashing().keys(columns[:1])
        ledger = Ledger(Storage(folder))

        def consult_ledger() -> None:
            ledger.find(keys)
            ledger.intend(keys)
            ledger.record(new_entries(keys, keys, SENT))

        stages: dict[str, Callable[[], object]] = {
            "RECORD: lines to columns of text": read_lines,
            "BATCH: read Parquet": lambda: pq.read_table(pa.BufferReader(parquet.getvalue())),
            "BATCH: columns of text": lambda: from_table(names, table, 1),
            "render and check": lambda: check(rows, mapped),
            "CSV lines": lambda: csv_lines(columns),
            "hashes of keys and rows": lambda: (
                Hashing().keys(columns[:1]),
                Hashing().rows(made, names),
            ),
            "ledger: look up, intend, record": consult_ledger,
            "body of the upload": lambda: csv_bytes(names, made),
        }
        for name, stage in stages.items():
            seconds = best(lambda stage=stage: [stage() for _ in range(CHUNKS)])  # type: ignore[misc]
            print(f"{name:<40} {seconds / CHUNK / CHUNKS * 1e6:6.2f} µs a row")


if __name__ == "__main__":
    main()
