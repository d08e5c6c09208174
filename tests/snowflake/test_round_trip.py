"""The real Snowflake plugins against a local server: what they load, and a round trip of it.

docs/warehouses.md says what this proves, and what only an account can.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.expectation import exact, key_of
from tests.pipeline import ROOT, Project, variables
from tests.sandbox import Sandbox, make_account, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Run
    from tests.warehouses import Row

HERE = ROOT / "tests/snowflake"
PYTHON = ROOT / ".fakesnow/bin/python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make test-snowflake sets it up")

TYPES = {
    "CUSTOMERS.CUSTOMER_REF": "TEXT",
    "CUSTOMERS.PROFILE": "VARIANT",
    "CUSTOMERS.BIRTHDAY": "DATE",
    "CUSTOMERS.TOTAL_SPEND": "FLOAT",
    "CUSTOMERS.UPDATED_AT": "TIMESTAMP_NTZ",
    "CAMPAIGN_RUNS.RUN_NUMBER": "NUMBER",
    "CAMPAIGN_RUNS.MESSAGE_SUMMARY": "VARIANT",
    "RUN_MESSAGES.ARCHIVED": "BOOLEAN",
    "PUBLISHED_MESSAGES._EXTRA": "VARIANT",
    "PROFILE_FIELDS.OPTIONS": "VARIANT",
}

MODEL = """
CREATE VIEW snow.models.customers_to_send AS SELECT
  g.name AS "customer_group", c.customer_ref AS "Customer Ref", c.e_mail_work AS "E-Mail:Work",
  nullif(trim(c.profile:"First Name"::varchar), '') AS "First Name",
  c.birthday AS "Birthday", c.total_spend AS "Total Spend"
FROM snow.nudgescribe.customers c
JOIN snow.nudgescribe.customer_groups g ON c.customer_group_id = g.customer_group_id
WHERE c.workspace_id = '{workspace_id}'
"""


@dataclass(frozen=True)
class Snowflake:
    """A local server with a database ``SNOW``."""

    port: int

    def run(self, *statements: str) -> list[list[str | None]]:
        """Run statements and return the rows of the last, every value as text."""
        command = [PYTHON, HERE / "query.py", str(self.port), *statements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        rows: list[list[str | None]] = json.loads(done.stdout.splitlines()[-1])["rows"]
        return rows

    def types(self, schema: str = "NUDGESCRIBE") -> dict[str, str]:
        """Return the type of each ``TABLE.COLUMN``."""
        rows = self.run(
            "SELECT table_name || '.' || column_name, data_type"  # noqa: S608 (a name)
            f" FROM snow.information_schema.columns WHERE table_schema = '{schema}'"
        )
        return {str(name): str(kind) for name, kind in rows}

    def rows(self, stream: str, types: dict[str, str], schema: str = "nudgescribe") -> list[Row]:
        """Return a table with texts for values, read through casts: over the server a null
        timestamp is read as one of 1970.
        """
        table = f"{stream.upper()}."
        names = [name.removeprefix(table) for name in types if name.startswith(table)]
        selected = ", ".join(f'CAST("{name}" AS varchar)' for name in names)
        found = self.run(f"SELECT {selected} FROM snow.{schema}.{stream}")  # noqa: S608 (names)
        return [dict(zip(map(str.lower, names), row, strict=True)) for row in found]


@pytest.fixture
def snowflake(tmp_path: Path) -> Iterator[Snowflake]:
    """Run a local server; what it logged is printed, so that it stands beside a failure."""
    log = tmp_path / "server.log"
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("w") as file:
        port = listening.getsockname()[1]
        server = subprocess.Popen(  # noqa: S603
            [PYTHON, HERE / "server.py", str(listening.fileno())],
            env=os.environ | {"TMPDIR": str(tmp_path)},  # its buckets stay when it is killed
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
        )
    with server:
        yield Snowflake(port)
        server.kill()
    print(log.read_text())  # noqa: T201


@pytest.fixture
def project(sandbox: Sandbox, snowflake: Snowflake, tmp_path: Path) -> Project:
    """Make a project in which the plugins are led to the server."""
    account = {"account": "test", "user": "test", "password": "test", "database": "SNOW"}
    project = Project(
        tmp_path,
        variables("tap-nudgescribe", sandbox.config)
        | variables("tap-snowflake", account)
        | variables("target-snowflake", account)
        | {"LOCAL_SNOWFLAKE_PORT": str(snowflake.port)},
    )
    file = project.root / "meltano.yml"
    text = file.read_text()
    for name, kind in (("tap-snowflake", "extractors"), ("target-snowflake", "loaders")):
        program = ROOT / ".meltano" / kind / name / "venv/bin" / name
        led = tmp_path / name
        led.write_text(f'#!/bin/sh\nPYTHONPATH={HERE}/plugin exec {program} "$@"\n')
        led.chmod(0o755)
        text = text.replace(f"executable: {name}\n", f"executable: {led}\n")
    file.write_text(text)
    return project


@pytest.mark.parametrize("messages", ["RECORD", "BATCH"])
def test_what_is_loaded_is_what_the_tap_sends(
    tap: Callable[..., Run], snowflake: Snowflake, project: Project, messages: str
) -> None:
    settings: dict[str, Any] = {}
    if messages == "BATCH":
        storage = {"root": (project.folder / "batches").as_uri()}
        encoding = {"format": "jsonl", "compression": "gzip"}
        settings["batch_config"] = {"encoding": encoding, "storage": storage, "batch_size": 1000}
    run = ("run", "tap-nudgescribe", "target-snowflake")
    project.meltano(*run, **variables("tap-nudgescribe", settings))
    types = snowflake.types()
    assert {name: types[name] for name in TYPES} == TYPES
    assert all(name == name.upper() for name in types)
    expected = tap()
    for stream in truth.KEYS:
        rows = snowflake.rows(stream, types)
        records = {key_of(stream, record): record for record in expected.records(stream)}
        loaded = {key_of(stream, as_sent(row, next(iter(records.values())))): row for row in rows}
        assert len(rows) == len(loaded) == len(records), stream
        for key, record in records.items():
            sent = {name: exact(value) for name, value in record.items()}
            assert as_sent(loaded[key], record) == sent


def as_sent(row: Row, record: Row) -> Row:
    """Return the columns of a row that a record has, each read as the record's value is."""
    return {name: read(row[name], value) for name, value in record.items()}


