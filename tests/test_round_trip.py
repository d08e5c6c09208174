"""Customers go from an account through Postgres and a model into another account, and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.expectation import exact, key_of, plain
from tests.pipeline import Project, variables
from tests.sandbox import Account, Sandbox, make_account, truth
from tests.sandbox.account import Field
from tests.sandbox.day import live_a_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Run
    from tests.warehouses import Database, Row

LOADED = {
    "customer_group": "customer_group",
    "Customer Ref": "customer_ref",
    "E-Mail:Work": "e_mail_work",
    "First Name": "first_name_9da4b3b8",
    "first-name": "first_name",
    "Birthday": "birthday",
    "Joined": "joined",
    "Total Spend": "total_spend",
    "größe": "grosse",
    "Tier": "tier",
    "Grade": "grade",
}
"""Fields that are sent, and the columns that they come back in."""

UNCHANGED = ("Customer Ref", "E-Mail:Work", "Birthday", "Joined", "Total Spend", "größe")
"""What the model passes on as it was loaded."""


@pytest.fixture
def destination() -> Iterator[Sandbox]:
    """Run a second account: groups and fields like the first one's, and no customers."""
    account = make_account(8, "small")
    for group in account.groups.values():
        group.customers.clear()
    with Sandbox(account) as running:
        yield running


def workspace(account: Account) -> str:
    """Return the first workspace, which most customers belong to."""
    return next(iter(account.workspaces))


def sending(origin: Sandbox, destination: Sandbox, folder: Path) -> dict[str, str]:
    """Return the settings of both plugins: read one account, write the other."""
    target = {
        "workspace_id": workspace(destination.account),
        "state_uri": str(folder / "target"),
    }
    return {
        **variables("tap-nudgescribe", origin.config),
        **variables("target-nudgescribe", destination.config | target),
        "DBT_TARGET_PATH": str(folder / "dbt"),
        "DBT_LOG_PATH": str(folder / "dbt"),
        "NUDGESCRIBE_FROM_WORKSPACE": workspace(origin.account),
    }


