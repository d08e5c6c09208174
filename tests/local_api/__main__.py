"""``python -m tests.local_api``: serve an account until the process is ended.

Prints one line of JSON with the settings that a plugin needs. Beside the API there is a control
surface for other processes: ``POST /_control/live`` lets a day pass, ``GET /_control/truth``
counts what the account holds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import signal
import sys

from tests.local_api import Account, Sandbox

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_api", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same account")
    parser.add_argument("--customers", type=int, default=40, help="customers in each group")
    options = parser.parse_args()
    if sys.platform == "linux":  # no server is left behind when the parent is killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    account = Account(seed=options.seed, customers=options.customers)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), Sandbox(account, port=options.port) as sandbox:
        print(json.dumps({"root": sandbox.root, "config": sandbox.config}), flush=True)  # noqa: T201
        signal.pause()


main()
