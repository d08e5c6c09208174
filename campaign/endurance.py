"""``python -m campaign.endurance``: night after night, and nothing may grow."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaign.loader import Loader
from campaign.processes import Plugin
from campaign.source import Source, expected, messages, settings_for
from tests.sandbox import Sandbox, make_account, truth
from tests.sandbox.day import live_a_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox import Account

NIGHTS = 250

CAMPAIGNS, CUSTOMERS = 20, 120
"""What the account keeps: so many, while each day brings new ones."""

PEOPLE = 200
"""People in the table that is sent."""

MOST_GROWTH = {"cpu_seconds": 1.15, "peak_bytes": 1.05, "state_bytes": 1.10}
"""How much the median of the last tenth may be above that of the first."""


UNITS = {
    "cpu_seconds": (1, "processor s"),
    "peak_bytes": (2**20, "peak MiB"),
    "state_bytes": (1000, "state kB"),
}


@dataclass(frozen=True)
class Night:
    """What one run cost."""

    cpu_seconds: float
    peak_bytes: int
    state_bytes: int


def tap_nights(nights: int) -> list[Night]:
    """Extract an account every night, each time from the state of the night before."""
    account = make_account(1, "small")
    costs = []
    with tempfile.TemporaryDirectory() as name, Sandbox(account) as sandbox:
        folder = Path(name)
        loader = Loader(folder / "warehouse.sqlite")
        for _ in range(nights):
            state = folder / "state.json"
            state.write_text(json.dumps(loader.state or {}))
            arguments = ["--state", str(state)]
            plugin = Plugin("tap_nudgescribe", folder, sandbox.config, arguments)
            plugin.start()
            loader.load(plugin.lines, states_together=1000)
            ended = plugin.wait()
            assert ended.code == 0, ended.stderr
            size = len(json.dumps(loader.state))
            costs.append(Night(ended.cpu_seconds, ended.peak_bytes, size))
            sandbox.requests.clear()
            live_a_day(account)
            _forget_the_oldest(account)
        for stream in truth.KEYS:
            today = {row[truth.KEYS[stream][0]] for row in _before_today(account, stream)}
            assert today <= {key[0] for key in loader.rows(stream)}, stream
        loader.close()
    return costs


def _before_today(account: Account, stream: str) -> list[dict[str, Any]]:
    """Return the rows that the last run could have seen."""
    new = {c.campaign_id for c in account.campaigns.values() if _is_new(account, c.created_at)}
    new |= {c.customer_id for c in account.customers.values() if _is_new(account, c.created_at)}
    return [row for row in truth.rows(account, stream) if not new & set(map(str, row.values()))]


def _is_new(account: Account, created: Any) -> bool:  # noqa: ANN401 (a moment)
    return (account.now - created).days < 1


def _forget_the_oldest(account: Account) -> None:
    for campaign_id in list(account.campaigns)[:-CAMPAIGNS]:
        del account.campaigns[campaign_id]
    for group in account.groups.values():
        for customer_id in list(group.customers)[:-CUSTOMERS]:
            del group.customers[customer_id]


def target_nights(nights: int) -> list[Night]:
    """Send a table's changes every night, each time from the state of the night before."""
    account = make_account(1, "small")
    group = next(g for g in account.groups.values() if g.name == "Nobody yet")
    source = Source(random.Random(1), most=PEOPLE)
    position = 0
    costs = []
    with tempfile.TemporaryDirectory() as name, Sandbox(account) as sandbox:
        folder = Path(name)
        settings = sandbox.config | settings_for(group, folder) | {"max_rejected_rows": 1000}
        del settings["workspace_ids"]
        for night in range(nights):
            source.live_a_day(60 if night else 4 * PEOPLE)
            plugin = Plugin("target_nudgescribe", folder, settings)
            plugin.start()
            plugin.feed(messages(source.changes(position), position, 20, whole=False))
            states = [json.loads(line) for line in plugin.lines]
            ended = plugin.wait()
            assert ended.code == 0, ended.stderr
            position = states[-1]["position"]
            assert position == len(source.events)
            ledger = sum(f.stat().st_size for f in (folder / "kept/ledgers").rglob("*.parquet"))
            costs.append(Night(ended.cpu_seconds, ended.peak_bytes, ledger))
            sandbox.requests.clear()
        wanted = expected(source.events)
        assert {c.profile["Customer Ref"] for c in group.customers.values()} == wanted.keys()
    return costs


def main() -> int:
    """Run both, print first and last, and return 1 if something has grown."""
    parser = argparse.ArgumentParser(prog="python -m campaign.endurance", description=__doc__)
    parser.add_argument("--nights", type=int, default=NIGHTS, help="runs of each plugin")
    nights = parser.parse_args().nights
    grown = False
    print(f"{'':8} {'':14} {'first tenth':>12} {'last tenth':>12} {'ratio':>6}")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = {
            "tap": pool.submit(tap_nights, nights),
            "target": pool.submit(target_nights, nights),
        }
        for name, run in runs.items():
            # The first night loads everything.
            grown |= _print(name, run.result()[1:])
    return 1 if grown else 0


def _print(name: str, costs: Sequence[Night]) -> bool:
    tenth = max(len(costs) // 10, 1)
    grown = False
    for what, most in MOST_GROWTH.items():
        first, last = (
            statistics.median(getattr(night, what) for night in part)
            for part in (costs[:tenth], costs[-tenth:])
        )
        ratio = last / first
        grown |= ratio > most
        note = "  GROWN" if ratio > most else ""
        unit, label = UNITS[what]
        print(f"{name:8} {label:14} {first / unit:12,.2f} {last / unit:12,.2f} {ratio:6.2f}{note}")
    return grown


if __name__ == "__main__":
    sys.exit(main())
