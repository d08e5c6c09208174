"""What the tests share: a local account, and the tap run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_api import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Run:
    """What one run of the tap left behind."""

    code: int
    messages: list[dict[str, Any]]
    stderr: str

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Return a stream's records."""
        return [
            m["record"] for m in self.messages if m["type"] == "RECORD" and m["stream"] == stream
        ]

    @property
    def counts(self) -> Counter[str]:
        """Return the number of records by stream."""
        return Counter(m["stream"] for m in self.messages if m["type"] == "RECORD")

    @property
    def state(self) -> dict[str, Any]:
        """Return the last state."""
        states: list[dict[str, Any]] = [m["value"] for m in self.messages if m["type"] == "STATE"]
        return states[-1]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a local API."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def tap(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Run]:
    """Return a function that runs the tap's command line against the local API."""

    def run(*args: str, state: Any = None, catalog: Any = None, **config: Any) -> Run:
        command = [sys.executable, "-m", "tap_nudgescribe", *args]
        for name, value in (
            ("config", sandbox.config | {"max_tries": 3} | config),
            ("state", state),
            ("catalog", catalog),
        ):
            if value is not None:
                path = tmp_path / f"{name}.json"
                path.write_text(json.dumps(value))
                command += [f"--{name}", str(path)]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603
        lines = [] if "--discover" in args else [json.loads(x) for x in done.stdout.splitlines()]
        if "--discover" in args and done.returncode == 0:
            lines = [json.loads(done.stdout)]
        return Run(done.returncode, lines, done.stderr.decode())

    return run
