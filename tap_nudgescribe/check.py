"""``--check``: log in, try every read once, and hold the answers against the contract.

Where keys have other names, a name is proposed and used at once, so that what needs it is tried as
well. All proposals together are one value for ``wire_names``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tap_nudgescribe.account import campaigns_of
from tap_nudgescribe.contract import operations
from tap_nudgescribe.envelopes import told
from tap_nudgescribe.errors import (
    ApiError,
    BadRequestError,
    ContractError,
    LoginError,
    MissingFieldsError,
    NotFoundError,
)
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.message_proof import Begun, FileProof
from tap_nudgescribe.message_sources import ApiSource, Run
from tap_nudgescribe.naming import propose
from tap_nudgescribe.outline import Outline, ShapesFile
from tap_nudgescribe.printable import printable
from tap_nudgescribe.proposals import Proposals
from tap_nudgescribe.structure import keys_of
from tap_nudgescribe.wire_names import object_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.contract import Shape
    from tap_nudgescribe.envelopes import Row
    from tap_nudgescribe.structure import Keys
    from tap_nudgescribe.wire_names import Place

T = TypeVar("T")

MAX_ROUNDS = 4
"""How often an operation is read again with names that its answer has led to."""

IGNORED = "The request's key run_number probably has another name."

PAGE_IGNORED = (
    "The request's key page probably has another name: set wire_names to its name in the vendor's "
    'reference, such as {"page": "page_number"}.'
)

SAME_PAGE = "The page is ignored: pages 1 and 2 hold the same customers"

MAX_COUNTED = 5
"""Campaigns whose files are counted to find one with several."""

MARKS = {True: "works", False: "FAILS", None: "not tried"}


@dataclass
class Finding:
    """How one operation went.

    Attributes:
        works: None when there was nothing to try it on.
        remarks: What a person should know of it, a line each. Keys are named, values never.
    """

    operation: str
    works: bool | None
    remarks: list[str] = field(default_factory=list)


def check(account: Account, shapes: str | None = None) -> int:
    """Print a table of all reads on stdout and return the exit code: 0 when all that ran works.

    After the table comes one value for ``wire_names`` where names differ. Keys are named, values
    never.

    Args:
        account: What to read.
        shapes: File for the outlines of all answers.

    Raises:
        SettingsError: when that file cannot be written.
    """
    file = ShapesFile(shapes) if shapes else None
    walk = Walk(account)
    walk.run()
    if file:
        file.write(walk.outlines, {finding.operation: finding.works for finding in walk.findings})
    _print_table(walk.findings)
    if walk.proposals.changed:
        print()  # noqa: T201 (a report)
        print("Set wire_names to this, look at each name, and run --check again:")  # noqa: T201
        print(json.dumps(walk.proposals.value(), sort_keys=True))  # noqa: T201
    return int(any(finding.works is False for finding in walk.findings))


def _print_table(findings: list[Finding]) -> None:
    width = max(len(finding.operation) for finding in findings)
    for finding in findings:
        first, *others = finding.remarks or [""]
        row = f"{finding.operation:<{width}}  {MARKS[finding.works]:<9}  {first}"
        print(printable(row.rstrip()))  # noqa: T201
        for remark in others:
            print(" " * (width + 13) + printable(remark))  # noqa: T201


class Walk:
    """One walk through all reads, each fed by what the ones before it found."""

    def __init__(self, account: Account) -> None:
        """Try nothing yet."""
        self._account = account
        self._client = account.client
        self._client.inspect = self._inspect
        self._answers: dict[str, Any] = {}
        self.outlines: dict[str, Outline] = {}
        """What the answers of each operation were like, when it was last tried."""
        self.findings: list[Finding] = []
        self.proposals = Proposals(self._client.wire.names)

    def run(self) -> None:
        """Try every read once."""
        try:
            self._run()
        except LoginError as error:
            self.findings.append(Finding("login", works=False, remarks=[str(error)]))

    def _run(self) -> None:
        client = self._client
        if self._try("login", client.authenticator.session) is None:
            return
        workspaces = self._try("list_campaigns", self._workspaces) or Listing()
        listing, campaigns = self.findings[-1], campaigns_of(workspaces)
        for malformed in campaigns.malformed:
            _fails(listing, malformed.error)
        self._try_workspace(workspaces[0]["workspace_id"] if workspaces else None)
        campaign = max(campaigns, key=_run_number)["campaign_id"] if campaigns else ""
        runs = self._try("list_runs", campaign and (lambda: client.list_runs(campaign)))
        number = runs[-1]["run_number"] if runs else None
        self._try(
            "list_run_messages",
            campaign and (lambda: self._run_messages(campaign, number)),
            sent=["run_number"] if runs else [],
        )
        published = [c["campaign_id"] for c in campaigns if _is_published(c)][:MAX_COUNTED]
        counted = self._try(
            "count_message_files", published and (lambda: self._most(published))
        ) or (0, "")
        self._try("fetch_message_file", counted[0] and (lambda: self._files(*counted)))

    def _try_workspace(self, workspace: Any) -> None:  # noqa: ANN401
        client = self._client
        groups = self._try("list_groups", workspace and (lambda: client.list_groups(workspace)))
        self._try("list_fields", workspace and (lambda: client.list_fields(workspace)))
        group = max(groups, key=_customer_count)["customer_group_id"] if groups else ""
        pages = self._try(
            "count_customer_pages",
            group and (lambda: client.count_customer_pages(workspace, group)),
        )
        self._try(
            "list_customers", pages and (lambda: self._customers(workspace, group, pages or 0))
        )

    def _workspaces(self) -> Listing:
        self._account.forget_campaigns()
        return self._account.workspaces()

    def _customers(self, workspace: str, group: str, pages: int) -> Listing:
        """Return a page of customers, if the API heeds which one is asked for."""
        rows = self._client.list_customers(workspace, group, 1)
        if pages > 1:
            others = self._client.list_customers(workspace, group, 2)
            if [row["customer_id"] for row in rows] == [row["customer_id"] for row in others]:
                raise BadRequestError(SAME_PAGE, operation="list_customers", advice=PAGE_IGNORED)
        return rows

    def _most(self, campaigns: list[str]) -> tuple[int, str]:
        """Return the number of files of a campaign with several of them, or of any."""
        most = (0, "")
        for campaign in campaigns:
            most = max(most, (self._client.count_message_files(campaign), campaign))
            if most[0] > 1:
                break
        return most

    def _files(self, files: int, campaign: str) -> str:
        """Return a file's URL, if the API heeds which one is asked for."""
        url = self._client.message_file_url(campaign, 1)
        source, run = ApiSource(self._client), Run(campaign, 1, current=True)
        if files > 1:
            with Begun(source.open(run, 2)) as file:
                try:
                    FileProof(source).check(run, 2, file.beginning)
                except ContractError as error:
                    problem = f"The page is ignored: {error.problem}"
                    raise BadRequestError(
                        problem, operation="fetch_message_file", advice=PAGE_IGNORED
                    ) from None
        return url

    def _run_messages(self, campaign: str, number: int | None) -> list[Row]:
        """Return the messages of the oldest run, if the API heeds which one is asked for."""
        rows = self._client.list_run_messages(campaign, number)
        numbers = {str(row.get("run_number")) for row in rows} - {"None"}
        if number is not None and numbers - {str(number)}:
            problem = "The answer has messages of other runs than the one that was asked for"
            raise BadRequestError(problem, operation="list_run_messages", advice=IGNORED)
        return rows

    def _inspect(self, operation: str, answer: Any) -> None:  # noqa: ANN401
        self._answers[operation] = answer
        outline = self.outlines.setdefault(operation, Outline())
        outline.add(answer, operations()[operation].answer, self._names_of(operation))

    def _try(
        self,
        operation: str,
        read: Callable[[], T] | object,
        *,
        sent: Iterable[str] = (),
    ) -> T | None:
        """Read once, and again with each set of names that the answer leads to.

        Args:
            operation: What is read.
            read: Reads it; anything that cannot be called when there is nothing to try it on.
            sent: Keys of the request beside those that every request has.
        """
        if not callable(read):
            remarks = ["there is nothing to try it on"]
            self.findings.append(Finding(operation, works=None, remarks=remarks))
            return None
        finding = Finding(operation, works=True)
        self.findings.append(finding)
        keys = {*operations()[operation].required, *sent}
        noted: set[str] = set()
        result: T | None = self._attempt(finding, read, keys)
        for _ in range(MAX_ROUNDS):
            if not self._compare(operation, finding, noted):
                break
            result = self._attempt(finding, read, keys)
        return result

    def _attempt(self, finding: Finding, read: Callable[[], T], keys: set[str]) -> T | None:
        """Read; where the request is refused, read with other names of its keys."""
        operation = finding.operation
        self._answers.pop(operation, None)
        self.outlines.pop(operation, None)
        try:
            result = read()
        except LoginError:
            self.findings.remove(finding)
            raise
        except (MissingFieldsError, BadRequestError, NotFoundError) as error:
            _fails(finding, error)
            return self._attempt_otherwise(finding, read, keys)
        except ApiError as error:
            _fails(finding, error)
            return None
        self.proposals.confirm_request(operation, keys)
        return result

    def _attempt_otherwise(
        self, finding: Finding, read: Callable[[], T], keys: set[str]
    ) -> T | None:
        """Read with names that answers have for the same keys, where there are such."""
        operation = finding.operation
        for names in self.proposals.request_alternatives(operation, keys):
            before, wire = self._client.wire, self.proposals.with_request(operation, names)
            if wire is None:
                continue
            self._client.wire = wire
            result: T | None = None
            try:
                result = read()
            except ContractError:
                pass  # the request is taken; the answer is looked at next
            except ApiError:
                self._client.wire = before
                continue
            self.proposals.accept(wire)
            self.proposals.confirm_request(operation, keys)
            finding.remarks.append(f"request: likely {_pairs(names)}")
            return result
        return None

    def _compare(self, operation: str, finding: Finding, noted: set[str]) -> bool:
        """Note what differs from the contract; return whether there are names to try."""
        if operation not in self._answers:
            return False
        shape = operations()[operation].answer
        changed = False
        for keys in keys_of(shape, self._answers[operation], self._names_of(operation)):
            place = object_place(operation, keys.shape.component, tuple(keys.shape.properties))
            missing, unknown = _differences(keys, place.names(self.proposals.names))
            self.proposals.observe(place, set(keys.types))
            names = propose(keys.shape, missing, {key: keys.types[key] for key in unknown})
            wire = self.proposals.with_names(place, names)
            if missing & set(keys.shape.schema.get("required", ())):
                finding.works = False
            if (missing or unknown) and place.label not in noted:
                noted.add(place.label)
                _note(finding, place, missing, unknown, names)
            if wire:
                self.proposals.accept(wire)
                self._client.wire = wire
                self.proposals.observe(place, set(keys.types))
                changed = True
        return changed

    def _names_of(self, operation: str) -> Callable[[Shape], Mapping[str, str]]:
        def names_of(shape: Shape) -> Mapping[str, str]:
            place = object_place(operation, shape.component, tuple(shape.properties))
            return place.names(self.proposals.names)

        return names_of


