"""How a run of the tap ends when somebody ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import Sandbox, truth

if TYPE_CHECKING:
    from pathlib import Path


def start(sandbox: Sandbox, folder: Path, state: Any = None) -> subprocess.Popen[bytes]:
    (folder / "config.json").write_text(json.dumps(sandbox.config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(folder / "config.json")]
    if state:
        (folder / "state.json").write_text(json.dumps(state))
        command += ["--state", str(folder / "state.json")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603


def keys(messages: list[dict[str, Any]], stream: str) -> set[tuple[Any, ...]]:
    return {
        tuple(m["record"][name] for name in truth.KEYS[stream])
        for m in messages
        if m["type"] == "RECORD" and m["stream"] == stream
    }


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("lines", [1, 60, 150, 300, 900, 3000])
def test_an_interrupted_run_leaves_a_state_from_which_nothing_is_lost(
    tmp_path: Path, signum: int, code: int, lines: int
) -> None:
    with Sandbox() as sandbox:
        process = start(sandbox, tmp_path)
        assert process.stdout
        assert process.stderr
        first = [json.loads(process.stdout.readline()) for _ in range(lines)]
        process.send_signal(signum)
        first += [json.loads(line) for line in process.stdout]
        errors = process.stderr.read()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()
        assert process.returncode in {code, 0}, errors.decode()
        states = [m["value"] for m in first if m["type"] == "STATE"]
        again = start(sandbox, tmp_path, states[-1] if states else None)
        output, errors = again.communicate(timeout=120)
        assert again.returncode == 0, errors.decode()
        second = [json.loads(line) for line in output.splitlines()]
        for stream in truth.KEYS:
            assert keys(first, stream) | keys(second, stream) == truth.keys(sandbox.account, stream)


def test_a_closed_pipe_ends_quietly(sandbox: Sandbox, tmp_path: Path) -> None:
    process = start(sandbox, tmp_path)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
