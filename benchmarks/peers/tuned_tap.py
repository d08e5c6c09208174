"""A tap tuned by the SDK's own options: msgspec writer, no conformance, Arrow's CSV reader."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import requests
from pyarrow import csv
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.helpers.conform import TypeConformanceLevel

from benchmarks.data import COLUMNS
from benchmarks.peers.plain_tap import Messages, PlainTap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk import Stream


class TunedMessages(Messages):
    """Rows of the file, parsed by Arrow."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:  # noqa: ARG002, ANN401
        """Read the file in record batches."""
        with (
            requests.get(os.environ["FILE_URL"], stream=True, timeout=60) as response,
            csv.open_csv(
                response.raw,
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=True
                ),
            ) as reader,
        ):
            for batch in reader:
                yield from batch.to_pylist()


class TunedTap(PlainTap):
    """One stream, written by msgspec."""

    message_writer_class = MsgSpecWriter

    def discover_streams(self) -> list[Stream]:
        """Return the stream."""
        return [TunedMessages(self)]


if __name__ == "__main__":
    TunedTap.cli()
