"""The state while many campaigns are unfinished: all STATE messages together stay in proportion."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.bookmarks import Bookmark
from tests.message_server import CAMPAIGN, WORKSPACE, Content, MessageServer
from tests.tap_run import in_process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Run


class ManyCampaigns(MessageServer):
    """Campaigns that were published just now, of one file each: all of them stay unfinished."""

    campaigns = 0

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        now = datetime.now(UTC).isoformat()
        match path:
            case "/v1/campaign/all":
                listed = [
                    CAMPAIGN | {"campaign_id": f"campaign-{number:08d}", "published_at": now}
                    for number in range(self.campaigns)
                ]
                return [WORKSPACE | {"campaigns": listed}]
            case "/v1/campaign/rerun/history":
                return [{"run_number": 1, "status": "Published", "published_at": now}]
        return super().answer(path, body)


def run_of(campaigns: int, log: pytest.LogCaptureFixture, **config: Any) -> Run:
    with ManyCampaigns([Content(b"id,Body\n", b"1,A message for somebody\n", 3)]) as server:
        server.campaigns = campaigns
        run = in_process(server, log)(catalog=None, **config)
    assert run.code == 0, run.stderr
    assert len(run.records("published_messages")) == 3 * campaigns
    return run


def bytes_of(run: Run, kind: str) -> int:
    return sum(
        len(json.dumps(m)) for m in run.messages if (m["type"] == "STATE") == (kind == "STATE")
    )


def test_the_bytes_of_state_grow_with_what_is_sent_and_not_with_its_square(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = {number: run_of(number, caplog) for number in (100, 200, 400)}
    for run in runs.values():
        longest = max(len(json.dumps(m)) for m in run.messages if m["type"] == "STATE")
        assert bytes_of(run, "STATE") < bytes_of(run, "other") + 2 * longest
    for number in (100, 200):
        assert bytes_of(runs[2 * number], "STATE") < 2.5 * bytes_of(runs[number], "STATE")
    assert len(runs[400].state["bookmarks"]["published_messages"]["unfinished"]) == 400


def test_a_state_claims_only_what_stands_before_it(caplog: pytest.LogCaptureFixture) -> None:
    sent: set[str] = set()
    states = 0
    for message in run_of(150, caplog).messages:
        if message.get("stream") == "published_messages" and message["type"] == "RECORD":
            sent.add(message["record"]["campaign_id"])
        elif message["type"] == "STATE":
            states += 1
            state = message["value"]["bookmarks"].get("published_messages", {})
            unfinished = state.get("unfinished", {})
            whole = {name for name, part in unfinished.items() if part.get("file_number")}
            assert whole <= sent
    assert 10 < states < 150


def test_batch_files_and_their_state_go_together(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    batch = {"encoding": {"format": "jsonl"}, "storage": {"root": tmp_path.as_uri()}}
    with ManyCampaigns([Content(b"id,Body\n", b"1,A message for somebody\n", 3)]) as server:
        server.campaigns = 20
        run = in_process(server, caplog)(batch_config=batch)
    assert run.code == 0, run.stderr
    streams = [m.get("stream") for m in run.messages]
    before = run.messages[: streams.index("published_messages")]
    told = [m["value"]["bookmarks"].get("published_messages") for m in before if "value" in m]
    assert not any(told), "the state is not ahead of the first file"
    assert len(run.state["bookmarks"]["published_messages"]["unfinished"]) == 20


def test_noting_a_part_does_not_copy_the_others() -> None:
    state: dict[str, Any] = {}
    bookmark = Bookmark(state, replication_key="published_at", config={}, incremental=True)
    bookmark.keep("first")
    held = state["unfinished"]
    for number in range(1000):
        bookmark.keep(str(number))
    assert state["unfinished"] is held
    assert len(held) == 1001
    for part in list(held):
        bookmark.done(part)
    assert "unfinished" not in state
