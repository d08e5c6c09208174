"""``python -m tests.sandbox``: run a local Nudgescribe account and print how to reach it."""

from __future__ import annotations

import argparse
import json
import threading
from typing import get_args

from tests.sandbox.faults import Fault
from tests.sandbox.seeding import Size, make_account
from tests.sandbox.server import Sandbox


def main() -> None:
    """Serve until interrupted; the first line on stdout is a plugin's settings as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="any free port if 0")
    parser.add_argument("--size", choices=get_args(Size), default="small")
    parser.add_argument("--seed", type=int, default=7, help="the same seed, the same account")
    parser.add_argument("--older", action="store_true", help="status codes of the older pages")
    parser.add_argument("--token-seconds", type=float, default=14 * 86_400)
    parser.add_argument(
        "--fault",
        type=Fault.parse,
        action="append",
        default=[],
        metavar="OPERATION:KIND[:TIMES[:OPTION]]",
        help="misbehave, for example list_customers:latency:1000:0.08; see tests/sandbox/faults.py",
    )
    options = parser.parse_args()
    account = make_account(options.seed, options.size)
    account.status_codes = "older" if options.older else "newer"
    with Sandbox(account, port=options.port, token_seconds=options.token_seconds) as sandbox:
        sandbox.inject(*options.fault)
        print(json.dumps(sandbox.config), flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
