"""``python -m campaign.limits``: how cost grows with what an account holds."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaign.chart import Line, Panel, drawn
from campaign.processes import Plugin
from campaign.source import COLUMNS, STREAM, Event, messages, settings_for
from tests.sandbox import Sandbox, make_account, runs
from tests.sandbox.account import READY_FOR_REVIEW, Campaign, Customer, Field, Group, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.sandbox import Account

PLOT = Path(__file__).parent.parent / "docs/limits.svg"

LONGEST_SECONDS = 900


@dataclass(frozen=True)
class Cost:
    """What one first run over an account of some size cost."""

    size: int
    cpu_seconds: float
    peak_bytes: int
    requests: int
    state_bytes: int


def _account() -> Account:
    account = make_account(1, "small")
    account.page_size = 500
    return account


def _first_group(account: Account) -> Group:
    return next(group for group in account.groups.values() if group.customers)


def with_customers(size: int) -> Account:
    """Return an account with so many customers in one group."""
    account = _account()
    group = _first_group(account)
    profiles = [customer.profile for customer in group.customers.values()]
    for number in range(size - len(account.customers)):
        profile = profiles[number % len(profiles)]
        moment = account.now - timedelta(days=40)
        group.customers[f"c-{number}"] = Customer(f"c-{number}", profile, moment, moment)
    return account


def _publish(account: Account, group: Group, number: int, plan: runs.Plan) -> None:
    moment = account.now - timedelta(days=40, seconds=number)
    name = f"Campaign {number}"
    campaign = Campaign(
        account.new_id(), group.workspace_id, name, READY_FOR_REVIEW, moment, moment, None, []
    )
    account.campaigns[campaign.campaign_id] = campaign
    runs.start(account, campaign, group, moment, plan)
    runs.publish(campaign, moment)
    campaign.current_run.revealed = len(campaign.current_run.files)


def with_campaigns(size: int) -> Account:
    """Return an account with so many campaigns, each with one file of ten rows."""
    account = _account()
    plan = runs.Plan(messages=3, files=1, rows=(10, 10))
    for number in range(size - len(account.campaigns)):
        _publish(account, _first_group(account), number, plan)
    return account


def with_files(size: int) -> Account:
    """Return an account one of whose campaigns has so many files of thirty rows."""
    account = _account()
    _publish(account, _first_group(account), 0, runs.Plan(files=size, rows=(30, 30)))
    return account


def with_fields(size: int) -> Account:
    """Return an account one of whose workspaces has so many profile fields, all with values."""
    account = _account()
    group = _first_group(account)
    for number in range(size - len(account.fields_of(group.workspace_id))):
        field_id, name = account.new_id(), f"Extra {number}"
        account.fields[field_id] = Field(field_id, group.workspace_id, name, "string")
        for customer in group.customers.values():
            customer.profile[name] = f"value {number}"
    return account


def with_workspaces(size: int) -> Account:
    """Return an account with so many workspaces, each with a group of ten and a campaign."""
    account = _account()
    group = _first_group(account)
    first = list(group.customers.values())[:10]
    plan = runs.Plan(messages=3, files=1, rows=(10, 10))
    fields = account.fields_of(group.workspace_id)
    for number in range(size - len(account.workspaces)):
        workspace = Workspace(account.new_id(), f"Workspace {number}")
        account.workspaces[workspace.workspace_id] = workspace
        for field in fields:
            field_id = account.new_id()
            account.fields[field_id] = replace(
                field, field_id=field_id, workspace_id=workspace.workspace_id
            )
        moment = account.now - timedelta(days=40)
        there = Group(account.new_id(), workspace.workspace_id, "All", None, moment, moment)
        for customer in first:
            number_of = account.new_id()
            there.customers[number_of] = Customer(number_of, customer.profile, moment, moment)
        account.groups[there.customer_group_id] = there
        _publish(account, there, number, plan)
    return account


def extracted(account: Account, size: int) -> Cost:
    """Return what the first run of the tap costs."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(account) as sandbox:
        plugin = Plugin("tap_nudgescribe", Path(folder), sandbox.config, longest=LONGEST_SECONDS)
        plugin.start()
        state = b""
        for line in plugin.lines:
            state = line if line.startswith(b'{"type":"STATE"') else state
        ended = plugin.wait()
        assert ended.code == 0, ended.stderr[-2000:]
        requests = len(sandbox.requests)
    return Cost(size, ended.cpu_seconds, ended.peak_bytes, requests, len(state))


def sent(size: int) -> Cost:
    """Return what the first run of the target costs with so many rows."""
    account = _account()
    group = next(g for g in account.groups.values() if g.name == "Nobody yet")
    events = [Event(f"r-{n}", _row(n)) for n in range(size)]
    with tempfile.TemporaryDirectory() as name, Sandbox(account) as sandbox:
        folder = Path(name)
        settings = sandbox.config | settings_for(group, folder)
        del settings["workspace_ids"]
        account.queue_above = size
        plugin = Plugin("target_nudgescribe", folder, settings, longest=LONGEST_SECONDS)
        plugin.start()
        plugin.feed(messages(events, 0, 10_000, whole=False))
        last = list(plugin.lines)[-1:]
        ended = plugin.wait()
        assert ended.code == 0, ended.stderr[-2000:]
        assert json.loads(last[0]) == {"position": size}
        ledger = sum(f.stat().st_size for f in (folder / "kept/ledgers").rglob("*.parquet"))
        requests = len(sandbox.requests)
    return Cost(size, ended.cpu_seconds, ended.peak_bytes, requests, ledger)


