"""One run of a target in a process of its own: ours, and sinks as the SDK's defaults make them."""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from singer_sdk import BatchSink, Target
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecReader

from benchmarks.target_rows import COLUMNS, TakesEverything, settings
from target_nudgescribe.target import TargetNudgescribe
from target_nudgescribe.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable


class CsvSink(BatchSink):
    """Writes each batch as CSV into memory: the least that a target for uploads does."""

    max_size = 10_000

    def process_batch(self, context: dict[str, Any]) -> None:
        """Write a batch."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(COLUMNS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(context["records"])
        text.getvalue().encode()


class DefaultTarget(Target):
    """A target with the SDK's defaults."""

    name = "target-default"
    config_jsonschema = th.PropertiesList().to_dict()
    default_sink_class = CsvSink


class FastTarget(DefaultTarget):
    """The same with the SDK's faster reader."""

    name = "target-fast"
    message_reader_class = MsgSpecReader


def ours(file: IO[bytes], folder: Path) -> dict[str, Any]:
    """Run this package's target for the first time."""
    shutil.rmtree(folder / "state", ignore_errors=True)
    return again(file, folder)


def again(file: IO[bytes], folder: Path) -> dict[str, Any]:
    """Run this package's target against an API that takes everything."""
    target = TargetNudgescribe(config=settings(folder))
    api = TakesEverything()
    target.__dict__["workspace"] = Workspace(api, "w", dry_run=False)  # type: ignore[arg-type]
    code = target.run(file)
    outcomes = dict(target.outcomes.stream("people").ended)
    return {"code": code, "bytes": api.bytes, "uploads": api.uploads, "outcomes": outcomes}


def default(file: IO[bytes], _: Path) -> dict[str, Any]:
    """Run the SDK's defaults."""
    DefaultTarget(config={}).listen(io.TextIOWrapper(file))
    return {}


def fast(file: IO[bytes], _: Path) -> dict[str, Any]:
    """Run the SDK with validation off and the msgspec reader."""
    FastTarget(config={"validate_records": False}).listen(file)  # type: ignore[arg-type]
    return {}


KINDS: dict[str, Callable[[IO[bytes], Path], dict[str, Any]]] = {
    "ours": ours,
    "again": again,
    "default": default,
    "fast": fast,
}


def peak_megabytes() -> float:
    """Return this process's peak of memory; getrusage would count its parent's at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run a kind over the messages on stdin and write down its peak memory and what it tells."""
    logging.disable(logging.CRITICAL)
    kind, folder = sys.argv[1], Path(sys.argv[2])
    told = KINDS[kind](sys.stdin.buffer, folder) | {"megabytes": peak_megabytes()}
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
