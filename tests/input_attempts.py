"""Run the tap's command in this process with input files of any content."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.checked_settings import ConfigFiles
from tap_nudgescribe.tap import TapNudgescribe
from target_nudgescribe.target import TargetNudgescribe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.sandbox import Sandbox


@dataclass
class Ended:
    """How a command ended."""

    code: int
    logged: str
    out: str
    requests: int
    """How many requests the API got."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    def is_one_clear_refusal(self) -> bool:
        """Say whether input was refused before anything was sent, and not as a defect."""
        assert "defect" not in self.logged, self.logged
        assert "Traceback" not in self.logged, self.logged
        return (
            self.code == 1 and self.requests == 0 and not self.out and "Settings: " in self.logged
        )


@dataclass
class Attempts:
    """Runs commands against one local API."""

    sandbox: Sandbox
    folder: Path
    capture: pytest.CaptureFixture[str]
    log: pytest.LogCaptureFixture

    def tap(
        self,
        *,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        **options: Any,
    ) -> Ended:
        """Run the tap.

        Args:
            config: Content of the configuration: a text or bytes as they are, else as JSON,
                merged into settings that work.
            state: Content of the state, likewise, not merged.
            catalog: Content of the catalog, likewise.
            options: Further options of the command.
        """
        files = {"state": state, "catalog": catalog}
        paths = {
            name: self._file(name, value) for name, value in files.items() if value is not None
        }
        return self._run(
            lambda: TapNudgescribe.invoke(config=self._config(config), **paths, **options)
        )

    def discovery(self, config: Any = None) -> Ended:
        """Run the tap with ``--discover``, with all its settings."""

        def run() -> None:
            command = TapNudgescribe.get_singer_command()
            command.main(["--config", self._file("config", self._merged(config)), "--discover"])

        return self._run(run)

    def target(self, config: Any = None, **options: Any) -> Ended:
        """Run the target with an empty input."""
        settings = {
            "workspace_id": next(iter(self.sandbox.account.groups.values())).workspace_id,
            "state_uri": str(self.folder / "state"),
        }
        if not isinstance(config, str | bytes):
            config = settings | (config or {})
        empty = (self.folder / "empty").open("wb+")
        with empty:
            return self._run(
                lambda: TargetNudgescribe.invoke(
                    config=self._config(config), file_input=empty, **options
                )
            )

    def _merged(self, config: Any) -> Any:
        if isinstance(config, str | bytes):
            return config
        settings = self.sandbox.config | {"max_tries": 1} | (config or {})
        return {name: value for name, value in settings.items() if value != "absent"}

    def _config(self, config: Any) -> ConfigFiles:
        return ConfigFiles([self._file("config", self._merged(config))])

    def _file(self, name: str, value: Any) -> str:
        path = self.folder / f"{name}.json"
        content = value if isinstance(value, str | bytes) else json.dumps(value)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def _run(self, command: Any) -> Ended:
        self.log.clear()
        self.capture.readouterr()
        before = len(self.sandbox.requests)
        code = 0
        with hooks_restored():
            try:
                command()
            except SystemExit as ended:
                code = int(ended.code or 0)
        out, _ = self.capture.readouterr()
        return Ended(code, self.log.text, out, len(self.sandbox.requests) - before)


@contextlib.contextmanager
def hooks_restored() -> Iterator[None]:
    """Leave the interpreter's hooks as they were."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
