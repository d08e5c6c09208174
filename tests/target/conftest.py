"""What the target's tests share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.target.sending import Sending

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox import Sandbox


@pytest.fixture
def send(
    sandbox: Sandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Sending:
    """Return what runs the target against the local API."""
    caplog.set_level(logging.INFO)
    return Sending(sandbox, tmp_path, capsys, caplog)
