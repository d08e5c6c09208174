"""``python -m benchmarks.target``: how fast the target is, and what it needs, as ratios."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.target_rows import (
    COLUMNS,
    SCHEMA,
    STATE,
    field_of,
    record,
    settings,
    write_messages,
)
from target_nudgescribe.fingerprints import key_prints
from target_nudgescribe.ledger import SENT, Ledger, new_entries
from target_nudgescribe.storage import Storage
from tests.sandbox import Sandbox, make_account
from tests.sandbox.account import Field

if TYPE_CHECKING:
    from collections.abc import Sequence


def fastest(kinds: Sequence[str], messages: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Run kinds of targets in turn, thrice each from an empty state, and keep the fastest."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(3):
        for kind in kinds:
            shutil.rmtree(folder / "state", ignore_errors=True)
            told = run(kind, messages, folder)
            if kind not in best or told["seconds"] < best[kind]["seconds"]:
                best[kind] = told
    return best


def run(kind: str, messages: Path, folder: Path) -> dict[str, Any]:
    """Run a kind of target over a file of messages, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.target_runs", kind, str(folder)]
    with messages.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def show(measure: str, figure: str, goal: str) -> None:
    """Print a line of the table."""
    print(f"| {measure} | {figure} | {goal} |", flush=True)


def speed(folder: Path, rows: int) -> None:
    """Compare with the SDK's sinks, a second run with the first, and BATCH with RECORD."""
    messages = folder / "messages"
    write_messages(messages, range(rows))
    best = fastest(["default", "fast", "ours"], messages, folder)
    first = best["ours"]
    for kind, goal in (("default", "≥ 15x"), ("fast", "≥ 3x")):
        ratio = best[kind]["seconds"] / first["seconds"]
        show(f"rows/s over SDK BatchSink, {kind}", f"{ratio:.1f}x", goal)
    show("rows/s", f"{rows / first['seconds']:,.0f}", "")
    write_messages(messages, range(rows), changed=range(rows // 100))
    third = run("ours", messages, folder)
    show("1 % changed: bytes sent", f"{100 * third['bytes'] / first['bytes']:.2f} %", "≤ 1.2 %")
    table = pa.Table.from_pylist([record(number) for number in range(rows)])
    pq.write_table(table, folder / "rows.parquet")
    batch = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "parquet"},
        "manifest": [(folder / "rows.parquet").as_uri()],
    }
    lines = [json.dumps(message) + "\n" for message in (SCHEMA, batch, STATE)]
    messages.write_text("".join(lines))
    parquet = fastest(["ours"], messages, folder)["ours"]
    show("BATCH Parquet over RECORD", f"{first['seconds'] / parquet['seconds']:.1f}x", "≥ 2x")


def repeated(folder: Path, rows: int) -> None:
    """Compare a second run with the first, against the local API."""
    account = make_account(7, "small")
    workspace_id = next(iter(account.workspaces))
    account.fields = {
        name: Field(workspace_id=workspace_id, **field_of(name, number))
        for number, name in enumerate(COLUMNS)
    }
    account.queue_above = rows
    messages = folder / "messages"
    write_messages(messages, range(rows))
    with Sandbox(account) as sandbox:
        config = settings(folder) | sandbox.config | {"workspace_id": workspace_id}
        config |= {"customer_group": "Nobody yet"}
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "target_nudgescribe", "--config"]
        seconds, uploads = [], []
        for _ in range(2):
            started = time.perf_counter()
            with messages.open("rb") as file:
                subprocess.run(
                    [*command, str(folder / "config.json")],
                    stdin=file,
                    capture_output=True,
                    check=True,
                )
            seconds.append(time.perf_counter() - started)
            uploads.append(sandbox.count("upload_customers"))
    figure = f"{seconds[0] / seconds[1]:.2f}x, {uploads[1] - uploads[0]} uploads"
    show("second run, nothing changed, over the first", figure, "≥ 1.5x, 0")


def memory(folder: Path, keys: int, sizes: tuple[int, int]) -> None:
    """Compare the peak memory of a small and a large run over the same known keys."""
    place = Storage(str(folder / "state")).below("ledgers", "w", "g", "people")
    peaks = []
    for size in sizes:
        shutil.rmtree(folder / "state", ignore_errors=True)
        _know(Ledger(place), keys)
        messages = folder / "messages"
        _cycled(messages, size, keys)
        peaks.append(run("ours", messages, folder)["megabytes"])
    figure = f"{peaks[0]:.0f} MB and {peaks[1]:.0f} MB"
    goal = "within 25 %, < 400 MB"
    show(f"RSS, {sizes[0]:,} and {sizes[1]:,} rows, {keys:,} known keys", figure, goal)


def _know(ledger: Ledger, keys: int) -> None:
    """Let a ledger know keys, with rows of which nothing is known."""
    for start in range(0, keys, 500_000):
        numbers = range(start, min(start + 500_000, keys))
        prints = key_prints([pa.array([f"person{n}@example.com" for n in numbers])])
        ledger.record(new_entries(prints, np.zeros_like(prints), SENT))
    ledger.compact()


def _cycled(path: Path, rows: int, keys: int) -> None:
    """Write rows whose keys come round, made from one line."""
    head, _, tail = json.dumps(
        {"type": "RECORD", "stream": "people", "record": record(0)}
    ).partition("person0@")
    with path.open("w") as file:
        file.write(json.dumps(SCHEMA) + "\n")
        file.writelines(f"{head}person{number % keys}@{tail}\n" for number in range(rows))
        file.write(json.dumps(STATE) + "\n")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--keys", type=int, default=2_000_000)
    options = parser.parse_args()
    show("measure", "figure", "to reach")
    show("---", "---", "---")
    with tempfile.TemporaryDirectory() as name:
        speed(Path(name), options.rows)
    with tempfile.TemporaryDirectory() as name:
        repeated(Path(name), options.rows // 10)
    with tempfile.TemporaryDirectory() as name:
        memory(Path(name), options.keys, (100_000, options.large))


if __name__ == "__main__":
    main()
