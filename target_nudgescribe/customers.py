"""Take in the rows of one stream of customers: who is sent, who is not, who is to go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from tap_nudgescribe.errors import SettingsError
from target_nudgescribe import deletes, readback
from target_nudgescribe import ledger as books
from target_nudgescribe.batches import GroupWork, Ready, by_fields, last_of_each_key, taken
from target_nudgescribe.delete_marker import UNREADABLE, read_markers
from target_nudgescribe.delivery import Delivery
from target_nudgescribe.mapping import DELETED_COLUMN, Problem
from target_nudgescribe.preflight import PreflightError
from target_nudgescribe.prepared import Prepared, Printed, prepare
from target_nudgescribe.rejects import Reject, written_row
from target_nudgescribe.rows import Rows, texts_of
from target_nudgescribe.validation import MESSAGES, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from target_nudgescribe.route import Route


logger = logging.getLogger("target-nudgescribe")


class CustomerStream:
    """The way of one stream's rows into the account.

    A row is prepared, which is a pure function; taken in, where the ledger says whether it is
    needed; delivered with others of its group and fields; and, if the API has not confirmed it,
    read back.

    Args:
        route: From the stream to the account.
        open_group: Returns what waits for a group, with its ledger.
        is_known: Says whether a group has a ledger of this stream.
        take_in_all: Takes in the rows of all streams that have come: what another stream of a
            group is about to send must not be deleted.
    """

    def __init__(
        self,
        route: Route,
        *,
        open_group: Callable[[str], GroupWork],
        is_known: Callable[[str], bool],
        take_in_all: Callable[[], object] = lambda: None,
    ) -> None:
        """Send nothing yet."""
        self.works: dict[str, GroupWork] = {}
        self.keyless = 0
        """Rows whose customer is not known: with any, nobody can say who is missing."""
        self._route = route
        self._open_group = open_group
        self._is_known = is_known
        self._take_in_all = take_in_all
        self._delivery = Delivery(route)
        self._held = readback.HeldCustomers(route)
        self._groups: dict[str, str] = {}
        self._groups_revision = 0
        self._key_changed = False

    def follow(self, earlier: CustomerStream) -> None:
        """Take over what came under an earlier SCHEMA of the stream."""
        self.works = earlier.works
        self.keyless = earlier.keyless
        others = earlier._route.mapped.key != self._route.mapped.key
        self._key_changed = earlier._key_changed or (bool(self.works) and others)
        for work in self.works.values():
            work.ledger.describe(self._route.mapped.key, self._written)

    # Rows come in

    def prepare(self, rows: Rows) -> Prepared:
        """Find out what needs no order: in any thread."""
        return prepare(rows, self._route.mapped, self._route.hashing)

    def absorb(self, prepared: Prepared) -> None:
        """Keep rows that the account does not have yet; upload them when they are enough.

        Raises:
            ApiError: when an upload cannot go on.
        """
        rows, checked, keys = prepared.rows, prepared.checked, prepared.keys
        outcomes = self._route.outcomes
        outcomes.read += len(rows)
        outcomes.counts["rounded"] += sum(checked.rounded.values())
        outcomes.counts["ambiguous_years"] += checked.ambiguous
        markers = read_markers(rows, all_deleted=self._route.config["mode"] == "delete")
        deleted = markers.deleted
        faults = [f for f in checked.faults if not deleted[f.row] or self._concerns_key(f)]
        groups, group_ids, group_faults = self._group_of(rows)
        faults += group_faults
        keyless = {fault.row for fault in faults if self._concerns_key(fault)}
        faults += [
            Fault(int(row), UNREADABLE, None, DELETED_COLUMN)
            for row in np.flatnonzero(markers.unreadable)
        ]
        valid = np.ones(len(rows), bool)
        valid[[fault.row for fault in faults]] = False
        self.keyless += len(keyless)
        self._refuse(prepared, faults, valid)
        for work in self.works.values():
            work.ledger.hold()
        for number, group_id in enumerate(group_ids):
            places = np.flatnonzero(valid & (groups == number))
            wrong = np.flatnonzero(~valid & (groups == number))
            work = self._work(group_id)
            # A customer whose row is wrong is in the source all the same: mark the key as seen.
            known = work.ledger.find(keys[wrong])
            if len(wrong) and work.siblings.exist:
                claimed = wrong[(known["status"] == 0) & ~np.isin(wrong, list(keyless))]
                nothing = np.zeros((len(claimed), 2), np.uint64)
                work.ledger.record(books.new_entries(keys[claimed], nothing, books.REJECTED))
            if len(places):
                self._absorb_group(work, prepared, places, deleted)

    def _absorb_group(
        self,
        work: GroupWork,
        prepared: Prepared,
        places: NDArray[np.intp],
        deleted: NDArray[np.bool_],
    ) -> None:
        route, rows, keys = self._route, prepared.rows, prepared.keys
        last, checked = last_of_each_key(prepared.checked, keys, places)
        route.outcomes.count("merged", len(places) - len(last))
        doomed, kept = last[deleted[last]], last[~deleted[last]]
        deletes.withdraw(route, work, keys[kept])
        if len(doomed):
            columns = [texts_of(prepared.checked.cells, name) for name in route.mapped.key]
            folded = route.hashing.folded_keys([taken(column, doomed) for column in columns])
            deletes.doom(route, work, keys[doomed], folded, rows.first + doomed)
        if work.waits(keys[kept]):
            # An older row of a customer must be there before a newer one is sent.
            self._delivery.deliver(work)
            self._delivery.confirm(work)
        for names, among in by_fields(checked, kept):
            if prepared.printed:
                printed = prepared.printed.take(among)
            else:
                printed = Printed.of(taken(checked.cells, among), names, route.hashing)
            fresh = self._fresh(work, keys[among], printed)
            if len(fresh):
                chosen, new = among[fresh], printed.take(fresh)
                ready = Ready(
                    names,
                    new.lines,
                    new.cells,
                    keys[chosen],
                    new.prints,
                    rows.first + chosen,
                    taken(rows.table, chosen),
                )
                work.ready.setdefault(names, []).append(ready)
        config = route.config
        if work.rows >= config["batch_size_rows"] or work.bytes >= config["batch_size_bytes"]:
            self._delivery.deliver(work)

    def _fresh(
        self, work: GroupWork, keys: NDArray[np.uint64], printed: Printed
    ) -> NDArray[np.intp]:
        """Return the places of rows that the account does not have, as far as anyone knows."""
        route, prints, names = self._route, printed.prints, printed.cells.column_names
        known = work.ledger.find(keys)
        same = (known["row"] == prints[:, 0]) & (known["row_2"] == prints[:, 1])
        unchanged = same & np.isin(known["status"], books.UNCHANGED_STATUSES)
        if readback.verifying(route) == "full":
            there = self._held.has(work.group_id, keys, printed.cells)
            route.outcomes.counts["drifted"] += int((unchanged & ~there).sum())
            unchanged &= there
        if unchanged.any() and work.siblings.exist:
            places = np.flatnonzero(unchanged)
            overwritten = work.siblings.overwrote(known[places], names, route.mapped.key)
            unchanged[places[overwritten]] = False
            route.outcomes.counts["overwritten"] += int(overwritten.sum())
        self._claim(work, known[unchanged & (known["status"] == books.SEEDED)])
        quarantined = (
            np.full(len(same), not route.replaying)
            & same
            & np.isin(known["status"], (books.REJECTED, books.OUTDATED))
            & (known["definitions"] == route.definitions)
        )
        route.outcomes.count("unchanged", int(unchanged.sum()))
        route.outcomes.count("rejected", int(quarantined.sum()))
        route.outcomes.counts["quarantined"] += int(quarantined.sum())
        for code in known["code"][quarantined].tolist():
            route.outcomes.reasons[work.ledger.codes[code]] += 1
        fresh = ~(unchanged | quarantined)
        new = int((fresh & (known["status"] == 0)).sum())
        route.outcomes.counts["new"] += new
        route.outcomes.counts["changed"] += int(fresh.sum()) - new
        return np.flatnonzero(fresh)

    @staticmethod
    def _claim(work: GroupWork, seeded: NDArray[np.void]) -> None:
        """Note that the stream has the rows of customers with whom the ledger was seeded."""
        if len(seeded):
            seeded["status"], seeded["seen"] = books.CLAIMED, True
            work.ledger.record(seeded)

    def _concerns_key(self, fault: Fault) -> bool:
        return fault.field is None or fault.field in self._route.mapped.key

    def _group_of(self, rows: Rows) -> tuple[NDArray[np.intp], list[str], list[Fault]]:
        """Return each row's place in a list of group ids, and what is wrong with them."""
        route = self._route
        if self._groups_revision != route.workspace.groups_revision:
            self._groups.clear()
            self._groups_revision = route.workspace.groups_revision
        column = route.mapped.group_column
        if column is None:
            group = self._resolve(route.config["customer_group"])
            if group is not None:
                return np.zeros(len(rows), np.intp), [group], []
            # A record of this run has renamed or deleted it.
            faults = [Fault(row, "unknown_group", None, None) for row in range(len(rows))]
            return np.full(len(rows), -1, np.intp), [], faults
        encoded = texts_of(rows.table, column).dictionary_encode()
        group_ids: list[str] = []
        place_of, codes = [-1], ["no_group"]
        nameless = rows.nameless.get(column, ())
        named_by = np.array(encoded.indices.fill_null(-1))
        named_by[list(nameless)] = -1
        used = set(named_by.tolist())
        for number, named in enumerate(map(str, encoded.dictionary.to_pylist())):
            group_id = self._resolve(named) if number in used else None
            codes.append("unknown_group" if named.strip() else "no_group")
            if group_id is None:
                place_of.append(-1)
                continue
            if group_id not in group_ids:
                group_ids.append(group_id)
            place_of.append(group_ids.index(group_id))
        groups = np.array(place_of, np.intp)[named_by + 1]
        odd = set(np.asarray(nameless).tolist())
        faults = [
            Fault(i, "not_a_group" if i in odd else codes[named_by[i] + 1], None, column)
            for i in np.flatnonzero(groups < 0).tolist()
        ]
        return groups, group_ids, faults

    def _resolve(self, named: str) -> str | None:
        """Return the id of the one group that a text names, if there is one."""
        if named not in self._groups:
            workspace = self._route.workspace
            found = workspace.group_ids(named)
            if not found and named.strip() and self._route.config.get("create_missing_groups"):
                found = [workspace.create_group(named)]
            if len(found) != 1:
                return None
            self._groups[named] = found[0]
        return self._groups[named]

    def _work(self, group_id: str) -> GroupWork:
        if group_id not in self.works:
            work = self._open_group(group_id)
            self._compare_with_others(work)
            self.works[group_id] = work
        return self.works[group_id]

    def open(self) -> None:
        """Look at the other streams of the group, where deletes depend on them.

        Raises:
            PreflightError: when nobody can say whom they contain.
        """
        if self._deletes_in_one_group:
            self._work(self._route.workspace.group_ids(self._route.config["customer_group"])[0])

    @property
    def _deletes_in_one_group(self) -> bool:
        route = self._route
        return route.mapped.group_column is None and route.config["mode"] in {"mirror", "delete"}

    @property
    def _written(self) -> Sequence[str]:
        """The fields that rows write, and the key; a row that deletes has no other."""
        route = self._route
        return route.mapped.key if route.config["mode"] == "delete" else route.names

    def _compare_with_others(self, work: GroupWork) -> None:
        """Refuse deletes, or warn, where other streams of a group cannot be compared with this."""
        route = self._route
        key = route.mapped.key
        work.ledger.describe(key, self._written)
        # What this run sends is later than what they have sent, though the clocks differ.
        work.ledger.earliest = work.siblings.latest + 1
        others = work.siblings.incomparable(key)
        if len(work.ledger.keys) > 1:
            others.append(route.name)
        if others:
            problem = Problem(
                "other_identifier",
                f"Group {work.group_id} is sent to by {', '.join(sorted(others))} as well, with "
                f"another identifier than {', '.join(key)}, or one that its ledger does not tell: "
                "nobody can say whose customers would be deleted",
                "Use one identifier for all streams of the group and run each once; remove the "
                f"ledger of a stream that is no more, in {work.siblings.uri}",
            )
            if self._deletes_in_one_group:
                raise PreflightError(route.name, [problem])
            logger.warning("%s: %s", route.name, problem)
        if route.mapped.group_column is None:
            for name, fields in work.siblings.shared_fields(self._written, key).items():
                logger.warning(
                    "%s: the stream %s sends %s to group %s as well: each overwrites the other, "
                    "and each run sends the customers of both again",
                    route.name,
                    name,
                    ", ".join(fields),
                    work.group_id,
                )

    # Rows that are not sent

    def _refuse(
        self, prepared: Prepared, faults: Sequence[Fault], valid: NDArray[np.bool_]
    ) -> None:
        if not faults:
            return
        route, rows = self._route, prepared.rows
        route.rejects.add(
            [
                Reject(
                    run_id=route.run_id,
                    stream=route.name,
                    row_number=rows.first + fault.row,
                    key=route.told_key(prepared.checked.cells, prepared.keys, fault.row),
                    code=fault.code,
                    field=fault.field,
                    column=fault.column,
                    message=MESSAGES[fault.code],
                    found_by="check",
                    retryable=False,
                    attempts=0,
                    batch=0,
                    row=written_row(rows.record(fault.row), route.config["rejects_rows"]),
                )
                for fault in faults
            ]
        )
        route.outcomes.reasons.update(fault.code for fault in faults)
        route.outcomes.count("invalid", int((~valid).sum()))

    # How a stream ends

    def finish(self) -> None:
        """Upload everything that waits, make sure of it, and delete whom rows say to delete.

        Raises:
            ReadBackError: when nobody can tell who is who.
        """
        if any(work.doomed for work in self.works.values()):
            self._take_in_all()
        for work in list(self.works.values()):
            self._delivery.deliver(work)
            if work.queued or work.doubted:
                self._delivery.confirm(work)
            deletes.delete_doomed(self._route, work)

    def mirror(self, *, trusted: bool, incremental: bool, missing: Sequence[str] = ()) -> None:
        """Delete the customers that this stream sent once and that the whole table no longer has.

        Where a column says which group a row belongs to, a group that the table no longer names
        has lost all its rows: its customers go too, within the same bounds. So runs of one stream
        that bring some groups each need a ``state_uri`` of their own. A setting that names one
        group says nothing about the others.

        Args:
            trusted: Whether the input is known to be the whole table.
            incremental: Whether the tap has said, perhaps late, that it sends changes only.
            missing: The tap's streams that belong to this one and did not come.
        """
        doubt = self._mirror_doubt(trusted=trusted, missing=missing)
        refusal = ""
        if incremental:
            refusal = "mirror_incremental"
        elif self._key_changed:
            refusal = "mirror_key_changed"
        if self._route.mapped.group_column is not None and not doubt:
            for group_id in filter(self._is_known, self._route.workspace.groups):
                self._work(group_id)
        deletes.mirror(self._route, self.works.values(), doubt, refusal)

    def _mirror_doubt(self, *, trusted: bool, missing: Sequence[str]) -> str:
        if not self._route.outcomes.read:
            return "no row came"
        if missing:
            return f"stream_maps lead {', '.join(missing)} here as well, which did not come"
        if self.keyless:
            return f"{self.keyless} rows do not say whose they are"
        if not trusted:
            return (
                "the end of the input does not prove that the table was complete; "
                "mirror_trusts_end_of_input says that it does"
            )
        return ""

    def seed(self) -> None:
        """Take for sent what the account holds.

        Raises:
            SettingsError: without the setting customer_group, or with encrypted fields.
        """
        group = self._route.config.get("customer_group")
        if not group:
            problem = "The ledger cannot be seeded: customer_group must be set"
            raise SettingsError(problem)
        group_id = self._route.workspace.group_ids(group)[0]
        readback.seed(self._route, group_id, self._work(group_id).ledger)
