"""``python -m campaign``: run trials of both plugins and print what they have shown."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING

from campaign.trials import KINDS, trial
from campaign.verdict import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from campaign.verdict import Verdict

PROBLEMS_SHOWN = 5


def main() -> int:
    """Run the trials, print the table, and return 1 if one has shown a problem."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="trials of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; then upwards")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--jobs", type=int, default=2, help="trials side by side")
    parser.add_argument("--minutes", type=float, default=600, help="after which no trial begins")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.runs)
    began = time.monotonic()
    verdicts = []
    for kind, seed, verdict in tried(options.kinds, seeds, options.jobs, options.minutes):
        verdicts.append(verdict)
        if verdict.problems:
            print(f"{verdict.name} failed; again: {again(kind, seed)}")
            for what, told in verdict.problems[:PROBLEMS_SHOWN]:
                print(f"  {what}: {told}", flush=True)
        print(f"{len(verdicts)} of {len(seeds) * len(options.kinds)}", end="\r", file=sys.stderr)
    print(table(verdicts, time.monotonic() - began))
    return 1 if any(verdict.problems for verdict in verdicts) else 0


def tried(
    kinds: Sequence[str], seeds: Sequence[int], jobs: int, minutes: float
) -> Iterator[tuple[str, int, Verdict]]:
    """Yield trials as they end."""
    until = time.monotonic() + 60 * minutes
    todo = ((kind, seed) for seed in seeds for kind in kinds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(trial, *one): one for one in islice(todo, jobs)}
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield *running.pop(done), done.result()
                if time.monotonic() < until:
                    running |= {pool.submit(trial, *one): one for one in islice(todo, 1)}


def again(kind: str, seed: int) -> str:
    """Return the command that repeats a trial."""
    return f'make faults FAULTS="--kinds {kind} --seed {seed} --runs 1"'


def table(verdicts: Sequence[Verdict], seconds: float) -> str:
    """Return what all trials have shown together."""
    injected: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    problems: Counter[str] = Counter()
    for verdict in verdicts:
        injected += verdict.injected
        codes += verdict.codes
        problems.update({kind for kind, _ in verdict.problems})
    survived = sum(not verdict.problems for verdict in verdicts)
    lines = [
        f"trials {len(verdicts)}, runs {codes.total()}, faults {injected.total()}, {seconds:.0f} s",
        "",
        *(f"{kind:32} {count:6}" for kind, count in sorted(injected.items())),
        "",
        *(f"exit code {code:<22} {count:6}" for code, count in sorted(codes.items())),
        "",
        f"{'survived':32} {survived:6}",
        *(f"{kind:32} {problems[kind]:6}" for kind in PROBLEMS),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
