"""Run every measurement and compare it with its target: ``make bench``.

Each figure is a ratio between whole processes of one run. The processes that are compared take
turns, and the median of each counts, because machines are noisy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data import FOLDER, message_file
from benchmarks.measuring import ROOT, Figure, Process, alternating, rates
from benchmarks.target import target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PEERS_PYTHON = Path(__file__).parent / ".peers" / "bin" / "python"
TAP = (sys.executable, "-m", "tap_nudgescribe")


@contextlib.contextmanager
def served(*options: str) -> Iterator[dict[str, Any]]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serve", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(10)


def tap(folder: Path, name: str, config: Mapping[str, Any], stream: str) -> Process:
    """Return a run of the tap for one stream alone."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    found = subprocess.run(
        [*TAP, "--config", path, "--discover"], check=True, capture_output=True, cwd=ROOT
    )
    catalog = json.loads(found.stdout)
    entry = next(s for s in catalog["streams"] if s["stream"] == stream)
    entry["metadata"][-1 if entry["metadata"][-1]["breadcrumb"] == [] else 0]["metadata"][
        "selected"
    ] = True
    catalog_path = folder / f"{name}-catalog.json"
    catalog_path.write_text(json.dumps({"streams": [entry]}))
    return Process([*TAP, "--config", path, "--catalog", catalog_path], {})


def batch_config(folder: Path) -> dict[str, Any]:
    """Return the configuration for Parquet files."""
    return {
        "encoding": {"format": "parquet"},
        "storage": {"root": str(folder / "batches")},
        "batch_size": 1_000_000,
    }


def records(folder: Path, rows: int, runs: int) -> Iterator[Figure]:
    """Compare a file's way to RECORD lines, or JSONL, with everybody else's."""
    path = message_file(rows)
    with served("--file", str(path)) as server:
        peer = peers(server, path)
        seconds = alternating(
            {
                "RECORD": tap(folder, "record", server["config"], "published_messages"),
                "plain SDK tap": peer("plain_tap"),
                "tuned SDK tap": peer("tuned_tap"),
                "dlt to JSONL": peer("dlt_files", folder / "dlt", "jsonl", python=PEERS_PYTHON),
            },
            runs,
        )
    yield rates(seconds, rows, "RECORD", "plain SDK tap", 12)
    yield rates(seconds, rows, "RECORD", "tuned SDK tap", 4)
    yield rates(seconds, rows, "RECORD", "dlt to JSONL", 12)


def batches(folder: Path, rows: int, runs: int) -> Iterator[Figure]:
    """Compare a file's way to Parquet with everybody else's."""
    path = message_file(rows)
    with served("--file", str(path)) as server:
        peer = peers(server, path)
        config = server["config"] | {"batch_config": batch_config(folder)}
        seconds = alternating(
            {
                "BATCH": tap(folder, "batch", config, "published_messages"),
                "dlt to Parquet": peer("dlt_files", folder / "dlt", "parquet", python=PEERS_PYTHON),
                "pyarrow alone": peer("bare_parquet", folder),
            },
            runs,
        )
    yield rates(seconds, rows, "BATCH", "dlt to Parquet", 1.3)
    yield rates(seconds, rows, "BATCH", "pyarrow alone", 0.7)


def peers(server: Mapping[str, Any], path: Path) -> Callable[..., Process]:
    """Return a function that makes a process of a module of ``benchmarks.peers``."""
    environment = {"FILE_URL": server["url"], "FILE_PATH": str(path), "PYTHONPATH": str(ROOT)}

    def process(module: str, *args: str | Path, python: str | Path = sys.executable) -> Process:
        return Process([python, "-m", f"benchmarks.peers.{module}", *args], environment)

    return process


def memory(folder: Path, rows: int, times: int) -> Iterator[Figure]:
    """Compare the memory that a file needs with that of a file many times as long."""
    path = message_file(rows)
    for name, extra in (("RECORD", {}), ("BATCH", {"batch_config": batch_config(folder)})):
        used = []
        for repeated in (1, times):
            with served("--file", str(path), "--times", str(repeated)) as server:
                process = tap(folder, "memory", server["config"] | extra, "published_messages")
                used.append(process.run().memory)
                shutil.rmtree(folder / "batches", ignore_errors=True)
        size = path.stat().st_size / 1e6
        yield Figure(
            f"{name}: memory, {size * times / 1000:.1f} GB file over {size / 1000:.1f} GB file",
            used[1] / used[0],
            1.2,
            at_least=False,
            detail=f"{used[1]:.0f} : {used[0]:.0f} MB",
        )


def customers(folder: Path, pages: int, runs: int) -> Iterator[Figure]:
    """Compare 8 requests at once with one."""
    with served("--pages", str(pages), "--latency", "0.08") as server:
        seconds = alternating(
            {
                f"{parallel} parallel": tap(
                    folder,
                    f"customers-{parallel}",
                    server["config"] | {"max_parallel_requests": parallel},
                    "customers",
                )
                for parallel in (8, 1)
            },
            runs,
        )
    ours, alone = seconds["8 parallel"], seconds["1 parallel"]
    yield Figure(
        f"customers: {pages} pages at 80 ms, 8 in parallel over 1",
        alone / ours,
        6,
        at_least=True,
        detail=f"{ours:.2f} : {alone:.2f} s",
    )


def start_up(runs: int) -> Iterator[Figure]:
    """Compare start-up with that of a bare SDK tap."""
    environment = {"PYTHONPATH": str(ROOT)}
    for option in ("--version", "--discover"):
        seconds = alternating(
            {
                "ours": Process([*TAP, option], environment),
                "bare": Process(
                    [sys.executable, "-m", "benchmarks.peers.bare_tap", option], environment
                ),
            },
            runs,
        )
        yield Figure(
            f"start-up: {option} over a bare SDK tap",
            seconds["ours"] / seconds["bare"],
            1.3,
            at_least=False,
            detail=f"{seconds['ours']:.2f} : {seconds['bare']:.2f} s",
        )


def main() -> None:
    """Measure, print the table, write ``benchmarks/results.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run: a look")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--only", choices=["record", "batch", "memory", "customers", "start-up", "target"]
    )
    options = parser.parse_args()
    rows = 100_000 if options.quick else options.rows
    runs = 1 if options.quick else options.runs
    figures: list[Figure] = []
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as path:
        folder = Path(path)
        groups = {
            "record": records(folder, rows, runs),
            "batch": batches(folder, rows, runs),
            "memory": memory(folder, *((20_000, 10) if options.quick else (360_000, 50))),
            "customers": customers(folder, 40 if options.quick else 200, runs),
            "start-up": start_up(1 if options.quick else 2 * runs + 1),
            "target": target(folder, rows // 2, runs),
        }
        for name, group in groups.items():
            if options.only in {None, name}:
                figures += group
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        verdict = "met" if figure.met else "MISSED"
        print(
            f"{figure.measure:<62} {figure.reached:7.2f}  {sign} {figure.target:<5} {verdict:<7}"
            f" {figure.detail}"
        )
    if not options.quick:
        write_results(figures, rows=rows, runs=runs)


def write_results(figures: Sequence[Figure], **how: int) -> None:
    """Write ``benchmarks/results.json``; figures that were not measured now stay in it."""
    place = Path(__file__).with_name("results.json")
    known = json.loads(place.read_text())["figures"] if place.exists() else []
    fresh = [asdict(figure) | {"met": figure.met} | how for figure in figures]
    measured = {figure["measure"] for figure in fresh}
    results = {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "figures": [*fresh, *(old for old in known if old["measure"] not in measured)],
    }
    place.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
