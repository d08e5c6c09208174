"""What the tap has to send of an account: every row of it, by key, with every value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.sandbox import truth

if TYPE_CHECKING:
    from tests.conftest import Run
    from tests.sandbox import Account

Row = dict[str, Any]


def assert_whole(run: Run, account: Account) -> None:
    """Compare everything that a run sent with everything that the account holds."""
    for stream in truth.KEYS:
        assert_stream(run, account, stream)


def assert_stream(run: Run, account: Account, stream: str) -> None:
    """Compare a stream's records with the account's rows, by key and value for value."""
    assert run.keys(stream) == truth.keys(account, stream), stream
    columns = titles(run, stream)
    sent = {key_of(stream, record): record for record in run.records(stream)}
    for row in truth.rows(account, stream):
        record = sent[key_of(stream, row)]
        expected = {columns.get(name, name): sound(name, value) for name, value in row.items()}
        assert record | expected == record, (stream, key_of(stream, row))


def titles(run: Run, stream: str) -> dict[str, str]:
    """Return the column of each name that a message file's header has."""
    if stream != "published_messages":
        return {}
    properties = run.schemas[stream]["properties"]
    return {schema["title"]: name for name, schema in properties.items() if "title" in schema}


def key_of(stream: str, row: Row) -> tuple[Any, ...]:
    """Return a row's key."""
    return tuple(row[name] for name in truth.KEYS[stream])


def sound(name: str, value: Any) -> Any:
    """Return a value as it has to arrive: times in UTC, no U+0000."""
    if isinstance(value, str) and name.endswith("_at"):
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat(timespec="microseconds")
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def plain(row: Row, record: Row) -> Row:
    """Return the columns of a row that a record has, as the record would write them."""
    return {name: written(row.get(name), value) for name, value in record.items()}


def written(loaded: Any, sent: Any) -> Any:
    """Return what a warehouse holds as the record would write it."""
    match loaded:
        case datetime():
            moment = loaded if loaded.tzinfo else loaded.replace(tzinfo=UTC)
            return moment.astimezone(UTC).isoformat(timespec="microseconds")
        case date():
            return loaded.isoformat()
        case str() if isinstance(sent, dict | list):
            return exact(json.loads(loaded))
        case _:
            return exact(loaded)


def exact(value: Any) -> Any:
    """Return a value with its numbers as decimals, so that 12.5 and 12.50 are one."""
    match value:
        case bool():
            return value
        case int() | float() | Decimal():
            return Decimal(str(value)).normalize()
        case dict():
            return {name: exact(inner) for name, inner in value.items()}
        case list():
            return [exact(inner) for inner in value]
        case _:
            return value