def read(text: str | None, sent: Any) -> Any:
    match sent:
        case bool():
            return text == "true"
        case int() | float():
            return text and Decimal(text).normalize()
        case dict() | list():
            return text and exact(json.loads(text))
        case str() if text and len(sent) == len("2026-01-01T00:00:00.000000+00:00") and "T" in sent:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC).isoformat(timespec="microseconds")
        case _:
            return text


def test_customers_arrive_in_another_account_and_come_back_the_same(
    sandbox: Sandbox, snowflake: Snowflake, project: Project, tmp_path: Path
) -> None:
    account = make_account(8, "small")
    for group in account.groups.values():
        group.customers.clear()
    project.meltano("run", "tap-nudgescribe-customers", "target-snowflake")
    model = MODEL.format(workspace_id=next(iter(sandbox.account.workspaces)))
    snowflake.run("CREATE SCHEMA snow.models", model)
    with Sandbox(account) as destination:
        target = {"workspace_id": next(iter(account.workspaces)), "state_uri": f"{tmp_path}/target"}
        project.meltano(
            *("run", "--state-id-suffix=returned", "tap-snowflake", "target-nudgescribe"),
            *("tap-nudgescribe-customers", "target-snowflake"),
            **variables("tap-nudgescribe", destination.config),
            **variables("target-nudgescribe", destination.config | target),
            TARGET_SNOWFLAKE_DEFAULT_TARGET_SCHEMA="returned",
        )
    types = snowflake.types("RETURNED")
    assert types == snowflake.types()
    columns = ("customer_ref", "e_mail_work", "first_name_9da4b3b8", "birthday", "total_spend")
    rows = snowflake.rows("customers", types, "returned")
    returned = [[row[name] for name in columns] for row in rows]
    sent = snowflake.run(
        'SELECT "Customer Ref", "E-Mail:Work", "First Name", CAST("Birthday" AS varchar),'
        ' CAST("Total Spend" AS varchar) FROM snow.models.customers_to_send'
    )
    assert len(sent) == 85
    assert sorted(returned, key=str) == sorted(sent, key=str)
