"""An account's message files in a bucket, as its exports put them there."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from campaign.bucket import Bucket
    from tests.sandbox import Account
    from tests.sandbox.files import MessageFile

NAMES = ("page-{}.csv", "page-{}.csv.gz", "part-{:05d}.csv")
"""How files are named; the last one counts from 0."""


@dataclass
class Exports:
    """The files that an account has exported by now.

    Attributes:
        name: One of :data:`NAMES`.
    """

    account: Account
    bucket: Bucket
    name: str
    _there: dict[str, MessageFile] = field(default_factory=dict)

    def export(self) -> set[str]:
        """Bring the bucket up to date; return the keys that are new."""
        with self.account.lock:
            wanted = self._wanted()
            for key in self._there.keys() - wanted.keys():
                self.bucket.delete(key)
            fresh = {key for key, file in wanted.items() if self._there.get(key) != file}
            for key in fresh:
                content = wanted[key].content()
                packed = gzip.compress(content, 1) if key.endswith(".gz") else content
                self.bucket.put(key, packed)
            self._there = wanted
        return fresh

    def _wanted(self) -> dict[str, MessageFile]:
        first = 0 if self.name == NAMES[-1] else 1
        wanted = {}
        for campaign, run in self.account.runs:
            if run.published_at is None:
                continue
            folder = f"production/messages/{self.account.account_id}/{campaign.campaign_id}"
            if run is not campaign.current_run:
                folder += f"/run-{run.run_number}"
            for place, file in enumerate(run.files[: run.revealed], first):
                wanted[f"{folder}/{self.name.format(place)}"] = file
        return wanted
