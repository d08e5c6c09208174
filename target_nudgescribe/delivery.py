"""Upload what waits for a customer group, and record how each row ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from tap_nudgescribe.errors import OutcomeUnknownError, TooLargeError
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import joined, taken
from target_nudgescribe.csv_lines import csv_bytes
from target_nudgescribe.readback import confirm, parted_for_reading
from target_nudgescribe.rejects import Reject, written_row
from target_nudgescribe.rows import Rows
from target_nudgescribe.upload import Verdict, places, upload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tap_nudgescribe.client import Upload
    from target_nudgescribe.batches import GroupWork, Ready
    from target_nudgescribe.route import Route
    from target_nudgescribe.upload import Send

MOST_QUEUED = 100_000
"""Rows to be read back that are held at once."""

OUTAGE = 3
"""After so many uploads in a row without a sound answer the run stops."""


class Delivery:
    """Uploads batches of one stream, one after the other.

    Args:
        route: Where they go.
    """

    def __init__(self, route: Route) -> None:
        """Upload nothing yet."""
        self._route = route
        self._most_bytes: int = route.config["batch_size_bytes"]
        self._batches = 0
        self._unanswered = 0

    def deliver(self, work: GroupWork) -> None:
        """Upload everything that waits for a group, in batches within the settings' bounds.

        Raises:
            ApiError: when an upload cannot go on.
        """
        most_rows = self._route.config["batch_size_rows"]
        waiting, work.ready = work.ready, {}
        for parts in waiting.values():
            whole = joined(parts)
            sizes = np.cumsum(np.asarray(pc.binary_length(whole.lines)))
            start = 0
            while start < len(whole):
                before = sizes[start - 1] if start else 0
                fits = int(np.searchsorted(sizes, before + self._most_bytes, side="right"))
                end = max(start + 1, min(fits, start + most_rows))
                self._deliver(work, whole.take(np.arange(start, end)))
                start = end

    def _deliver(self, work: GroupWork, ready: Ready) -> None:
        route = self._route
        if route.workspace.dry_run:
            route.outcomes.count("planned", len(ready))
            return
        route.interruption.check()
        self._batches += 1
        work.ledger.intend(ready.keys)
        verdict = Verdict(len(ready))
        first = route.config["server_validation"] == "before_upload"
        try:
            upload(self._sender(work.group_id, ready), verdict, validate_first=first)
        finally:
            self._settle(work, ready, verdict)
        if sum(map(len, work.queued)) > MOST_QUEUED:
            confirm(route, work)
        self._unanswered = self._unanswered + 1 if verdict.unknown else 0
        if self._unanswered >= OUTAGE:
            problem = f"{OUTAGE} uploads in a row got no sound answer"
            raise OutcomeUnknownError(problem, operation="upload_customers")

    def _sender(self, group_id: str, ready: Ready) -> Send:
        workspace, counts = self._route.workspace, self._route.outcomes.counts
        as_json = self._route.config["upload_encoding"] == "json"

        def send(rows: NDArray[np.intp], *, validate_only: bool) -> Upload:
            customers: bytes | list[dict[str, Any]]
            if as_json:
                customers = ready.cells.take(rows).to_pylist()
            else:
                customers = csv_bytes(ready.names, taken(ready.lines, rows))
                if not validate_only:
                    counts["bytes"] += len(customers)
            try:
                return workspace.client.upload_customers(
                    workspace.workspace_id, group_id, customers, validate_only=validate_only
                )
            except TooLargeError:
                # The next batches need not find out again, one halving after the other.
                self._most_bytes = max(1, taken(ready.lines, rows).nbytes // 2)
                raise

        return send

    def _settle(self, work: GroupWork, ready: Ready, verdict: Verdict) -> None:
        """Make what is known durable, rejects before the ledger, and count it last."""
        route = self._route
        self._reject(ready, verdict)
        confirmed, unknown = places(verdict.confirmed), places(verdict.unknown)
        confirmed, to_read = parted_for_reading(confirmed, route.config["verify"])
        queued = np.concatenate([places(verdict.queued), to_read])
        status = np.full(len(ready), books.UNCERTAIN, np.uint8)
        status[confirmed] = books.SENT
        codes = np.zeros(len(ready), np.uint8)
        final = [row for row, refusals in verdict.refused.items() if not refusals[0].retryable]
        before = work.ledger.find(ready.keys[final])["status"]
        was_sent = np.isin(before, (*books.UNCHANGED_STATUSES, books.OUTDATED))
        status[final] = np.where(was_sent, books.OUTDATED, books.REJECTED)
        codes[final] = [work.ledger.code(verdict.refused[row][0].code) for row in final]
        work.ledger.record(
            books.new_entries(
                ready.keys,
                ready.prints,
                status,
                definitions=route.definitions,
                batch=self._batches,
                codes=codes,
                folded=ready.folded_keys(route.mapped.key),
            )
        )
        if len(queued):
            work.queued.append(ready.take(queued))
        if len(unknown):
            work.doubted.append(ready.take(unknown))
        route.outcomes.counts["uploads"] += verdict.uploads
        route.outcomes.count("sent", len(confirmed))
        route.outcomes.count("rejected", len(verdict.refused))

    def _reject(self, ready: Ready, verdict: Verdict) -> None:
        """Write down which rows the API does not take."""
        route = self._route
        columns = {one.field.name: one.column for one in route.mapped.fields}
        rejects = []
        for row in sorted(verdict.refused):
            source = self._source(ready, row)
            for refusal in verdict.refused[row]:
                route.outcomes.reasons[refusal.code] += 1
                rejects.append(
                    Reject(
                        run_id=route.run_id,
                        stream=route.name,
                        row_number=int(ready.numbers[row]),
                        key=route.told_key(ready.cells, ready.keys, row),
                        code=refusal.code,
                        field=refusal.field if refusal.field in columns else None,
                        column=columns.get(refusal.field or ""),
                        message="The API does not take this row",
                        found_by=refusal.found_by,
                        retryable=refusal.retryable,
                        attempts=int(verdict.attempts[row]),
                        batch=self._batches,
                        row=written_row(source, route.config["rejects_rows"]),
                    )
                )
        route.rejects.add(rejects)

    def _source(self, ready: Ready, row: int) -> dict[str, str | None]:
        """Return a row as it was read, without what it leaves alone."""
        mapped = self._route.mapped.fields
        left_alone = {one.column for one in mapped if one.field.name not in ready.names}
        whole = Rows(ready.source.slice(row, 1), 1).source(0)
        return {name: text for name, text in whole.items() if name not in left_alone}
