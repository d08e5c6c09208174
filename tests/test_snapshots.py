"""Golden snapshots: each stream's whole output, and the state over three runs.

``UPDATE_SNAPSHOTS=1 pytest tests/test_snapshots.py`` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_api import Account, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Run

FOLDER = Path(__file__).parent / "snapshots"

ROWS_OF_A_FILE = 7
"""One of each kind of body; the other rows repeat them."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Account(customers=4)) as running:
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
    return json.dumps(value, ensure_ascii=False).replace("x" * 9000, "x…x")


def test_every_stream_and_the_state_are_as_they_were(
    tap: Callable[..., Run], sandbox: Sandbox
) -> None:
    first = tap()
    second = tap(state=first.state)
    sandbox.account.live_a_day()
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
