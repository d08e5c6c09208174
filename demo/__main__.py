"""``make demo``: Meltano extracts a lively local account into a real Postgres, twice."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from tests.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

MELTANO = Path(".meltano-tool/bin/meltano")


@contextlib.contextmanager
def local_api() -> Iterator[dict[str, Any]]:
    """Run the local API and yield its address and settings."""
    command = [sys.executable, "-m", "tests.local_api"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout  # noqa: S101 (it is a pipe)
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


def ask(root: str, path: str, method: str) -> Any:  # noqa: ANN401
    """Call the local API's control surface."""
    request = urllib.request.Request(f"{root}/_control/{path}", method=method)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310 (loopback)
        return json.load(answer)


COUNT = sql.SQL(
    "SELECT count(*), count(*) FILTER (WHERE _sdc_batched_at >= %s) FROM nudgescribe.{stream}"
)


def compare(url: str, truth: dict[str, int], since: datetime) -> bool:
    """Print each table's rows beside what the account holds; say whether all are the same."""
    same = True
    print(f"\n  {'stream':<20}{'account':>10}{'Postgres':>10}{'written':>10}")
    with psycopg.connect(url) as connection:
        for stream, expected in truth.items():
            rows = connection.execute(COUNT.format(stream=sql.Identifier(stream)), [since])
            found, written = rows.fetchone() or (0, 0)
            same &= found == expected
            mark = "" if found == expected else "   differs"
            print(f"  {stream:<20}{expected:>10}{found:>10}{written:>10}{mark}")
    return same


def main() -> int:
    """Run the demo and return the exit code."""
    with local_api() as api, postgres() as url, tempfile.TemporaryDirectory() as scratch:
        settings = {
            f"TAP_NUDGESCRIBE_{name.upper()}": value
            if isinstance(value, str)
            else json.dumps(value)
            for name, value in api["config"].items()
        }
        environment = (
            os.environ
            | settings
            | {
                "TARGET_POSTGRES_SQLALCHEMY_URL": url.replace("postgresql:", "postgresql+psycopg:"),
                "MELTANO_DATABASE_URI": f"sqlite:///{scratch}/meltano.db",
                "MELTANO_CLI_DISABLE_VERSION_CHECK": "1",
                "MELTANO_CLI_LOG_LEVEL": "warning",
            }
        )
        same = True
        for title in ("First run: everything", "Second run, after a lively day: what changed"):
            print(f"\n{title}\n  meltano run tap-nudgescribe target-postgres")
            since = datetime.now(UTC)
            subprocess.run(
                [MELTANO, "run", "tap-nudgescribe", "target-postgres"], env=environment, check=True
            )
            same &= compare(url, ask(api["root"], "truth", "GET"), since)
            ask(api["root"], "live", "POST")
    return 0 if same else 1


sys.exit(main())
