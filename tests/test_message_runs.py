"""Runs over message files, as a user sees them: what is refused, what is shown, how they end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest

from tests.message_server import Content, MessageServer

if TYPE_CHECKING:
    from pathlib import Path

ROW = b"1,2\n"


def start(
    server: MessageServer, folder: Path, terminal: int | None = None, **config: Any
) -> subprocess.Popen[bytes]:
    """Start a run of the tap."""
    path = folder / "config.json"
    path.write_text(json.dumps(server.config | config))
    command = [sys.executable, "-m", "tap_nudgescribe", "--config", str(path)]
    if terminal is not None:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal)  # noqa: S603
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603


@pytest.mark.parametrize(
    ("data", "config", "words"),
    [
        (b"a,b\n1,2\n3\n", {"message_row_errors": "fail"}, "Row 2 of a message file has 1 fields"),
        (b"", {}, "Message file 2 of run 1 is empty, without even a header"),
        (b"a,b\n1,2\ncanary,\xff\n", {}, "not UTF-8 at byte 15. Look at the file, or set message_"),
        (b'a,b\n1,"' + b"canary" * 500_000 + b'"\n', {}, "Raise message_longest_row_mib"),
    ],
)
def test_a_file_that_is_refused_leaves_its_campaign_unfinished_and_quotes_nothing(
    data: bytes, config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with MessageServer([Content(b"a,b\n1,2\n"), Content(data)]) as server:
        output, errors = start(server, tmp_path, **config).communicate()
    assert words in errors.decode()
    assert b"canary" not in errors
    assert b"1 parts failed in published_messages" in errors
    states = [
        m["value"] for line in output.splitlines() if (m := json.loads(line))["type"] == "STATE"
    ]
    unfinished = states[-1]["bookmarks"]["published_messages"]["unfinished"]
    assert unfinished["ca-1"]["file_number"] == 1, "the file before it is done"


def test_a_terminal_shows_a_bar_and_everything_else_gets_log_lines(tmp_path: Path) -> None:
    with MessageServer([Content(b"a,b\n", ROW, 5000)] * 2) as server:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        process = start(server, tmp_path, terminal=theirs)
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
        os.close(ours)
        process.wait()
        _, logged = start(server, tmp_path).communicate()
    assert b"10.0k rows" in shown
    assert b"files=2 rows=10000 bytes=40008" in logged
    assert b"rows/s" not in logged


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side is closed
        return b""


def test_a_run_that_is_ended_does_not_wait_for_a_silent_download(tmp_path: Path) -> None:
    big = Content(b"a,b\n", ROW * 1000, 1000)
    with MessageServer([big], cuts=[10**9, 3_000_000], stalls=True) as server:
        process = start(server, tmp_path, request_timeout_seconds=600)
        assert process.stdout
        begun = b'"stream":"published_messages","record"'
        assert any(begun in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors.decode()
    assert json.loads(rest.splitlines()[-1])["type"] == "STATE"
