"""Run a plugin as a process of its own, feed it or read it, and see how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from campaign.plugin import PEAK_FILE, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LONGEST_SECONDS = 60.0
"""After this a process is taken to hang; none should need a tenth of it."""

UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
"""The environment without what makes a process measure its coverage, in files that fail as well."""


@dataclass
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code, negative for a signal.
        hung: Whether it had to be killed because it did not end.
        peak_bytes: The most memory that it held, if it came to its own end; otherwise 0.
        cpu_seconds: Processor time that it took, in user and system.
    """

    code: int
    stderr: str
    hung: bool
    peak_bytes: int
    cpu_seconds: float


@dataclass
class Plugin:
    """A plugin's process.

    Args:
        module: ``tap_nudgescribe`` or ``target_nudgescribe``.
        folder: Where its settings are written.
        settings: Those of the plugin.
        arguments: Further ones of its command line.
        world: What is wrong with its machine.
        stdout: A file instead of a pipe.
        longest: Seconds after which it is taken to hang.
        environment: Further variables.
    """

    module: str
    folder: Path
    settings: Mapping[str, Any]
    arguments: Sequence[str] = ()
    world: World = field(default_factory=World)
    stdout: int = subprocess.PIPE
    longest: float = LONGEST_SECONDS
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it."""
        config = self.folder / f"{self.module}.json"
        self._peak_file = self.folder / "peak"
        self._peak_file.unlink(missing_ok=True)
        config.write_text(json.dumps(self.settings))
        command = [sys.executable, "-m", "campaign.plugin", self.module, "--config", str(config)]
        self._process = subprocess.Popen(
            [*command, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=self.stdout,
            stderr=subprocess.PIPE,
            env=UNMEASURED
            | dict(self.environment)
            | self.world.environment
            | {PEAK_FILE: str(self._peak_file)},
        )
        self._said: list[bytes] = []
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._watch = threading.Timer(self.longest, self._give_up)
        self._hung = False
        for thread in (*self._threads, self._watch):
            thread.start()

    @property
    def lines(self) -> IO[bytes]:
        """What it writes."""
        assert self._process.stdout
        return self._process.stdout

    def feed(self, lines: Iterable[bytes]) -> None:
        """Write to it, in a thread, until it has all or hears no more."""

        def write() -> None:
            pipe = self._process.stdin
            assert pipe
            with suppress(OSError), pipe:
                for line in lines:
                    pipe.write(line)

        self._threads.append(threading.Thread(target=write, daemon=True))
        self._threads[-1].start()

    def signal(self, signum: int) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signum)

    def hang_up(self) -> None:
        """Read no more."""
        self.lines.close()

    def wait(self) -> Ended:
        """Wait for its end."""
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        self._watch.cancel()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        return Ended(
            code,
            b"".join(self._said).decode(errors="replace"),
            self._hung,
            1024 * int(self._peak_file.read_text() or 0) if self._peak_file.exists() else 0,
            used.ru_utime + used.ru_stime,
        )

    def _listen(self) -> None:
        assert self._process.stderr
        self._said += self._process.stderr

    def _give_up(self) -> None:
        self._hung = True
        self._process.kill()
