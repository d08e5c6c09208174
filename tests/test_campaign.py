"""A short form of the fault campaign, with the seeds that once found a defect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from campaign import extraction
from campaign.__main__ import main
from campaign.loader import Loader
from campaign.trials import trial
from campaign.verdict import PROBLEMS

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = {
    "tap": (106, 1011, 14, 3044, 7025, 7052),
    "target": (101,),
    "group": (1, 3),
    "operations": (26,),
}
"""Trials that have failed: an empty file, late files of an older run, a file that a bucket listed
late, runs that were refused once, and twice columns of messages that a run did not know, where the
comparison was wrong; a forgotten delete; a rerun that nobody had begun."""


@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind, seeds in SEEDS.items() for seed in seeds]
)
def test_a_trial_loses_doubles_deletes_and_tells_nothing(kind: str, seed: int) -> None:
    verdict = trial(kind, seed)
    assert verdict.problems == []
    assert verdict.runs > 1
    assert verdict.injected.total() > 0


def test_a_row_that_is_not_loaded_is_seen_and_ends_the_campaign_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Loader.rows

    def lossy(self: Loader, stream: str) -> Any:
        rows = whole(self, stream)
        return {key: row for key, row in rows.items() if row.get("name") != "Newsletter"}

    monkeypatch.setattr(Loader, "rows", lossy)
    monkeypatch.setattr(extraction, "DAYS", 1)
    verdict = extraction.run(1, tmp_path)
    assert {kind for kind, _ in verdict.problems} == {"lost"}
    monkeypatch.setattr("campaign.__main__.tried", lambda *_: iter([("tap", 1, verdict)]))
    monkeypatch.setattr("sys.argv", ["campaign", "--runs", "1"])
    assert main() == 1
    shown = capsys.readouterr().out
    assert 'make faults FAULTS="--kinds tap --seed 1 --runs 1"' in shown
    assert all(problem in shown for problem in PROBLEMS)
