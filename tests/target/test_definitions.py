"""Groups and fields of the same input: there before customers need them, checked, replayed."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from target_nudgescribe.target import Errand
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from tests.target.sending import Sending

BY_COLUMN = {"customer_group": None}


def definitions(stream: str, *columns: str) -> dict[str, Any]:
    return schema(stream, (), **{column: {} for column in columns})


def record(stream: str, **columns: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": stream, "record": columns}


PEOPLE = schema(ref={}, first_name={}, customer_group={}, score={})
GROUPS = definitions("customer_groups", "name", "description", "_sdc_deleted_at")
FIELDS = definitions("profile_fields", "field_name", "field_type", "options", "required")


@pytest.mark.parametrize("count", [1, 10_001])
@pytest.mark.parametrize("errand", [None, Errand(dry_run=True)])
@pytest.mark.parametrize("schemas_first", [True, False])
def test_customers_find_the_group_that_a_record_before_them_has_created(
    send: Sending, count: int, errand: Errand | None, *, schemas_first: bool
) -> None:
    group = record("customer_groups", name="Fresh")
    rows = [row(n, customer_group="Fresh", score=1) for n in range(count)]
    first = [GROUPS, PEOPLE, group] if schemas_first else [GROUPS, group, PEOPLE]
    sent = send(*first, *rows, errand=errand, **BY_COLUMN)
    assert sent.outcomes() == {"planned" if errand else "sent": count}
    assert sent.code == 0


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("maps", [None, {"people": {"ref": "ref"}}])
def test_a_field_that_a_record_creates_takes_its_column(
    send: Sending, maps: Any, *, late: bool
) -> None:
    field = record("profile_fields", field_name="score", field_type="number")
    people = schema(ref={}, first_name={}, score={})
    first = [FIELDS, people, row(1, score=5), field, row(2, score=6)]
    early = [FIELDS, people, field, row(1, score=5), row(2, score=6)]
    sent = send(*(first if late else early), stream_maps=maps)
    assert sent.outcomes() == {"sent": 2}
    assert [c.profile.get("score") for c in send.customers.values()] == [5, 6]


def test_a_stream_may_need_what_the_input_creates_first(send: Sending) -> None:
    field = record("profile_fields", field_name="score", field_type="number")
    group = record("customer_groups", name="Fresh")
    config = {
        "customer_group": "Fresh",
        "unknown_columns": "refuse",
        "column_map": {"Customer Ref": "ref", "First Name": "first_name"},
    }
    people = schema(ref={}, first_name={}, score={})
    orders = itertools.permutations([(GROUPS, group), (FIELDS, field), (people,)])
    messages = [[message for part in parts for message in part] for parts in orders]
    messages.append([GROUPS, FIELDS, people, group, field])
    for number, order in enumerate(messages):
        for defined in list(send.sandbox.account.fields.values()):
            if defined.field_name == "score":
                del send.sandbox.account.fields[defined.field_id]
        for made in list(send.sandbox.account.groups.values()):
            if made.name == "Fresh":
                del send.sandbox.account.groups[made.customer_group_id]
        sent = send(*order, row(number, score=5), state(), **config)
        assert (sent.code, sent.outcomes()) == (0, {"sent": 1}), sent.logged
    other = send(GROUPS, FIELDS, schema(ref={}, first_name={}, odd={}), state(), **config)
    assert (other.code, other.states) == (4, [])
    assert "'odd'" in other.logged


def test_a_stream_that_cannot_be_sent_is_said_before_another_stream_is(send: Sending) -> None:
    wrong = schema("others", ref={}, odd={})
    rows = [row(n) for n in range(30)]
    config = {"unknown_columns": "refuse", "batch_size_rows": 10}
    config["column_map"] = {"Customer Ref": "ref", "First Name": "first_name"}
    columns = {"ref": {}, "first_name": {}}
    sent = send(schema(**columns), wrong, *rows, row(1, "others", odd=1), state(), **config)
    assert (sent.code, sent.states, len(send.customers)) == (4, [], 0)
    assert "The stream others cannot be sent" in sent.logged


def test_rows_before_a_change_mean_what_was_there_before_it(send: Sending) -> None:
    group = send.group
    renamed = {"customer_group_id": group.customer_group_id, "name": "Renamed"}
    groups = definitions("customer_groups", "customer_group_id", "name")
    messages = [
        groups,
        PEOPLE,
        row(1, customer_group="Nobody yet"),
        record("customer_groups", **renamed),
        row(2, customer_group="Renamed"),
        row(3, customer_group="Nobody yet"),
    ]
    sent = send(*messages, **BY_COLUMN)
    assert sent.outcomes() == {"sent": 2, "invalid": 1}
    assert sent.reasons() == {"unknown_group": 1}
    assert {c.profile["Customer Ref"] for c in group.customers.values()} == {"r-1", "r-2"}


def test_a_group_that_setting_names_may_be_renamed_or_deleted_by_the_input(send: Sending) -> None:
    gone = record("customer_groups", name="Nobody yet", _sdc_deleted_at="2026-01-01")
    sent = send(GROUPS, schema(), row(1), gone, row(2), max_delete_rows=10)
    assert sent.outcomes("customer_groups") == {"deleted": 1}, sent.logged
    assert sent.outcomes() == {"sent": 1, "invalid": 1}
    assert "defect" not in sent.logged


GROUP_RECORDS: list[tuple[dict[str, Any], str | None]] = [
    ({"name": 5}, None),
    ({"name": 5.0}, None),
    ({"name": "5 "}, None),
    ({"name": True}, "not_a_text"),
    ({"name": ["a"]}, "not_a_text"),
    ({"name": {"a": 1}}, "not_a_text"),
    ({"name": "  "}, "no_id"),
    ({"name": None}, "no_id"),
    ({"name": "a", "description": {"b": 1}}, "not_a_text"),
    ({"name": "a", "description": False}, "not_a_text"),
    ({"customer_group_id": [1]}, "not_a_text"),
    ({"name": "\ud800"}, "not_unicode"),
]


@pytest.mark.parametrize(("group", "code"), GROUP_RECORDS)
def test_a_group_is_checked_before_the_api_sees_it(
    send: Sending, group: dict[str, Any], code: str | None
) -> None:
    columns = definitions("customer_groups", *group)
    before = len(send.sandbox.account.groups)
    sent = send(columns, record("customer_groups", **group), rejects_rows="full")
    assert "defect" not in sent.logged
    if code:
        assert sent.reasons("customer_groups") == {code: 1}
        assert len(send.sandbox.account.groups) == before
    else:
        assert sent.outcomes("customer_groups") == {"sent": 1}
        assert "5" in {each.name for each in send.sandbox.account.groups.values()}


FIELD_RECORDS: list[tuple[dict[str, Any], str | None]] = [
    ({"options": ["a", 5], "field_type": "enum"}, None),
    ({"options": '["a", 5]', "field_type": "enum"}, None),
    ({"options": "a, 5", "field_type": "enum"}, "not_a_list"),
    ({"options": '{"a": 5}', "field_type": "enum"}, "not_a_list"),
    ({"options": {"a": 5}, "field_type": "enum"}, "not_a_list"),
    ({"options": 5, "field_type": "enum"}, "not_a_list"),
    ({"options": ["a", ["b"]], "field_type": "enum"}, "not_a_list"),
    ({"options": ["a", None], "field_type": "enum"}, "not_a_list"),
    ({"required": "false"}, None),
    ({"required": "TRUE"}, None),
    ({"required": "perhaps"}, "not_a_boolean"),
    ({"required": 1}, "not_a_boolean"),
    ({"encrypted": [True]}, "not_a_boolean"),
    ({"unique_identifier": {"a": 1}}, "not_a_boolean"),
    ({"display_name": {"a": 1}}, "not_a_text"),
    ({"field_name": ["a"]}, "not_a_text"),
    ({"field_type": True}, "not_a_text"),
    ({"field_type": "Date"}, "format_missing"),
    ({"field_type": "currency", "field_format": " "}, "format_missing"),
]


@pytest.mark.parametrize(("field", "code"), FIELD_RECORDS)
def test_a_field_is_checked_before_the_api_sees_it(
    send: Sending, field: dict[str, Any], code: str | None
) -> None:
    whole = {"field_name": "Fresh", "field_type": "string"} | field
    sent = send(definitions("profile_fields", *whole), record("profile_fields", **whole))
    assert "defect" not in sent.logged
    fields = {f.field_name: f for f in send.sandbox.account.fields_of(send.group.workspace_id)}
    if code:
        assert sent.reasons("profile_fields") == {code: 1}
        assert "Fresh" not in fields
        return
    assert sent.outcomes("profile_fields") == {"sent": 1}
    if "options" in field:
        assert fields["Fresh"].options == ["a", "5"]
    if "required" in field:
        assert fields["Fresh"].required is (field["required"] == "TRUE")


def test_what_cannot_be_changed_in_a_field_is_refused_and_not_passed_over(send: Sending) -> None:
    field = send.sandbox.account.fields_of(send.group.workspace_id)[0]
    for change, code in (
        ({"encrypted": not field.encrypted}, "field_flag_differs"),
        ({"unique_identifier": not field.unique_identifier}, "field_flag_differs"),
        ({"field_id": field.field_id, "field_name": "Other"}, "field_name_differs"),
    ):
        whole = {"field_name": field.field_name} | change
        sent = send(definitions("profile_fields", *whole), record("profile_fields", **whole))
        assert sent.reasons("profile_fields") == {code: 1}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_rejects_of_groups_and_fields_can_be_sent_again(send: Sending, form: str) -> None:
    bad = {"field_name": "Fresh", "field_type": "Date", "required": False}
    group = {"name": "New", "description": {"a": 1}}
    sent = send(
        definitions("profile_fields", *bad),
        record("profile_fields", **bad),
        definitions("customer_groups", *group),
        record("customer_groups", **group),
        rejects_rows="full",
        rejects_format=form,
    )
    assert sent.code == 3
    files = sorted((send.folder / "state" / "rejects").rglob(f"*.{form}"))
    again = [send(errand=Errand(replay=str(file))) for file in files]
    assert again[0].reasons("customer_groups") == {"not_a_text": 1}
    assert again[1].reasons("profile_fields") == {"format_missing": 1}
    if form == "jsonl":
        told = json.loads(files[1].read_text())
        mended = json.loads(told["row"]) | {"field_format": "yyyy-MM-dd"}
        files[1].write_text(json.dumps(told | {"row": json.dumps(mended)}) + "\n")
        assert send(errand=Errand(replay=str(files[1]))).outcomes("profile_fields") == {"sent": 1}


@pytest.mark.parametrize("declared", [True, False])
def test_a_column_of_a_group_that_goes_nowhere_is_named_or_refused(
    send: Sending, *, declared: bool
) -> None:
    group = {"name": "Fresh", "descripton": "d", "workspace_id": "w"}
    columns = definitions("customer_groups", *(group if declared else ["name"]))
    sent = send(columns, record("customer_groups", **group))
    assert sent.outcomes("customer_groups") == {"sent": 1}
    assert "'descripton' (resembles the column 'description')" in sent.logged
    assert sent.target
    assert len(sent.target.outcomes.warnings) == 1
    refused = send(columns, record("customer_groups", **group), unknown_columns="refuse")
    assert (refused.code, refused.outcomes("customer_groups")) == (4, {})
