"""What a Meltano user expects: of state, of options, of runs that do not end well, of the file."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.pipeline import Project, variables
from tests.sandbox import Fault, Sandbox, truth
from tests.sandbox.account import Field

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warehouses import Database

RUN = ("run", "tap-nudgescribe-messages", "target-postgres")
STREAMS = ("workspaces", "campaigns", "campaign_runs", "published_messages")


@pytest.fixture
def project(sandbox: Sandbox, database: Database, tmp_path: Path) -> Project:
    """Make a project that loads the account into the database."""
    return Project(tmp_path, database.settings | variables("tap-nudgescribe", sandbox.config))


def assert_whole(database: Database, sandbox: Sandbox, since: datetime | None = None) -> None:
    """Check that all rows were loaded, and none twice; perhaps all of them since a moment."""
    for stream in STREAMS:
        rows = [
            tuple(row[name] for name in truth.KEYS[stream])
            for row in database.rows(stream)
            if since is None or row["_sdc_batched_at"].replace(tzinfo=UTC) >= since
        ]
        assert sorted(rows) == sorted(truth.keys(sandbox.account, stream)), stream


def test_state_moves_only_when_everything_is_loaded_and_options_start_anew(
    project: Project, sandbox: Sandbox, database: Database
) -> None:
    database.run("CREATE SCHEMA nudgescribe")
    database.run("CREATE TABLE nudgescribe.published_messages (campaign_id text CHECK (false))")
    failed = project.meltano(*RUN, check=False)
    assert failed.returncode == 1
    database.run("DROP TABLE nudgescribe.published_messages")
    project.meltano(*RUN)
    assert_whole(database, sandbox)
    since = datetime.now(UTC)
    project.meltano(*RUN, "--full-refresh")
    assert_whole(database, sandbox, since)
    since = datetime.now(UTC)
    settings = variables("tap-nudgescribe", sandbox.config)
    prod = Project(project.folder, settings | {"PROD_POSTGRES_URL": database.url})
    prod.meltano(*RUN, "--state-id-suffix=again", MELTANO_ENVIRONMENT="prod")
    assert_whole(database, sandbox, since)
    listed = project.meltano("state", "list").stdout.split()
    pair = "tap-nudgescribe-messages-to-target-postgres"
    assert sorted(listed) == [f"dev:{pair}", f"prod:{pair}:again"]
    state = json.loads(project.meltano("state", "get", f"dev:{pair}").stdout)
    bookmarks = state["singer_state"]["bookmarks"]
    assert all(bookmarks[stream]["replication_key_value"] for stream in STREAMS[1:])


def test_after_interrupted_runs_the_next_one_brings_what_is_missing(
    project: Project, sandbox: Sandbox, database: Database
) -> None:
    """As by a scheduler, which ends Meltano alone, and by Ctrl-C, which reaches all processes."""
    for interrupt, signum in ((os.kill, signal.SIGTERM), (os.killpg, signal.SIGINT)):
        reached = threading.Event()
        sandbox.faults[:] = [
            Fault("fetch_message_file", "change", after=5, then=lambda _, it=reached: it.set()),
            Fault("fetch_message_file", "latency", 99, after=5, option="2"),
        ]
        run = project.start(*RUN)
        assert reached.wait(100)
        interrupt(run.pid, signum)
        out, err = run.communicate()
        assert run.returncode, out + err
    sandbox.faults.clear()
    project.meltano(*RUN)
    assert_whole(database, sandbox)


def test_a_new_field_is_loaded_when_the_catalog_is_refreshed(
    project: Project, sandbox: Sandbox, database: Database
) -> None:
    """Meltano keeps the catalog of a plugin that is not installed as editable."""
    file = project.root / "meltano.yml"
    file.write_text(file.read_text().replace("pip_url: -e .", "pip_url: nudgescribe-meltano"))
    run = ("run", "tap-nudgescribe-customers", "target-postgres")
    project.meltano(*run)
    group = next(group for group in sandbox.account.groups.values() if group.customers)
    sandbox.account.fields["new"] = Field("new", group.workspace_id, "Shoe Size", "number")
    sandbox.account.now = sandbox.account.now.replace(day=2)
    for customer in group.customers.values():
        customer.profile["Shoe Size"] = 42
        customer.updated_at = sandbox.account.now
    project.meltano(*run)
    assert "shoe_size" not in database.types()["customers"]
    assert sum("Shoe Size" in row["profile"] for row in database.rows("customers")) == 55
    project.meltano(*run, "--refresh-catalog", "--full-refresh")
    assert sum(row["shoe_size"] == 42 for row in database.rows("customers")) == 55


def test_meltano_accepts_the_jobs_and_schedules(project: Project) -> None:
    listed = json.loads(project.meltano("schedule", "list", "--format=json").stdout)
    jobs = {schedule["job"]["name"] for schedule in listed["schedules"]["job"]}
    assert jobs == {"messages", "customers", "send-customers"}
    assert (
        set(re.findall(r"^([\w-]+): ", project.meltano("job", "list").stdout, re.MULTILINE)) == jobs
    )
