"""The target, as far as it goes: it shares the log-in and refuses to load."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox import Sandbox

SCHEMA = json.dumps({"type": "SCHEMA", "stream": "customers", "schema": {"properties": {}}})


def target(
    sandbox: Sandbox, folder: Path, *args: str, **config: str
) -> subprocess.CompletedProcess[bytes]:
    workspace_id = next(iter(sandbox.account.workspaces))
    settings = sandbox.config | {"workspace_id": workspace_id} | config
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "target_nudgescribe", "--config", str(path), *args]
    line = SCHEMA[:-1] + ', "key_properties": []}\n'
    return subprocess.run(command, input=line.encode(), capture_output=True, check=False)  # noqa: S603


def test_check_logs_in_and_lists_the_groups(sandbox: Sandbox, tmp_path: Path) -> None:
    done = target(sandbox, tmp_path, "--check")
    assert done.returncode == 0
    assert b"3 customer groups" in done.stderr
    wrong = target(sandbox, tmp_path, "--check", password="canary-wrong")
    assert wrong.returncode == 1
    assert b"log-in is refused" in wrong.stderr
    assert b"canary" not in wrong.stderr


def test_it_refuses_to_load_and_says_so(sandbox: Sandbox, tmp_path: Path) -> None:
    done = target(sandbox, tmp_path)
    assert done.returncode == 1
    assert b"cannot load rows" in done.stderr
    assert done.stdout == b""
