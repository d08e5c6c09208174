"""How fast the target is, and what it needs."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Figure, Process, alternating, rates
from benchmarks.target_rows import (
    COLUMNS,
    SCHEMA,
    STATE,
    field_of,
    record,
    settings,
    write_messages,
)
from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.ledger import SENT, Ledger, new_entries
from target_nudgescribe.storage import Storage
from tests.sandbox import Sandbox, make_account
from tests.sandbox.account import Field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTES = 400
"""What a run may need, whatever its rows, with a ledger of four times the keys of its rows."""


def target(folder: Path, rows: int, runs: int) -> Iterator[Figure]:
    """Measure everything.

    Args:
        folder: Takes what is measured on; about a kilobyte a row.
        rows: Of a run.
        runs: Of each process.
    """
    yield from speed(folder, rows, runs)
    yield from changes(folder, rows)
    yield second_run(folder, rows // 10, runs)
    yield from memory(folder, 2 * rows, (rows // 10, 5 * rows))


def process(kind: str, messages: Path) -> Process:
    """Return a run of a kind of target over a file of messages."""
    command = [sys.executable, "-m", "benchmarks.target_runs", kind, messages.parent]
    return Process(command, {}, messages)


def told(folder: Path) -> dict[str, Any]:
    """Return what the last run says of itself."""
    read: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return read


def speed(folder: Path, rows: int, runs: int) -> Iterator[Figure]:
    """Compare with the SDK's sinks, and BATCH with RECORD."""
    messages, few, batch = folder / "messages", folder / "few", folder / "batch"
    write_messages(messages, range(rows))
    write_messages(few, range(rows // 5))
    write_batch(batch, range(rows))
    processes = {
        "RECORD": process("ours", messages),
        "tuned SDK sink": process("fast", messages),
        "BATCH Parquet": process("ours", batch),
        "SDK sink": process("default", few),
    }
    seconds = alternating(processes, runs)
    # It is so slow that a fifth of the rows has to do.
    seconds["SDK sink"] *= 5
    for name, other, goal in (
        ("RECORD", "SDK sink", 15),
        ("RECORD", "tuned SDK sink", 3),
        ("BATCH Parquet", "RECORD", 2),
    ):
        yield rates(seconds, rows, name, other, goal, prefix="target: ")


def write_batch(path: Path, numbers: range) -> None:
    """Write a stream whose rows are in one Parquet file."""
    rows = path.with_suffix(".parquet")
    writer = None
    for start in numbers[::100_000]:
        part = numbers[start : start + 100_000]
        table = pa.Table.from_pylist([record(number) for number in part])
        writer = writer or pq.ParquetWriter(rows, table.schema)
        writer.write_table(table)
    assert writer
    writer.close()
    batch = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "parquet"},
        "manifest": [rows.absolute().as_uri()],
    }
    path.write_text("".join(json.dumps(message) + "\n" for message in (SCHEMA, batch, STATE)))


def changes(folder: Path, rows: int) -> Iterator[Figure]:
    """Compare what is sent when one row in a hundred has changed, of twice as many known keys."""
    messages = folder / "messages"
    process("ours", messages).run()
    first = told(folder)
    know(folder, range(rows, 2 * rows))
    write_messages(messages, range(rows), changed=range(rows // 100))
    process("again", messages).run()
    again = told(folder)
    yield Figure(
        "target: bytes sent, 1 % of rows changed over all rows new",
        again["bytes"] / first["bytes"],
        0.012,
        at_least=False,
        detail=f"{again['bytes']:,} : {first['bytes']:,} bytes",
    )


def second_run(folder: Path, rows: int, runs: int) -> Figure:
    """Compare a first run against the local API with a second one over the same rows."""
    account = make_account(7, "small")
    workspace_id = next(iter(account.workspaces))
    account.fields = {
        name: Field(workspace_id=workspace_id, **field_of(name, number))
        for number, name in enumerate(COLUMNS)
    }
    account.queue_above = rows
    group = next(group for group in account.groups.values() if group.name == "Nobody yet")
    messages, state = folder / "messages", folder / "state"
    write_messages(messages, range(rows))
    with Sandbox(account) as sandbox:
        config = settings(folder) | sandbox.config | {"workspace_id": workspace_id}
        path = folder / "config.json"
        path.write_text(json.dumps(config | {"customer_group": group.name}))
        command = [sys.executable, "-m", "target_nudgescribe", "--config", path]
        run = Process(command, {}, messages)
        first, second = [], []
        for _ in range(runs):
            shutil.rmtree(state, ignore_errors=True)
            group.customers.clear()
            first.append(run.run().seconds)
            uploads = sandbox.count("upload_customers")
            second.append(run.run().seconds)
            assert sandbox.count("upload_customers") == uploads
    return Figure(
        "target: second run, nothing changed, over the first",
        float(np.median(first) / np.median(second)),
        1.5,
        at_least=True,
        detail=f"{np.median(first):.1f} : {np.median(second):.1f} s, no upload",
    )


def memory(folder: Path, keys: int, sizes: tuple[int, int]) -> Iterator[Figure]:
    """Compare the peak memory of a small and a large run over the same known keys."""
    messages, peaks = folder / "messages", []
    for size in sizes:
        shutil.rmtree(folder / "state", ignore_errors=True)
        know(folder, range(keys))
        write_cycled(messages, size, keys)
        process("again", messages).run()
        peaks.append(told(folder)["megabytes"])
    name = f"target: memory, {keys:,} known keys"
    yield Figure(
        f"{name}, {sizes[1]:,} over {sizes[0]:,} rows",
        peaks[1] / peaks[0],
        1.25,
        at_least=False,
        detail=f"{peaks[1]:.0f} : {peaks[0]:.0f} MB",
    )
    yield Figure(f"{name}, MB", max(peaks), MEGABYTES, at_least=False, detail="")


def know(folder: Path, numbers: range) -> None:
    """Let the ledger know keys, with rows of which nothing is known."""
    place = Storage(str(folder / "state")).below("ledgers", "w", "g", "people")
    ledger = Ledger(place)
    for start in range(0, len(numbers), 500_000):
        part = numbers[start : start + 500_000]
        prints = Hashing().keys([pa.array([f"person{n}@example.com" for n in part])])
        ledger.record(new_entries(prints, np.zeros_like(prints), SENT))
    ledger.compact()


def write_cycled(path: Path, rows: int, keys: int) -> None:
    """Write rows whose keys come round, made from one line."""
    message = {"type": "RECORD", "stream": "people", "record": record(0)}
    head, _, tail = json.dumps(message).partition("person0@")
    with path.open("w") as file:
        file.write(json.dumps(SCHEMA) + "\n")
        file.writelines(f"{head}person{number % keys}@{tail}\n" for number in range(rows))
        file.write(json.dumps(STATE) + "\n")
