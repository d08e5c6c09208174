"""Time each stage of a message file by itself: ``python -m benchmarks.stages``.

Prints microseconds of processor time for each row, so that other processes disturb it little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from pyarrow import parquet

from benchmarks.data import COLUMNS, message_file
from tap_nudgescribe.batch_files import arrow_schema
from tap_nudgescribe.columns import column_names
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv
from tap_nudgescribe.message_rows import Fitting, Rows, record_batch
from tap_nudgescribe.messages import LINEAGE
from tap_nudgescribe.record_lines import content, lines
from tap_nudgescribe.records import EXTRA, EXTRA_PROPERTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BEFORE = '{"type":"RECORD","stream":"published_messages","record":'
AFTER = ',"time_extracted":"2026-01-01T00:00:00.000000Z"}\n'

CONSTANTS = {
    "workspace_id": "ws-1",
    "campaign_id": "ca-1",
    "run_number": 1,
    "file_number": 1,
    "published_at": "2026-01-02T00:00:00.000000+00:00",
}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    path = message_file(rows)
    columns = column_names(COLUMNS)
    fitting = Fitting(COLUMNS, columns, kinds={}, unknown=[], dropped=False, constants=CONSTANTS)

    def opened() -> MessageCsv:
        return MessageCsv(path.open("rb", buffering=0), CsvOptions())  # type: ignore[arg-type]

    pieces = list(opened().pieces(range(len(COLUMNS))))
    fitted = [fitting.fit(piece) for piece in pieces]
    properties = [*LINEAGE, *columns.values(), EXTRA]
    schemas = {**LINEAGE, **{name: {"type": "string"} for name in columns.values()}}
    schema = arrow_schema(schemas | {EXTRA: EXTRA_PROPERTY})
    tables = [record_batch(part, schema) for part in fitted]
    struct = structs(properties)

    def in_structs(part: Rows) -> bytes:
        values = [column.to_pylist() for column in part.columns.values()]
        constant = tuple(CONSTANTS[name] for name in LINEAGE if name in CONSTANTS)
        return struct(constant, part.numbers.to_pylist(), zip(*values, strict=True))

    def in_parquet(parts: Iterable[pa.RecordBatch]) -> None:
        with (
            tempfile.NamedTemporaryFile(dir=path.parent) as file,
            parquet.ParquetWriter(file.name, schema) as writer,
        ):
            writer.write_table(pa.Table.from_batches(list(parts)))

    stages: dict[str, Callable[[], object]] = {
        "read, check UTF-8, parse into columns": lambda: [
            len(piece) for piece in opened().pieces(range(len(COLUMNS)))
        ],
        "RECORD lines: columns joined by Arrow": lambda: [
            len(content(lines(part, properties, before=BEFORE, after=AFTER))) for part in fitted
        ],
        "the same: a msgspec struct a row": lambda: [len(in_structs(part)) for part in fitted],
        "the same: a dict a row, as the SDK's path has it": lambda: [
            len(msgspec.json.encode(record))
            for part in fitted
            for record in part.records(properties)
        ],
        "rows with lineage as a record batch": lambda: [
            len(record_batch(part, schema)) for part in fitted
        ],
        "record batches to Parquet": lambda: in_parquet(tables),
    }
    for name, stage in stages.items():
        print(f"{name:<50} {best(stage) / rows * 1e6:6.2f} µs a row")


def best(stage: Callable[[], object]) -> float:
    """Return the least processor seconds of three runs."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        stage()
        seconds.append(time.process_time() - began)
    return min(seconds)


def structs(properties: list[str]) -> Callable[..., bytes]:
    """Return a function that encodes rows by way of msgspec structs."""
    names = [name for name in properties if name not in {*CONSTANTS, "row_number"}]
    record = msgspec.defstruct("Record", [*CONSTANTS, "row_number", *names])
    message = msgspec.defstruct("Message", ["type", "stream", "record", "time_extracted"])
    encoder = msgspec.json.Encoder()

    def encode(constant: tuple[object, ...], numbers: list[int], rows: Iterable[object]) -> bytes:
        return encoder.encode_lines(
            [
                message("RECORD", "published_messages", record(*constant, n, *row, None), "2026")  # type: ignore[misc]
                for n, row in zip(numbers, rows, strict=True)
            ]
        )

    return encode


if __name__ == "__main__":
    main()