def sent_columns(size: int) -> Cost:
    """Return what a run of the target costs whose one row has so many columns.

    Every second one goes into a profile field.
    """
    account = _account()
    group = next(g for g in account.groups.values() if g.name == "Nobody yet")
    extra = [f"extra_{number}" for number in range(size - len(COLUMNS))]
    for number, name in enumerate(extra[::2]):
        field = Field(f"extra-{number}", group.workspace_id, name, "string")
        account.fields[field.field_id] = field
    columns = COLUMNS | {name: {"type": ["string", "null"]} for name in extra}
    record = _row(1) | dict.fromkeys(extra, "x")
    return _sent_lines(account, group, [_schema(columns), _record(record)], size)


def sent_groups(size: int) -> Cost:
    """Return what a run of the target costs whose rows belong to so many groups."""
    account = _account()
    group = next(g for g in account.groups.values() if g.name == "Nobody yet")
    for number in range(size):
        made = replace(group, customer_group_id=f"g-{number}", name=f"G {number}", customers={})
        account.groups[made.customer_group_id] = made
    columns = COLUMNS | {"customer_group": {"type": "string"}}
    rows = [_record(_row(n) | {"customer_group": f"G {n}"}) for n in range(size)]
    return _sent_lines(account, group, [_schema(columns), *rows], size, customer_group=None)


def _sent_lines(
    account: Account, group: Group, lines: Sequence[Any], size: int, **changed: None
) -> Cost:
    with tempfile.TemporaryDirectory() as name, Sandbox(account) as sandbox:
        folder = Path(name)
        settings = sandbox.config | settings_for(group, folder) | changed
        settings = {key: value for key, value in settings.items() if value is not None}
        del settings["workspace_ids"]
        plugin = Plugin("target_nudgescribe", folder, settings, longest=LONGEST_SECONDS)
        plugin.start()
        plugin.feed(json.dumps(line).encode() + b"\n" for line in lines)
        list(plugin.lines)
        ended = plugin.wait()
        assert ended.code == 0, ended.stderr[-2000:]
        ledger = sum(f.stat().st_size for f in (folder / "kept/ledgers").rglob("*.parquet"))
        requests = len(sandbox.requests)
    return Cost(size, ended.cpu_seconds, ended.peak_bytes, requests, ledger)


def _schema(columns: dict[str, Any]) -> dict[str, Any]:
    schema = {"properties": columns}
    return {"type": "SCHEMA", "stream": STREAM, "key_properties": ["ref"], "schema": schema}


def _record(record: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RECORD", "stream": STREAM, "record": record}


def _row(number: int) -> dict[str, Any]:
    return {
        "ref": f"r-{number}",
        "first_name": f"Name {number}",
        "birthday": "1980-02-29",
        "total_spend": number / 4,
    }


def _of(make: Callable[[int], Account]) -> Callable[[int], Cost]:
    return lambda size: extracted(make(size), size)


DIMENSIONS: dict[str, tuple[Callable[[int], Cost], Sequence[int]]] = {
    "tap: customers": (_of(with_customers), (1_000, 10_000, 100_000, 300_000)),
    "tap: campaigns": (_of(with_campaigns), (10, 100, 1_000, 4_000)),
    "tap: files of a run": (_of(with_files), (10, 100, 1_000, 3_000)),
    "tap: fields of a workspace": (_of(with_fields), (30, 100, 300, 1_000)),
    "tap: workspaces": (_of(with_workspaces), (3, 30, 300, 1_000)),
    "target: rows": (sent, (1_000, 10_000, 100_000, 300_000)),
    "target: columns of a row": (sent_columns, (100, 1_000, 10_000, 20_000)),
    "target: groups of one row": (sent_groups, (10, 100, 1_000, 4_000)),
}
"""What is made larger, what runs over it, and how large it gets."""

NAMES = ("size", "processor s", "peak MiB", "requests", "state kB")


def cells(cost: Cost) -> tuple[str, ...]:
    """Return a row of the table."""
    return (
        f"{cost.size:,}",
        f"{cost.cpu_seconds:.1f}",
        f"{cost.peak_bytes / 2**20:.0f}",
        f"{cost.requests:,}",
        f"{cost.state_bytes / 1000:.1f}",
    )


def main() -> int:
    """Measure, print the tables as Markdown, and write the plot."""
    parser = argparse.ArgumentParser(prog="python -m campaign.limits", description=__doc__)
    parser.add_argument("--only", choices=DIMENSIONS, nargs="+", default=list(DIMENSIONS))
    parser.add_argument("--far", action="store_true", help="go to the largest sizes, too")
    options = parser.parse_args()
    panels = []
    for name in options.only:
        measure, sizes = DIMENSIONS[name]
        print(f"\n| {name} | {' | '.join(NAMES[1:])} |\n|{'--:|' * len(NAMES)}", flush=True)
        costs = []
        for size in sizes if options.far else sizes[:-1]:
            costs.append(measure(size))
            print(f"| {' | '.join(cells(costs[-1]))} |", flush=True)
        panels.append(
            Panel(
                name,
                [
                    Line("processor s", [(c.size, c.cpu_seconds) for c in costs]),
                    Line("peak MiB", [(c.size, c.peak_bytes / 2**20) for c in costs]),
                    Line("state kB", [(c.size, c.state_bytes / 1000) for c in costs]),
                ],
            )
        )
    if options.only == list(DIMENSIONS):
        PLOT.write_text(drawn(panels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
