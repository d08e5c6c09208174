"""A tap as the SDK's documentation would have it: requests, csv.DictReader, SDK defaults."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from benchmarks.data import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Messages(Stream):
    """Rows of the file."""

    name = "messages"
    schema = th.PropertiesList(*(th.Property(name, th.StringType) for name in COLUMNS)).to_dict()

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:  # noqa: ARG002, ANN401
        """Read the file."""
        with requests.get(os.environ["FILE_URL"], stream=True, timeout=60) as response:
            response.encoding = "utf-8"
            lines = response.iter_lines(chunk_size=65536, decode_unicode=True)
            yield from csv.DictReader(f"{line}\n" for line in lines)


class PlainTap(Tap):
    """One stream."""

    name = "tap-plain"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Stream]:
        """Return the stream."""
        return [Messages(self)]


if __name__ == "__main__":
    PlainTap.cli()
