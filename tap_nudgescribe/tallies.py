"""Measure each stream of a run: rows, bytes, files, time, and how its bookmark moved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from singer_sdk import metrics
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from tap_nudgescribe.failures import Failures
    from tap_nudgescribe.progress import Progress
    from tap_nudgescribe.report import StreamReport
    from tap_nudgescribe.stream import NudgescribeStream


class Tally(metrics.Counter):
    """The SDK's counter of a stream's records, which it forgets whenever it has logged them.

    Attributes:
        rows: All records.
        seconds: How long it took.
        bytes: What was written: messages, or rows in batch files before compression.
        files: How many batch files.
    """

    def __init__(self, counter: metrics.Counter, written: Callable[[], int]) -> None:
        """Count nothing yet.

        Args:
            counter: The SDK's own, in whose place this one counts.
            written: Says how many bytes of messages there are so far.
        """
        super().__init__(counter.metric, counter.tags, counter.log_interval)
        self.rows = 0
        self.seconds = 0.0
        self.bytes = 0
        self.files = 0
        self._written = written
        self._began = 0.0
        self._before = 0

    @override
    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._before = self._written()
        return super().__enter__()

    @override
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._began
        self.bytes = self.bytes or self._written() - self._before
        super().__exit__(exc_type, exc_val, exc_tb)

    @override
    def increment(self, value: int = 1) -> None:
        self.rows += value
        super().increment(value)


def stream_report(
    stream: NudgescribeStream,
    failures: Failures,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> StreamReport:
    """Return what a run has to tell of a stream.

    Args:
        stream: The stream.
        failures: All parts of the run that failed.
        before: The state that the run began with.
        after: The state that it ended with.
    """
    from tap_nudgescribe.report import StreamReport  # noqa: PLC0415 (fast start-up)

    facts = dict(_bookmarks(stream.name, before, after))
    tally = stream.tally
    if tally is None:
        return StreamReport(
            name=stream.name,
            rows=0,
            outcomes={},
            failed=failures.count(stream.name),
            facts=facts | {"not read": "the run did not come to it"},
        )
    progress: Progress | None = vars(stream).get("progress")
    if progress is not None:
        facts[f"{progress.parts} read"] = str(progress.parts_done)
        if progress.bytes:
            facts["bytes read"] = str(progress.bytes)
    if tally.files:
        facts["batch files written"] = str(tally.files)
    return StreamReport(
        name=stream.name,
        rows=tally.rows,
        outcomes={"sent": tally.rows},
        seconds=tally.seconds,
        bytes=tally.bytes,
        failed=failures.count(stream.name),
        facts=facts,
    )


def _bookmarks(
    stream: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield where a stream's bookmark was, where it is, and how much is unfinished behind it."""
    for title, state in (("bookmark before", before), ("bookmark after", after)):
        kept = state.get("bookmarks", {}).get(stream, {})
        if "replication_key_value" in kept:
            yield title, str(kept["replication_key_value"])
        if title == "bookmark after" and kept.get("unfinished"):
            yield "unfinished parts", str(len(kept["unfinished"]))
