"""Columns of message files: which there are, by a sample, the settings and the catalog."""

from __future__ import annotations

import logging
import re
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import encoder

from tap_nudgescribe.columns import column_names, columns_of
from tap_nudgescribe.errors import ApiError, NotAMessageFileError
from tap_nudgescribe.message_csv import CsvOptions, MessageCsv
from tap_nudgescribe.message_rows import KINDS
from tap_nudgescribe.parallel import ordered_map

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tap_nudgescribe.message_sources import MessageSource, Run

logger = logging.getLogger("tap-nudgescribe")

SAMPLED_CAMPAIGNS = 20
"""From how many of the latest campaigns discovery reads headers."""

SAMPLING = CsvOptions(encoding_errors="replace")
"""Discovery reads headers; what is wrong with a file is said when its rows are read."""

HEADER_NAME = re.compile(r"[A-Za-z_][A-Za-z _-]{0,35}[0-9]{0,3}")
"""What a column's name looks like in a log: not a text, an address or a number."""

MOST_NAMES = 50
"""So many names are logged."""


def column_schema(header: str, column: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a message column, of the type that the settings give it."""
    types = config.get("message_column_types") or {}
    return {**KINDS[types.get(column, "string")].schema, "title": header}


def discovered_columns(
    headers: Iterable[str],
    known: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    own: Collection[str],
) -> dict[str, dict[str, Any]]:
    """Return the schema of each message column: of all header names, and of those known before.

    Args:
        headers: Names that were found, or that the settings name.
        known: Properties of the stream in an earlier catalog.
        config: The settings.
        own: Names of the stream's own properties.
    """
    before = titles(known, own=own)
    names = list(dict.fromkeys([*filter(None, before.values()), *headers]))
    columns = column_names(names, reserved=[*own, *before], known=columns_of(names, before))
    return {column: column_schema(name, column, config) for name, column in columns.items()}


def titles(properties: Mapping[str, Any], *, own: Collection[str]) -> dict[str, str | None]:
    """Return the title of each message column in a schema: of each property but the stream's own.

    A title is the name in the header; None where a user has added a column without one.
    """
    return {name: schema.get("title") for name, schema in properties.items() if name not in own}


def with_named_columns(
    schema: Mapping[str, Any], config: Mapping[str, Any], *, own: Collection[str]
) -> dict[str, Any]:
    """Return a catalog's schema with a column for each name of the setting ``message_columns``."""
    given: Mapping[str, Any] = schema["properties"]
    named = config.get("message_columns") or ()
    known = columns_of(named, titles(given, own=own))
    new = column_names([name for name in named if name not in known], reserved=[*own, *given])
    added = {column: column_schema(name, column, config) for name, column in new.items()}
    return {**schema, "properties": {**given, **added}}


def listed(names: Iterable[str]) -> str:
    """Return header names as a JSON list for a log: those that look like names, and a count."""
    shown = sorted(filter(HEADER_NAME.fullmatch, names))[:MOST_NAMES]
    others = len(set(names)) - len(shown)
    return encoder.encode(shown).decode() + (f" and {others} others" if others else "")


def sampled_headers(
    source: MessageSource, runs: Sequence[Run], *, campaigns: int, parallel: int
) -> list[str]:
    """Return the header names in the first and the last file of some runs, and log how many.

    Args:
        source: Where the files are. One that fails is left out.
        runs: The current runs of the campaigns that are sampled.
        campaigns: How many published campaigns there are.
        parallel: How many requests may be under way.
    """
    found = list(ordered_map(partial(_headers_of, source), runs, parallel=parallel))
    found = _without_strangers(found)
    logger.info(
        "Message columns are those of a sample: %d files of %d of %d published campaigns. The "
        "setting message_columns names further ones",
        sum(map(len, found)),
        len(runs),
        campaigns,
    )
    return list(dict.fromkeys(name for headers in found for header in headers for name in header))


def _without_strangers(found: list[list[list[str]]]) -> list[list[list[str]]]:
    """Leave out headers that share no column with any other, where others share some."""
    counts = Counter(name for headers in found for header in headers for name in set(header))
    if not any(count > 1 for count in counts.values()):
        return found
    kept = [
        [header for header in headers if any(counts[name] > 1 for name in header)]
        for headers in found
    ]
    left_out = sum(map(len, found)) - sum(map(len, kept))
    if left_out:
        logger.warning(
            "%d message files are left out of the sample: none of their columns is in any other "
            "file. The setting message_columns names columns that are missing",
            left_out,
        )
    return kept


def _headers_of(source: MessageSource, run: Run) -> list[list[str]]:
    headers: list[list[str]] = []
    with suppress(ApiError):
        count = source.count(run)
        for number in sorted({1, count}) if count else []:
            try:
                with closing(MessageCsv(source.open(run, number), SAMPLING)) as file:
                    headers.append(file.header)
            except NotAMessageFileError as error:
                logger.warning(
                    "Message file %d of campaign %s is left out of the sample: %s",
                    number,
                    run.campaign_id,
                    error,
                )
            except ApiError:
                continue
    return headers
