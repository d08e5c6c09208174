"""Which column goes where, and that none goes nowhere in silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.columns import column_name, column_names
from tap_nudgescribe.profile import ProfileField
from target_nudgescribe.mapping import TAP_COLUMNS, map_stream
from tests.target.sending import row, schema

if TYPE_CHECKING:
    from tests.target.sending import Sending

CONFIG = {"customer_group": "g"}


def fields(*names: str) -> list[ProfileField]:
    return [
        ProfileField("w", str(number), name, "string", unique_identifier=not number)
        for number, name in enumerate(names)
    ]


def mapped(columns: list[str], names: list[str], **config: Any) -> tuple[dict[str, Any], Any, Any]:
    found, problems = map_stream(columns, fields(*names), CONFIG | config)
    by_field = {one.field.name: one.column for one in found.fields}
    return by_field, list(found.unknown), [problem.code for problem in problems]


@pytest.mark.parametrize("columns", [["id", "score", "Score"], ["id", "Score", "score"]])
def test_an_exact_name_wins_over_a_similar_one(columns: list[str]) -> None:
    assert mapped(columns, ["id", "Score"]) == ({"id": "id", "Score": "Score"}, ["score"], [])
    both = {"id": "id", "Score": "Score", "score": "score"}
    assert mapped(columns, ["id", "Score", "score"]) == (both, [], [])


def test_two_similar_columns_are_ambiguous_without_an_exact_one() -> None:
    _, _, problems = mapped(["id", "first_name", "First Name "], ["id", "First Name"])
    assert problems == ["ambiguous_column"]
    chosen = {"First Name": "first_name"}
    found = mapped(["id", "first_name", "First Name "], ["id", "First Name"], column_map=chosen)
    assert found == ({"id": "id", "First Name": "first_name"}, ["First Name "], [])


@pytest.mark.parametrize("column", sorted(TAP_COLUMNS))
def test_a_column_that_the_tap_has_too_is_sent_if_a_field_is_named_so(column: str) -> None:
    name = column.replace("_", " ").title().strip()
    plain = column_name(name)
    if plain == column:
        assert mapped(["id", column], ["id", name])[:2] == ({"id": "id", name: column}, [])
    assert mapped(["id", column], ["id"])[:2] == ({"id": "id"}, [column])


def test_the_own_columns_of_the_tap_are_no_fields_and_not_unknown() -> None:
    names = ["id", "Created At", "profile"]
    columns = column_names(["id", "Created At"], reserved=TAP_COLUMNS)
    of_tap = [*columns.values(), *sorted(TAP_COLUMNS)]
    found, unknown, problems = mapped(of_tap, names)
    assert found == {"id": "id", "Created At": columns["Created At"], "profile": "profile"}
    assert (unknown, problems) == ([], [])


@given(st.lists(st.text("aAb _é-", min_size=1, max_size=4), unique=True, min_size=1, max_size=6))
def test_each_column_of_the_tap_goes_into_the_field_that_it_came_from(names: list[str]) -> None:
    reserved = sorted(TAP_COLUMNS)
    columns = column_names(names, reserved=reserved)
    found, unknown, problems = mapped([*columns.values(), *reserved], names)
    assert (found, unknown, problems) == (columns, [], [])


def test_names_of_fields_are_compared_without_blanks_at_their_ends() -> None:
    found, unknown, _ = mapped(["id", "Score "], ["id", "Score"])
    assert (found, unknown) == ({"id": "id", "Score": "Score "}, [])
    config = {"column_map": {" Score": "x"}, "null_policy": {"Score ": "keep"}, "identifier": "id "}
    found, unknown, problems = mapped(["id", "x"], ["id", "Score"], **config)
    assert (found, unknown, problems) == ({"id": "id", "Score": "x"}, [], [])
    twice = {"column_map": {" Score": "x", "Score": "y"}}
    assert "named_twice" in mapped(["id", "x", "y"], ["id", "Score"], **twice)[2]


NAMES = st.lists(st.text("aB _é", min_size=1, max_size=4), unique=True, max_size=5)


@given(NAMES, NAMES)
def test_a_column_goes_into_one_field_or_is_named(columns: list[str], names: list[str]) -> None:
    found, problems = map_stream(columns, fields(*names), CONFIG)
    sources = [one.column for one in found.fields]
    assert len(set(sources)) == len(sources)
    ambiguous = any(problem.code == "ambiguous_column" for problem in problems)
    assert ambiguous or {*sources, *found.unknown} == set(columns)
    for name in set(columns) & set(names):
        assert {one.field.name: one.column for one in found.fields}[name] == name


@pytest.mark.parametrize("form", ["record", "jsonl", "parquet", "mapped"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_column_that_goes_nowhere_is_named_on_every_path_or_refused(
    send: Sending, form: str, *, declared: bool
) -> None:
    record = row(1)["record"] | {"Tiier": "Silver", "odd": 1}
    messages: list[Any] = [row(1) | {"record": record}]
    if form in {"jsonl", "parquet"}:
        path = send.folder / f"rows.{form}"
        if form == "jsonl":
            path.write_text(json.dumps(record) + "\n")
        else:
            pq.write_table(pa.Table.from_pylist([record]), path)
        encoding = {"format": form}
        messages = [
            {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": [path.as_uri()]}
        ]
    columns: dict[str, Any] = {"ref": {}, "first_name": {}}
    columns |= {"Tiier": {}, "odd": {}} if declared else {}
    maps = {"people": {"ref": "ref"}} if form == "mapped" else None
    sent = send(schema(**columns), *messages, stream_maps=maps)
    assert sent.outcomes() == {"sent": 1}
    assert sent.target
    summary = json.dumps(sent.target.outcomes.warnings)
    for told in (sent.logged, summary):
        assert "Tiier" in told
        assert "odd" in told
    if declared:
        assert "'Tiier' (resembles the field 'Tier')" in sent.logged
    again = send(schema(**columns), *messages, stream_maps=maps, unknown_columns="refuse")
    assert (again.code, again.outcomes()) == (4, {})
    assert "Tiier" in again.logged


def test_what_was_to_be_named_otherwise_is_proposed(send: Sending) -> None:
    config = {
        "column_map": {"Custmer Ref": "ref", "First Name": "frst_name"},
        "customer_group": "nobody yet",
    }
    sent = send(schema(), row(1), **config)
    for told in ("field 'Customer Ref'", "column 'first_name'", "group 'Nobody yet'"):
        assert f"resembles the {told}" in sent.logged
    assert sent.code == 4


def test_a_group_is_found_by_its_trimmed_name_and_not_created_a_second_time(
    send: Sending,
) -> None:
    columns = {"ref": {}, "first_name": {}, "customer_group": {}}
    rows = [row(n, customer_group=name) for n, name in enumerate(["VIP", "VIP ", " VIP"])]
    config = {"customer_group": None, "create_missing_groups": True}
    assert send(schema(**columns), *rows, **config).outcomes() == {"sent": 3}
    groups = [group for group in send.sandbox.account.groups.values() if "VIP" in group.name]
    assert [(group.name, len(group.customers)) for group in groups] == [("VIP", 3)]
    assert send(schema(), row(9), customer_group=" VIP").outcomes() == {"sent": 1}


def test_a_field_that_a_setting_names_leaves_the_other_one_to_the_plain_column(
    send: Sending,
) -> None:
    account = send.sandbox.account
    assert {"First Name", "first-name"} <= {f.field_name for f in account.fields.values()}
    people = schema(ref={}, given={}, first_name={})
    rows = [row(1, given="Ayla", first_name="Birch")]
    sent = send(people, *rows, column_map={"Customer Ref": "ref", "First Name": "given"})
    assert sent.outcomes() == {"sent": 1}
    profile = send.customers["r-1"].profile
    assert (profile["First Name"], profile["first-name"]) == ("Ayla", "Birch")
