"""Draw what goes wrong in a run, and when: the same draw for the same seed."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from campaign.plugin import World
from tests.sandbox import Fault
from tests.sandbox.faults import PAGES, REPORTED, Kind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)

OPTIONS: dict[str, tuple[str, ...]] = {
    "latency": ("0.01", "0.05"),
    "rate_limited": ("0", "date", ""),
    "server_error": ("500", "502", "503", "504"),
    "envelope": ("data", "results", "bare"),
    "drip": ("0.001",),
    "huge": ("1000000",),
    "reported_failure": tuple(REPORTED),
    "error_page": tuple(PAGES),
}

RENAMED = {
    "list_campaigns": "campaign_id=id",
    "list_groups": "customer_group_id=cg_id",
    "list_fields": "field_name=name",
    "list_customers": "customer_id=id",
    "count_customer_pages": "pages=page_count",
    "count_message_files": "pages=page_count",
    "list_runs": "run_number=run",
    "list_run_messages": "message_id=id",
    "fetch_message_file": "url=link",
}
"""Keys without which an answer makes no sense: what else is missing counts as null."""

NOT_BY_CHANCE = frozenset({"change", "edited", "unreachable", "dialect"})
"""Kinds of faults that trials order themselves, or that hold for a whole account."""

DEAF = {
    "same_page": ("list_customers", "fetch_message_file"),
    "same_run": ("list_run_messages", "fetch_message_file"),
}
"""Operations that may ignore a key of the request: then they ignore it all the time."""

KINDS = tuple(kind for kind in get_args(Kind) if kind not in NOT_BY_CHANCE)


@dataclass(frozen=True)
class Blow:
    """A signal, or the end of those who read, at a moment of a run's progress.

    Attributes:
        request: Before the answer to which request it comes.
        line: Before which line of output it comes.
    """

    signum: int | None = None
    request: int | None = None
    line: int | None = None


@dataclass(frozen=True)
class Schedule:
    """What goes wrong in one run of a plugin.

    Attributes:
        faults: Of the API.
        blow: To the process, from outside.
        world: What is wrong with its machine.
        stdout_full: Whether nothing can be written to standard output.
        loader_fails_at: Before which line of output the one who reads dies.
        disturbed_at: At which request the account changes under the run.
    """

    faults: Sequence[Fault] = ()
    blow: Blow | None = None
    world: World = field(default_factory=World)
    stdout_full: bool = False
    loader_fails_at: int | None = None
    disturbed_at: int | None = None

    @property
    def spares_files(self) -> bool:
        """Whether the process lives to write its files, and can."""
        world = self.world
        whole_disk = not world.full and world.file_bytes is None
        return whole_disk and not world.signum and not self.blow

    @property
    def kinds(self) -> list[str]:
        """Name everything that goes wrong, for the table."""
        named = [fault.kind for fault in self.faults]
        world = self.world
        if self.blow:
            named.append(f"kill {signal.Signals(self.blow.signum or 0).name}")
        if world.signum:
            named.append(f"kill {signal.Signals(world.signum).name} at a write")
        if world.full:
            named.append("disk full at a write")
        if world.file_bytes is not None:
            named.append("file too large")
        if world.clock:
            named.append("clock skew")
        if self.stdout_full:
            named.append("stdout full")
        if self.loader_fails_at:
            named.append("broken pipe")
        if self.disturbed_at:
            named.append("account changes under it")
        return named


QUIET = Schedule()


@dataclass(frozen=True)
class Bounds:
    """How far a run's progress goes, so that moments are drawn within it.

    Attributes:
        operations: What it calls.
        requests: About how many.
        lines: About how many lines it writes; 0 when nobody but the oracle reads them.
        steps: About how many steps it takes to make files durable.
    """

    operations: Sequence[str]
    requests: int
    lines: int
    steps: int


def draw(source: random.Random, bounds: Bounds) -> Schedule:
    """Draw a schedule: some faults of the API, and seldom more than one of anything else."""
    faults = tuple(_fault(source, bounds) for _ in range(source.choice((0, 1, 1, 2, 3, 5))))
    what = source.choice(("nothing", "blow", "blow", "disk", "stdout", "change"))
    clock = source.choice((0, 0, 0, -90_000, 40, 1_500_000))
    lines = bounds.lines
    match what:
        case "blow":
            return _struck(source, bounds, faults, clock)
        case "disk" if bounds.steps:
            if source.random() < 0.5:
                world = World(clock, file_bytes=source.choice((0, 100, 1000, 5000, 20_000)))
            else:
                world = World(clock, step=source.randint(1, bounds.steps), full=True)
            return Schedule(faults, world=world)
        case "stdout" if lines and source.random() < 0.7:
            return Schedule(faults, world=World(clock), loader_fails_at=source.randint(1, lines))
        case "stdout":
            return Schedule(faults, world=World(clock), stdout_full=True)
        case "change":
            at = source.randint(1, bounds.requests)
            return Schedule(faults, world=World(clock), disturbed_at=at)
    return Schedule(faults, world=World(clock))


def _struck(
    source: random.Random, bounds: Bounds, faults: Sequence[Fault], clock: float
) -> Schedule:
    signum = source.choice(SIGNALS)
    moments: list[Callable[[], Schedule]] = [
        lambda: Schedule(
            faults, Blow(signum, request=source.randint(1, bounds.requests)), World(clock)
        )
    ]
    if bounds.lines:
        moments.append(
            lambda: Schedule(
                faults, Blow(signum, line=source.randint(1, bounds.lines)), World(clock)
            )
        )
    if bounds.steps:
        step = source.randint(1, bounds.steps)
        moments.append(lambda: Schedule(faults, world=World(clock, step=step, signum=signum)))
    return source.choice(moments)()


def _fault(source: random.Random, bounds: Bounds) -> Fault:
    kind = source.choice(KINDS)
    operation = source.choice((*bounds.operations, "*"))
    if kind in DEAF:
        if "fetch_message_file" not in bounds.operations:  # what the target uploads has no pages
            return Fault(operation, "latency", option="0.01")
        return Fault(source.choice(DEAF[kind]), kind, times=1_000_000)
    if kind == "renamed_key":
        operation = source.choice([name for name in bounds.operations if name in RENAMED])
    return Fault(
        operation,
        kind,
        times=source.choice((1, 1, 1, 2, 4, 1000)),
        after=source.choice((0, 0, 1, 2, 5, source.randint(0, bounds.requests))),
        option=(
            RENAMED[operation] if kind == "renamed_key" else source.choice(OPTIONS.get(kind, ("",)))
        ),
    )
