"""``--check``: log in, try every read once, and hold the answers against the contract."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.contract import record_properties
from tap_nudgescribe.envelopes import NAME, told
from tap_nudgescribe.errors import ApiError, ContractError, LoginError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.envelopes import Row


@dataclass(frozen=True)
class Finding:
    """How one operation went."""

    operation: str
    works: bool | None
    """None when there was nothing to try it on."""
    remark: str = ""


def check(account: Account) -> int:
    """Print a table of all reads on stderr and return the exit code: 0 when all that ran works.

    Keys are named, values never.
    """
    findings = list(_Walk(account).findings())
    width = max(len(finding.operation) for finding in findings)
    for finding in findings:
        mark = {True: "works", False: "FAILS", None: "not tried"}[finding.works]
        print(f"{finding.operation:<{width}}  {mark:<9}  {finding.remark}", file=sys.stderr)  # noqa: T201 (a report)
    return int(any(finding.works is False for finding in findings))


class _Walk:
    """One walk through all reads, each fed by what the ones before it found."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        """Try every read once."""
        client = self._account.client
        try:
            client.authenticator.session()
        except ApiError as error:
            return [Finding("login", works=False, remark=str(error))]
        self._findings.append(Finding("login", works=True))
        workspaces = self._rows("list_campaigns", "Workspace", self._account.workspaces)
        campaigns = [c for w in workspaces or () for c in w["campaigns"]]
        self._compare("list_campaigns", "Campaign", campaigns)
        workspace: Any = workspaces[0]["workspace_id"] if workspaces else None
        groups = self._rows(
            "list_groups", "CustomerGroup", workspace and (lambda: client.list_groups(workspace))
        )
        self._rows(
            "list_fields", "ProfileField", workspace and (lambda: client.list_fields(workspace))
        )
        group: Any = groups[0]["customer_group_id"] if groups else None
        pages = self._try(
            "count_customer_pages",
            group and (lambda: client.count_customer_pages(workspace, group)),
        )
        self._rows(
            "list_customers",
            "Customer",
            pages and (lambda: client.list_customers(workspace, group, 1)),
        )
        campaign = campaigns[0]["campaign_id"] if campaigns else None
        self._rows("list_runs", "Run", campaign and (lambda: client.list_runs(campaign)))
        self._rows(
            "list_run_messages",
            "RunMessage",
            campaign and (lambda: client.list_run_messages(campaign)),
        )
        published: Any = next((c["campaign_id"] for c in campaigns if c.get("published_at")), None)
        files = self._try(
            "count_message_files", published and (lambda: client.count_message_files(published))
        )
        self._try("fetch_message_file", files and (lambda: client.message_file_url(published, 1)))
        return self._findings

    def _try(self, operation: str, read: Any, component: str = "") -> Any:  # noqa: ANN401
        if not callable(read):
            self._findings.append(Finding(operation, works=None, remark="nothing to try it on"))
            return None
        try:
            answer = read()
        except LoginError:
            raise
        except ApiError as error:
            remark = str(error)
            if isinstance(error, ContractError) and component:
                known = set(record_properties(component))
                remark += proposal(known - error.keys, error.keys - known)
            self._findings.append(Finding(operation, works=False, remark=remark))
            return None
        self._findings.append(Finding(operation, works=True))
        return answer

    def _rows(self, operation: str, component: str, read: Any) -> list[Row] | None:  # noqa: ANN401
        rows: list[Row] | None = self._try(operation, read, component)
        if rows:
            self._compare(operation, component, rows)
        return rows

    def _compare(self, operation: str, component: str, rows: list[Row]) -> None:
        """Add what differs from the contract to the operation's finding."""
        known = set(record_properties(component))
        seen = {key for row in rows for key in row} - {"workspace_id"}
        missing, unknown = known - seen - {"workspace_id"}, seen - known
        if not rows or not (missing or unknown):
            return
        remarks = []
        if missing:
            remarks.append(f"without {', '.join(sorted(missing))}")
        if unknown:
            remarks.append(f"with unknown {told(unknown)}")
        remark = "; ".join(remarks) + proposal(missing, unknown)
        self._findings.append(Finding(f"{operation} ({component})", works=True, remark=remark))


def proposal(missing: Collection[str], unknown: Collection[str]) -> str:
    """Return the ``wire_names`` that would mend an answer, as the end of a remark; often none.

    A name is proposed where it is much like a missing one, or shortens it: ``cg_id`` for
    ``customer_group_id``.
    """
    names = {}
    others = sorted(filter(NAME.fullmatch, unknown))
    for name in sorted(missing):
        close = get_close_matches(name, others, n=1, cutoff=0.5)
        short = [other for other in others if _shortens(other, name)]
        if found := short or close:
            names[name] = found[0]
    return f"; try wire_names {names}" if names else ""


def _shortens(short: str, name: str) -> bool:
    """Say whether a name has the same end as another and letters of each of its words."""
    words, shorter = name.split("_"), short.split("_")
    initials = "".join(word[0] for word in words[:-1])
    return len(words) > 1 and words[-1] == shorter[-1] and initials == "".join(shorter[:-1])
