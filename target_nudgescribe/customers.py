"""Send the rows of one stream of customers: check, compare with the ledger, upload, record."""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tap_nudgescribe.errors import OutcomeUnknownError, SettingsError
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import (
    GroupWork,
    Ready,
    by_fields,
    joined,
    last_of_each_key,
    taken,
)
from target_nudgescribe.csv_lines import csv_bytes, csv_lines
from target_nudgescribe.deletes import delete_ids, find_ids, too_many
from target_nudgescribe.fingerprints import definitions_print, key_prints, row_prints
from target_nudgescribe.mapping import DELETED_COLUMN
from target_nudgescribe.readback import comparable_prints, held
from target_nudgescribe.rejects import PRINT, Reject, written_row
from target_nudgescribe.rows import Rows, texts_of
from target_nudgescribe.upload import Verdict, places, upload
from target_nudgescribe.validation import MESSAGES, Checked, Fault, check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.client import Upload
    from target_nudgescribe.mapping import StreamMap
    from target_nudgescribe.outcomes import StreamOutcomes
    from target_nudgescribe.rejects import RejectsFile
    from target_nudgescribe.workspace import Workspace

logger = logging.getLogger("target-nudgescribe")

MOST_QUEUED = 100_000
"""Rows to be read back that are held at once."""

SAMPLE = 100
"""Rows of a batch that are read back when verify is ``sample``."""

OUTAGE = 3
"""After so many uploads in a row without a sound answer the run stops."""


