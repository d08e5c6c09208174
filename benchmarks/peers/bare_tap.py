"""The least tap that the SDK allows: what its own start-up costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Iterator


class Nothing(Stream):
    """A stream without rows."""

    name = "nothing"
    schema = th.PropertiesList(th.Property("id", th.StringType)).to_dict()

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:  # noqa: ARG002, ANN401
        """Return nothing."""
        return iter(())


class BareTap(Tap):
    """One stream."""

    name = "tap-bare"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Stream]:
        """Return the stream."""
        return [Nothing(self)]


if __name__ == "__main__":
    BareTap.cli()
