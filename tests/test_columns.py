"""One column for one name, always the same; and records that keep to the catalog's schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tap_nudgescribe.columns import SYSTEM_COLUMNS, column_name, column_names, columns_of
from tap_nudgescribe.profile import ProfileField
from tap_nudgescribe.profile_columns import ProfileColumns
from tests.scripted_api import ScriptedApi, campaign, properties

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Run

RESERVED = ("campaign_id", "customer_id", "_extra")

WORDS = st.sampled_from(["first", "name", "FIRST", "Name", "customer", "id", "x" * 62, "ctid", "é"])
NAMES = st.text(max_size=80) | st.builds(
    lambda words, separator: separator.join(words),
    st.lists(WORDS, min_size=1, max_size=3),
    st.sampled_from([" ", "_", "-", "", "."]),
)


# Names


@given(st.lists(NAMES), st.lists(NAMES), st.randoms())
def test_a_name_keeps_its_column_in_an_account_that_grows(
    names: list[str], later: list[str], random: Any
) -> None:
    known: dict[str, str] = {}
    columns = column_names(names, reserved=RESERVED)
    for name in [*names, *later]:  # each discovered with the catalog of those before
        known = column_names([*known, name], reserved=RESERVED, known=known)
        assert len({column.lower() for column in known.values()}) == len(known)
        assert not set(known.values()) & set(RESERVED)
        for column in known.values():
            assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", column)
            assert column not in SYSTEM_COLUMNS
    grown = column_names([*names, *later], reserved=RESERVED, known=columns)
    assert columns.items() <= grown.items()
    shuffled = [*names, *later]
    random.shuffle(shuffled)
    assert column_names(shuffled, reserved=RESERVED, known=columns) == grown
    assert column_names(shuffled, reserved=RESERVED) == column_names(
        [*later, *names], reserved=RESERVED
    )


@given(st.lists(NAMES, unique=True), st.data())
def test_the_names_of_a_file_go_where_the_catalog_says_whatever_else_the_file_has(
    names: list[str], data: Any
) -> None:
    columns = column_names(names, reserved=RESERVED)
    titles: dict[str, str | None] = {column: name for name, column in columns.items()}
    header = data.draw(st.lists(st.sampled_from(names) | NAMES, unique=True)) if names else []
    found = columns_of(header, titles)
    assert found == {name: columns[name] for name in header if name in columns}


@pytest.mark.parametrize("name", sorted(SYSTEM_COLUMNS))
def test_a_name_that_postgres_keeps_for_itself_gets_another_column(name: str) -> None:
    assert column_name(name) == column_name(name.upper()) == f"n_{name}"


def test_a_long_name_is_the_same_alone_and_beside_one_that_begins_like_it() -> None:
    first, second = "long " * 20 + "a", "long " * 20 + "b"
    alone = column_names([first])
    assert column_names([second, first])[first] == alone[first] == column_name(first)
    assert len(alone[first]) == 63


FIELD_NAMES = st.sampled_from(
    ["Name", "NAME", "name", "Price", "price", "Price currency", "price_currency", "PRICE Currency"]
)
FIELDS = st.lists(
    st.tuples(FIELD_NAMES, st.sampled_from(["string", "currency"])), unique_by=lambda one: one[0]
)


@given(FIELDS, FIELDS)
def test_profile_fields_keep_their_columns_and_never_share_one(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    first = columns_for(before)
    second = columns_for(after, known=first.schema)
    old, new = first.sources(first.schema), second.sources(second.schema)
    assert len(new) == len(set(new.values())) == len(second.schema)
    for column, source in old.items():
        assert new.get(column, source) == source
    record = second.reader("w", lambda _: None)({name: "1" for name, _ in after})
    for column, source in new.items():
        assert record[column] is not None
        assert (record[column] == "EUR") == source.is_code


def columns_for(
    fields: list[tuple[str, str]], known: Mapping[str, Any] | None = None
) -> ProfileColumns:
    """Return the columns of fields, those in a currency in EUR."""
    return ProfileColumns(
        [ProfileField("w", name, name, kind, "EUR") for name, kind in fields],
        reserved=RESERVED,
        known=known,
    )


# Message files


def rows_of(run: Run) -> list[dict[str, Any]]:
    assert run.code == 0, run.stderr
    assert_keeps_to_schemas(run)
    return run.records("published_messages")


def assert_keeps_to_schemas(run: Run) -> None:
    for message in run.messages:
        if message["type"] == "RECORD":
            schema = run.schemas[message["stream"]]
            jsonschema.Draft7Validator(schema).validate(
                json.loads(json.dumps(message["record"], default=float))
            )
            assert message["record"].keys() <= schema["properties"].keys()


def column_of(run: Run, header: str) -> str:
    (column,) = (
        name
        for name, schema in run.schemas["published_messages"]["properties"].items()
        if schema.get("title") == header
    )
    return column


@pytest.mark.parametrize("headers", [("First Name", "FirstName"), ("FirstName", "First Name")])
def test_two_spellings_in_two_files_have_two_columns_and_both_their_values(
    headers: tuple[str, str],
) -> None:
    files = {f"c{number}": [f"id,{name}\n1,{name}!\n"] for number, name in enumerate(headers)}
    with ScriptedApi(campaigns=[campaign("c0"), campaign("c1", 2)], files=files) as api:
        run = api.tap("published_messages")
        without = api.tap()
    for rows in (rows_of(run), rows_of(without)):
        for row, name in zip(rows, headers, strict=True):
            assert row[column_of(run, name)] == f"{name}!"
            (other,) = set(headers) - {name}
            assert row[column_of(run, other)] is None


def test_a_spelling_that_comes_later_never_goes_into_the_column_of_another_one() -> None:
    with ScriptedApi(campaigns=[campaign("c0")], files={"c0": ["customer_id,Name\na,x\n"]}) as api:
        catalog = api.discover()
        api.files = {"c0": ["Customer ID,NAME,name,Name\nb,1,2,3\n"]}
        (row,) = rows_of(api.tap("published_messages", catalog=catalog))
        assert (row["customer_id"], row["name"]) == (None, "3")
        assert row["_extra"] == {"Customer ID": "b", "NAME": "1", "name": "2"}
        named = {"message_columns": ["Customer ID", "NAME", "Name"]}
        run = api.tap("published_messages", catalog=catalog, **named)
        (row,) = rows_of(run)
    assert (row["customer_id"], row["name"], row["_extra"]) == (None, "3", {"name": "2"})
    assert row[column_of(run, "Customer ID")] == "b"
    assert row[column_of(run, "NAME")] == "1"


def test_the_advice_for_a_column_that_the_catalog_lacks_gives_it_one() -> None:
    types = {"price": "number"}
    with ScriptedApi(campaigns=[campaign("c0")], files={"c0": ["id\n1\n"]}) as api:
        catalog = api.discover()
        api.files = {"c0": ["id\n1\n", "id,Price,ada@example.com\n2,5.50,x\n"]}
        run = api.tap("published_messages", catalog=catalog)
        assert rows_of(run)[1]["_extra"] == {"Price": "5.50", "ada@example.com": "x"}
        advice = re.search(r"message_columns: (\[.*\]) and 1 others", run.stderr)
        assert advice
        assert "ada@" not in run.stderr
        names = json.loads(advice[1])
        again = api.tap(
            "published_messages", catalog=catalog, message_columns=names, message_column_types=types
        )
    assert [float(row["price"] or 0) for row in rows_of(again)] == [0, 5.5]
    assert rows_of(again)[1]["_extra"] == {"ada@example.com": "x"}


# Records and the catalog


@pytest.mark.parametrize("format_", [None, "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("before", "after", "value", "arrives"),
    [
        ("number", "string", "many", None),
        ("number", "string", "1,5", None),
        ("number", "string", "7", 7),
        (("Date", "dd.MM.yyyy"), "string", "soon", None),
        (("Date", "dd.MM.yyyy"), "string", "2026-01-31", "2026-01-31"),
        (("Date", "dd.MM.yyyy"), ("Date", "MM/dd/yyyy"), "01/31/2026", "2026-01-31"),
        ("string", "number", 7.5, "7.5"),
        ("string", ("Date", "dd.MM.yyyy"), "31.01.2026", "31.01.2026"),
        (("currency", "EUR"), ("currency", "USD"), "$5", 5),
        (("currency", "EUR"), "string", "€5", None),
    ],
)
def test_a_field_that_changed_keeps_the_catalogs_type_or_is_null_and_counted(  # noqa: PLR0913, PLR0917
    format_: str | None, before: Any, after: Any, value: Any, arrives: Any, tmp_path: Path
) -> None:
    with ScriptedApi(fields={"Score": before}, profiles=[{"Score": value}]) as api:
        catalog = api.discover()
        api.fields = {"Score": after, "New": "string"}
        if format_:
            batch = {
                "encoding": {"format": format_, "compression": "none"},
                "storage": {"root": tmp_path.as_uri()},
            }
            run = api.tap("customers", catalog=catalog, batch_config=batch)
            (path,) = tmp_path.iterdir()
            record = (
                parquet.read_table(path).to_pylist()[0]
                if format_ == "parquet"
                else json.loads(path.read_text())
            )
        else:
            run = api.tap("customers", catalog=catalog)
            (record,) = run.records("customers")
            assert_keeps_to_schemas(run)
    assert run.code == 0, run.stderr
    told = record["score"]
    assert (str(told) if isinstance(arrives, str) else told) == arrives
    profile = record["profile"]
    assert (json.loads(profile) if format_ == "parquet" else profile)["Score"] == value
    assert ("1 values of the profile field 'Score'" in run.stderr) == (arrives is None)


@pytest.mark.parametrize("format_", [None, "jsonl", "parquet"])
def test_types_of_message_columns_that_changed_since_the_catalog_do_not_change_records(
    format_: str | None, tmp_path: Path
) -> None:
    with ScriptedApi(campaigns=[campaign("c0")], files={"c0": ["a,b\nx,1\n5,y\n"]}) as api:
        catalog = api.discover(message_column_types={"a": "integer"})
        config: dict[str, Any] = {"message_column_types": {"a": "string", "b": "number"}}
        if format_:
            config["batch_config"] = {
                "encoding": {"format": format_, "compression": "none"},
                "storage": {"root": tmp_path.as_uri()},
            }
        run = api.tap("published_messages", catalog=catalog, **config)
    if format_ == "parquet":
        rows = parquet.read_table(next(tmp_path.iterdir())).to_pylist()
    elif format_:
        rows = [json.loads(line) for line in next(tmp_path.iterdir()).read_text().splitlines()]
    else:
        rows = rows_of(run)
    assert [(row["a"], row["b"]) for row in rows] == [(None, "1"), (5, "y")]
    extra = rows[0]["_extra"]
    assert (json.loads(extra) if format_ == "parquet" else extra) == {"a": "x"}
    assert "message_column_types gives b the type number, but the catalog" in run.stderr


def test_properties_of_other_json_types_are_null_and_kept() -> None:
    odd = {"name": {"de": "x"}, "status": ["a"], "run_number": "one", "created_at": 5, "more": True}
    with ScriptedApi(campaigns=[{"campaign_id": 7} | odd]) as api:
        run = api.tap("campaigns")
    (record,) = run.records("campaigns")
    assert_keeps_to_schemas(run)
    assert record["_extra"] == odd
    assert record["campaign_id"] == "7"


def test_a_catalog_that_a_user_has_edited_is_kept_to() -> None:
    with ScriptedApi(
        fields={"Score": "number", "Mail": "string"},
        profiles=[{"Score": 1, "Mail": None}, {"Mail": "m"}],
        campaigns=[campaign("c0", name="One", budget=5)],
        files={"c0": ["id,Body\n1,\n,b\n"]},
    ) as api:
        catalog = api.discover()
        campaigns = properties(catalog, "campaigns")
        del campaigns["name"], campaigns["updated_at"], campaigns["campaign_id"]
        campaigns["budget"] = {"type": "integer"}
        campaigns["published_at"] = {"type": "string"}
        customers = properties(catalog, "customers")
        del customers["profile"], customers["_extra"]
        customers["score"] = {"type": "string", "title": "Score"}
        customers["mail"] = {"type": "string"}
        customers["customer_id"] = {"type": "integer"}
        customers["wish"] = {"type": "boolean", "title": "Wish"}
        messages = properties(catalog, "published_messages")
        messages["body"] = {"type": "string"}
        messages["row_number"] = {"type": "string"}
        messages["id"] = {"type": "object", "title": "id"}
        messages["more"] = {"type": ["null", "integer"]}
        del messages["file_number"], messages["_extra"]
        run = api.tap("campaigns", "customers", "published_messages", catalog=catalog)
    assert run.code == 0, run.stderr
    assert_keeps_to_schemas(run)
    (one,) = run.records("campaigns")
    assert "name" not in one
    assert one["_extra"] is None
    assert (one["campaign_id"], one["budget"]) == ("c0", 5)
    assert one["published_at"] == "2026-01-01T00:00:00Z"
    assert [(c["customer_id"], c["score"], c["mail"]) for c in run.records("customers")] == [
        ("c-0", "1", None),
        ("c-1", None, "m"),
    ]
    rows = run.records("published_messages")
    assert [(r["row_number"], r["file_number"], r["id"], r["body"]) for r in rows] == [
        (1, 1, None, None),
        (2, 1, None, "b"),
    ]


def test_limits_that_a_user_writes_into_a_catalog_are_kept_to() -> None:
    with ScriptedApi(
        fields={"Score": "number", "Tier": "string"},
        profiles=[{"Score": 5, "Tier": "gold"}, {"Score": 50.5, "Tier": "iron"}],
        campaigns=[campaign("c0", name="short"), campaign("c1", name="much too long")],
        files={"c0": ["Subject,n\nHello,7\nHi,70\n,\n"]},
    ) as api:
        catalog = api.discover(message_column_types={"n": "integer"})
        customers = properties(catalog, "customers")
        customers["score"] |= {"type": "number", "minimum": 0, "maximum": 10.5}
        customers["tier"] |= {"enum": ["gold", "silver"]}
        properties(catalog, "campaigns")["name"]["maxLength"] = 5
        messages = properties(catalog, "published_messages")
        messages["subject"] |= {"maxLength": 3, "pattern": "^H"}
        messages["n"] |= {"exclusiveMaximum": 8, "multipleOf": 7}
        run = api.tap("campaigns", "customers", "published_messages", catalog=catalog)
    assert run.code == 0, run.stderr
    assert_keeps_to_schemas(run)
    assert [(c["score"], c["tier"]) for c in run.records("customers")] == [
        (5, "gold"),
        (None, None),
    ]
    assert [(c["name"], c["_extra"]) for c in run.records("campaigns")] == [
        ("short", None),
        (None, {"name": "much too long"}),
    ]
    assert [(m["subject"], m["n"], m["_extra"]) for m in run.records("published_messages")] == [
        (None, 7, {"Subject": "Hello"}),
        ("Hi", None, {"n": "70"}),
        (None, None, None),
    ]


def test_columns_of_more_campaigns_and_of_their_last_files_are_discovered() -> None:
    campaigns = [campaign(f"c{number}", number + 1) for number in range(12)]
    files = {f"c{number}": ["id\n1\n", "id\n2\n", f"id,Of {number}\n3,x\n"] for number in range(12)}
    with ScriptedApi(campaigns=campaigns, files=files) as api:
        run = api.tap()
    rows = rows_of(run)
    assert all(row["_extra"] is None for row in rows)
    assert sum(row["of_0"] == "x" for row in rows) == 1
    assert "a sample: 24 files of 12 of 12 published campaigns" in run.stderr


@pytest.mark.parametrize("given", [True, False])
def test_more_columns_than_postgres_has_are_said_with_a_way_around_it(*, given: bool) -> None:
    fields = {f"Field {number}": "string" for number in range(1_700)} | {"xmin": "string"}
    with ScriptedApi(fields=fields, profiles=[dict.fromkeys(fields, "x")]) as api:
        catalog = api.discover()
        assert properties(catalog, "customers")["n_xmin"]["title"] == "xmin"
        run = api.tap("customers", catalog=catalog) if given else api.tap()
        assert run.code == 0
        assert "The stream customers has 1708 columns" in run.stderr
        entry = next(e for e in catalog["streams"] if e["tap_stream_id"] == "customers")
        for metadata in entry["metadata"]:
            if any(name.startswith("field_1") for name in metadata["breadcrumb"]):
                metadata["metadata"]["selected"] = False
        narrow = api.tap("customers", catalog=catalog)
    assert "columns. A table of Postgres" not in narrow.stderr
    (record,) = narrow.records("customers")
    assert "field_1600" not in record
    assert record["profile"]["Field 1600"] == record["field_2"] == record["n_xmin"] == "x"


def test_a_discovery_with_an_earlier_catalog_keeps_its_names(tmp_path: Path) -> None:
    with ScriptedApi(
        fields={"FIRST NAME": "string"},
        campaigns=[campaign("c0")],
        files={"c0": ["CUSTOMER ID,Once\n1,x\n"]},
    ) as api:
        (tmp_path / "config.json").write_text(json.dumps(api.config))

        def discover(*further: str) -> dict[str, Any]:
            command = [sys.executable, "-m", "tap_nudgescribe", "--discover", *further]
            command += ["--config", str(tmp_path / "config.json")]
            done = subprocess.run(command, capture_output=True, check=True, timeout=60)  # noqa: S603
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        first = discover()
        (tmp_path / "catalog.json").write_text(json.dumps(first))
        api.fields = {"first name": "string", "FIRST NAME": "number"}
        api.files = {"c0": ["customer id,CUSTOMER ID\n1,2\n"]}
        with_catalog = discover("--catalog", str(tmp_path / "catalog.json"))
    for stream, old, new in (
        ("customers", "FIRST NAME", "first name"),
        ("published_messages", "CUSTOMER ID", "customer id"),
    ):
        plain = column_name(old)
        assert properties(first, stream)[plain]["title"] == old
        titles = {c: s.get("title") for c, s in properties(with_catalog, stream).items()}
        assert titles[plain] == old
        assert new in titles.values()
    assert properties(with_catalog, "published_messages")["once"]["title"] == "Once"


def test_names_that_meet_are_said_at_discovery_where_no_catalog_decides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ScriptedApi(fields={"Name": "string", "NAME": "string", "campaign_id": "string"}) as api:
        catalog = api.discover()
        assert "1 names that differ from others in capitals and signs only" in caplog.text
        assert column_names(["NAME", "Name"])["NAME"] in caplog.text
        caplog.clear()
        api.tap("customers", catalog=catalog)
    assert "differ from others" not in caplog.text
