"""Whatever zone and precision timestamps have, no change is lost between two runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.singerlib import Catalog

from tap_nudgescribe import transport
from tap_nudgescribe.bookmarks import Bookmark
from tap_nudgescribe.tap import TapNudgescribe
from tap_nudgescribe.timestamps import END, format_timestamp, latest, moment
from tests.sandbox import Fault, Sandbox, wire
from tests.tap_run import in_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox import Account

NIGHT = datetime(2026, 11, 1, 9, tzinfo=UTC)

FORMS: dict[str, Callable[[datetime], str]] = {
    "date": lambda local: local.date().isoformat(),
    "naive": lambda local: local.replace(tzinfo=None).isoformat(timespec="seconds"),
    "zoned": lambda local: local.isoformat(timespec="microseconds"),
}


def clock(moment_: datetime, hours: int, *, repeated: bool) -> datetime:
    """Return what a clock shows; ``repeated``: it was set back by an hour at NIGHT."""
    summer = 1 if repeated and moment_ < NIGHT else 0
    return moment_.astimezone(timezone(timedelta(hours=hours + summer)))


class Night:
    """Rows that change, read by one run after the other."""

    def __init__(self, write: Callable[[datetime], str]) -> None:
        self._write = write
        self._rows: dict[int, datetime] = {}
        self.state: dict[str, Any] = {}

    def change(self, row: int, at: datetime) -> None:
        self._rows[row] = at

    def run(self, as_of: datetime) -> set[int]:
        bookmark = Bookmark(self.state, replication_key="updated_at", config={}, incremental=True)
        sent = set()
        for row, at in self._rows.items():
            value = self._write(at)
            if bookmark.covers(value, bookmark.start):
                sent.add(row)
                bookmark.saw(latest(value))
        bookmark.advance(as_of)
        written = self.state.get("replication_key_value")
        assert written is None or written <= format_timestamp(as_of), "never past the server's time"
        return sent


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("repeated", [False, True])
@given(
    hours=st.integers(-12, 13),
    first=st.integers(0, 60 * 48),
    steps=st.lists(st.integers(1, 60 * 30), min_size=1, max_size=6),
)
def test_a_change_after_a_run_is_in_the_next_one(
    form: str, hours: int, first: int, steps: list[int], *, repeated: bool
) -> None:
    night = Night(lambda at: FORMS[form](clock(at, hours, repeated=repeated)))
    now = NIGHT - timedelta(days=1) + timedelta(minutes=first)
    night.change(0, now)
    for number, step in enumerate(steps, 1):
        now += timedelta(minutes=step)
        night.run(now)
        now += timedelta(seconds=1)
        night.change(number, now)
        now += timedelta(seconds=1)
        assert number in night.run(now)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_settled_is_not_sent_again(form: str) -> None:
    night = Night(lambda at: FORMS[form](clock(at, -8, repeated=False)))
    for number in range(5):
        night.change(number, NIGHT - timedelta(hours=10 * number))
    assert night.run(NIGHT) == set(range(5))
    assert night.run(NIGHT + timedelta(days=4)) <= set(range(5))
    assert night.run(NIGHT + timedelta(days=5)) == set()


def test_a_campaign_with_a_date_only_stays_unfinished_until_its_day_is_over_everywhere(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is west of UTC: its day ends after that of UTC."""
    account = sandbox.account
    west = timezone(timedelta(hours=-8))

    def dated(at: datetime | None, _: str) -> str | None:
        return at and at.astimezone(west).date().isoformat()

    monkeypatch.setattr(wire, "timestamp", dated)
    campaign = next(c for c in account.campaigns.values() if c.published_at)
    run, first = campaign.current_run, account.now.replace(day=2, hour=7)
    account.now = first
    campaign.published_at = run.published_at = first
    files, run.files, run.revealed = run.files, [], 0
    read = in_process(sandbox, caplog)
    one = read()
    assert one.code == 0, one.stderr
    account.now = first + timedelta(hours=34)
    run.files, run.revealed = files, len(files)
    two = read(state=one.state)
    assert two.code == 0, two.stderr
    keys = {(r["campaign_id"], r["run_number"]) for r in two.records("published_messages")}
    assert (campaign.campaign_id, run.run_number) in keys


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+00:00", "0001-01-01", "9999-12-31T23:59:59.999999+00:00"]
)
@pytest.mark.parametrize("lookback", [0, 1, 1_000_000, 10**12])
def test_a_bookmark_at_an_end_of_the_calendar_is_no_defect(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, value: str, lookback: int
) -> None:
    bookmark = {"replication_key": "published_at", "replication_key_value": value}
    of_campaigns = {"replication_key": "updated_at", "replication_key_value": value}
    state = {"bookmarks": {"published_messages": bookmark, "campaigns": of_campaigns}}
    one = Bookmark(
        dict(bookmark),
        replication_key="published_at",
        config={"lookback_days": lookback},
        incremental=True,
    )
    assert one.start is not None
    one.saw(moment(value))
    one.advance(END)
    if not lookback:
        run = in_process(sandbox, caplog)(state=state)
        ahead = value.startswith("9")
        assert run.code == ahead, run.stderr
        assert ("lies in the future" in run.stderr) == ahead
        assert "defect" not in run.stderr


