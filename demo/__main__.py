"""``make demo``: Meltano extracts a lively local account into a real warehouse, twice."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pipeline import command, extract
from tests.sandbox import Sandbox, make_account, truth
from tests.sandbox.day import live_a_day
from tests.warehouses import WAREHOUSES

if TYPE_CHECKING:
    from tests.warehouses import Warehouse


def compare(sandbox: Sandbox, warehouse: Warehouse, since: datetime, deleted: int) -> bool:
    """Print each table's rows beside what the account holds; say whether they agree.

    Args:
        sandbox: The account.
        warehouse: Where the tables are.
        since: What was written from then on is counted apart.
        deleted: Customers that the account no longer has, and the warehouse still does.
    """
    print(f"\n  {'stream':<20}{'account':>10}{warehouse.name:>10}{'written':>10}")
    agree = True
    for stream in truth.KEYS:
        held = len(truth.rows(sandbox.account, stream))
        found, written = warehouse.count(stream, since)
        gone = deleted if stream == "customers" else 0
        differs = found != held + gone
        agree &= not differs
        remark = "   differs" if differs else f"   {gone} deleted since" if gone else ""
        print(f"  {stream:<20}{held:>10}{found:>10}{written:>10}{remark}")
    return agree


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("warehouse", choices=WAREHOUSES, nargs="?", default="postgres")
    open_warehouse = WAREHOUSES[parser.parse_args().warehouse]
    began = time.monotonic()
    agree, deleted = True, 0
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(make_account(7, "medium")) as sandbox,
        open_warehouse(Path(folder)) as warehouse,
    ):
        for title in ("First run: everything", "Second run, after a lively day: what changed"):
            print(f"\n{title}\n  meltano {' '.join(command(warehouse))}")
            since = datetime.now(UTC)
            extract(sandbox, warehouse, Path(folder))
            agree &= compare(sandbox, warehouse, since, deleted)
            deleted += len(live_a_day(sandbox.account)["customers_deleted"])
    print(f"\nDone in {time.monotonic() - began:.0f} s; what was started has been stopped.")
    return 0 if agree else 1


sys.exit(main())