class CustomerStream:
    """The way of one stream's rows into the account.

    Args:
        name: The stream.
        mapped: Where its columns go.
        workspace: Where it goes.
        config: The target's settings.
        outcomes: Counts how each row ended.
        rejects: Keeps the rows that were not taken.
        open_group: Returns what waits for a group, with its ledger.
        run_id: Names this run.
        safe_point: Called where nothing is under way; it may end the run.
        replaying: Whether rows go out again that were rejected as they are.
    """

    def __init__(  # noqa: PLR0913 (what sending needs)
        self,
        name: str,
        mapped: StreamMap,
        workspace: Workspace,
        config: Mapping[str, Any],
        *,
        outcomes: StreamOutcomes,
        rejects: RejectsFile,
        open_group: Callable[[str], GroupWork],
        run_id: str,
        safe_point: Callable[[], None] = lambda: None,
        replaying: bool = False,
    ) -> None:
        """Send nothing yet."""
        self._safe_point = safe_point
        self._replaying = replaying
        self.name = name
        self.mapped = mapped
        self.works: dict[str, GroupWork] = {}
        self.keyless = 0
        """Rows whose customer is not known: with any, nobody can say who is missing."""
        self._workspace = workspace
        self._config = config
        self._outcomes = outcomes
        self._rejects = rejects
        self._open_group = open_group
        self._run_id = run_id
        self._batches = 0
        self._unanswered = 0
        self._groups: dict[str, str | None] = {}
        fields = [one.field for one in mapped.fields]
        self._definitions = definitions_print(fields)
        self._most_rows: int = config["batch_size_rows"]
        self._most_bytes: int = config["batch_size_bytes"]

    # Rows come in

    def absorb(self, rows: Rows) -> None:
        """Check rows, keep those that the account does not have yet, upload when they are enough.

        Raises:
            ApiError: when an upload cannot go on.
        """
        self._outcomes.read += len(rows)
        checked = check(rows, self.mapped)
        self._outcomes.counts["rounded"] += sum(checked.rounded.values())
        self._outcomes.counts["ambiguous_years"] += checked.ambiguous
        deleted = self._deleted(rows)
        faults = [f for f in checked.faults if not deleted[f.row] or self._concerns_key(f)]
        groups, group_ids, group_faults = self._group_of(rows)
        faults += group_faults
        valid = np.ones(len(rows), bool)
        valid[[fault.row for fault in faults]] = False
        keys = self._keys(checked.cells)
        self.keyless += len({f.row for f in faults if self._concerns_key(f)})
        self._refuse(rows, checked, keys, faults, valid)
        for number, group_id in enumerate(group_ids):
            places = np.flatnonzero(valid & (groups == number))
            wrong = np.flatnonzero(~valid & (groups == number))
            work = self._work(group_id)
            # A customer whose row is wrong is in the source all the same: mark the key as seen.
            work.ledger.find(keys[wrong])
            if len(places):
                self._absorb_group(work, rows, checked, keys, places=places, deleted=deleted)

    def _absorb_group(  # noqa: PLR0913 (what was found out about the rows)
        self,
        work: GroupWork,
        rows: Rows,
        checked: Checked,
        keys: NDArray[np.uint64],
        *,
        places: NDArray[np.intp],
        deleted: NDArray[np.bool_],
    ) -> None:
        last, checked = last_of_each_key(checked, keys, places)
        self._outcomes.count("merged", len(places) - len(last))
        doomed, kept = last[deleted[last]], last[~deleted[last]]
        self._withdraw(work, keys[kept])
        self._doom(work, keys[doomed], rows.first + doomed)
        if work.waits(keys[kept]):
            # An older row of a customer must be there before a newer one is sent.
            self._upload_all(work)
            self._confirm(work)
        for names, among in by_fields(checked, kept):
            cells = taken(checked.cells.select(names), among)
            lines = csv_lines([texts_of(cells, name) for name in names])
            prints = row_prints(lines, names)
            fresh = self._fresh(work, keys[among], prints)
            if len(fresh):
                chosen = among[fresh]
                ready = Ready(
                    names,
                    taken(lines, fresh),
                    taken(cells, fresh),
                    keys[chosen],
                    prints[fresh],
                    rows.first + chosen,
                    taken(rows.table, chosen),
                )
                work.ready.setdefault(names, []).append(ready)
        if work.rows >= self._most_rows or work.bytes >= self._most_bytes:
            self._upload_all(work)

    def _fresh(
        self, work: GroupWork, keys: NDArray[np.uint64], prints: NDArray[np.uint64]
    ) -> NDArray[np.intp]:
        """Return the places of rows that the account does not have, as far as anyone knows."""
        known = work.ledger.find(keys)
        same = (known["row"] == prints[:, 0]) & (known["row_2"] == prints[:, 1])
        unchanged = same & (known["status"] == books.SENT)
        quarantined = (
            np.full(len(same), not self._replaying)
            & same
            & (known["status"] == books.REJECTED)
            & (known["definitions"] == self._definitions)
        )
        self._outcomes.count("unchanged", int(unchanged.sum()))
        self._outcomes.count("rejected", int(quarantined.sum()))
        self._outcomes.counts["quarantined"] += int(quarantined.sum())
        for code in known["code"][quarantined].tolist():
            self._outcomes.reasons[work.ledger.codes[code]] += 1
        fresh = ~(unchanged | quarantined)
        new = int((fresh & (known["status"] == 0)).sum())
        self._outcomes.counts["new"] += new
        self._outcomes.counts["changed"] += int(fresh.sum()) - new
        return np.flatnonzero(fresh)

    def _deleted(self, rows: Rows) -> NDArray[np.bool_]:
        if self._config["mode"] == "delete":
            return np.ones(len(rows), bool)
        if DELETED_COLUMN not in rows.table.column_names:
            return np.zeros(len(rows), bool)
        return np.array(rows.table.column(DELETED_COLUMN).combine_chunks().is_valid())

    def _concerns_key(self, fault: Fault) -> bool:
        return fault.field is None or fault.field in self.mapped.key

    def _keys(self, cells: pa.Table) -> NDArray[np.uint64]:
        return key_prints([texts_of(cells, name) for name in self.mapped.key])

    def _group_of(self, rows: Rows) -> tuple[NDArray[np.intp], list[str], list[Fault]]:
        """Return each row's place in a list of group ids, and what is wrong with them."""
        column = self.mapped.group_column
        if column is None:
            group = self._workspace.group_ids(self._config["customer_group"])[0]
            return np.zeros(len(rows), np.intp), [group], []
        encoded = texts_of(rows.table, column).dictionary_encode()
        group_ids: list[str] = []
        place_of = [-1]
        for named in map(str, encoded.dictionary.to_pylist()):
            if named not in self._groups:
                self._groups[named] = self._resolve(named)
            group_id = self._groups[named]
            if group_id is None:
                place_of.append(-1)
                continue
            if group_id not in group_ids:
                group_ids.append(group_id)
            place_of.append(group_ids.index(group_id))
        indices = np.asarray(encoded.indices.fill_null(-1))
        groups = np.array(place_of, np.intp)[indices + 1]
        faults = [
            Fault(int(i), "no_group" if indices[i] < 0 else "unknown_group", None, column)
            for i in np.flatnonzero(groups < 0)
        ]
        return groups, group_ids, faults

    def _resolve(self, named: str) -> str | None:
        found = self._workspace.group_ids(named)
        if not found and named and self._config.get("create_missing_groups"):
            return self._workspace.create_group(named)
        return found[0] if len(found) == 1 else None

    def _work(self, group_id: str) -> GroupWork:
        if group_id not in self.works:
            self.works[group_id] = self._open_group(group_id)
        return self.works[group_id]

    # Rows that are not sent

    def _refuse(
        self,
        rows: Rows,
        checked: Checked,
        keys: NDArray[np.uint64],
        faults: Sequence[Fault],
        valid: NDArray[np.bool_],
    ) -> None:
        if not faults:
            return
        how = self._config["rejects_rows"]
        self._rejects.add(
            [
                Reject(
                    run_id=self._run_id,
                    stream=self.name,
                    row_number=rows.first + fault.row,
                    key=self._told_key(checked.cells, keys, fault.row),
                    code=fault.code,
                    field=fault.field,
                    column=fault.column,
                    message=MESSAGES[fault.code],
                    found_by="check",
                    retryable=False,
                    attempts=0,
                    batch=0,
                    row=written_row(rows.source(fault.row), how),
                )
                for fault in faults
            ]
        )
        self._outcomes.reasons.update(fault.code for fault in faults)
        self._outcomes.count("invalid", int((~valid).sum()))

    def _told_key(self, cells: pa.Table, keys: NDArray[np.uint64], row: int) -> str:
        if self._config["rejects_rows"] == "full":
            return "|".join(str(cells.column(name)[row].as_py() or "") for name in self.mapped.key)
        return f"{PRINT}{keys[row].tobytes().hex()}"

    # Uploads

    def finish(self) -> None:
        """Upload everything that waits, make sure of it, and delete whom rows say to delete.

        Raises:
            ReadBackError: when nobody can tell who is who.
        """
        for work in self.works.values():
            self._upload_all(work)
            if work.queued or work.doubted:
                self._confirm(work)
            if work.doomed:
                doomed, work.doomed = work.doomed, {}
                fate = self._delete(work, doomed, "explicit")
                self._reject_deletes(doomed, fate)
                self._outcomes.ended.update(fate.values())

    def _upload_all(self, work: GroupWork) -> None:
        waiting, work.ready = work.ready, {}
        for parts in waiting.values():
            whole = joined(parts)
            sizes = np.cumsum(np.asarray(pc.binary_length(whole.lines)) + 2)
            start = 0
            while start < len(whole):
                before = sizes[start - 1] if start else 0
                fits = int(np.searchsorted(sizes, before + self._most_bytes, side="right"))
                end = max(start + 1, min(fits, start + self._most_rows))
                self._deliver(work, whole.take(np.arange(start, end)))
                start = end

    def _deliver(self, work: GroupWork, ready: Ready) -> None:
        if self._workspace.dry_run:
            self._outcomes.count("planned", len(ready))
            return
        self._safe_point()
        self._batches += 1
        if work.lock:
            work.lock.renew()
        work.ledger.intend(ready.keys)
        verdict = Verdict(len(ready))
        first = self._config["server_validation"] == "before_upload"
        try:
            upload(self._sender(work.group_id, ready), verdict, validate_first=first)
        finally:
            self._settle(work, ready, verdict)
        if sum(map(len, work.queued)) > MOST_QUEUED:
            self._confirm(work)
        self._unanswered = self._unanswered + 1 if verdict.unknown else 0
        if self._unanswered >= OUTAGE:
            problem = f"{OUTAGE} uploads in a row got no sound answer"
            raise OutcomeUnknownError(problem, operation="upload_customers")

    def _sender(self, group_id: str, ready: Ready) -> Any:  # noqa: ANN401 (upload.Send)
        client, workspace_id = self._workspace.client, self._workspace.workspace_id

        def send(rows: NDArray[np.intp], *, validate_only: bool) -> Upload:
            customers: bytes | list[dict[str, Any]]
            if self._config["upload_encoding"] == "json":
                customers = ready.cells.take(rows).to_pylist()
            else:
                customers = csv_bytes(ready.names, taken(ready.lines, rows))
                if not validate_only:
                    self._outcomes.counts["bytes"] += len(customers)
            return client.upload_customers(
                workspace_id, group_id, customers, validate_only=validate_only
            )

        return send

    def _settle(self, work: GroupWork, ready: Ready, verdict: Verdict) -> None:
        """Make what is known durable, rejects before the ledger, and count it last."""
        refused = np.array(sorted(verdict.refused), np.intp)
        self._reject(ready, verdict)
        confirmed, unknown = places(verdict.confirmed), places(verdict.unknown)
        confirmed, doubted = self._to_verify(confirmed)
        queued = np.concatenate([places(verdict.queued), doubted])
        status = np.full(len(ready), books.UNCERTAIN, np.uint8)
        status[confirmed] = books.SENT
        codes = np.zeros(len(ready), np.uint8)
        for row, refusals in verdict.refused.items():
            if not refusals[0].retryable:
                status[row] = books.REJECTED
                codes[row] = work.ledger.code(refusals[0].code)
        work.ledger.record(
            books.new_entries(
                ready.keys,
                ready.prints,
                status,
                definitions=self._definitions,
                batch=self._batches,
                codes=codes,
            )
        )
        if len(queued):
            work.queued.append(ready.take(queued))
        if len(unknown):
            work.doubted.append(ready.take(unknown))
        self._outcomes.counts["uploads"] += verdict.uploads
        self._outcomes.count("sent", len(confirmed))
        self._outcomes.count("rejected", len(refused))

    def _reject(self, ready: Ready, verdict: Verdict) -> None:
        how = self._config["rejects_rows"]
        columns = {one.field.name: one.column for one in self.mapped.fields}
        rejects = []
        for row in sorted(verdict.refused):
            source = self._source(ready, row)
            for refusal in verdict.refused[row]:
                self._outcomes.reasons[refusal.code] += 1
                rejects.append(
                    Reject(
                        run_id=self._run_id,
                        stream=self.name,
                        row_number=int(ready.numbers[row]),
                        key=self._told_key(ready.cells, ready.keys, row),
                        code=refusal.code,
                        field=refusal.field if refusal.field in columns else None,
                        column=columns.get(refusal.field or ""),
                        message="The API does not take this row",
                        found_by=refusal.found_by,
                        retryable=refusal.retryable,
                        attempts=int(verdict.attempts[row]),
                        batch=self._batches,
                        row=written_row(source, how),
                    )
                )
        self._rejects.add(rejects)

    def _source(self, ready: Ready, row: int) -> dict[str, str | None]:
        """Return a row as it was read, without what it leaves alone."""
        left_alone = {one.column for one in self.mapped.fields if one.field.name not in ready.names}
        whole = Rows(ready.source.slice(row, 1), 1).source(0)
        return {name: text for name, text in whole.items() if name not in left_alone}

    # What is read back

    def seed(self) -> None:
        """Take for sent what the account holds.

        Raises:
            SettingsError: without the setting customer_group, or with encrypted fields.
        """
        group = self._config.get("customer_group")
        names = tuple(one.field.name for one in self.mapped.fields)
        secret = [name for name in names if self._workspace.fields[name].encrypted]
        if not group or secret:
            problem = f"The ledger cannot be seeded: {_why_not_seeded(secret)}"
            raise SettingsError(problem)
        group_id = self._workspace.group_ids(group)[0]
        ledger = self._work(group_id).ledger
        for page in held(self._workspace, group_id, self.mapped.key, names):
            ledger.record(
                books.new_entries(page.keys, page.prints, books.SENT, definitions=self._definitions)
            )
            self._outcomes.counts["seeded"] += len(page.keys)

    def _to_verify(self, confirmed: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Part rows that the API has confirmed into those believed and those to be read back."""
        most = {"none": 0, "sample": SAMPLE, "full": len(confirmed)}[self._config["verify"]]
        chosen = np.zeros(len(confirmed), bool)
        if most and len(confirmed):
            chosen[np.linspace(0, len(confirmed) - 1, min(most, len(confirmed)), dtype=int)] = True
        return confirmed[~chosen], confirmed[chosen]

    def _confirm(self, work: GroupWork) -> None:
        """Read back what the API has queued until it is there, and once what nobody knows of."""
        waiting, work.queued = work.queued, []
        doubted, work.doubted = self._look(work, work.doubted), []
        seconds = self._config["confirm_timeout_seconds"]
        deadline = time.monotonic() + seconds
        for attempt in count(1):
            waiting = self._look(work, waiting)
            if not waiting or time.monotonic() >= deadline:
                break
            self._workspace.client.transport.pause(min(attempt, 6))
        open_rows = sum(map(len, [*waiting, *doubted]))
        self._outcomes.count("unknown", open_rows)
        if open_rows:
            logger.error(
                "%s: %d rows that were uploaded are not in group %s as they were sent",
                self.name,
                open_rows,
                work.group_id,
            )

    def _look(self, work: GroupWork, waiting: Sequence[Ready]) -> list[Ready]:
        """Return what of some batches the account does not show yet."""
        left = [
            self._unconfirmed(work, joined([part for part in waiting if part.names == names]))
            for names in dict.fromkeys(part.names for part in waiting)
        ]
        return [part for part in left if len(part)]

    def _unconfirmed(self, work: GroupWork, part: Ready) -> Ready:
        """Record the rows that the account shows as they were sent, and return the others."""
        names = tuple(n for n in part.names if not self._workspace.fields[n].encrypted)
        expected = comparable_prints(part.cells, names)
        # Of several rows for one customer the last was sent last.
        place_of = {key.tobytes(): place for place, key in enumerate(part.keys)}
        there = np.zeros(len(part), bool)
        for page in held(self._workspace, work.group_id, self.mapped.key, names):
            self._safe_point()
            for key, found in zip(page.keys, page.prints, strict=True):
                place = place_of.get(key.tobytes())
                if place is not None:
                    there[place] = (found == expected[place]).all()
        last = np.array([place_of[key.tobytes()] for key in part.keys], np.intp)
        done = part.take(np.flatnonzero(there))
        work.ledger.record(
            books.new_entries(done.keys, done.prints, books.SENT, definitions=self._definitions)
        )
        self._outcomes.count("sent", int(there[last].sum()))
        return part.take(np.flatnonzero(~there[last]))

    # Deletes

    def _withdraw(self, work: GroupWork, keys: NDArray[np.uint64]) -> None:
        """Forget deletes of customers for whom a later row came."""
        if work.doomed:
            gone = [work.doomed.pop(key.tobytes(), None) for key in keys]
            self._outcomes.count("merged", sum(number is not None for number in gone))

    def _doom(self, work: GroupWork, keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        """Note customers to delete; of several rows for one, the last counts."""
        if not len(keys):
            return
        already = (work.ledger.find(keys)["status"] == books.DELETED) & ~np.array(
            [work.waits(keys[i : i + 1]) for i in range(len(keys))], bool
        )
        self._outcomes.count("unchanged", int(already.sum()))
        for key, number in zip(keys[~already], numbers[~already], strict=True):
            if work.doomed.pop(key.tobytes(), None) is not None:
                self._outcomes.count("merged", 1)
            work.doomed[key.tobytes()] = int(number)

    def mirror(self, *, trusted: bool) -> None:
        """Delete the customers that this ledger sent and that the whole table no longer has.

        Args:
            trusted: Whether the input is known to be the whole table.
        """
        doubt = self._mirror_doubt(trusted=trusted)
        for work in self.works.values():
            if work.ledger.lost:
                doubt = doubt or "its ledger was lost"
            gone = work.ledger.unseen()
            if not len(gone):
                continue
            if doubt:
                logger.warning(
                    "%s: nobody is deleted from group %s, because %s",
                    self.name,
                    work.group_id,
                    doubt,
                )
                continue
            keys = np.stack([gone["key"], gone["key_2"]], axis=1)
            fate = self._delete(work, {key.tobytes(): 0 for key in keys}, "mirror")
            self._outcomes.counts.update(f"mirror_{outcome}" for outcome in fate.values())

    def _mirror_doubt(self, *, trusted: bool) -> str:
        if not self._outcomes.read:
            return "no row came"
        if self.keyless:
            return f"{self.keyless} rows do not say whose they are"
        if not trusted:
            return (
                "the end of the input does not prove that the table was complete; "
                "mirror_trusts_end_of_input says that it does"
            )
        return ""

    def _delete(self, work: GroupWork, doomed: Mapping[bytes, int], why: str) -> dict[bytes, str]:
        """Delete customers by key and return the outcome of each key."""
        group = self._workspace.groups.get(work.group_id, {})
        if self._workspace.dry_run:
            self._outcomes.counts[f"{why}_deletes"] += len(doomed)
            return dict.fromkeys(doomed, "planned")
        ids, total = find_ids(self._workspace, work.group_id, self.mapped.key, doomed)
        found = [key for key in doomed if key in ids]
        work.deletes += len(found)
        logger.warning(
            "%s: %d of %d customers are to be deleted from group %s (%s)",
            self.name,
            len(found),
            total,
            group.get("name") or work.group_id,
            why,
        )
        if too_many(work.deletes, total, self._config):
            logger.error(
                "%s: that is more than max_delete_rows or max_delete_percent allow, so nobody is "
                "deleted",
                self.name,
            )
            self._outcomes.reasons["too_many_deletes"] += len(doomed)
            return dict.fromkeys(doomed, "rejected")
        self._safe_point()
        keys = np.frombuffer(b"".join(doomed), "<u8").reshape(-1, 2)
        work.ledger.intend(keys)
        result = delete_ids(self._workspace, work.group_id, [ids[key] for key in found])
        # Who is not there need not be deleted.
        fate = dict.fromkeys(doomed, "deleted") | dict(zip(found, result, strict=True))
        status = np.full(len(doomed), books.DELETED, np.uint8)
        status[[outcome != "deleted" for outcome in fate.values()]] = books.UNCERTAIN
        work.ledger.record(books.new_entries(keys, keys, status))
        self._outcomes.counts["already_gone"] += len(doomed) - len(found)
        return fate

    def _reject_deletes(self, doomed: Mapping[bytes, int], fate: Mapping[bytes, str]) -> None:
        """Write down whom rows said to delete and who was not."""
        self._rejects.add(
            [
                Reject(
                    run_id=self._run_id,
                    stream=self.name,
                    row_number=doomed[key],
                    key=f"{PRINT}{key.hex()}",
                    code="not_deleted",
                    field=None,
                    column=DELETED_COLUMN,
                    message=MESSAGES["not_deleted"],
                    found_by="delete",
                    retryable=True,
                    attempts=0,
                    batch=0,
                    row=None,
                )
                for key, outcome in fate.items()
                if outcome == "rejected"
            ]
        )


def _why_not_seeded(secret: Sequence[str]) -> str:
    if secret:
        return f"the API returns {', '.join(secret)} encrypted"
    return "customer_group must be set"
