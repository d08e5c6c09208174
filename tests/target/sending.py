"""Run the target in this process against a local API, and see what it left behind."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.command import ended
from tap_nudgescribe.interruption import Interruption
from target_nudgescribe.target import Errand, TargetNudgescribe

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from target_nudgescribe.outcomes import StreamOutcomes
    from tests.sandbox import Sandbox
    from tests.sandbox.account import Customer, Group

Message = dict[str, Any]

COLUMNS: dict[str, Any] = {
    "ref": {"type": ["string", "null"]},
    "first_name": {"type": ["string", "null"]},
    "birthday": {"type": ["string", "null"], "format": "date"},
    "total_spend": {"type": ["number", "null"]},
}

MAP = {"Customer Ref": "ref", "First Name": "first_name"}


def schema(stream: str = "people", key: tuple[str, ...] = ("ref",), **columns: Any) -> Message:
    """Return a SCHEMA of some columns."""
    properties = columns or COLUMNS
    return {
        "type": "SCHEMA",
        "stream": stream,
        "key_properties": list(key),
        "schema": {"properties": properties},
    }


def row(number: int, stream: str = "people", **columns: Any) -> Message:
    """Return a RECORD of a customer."""
    record = {"ref": f"r-{number}", "first_name": f"Name {number}"} | columns
    return {"type": "RECORD", "stream": stream, "record": record}


def state(value: Any = 1) -> Message:
    """Return a STATE."""
    return {"type": "STATE", "value": {"bookmark": value}}


class Hurried(Interruption):
    """Sets its clock forward where a run would wait."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.check()
        self.ahead += seconds


@dataclass
class Sent:
    """What one run left behind."""

    code: int
    states: list[Any]
    written: str
    target: TargetNudgescribe | None
    logged: str

    def outcomes(self, stream: str = "people") -> dict[str, int]:
        """Return how the rows of a stream ended, as far as any ended so."""
        return {name: count for name, count in self._stream(stream).ended.items() if count}

    def reasons(self, stream: str = "people") -> dict[str, int]:
        """Return why rows were not taken."""
        return dict(self._stream(stream).reasons)

    def counts(self, stream: str = "people") -> dict[str, int]:
        """Return further figures."""
        return dict(self._stream(stream).counts)

    def _stream(self, stream: str) -> StreamOutcomes:
        assert self.target
        return self.target.outcomes.streams[stream]


@dataclass
class Sending:
    """Runs the target, again and again, with one account and one folder of state."""

    sandbox: Sandbox
    folder: Path
    capture: pytest.CaptureFixture[str]
    log: pytest.LogCaptureFixture
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Group:
        """The group that rows go to: the empty one."""
        groups = self.sandbox.account.groups.values()
        return next(group for group in groups if group.name == "Nobody yet")

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the target."""
        settings = self.sandbox.config | {
            "workspace_id": self.group.workspace_id,
            "customer_group": self.group.name,
            "column_map": MAP,
            "state_uri": str(self.folder / "state"),
            "max_tries": 2,
            "confirm_timeout_seconds": 1,
        }
        settings |= self.settings
        return {name: value for name, value in settings.items() if value is not None}

    def __call__(
        self, *messages: Message | bytes, errand: Errand | None = None, **config: Any
    ) -> Sent:
        """Run once."""
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        settings = self.config | config
        target: TargetNudgescribe | None = None

        def run() -> int:
            nonlocal target
            used = {name: value for name, value in settings.items() if value is not None}
            target = TargetNudgescribe(config=used, errand=errand, interruption=Hurried())
            return target.run(io.BytesIO(b"\n".join(lines) + b"\n"))

        self.log.clear()
        code = ended(run, TargetNudgescribe.logger)
        written = self.capture.readouterr().out
        states = [json.loads(line) for line in written.split("\n") if line]
        return Sent(code, states, written, target, self.log.text)

    @property
    def customers(self) -> dict[str, Customer]:
        """The customers of the group by their reference."""
        found = self.group.customers.values()
        return {str(customer.profile["Customer Ref"]): customer for customer in found}

    def rejects(self) -> list[dict[str, Any]]:
        """Return all rejects of all runs."""
        files = sorted((self.folder / "state" / "rejects").rglob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().split("\n") if line]
