"""Upload what waits for a customer group, and record how each row ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from tap_nudgescribe.errors import ApiError, OutcomeUnknownError, TooLargeError
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import Batch, joined
from target_nudgescribe.csv_lines import csv_bytes
from target_nudgescribe.readback import confirm, parted_for_reading, tell_unknown, verifying
from target_nudgescribe.rejects import Reject, written_row
from target_nudgescribe.row_numbers import RowNumbers
from target_nudgescribe.rows import Rows
from target_nudgescribe.upload import Verdict, places, upload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tap_nudgescribe.upload_results import Upload
    from target_nudgescribe.batches import GroupWork, Ready
    from target_nudgescribe.ledger import Ledger
    from target_nudgescribe.route import Route
    from target_nudgescribe.upload import Send

MOST_QUEUED = 100_000
"""Rows to be read back that are held at once."""

OUTAGE = 3
"""After so many batches in a row without a sound answer, or of which nothing is taken, the run
stops."""

MANY_SETS = 16
"""Sets of columns after which the operator hears of a quicker way."""

logger = logging.getLogger("target-nudgescribe")


class Delivery:
    """Uploads batches of one stream, one after the other.

    Args:
        route: Where they go.
    """

    def __init__(self, route: Route) -> None:
        """Upload nothing yet."""
        self._route = route
        self._as_json = route.config["upload_encoding"] == "json"
        self._most_bytes: int = route.config["batch_size_bytes"]
        self._batches = 0
        self._unanswered = 0
        self._nothing_taken = 0
        self._numbers = RowNumbers()

    def deliver(self, work: GroupWork) -> None:
        """Upload everything that waits for a group, in batches within the settings' bounds.

        JSON can leave out what a row lacks, so rows with different fields go together. A blank cell
        of a CSV file may clear a value, so there each set of fields has its own uploads.

        Raises:
            ApiError: when an upload cannot go on.
        """
        most_rows = self._route.config["batch_size_rows"]
        waiting, work.ready = work.ready, {}
        parts = [joined(of_one_set) for of_one_set in waiting.values()]
        for whole in self._together(parts):
            sizes = np.cumsum(whole.sizes)
            start = 0
            while start < len(whole):
                before = sizes[start - 1] if start else 0
                fits = int(np.searchsorted(sizes, before + self._most_bytes, side="right"))
                end = max(start + 1, min(fits, start + most_rows))
                self._deliver(work, Batch(tuple(whole.take(np.arange(start, end)))))
                start = end

    def confirm(self, work: GroupWork) -> None:
        """Read back what is not confirmed, and send again what got no sound answer.

        A row is sent at most max_tries times. What is not in the account then is unknown.

        Raises:
            ApiError: when reading or an upload cannot go on.
        """
        route = self._route
        for attempt in range(1, route.config["max_tries"] + 1):
            absent = confirm(route, work)
            if not absent:
                return
            if attempt < route.config["max_tries"]:
                route.workspace.client.transport.pause(attempt)
                for batch in self._together(absent):
                    self._send_batch(work, batch)
        tell_unknown(route, work, absent)

    def _together(self, parts: list[Ready]) -> list[Batch]:
        """Return the parts as batches: one where an upload can hold rows with different fields."""
        if self._as_json:
            return [Batch(tuple(parts))] if parts else []
        counts = self._route.outcomes.counts
        if len(parts) > max(MANY_SETS, counts["sets_of_columns"]):
            counts["sets_of_columns"] = len(parts)
            logger.warning(
                "%s: the rows have %d different sets of columns, each of which takes an upload; "
                "upload_encoding: json sends them together",
                self._route.name,
                len(parts),
            )
        return [Batch((part,)) for part in parts]

    def _deliver(self, work: GroupWork, batch: Batch) -> None:
        route = self._route
        if route.workspace.dry_run:
            route.outcomes.count("planned", len(batch))
            return
        verdict = self._send_batch(work, batch)
        if sum(map(len, [*work.queued, *work.doubted])) > MOST_QUEUED:
            self.confirm(work)
        self._unanswered = self._unanswered + 1 if verdict.unanswered and not verdict.taken else 0
        if self._unanswered >= OUTAGE:
            problem = f"{OUTAGE} uploads in a row got no sound answer"
            raise OutcomeUnknownError(problem, operation="upload_customers")
        refused = bool(verdict.refused) and not verdict.taken and not verdict.unknown
        self._nothing_taken = self._nothing_taken + 1 if refused else 0
        if self._nothing_taken >= OUTAGE:
            problem = f"The API refuses all rows of {OUTAGE} batches in a row"
            advice = (
                "Nothing was rejected for good. Look at the file of rejects for the API's codes, "
                "and whether the group and its fields can be changed by this user."
            )
            raise ApiError(problem, operation="upload_customers", advice=advice)

    def _send_batch(self, work: GroupWork, batch: Batch) -> Verdict:
        route = self._route
        route.interruption.check()
        self._batches += 1
        work.ledger.intend(batch.keys)
        verdict = Verdict(len(batch))
        first = route.config["server_validation"] == "before_upload"
        try:
            upload(
                self._sender(work.group_id, batch),
                verdict,
                validate_first=first,
                shapes=batch.shapes,
                numbers=self._numbers,
            )
        finally:
            self._settle(work, batch, verdict)
        return verdict

    def _sender(self, group_id: str, batch: Batch) -> Send:
        workspace, counts = self._route.workspace, self._route.outcomes.counts

        def send(rows: NDArray[np.intp], *, validate_only: bool) -> Upload:
            parts = batch.take(rows)
            customers: bytes | list[dict[str, Any]]
            if self._as_json:
                customers = [row for part in parts for row in part.cells.to_pylist()]
            else:
                (part,) = parts
                customers = csv_bytes(part.names, part.lines)
                if not validate_only:
                    counts["bytes"] += len(customers)
            try:
                return workspace.client.upload_customers(
                    workspace.workspace_id, group_id, customers, validate_only=validate_only
                )
            except TooLargeError:
                if len(rows) > 1:
                    # The next batches need not find out again, one halving after the other.
                    size = sum(part.lines.nbytes for part in parts)
                    self._most_bytes = max(1, min(self._most_bytes, size // 2))
                raise

        return send

    def _settle(self, work: GroupWork, batch: Batch, verdict: Verdict) -> None:
        """Make what is known durable, rejects before the ledger, and count it last."""
        route = self._route
        self._reject(batch, verdict)
        confirmed, unknown = places(verdict.confirmed), places(verdict.unknown)
        confirmed, to_read = parted_for_reading(confirmed, verifying(route))
        queued = np.concatenate([places(verdict.queued), to_read])
        work.ledger.record(self._entries(work.ledger, batch, verdict, confirmed))
        work.queued += batch.take(np.sort(queued))
        work.doubted += batch.take(np.sort(unknown))
        failed = sum(refusals[0].retryable for refusals in verdict.refused.values())
        route.outcomes.counts["uploads"] += verdict.uploads
        route.outcomes.count("sent", len(confirmed))
        route.outcomes.count("rejected", len(verdict.refused) - failed)
        route.outcomes.count("failed", failed)
        if failed:
            self._tell_failed(batch, verdict, failed)

    def _entries(
        self, ledger: Ledger, batch: Batch, verdict: Verdict, confirmed: NDArray[np.intp]
    ) -> NDArray[np.void]:
        """Return what the ledger has to note of a batch.

        The entry of a row that the API has certainly not taken stays as it was.
        """
        keys = batch.keys
        final = [row for row, refusals in verdict.refused.items() if not refusals[0].retryable]
        status = np.full(len(batch), books.UNCERTAIN, np.uint8)
        status[confirmed] = books.SENT
        codes = np.zeros(len(batch), np.uint8)
        before = ledger.find(keys[final])["status"]
        was_sent = np.isin(before, (*books.UNCHANGED_STATUSES, books.OUTDATED))
        status[final] = np.where(was_sent, books.OUTDATED, books.REJECTED)
        codes[final] = [ledger.code(verdict.refused[row][0].code) for row in final]
        changed = verdict.maybe.copy()
        changed[final] = True
        entries = books.new_entries(
            keys,
            batch.prints,
            status,
            definitions=self._route.definitions,
            batch=self._batches,
            codes=codes,
            folded=batch.folded_keys(self._route.mapped.key, self._route.hashing),
        )
        if changed.all():
            return entries
        known = ledger.find(keys[~changed])
        unchanged = known[known["status"] != 0]
        unchanged["seen"] = True
        return np.concatenate([unchanged, entries[changed]])

    def _tell_failed(self, batch: Batch, verdict: Verdict, failed: int) -> None:
        """Say once a batch why rows that are refused are not rejected for good."""
        if not verdict.taken:
            why = "the API took no row of the batch, so that the rows may not be the cause"
        elif verdict.stopped:
            why = "so much of the batch is refused that the rows were not all tried alone"
        else:
            why = "the API took no row with the same columns after them"
        logger.error(
            "%s: %d of %d rows of batch %d were refused and are sent again by the next run: %s. "
            "Look at the codes in the file of rejects",
            self._route.name,
            failed,
            len(batch),
            self._batches,
            why,
        )

    def _reject(self, batch: Batch, verdict: Verdict) -> None:
        """Write down which rows the API does not take."""
        route = self._route
        columns = {one.field.name: one.column for one in route.mapped.fields}
        rejects = []
        for row in sorted(verdict.refused):
            ready, place = batch.locate(row)
            source = self._source(ready, place)
            for refusal in verdict.refused[row]:
                route.outcomes.reasons[refusal.code] += 1
                rejects.append(
                    Reject(
                        run_id=route.run_id,
                        stream=route.name,
                        row_number=int(ready.numbers[place]),
                        key=route.told_key(ready.cells, ready.keys, place),
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
