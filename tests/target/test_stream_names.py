"""A stream is the same stream whatever a stream map calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.target.sending import COLUMNS, Message, row, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.target.sending import Sending

ALIAS = {"people": {"__alias__": "customers"}}
OTHERS = {"somebody": {"__alias__": "customers"}}
TRUSTED: dict[str, Any] = {"mode": "mirror", "mirror_trusts_end_of_input": True}


def refs(send: Sending) -> list[str]:
    return sorted(send.customers)


def version(stream: str = "people") -> Message:
    return {"type": "ACTIVATE_VERSION", "stream": stream, "version": 1}


PATTERN: dict[str, Any] = {"p*": {"__alias__": "customers"}}
MAPS: list[Any] = [
    None,
    ALIAS,
    PATTERN,
    {"people": {"__alias__": "'x_' + __stream_name__"}},
    {"people": {"first_name": "first_name"}},
    {"people": None, "copy": {"__source__": "people"}},
]


@pytest.mark.parametrize("maps", MAPS)
def test_an_incremental_stream_is_not_mirrored(send: Sending, maps: Any) -> None:
    rows = [row(n) for n in range(6)]
    send(schema(), *rows, stream_maps=maps)
    marked = schema() | {"bookmark_properties": ["birthday"]}
    sent = send(marked, row(1), stream_maps=maps, **TRUSTED)
    assert sent.code == 4
    assert "incrementally" in sent.logged
    assert len(refs(send)) == 6


@pytest.mark.parametrize("maps", [None, ALIAS])
@pytest.mark.parametrize(
    "said",
    [
        schema() | {"bookmark_properties": ["birthday"]},
        {
            "type": "STATE",
            "value": {
                "bookmarks": {
                    "people": {"replication_key": "birthday", "replication_key_value": "2026"}
                }
            },
        },
        {
            "type": "STATE",
            "value": {"bookmarks": {"people": {"partitions": [{"replication_key_value": 5}]}}},
        },
        {"type": "STATE", "value": {"bookmarks": {"people": {"lsn": 5, "version": 1}}}},
    ],
)
def test_a_stream_that_turns_out_to_be_incremental_is_not_mirrored(
    send: Sending, maps: Any, said: Message
) -> None:
    send(schema(), *(row(n) for n in range(6)), stream_maps=maps)
    sent = send(schema(), row(1), version(), said, stream_maps=maps, **TRUSTED)
    assert (sent.code, sent.states) == (3, [])
    assert "incrementally" in sent.logged
    assert len(refs(send)) == 6


@pytest.mark.parametrize(
    "value",
    [
        {"bookmarks": {"people": {}}},
        {"bookmarks": {"people": {"replication_key_value": None, "version": 1}}},
        {"bookmarks": {"others": {"replication_key_value": 5}}},
        {"bookmarks": ["people"]},
        {"bookmarks": {"people": {"partitions": 5}}},
        {"bookmarks": {"people": 5}},
    ],
)
def test_a_state_without_a_bookmark_of_the_stream_does_not_stop_mirror(
    send: Sending, value: Any
) -> None:
    send(schema(), row(1), row(2))
    sent = send(schema(), row(1), version(), {"type": "STATE", "value": value}, mode="mirror")
    assert (sent.code, sent.states) == (0, [value])
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("maps", [maps for maps in MAPS if maps != PATTERN])
def test_activate_version_is_matched(send: Sending, maps: Any) -> None:
    send(schema(), row(1), row(2), stream_maps=maps)
    send(schema(), row(1), version(), row(2), stream_maps=maps, mode="mirror")
    send(schema(), version(), row(1), stream_maps=maps, mode="mirror")
    assert refs(send) == ["r-1", "r-2"]
    sent = send(schema(), row(1), version(), stream_maps=maps, mode="mirror")
    assert sent.code == 0
    assert refs(send) == ["r-1"]


@pytest.mark.parametrize("maps", [None, ALIAS])
def test_a_batch_file_behind_activate_version_is_not_part_of_the_table(
    send: Sending, maps: Any, tmp_path: Path
) -> None:
    send(schema(), row(1), row(2), stream_maps=maps)
    pq.write_table(pa.table({"ref": ["r-1"]}), tmp_path / "rows.parquet")
    batch = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "parquet", "compression": None},
        "manifest": [str(tmp_path / "rows.parquet")],
    }
    send(schema(), row(1), version(), batch, stream_maps=maps, mode="mirror")
    assert refs(send) == ["r-1", "r-2"]
    send(schema(), batch, version(), stream_maps=maps, mode="mirror")
    assert refs(send) == ["r-1"]


def test_a_sink_of_two_streams_is_whole_when_both_are(send: Sending) -> None:
    maps = ALIAS | OTHERS
    both = [schema(), schema("somebody"), row(1), row(2, "somebody")]
    send(*both, row(3), stream_maps=maps)
    assert refs(send) == ["r-1", "r-2", "r-3"]
    send(*both, version(), stream_maps=maps, mode="mirror")
    assert refs(send) == ["r-1", "r-2", "r-3"]
    marked = schema("somebody") | {"bookmark_properties": ["birthday"]}
    assert send(schema(), marked, row(1), version(), stream_maps=maps, **TRUSTED).code == 3
    assert refs(send) == ["r-1", "r-2", "r-3"]
    turned = [schema("somebody"), schema(), row(2, "somebody"), row(1)]
    sent = send(*turned, version(), version("somebody"), stream_maps=maps, mode="mirror")
    assert sent.outcomes("customers") == {"unchanged": 2}
    assert refs(send) == ["r-1", "r-2"]
    # One after the other is how a tap sends them.
    send(*both, row(3), stream_maps=maps)
    each = [schema(), row(1), version(), schema("somebody"), row(2, "somebody")]
    sent = send(*each, version("somebody"), stream_maps=maps, mode="mirror")
    assert sent.counts("customers")["mirror_deleted"] == 1
    assert refs(send) == ["r-1", "r-2"]


@pytest.mark.parametrize("config", [{"mode": "mirror"}, TRUSTED])
@pytest.mark.parametrize(
    "maps",
    [
        ALIAS | OTHERS,
        {"copy": {"__source__": "somebody", "__alias__": "customers"}} | ALIAS,
        {"somebody": {"__alias__": "people"}},
    ],
)
def test_a_stream_of_a_sink_that_did_not_come_keeps_mirror_from_deleting(
    send: Sending, maps: Any, config: dict[str, Any]
) -> None:
    send(schema(), row(1), row(2), schema("somebody"), row(3, "somebody"), stream_maps=maps)
    assert len(refs(send)) == 3
    sent = send(schema(), row(1), version(), state(), stream_maps=maps, **config)
    assert "stream_maps lead somebody here as well, which did not come" in sent.logged
    assert len(refs(send)) == 3


def test_where_a_pattern_leads_streams_to_a_sink_activate_version_proves_nothing(
    send: Sending,
) -> None:
    maps = {"*": {"__alias__": "customers"}}
    send(schema(), row(1), row(2), schema("somebody"), row(3, "somebody"), stream_maps=maps)
    sent = send(schema(), row(1), version(), state(), stream_maps=maps, mode="mirror")
    assert "mirror_trusts_end_of_input" in sent.logged
    assert len(refs(send)) == 3
    send(schema(), row(1), version(), state(), stream_maps=maps, **TRUSTED)
    assert refs(send) == ["r-1"]


def test_another_alias_keeps_the_ledger(send: Sending) -> None:
    messages = [schema(), row(1), row(2)]
    assert send(*messages, stream_maps=ALIAS).outcomes("customers") == {"sent": 2}
    assert send(*messages).outcomes() == {"unchanged": 2}
    other = {"people": {"__alias__": "buyers"}}
    assert send(*messages, stream_maps=other).outcomes("buyers") == {"unchanged": 2}
    sent = send(schema(), row(1), stream_maps=other, **TRUSTED)
    assert sent.counts("buyers")["mirror_deleted"] == 1
    assert refs(send) == ["r-1"]


def test_a_ledger_that_an_earlier_version_named_by_the_alias_is_still_used(send: Sending) -> None:
    messages = [schema(), row(1), row(2)]
    send(*messages)
    (folder,) = (send.folder / "state" / "ledgers").glob("*/*/people")
    folder.rename(folder.with_name("customers"))
    assert send(*messages, stream_maps=ALIAS).outcomes("customers") == {"unchanged": 2}


def test_a_second_projection_of_a_stream_has_a_ledger_of_its_own(send: Sending) -> None:
    maps = {"again": {"__source__": "people", "first_name": "first_name.upper()"}}
    sent = send(schema(), row(1), row(2), stream_maps=maps)
    assert (sent.code, sent.outcomes(), sent.outcomes("again")) == (0, {"sent": 2}, {"sent": 2})
    assert len(list((send.folder / "state" / "ledgers").glob("*/*/*"))) == 2


@pytest.mark.parametrize(
    ("maps", "code"),
    [
        ({"people": {"__filter__": "ref != 'r-2'"}}, 4),
        ({"people": {"__alias__": "customers", "__filter__": "ref != 'r-2'"}}, 4),
        ({"peop*": {"__filter__": "ref != 'r-2'"}}, 4),
        ({"copy": {"__source__": "people", "__filter__": "ref != 'r-2'"}, "people": None}, 4),
        ({"others": {"__filter__": "ref != 'r-2'"}}, 0),
        ({"people": {"first_name": "first_name"}}, 0),
    ],
)
def test_a_stream_that_a_stream_map_filters_is_not_mirrored(
    send: Sending, maps: Any, code: int
) -> None:
    messages = [schema(), row(1), row(2), version(), state()]
    send(schema(), row(1), row(2))
    sent = send(*messages, stream_maps=maps, mode="mirror")
    assert (sent.code, len(sent.states)) == (code, code == 0)
    assert ("__filter__" in sent.logged) == (code == 4)
    assert refs(send) == ["r-1", "r-2"]


@pytest.mark.parametrize("maps", [{"people": None}, {"__else__": None}])
def test_a_stream_that_a_stream_map_drops_needs_no_group_and_creates_nothing(
    send: Sending, maps: Any
) -> None:
    before = set(send.sandbox.account.fields)
    columns = COLUMNS | {"new_column": {"type": "string"}}
    sent = send(
        schema(**columns),
        row(1),
        version(),
        state(),
        stream_maps=maps,
        customer_group="No such group",
        create_missing_fields=True,
    )
    assert (sent.code, len(sent.states)) == (0, 1)
    assert set(send.sandbox.account.fields) == before
    assert not refs(send)


@pytest.mark.parametrize("kind", ["people", "customers"])
def test_the_kind_of_a_stream_may_be_set_by_either_name(send: Sending, kind: str) -> None:
    columns = schema(name={"type": "string"}, key=())
    record = {"type": "RECORD", "stream": "people", "record": {"name": "Fresh"}}
    sent = send(columns, record, stream_maps=ALIAS, stream_kind={kind: "customer_groups"})
    assert sent.outcomes("customers") == {"sent": 1}
    assert "Fresh" in {group.name for group in send.sandbox.account.groups.values()}


@pytest.mark.parametrize("maps", [None, ALIAS])
def test_a_schema_that_changes_behind_the_last_row_does_not_keep_mirror_from_its_work(
    send: Sending, maps: Any
) -> None:
    send(schema(), row(1), row(2), stream_maps=maps)
    wider = schema(**COLUMNS | {"grade": {"type": "string"}})
    sent = send(schema(), row(1), wider, version(), stream_maps=maps, mode="mirror")
    assert sent.code == 0
    assert refs(send) == ["r-1"]


def test_a_schema_that_changes_the_identifier_keeps_mirror_from_deleting(send: Sending) -> None:
    columns = COLUMNS | {"mail": {"type": "string"}}
    column_map = {"Customer Ref": "ref", "First Name": "first_name", "E-Mail:Work": "mail"}
    first, second = schema(**columns), schema(key=("mail",), **columns)
    rows = [row(n, mail=f"{n}@example.com") for n in range(3)]
    send(first, *rows, column_map=column_map)
    sent = send(
        first, rows[0], second, rows[1], version(), state(), mode="mirror", column_map=column_map
    )
    assert (sent.code, sent.states) == (3, [])
    assert "another identifier" in sent.logged
    assert len(refs(send)) == 3
