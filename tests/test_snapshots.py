"""Golden snapshots: each stream's whole output, and the state over three runs.

``UPDATE_SNAPSHOTS=1 pytest tests/test_snapshots.py`` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import Sandbox, make_account
from tests.sandbox.day import live_a_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Run

FOLDER = Path(__file__).parent / "snapshots"

ROWS_OF_A_FILE = 11
"""One of each kind of body; the other rows repeat them."""

CUSTOMERS_OF_A_GROUP = 8


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    account = make_account(7, "small")
    for group in account.groups.values():
        for customer_id in list(group.customers)[CUSTOMERS_OF_A_GROUP:]:
            del group.customers[customer_id]
    with Sandbox(account) as running:
        yield running


def compare(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def line(value: dict[str, Any]) -> str:
    """Return one message, without the time of the run and with very long text cut."""
    value.pop("time_extracted", None)
    return re.sub("(long, ){100,}", "long, … ", json.dumps(value, ensure_ascii=False))


def test_every_stream_and_the_state_are_as_they_were(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    first = tap()
    second = tap(state=first.state)
    live_a_day(sandbox.account)
    third = tap(state=second.state)
    streams: dict[str, list[str]] = {}
    for message in first.messages:
        record = message.get("record", {})
        if message["type"] != "STATE" and record.get("row_number", 0) <= ROWS_OF_A_FILE:
            streams.setdefault(message["stream"], []).append(line(message))
    for stream, lines in streams.items():
        compare(f"{stream}.jsonl", "\n".join(lines) + "\n")
    states = [json.dumps(run.state, indent=1, sort_keys=True) for run in (first, second, third)]
    compare("states.json", "\n".join(states) + "\n")
