"""``python -m campaign.plugin MODULE …``: a plugin's command line on a machine that fails it.

The environment variable ``CAMPAIGN_WORLD`` says how, as the JSON of a :class:`World`. Everything
happens at a number of steps, not at a time, so that it happens again with the same number.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import resource
import runpy
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tap_nudgescribe import transport

VARIABLE = "CAMPAIGN_WORLD"

PEAK_FILE = "CAMPAIGN_PEAK"
"""Names a file for the most memory that the process held: what the system tells its parent counts
the parent's own, which it shared before it became another program."""

FIRST_WAIT_SECONDS = 0.01
"""Before the second try of a request, instead of half a second: nothing here needs more."""

STORE = "AWS_ENDPOINT_URL"
"""Names the local object store, if a trial has one."""

HURRY = 50
"""How many times shorter the waits of the store's clients are."""


@dataclass(frozen=True)
class World:
    """What is wrong with the machine that a plugin runs on.

    Attributes:
        clock: Seconds by which the clock is off.
        file_bytes: How large a file can get before the disk is full; None for no bound.
        step: Number of the step at which something happens. Steps are what makes files durable:
            each call of fsync and each renaming of a file counts as two, before and after.
        signum: The signal that the process gets at that step.
        full: Whether the disk is full from that step on.
    """

    clock: float = 0
    file_bytes: int | None = None
    step: int | None = None
    signum: int | None = None
    full: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The variable that carries this to the process."""
        return {VARIABLE: json.dumps(asdict(self))}


def _enter(world: World) -> None:
    if world.clock:
        real_time = time.time
        time.time = lambda: real_time() + world.clock
    if world.file_bytes is not None:
        bound = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (world.file_bytes, bound))
    if world.step is not None:
        _count_steps(world)


def _count_steps(world: World) -> None:
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        if world.full and taken >= (world.step or 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if world.signum and taken == world.step:
            os.kill(os.getpid(), world.signum)

    def stepwise(function: Any) -> Any:  # noqa: ANN401 (a function of the system)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            step()
            result = function(*args, **kwargs)
            step()
            return result

        return call

    os.fsync = stepwise(os.fsync)
    os.replace = stepwise(os.replace)


def _hurry_store() -> None:
    from botocore import endpoint  # noqa: PLC0415 (only where there is a store)
    from smart_open import s3  # noqa: PLC0415

    hurried = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / HURRY))
    endpoint.time = s3.time = hurried


def _tell_peak(file: Path) -> None:
    status = Path("/proc/self/status").read_text("ascii")
    with suppress(OSError):  # the disk may be full on order
        file.write_text(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Run the module that the first argument names, with the others."""
    module = sys.argv.pop(1)
    if PEAK_FILE in os.environ:
        atexit.register(_tell_peak, Path(os.environ[PEAK_FILE]))
    transport.FIRST_WAIT_SECONDS = FIRST_WAIT_SECONDS
    if STORE in os.environ:
        _hurry_store()
    _enter(World(**json.loads(os.environ.get(VARIABLE, "{}"))))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
