"""What several streams read of an account, read once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from tap_nudgescribe.errors import AccessError, ApiError, LoginError, NotFoundError
from tap_nudgescribe.identities import Listing
from tap_nudgescribe.parallel import ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.envelopes import Row

T = TypeVar("T")

PROBES = 3
"""How many campaigns are asked before an account is said to lack the rerun operations."""


class Account:
    """Memoised reads of one account. What fails is not remembered.

    Args:
        client: The API.
        workspace_ids: Workspaces besides those that have campaigns.

    Attributes:
        had_reruns: Whether an earlier run has read runs: then a refusal of them is a failure.
    """

    had_reruns = False

    def __init__(self, client: NudgescribeClient, workspace_ids: Sequence[str] = ()) -> None:
        """Read nothing yet."""
        self.client = client
        self._workspace_ids = workspace_ids
        self._known: dict[tuple[str, str], object] = {}
        self._failed: dict[str, ApiError] = {}
        """Why the runs of a campaign could not be read ahead; told once, where they are needed."""

    # Rows without a usable identifier are in ``malformed`` of each list.

    def workspaces(self) -> Listing:
        """Return all workspaces, those of the setting ``workspace_ids`` last."""
        listed = self._once("workspaces", "", lambda: self.client.list_campaigns(partial=True))
        seen = {workspace["workspace_id"] for workspace in listed}
        named = dict.fromkeys(self._workspace_ids)
        further = [
            {"workspace_id": name, "campaigns": Listing()} for name in named if name not in seen
        ]
        return Listing([*listed, *further], listed.malformed)

    def campaigns(self) -> Listing:
        """Return all campaigns, each with its ``workspace_id``."""
        return campaigns_of(self.workspaces())

    def groups(self, workspace_id: str) -> Listing:
        """Return the customer groups of a workspace."""
        return self._once(
            "groups", workspace_id, lambda: self.client.list_groups(workspace_id, partial=True)
        )

    def fields(self, workspace_id: str) -> Listing:
        """Return the profile fields of a workspace."""
        return self._once(
            "fields", workspace_id, lambda: self.client.list_fields(workspace_id, partial=True)
        )

    def with_runs(self, campaigns: Iterable[Row]) -> Iterator[Row]:
        """Yield campaigns; the runs of the next ones are already being read, side by side."""
        return ordered_map(
            self._read_runs, campaigns, parallel=self.client.options.max_parallel_requests
        )

    def _read_runs(self, campaign: Row) -> Row:
        try:
            self.runs(campaign["campaign_id"])
        except ApiError as error:
            self._failed[campaign["campaign_id"]] = error
        return campaign

    def runs(self, campaign_id: str) -> list[Row]:
        """Return the runs of a campaign, oldest first."""
        if error := self._failed.pop(campaign_id, None):
            raise error
        return self._once(
            "runs",
            campaign_id,
            lambda: sorted(self.client.list_runs(campaign_id), key=lambda run: run["run_number"]),
        )

    def forget_campaigns(self) -> None:
        """Read campaigns and runs anew next time, after they were changed."""
        for key in [key for key in self._known if key[0] in {"workspaces", "runs"}]:
            del self._known[key]

    @cached_property
    def has_reruns(self) -> bool:
        """Whether the account has the rerun operations, which the vendor marks as Testing.

        An account lacks them if they are refused for each of the first campaigns, and no earlier
        run has had them.
        """
        if self.had_reruns:
            return True
        probed = self.campaigns()[:PROBES]
        for campaign in probed:
            try:
                self.runs(campaign["campaign_id"])
            except (AccessError, NotFoundError):
                continue
            except LoginError:
                raise
            except ApiError:
                return True  # whatever is wrong is reported where the campaign is read
            return True
        return not probed

    def _once(self, kind: str, name: str, read: Callable[[], T]) -> T:
        key = (kind, name)
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]  # type: ignore[return-value]


def campaigns_of(workspaces: Listing) -> Listing:
    """Return the campaigns in workspaces, each with its ``workspace_id``.

    A workspace that cannot be used is malformed here as well: its campaigns are not read.
    """
    campaigns = [
        {**campaign, "workspace_id": workspace["workspace_id"]}
        for workspace in workspaces
        for campaign in workspace["campaigns"]
    ]
    inner = (each for workspace in workspaces for each in workspace["campaigns"].malformed)
    return Listing(campaigns, [*workspaces.malformed, *inner])