@pytest.mark.parametrize("stream", ["customers", "campaigns", "run_messages", "published_messages"])
@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=90), timedelta(days=365_000)])
@pytest.mark.parametrize("unfinished", [False, True])
def test_a_bookmark_in_the_future_is_refused(
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    stream: str,
    ahead: timedelta,
    *,
    unfinished: bool,
) -> None:
    read = in_process(sandbox, caplog)
    state = read().state
    entry = state["bookmarks"][stream]
    future = format_timestamp(sandbox.account.now + ahead)
    if unfinished:
        entry["unfinished"] = {"part": {"since": future}}
    else:
        entry["replication_key_value"] = future
    run = read(state=state)
    assert run.code == 1
    assert not run.messages
    for text in (stream, "lies in the future", future, "Set it to"):
        assert text in run.stderr


@pytest.mark.parametrize("start_date", ["2999-01-01", "9999-12-31T23:59:59-12:00"])
def test_a_start_date_in_the_future_is_refused(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, start_date: str
) -> None:
    run = in_process(sandbox, caplog)(start_date=start_date)
    assert run.code == 1
    assert not run.messages
    assert "start_date" in run.stderr
    assert "defect" not in run.stderr


def test_clocks_of_servers_may_differ_a_little(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    read = in_process(sandbox, caplog)
    state = read().state
    sandbox.account.now -= timedelta(minutes=50)
    assert read(state=state).code == 0


def test_the_bookmark_of_customers_never_passes_the_servers_time_when_their_reading_began(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock is wrong, and customers are read first, so nothing else has answered."""
    read = in_process(sandbox, caplog)
    found = Catalog.from_dict(TapNudgescribe(config=sandbox.config).catalog_dict)
    for name, entry in found.items():
        entry.metadata[()].selected = name == "customers"
    began = sandbox.account.now

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return began.astimezone(tz) + timedelta(days=400)

    def later(account: Account) -> None:
        account.now += timedelta(hours=5)
        for customer in account.customers.values():
            customer.updated_at = account.now

    monkeypatch.setattr(transport, "datetime", Ahead)
    sandbox.inject(Fault("list_customers", "change", then=later))
    run = read(catalog=found.to_dict())
    assert run.code == 0, run.stderr
    assert run.state["bookmarks"]["customers"]["replication_key_value"] <= format_timestamp(began)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2026-11-01T01:30:00Z", 0),
        ("2026-11-01T01:30:00.5+02:00", 0),
        ("2026-11-01T01:30:00", 13),
        ("2026-11-01 01:30", 13),
        ("2026-11-01", 37),
        ("20261101", 37),
    ],
)
def test_a_timestamp_says_how_late_it_may_be(text: str, hours: int) -> None:
    parsed, last = moment(text), latest(text)
    assert parsed
    assert last
    assert last - parsed == timedelta(hours=hours)


def test_what_is_not_a_timestamp_has_no_latest_moment() -> None:
    assert latest(None) is latest("yesterday") is latest(5) is None
    assert latest("9999-12-31") == END
