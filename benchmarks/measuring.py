"""Measure processes: whole ones, that take turns, as ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parent.parent

BYTECODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment of what is measured: every program finds its modules compiled, as installed."""


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        measure: What is compared.
        reached: The ratio.
        target: What it has to be.
        at_least: Whether that is the least, or the most.
        detail: The medians behind it.
    """

    measure: str
    reached: float
    target: float
    at_least: bool
    detail: str

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.reached >= self.target if self.at_least else self.reached <= self.target


@dataclass(frozen=True)
class Run:
    """How a process ran.

    Attributes:
        seconds: From its start to its end.
        processor: Seconds of processors: the second witness on a machine that others share.
        memory: The greatest, in MB.
    """

    seconds: float
    processor: float
    memory: float


@dataclass(frozen=True)
class Process:
    """A process to measure.

    Attributes:
        command: Its arguments.
        environment: Besides this one's.
        input: A file for its stdin.
    """

    command: Sequence[str | Path]
    environment: Mapping[str, str]
    input: Path = Path(os.devnull)

    def run(self) -> Run:
        """Run it to its end."""
        with tempfile.TemporaryFile() as log, self.input.open("rb") as lines:
            began = time.perf_counter()
            process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=BYTECODE | self.environment,
                stdin=lines,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                log.seek(0)
                sys.exit(f"{self.command} failed:\n{log.read().decode()[-3000:]}")
            return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def alternating(processes: Mapping[str, Process], runs: int) -> dict[str, float]:
    """Return the median seconds of each process; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(runs):
        for name, process in processes.items():
            run = process.run()
            seconds[name].append(run.seconds)
            told = f"{run.seconds:.2f} s, {run.processor:.2f} s of processors"
            print(f"  {number + 1}/{runs} {name}: {told}", file=sys.stderr)
    return {name: statistics.median(all_of) for name, all_of in seconds.items()}


def rates(  # noqa: PLR0913 (what a line of the table says)
    seconds: Mapping[str, float],
    rows: int,
    ours: str,
    theirs: str,
    target: float,
    *,
    prefix: str = "",
) -> Figure:
    """Compare the rows per second of one of the measured with those of another."""
    return Figure(
        f"{prefix}{ours} over {theirs}",
        seconds[theirs] / seconds[ours],
        target,
        at_least=True,
        detail=f"{rows / seconds[ours]:,.0f} : {rows / seconds[theirs]:,.0f} rows/s",
    )
