"""The delete marker: only a timestamp deletes, and what cannot be read changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_nudgescribe.delete_marker import is_timestamp, read_marker
from tests.sandbox import Fault
from tests.target.sending import COLUMNS, row, schema
from tests.target.test_records import messages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.target.sending import Sending

TIMES = [
    "2026-01-01",
    "2026-01-01T00:00:00Z",
    "2026-01-01t00:00:00.123456789z",
    "2026-01-01 00:00:00+02",
    "2026-01-01T00:00:00,5-0930",
    "2026-01-01 00:00 UTC",
    " 2026-01-01T00:00:00+05:45 ",
]

NOT_DELETED: list[Any] = [None, "", "  ", "\t\n", False, "false", "False"]

UNREADABLE: list[Any] = [
    True,
    "true",
    "yes",
    "null",
    "None",
    "x",
    0,
    1,
    1767225600,
    1767225600000.5,
    "1767225600",
    "20260101",
    "2026-02-30",
    "2026-01-01T25:00:00Z",
    "2026-01-01TBD",
    "2026-W01-1",
    "00:00:00",
    "2026-01-01".translate({ord("1"): "\u0661"}),
    "0000-00-00 00:00:00",
    "0001-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    "9999-12-31",
    {"at": "2026-01-01"},
    ["2026-01-01"],
    {},
]


def refs(send: Sending) -> list[str]:
    return sorted(send.customers)


@pytest.mark.parametrize("marker", TIMES)
def test_a_timestamp_deletes(send: Sending, marker: str) -> None:
    send(schema(), row(1))
    assert send(schema(), row(1, _sdc_deleted_at=marker)).outcomes() == {"deleted": 1}
    assert refs(send) == []


@pytest.mark.parametrize("maps", [None, {"people": {"first_name": "first_name"}}])
def test_null_blank_and_false_delete_nobody(send: Sending, maps: Any) -> None:
    rows = [row(n, _sdc_deleted_at=marker) for n, marker in enumerate(NOT_DELETED)]
    sent = send(schema(), *rows, stream_maps=maps)
    assert sent.outcomes() == {"sent": len(NOT_DELETED)}
    changed = [
        row(n, first_name="new", _sdc_deleted_at=marker) for n, marker in enumerate(NOT_DELETED)
    ]
    assert send(schema(), *changed, stream_maps=maps).outcomes() == {"sent": len(NOT_DELETED)}
    assert len(refs(send)) == len(NOT_DELETED)


@pytest.mark.parametrize("maps", [None, {"people": {"first_name": "first_name"}}])
@pytest.mark.parametrize("declared", [None, "boolean", "integer", "string"])
def test_what_cannot_be_read_is_a_reject_that_changes_nothing(
    send: Sending, declared: str | None, maps: Any
) -> None:
    count = len(UNREADABLE)
    send(schema(), *(row(n) for n in range(count)))
    columns = COLUMNS | ({"_sdc_deleted_at": {"type": declared}} if declared else {})
    rows = [row(n, first_name="new", _sdc_deleted_at=marker) for n, marker in enumerate(UNREADABLE)]
    sent = send(schema(**columns), *rows, mode="mirror", stream_maps=maps)
    assert (sent.code, sent.outcomes()) == (3, {"invalid": count})
    assert sent.reasons() == {"unreadable_delete_marker": count}
    assert {(r["code"], r["column"]) for r in send.rejects()} == {
        ("unreadable_delete_marker", "_sdc_deleted_at")
    }
    assert len(refs(send)) == count
    assert "new" not in {customer.profile["First Name"] for customer in send.customers.values()}


def test_mirror_does_not_delete_whose_marker_cannot_be_read(send: Sending) -> None:
    mirror = {"mode": "mirror", "mirror_trusts_end_of_input": True}
    send(schema(), row(1), row(2), row(3))
    sent = send(schema(), row(1), row(2, _sdc_deleted_at=1), **mirror)
    assert sent.counts()["mirror_deleted"] == 1
    assert refs(send) == ["r-1", "r-2"]


def test_a_marker_made_by_a_stream_map_is_read_the_same_way(send: Sending) -> None:
    send(schema(), row(1), row(2), row(3))
    columns = COLUMNS | {"gone": {"type": "string"}}
    rows = [row(1, gone="2026-01-01"), row(2, gone=""), row(3, gone="soon")]
    maps = {"people": {"_sdc_deleted_at": "gone", "gone": None}}
    sent = send(schema(**columns), *rows, stream_maps=maps)
    assert sent.outcomes() == {"deleted": 1, "unchanged": 1, "invalid": 1}
    assert refs(send) == ["r-2", "r-3"]


@pytest.mark.parametrize(
    ("values", "deleted", "unreadable"),
    [
        (pa.array([None, datetime(2026, 1, 1)], pa.timestamp("ns")), 1, 0),  # noqa: DTZ001
        (pa.array([None, datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("ms", "UTC")), 1, 0),
        (pa.array([None, datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "+02:00")), 1, 0),
        (pa.array([None, date(2026, 1, 1)], pa.date32()), 1, 0),
        (pa.array([None, date(2026, 1, 1)], pa.date64()), 1, 0),
        (pa.array(["false", "2026-01-01"]).dictionary_encode(), 1, 0),
        (pa.array([None, datetime(1970, 1, 1)], pa.timestamp("s")), 0, 1),  # noqa: DTZ001
        (pa.array([False, True]), 0, 1),
        (pa.array([None, 1767225600]), 0, 1),
        (pa.array([None, 1.5]), 0, 1),
        (pa.array([None, float("nan")]), 0, 1),
        (pa.array([None, 1], pa.time32("s")), 0, 1),
        (pa.nulls(2), 0, 0),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else str(value),
)
def test_markers_of_a_parquet_file(
    send: Sending, tmp_path: Path, values: Any, deleted: int, unreadable: int
) -> None:
    send(schema(), row(0, first_name="a"), row(1, first_name="a"))
    table = pa.table({"ref": ["r-0", "r-1"], "first_name": ["a", "a"], "_sdc_deleted_at": values})
    pq.write_table(table, tmp_path / "rows.parquet")
    encoding = {"format": "parquet", "compression": None}
    manifest = [str(tmp_path / "rows.parquet")]
    batch = {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": manifest}
    outcomes = send(schema(), batch).outcomes()
    assert outcomes.get("deleted", 0) == deleted
    assert outcomes.get("invalid", 0) == unreadable
    assert len(refs(send)) == 2 - deleted


def test_in_mode_delete_a_marker_that_says_otherwise_is_a_reject(send: Sending) -> None:
    rows: list[Any] = [None, "", "2026-01-01", False, "x", 1]
    send(schema(), *(row(n) for n in range(len(rows))))
    marked = [row(n, _sdc_deleted_at=marker) for n, marker in enumerate(rows)]
    sent = send(schema(), *marked, mode="delete")
    assert sent.outcomes() == {"deleted": 3, "invalid": 3}
    assert refs(send) == ["r-3", "r-4", "r-5"]


def test_no_group_and_no_field_is_deleted_without_a_timestamp(send: Sending) -> None:
    account = send.sandbox.account
    groups, fields = set(account.groups), set(account.fields)
    for stream, named in (
        ("customer_groups", {"name": "Nobody yet"}),
        ("profile_fields", {"field_name": "Grade"}),
    ):
        records = [named | {"_sdc_deleted_at": marker} for marker in [*NOT_DELETED, *UNREADABLE]]
        sent = send(*messages(stream, *records), allow_field_delete=True)
        assert sent.outcomes(stream) == {
            "unchanged": len(NOT_DELETED),
            "rejected": len(UNREADABLE),
        }
        assert sent.reasons(stream) == {"unreadable_delete_marker": len(UNREADABLE)}
    assert (set(account.groups), set(account.fields)) == (groups, fields)


@pytest.mark.parametrize("operation", ["delete_group", "delete_field"])
def test_a_group_or_field_that_is_still_there_is_not_deleted(send: Sending, operation: str) -> None:
    stream = "customer_groups" if operation == "delete_group" else "profile_fields"
    group = next(g for g in send.sandbox.account.groups.values() if g is not send.group)
    named = {"customer_group_id": group.customer_group_id}
    if operation == "delete_field":
        named = {"field_name": "Grade"}
    record = messages(stream, named | {"_sdc_deleted_at": "2026-01-01"})
    config = {"allow_field_delete": True}
    send.sandbox.inject(Fault(operation, "ignored"))  # type: ignore[arg-type]
    assert send(*record, **config).outcomes(stream) == {"unknown": 1}
    send.sandbox.inject(Fault(operation, "reset"))  # type: ignore[arg-type]
    assert send(*record, **config).outcomes(stream) == {"deleted": 1}
    assert send(*record, **config).outcomes(stream) == {"already_gone": 1}


def test_a_group_or_field_whose_id_and_name_differ_is_not_deleted(send: Sending) -> None:
    account = send.sandbox.account
    at = {"_sdc_deleted_at": "2026-01-01"}
    groups = account.groups_of(send.group.workspace_id)
    fields = account.fields_of(send.group.workspace_id)
    records = [
        {"customer_group_id": groups[0].customer_group_id, "name": groups[1].name} | at,
        {"customer_group_id": "no such id", "name": groups[1].name} | at,
        {"customer_group_id": groups[1].name} | at,
    ]
    sent = send(*messages("customer_groups", *records))
    assert sent.outcomes("customer_groups") == {"rejected": 2, "already_gone": 1}
    records = [
        {"field_id": fields[0].field_id, "field_name": fields[1].field_name} | at,
        {"field_id": "no such id", "field_name": fields[1].field_name} | at,
    ]
    sent = send(*messages("profile_fields", *records), allow_field_delete=True)
    assert sent.reasons("profile_fields") == {"names_differ": 2}
    assert account.groups_of(send.group.workspace_id) == groups
    assert account.fields_of(send.group.workspace_id) == fields


@pytest.mark.parametrize("bound", [{"max_delete_rows": 1}, {"max_delete_percent": 99}])
def test_a_group_with_more_customers_than_may_be_deleted_stays(send: Sending, bound: Any) -> None:
    send(schema(), row(1), row(2))
    record = messages("customer_groups", {"name": "Nobody yet", "_sdc_deleted_at": "2026-01-01"})
    sent = send(*record, **bound)
    assert sent.reasons("customer_groups") == {"too_many_deletes": 1}
    assert len(refs(send)) == 2


@pytest.mark.parametrize("marker", ["2026-01-01", True])
def test_a_deleted_record_publishes_and_starts_nothing(send: Sending, marker: Any) -> None:
    account = send.sandbox.account
    campaigns = {each.campaign_id: replace(each) for each in account.campaigns.values()}
    for stream in ("campaign_publications", "campaign_reruns"):
        records = [
            {"campaign_id": each, "customer_group": "Loyal; since 2019", "_sdc_deleted_at": marker}
            for each in campaigns
        ]
        sent = send(*messages(stream, *records))
        assert sent.outcomes(stream) == {"rejected": len(campaigns)}
    assert {name: each.status for name, each in account.campaigns.items()} == {
        name: each.status for name, each in campaigns.items()
    }
    assert not send.sandbox.count("publish_messages")
    assert not send.sandbox.count("initiate_rerun")


@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001
def test_every_way_to_write_a_time_is_read(moment: datetime) -> None:
    for text in (
        str(moment),
        moment.isoformat(),
        f"{moment.isoformat()}+01:00",
        str(moment.date()),
    ):
        assert is_timestamp(text)
    assert read_marker({"_sdc_deleted_at": moment}).deleted.tolist() == [True]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_nothing_else_is_a_time(marker: Any) -> None:
    markers = read_marker({"_sdc_deleted_at": marker})
    assert not markers.deleted[0]
    blank = marker is None or marker is False or str(marker).strip().lower() in {"", "false"}
    assert bool(markers.unreadable[0]) != blank
