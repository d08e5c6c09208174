"""CSV to Parquet by pyarrow alone: what there is to reach."""

from __future__ import annotations

import os
import sys

import pyarrow as pa
import requests
from pyarrow import csv, parquet

from benchmarks.data import COLUMNS

with (
    requests.get(os.environ["FILE_URL"], stream=True, timeout=60) as response,
    csv.open_csv(
        response.raw,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=True
        ),
    ) as reader,
    parquet.ParquetWriter(f"{sys.argv[1]}/bare.parquet", reader.schema) as writer,
):
    for batch in reader:
        writer.write_batch(batch)
