"""No secret and no customer's value in what Meltano says and keeps, whatever goes wrong.

Secrets come from the environment, as README has it, and Meltano tells everything that it can: at
its level debug it repeats every line that the tap writes. No secret may be in its output, its log
files, its run folder, its database or the target's state; a value only where it repeats a record,
or what a loader that is not ours has said.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.canaries import files_below, plant, search
from tests.pipeline import Project, variables
from tests.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.warehouses import Database

SECRETS = {"api_code": "canary-code", "stream_map_config": {"salt": "canary-salt"}}

MAP = {"Customer Ref": "customer_ref", "First Name": "first_name_9da4b3b8"}

SENDING = ("run", "tap-nudgescribe", "target-nudgescribe")

OF_OTHERS = re.compile(
    rb'^\S+ \[\w+ *\] (tap-nudgescribe \{"type":"RECORD"|target-postgres ).*', re.MULTILINE
)
"""A record that Meltano repeats, or what the loader of Postgres says, which quotes rows."""


class Bench:
    """A Meltano project whose secrets are canaries, and the search of all that it leaves."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.folder = folder
        group = next(iter(sandbox.account.groups.values()))
        tap = sandbox.config | SECRETS | {"max_tries": 1}
        target = tap | {
            "workspace_id": group.workspace_id,
            "customer_group": group.customer_group_id,
            "column_map": MAP,
            "max_rejected_percent": 100,
            "state_uri": str(folder / "state"),
        }
        settings = {
            **variables("tap-nudgescribe", tap),
            **variables("target-nudgescribe", target),
            "TAP_NUDGESCRIBE__SELECT": '["customers.*"]',
            "TARGET_POSTGRES_SQLALCHEMY_URL": "postgresql+psycopg://a:canary-word@127.0.0.1:1/b",
        }
        self.project = Project(folder, settings)

    def run(self, *arguments: str, code: int = 0, **changed: str) -> str:
        """Run a command of Meltano to its end, search all that is left, and return its output."""
        done = self.project.meltano(
            *arguments, check=False, MELTANO_CLI_LOG_LEVEL="debug", **changed
        )
        told = done.stdout + done.stderr
        left = files_below(self.folder) | {"output": told.encode()}
        config = self.sandbox.config
        secrets = [config["api_key"], config["email"], config["password"]]
        secrets += ["canary-code", "canary-salt", "canary-word", "canary@wrong"]
        search(self.sandbox, left, secrets)
        search(self.sandbox, {name: OF_OTHERS.sub(b"", text) for name, text in left.items()})
        assert done.returncode == code, told
        return told


@pytest.fixture
def bench(tmp_path: Path, sandbox: Sandbox) -> Bench:
    plant(sandbox.account)
    return Bench(tmp_path, sandbox)


@pytest.fixture
def private() -> Iterator[None]:
    """Let processes create nothing that other users can read, as the threat model advises."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_settings_are_in_private_files_while_a_run_lasts_and_nowhere_after_it(
    bench: Bench,
) -> None:
    modes: dict[str, int] = {}

    def look(_: object) -> None:
        for path in (bench.project.root / ".meltano/run").rglob("*.config.json"):
            modes[path.name] = path.stat().st_mode & 0o777

    bench.sandbox.inject(Fault("upload_customers", "change", then=look))
    assert '"type":"RECORD"' in bench.run(*SENDING)
    assert list(modes.values()) == [0o600, 0o600]
    assert list((bench.folder / "state/rejects").rglob("*.jsonl"))
    told = bench.run("state", "get", "dev:tap-nudgescribe-to-target-nudgescribe")
    assert "replication_key_value" in told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"TAP_NUDGESCRIBE_PASSWORD": "canary@wrong"}, "log-in is refused"),
        ({"TARGET_NUDGESCRIBE_API_KEY": "canary@wrong"}, "log-in is refused"),
        ({"TARGET_NUDGESCRIBE_MAX_REJECTED_PERCENT": "0"}, "The state is held back"),
    ],
)
def test_a_run_that_fails_tells_neither_secrets_nor_values(
    bench: Bench, changed: dict[str, str], told: str
) -> None:
    assert told in bench.run(*SENDING, code=1, **changed)


def test_faults_of_the_api_are_told_without_secrets_and_values(bench: Bench) -> None:
    for kind in ("truncated", "unexpected_shape", "invalid_json"):
        bench.sandbox.inject(Fault("list_customers", kind, 2, after=1))
        bench.sandbox.inject(Fault("upload_customers", kind))
    assert "parts failed in customers" in bench.run(*SENDING, code=1)


def test_a_loader_that_fails_is_told_no_secret_and_only_itself_quotes_a_row(
    bench: Bench, database: Database
) -> None:
    database.run("CREATE SCHEMA nudgescribe")
    database.run("CREATE TABLE nudgescribe.customers (customer_id text CHECK (false))")
    url = re.sub("//[^@]*", "//postgres:canary-word", database.url)
    told = bench.run(
        *("run", "tap-nudgescribe", "target-postgres"),
        code=1,
        TARGET_POSTGRES_SQLALCHEMY_URL=url.replace("sql:", "sql+psycopg:"),
    )
    assert "Failing row contains" in told


def test_settings_are_printed_without_the_secret_ones(bench: Bench) -> None:
    assert "(redacted)" in bench.run("config", "list", "tap-nudgescribe")
    for plugin in ("tap-nudgescribe", "target-nudgescribe", "target-postgres"):
        assert '"*****"' in bench.run("config", "print", plugin)


def test_a_tap_that_is_invoked_tells_no_secret(bench: Bench) -> None:
    bench.sandbox.inject(Fault("list_groups", "unexpected_shape", 9))
    bench.run("invoke", "tap-nudgescribe", "--check", code=1)