def by_customer(rows: list[Row]) -> dict[tuple[str, str], Row]:
    """Return rows by group and reference, each of which is there once."""
    found = {(row["customer_group"], row["Customer Ref"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def loaded(database: Database, schema: str, account: Account) -> list[Row]:
    """Return the customers of a workspace as they were loaded, under their fields' names."""
    columns = ", ".join(f'{column} AS "{name}"' for name, column in LOADED.items())
    return database.run(
        f"SELECT {columns} FROM {schema}.customers JOIN"  # noqa: S608 (names of this module)
        f" (SELECT customer_group_id, name AS customer_group FROM {schema}.customer_groups) groups"
        " USING (customer_group_id) WHERE workspace_id = %s",
        workspace(account),
    )


def test_customers_that_dbt_models_arrive_in_another_account_and_come_back_the_same(
    sandbox: Sandbox, destination: Sandbox, database: Database, tmp_path: Path
) -> None:
    project = Project(tmp_path, sending(sandbox, destination, tmp_path) | database.settings)
    project.meltano("run", "tap-nudgescribe", "target-postgres", "send-customers")
    project.meltano(
        *("run", "--state-id-suffix=returned", "tap-nudgescribe", "target-postgres"),
        **variables("tap-nudgescribe", destination.config),
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="returned",
    )
    sent = by_customer(database.rows("customers_to_send", "models"))
    came_back = by_customer(loaded(database, "returned", destination.account))
    assert came_back == sent
    assert database.types("returned") == database.types()
    first = by_customer(loaded(database, "nudgescribe", sandbox.account))
    assert first.keys() == sent.keys()
    for key, row in first.items():
        assert {n: row[n] for n in UNCHANGED} == {n: came_back[key][n] for n in UNCHANGED}


def test_stream_maps_and_flattening_on_both_sides_change_names_and_no_value(
    sandbox: Sandbox, destination: Sandbox, database: Database, tmp_path: Path
) -> None:
    tap = {
        "flattening_enabled": True,
        "flattening_max_depth": 1,
        "stream_maps": {
            "customers": {
                "__alias__": "people",
                "__filter__": "record['e_mail_work'] is not None",
                "domain": "record['e_mail_work'].split('@')[1]",
                "phone": "__NULL__",
            }
        },
    }
    target = {
        "flattening_enabled": True,
        "flattening_max_depth": 1,
        "stream_maps": {
            "models-people": {
                "customer_group": "customer_group",
                "Customer Ref": "ref",
                "E-Mail:Work": "mail",
                "First Name": "given_name",
                "first-name": "domain",
                "Birthday": "birthday",
                "Total Spend": "spend",
                "__else__": None,
            }
        },
    }
    project = Project(
        tmp_path,
        sending(sandbox, destination, tmp_path)
        | database.settings
        | variables("target-nudgescribe", target),
    )
    project.meltano(
        "run", "tap-nudgescribe", "target-postgres", **variables("tap-nudgescribe", tap)
    )
    people = database.types()["people"]
    assert (people["profile"], people["domain"], "phone" in people) == ("text", "text", False)
    database.run("CREATE SCHEMA models")
    database.run(
        "CREATE VIEW models.people AS SELECT"  # noqa: S608 (an id)
        " g.name AS customer_group, customer_ref AS ref, e_mail_work AS mail, domain, birthday,"
        " nullif(profile::json ->> 'First Name', '') AS given_name, total_spend AS spend"
        " FROM nudgescribe.people JOIN nudgescribe.customer_groups g USING (customer_group_id)"
        f" WHERE people.workspace_id = '{workspace(sandbox.account)}'"
    )
    project.meltano(
        *("run", "--state-id-suffix=returned", "tap-postgres", "target-nudgescribe"),
        *("tap-nudgescribe", "target-postgres"),
        **variables("tap-nudgescribe", destination.config),
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="returned",
    )
    sent = {(row["customer_group"], row["ref"]): row for row in database.rows("people", "models")}
    came_back = by_customer(loaded(database, "returned", destination.account))
    assert len(sent) == 85
    assert came_back.keys() == sent.keys()
    for key, row in came_back.items():
        assert row["E-Mail:Work"] == sent[key]["mail"]
        assert row["First Name"] == sent[key]["given_name"]
        assert row["first-name"] == sent[key]["domain"]
        assert row["Birthday"] == sent[key]["birthday"]
        assert row["Total Spend"] == sent[key]["spend"]


def test_a_table_follows_the_fields_and_loses_what_is_deleted(
    tap: Callable[..., Run], sandbox: Sandbox, database: Database, tmp_path: Path
) -> None:
    """With ``hard_delete``, and the customers sent as a full table."""
    account = sandbox.account
    project = Project(
        tmp_path,
        database.settings
        | variables("tap-nudgescribe", sandbox.config | {"emit_activate_version_messages": True})
        | {
            "TAP_NUDGESCRIBE__METADATA": '{"customers": {"replication-method": "FULL_TABLE"}}',
            "TARGET_POSTGRES_HARD_DELETE": "true",
        },
    )
    run = ("run", "tap-nudgescribe-customers", "target-postgres")
    project.meltano(*run)
    before = database.types()["customers"]
    live_a_day(account)
    change_fields(account)
    failed = project.meltano(*run, check=False)
    assert failed.returncode == 1
    assert (
        "Could not convert column 'nudgescribe.customers.joined'" in failed.stdout + failed.stderr
    )
    database.run("ALTER TABLE nudgescribe.customers ALTER joined TYPE text")
    project.meltano(*run)
    after = database.types()["customers"]
    assert {name: kind for name, kind in after.items() if before.get(name) != kind} == {
        "joined": "text",
        "level": "text",
        "shoe_size": "numeric",
    }
    expected = tap()
    for stream in ("workspaces", "customer_groups", "profile_fields", "customers"):
        rows = {key_of(stream, row): row for row in database.rows(stream)}
        assert rows.keys() == truth.keys(account, stream)
        for record in expected.records(stream):
            sent = {name: exact(value) for name, value in record.items()}
            if stream == "customers" and sent["grade"] is not None:
                sent["grade"] = str(record["grade"])  # the column stays text
            assert plain(rows[key_of(stream, record)], record) == sent


def change_fields(account: Account) -> None:
    """Add a field, rename one, delete one with its values, and change the type of two."""
    workspace_id = workspace(account)
    fields = {field.field_name: field for field in account.fields_of(workspace_id)}
    account.fields["new"] = Field("new", workspace_id, "Shoe Size", "number")
    fields["Tier"].field_name = "Level"
    del account.fields[fields["Milestone 7"].field_id]
    for field in account.fields.values():
        if field.field_name == "Joined":
            field.field_type, field.field_format = "string", None
        elif field.field_name == "Grade":
            field.field_type = "number"
    for group in account.groups_of(workspace_id):
        for position, customer in enumerate(group.customers.values()):
            customer.profile["Shoe Size"] = 30 + position / 2
            customer.profile["Grade"] = position
            customer.profile["Level"] = customer.profile.pop("Tier", None)
            customer.profile.pop("Milestone 7", None)
    del account.groups[
        next(id_ for id_, group in account.groups.items() if group.name == "Nobody yet")
    ]
