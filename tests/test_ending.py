"""How a run of the tap ends when somebody ends it."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import termios
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.sandbox import Fault, Sandbox, truth

if TYPE_CHECKING:
    from pathlib import Path


NEARLY_A_PIPE = 50_000
"""Bytes after which a pipe that nobody reads is about to be full."""


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


def test_a_run_that_waits_to_try_again_stops_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.inject(Fault("list_customers", "rate_limited", 99, option="100"))
    process = start(sandbox, tmp_path)
    assert process.stderr
    assert any(b"follows in 100.0 s" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert json.loads(output.splitlines()[-1])["type"] == "STATE"


def test_a_run_whose_target_takes_nothing_any_more_stops_as_well(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    process = start(sandbox, tmp_path)
    assert process.stdout
    while waiting_bytes(process.stdout) < NEARLY_A_PIPE:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    output, _ = process.communicate(timeout=20)
    *whole, _ = output.split(b"\n")
    assert all(json.loads(line) for line in whole), "nothing follows a line that was cut"


def waiting_bytes(pipe: IO[bytes]) -> int:
    buffer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, buffer)
    return int.from_bytes(buffer, sys.byteorder)


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


def test_a_standard_output_that_takes_nothing_ends_the_run_in_words(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(sandbox.config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(tmp_path / "config.json")]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 (a device)
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)  # noqa: S603
    assert done.returncode == 1
    assert b"The machine cannot write (No space left on device). Check space" in done.stderr
    assert b"defect" not in done.stderr
