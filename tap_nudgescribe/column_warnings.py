"""Say at discovery what may go wrong with a stream's columns later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.singerlib import Catalog

POSTGRES_COLUMNS = 1600
"""Columns of a table of Postgres, of which its loaders need some for themselves."""

MOST_NAMES = 20
"""So many columns are named in a warning."""

logger = logging.getLogger("tap-nudgescribe")


def warn_of_columns(
    stream: str, properties: Mapping[str, Mapping[str, Any]], earlier: Catalog | None
) -> None:
    """Warn of too many columns, and of names that meet where no earlier catalog decides."""
    warn_of_width(stream, len(properties))
    if earlier is None and (meeting := _meeting(properties)):
        logger.warning(
            "%s has %d names that differ from others in capitals and signs only. Their columns "
            "have suffixes: %s. Keep this catalog, and discover again with --catalog, so that a "
            "new name never takes the column of another one",
            stream,
            len(meeting),
            ", ".join(meeting[:MOST_NAMES]),
        )


def warn_of_width(stream: str, columns: int) -> None:
    """Warn of more columns than some warehouses have."""
    if columns > POSTGRES_COLUMNS:
        logger.warning(
            "The stream %s has %d columns. A table of Postgres holds at most %d, and fewer when "
            "they are wide. Deselect columns until there are fewer: their values stay in profile "
            "(customers); those of message columns that are taken out of the catalog stay in "
            "_extra (published_messages)",
            stream,
            columns,
            POSTGRES_COLUMNS,
        )


def _meeting(properties: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the columns that have a suffix because another column has the plain name."""
    from tap_nudgescribe.columns import column_name  # noqa: PLC0415 (fast start-up)

    return sorted(
        column
        for column, schema in properties.items()
        if (title := schema.get("title"))
        and (plain := column_name(title)) != column
        and plain in properties
        and column.startswith(plain[:40])
        and "title" in properties[plain]
    )