def _fails(finding: Finding, error: ApiError) -> None:
    finding.works = False
    # Its advice is to do what is being done.
    of_names = isinstance(error, ContractError | MissingFieldsError)
    remark = f"{error.problem}." if of_names else " ".join([f"{error.problem}.", error.advice])
    if remark not in finding.remarks:
        finding.remarks.append(remark)


def _run_number(campaign: Row) -> int:
    number = campaign.get("run_number")
    return number if isinstance(number, int) else 0


def _is_published(campaign: Row) -> bool:
    status = str(campaign.get("status") or "").lower()
    return bool(campaign.get("published_at")) or status == "published"


def _customer_count(group: Row) -> int:
    count = group.get("customer_count")
    return count if isinstance(count, int) else 0


def _differences(keys: Keys, names: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return keys of ours that no object has, and keys of the account that we do not know."""
    known = {names.get(key, key): key for key in keys.shape.properties}
    missing = {key for name, key in known.items() if name not in keys.types}
    return missing, keys.types.keys() - known.keys()


def _note(
    finding: Finding, place: Place, missing: set[str], unknown: set[str], names: Mapping[str, str]
) -> None:
    """Add what differs in an object to a finding."""
    parts = []
    if missing:
        parts.append(f"without {', '.join(sorted(missing))}")
    if unknown:
        parts.append(f"unknown {told(unknown)}")
    if names:
        parts.append(f"likely {_pairs(names)}")
    finding.remarks.append(f"{place.label}: {'; '.join(parts)}")


def _pairs(names: Mapping[str, str]) -> str:
    return ", ".join(f"{wire} for {ours}" for ours, wire in sorted(names.items()))
