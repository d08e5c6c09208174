"""dlt, from a CSV file to JSONL by its read_csv, or to Parquet by Arrow's batches."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dlt
import pyarrow as pa
import requests
from dlt.sources.filesystem import filesystem, read_csv
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Iterator

folder, kind, path = sys.argv[1], sys.argv[2], Path(os.environ["FILE_PATH"])


@dlt.resource(name="messages")
def batches() -> Iterator[pa.RecordBatch]:
    """Yield the file as record batches of text."""
    header = path.open(encoding="utf-8").readline().rstrip("\n").split(",")
    with (
        requests.get(os.environ["FILE_URL"], stream=True, timeout=60) as response,
        csv.open_csv(
            response.raw,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True
            ),
        ) as reader,
    ):
        yield from reader


pipeline = dlt.pipeline(
    "bench",
    pipelines_dir=f"{folder}/pipelines",
    destination=dlt.destinations.filesystem(bucket_url=Path(folder, "out").as_uri()),
    dataset_name="bench",
)
if kind == "jsonl":
    files = filesystem(bucket_url=path.parent.as_uri(), file_glob=path.name)
    source = (files | read_csv(dtype=str)).with_name("messages")
else:
    source = batches()
pipeline.run(source, loader_file_format=kind)
