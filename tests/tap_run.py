"""Run the tap in the test's own process against a local API."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.command import ended
from tap_nudgescribe.tap import TapNudgescribe
from tests.conftest import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.message_server import MessageServer
    from tests.sandbox import Sandbox


def in_process(
    server: Sandbox | MessageServer, log: pytest.LogCaptureFixture
) -> Callable[..., Run]:
    """Return a function that runs the tap; it does not wait where a run would."""

    def run(state: Any = None, catalog: Any = None, **config: Any) -> Run:
        settings = server.config | {"max_tries": 1} | config
        out = io.TextIOWrapper(io.BytesIO(), write_through=True)
        log.clear()

        def whole() -> int:
            tap = TapNudgescribe(config=settings, state=state, catalog=catalog)
            tap.interruption.sleep = lambda _: None  # type: ignore[method-assign]
            return tap.run()

        with redirect_stdout(out):
            code = ended(whole, TapNudgescribe.logger)
        lines = out.buffer.getvalue().splitlines()  # type: ignore[attr-defined]
        return Run(code, [json.loads(line) for line in lines], log.text)

    return run
